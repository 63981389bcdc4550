#include <criterion/criterion.h>
#include <string.h>

#include "fs/trouble.h"

#define S KF_TROUBLE_PERIOD_NS

static struct kf_trouble trouble;

static void init(void)
{
    kf_trouble_init(&trouble);
}

static void fini(void)
{
    kf_trouble_fini(&trouble);
}

TestSuite(trouble, .init = init, .fini = fini, .timeout = 10);

Test(trouble, the_first_failure_is_answered_at_once)
{
    cr_expect_eq(kf_trouble_answer_at(&trouble, 3, 0, 5 * S), 5 * S);
    cr_expect_eq(kf_trouble_answer_at(&trouble, 4, 0, 5 * S), 5 * S, "another file");
    cr_expect_eq(kf_trouble_answer_at(&trouble, 3, KF_TROUBLE_PLACE_SIZE, 5 * S), 5 * S,
                 "another place");
}

Test(trouble, a_repeated_failure_waits_for_its_second)
{
    cr_assert_eq(kf_trouble_answer_at(&trouble, 3, 4096, 5 * S), 5 * S);
    cr_expect_eq(kf_trouble_answer_at(&trouble, 3, 0, 5 * S + 1), 6 * S);
    cr_expect_eq(kf_trouble_answer_at(&trouble, 3, 8192, 5 * S + 2), 6 * S,
                 "answered together");
    cr_expect_eq(kf_trouble_answer_at(&trouble, 3, 0, 6 * S + 1), 7 * S);
}

Test(trouble, a_client_in_a_loop_gets_one_answer_a_second)
{
    int64_t now = 100 * S;
    int answers = 0;

    while (now < 110 * S) {
        now =
            kf_trouble_answer_at(&trouble, 1, 0, now) + 1000; /* and asks again at once */
        answers++;
    }
    cr_expect_leq(answers, 11);
}

Test(trouble, after_a_second_it_is_new)
{
    cr_assert_eq(kf_trouble_answer_at(&trouble, 3, 0, 5 * S), 5 * S);
    cr_expect_eq(kf_trouble_answer_at(&trouble, 3, 0, 6 * S), 6 * S, "exactly a second");
    cr_expect_eq(kf_trouble_answer_at(&trouble, 3, 0, 6 * S + S - 1), 7 * S);
    cr_expect_eq(kf_trouble_answer_at(&trouble, 3, 0, 60 * S), 60 * S);
}

Test(trouble, the_last_one_is_kept)
{
    struct kf_trouble_last last;
    struct kf_err err;
    char path[2 * KF_TROUBLE_PATH_SIZE];

    cr_expect_not(kf_trouble_last(&trouble, &last));
    (void)kf_fail(&err, KF_E_CORRUPT, "digest differs");
    kf_trouble_record(&trouble, "a/b", &err);
    (void)kf_fail(&err, KF_E_TIMEOUT, "no answer");
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    kf_trouble_record(&trouble, path, &err);
    cr_assert(kf_trouble_last(&trouble, &last));
    cr_expect_eq(last.err.kind, KF_E_TIMEOUT);
    cr_expect_str_eq(last.err.message, "no answer");
    cr_expect_eq(strlen(last.path), KF_TROUBLE_PATH_SIZE - 1);
    cr_expect_gt(last.when_s, 0);
}
