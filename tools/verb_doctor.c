/*
 * What kitfs needs here and what it will do without, one line each, with the remedy; and
 * the way to a kit (doctor_registry.c). Exit code 1 when a mount cannot work.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "doctor.h"
#include "fs/mountinfo.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

#define TEXT_LIMIT ((size_t)1 << 20)
#define PASSTHROUGH_MAJOR 6
#define PASSTHROUGH_MINOR 9

void kf_doctor_say(struct kf_doctor *doctor, const char *check, enum kf_verdict verdict,
                   json_t *more, const char *format, ...)
{
    static const char *const verdicts[] = {"ok", "warn", "fail"};
    char text[1024];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args); /* cut is fine */
    va_end(args);
    kf_make_plain(text);
    doctor->failed |= verdict == KF_FAIL;
    if (doctor->list) {
        json_t *one =
            json_pack("{s:s, s:s, s:o}", "check", check, "verdict", verdicts[verdict],
                      "text", kf_json_name(text, strlen(text)));

        if (one && more)
            (void)json_object_update(one, more);        /* no memory: a field less */
        (void)json_array_append_new(doctor->list, one); /* no memory: a line less */
    } else {
        printf("%-5s %s\n", verdicts[verdict], text);
    }
    json_decref(more);
}

void kf_doctor_skip(struct kf_doctor *doctor, const char *what, const char *why)
{
    kf_doctor_say(doctor, "skipped", KF_WARN,
                  json_pack("{s:s, s:s}", "what", what, "why", why), "not tried, %s: %s",
                  why, what);
}

static bool have_admin(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {0};

    return syscall(SYS_capget, &header, data) == 0 &&
           (data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN)) !=
               0;
}

static bool fuse_conf_allows_others(void)
{
    struct kf_buf text;
    bool found = false;
    char *line, *rest;

    kf_buf_init(&text, TEXT_LIMIT);
    if (kf_load_file(AT_FDCWD, "/etc/fuse.conf", &text, NULL) == 0 && text.length > 0)
        for (rest = (char *)text.data; !found && (line = strsep(&rest, "\n"));)
            found = strcmp(line, "user_allow_other") == 0;
    kf_buf_fini(&text);
    return found;
}

static bool in_path(const char *program)
{
    static const char *const folders[] = {"/bin", "/usr/bin", "/usr/local/bin", "/sbin"};
    char path[64];

    for (size_t i = 0; i < KF_ARRAY_LEN(folders); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folders[i], program); /* fits */
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

static void check_device(struct kf_doctor *doctor, const char *kernel)
{
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        kf_doctor_say(doctor, "fuse", KF_OK, NULL, "/dev/fuse, kernel %s", kernel);
    else if (errno == ENOENT || errno == ENXIO || errno == ENODEV)
        kf_doctor_say(
            doctor, "fuse", KF_FAIL, NULL,
            "no /dev/fuse: load the module (modprobe fuse), or give the container the "
            "device");
    else
        kf_doctor_say(
            doctor, "fuse", KF_FAIL, NULL,
            "/dev/fuse cannot be opened (errno %d): its mode, or the container's device "
            "rules, keep you out",
            errno);
    kf_close_fd(&fd);
}

static void check_passthrough(struct kf_doctor *doctor, const char *kernel, bool admin)
{
    int major = 0, minor = 0;

    if (sscanf(kernel, "%d.%d", &major, &minor) != 2) // NOLINT(cert-err34-c)
        major = minor = 0; /* not a number: then nothing is known of it */
    if (major < PASSTHROUGH_MAJOR ||
        (major == PASSTHROUGH_MAJOR && minor < PASSTHROUGH_MINOR))
        kf_doctor_say(doctor, "passthrough", KF_WARN, NULL,
                      "no FUSE passthrough in kernel %s (6.9 has it)", kernel);
    else if (!admin)
        kf_doctor_say(doctor, "passthrough", KF_WARN, NULL,
                      "no FUSE passthrough without CAP_SYS_ADMIN");
}

static void check_fuse(struct kf_doctor *doctor)
{
    bool admin = have_admin();
    struct utsname system = {0};

    (void)uname(&system); /* only fails on a bad pointer */
    check_device(doctor, system.release);
    check_passthrough(doctor, system.release, admin);
    if (!admin && !in_path("fusermount3"))
        kf_doctor_say(doctor, "fusermount3", KF_FAIL, NULL,
                      "no fusermount3: install the package fuse3");
    if (access("/sys/class/bdi", W_OK) != 0)
        kf_doctor_say(
            doctor, "readahead", KF_WARN, NULL,
            "the kernel's readahead stays at 128 KiB (only root with a writable /sys can "
            "raise it): more requests for the same bytes");
    if (!admin && !fuse_conf_allows_others())
        kf_doctor_say(doctor, "allow_other", KF_WARN, NULL,
                      "other users cannot read a mount of yours: add user_allow_other to "
                      "/etc/fuse.conf");
}

/* The type of the file system that holds `path`; "" when it cannot be told. */
static void find_fs_type(const char *path, char out[64])
{
    struct kf_mount_point *mount = malloc(sizeof(*mount));
    const char *cursor;
    struct kf_buf text;
    struct stat info;

    out[0] = '\0';
    kf_buf_init(&text, TEXT_LIMIT);
    if (mount && stat(path, &info) == 0 &&
        kf_load_file(AT_FDCWD, "/proc/self/mountinfo", &text, NULL) == 0 && text.length)
        for (cursor = (const char *)text.data; kf_mountinfo_next(&cursor, mount);)
            if (mount->major == major(info.st_dev) && mount->minor == minor(info.st_dev))
                (void)snprintf(out, 64, "%s", mount->type); /* the same size */
    kf_buf_fini(&text);
    free(mount);
}

static void check_cache(struct kf_doctor *doctor)
{
    struct kf_store_opts opts;
    struct kf_store *store = NULL;
    struct kf_store_space space;
    struct kf_err err = {0};
    char type[64], free_text[32], used_text[32];

    kf_cache_from_options(&opts, doctor->options);
    if (kf_store_open(&store, &opts, &err) != 0) {
        kf_doctor_say(doctor, "cache", KF_WARN, NULL, "nothing can be cached: %s",
                      err.message);
        return;
    }
    find_fs_type(kf_store_path(store), type);
    if (kf_store_space(store, &space, &err) != 0)
        kf_doctor_say(doctor, "cache", KF_WARN, NULL, "cache: %s", err.message);
    else
        kf_doctor_say(doctor, "cache", KF_OK, NULL, "cache %s %s, %s used, %s free",
                      kf_store_path(store), type,
                      kf_format_size(space.used_bytes, used_text),
                      kf_format_size(space.free_bytes, free_text));
    kf_store_close(store, kf_deadline_ns(KF_NS_PER_S));
}

int kf_verb_doctor(const struct kf_options *options)
{
    struct kf_doctor doctor = {.options = options,
                               .list = options->json ? json_array() : NULL};

    check_fuse(&doctor);
    check_cache(&doctor);
    if (options->arg_count > 0)
        kf_doctor_reference(&doctor);
    if (doctor.list) {
        kf_print_json(doctor.list);
        json_decref(doctor.list);
    }
    return doctor.failed ? 1 : 0;
}
