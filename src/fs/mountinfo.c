#include "fs/mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"

#define MOUNTINFO_LIMIT (UINT32_C(64) << 20)

struct slice {
    const char *start;
    size_t length;
};

/* The next field of a line that ends at `end`; false when there is none. */
static bool next_field(const char **at, const char *end, struct slice *ret)
{
    const char *stop;

    if (*at >= end)
        return false;
    stop = memchr(*at, ' ', (size_t)(end - *at));
    if (!stop)
        stop = end;
    *ret = (struct slice){*at, (size_t)(stop - *at)};
    *at = stop < end ? stop + 1 : end;
    return ret->length > 0;
}

static bool skip_fields(const char **at, const char *end, unsigned count)
{
    struct slice skipped;

    while (count-- > 0)
        if (!next_field(at, end, &skipped))
            return false;
    return true;
}

static bool is_octal(const char *text)
{
    return text[0] >= '0' && text[0] <= '3' && text[1] >= '0' && text[1] <= '7' &&
           text[2] >= '0' && text[2] <= '7';
}

/* The kernel writes blank, tab, newline and backslash as \ooo. False when it does not
 * fit. */
static bool unescape(struct slice from, char *out, size_t size)
{
    size_t used = 0;

    for (size_t i = 0; i < from.length; i++) {
        char c = from.start[i];

        if (c == '\\' && from.length - i > 3 && is_octal(from.start + i + 1)) {
            const char *digits = from.start + i + 1;

            c = (char)((digits[0] - '0') << 6 | (digits[1] - '0') << 3 |
                       (digits[2] - '0'));
            i += 3;
        }
        if (used + 1 >= size)
            return false;
        out[used++] = c;
    }
    out[used] = '\0';
    return true;
}

static bool parse_device(struct slice from, unsigned *ret_major, unsigned *ret_minor)
{
    char text[32], *end;
    unsigned long major, minor;

    if (from.length >= sizeof(text))
        return false;
    memcpy(text, from.start, from.length);
    text[from.length] = '\0';
    errno = 0;
    major = strtoul(text, &end, 10);
    if (*end != ':' || end == text)
        return false;
    minor = strtoul(end + 1, &end, 10);
    if (*end != '\0' || errno != 0 || major > UINT32_MAX || minor > UINT32_MAX)
        return false;
    *ret_major = (unsigned)major;
    *ret_minor = (unsigned)minor;
    return true;
}

/* id parent MAJOR:MINOR root DIR options [optional...] - TYPE SOURCE options */
static bool parse_line(const char *at, const char *end, struct kf_mount_point *ret)
{
    struct slice device = {0}, dir = {0}, part = {0}, type = {0}, source = {0};

    if (!skip_fields(&at, end, 2) || !next_field(&at, end, &device) ||
        !skip_fields(&at, end, 1) || !next_field(&at, end, &dir))
        return false;
    do
        if (!next_field(&at, end, &part))
            return false;
    while (part.length != 1 || part.start[0] != '-');
    if (!next_field(&at, end, &type))
        return false;
    if (!next_field(&at, end, &source))
        source.length = 0; /* mounted without a name */
    if (type.length >= sizeof(ret->type))
        type.length = sizeof(ret->type) - 1;
    return parse_device(device, &ret->major, &ret->minor) &&
           unescape(dir, ret->dir, sizeof(ret->dir)) &&
           unescape(type, ret->type, sizeof(ret->type)) &&
           unescape(source, ret->source, sizeof(ret->source));
}

bool kf_mountinfo_next(const char **cursor, struct kf_mount_point *ret)
{
    while (**cursor) {
        const char *line = *cursor;
        const char *end = strchrnul(line, '\n');

        *cursor = *end ? end + 1 : end;
        if (parse_line(line, end, ret))
            return true;
    }
    return false;
}

bool kf_mountinfo_find(const char *text, const char *dir, struct kf_mount_point *ret)
{
    struct kf_mount_point point;
    bool found = false;

    while (kf_mountinfo_next(&text, &point)) {
        if (strcmp(point.dir, dir) == 0) {
            *ret = point; /* later lines lie on top of earlier ones */
            found = true;
        }
    }
    return found;
}

bool kf_mountinfo_has(const char *text, unsigned major, unsigned minor)
{
    struct kf_mount_point point;

    while (kf_mountinfo_next(&text, &point))
        if (point.major == major && point.minor == minor)
            return true;
    return false;
}

static int load(struct kf_buf *ret, struct kf_err *err)
{
    kf_buf_init(ret, MOUNTINFO_LIMIT);
    if (kf_load_file(AT_FDCWD, "/proc/self/mountinfo", ret, err) != 0 ||
        kf_buf_append_text(ret, "", err) != 0) /* at least the NUL */
        return kf_fail_wrap(err, "cannot read the list of mounts");
    return 0;
}

int kf_mount_at(const char *dir, struct kf_mount_point *ret, struct kf_err *err)
{
    kf_auto(kf_buf_fini) struct kf_buf text;

    if (load(&text, err) != 0)
        return -1;
    return kf_mountinfo_find((const char *)text.data, dir, ret);
}

int kf_mount_exists(unsigned major, unsigned minor, struct kf_err *err)
{
    kf_auto(kf_buf_fini) struct kf_buf text;

    if (load(&text, err) != 0)
        return -1;
    return kf_mountinfo_has((const char *)text.data, major, minor);
}
