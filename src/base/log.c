#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

#define MESSAGE_SIZE 1024u
#define ESCAPED_SIZE (2 * MESSAGE_SIZE)
#define LINE_SIZE (ESCAPED_SIZE + 128) /* below PIPE_BUF: a pipe takes it whole */

static const char *const modules[] = {"base",  "net", "oci", "kitfile", "cache", "fetch",
                                      "layer", "kit", "fs",  "pack",    "tools"};
static const char *const level_names[] = {"error", "warning", "info", "debug"};

static uint32_t dropped_lines; /* atomic */

/* Set up before threads exist, read by all afterwards. */
static struct {
    enum kf_log_level level;
    enum kf_log_format format;
    int fd;
    uint32_t debug_modules; /* a bit each */
} settings = {.level = KF_LOG_WARN, .fd = STDERR_FILENO};

void kf_log_setup(enum kf_log_level level, enum kf_log_format format, int fd)
{
    settings.level = level;
    settings.format = format;
    settings.fd = fd;
}

static int module_index(const char *name, size_t length)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(modules); i++)
        if (strlen(modules[i]) == length && memcmp(modules[i], name, length) == 0)
            return (int)i;
    return -1;
}

int kf_log_debug(const char *names, struct kf_err *err)
{
    uint32_t bits = 0;

    while (*names) {
        size_t length = strcspn(names, ",");
        int index = module_index(names, length);

        if (length == 3 && memcmp(names, "all", 3) == 0)
            bits = UINT32_MAX;
        else if (index >= 0)
            bits |= UINT32_C(1) << index;
        else if (length > 0)
            return kf_fail(err, KF_E_ARG, "no module '%.*s' to debug", (int)length,
                           names);
        names += length + (names[length] == ',');
    }
    settings.debug_modules |= bits;
    return 0;
}

int kf_log_parse_level(const char *text, enum kf_log_level *ret, struct kf_err *err)
{
    static const struct {
        const char *name;
        enum kf_log_level level;
    } names[] = {{"error", KF_LOG_ERROR},  {"warn", KF_LOG_WARN},
                 {"warning", KF_LOG_WARN}, {"info", KF_LOG_INFO},
                 {"debug", KF_LOG_DEBUG},  {"trace", KF_LOG_DEBUG}};

    for (size_t i = 0; i < KF_ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i].name) == 0) {
            *ret = names[i].level;
            return 0;
        }
    }
    return kf_fail(err, KF_E_ARG,
                   "no log level '%s' (there are error, warn, info, debug, trace)", text);
}

bool kf_log_enabled(enum kf_log_level level, const char *module)
{
    int index;

    if (level <= settings.level)
        return true;
    if (settings.debug_modules == 0)
        return false;
    index = module_index(module, strlen(module));
    return index >= 0 && (settings.debug_modules >> index & 1) != 0;
}

/* The bytes of the UTF-8 character at `text` (RFC 3629, section 4), or 0 where there is
 * none; never looks beyond a NUL. */
static size_t character_length(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t length = at[0] < 0x80   ? 1
                    : at[0] < 0xc2 ? 0
                    : at[0] < 0xe0 ? 2
                    : at[0] < 0xf0 ? 3
                    : at[0] < 0xf5 ? 4
                                   : 0;

    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    /* Written longer than need be, a surrogate, beyond U+10FFFF. */
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return length;
}

/* Text for a JSON string: what is not UTF-8 becomes U+FFFD, what does not fit is cut at a
 * whole character. */
static void escape(char *out, size_t size, const char *text)
{
    size_t used = 0;

    while (*text) {
        unsigned char c = (unsigned char)*text;
        size_t length = character_length(text);
        char piece[8];

        if (c == '"' || c == '\\')
            (void)snprintf(piece, sizeof(piece), "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            (void)snprintf(piece, sizeof(piece), "\\u%04x", c);
        else if (length == 0)
            (void)snprintf(piece, sizeof(piece), "\\ufffd");
        else
            (void)snprintf(piece, sizeof(piece), "%.*s", (int)length, text);
        if (used + strlen(piece) >= size)
            break;
        memcpy(out + used, piece, strlen(piece));
        used += strlen(piece);
        text += length ? length : 1;
    }
    out[used] = '\0';
}

static void flatten(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
}

/* A reader that does not read must not hold us up, nor one that went away kill us. */
static bool writable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

    return poll(&poll_fd, 1, 0) == 1 && poll_fd.revents == POLLOUT;
}

static bool write_line(enum kf_log_level level, const char *module, char *message)
{
    char line[LINE_SIZE], escaped[ESCAPED_SIZE];
    int length;

    if (!writable(settings.fd))
        return false;
    if (settings.format == KF_LOG_JSON) {
        escape(escaped, sizeof(escaped), message);
        length = snprintf(line, sizeof(line),
                          "{\"time\":%lld,\"level\":\"%s\",\"module\":\"%s\","
                          "\"message\":\"%s\"}\n",
                          (long long)kf_wall_s(), level_names[level], module, escaped);
    } else {
        flatten(message);
        length = snprintf(line, sizeof(line), "kitfs: %s %s: %s\n", level_names[level],
                          module, message);
    }
    return length > 0 && write(settings.fd, line, (size_t)length) == length;
}

/* The next line that gets through tells how many did not. */
static void tell_dropped(void)
{
    uint32_t count = __atomic_exchange_n(&dropped_lines, 0, __ATOMIC_RELAXED);
    char message[64];

    if (count == 0)
        return;
    (void)snprintf(message, sizeof(message), "event=log_dropped lines=%u", count);
    if (!write_line(KF_LOG_WARN, "base", message))
        (void)__atomic_add_fetch(&dropped_lines, count, __ATOMIC_RELAXED); /* a count */
}

void kf_log(enum kf_log_level level, const char *module, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    va_list args;

    if (!kf_log_enabled(level, module))
        return;
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args); /* cut is fine */
    va_end(args);
    tell_dropped();
    if (!write_line(level, module, message))
        (void)__atomic_add_fetch(&dropped_lines, 1, __ATOMIC_RELAXED); /* a count */
}

bool kf_log_allowed(struct kf_log_rate *rate, uint32_t burst, int64_t period_ns,
                    uint32_t *ret_dropped)
{
    int64_t now = kf_now_ns();
    int64_t start = __atomic_load_n(&rate->period_start_ns, __ATOMIC_RELAXED);

    *ret_dropped = 0;
    if (start == 0 || now - start >= period_ns) {
        if (__atomic_compare_exchange_n(&rate->period_start_ns, &start, now, false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            *ret_dropped = __atomic_exchange_n(&rate->dropped, 0, __ATOMIC_RELAXED);
            __atomic_store_n(&rate->used, 0, __ATOMIC_RELAXED);
        }
    }
    if (__atomic_add_fetch(&rate->used, 1, __ATOMIC_RELAXED) <= burst)
        return true;
    (void)__atomic_add_fetch(&rate->dropped, 1 + *ret_dropped,
                             __ATOMIC_RELAXED); /* told later */
    *ret_dropped = 0;
    return false;
}
