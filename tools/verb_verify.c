#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "kit/verify.h"
#include "opened.h"
#include "options.h"
#include "progress.h"
#include "verbs.h"

struct verifier {
    const struct kf_options *options;
    struct kf_progress progress;
    json_t *problems; /* --json */
};

static void on_problem(void *arg, const char *blob, const char *line)
{
    struct verifier *verifier = arg;

    kf_progress_clear(&verifier->progress);
    if (verifier->problems)
        (void)json_array_append_new(
            verifier->problems, json_pack("{s:s, s:s}", "blob", blob, "problem", line));
    else
        printf("%s: %s\n", blob, line);
}

static void on_progress(void *arg, const char *blob, uint64_t done, uint64_t total)
{
    struct verifier *verifier = arg;

    kf_progress_show(&verifier->progress, blob, done, total);
}

static void print_result(const struct verifier *verifier, const struct kf_kit *kit,
                         uint64_t problems)
{
    char digest[KF_DIGEST_TEXT_SIZE];
    json_t *root;

    (void)kf_digest_format(kf_kit_digest(kit), digest);
    if (!verifier->problems) {
        if (problems == 0 && !verifier->options->quiet)
            printf("%s%s is as its digests say\n",
                   verifier->options->filters.count > 0 ? "what was chosen of " : "",
                   digest);
        return;
    }
    root = json_pack("{s:s, s:b, s:O}", "digest", digest, "ok", problems == 0, "problems",
                     verifier->problems);
    kf_print_json(root);
    json_decref(root);
}

int kf_verb_verify(const struct kf_options *options)
{
    struct verifier verifier = {.options = options};
    struct kf_kit_verify_opts opts = {.timeout_ns = options->read_timeout_ns,
                                      .problem = on_problem,
                                      .progress = on_progress,
                                      .arg = &verifier};
    struct kf_opened opened;
    struct kf_err err = {0};
    uint64_t problems;

    if (kf_opened_open_uncached(&opened, options, &err) != 0)
        return kf_report_ref("verify", options, &err);
    kf_progress_init(&verifier.progress, options);
    verifier.problems = options->json ? json_array() : NULL;
    problems = kf_kit_verify(opened.kit, &opts);
    kf_progress_clear(&verifier.progress);
    print_result(&verifier, opened.kit, problems);
    json_decref(verifier.problems);
    kf_opened_close(&opened);
    if (problems == 0)
        return 0;
    fprintf(stderr, "[ERROR] Cannot verify %s: %" PRIu64 " thing%s wrong\n",
            options->args[0], problems, problems == 1 ? " is" : "s are");
    return 1;
}
