/*
 * Mounts of this machine, each as its own .kitfs/status.json tells. A mount that does not
 * answer within two seconds is listed as such: the look happens in a child.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "fs/mountinfo.h"
#include "fs/mountpoint.h"
#include "fs/status.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

#define MOUNTINFO_LIMIT ((size_t)16 << 20)
#define ANSWER_TIME (2 * KF_NS_PER_S)
#define SHOWN_DIGEST 12
#define TEXT_SIZE 512

/* What the mount says of itself, or a stand-in for one that does not answer. */
static json_t *ask(const struct kf_mount_point *mount, struct kf_err *err)
{
    struct kf_buf text;
    json_t *status = NULL;

    kf_buf_init(&text, KF_STATUS_LIMIT);
    if (kf_status_ask(mount->dir, ANSWER_TIME, &text, err) == 0 && text.length > 0)
        status = json_loadb((const char *)text.data, text.length, 0, NULL);
    kf_buf_fini(&text);
    if (!status)
        status =
            json_pack("{s:s, s:s, s:s}", "dir", mount->dir, "reference", mount->source,
                      "state", "not answering (kitfs umount --abort ends it)");
    if (!status)
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a status"); /* NULL says it */
    return status;
}

static int ask_all(const char *mountinfo, const char *dir, json_t *list,
                   struct kf_err *err)
{
    struct kf_mount_point *mount = malloc(sizeof(*mount));
    int rc = mount ? 0 : kf_fail(err, KF_E_NOMEM, "no memory for mounts");

    while (rc == 0 && kf_mountinfo_next(&mountinfo, mount)) {
        json_t *status;

        if (strcmp(mount->type, KF_MOUNT_TYPE) != 0 ||
            (dir && strcmp(dir, mount->dir) != 0))
            continue;
        status = ask(mount, err);
        if (!status || json_array_append_new(list, status) != 0)
            rc = -1;
    }
    free(mount);
    return rc;
}

/* What a mount says of itself is text of others; cut is fine. */
static const char *text_of(const json_t *status, const char *key, char out[TEXT_SIZE])
{
    const char *text = json_string_value(json_object_get(status, key));

    (void)snprintf(out, TEXT_SIZE, "%s", text && *text ? text : "-");
    kf_make_plain(out);
    return out;
}

static uint64_t number_of(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));

    return value > 0 ? (uint64_t)value : 0;
}

#define ROW "%-28s %-40s %-12.*s %-10s %6s %10s\n"

static void print_row(const json_t *status)
{
    const json_t *counters = json_object_get(status, "counters");
    char dir[TEXT_SIZE], reference[TEXT_SIZE], digest[TEXT_SIZE], state[TEXT_SIZE];
    char share[16], fetched[32];
    const char *hex = strchr(text_of(status, "digest", digest), ':');
    uint64_t size = number_of(status, "size_bytes");
    uint64_t local = kf_min_u64(number_of(status, "local_bytes"), size);

    (void)snprintf(share, sizeof(share), "%u%%",
                   (unsigned)(size ? (double)local * 100 / (double)size : 100));
    printf(ROW, text_of(status, "dir", dir), text_of(status, "reference", reference),
           SHOWN_DIGEST, hex ? hex + 1 : digest, text_of(status, "state", state), share,
           kf_format_size(number_of(counters, "fetched_bytes"), fetched));
}

static void print_last_errors(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *status = json_array_get(list, i);
        const json_t *last = json_object_get(status, "last_error");
        char dir[TEXT_SIZE], when[TEXT_SIZE], path[TEXT_SIZE], message[TEXT_SIZE];

        if (json_is_object(last))
            printf("%s: last error, %s, '%s': %s\n", text_of(status, "dir", dir),
                   text_of(last, "when", when), text_of(last, "path", path),
                   text_of(last, "message", message));
    }
}

static void print_all(const json_t *list, const struct kf_options *options)
{
    if (options->json) {
        kf_print_json(list);
        return;
    }
    printf(ROW, "MOUNT", "REFERENCE", SHOWN_DIGEST, "DIGEST", "STATE", "LOCAL",
           "FETCHED");
    for (size_t i = 0; i < json_array_size(list); i++)
        print_row(json_array_get(list, i));
    print_last_errors(list);
}

int kf_verb_status(const struct kf_options *options)
{
    kf_auto(kf_free) char *dir = NULL;
    struct kf_err err = {0};
    struct kf_buf mountinfo;
    json_t *list = json_array();
    int rc = list ? 0 : kf_fail(&err, KF_E_NOMEM, "no memory for a status");

    kf_buf_init(&mountinfo, MOUNTINFO_LIMIT);
    if (rc == 0 && options->arg_count > 0 &&
        !(dir = kf_mountpoint_resolve(options->args[0], &err)))
        rc = -1;
    if (rc == 0)
        rc = kf_load_file(AT_FDCWD, "/proc/self/mountinfo", &mountinfo, &err);
    if (rc == 0 && mountinfo.length > 0)
        rc = ask_all((const char *)mountinfo.data, dir, list, &err);
    if (rc == 0 && dir && json_array_size(list) == 0)
        rc = kf_fail(&err, KF_E_NOTFOUND, "nothing of kitfs is mounted there");
    if (rc == 0)
        print_all(list, options);
    json_decref(list);
    kf_buf_fini(&mountinfo);
    return rc == 0 ? 0 : kf_report("show", dir ? dir : "mounts", &err);
}
