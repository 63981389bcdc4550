#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/mountinfo.h"

TestSuite(mountinfo, .timeout = 10);

static const char text[] =
    "21 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n"
    "22 21 0:20 / /proc rw,nosuid shared:7 master:2 - proc proc rw\n"
    "not a line\n"
    "40 21 0:39 / /models/a\\040b\\134c ro,nosuid - fuse.kitfs r.example/m:v1@sha256:00 "
    "ro,user_id=0,group_id=0\n"
    "41 21 0:40 / /twice ro - tmpfs one rw\n"
    "42 41 0:41 / /twice ro propagate_from:3 - fuse.kitfs two ro\n"
    "43 21 0:42 / /no-source ro - fuse.kitfs  ro\n";

Test(mountinfo, lines_are_parsed_and_others_skipped)
{
    const char *cursor = text;
    struct kf_mount_point point;
    int count = 0;

    while (kf_mountinfo_next(&cursor, &point))
        count++;
    cr_expect_eq(count, 6);
    cr_expect_eq(*cursor, '\0');
    cr_expect_not(kf_mountinfo_next(&cursor, &point));
}

Test(mountinfo, escapes_are_resolved)
{
    struct kf_mount_point point;

    cr_assert(kf_mountinfo_find(text, "/models/a b\\c", &point));
    cr_expect_eq(point.major, 0);
    cr_expect_eq(point.minor, 39);
    cr_expect_str_eq(point.type, "fuse.kitfs");
    cr_expect_str_eq(point.source, "r.example/m:v1@sha256:00");
}

Test(mountinfo, the_topmost_counts)
{
    struct kf_mount_point point;

    cr_assert(kf_mountinfo_find(text, "/twice", &point));
    cr_expect_str_eq(point.source, "two");
}

Test(mountinfo, only_whole_paths_match)
{
    struct kf_mount_point point;

    cr_expect_not(kf_mountinfo_find(text, "/twic", &point));
    cr_expect_not(kf_mountinfo_find(text, "/twice/", &point));
    cr_expect_not(kf_mountinfo_find(text, "", &point));
    cr_expect_not(kf_mountinfo_find("", "/", &point));
}

Test(mountinfo, a_mount_without_a_source)
{
    struct kf_mount_point point;

    cr_assert(kf_mountinfo_find(text, "/no-source", &point));
    cr_expect_str_eq(point.source, "");
}

Test(mountinfo, devices)
{
    cr_expect(kf_mountinfo_has(text, 0, 39));
    cr_expect(kf_mountinfo_has(text, 254, 1));
    cr_expect_not(kf_mountinfo_has(text, 0, 1));
    cr_expect_not(kf_mountinfo_has(text, 254, 39));
}

Test(mountinfo, malformed_lines_are_skipped)
{
    static const char *const lines[] = {
        "1",
        "1 2",
        "1 2 0:3",
        "1 2 0:3 /",
        "1 2 0:3 / /a",
        "1 2 0:3 / /a rw",
        "1 2 0:3 / /a rw shared:1",
        "1 2 0:3 / /a rw -",
        "1 2 0:3 / /a rw - ",
        "1 2 03 / /a rw - t s",
        "1 2 :3 / /a rw - t s",
        "1 2 0:x / /a rw - t s",
        "1 2 0:4294967296 / /a rw - t s",
        "1 2 99999999999999999999:1 / /a rw - t s",
        "1 2 0: / /a rw - t s x",
        "1  0:3 / /a rw - t s",
        "\n\n",
        " ",
    };
    struct kf_mount_point point;

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const char *cursor = lines[i];

        if (kf_mountinfo_next(&cursor, &point))
            cr_expect_str_eq(lines[i], "1 2 0: / /a rw - t s x", "'%s' was taken",
                             lines[i]);
    }
}

Test(mountinfo, too_long_paths_are_skipped_at_the_limit)
{
    char *line = malloc(2 * PATH_MAX);
    struct kf_mount_point point;
    const char *cursor = line;

    cr_assert(line);
    (void)snprintf(line, 2 * PATH_MAX, "1 2 0:3 / /%0*d rw - t s\n", PATH_MAX - 2, 0);
    cr_expect(kf_mountinfo_next(&cursor, &point));
    cr_expect_eq(strlen(point.dir), PATH_MAX - 1);
    (void)snprintf(line, 2 * PATH_MAX, "1 2 0:3 / /%0*d rw - t s\n", PATH_MAX - 1, 0);
    cursor = line;
    cr_expect_not(kf_mountinfo_next(&cursor, &point));
    free(line);
}

Test(mountinfo, this_machine)
{
    struct kf_mount_point point;

    cr_expect_eq(kf_mount_at("/proc", &point, NULL), 1);
    cr_expect_str_eq(point.type, "proc");
    cr_expect_eq(kf_mount_exists(point.major, point.minor, NULL), 1);
    cr_expect_eq(kf_mount_at("/proc/self/no", &point, NULL), 0);
    cr_expect_eq(kf_mount_exists(4000, 4000, NULL), 0);
}
