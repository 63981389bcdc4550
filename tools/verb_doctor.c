/*
 * What kitfs needs here and what it will do without, one line each, with the remedy; and
 * the way to a registry. Exit code 1 when a mount cannot work.
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
#include "base/workq.h"
#include "fs/mountinfo.h"
#include "oci/origin.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

#define TEXT_LIMIT ((size_t)1 << 20)
#define REACH_TIME (10 * KF_NS_PER_S)
#define SAMPLE ((uint64_t)64 << 10)
#define PASSTHROUGH_MAJOR 6
#define PASSTHROUGH_MINOR 9

enum verdict { OK, WARN, FAIL };
static const char *const verdicts[] = {"ok", "warn", "fail"};

struct report {
    json_t *list; /* --json */
    bool failed;
};

static void say(struct report *report, enum verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(struct report *report, enum verdict verdict, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args); /* cut is fine */
    va_end(args);
    report->failed |= verdict == FAIL;
    if (report->list)
        (void)json_array_append_new(report->list,
                                    json_pack("{s:s, s:s}", "verdict", verdicts[verdict],
                                              "text", text)); /* no memory: a line less */
    else
        printf("%-5s %s\n", verdicts[verdict], text);
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

static void check_device(struct report *report, const char *kernel)
{
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        say(report, OK, "/dev/fuse, kernel %s", kernel);
    else if (errno == ENOENT || errno == ENXIO || errno == ENODEV)
        say(report, FAIL,
            "no /dev/fuse: load the module (modprobe fuse), or give the container the "
            "device");
    else
        say(report, FAIL,
            "/dev/fuse cannot be opened (errno %d): its mode, or the container's device "
            "rules, keep you out",
            errno);
    kf_close_fd(&fd);
}

static void check_passthrough(struct report *report, const char *kernel, bool admin)
{
    int major = 0, minor = 0;

    if (sscanf(kernel, "%d.%d", &major, &minor) != 2) // NOLINT(cert-err34-c)
        major = minor = 0; /* not a number: then nothing is known of it */
    if (major < PASSTHROUGH_MAJOR ||
        (major == PASSTHROUGH_MAJOR && minor < PASSTHROUGH_MINOR))
        say(report, WARN, "no FUSE passthrough in kernel %s (6.9 has it)", kernel);
    else if (!admin)
        say(report, WARN, "no FUSE passthrough without CAP_SYS_ADMIN");
}

static void check_fuse(struct report *report)
{
    bool admin = have_admin();
    struct utsname system = {0};

    (void)uname(&system); /* only fails on a bad pointer */
    check_device(report, system.release);
    check_passthrough(report, system.release, admin);
    if (!admin && !in_path("fusermount3"))
        say(report, FAIL, "no fusermount3: install the package fuse3");
    if (access("/sys/class/bdi", W_OK) != 0)
        say(report, WARN,
            "the kernel's readahead stays at 128 KiB (only root with a writable /sys can "
            "raise it): more requests for the same bytes");
    if (!admin && !fuse_conf_allows_others())
        say(report, WARN,
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

static void check_cache(struct report *report, const struct kf_options *options)
{
    struct kf_store_opts opts;
    struct kf_store *store = NULL;
    struct kf_store_space space;
    struct kf_err err = {0};
    char type[64], free_text[32], used_text[32];

    kf_cache_from_options(&opts, options);
    if (kf_store_open(&store, &opts, &err) != 0) {
        say(report, WARN, "nothing can be cached: %s", err.message);
        return;
    }
    find_fs_type(kf_store_path(store), type);
    if (kf_store_space(store, &space, &err) != 0)
        say(report, WARN, "cache: %s", err.message);
    else
        say(report, OK, "cache %s %s, %s used, %s free", kf_store_path(store), type,
            kf_format_size(space.used_bytes, used_text),
            kf_format_size(space.free_bytes, free_text));
    kf_store_close(store, kf_deadline_ns(KF_NS_PER_S));
}

/* A range in the middle of the largest layer: what every read will do. */
static void check_range(struct report *report, struct kf_origin *origin,
                        const struct kf_manifest *manifest)
{
    const struct kf_desc *largest = NULL;
    uint8_t *sample = NULL;
    struct kf_source *source;
    struct kf_err err = {0};
    int64_t began = kf_now_ns();

    for (size_t i = 0; i < manifest->layer_count; i++)
        if (manifest->layers[i].size > 0 &&
            (!largest || manifest->layers[i].size > largest->size))
            largest = &manifest->layers[i];
    if (!largest)
        return;
    source = kf_origin_blob(origin, largest, &err);
    sample = malloc(SAMPLE);
    if (source && sample &&
        kf_source_read(source, sample, largest->size / 2,
                       (size_t)kf_min_u64(SAMPLE, largest->size - largest->size / 2),
                       kf_deadline_ns(REACH_TIME), &err) == 0)
        say(report, OK, "%s gives ranges; the first took %lld ms", origin->kind,
            (long long)((kf_now_ns() - began) / KF_NS_PER_MS));
    else
        say(report, FAIL, "%s gives no range of a layer: %s", origin->kind, err.message);
    kf_source_close(source);
    free(sample);
}

static void check_origin(struct report *report, struct kf_origin *origin,
                         const struct kf_ref *ref)
{
    struct kf_manifest manifest = {0};
    char wanted[KF_DIGEST_TEXT_SIZE] = "", digest_text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest digest;
    struct kf_buf bytes;
    struct kf_err err = {0};

    kf_buf_init(&bytes, KF_MANIFEST_LIMIT);
    if (ref->has_digest)
        (void)kf_digest_format(&ref->digest, wanted); /* gives its argument back */
    if (kf_origin_manifest(origin,
                           ref->has_digest ? wanted
                           : ref->tag      ? ref->tag
                                           : "",
                           NULL, &bytes, &digest, &err) != 0) {
        say(report, FAIL, "%s: %s", origin->kind, err.message);
    } else {
        say(report, OK, "%s has %s", origin->kind,
            kf_digest_format(&digest, digest_text));
        if (kf_manifest_parse(&manifest, bytes.data, bytes.length, &err) != 0)
            say(report, WARN, "%s", err.message);
        else
            check_range(report, origin, &manifest);
        kf_manifest_fini(&manifest);
    }
    kf_buf_fini(&bytes);
}

static void check_reference(struct report *report, const struct kf_options *options)
{
    struct kf_origin_opts opts;
    struct kf_origin *origin = NULL;
    struct kf_ref ref = {0};
    struct kf_err err = {0};
    kf_auto(kf_free) char *text =
        kf_ref_with_tag(options->args[0], options->quiet || options->json, &err);

    kf_origin_from_options(&opts, options);
    opts.timeout_ns = REACH_TIME;
    opts.workq = text ? kf_workq_new(2, &err) : NULL;
    if (!opts.workq || kf_ref_parse(&ref, text, &err) != 0 ||
        kf_origin_open(&origin, &ref, &opts, &err) != 0)
        say(report, FAIL, "%s: %s", options->args[0], err.message);
    else
        check_origin(report, origin, &ref);
    kf_origin_close(origin);
    kf_ref_fini(&ref);
    kf_workq_free(opts.workq);
}

int kf_verb_doctor(const struct kf_options *options)
{
    struct report report = {.list = options->json ? json_array() : NULL};

    check_fuse(&report);
    check_cache(&report, options);
    if (options->arg_count > 0)
        check_reference(&report, options);
    if (report.list) {
        kf_print_json(report.list);
        json_decref(report.list);
    }
    return report.failed ? 1 : 0;
}
