#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"
#include "fs/status.h"

TestSuite(status, .timeout = 10);

static int pids(const char *text, pid_t *keeper, pid_t *worker, struct kf_err *err)
{
    return kf_status_pids(text, strlen(text), keeper, worker, err);
}

Test(status, names_its_processes)
{
    pid_t keeper, worker;

    cr_assert_eq(pids("{\"pid_worker\": 43, \"x\": [1], \"pid_keeper\": 42}", &keeper,
                      &worker, NULL),
                 0);
    cr_expect_eq(keeper, 42);
    cr_expect_eq(worker, 43);
}

Test(status, foreign_text_names_nobody)
{
    static const char *const texts[] = {
        "",
        "x",
        "[]",
        "{}",
        "{\"pid_keeper\": 42}",
        "{\"pid_keeper\": \"42\", \"pid_worker\": 43}",
        "{\"pid_keeper\": 1, \"pid_worker\": 43}",
        "{\"pid_keeper\": 42, \"pid_worker\": 0}",
        "{\"pid_keeper\": -1, \"pid_worker\": 43}",
        "{\"pid_keeper\": 42, \"pid_worker\": 43",
        "{\"pid_keeper\": 4294967338, \"pid_worker\": 43}",
        "{\"pid_keeper\": 42, \"pid_worker\": 99999999999999999999}",
    };
    pid_t keeper = 7, worker = 8;
    struct kf_err err;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        memset(&err, 0, sizeof(err));
        cr_expect_eq(pids(texts[i], &keeper, &worker, &err), -1, "%s", texts[i]);
        cr_expect_eq(err.kind, KF_E_MALFORMED, "%s", texts[i]);
    }
    cr_expect_eq(keeper, 7);
    cr_expect_eq(worker, 8);
}
