#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

static int to_log, from_log;

static void make_pipe(void)
{
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    from_log = fds[0];
    to_log = fds[1];
}

static void close_pipe(void)
{
    close(from_log);
    close(to_log);
}

TestSuite(log, .init = make_pipe, .fini = close_pipe);

/* What one write(2) put into the pipe; empty when there was none. */
static const char *line(void)
{
    static char text[8192];
    ssize_t got;

    fcntl(from_log, F_SETFL, O_NONBLOCK);
    got = read(from_log, text, sizeof(text) - 1);
    text[got > 0 ? got : 0] = '\0';
    return text;
}

Test(log, text_line)
{
    kf_log_setup(KF_LOG_INFO, KF_LOG_TEXT, to_log);
    kf_log(KF_LOG_INFO, "fetch", "event=slow host=%s age_ms=%d", "h", 7);
    cr_assert_str_eq(line(), "kitfs: info fetch: event=slow host=h age_ms=7\n");
    kf_log(KF_LOG_ERROR, "fs", "x");
    cr_assert_str_eq(line(), "kitfs: error fs: x\n");
    kf_log(KF_LOG_WARN, "fs", "x");
    cr_assert_str_eq(line(), "kitfs: warning fs: x\n");
}

Test(log, lower_levels_are_silent)
{
    kf_log_setup(KF_LOG_WARN, KF_LOG_TEXT, to_log);
    kf_log(KF_LOG_INFO, "fetch", "x");
    kf_log(KF_LOG_DEBUG, "fetch", "x");
    cr_assert_str_empty(line());
    cr_assert(kf_log_enabled(KF_LOG_WARN, "fetch"));
    cr_assert_not(kf_log_enabled(KF_LOG_INFO, "fetch"));
}

Test(log, debug_opens_the_named_modules)
{
    struct kf_err err;

    kf_log_setup(KF_LOG_ERROR, KF_LOG_TEXT, to_log);
    cr_assert_eq(kf_log_debug("net,cache", NULL), 0);
    cr_assert(kf_log_enabled(KF_LOG_DEBUG, "net"));
    cr_assert(kf_log_enabled(KF_LOG_INFO, "cache"));
    cr_assert_not(kf_log_enabled(KF_LOG_DEBUG, "fs"));
    cr_assert_eq(kf_log_debug("fs,nonsense", &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG);
    cr_assert_not_null(strstr(err.message, "'nonsense'"));
    cr_assert_not(kf_log_enabled(KF_LOG_DEBUG, "fs"));
    cr_assert_eq(kf_log_debug("ne", NULL), -1);
    cr_assert_eq(kf_log_debug("netx", NULL), -1);
    cr_assert_eq(kf_log_debug("", NULL), 0);
    cr_assert_eq(kf_log_debug(",fs,", NULL), 0);
    cr_assert(kf_log_enabled(KF_LOG_DEBUG, "fs"));
    cr_assert_not(kf_log_enabled(KF_LOG_DEBUG, "tools"));
    cr_assert_eq(kf_log_debug("all", NULL), 0);
    cr_assert(kf_log_enabled(KF_LOG_DEBUG, "tools"));
}

Test(log, every_module_can_be_debugged)
{
    cr_assert_eq(
        kf_log_debug("base,net,oci,kitfile,cache,fetch,layer,kit,fs,pack,tools", NULL),
        0);
}

Test(log, levels_by_name)
{
    enum kf_log_level level = KF_LOG_ERROR;
    struct kf_err err;

    cr_assert_eq(kf_log_parse_level("debug", &level, NULL), 0);
    cr_assert_eq(level, KF_LOG_DEBUG);
    cr_assert_eq(kf_log_parse_level("warn", &level, NULL), 0);
    cr_assert_eq(level, KF_LOG_WARN);
    cr_assert_eq(kf_log_parse_level("warning", &level, NULL), 0);
    cr_assert_eq(level, KF_LOG_WARN);
    cr_assert_eq(kf_log_parse_level("info", &level, NULL), 0);
    cr_assert_eq(level, KF_LOG_INFO);
    cr_assert_eq(kf_log_parse_level("loud", &level, &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG);
    cr_assert_eq(level, KF_LOG_INFO);
}

Test(log, text_stays_one_line_without_escapes)
{
    kf_log_setup(KF_LOG_INFO, KF_LOG_TEXT, to_log);
    kf_log(KF_LOG_INFO, "fs", "%s", "a\nkitfs: error fs: forged\x1b[2J\x7f");
    cr_assert_str_eq(line(), "kitfs: info fs: a kitfs: error fs: forged [2J \n");
}

/* The message of a JSON line, still escaped. */
static const char *json_message(const char *text)
{
    static char message[8192];
    const char *start, *end;

    kf_log(KF_LOG_INFO, "fs", "%s", text);
    start = strstr(line(), "\"message\":\"");
    cr_assert_not_null(start);
    start += strlen("\"message\":\"");
    end = strstr(start, "\"}\n");
    cr_assert_not_null(end);
    cr_assert_eq(end[3], '\0');
    memcpy(message, start, (size_t)(end - start));
    message[end - start] = '\0';
    return message;
}

Test(log, json_line)
{
    const char *text;
    long long when;
    int used = 0;

    kf_log_setup(KF_LOG_INFO, KF_LOG_JSON, to_log);
    kf_log(KF_LOG_WARN, "net", "event=%s", "x");
    text = line();
    cr_assert_eq(sscanf(text, "{\"time\":%lld%n", &when, &used), 1);
    cr_assert_leq(when, kf_wall_s());
    cr_assert_str_eq(
        text + used,
        ",\"level\":\"warning\",\"module\":\"net\",\"message\":\"event=x\"}\n");
}

Test(log, json_escapes_what_must_be)
{
    kf_log_setup(KF_LOG_INFO, KF_LOG_JSON, to_log);
    cr_assert_str_eq(json_message("say \"a\\b\"\n\x1f\x7f"),
                     "say \\\"a\\\\b\\\"\\u000a\\u001f\\u007f");
    cr_assert_str_eq(json_message("\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80"),
                     "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80");
}

Test(log, json_replaces_what_is_not_utf8)
{
    static const char *const bad[] = {
        "\x80",
        "\xff",
        "\xc3",
        "\xe2\x82",
        "\xf0\x9f\x98", /* alone or cut */
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xf0\x8f\xbf\xbf", /* longer than needed */
        "\xed\xa0\x80",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", /* surrogate, beyond */
    };

    kf_log_setup(KF_LOG_INFO, KF_LOG_JSON, to_log);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char expected[64] = "";

        for (size_t j = 0; j < strlen(bad[i]); j++)
            strncat(expected, "\\ufffd", sizeof(expected) - strlen(expected) - 1);
        cr_assert_str_eq(json_message(bad[i]), expected, "case %zu", i);
    }
    cr_assert_str_eq(json_message("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"),
                     "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf");
}

Test(log, long_lines_are_cut_and_whole)
{
    char text[5000];
    const char *message;

    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    kf_log_setup(KF_LOG_INFO, KF_LOG_TEXT, to_log);
    kf_log(KF_LOG_INFO, "fs", "%s", text);
    cr_assert_eq(strlen(line()), strlen("kitfs: info fs: ") + 1023 + 1);

    memset(text, '\n', sizeof(text) - 1);
    kf_log_setup(KF_LOG_INFO, KF_LOG_JSON, to_log);
    message = json_message(text);
    cr_assert_eq(strlen(message) % 6, 0);
    cr_assert_geq(strlen(message), 2000);
}

Test(log, a_full_pipe_drops_counts_and_does_not_block)
{
    char filler[4096] = "";
    int flags = fcntl(to_log, F_GETFL);

    kf_log_setup(KF_LOG_INFO, KF_LOG_TEXT, to_log);
    fcntl(to_log, F_SETFL, flags | O_NONBLOCK);
    while (write(to_log, filler, sizeof(filler)) > 0)
        ;
    fcntl(to_log, F_SETFL, flags);
    kf_log(KF_LOG_INFO, "fs", "lost");
    kf_log(KF_LOG_INFO, "fs", "lost");
    fcntl(from_log, F_SETFL, O_NONBLOCK);
    while (read(from_log, filler, sizeof(filler)) > 0)
        ;
    kf_log(KF_LOG_INFO, "fs", "kept");
    cr_assert_str_eq(line(), "kitfs: warning base: event=log_dropped lines=2\n"
                             "kitfs: info fs: kept\n");
    kf_log(KF_LOG_INFO, "fs", "next");
    cr_assert_str_eq(line(), "kitfs: info fs: next\n");
    cr_assert_eq(fcntl(to_log, F_GETFL), flags);
}

Test(log, a_reader_that_left_does_not_kill)
{
    int fds[2];

    signal(SIGPIPE, SIG_DFL);
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    close(fds[0]);
    kf_log_setup(KF_LOG_INFO, KF_LOG_TEXT, fds[1]);
    kf_log(KF_LOG_INFO, "fs", "x");
    close(fds[1]);
    kf_log(KF_LOG_INFO, "fs", "x");
    kf_log_setup(KF_LOG_INFO, KF_LOG_TEXT, to_log);
    kf_log(KF_LOG_INFO, "fs", "y");
    cr_assert_not_null(strstr(line(), "lines=2"));
}

Test(log, files_are_written)
{
    char text[64] = "";
    char path[] = "/tmp/kf-log-XXXXXX";
    int fd = mkstemp(path);

    kf_log_setup(KF_LOG_INFO, KF_LOG_TEXT, fd);
    kf_log(KF_LOG_INFO, "fs", "x");
    cr_assert_eq(pread(fd, text, sizeof(text) - 1, 0), 18);
    cr_assert_str_eq(text, "kitfs: info fs: x\n");
    close(fd);
    unlink(path);
}

Test(log, rate_lets_a_burst_through_and_counts_the_rest)
{
    struct kf_log_rate rate = {0};
    uint32_t dropped = 9;

    kf_clock_fake(1000);
    for (int i = 0; i < 3; i++) {
        cr_assert(kf_log_allowed(&rate, 3, 100, &dropped));
        cr_assert_eq(dropped, 0);
    }
    for (int i = 0; i < 5; i++)
        cr_assert_not(kf_log_allowed(&rate, 3, 100, &dropped));
    kf_clock_fake(1099);
    cr_assert_not(kf_log_allowed(&rate, 3, 100, &dropped));
    kf_clock_fake(1100);
    cr_assert(kf_log_allowed(&rate, 3, 100, &dropped));
    cr_assert_eq(dropped, 6);
    cr_assert(kf_log_allowed(&rate, 3, 100, &dropped));
    cr_assert_eq(dropped, 0);
}
