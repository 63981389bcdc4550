#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "options.h"

static struct kf_err err;

static int parse(struct kf_options *ret, unsigned verb, int argc, const char *const *argv)
{
    kf_err_clear(&err);
    return kf_options_parse(ret, verb, argc, (void *)(uintptr_t)argv, &err);
}

#define PARSE(ret, verb, ...)                                                 \
    parse(ret, verb, (int)KF_ARRAY_LEN(((const char *const[]){__VA_ARGS__})), \
          (const char *const[]){__VA_ARGS__})

Test(options, defaults_come_from_the_table)
{
    struct kf_options o;

    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "ref", "dir"), 0);
    cr_assert_eq(o.arg_count, 2);
    cr_assert_str_eq(o.args[1], "dir");
    cr_assert_eq(o.connections, 8);
    cr_assert_eq(o.memory_bytes, 160u << 20);
    cr_assert_eq(o.read_timeout_ns, 300 * KF_NS_PER_S);
    cr_assert_eq(o.umask, 022);
    cr_assert_eq(o.min_free_percent, 10);
    cr_assert(o.tls_verify);
    cr_assert_not(o.plain_http);
    kf_options_fini(&o);
}

Test(options, every_form_of_a_value)
{
    struct kf_options o;

    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "--memory=64M", "--connections", "3", "-fq", "r",
                       "--tls-verify=false", "--cache-size", "20%", "d"),
                 0, "%s", err.message);
    cr_assert_eq(o.memory_bytes, 64u << 20);
    cr_assert_eq(o.connections, 3);
    cr_assert(o.foreground && o.quiet);
    cr_assert_not(o.tls_verify);
    cr_assert_eq(o.cache_size.percent, 20);
    cr_assert_eq(o.cache_size.bytes, 0);
    cr_assert_eq(o.arg_count, 2);
    kf_options_fini(&o);
}

Test(options, the_command_line_wins_over_o_and_o_over_the_environment)
{
    struct kf_options o;

    setenv("KITFS_CONNECTIONS", "2", 1);
    setenv("KITFS_MEMORY", "32M", 1);
    setenv("KITFS_READ_TIMEOUT", "7s", 1);
    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "--connections", "4", "r", "d", "-o",
                       "connections=3,memory=48M"),
                 0);
    cr_assert_eq(o.connections, 4);
    cr_assert_eq(o.memory_bytes, 48u << 20);
    cr_assert_eq(o.read_timeout_ns, 7 * KF_NS_PER_S);
    kf_options_fini(&o);
}

/* Values of one source make a list; those of another take its place. */
Test(options, lists_come_from_one_source)
{
    struct kf_options options;

    setenv("KITFS_FILTER", "docs", 1);
    cr_assert_eq(PARSE(&options, KF_V_MOUNT, "a"), 0);
    cr_assert_eq(options.filters.count, 1);
    cr_assert_str_eq(options.filters.items[0], "docs");
    kf_options_fini(&options);
    cr_assert_eq(PARSE(&options, KF_V_MOUNT, "-o", "filter=code,filter=model:m", "a"), 0);
    cr_assert_eq(options.filters.count, 2);
    cr_assert_str_eq(options.filters.items[0], "code");
    cr_assert_str_eq(options.filters.items[1], "model:m");
    kf_options_fini(&options);
    cr_assert_eq(PARSE(&options, KF_V_MOUNT, "--filter", "model", "-o", "filter=code",
                       "--filter=x,y"),
                 0);
    cr_assert_eq(options.filters.count, 2);
    cr_assert_str_eq(options.filters.items[0], "model");
    cr_assert_str_eq(options.filters.items[1], "x,y");
    kf_options_fini(&options);
    unsetenv("KITFS_FILTER");
}

Test(options, options_of_mount_8_are_passed_over)
{
    struct kf_options o;

    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "r", "d", "-o",
                       "ro,nosuid,_netdev,nofail,x-systemd.automount,allow_other,uid=5"),
                 0, "%s", err.message);
    cr_assert(o.allow_other);
    cr_assert_eq(o.uid, 5);
    kf_options_fini(&o);
}

Test(options, a_bad_environment_names_the_variable)
{
    struct kf_options o;

    setenv("KITFS_MEMORY", "lots", 1);
    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "r", "d"), -1);
    cr_assert(strstr(err.message, "KITFS_MEMORY"));
    cr_assert_eq(err.kind, KF_E_ARG);
}

Test(options, the_environment_of_other_verbs_does_not_matter)
{
    struct kf_options o;

    setenv("KITFS_MEMORY", "lots", 1);
    cr_assert_eq(PARSE(&o, KF_V_UMOUNT, "d"), 0, "%s", err.message);
    kf_options_fini(&o);
}

Test(options, a_mistyped_option_gets_the_nearest_one)
{
    struct kf_options o;

    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "--plain-htpp", "r", "d"), -1);
    cr_assert(strstr(err.message, "--plain-http"), "%s", err.message);
    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "--zzzzzzzz", "r", "d"), -1);
    cr_assert(strstr(err.message, "--help"), "%s", err.message);
    cr_assert_eq(PARSE(&o, KF_V_UMOUNT, "--memory=1M", "d"), -1,
                 "an option of another verb is refused");
    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "-o", "memroy=1M", "r", "d"), -1);
    cr_assert(strstr(err.message, "memory"), "%s", err.message);
}

Test(options, a_value_that_is_missing_or_wrong)
{
    struct kf_options o;

    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "r", "d", "--memory"), -1);
    cr_assert(strstr(err.message, "needs a value"));
    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "--prefetch", "all", "r", "d"), -1);
    cr_assert(strstr(err.message, "none|auto"));
    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "--connections", "0", "r", "d"), -1);
    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "--umask", "999", "r", "d"), -1);
    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "--min-free", "101%", "r", "d"), -1);
}

/* As kit's: a flag with a value only behind '='. */
Test(options, tls_verify_does_not_eat_the_next_word)
{
    struct kf_options o;

    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "--tls-verify", "r", "d"), 0, "%s", err.message);
    cr_assert(o.tls_verify);
    cr_assert_eq(o.arg_count, 2);
    kf_options_fini(&o);
    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "-o", "rw,tls_verify=no", "r", "d"), 0, "%s",
                 err.message);
    cr_assert_not(o.tls_verify);
    kf_options_fini(&o);
    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "--tls-verify=perhaps", "r", "d"), -1);
}

Test(options, a_letter_means_what_its_verb_says)
{
    struct kf_options o;

    cr_assert_eq(PARSE(&o, KF_V_UMOUNT, "-l", "d"), 0);
    cr_assert(o.lazy && !o.long_listing);
    kf_options_fini(&o);
    cr_assert_eq(PARSE(&o, KF_V_LS, "-lR", "r"), 0);
    cr_assert(o.long_listing && o.recursive && !o.lazy);
    kf_options_fini(&o);
    cr_assert_eq(PARSE(&o, KF_V_LS, "-lx", "r"), -1);
    cr_assert(strstr(err.message, "-x"), "%s", err.message);
    cr_assert_eq(PARSE(&o, KF_V_UMOUNT, "-o", "ro", "d"), -1, "-o is mount's");
}

Test(options, kits_names_of_the_client_certificate)
{
    struct kf_options o;

    setenv("KITOPS_CLIENT_CERT", "kit.crt", 1);
    setenv("KITOPS_CLIENT_KEY", "kit.key", 1);
    cr_assert_eq(PARSE(&o, KF_V_MOUNT, "--key", "own.key", "r", "d"), 0);
    cr_assert_str_eq(o.cert, "kit.crt");
    cr_assert_str_eq(o.key, "own.key");
    kf_options_fini(&o);
}

Test(options, arguments_up_to_the_limit)
{
    const char *words[KF_ARGS_LIMIT + 1];
    struct kf_options o;

    for (size_t i = 0; i < KF_ARRAY_LEN(words); i++)
        words[i] = "a";
    cr_assert_eq(parse(&o, KF_V_MOUNT, KF_ARGS_LIMIT, words), 0);
    cr_assert_eq(o.arg_count, KF_ARGS_LIMIT);
    kf_options_fini(&o);
    cr_assert_eq(parse(&o, KF_V_MOUNT, KF_ARGS_LIMIT + 1, words), -1);
}

/* Parsing looks an option up by name or letter: two rows of a verb must differ. */
Test(options, the_table_is_sound)
{
    for (size_t i = 0; i < kf_option_count; i++) {
        const struct kf_option *a = &kf_option_table[i];

        cr_assert(!kf_option_takes_value(a) || a->argument, "%s", a->name);
        for (size_t k = 0; k < i; k++) {
            const struct kf_option *b = &kf_option_table[k];

            if ((a->verbs & b->verbs) == 0)
                continue;
            cr_assert(strcmp(a->name, b->name) != 0, "%s twice", a->name);
            cr_assert(!a->letter || a->letter != b->letter, "-%c twice", a->letter);
        }
    }
}

Test(options, two_dashes_end_options)
{
    struct kf_options o;

    cr_assert_eq(PARSE(&o, KF_V_UMOUNT, "--", "--lazy"), 0);
    cr_assert_eq(o.arg_count, 1);
    cr_assert_str_eq(o.args[0], "--lazy");
    cr_assert_not(o.lazy);
    kf_options_fini(&o);
}

static const struct kf_option *option_of_type(enum kf_option_type type)
{
    for (size_t i = 0; i < kf_option_count; i++)
        if (kf_option_table[i].type == type)
            return &kf_option_table[i];
    return NULL;
}

Test(values, sizes)
{
    static const struct {
        const char *text;
        uint64_t value; /* UINT64_MAX: refused */
    } cases[] = {
        {"0", 0},
        {"1048576", 1048576},
        {"1k", 1024},
        {"10M", 10u << 20},
        {"10MiB", 10u << 20},
        {"3GB", UINT64_C(3) << 30},
        {"1T", UINT64_C(1) << 40},
        {"-1", UINT64_MAX},
        {"", UINT64_MAX},
        {"M", UINT64_MAX},
        {"1X", UINT64_MAX},
        {"1M1", UINT64_MAX},
        {"18446744073709551616", UINT64_MAX},
        {"99999999999T", UINT64_MAX},
    };
    const struct kf_option *option = option_of_type(KF_OPT_SIZE);

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        uint64_t value = 77;
        int rc = kf_option_parse_value(option, cases[i].text, &value, &err);

        cr_assert_eq(rc, cases[i].value == UINT64_MAX ? -1 : 0, "%s", cases[i].text);
        if (rc == 0)
            cr_assert_eq(value, cases[i].value, "%s", cases[i].text);
        else
            cr_assert_eq(value, 77, "a refused value changes nothing");
    }
}

Test(values, durations)
{
    const struct kf_option *option = option_of_type(KF_OPT_DURATION);
    int64_t value;

    cr_assert_eq(kf_option_parse_value(option, "500ms", &value, &err), 0);
    cr_assert_eq(value, 500 * KF_NS_PER_MS);
    cr_assert_eq(kf_option_parse_value(option, "2h", &value, &err), 0);
    cr_assert_eq(value, 7200 * KF_NS_PER_S);
    cr_assert_eq(kf_option_parse_value(option, "0", &value, &err), -1);
    cr_assert_eq(kf_option_parse_value(option, "5 m", &value, &err), -1);
}

Test(values, users_by_name)
{
    const struct kf_option *option = option_of_type(KF_OPT_ID);
    uint64_t value;

    cr_assert_eq(kf_option_parse_value(option, "root", &value, &err), 0);
    cr_assert_eq(value, 0);
    cr_assert_eq(kf_option_parse_value(option, "no-such-user-here", &value, &err), -1);
    cr_assert_eq(kf_option_parse_value(option, "4294967295", &value, &err), -1,
                 "the id that means none");
}

Test(nearest, only_what_is_near)
{
    static const char *const words[] = {"mount", "umount", "status", "list"};

    cr_assert_str_eq(kf_nearest("mout", words, 4), "mount");
    cr_assert_str_eq(kf_nearest("statsu", words, 4), "status");
    cr_assert_str_eq(kf_nearest("lst", words, 4), "list");
    cr_assert_null(kf_nearest("frobnicate", words, 4));
    cr_assert_null(kf_nearest("", words, 4));
}
