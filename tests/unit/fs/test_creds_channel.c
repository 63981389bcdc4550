#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "fs/channel.h"
#include "fs/creds_channel.h"
#include "oci/creds.h"

static int ends[2];
static struct kf_creds *ask;
static struct kf_creds_desk desk;
static size_t long_size; /* of the texts that "long" gives */

/* What the child finds: told by the host. */
static int find_fake(struct kf_creds *creds, const char *host, const char *repository,
                     struct kf_cred *ret, struct kf_err *err)
{
    if (strcmp(host, "refused.io") == 0)
        return kf_fail(err, KF_E_REFUSED, "not for '%s'", host);
    if (strcmp(host, "crash.io") == 0)
        raise(SIGKILL);
    if (strcmp(host, "slow.io") == 0)
        pause();
    if (strcmp(host, "nothing.io") == 0)
        return 0;
    if (strcmp(host, "long.io") == 0) {
        ret->username = calloc(1, long_size + 1);
        memset(ret->username, 'u', long_size);
        ret->from = strdup("f");
        return 0;
    }
    ret->username = strdup(host);
    ret->password = strdup("");
    ret->identity_token = strdup(repository ? repository : "(whole host)");
    ret->from = strdup("file");
    return 0;
}

static struct kf_creds fake = {.find = find_fake};

static void init(void)
{
    cr_assert_eq(kf_channel_pair(ends, NULL), 0);
    kf_creds_desk_init(&desk, &fake, ends[0]);
    ask = kf_creds_ask_new(ends[1], NULL);
    cr_assert(ask);
}

static void fini(void)
{
    kf_creds_desk_fini(&desk);
    kf_creds_ask_free(ask);
}

TestSuite(creds_channel, .init = init, .fini = fini, .timeout = 20);

struct asking {
    const char *host, *repository;
    struct kf_cred cred;
    struct kf_err err;
    int rc;
    int ended; /* atomic */
};

static void *find_main(void *arg)
{
    struct asking *asking = arg;

    asking->rc =
        ask->find(ask, asking->host, asking->repository, &asking->cred, &asking->err);
    __atomic_store_n(&asking->ended, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

/* The keeper's loop, until the answer is there. */
static void serve(const int *ended)
{
    while (!__atomic_load_n(ended, __ATOMIC_SEQ_CST)) {
        struct pollfd fd = {.fd = kf_creds_desk_fd(&desk), .events = POLLIN};

        if (poll(&fd, 1, 2) > 0)
            cr_assert_eq(kf_creds_desk_hear(&desk, NULL), 0);
        kf_creds_desk_reap(&desk);
    }
}

static struct asking find(const char *host, const char *repository)
{
    struct asking asking = {.host = host, .repository = repository};
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, find_main, &asking), 0);
    serve(&asking.ended);
    (void)pthread_join(thread, NULL);
    return asking;
}

Test(creds_channel, an_answer)
{
    struct asking got = find("H_1-a.io:5000", "a/b");

    cr_assert_eq(got.rc, 0, "%s", got.err.message);
    cr_expect_str_eq(got.cred.username, "H_1-a.io:5000");
    cr_expect_str_eq(got.cred.password, "");
    cr_expect_str_eq(got.cred.identity_token, "a/b");
    cr_expect_null(got.cred.registry_token);
    cr_expect_str_eq(got.cred.from, "file");
    kf_cred_fini(&got.cred);
    got = find("[::1]:5000", NULL);
    cr_assert_eq(got.rc, 0);
    cr_expect_str_eq(got.cred.identity_token, "(whole host)");
    kf_cred_fini(&got.cred);
}

Test(creds_channel, nothing)
{
    struct asking got = find("nothing.io", "a/b");

    cr_expect_eq(got.rc, 0);
    cr_expect_null(got.cred.username);
    cr_expect_null(got.cred.from);
}

Test(creds_channel, a_failure)
{
    struct asking got = find("refused.io", "a/b");

    cr_expect_eq(got.rc, -1);
    cr_expect_eq(got.err.kind, KF_E_REFUSED);
    cr_expect_str_eq(got.err.message, "not for 'refused.io'");
}

Test(creds_channel, a_child_that_breaks_down)
{
    struct asking got = find("crash.io", "a/b");

    cr_expect_eq(got.rc, -1);
    cr_expect_eq(got.err.kind, KF_E_IO, "%s", got.err.message);
    cr_expect_eq(find("nothing.io", "a/b").rc, 0);
}

Test(creds_channel, texts_up_to_the_limit)
{
    struct asking got;

    long_size = KF_CREDS_ANSWER_LIMIT - 1 - 2; /* two NULs, and "f" */
    got = find("long.io", "a/b");
    cr_assert_eq(got.rc, 0, "%s", got.err.message);
    cr_expect_eq(strlen(got.cred.username), long_size);
    kf_cred_fini(&got.cred);
    long_size++;
    got = find("long.io", "a/b");
    cr_expect_eq(got.rc, -1);
    cr_expect_eq(got.err.kind, KF_E_LIMIT);
}

Test(creds_channel, names_up_to_the_limit)
{
    char name[KF_CREDS_NAME_SIZE + 1];
    struct asking got;

    memset(name, 'a', sizeof(name));
    name[KF_CREDS_NAME_SIZE - 1] = '\0';
    got = find(name, name);
    cr_assert_eq(got.rc, 0, "%s", got.err.message);
    kf_cred_fini(&got.cred);
    name[KF_CREDS_NAME_SIZE - 1] = 'a';
    name[KF_CREDS_NAME_SIZE] = '\0';
    got = find(name, "a");
    cr_expect_eq(got.err.kind, KF_E_LIMIT);
    got = find("h.io", name);
    cr_expect_eq(got.err.kind, KF_E_LIMIT);
}

/* The child of a slow answer is busy: the keeper is not, and ends it when it leaves. */
Test(creds_channel, the_keeper_does_not_wait)
{
    struct asking asking = {.host = "slow.io", .repository = "a"};
    pthread_t thread;
    pid_t child;

    cr_assert_eq(pthread_create(&thread, NULL, find_main, &asking), 0);
    cr_assert_eq(poll(&(struct pollfd){.fd = ends[0], .events = POLLIN}, 1, 10000), 1);
    cr_assert_eq(kf_creds_desk_hear(&desk, NULL), 0);
    child = desk.child;
    cr_assert_gt(child, 0);
    cr_expect_eq(kf_creds_desk_fd(&desk), -1); /* the next question lies there */
    kf_creds_desk_reap(&desk);
    cr_expect_eq(desk.child, child);
    kf_creds_desk_fini(&desk);
    cr_expect_eq(kill(child, 0), -1);
    (void)pthread_join(thread, NULL);
    cr_expect_eq(asking.rc, -1);
    cr_expect_eq(asking.err.kind, KF_E_CANCELLED);
}

Test(creds_channel, stopping_ends_those_who_wait)
{
    struct asking askings[3] = {{.host = "slow.io", .repository = "a"},
                                {.host = "h.io", .repository = "a"},
                                {.host = "h.io", .repository = "b"}};
    pthread_t threads[3];

    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, find_main, &askings[i]), 0);
    cr_assert_eq(poll(&(struct pollfd){.fd = ends[0], .events = POLLIN}, 1, 10000), 1);
    kf_creds_ask_stop(ask);
    for (size_t i = 0; i < 3; i++) {
        (void)pthread_join(threads[i], NULL);
        cr_expect_eq(askings[i].rc, -1);
        cr_expect_eq(askings[i].err.kind, KF_E_CANCELLED);
    }
    find_main(&askings[0]); /* and those who come later */
    cr_expect_eq(askings[0].err.kind, KF_E_CANCELLED);
    cr_expect_eq(kf_creds_desk_hear(&desk, NULL), 0);
}

Test(creds_channel, an_answer_of_before_is_passed_over)
{
    struct kf_creds_answer old = {.id = 7, .kind = KF_E_IO, .text = "of before"};
    struct asking got;

    cr_assert_eq(send(ends[0], &old, sizeof(old), 0), (ssize_t)sizeof(old));
    got = find("nothing.io", "a");
    cr_expect_eq(got.rc, 0, "%s", got.err.message);
}

Test(creds_channel, questions_a_minute)
{
    struct asking got;

    kf_clock_fake(KF_NS_PER_S);
    for (unsigned i = 0; i < KF_CREDS_A_MINUTE; i++)
        cr_assert_eq(find("nothing.io", "a").rc, 0);
    got = find("nothing.io", "a");
    cr_expect_eq(got.rc, -1);
    cr_expect_eq(got.err.kind, KF_E_LIMIT);
    kf_clock_fake(61 * KF_NS_PER_S);
    cr_expect_eq(find("nothing.io", "a").rc, 0);
    kf_clock_fake(-1);
}

Test(creds_channel, hosts_of_a_mount)
{
    struct asking got;
    char host[32];

    for (unsigned i = 0; i < KF_CREDS_HOSTS; i++) {
        (void)snprintf(host, sizeof(host), "h%u.io", i);
        got = find(host, "a");
        cr_assert_eq(got.rc, 0);
        kf_cred_fini(&got.cred);
    }
    got = find("H0.io", "a");
    cr_expect_eq(got.rc, 0);
    kf_cred_fini(&got.cred);
    got = find("one-more.io", "a");
    cr_expect_eq(got.rc, -1);
    cr_expect_eq(got.err.kind, KF_E_LIMIT);
}

/* ---- a worker that does not keep to the rules ---- */

static void expect_bad(const struct kf_creds_question *asked, size_t size)
{
    struct kf_err err = {0};

    cr_assert_eq(send(ends[1], asked, size, 0), (ssize_t)size);
    cr_expect_eq(kf_creds_desk_hear(&desk, &err), -1);
    cr_expect_eq(err.kind, KF_E_MALFORMED);
    cr_expect_eq(desk.child, 0);
}

Test(creds_channel, questions_that_are_none)
{
    struct kf_creds_question good = {.host = "h.io", .repository = "a/b"}, asked = good;
    char longer[sizeof(good) + 1] = {0};

    memset(asked.host, 'a', sizeof(asked.host));
    expect_bad(&asked, sizeof(asked));
    asked = good;
    memset(asked.repository, 'a', sizeof(asked.repository));
    expect_bad(&asked, sizeof(asked));
    expect_bad(&good, sizeof(good) - 1);
    memcpy(longer, &good, sizeof(good));
    cr_assert_eq(send(ends[1], longer, sizeof(longer), 0), (ssize_t)sizeof(longer));
    cr_expect_eq(kf_creds_desk_hear(&desk, NULL), -1);
}

Test(creds_channel, names_that_nobody_is_asked_about)
{
    static const char *const names[][2] = {
        {"", "a"},       {"a/b", "a"},       {"h.io\n", "a"}, {"a b", "a"},
        {"..\x7f", "a"}, {"h\xc3\xa4", "a"}, {"h.io", "a:b"}, {"h.io", "a\n"}};

    for (size_t i = 0; i < KF_ARRAY_LEN(names); i++) {
        struct asking got = find(names[i][0], names[i][1]);

        cr_expect_eq(got.rc, -1);
        cr_expect_eq(got.err.kind, KF_E_ARG, "%s", names[i][0]);
    }
}

Test(creds_channel, a_keeper_that_is_gone)
{
    struct asking asking = {.host = "h.io", .repository = "a"};

    kf_creds_desk_fini(&desk);
    find_main(&asking);
    cr_expect_eq(asking.err.kind, KF_E_CANCELLED);
}
