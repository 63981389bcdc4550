#include "layer/pass.h"

#include <string.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/source.h"
#include "cache/turn.h"
#include "layer/blob_stream.h"
#include "layer/digesting.h"
#include "layer/keep.h"
#include "layer/streamed.h"

struct passing {
    const struct kf_pass *pass;
    struct kf_streamed *streamed;
    struct kf_digesting blob;
    struct kf_keep *keep; /* NULL: nothing is kept */
    uint64_t done;
};

static int go_on(void *arg, struct kf_err *err)
{
    const struct passing *passing = arg;
    const struct kf_pass *pass = passing->pass;

    kf_turn_go_on(pass->turn);
    if (pass->progress &&
        pass->progress(pass->arg, passing->done, kf_source_size(pass->source)) != 0)
        return kf_fail(err, KF_E_CANCELLED, "streaming was stopped");
    return 0;
}

static int take_blob(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    struct passing *passing = arg;
    int rc;

    kf_digesting_start(&passing->blob, data, length);
    rc = kf_streamed_push(passing->streamed, data, length, err);
    if (kf_digesting_wait(&passing->blob, rc == 0 ? err : NULL) != 0)
        rc = -1;
    passing->done += length;
    return rc == 0 ? go_on(passing, err) : -1;
}

static int keep_piece(void *arg, uint64_t offset, const uint8_t *data, size_t length,
                      struct kf_err *err)
{
    struct passing *passing = arg;

    return passing->keep ? kf_keep_take(passing->keep, offset, data, length, err) : 0;
}

static int prepare(struct passing *passing, struct kf_err *err)
{
    const struct kf_pass *pass = passing->pass;
    const struct kf_streamed_opts opts = {.packing = pass->packing,
                                          .is_tar = pass->is_tar,
                                          .digest = true,
                                          .take = keep_piece,
                                          .arg = passing};

    passing->streamed = kf_streamed_new(&opts, err);
    if (!passing->streamed || kf_digesting_init(&passing->blob, err) != 0)
        return -1;
    if (!pass->store)
        return 0;
    passing->keep =
        kf_keep_new(pass->store, pass->name,
                    pass->is_tar ? kf_streamed_table(passing->streamed) : NULL, err);
    return passing->keep ? 0 : -1;
}

static void compare_diff(const struct kf_pass *pass, const struct kf_digest *diff)
{
    char said[KF_DIGEST_TEXT_SIZE], found[KF_DIGEST_TEXT_SIZE];

    if (pass->diff && !kf_digest_equal(diff, pass->diff))
        kf_log(KF_LOG_WARN, "layer", "event=other_diff_id layer=%s said=%s found=%s",
               pass->source->name, kf_digest_format(pass->diff, said),
               kf_digest_format(diff, found));
}

/* The blob's digest first: what else is wrong with it comes from there. */
static int check_whole(struct passing *passing, struct kf_err *err)
{
    struct kf_digest blob, diff;
    char text[KF_DIGEST_TEXT_SIZE];

    if (kf_digesting_finish(&passing->blob, &blob, err) != 0)
        return -1;
    if (!kf_digest_equal(&blob, passing->pass->blob))
        return kf_fail(err, KF_E_CORRUPT, "the blob's digest is %s",
                       kf_digest_format(&blob, text));
    if (kf_streamed_end(passing->streamed, &diff, err) != 0)
        return -1;
    compare_diff(passing->pass, &diff);
    return 0;
}

static int run(struct passing *passing, struct kf_table *ret, struct kf_err *err)
{
    const struct kf_pass *pass = passing->pass;
    const struct kf_blob_stream stream = {.source = pass->source,
                                          .timeout_ns = pass->timeout_ns,
                                          .take = take_blob,
                                          .idle = go_on,
                                          .arg = passing};
    struct kf_table *table;

    if (prepare(passing, err) != 0 || kf_blob_stream(&stream, err) != 0 ||
        check_whole(passing, err) != 0)
        return -1;
    table = kf_streamed_table(passing->streamed);
    if (passing->keep && kf_keep_settle(passing->keep, table->stream_size, err) != 0)
        return -1;
    *ret = *table;
    kf_table_init(table);
    return 0;
}

int kf_pass_run(const struct kf_pass *pass, struct kf_table *ret, struct kf_err *err)
{
    struct passing passing = {.pass = pass};
    int rc = run(&passing, ret, err);

    if (rc != 0 && passing.keep)
        kf_keep_drop(passing.keep);
    kf_keep_free(passing.keep);
    kf_digesting_fini(&passing.blob);
    kf_streamed_free(passing.streamed);
    return rc;
}

/* ---- one file ---- */

struct scanning {
    struct kf_scan *scan;
    struct kf_streamed *streamed;
    bool raw;       /* the stream is the file */
    uint32_t next;  /* the first entry that was not looked at */
    uint64_t begin; /* in the stream, once it is found: what is wanted */
    uint64_t end;
    bool over; /* all of it has passed */
};

/* The part of the file that is wanted, in the stream. */
static void find_range(struct scanning *scanning, uint64_t offset, uint64_t size)
{
    const struct kf_scan *scan = scanning->scan;
    uint64_t skip = kf_min_u64(scan->offset, size);

    scanning->scan->found = true;
    scanning->begin = offset + skip;
    scanning->end = scanning->begin + kf_min_u64(scan->length, size - skip);
}

static int look_for_file(struct scanning *scanning, struct kf_err *err)
{
    const struct kf_table *table = kf_streamed_table(scanning->streamed);
    const char *path = scanning->scan->path;
    size_t wanted = strlen(path), length;

    for (; scanning->next < table->count && !scanning->scan->found; scanning->next++) {
        const struct kf_table_entry *entry = &table->entries[scanning->next];
        const char *name = kf_table_name(table, scanning->next, &length);

        if (length != wanted || memcmp(name, path, length) != 0)
            continue;
        if (entry->type == KF_TYPE_DIR)
            return kf_fail(err, KF_E_ARG, "'%s' is a folder", path);
        find_range(scanning, entry->offset, entry->size);
    }
    return 0;
}

static int scan_piece(void *arg, uint64_t offset, const uint8_t *data, size_t length,
                      struct kf_err *err)
{
    struct scanning *scanning = arg;
    struct kf_scan *scan = scanning->scan;
    uint64_t begin, end;

    if (!scanning->raw && look_for_file(scanning, err) != 0)
        return -1;
    if (!scan->found)
        return 0;
    begin = kf_max_u64(offset, scanning->begin);
    end = kf_min_u64(offset + length, scanning->end);
    if (begin < end &&
        scan->write(scan->arg, data + (begin - offset), (size_t)(end - begin), err) != 0)
        return -1;
    scanning->over = offset + length >= scanning->end;
    return scanning->over ? kf_fail(err, KF_E_CANCELLED, "no more is wanted") : 0;
}

/* The digest is compared only when the whole blob has passed. */
static int scan_all(struct passing *passing, struct scanning *scanning,
                    struct kf_err *err)
{
    const struct kf_pass *pass = passing->pass;
    const struct kf_blob_stream stream = {.source = pass->source,
                                          .timeout_ns = pass->timeout_ns,
                                          .take = take_blob,
                                          .idle = go_on,
                                          .arg = passing};

    if (kf_digesting_init(&passing->blob, err) != 0)
        return -1;
    if (kf_blob_stream(&stream, err) != 0)
        return scanning->over ? 0 : -1;
    return check_whole(passing, err);
}

int kf_pass_scan(const struct kf_pass *pass, const char *raw_path, struct kf_scan *scan,
                 struct kf_err *err)
{
    struct scanning scanning = {.scan = scan, .raw = !pass->is_tar};
    struct passing passing = {.pass = pass};
    const struct kf_streamed_opts opts = {.packing = pass->packing,
                                          .is_tar = pass->is_tar,
                                          .digest = pass->diff != NULL,
                                          .take = scan_piece,
                                          .arg = &scanning};
    int rc;

    scan->found = false;
    if (scanning.raw && strcmp(scan->path, raw_path) != 0)
        return 0;
    if (scanning.raw)
        find_range(&scanning, 0, UINT64_MAX);
    passing.streamed = scanning.streamed = kf_streamed_new(&opts, err);
    rc = passing.streamed ? scan_all(&passing, &scanning, err) : -1;
    kf_digesting_fini(&passing.blob);
    kf_streamed_free(passing.streamed);
    return rc;
}
