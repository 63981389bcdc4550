#include "kit/unpack_layer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/beside.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "kit/copy.h"
#include "kit/open.h"
#include "kit/unpack_folder.h"
#include "kit/unpack_parts.h"
#include "layer/blob_stream.h"
#include "layer/layer.h"

#define TABLE_LIMIT ((size_t)5 << 28)
#define WINDOW ((size_t)16 << 20)
#define READS 1024u /* of small files, within the window */
#define BLOCK ((size_t)1 << 20)

struct kf_unpack_layer {
    struct kf_unpack_layer_opts opts;
    struct kf_layer *layer;
    const struct kf_table *table;
    char name[KF_UNPACK_LAYER_NAME_SIZE];
    bool in_order; /* the whole stream, for its digest */
    bool done;
    struct kf_unpack_part *parts; /* by offset */
    size_t count;
    uint64_t have; /* before it was run */

    /* while it runs */
    int folder_fd, rest_fd, fd; /* fd: of the part that is being written */
    size_t at;                  /* that part */
    struct kf_hasher *hasher;
    struct kf_beside beside; /* hashes `data` */
    const uint8_t *data;
    size_t length;
    int hash_rc;
    struct kf_err hash_err;
    /* what is asked for, ahead of what is written */
    struct kf_file *ask_file;
    uint64_t ask_next, ask_left;
    size_t ask_at, ask_end;
};

int kf_unpack_layer_name(const struct kf_kit_layer *info,
                         char out[KF_UNPACK_LAYER_NAME_SIZE], struct kf_err *err)
{
    const uint8_t form[] = {KF_UNPACK_VERSION, kf_layer_plain_blob(info->layer) != NULL};
    struct kf_hasher *hasher = kf_hasher_new(err);
    struct kf_digest digest;
    struct kf_buf table;
    int rc = -1;

    kf_buf_init(&table, TABLE_LIMIT);
    if (hasher && kf_table_encode(kf_layer_table(info->layer), &table, err) == 0 &&
        kf_hasher_update(hasher, form, sizeof(form), err) == 0 &&
        kf_hasher_update(hasher, info->digest.bytes, KF_SHA256_SIZE, err) == 0 &&
        kf_hasher_update(hasher, table.data, table.length, err) == 0)
        rc = kf_hasher_finish(hasher, &digest, err);
    kf_buf_fini(&table);
    kf_hasher_free(hasher);
    if (rc == 0)
        (void)kf_digest_hex(&digest, out);
    return rc;
}

/* ---- what is there ---- */

/* Afterwards nothing is there. */
static int begin_anew(struct kf_unpack_layer *l, struct kf_err *err)
{
    char boot[KF_UNPACK_BOOT_SIZE];

    kf_close_fd(&l->folder_fd);
    l->folder_fd = -1;
    if (kf_unpack_folder_remove(l->opts.folder_fd, l->name, err) != 0 ||
        kf_unpack_folder_layer(&l->folder_fd, l->opts.folder_fd, l->name, err) != 0)
        return -1;
    for (size_t i = 0; i < l->count; i++)
        l->parts[i].have = 0;
    l->have = 0;
    l->done = false;
    kf_unpack_boot(boot);
    return kf_unpack_mark(l->folder_fd, KF_UNPACK_BOOT, boot, err);
}

/* After a boot lengths say nothing about what reached the disk: a stream is hashed again,
 * and files of other layers are fetched again. */
static int look_again(struct kf_unpack_layer *l, struct kf_err *err)
{
    char boot[KF_UNPACK_BOOT_SIZE];
    bool same;

    if (kf_unpack_folder_layer(&l->folder_fd, l->opts.folder_fd, l->name, err) != 0)
        return -1;
    kf_unpack_boot(boot);
    same = kf_unpack_is_marked(l->folder_fd, KF_UNPACK_BOOT, boot);
    if (!same && !l->in_order)
        return begin_anew(l, err);
    if (kf_unpack_parts_look(l->parts, l->count, l->folder_fd, l->in_order, &l->have,
                             err) != 0)
        return -1;
    l->done = same && l->have == kf_unpack_parts_total(l->parts, l->count) &&
              kf_unpack_is_marked(l->folder_fd, KF_UNPACK_DONE, "");
    return same ? 0 : kf_unpack_mark(l->folder_fd, KF_UNPACK_BOOT, boot, err);
}

int kf_unpack_layer_open(struct kf_unpack_layer **ret,
                         const struct kf_unpack_layer_opts *opts, uint64_t *ret_total,
                         uint64_t *ret_have, struct kf_err *err)
{
    struct kf_unpack_layer *l = calloc(1, sizeof(*l));

    if (!l)
        return kf_fail(err, KF_E_NOMEM, "no memory for a layer");
    l->opts = *opts;
    l->layer = opts->info->layer;
    l->table = kf_layer_table(l->layer);
    l->in_order = kf_layer_plain_blob(l->layer) != NULL;
    l->folder_fd = l->rest_fd = l->fd = -1;
    if (kf_unpack_layer_name(opts->info, l->name, err) != 0 ||
        kf_unpack_parts_make(&l->parts, &l->count, l->table,
                             l->in_order ? NULL : opts->wanted, err) != 0 ||
        look_again(l, err) != 0) {
        kf_unpack_layer_close(l);
        return -1;
    }
    kf_close_fd(&l->folder_fd); /* there may be very many layers */
    l->folder_fd = -1;
    *ret_total = kf_unpack_parts_total(l->parts, l->count);
    *ret_have = l->have;
    *ret = l;
    return 0;
}

void kf_unpack_layer_close(struct kf_unpack_layer *l)
{
    if (!l)
        return;
    kf_close_fd(&l->folder_fd);
    free(l->parts);
    free(l);
}

/* ---- writing ---- */

static int open_part(struct kf_unpack_layer *l, const struct kf_unpack_part *part,
                     struct kf_err *err)
{
    int flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
    bool anew = part->place == 0 && part->have == 0;
    char name[KF_UNPACK_FILE_NAME_SIZE];
    int *fd = part->entry == KF_UNPACK_BETWEEN ? &l->rest_fd : &l->fd;

    if (*fd >= 0)
        return 0;
    kf_unpack_file_name(part->entry, name);
    *fd = openat(l->folder_fd, name, anew ? flags | O_TRUNC : flags, 0600);
    return *fd >= 0 ? 0 : kf_fail_errno(err, "cannot write in '" KF_UNPACK_FOLDER "'");
}

/* Some file systems tell only now that the disk is full. */
static int close_part(struct kf_unpack_layer *l, struct kf_err *err)
{
    int fd = l->fd;

    l->fd = -1;
    if (fd >= 0 && close(fd) != 0)
        return kf_fail_errno(err, "cannot write in '" KF_UNPACK_FOLDER "'");
    return 0;
}

static int write_part(struct kf_unpack_layer *l, struct kf_unpack_part *part,
                      const uint8_t *data, size_t length, struct kf_err *err)
{
    char text[KF_NAME_TEXT_SIZE] = "the archive's headers";
    const char *name;
    size_t name_length;

    if (open_part(l, part, err) != 0)
        return -1;
    if (part->entry != KF_UNPACK_BETWEEN) {
        name = kf_table_name(l->table, part->entry, &name_length);
        (void)kf_name_text(text, name, name_length);
    }
    if (kf_pwrite_all(part->entry == KF_UNPACK_BETWEEN ? l->rest_fd : l->fd, data, length,
                      part->place + part->have, text, err) != 0)
        return -1;
    part->have += length;
    return part->have == part->size ? close_part(l, err) : 0;
}

/* Bytes of the parts from `at` on. */
static int land(struct kf_unpack_layer *l, const uint8_t *data, size_t length,
                struct kf_err *err)
{
    size_t left = length;

    while (left > 0) {
        struct kf_unpack_part *part = &l->parts[l->at];
        size_t some = (size_t)kf_min_u64(left, part->size - part->have);

        if (some == 0) {
            l->at++;
            continue;
        }
        if (write_part(l, part, data, some, err) != 0)
            return -1;
        data += some;
        left -= some;
    }
    l->opts.progress(l->opts.arg, length);
    return 0;
}

static void hash(void *arg)
{
    struct kf_unpack_layer *l = arg;

    if (l->hash_rc == 0)
        l->hash_rc = kf_hasher_update(l->hasher, l->data, l->length, &l->hash_err);
}

static bool is_stopped(void *arg)
{
    const struct kf_unpack_layer *l = arg;

    return l->opts.stopped(l->opts.arg);
}

static int stop_when_told(void *arg, struct kf_err *err)
{
    return is_stopped(arg) ? kf_fail(err, KF_E_CANCELLED, "interrupted") : 0;
}

static int take(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    struct kf_unpack_layer *l = arg;
    int rc;

    if (stop_when_told(l, err) != 0)
        return -1;
    l->data = data;
    l->length = length;
    if (l->hasher)
        kf_beside_start(&l->beside, hash, l);
    rc = land(l, data, length, err);
    if (l->hasher)
        kf_beside_wait(&l->beside);
    if (rc == 0 && l->hash_rc != 0 && err)
        *err = l->hash_err;
    return rc == 0 ? l->hash_rc : rc;
}

static int take_piece(void *arg, const void *data, size_t length, struct kf_err *err)
{
    return take(arg, data, length, err);
}

/* ---- reading by way of the cache ---- */

static int ask_for_part(struct kf_unpack_layer *l, const struct kf_unpack_part *part,
                        struct kf_err *err)
{
    kf_file_put(kf_steal(l->ask_file));
    l->ask_next = part->have;
    l->ask_left = part->size - part->have;
    if (l->ask_left == 0)
        return 0;
    l->ask_file = kf_layer_file(l->layer, part->entry, err);
    return l->ask_file ? 0 : -1;
}

static int next_piece(void *arg, struct kf_copy_piece *ret, struct kf_err *err)
{
    struct kf_unpack_layer *l = arg;

    while (l->ask_left == 0) {
        if (l->ask_at == l->ask_end)
            return 0;
        if (ask_for_part(l, &l->parts[l->ask_at++], err) != 0)
            return -1;
    }
    kf_file_keep(l->ask_file);
    *ret = (struct kf_copy_piece){
        .file = l->ask_file,
        .offset = l->ask_next,
        .length =
            (size_t)kf_min_u64(l->ask_left, KF_COPY_PIECE - l->ask_next % KF_COPY_PIECE),
    };
    l->ask_next += ret->length;
    l->ask_left -= ret->length;
    return 1;
}

static int copy_what_is_asked(struct kf_unpack_layer *l, struct kf_err *err)
{
    const struct kf_copy_opts opts = {.reads = READS,
                                      .window_bytes = WINDOW,
                                      .timeout_ns = l->opts.timeout_ns,
                                      .next = next_piece,
                                      .write = take_piece,
                                      .stopped = is_stopped,
                                      .arg = l};
    int rc = kf_copy_pieces(&opts, err);

    kf_file_put(kf_steal(l->ask_file));
    l->ask_left = 0;
    return rc;
}

static int run_by_files(struct kf_unpack_layer *l, struct kf_err *err)
{
    l->ask_at = 0;
    l->ask_end = l->count;
    return copy_what_is_asked(l, err);
}

/* ---- a stream ---- */

static bool is_large(const struct kf_unpack_part *part)
{
    return part->entry != KF_UNPACK_BETWEEN && part->size >= KF_LARGE_FILE;
}

/* Parts of one object of the cache: a large file, or what is up to the next one. */
static size_t end_of_run(const struct kf_unpack_layer *l, size_t at)
{
    if (is_large(&l->parts[at]))
        return at + 1;
    while (at < l->count && !is_large(&l->parts[at]))
        at++;
    return at;
}

/* Whether the cache has so much of it that it is not simply fetched. */
static bool is_cached(const struct kf_unpack_layer *l, size_t at, size_t end)
{
    uint64_t local = 0, size = 0;

    for (; at < end; at++) {
        if (l->parts[at].entry == KF_UNPACK_BETWEEN)
            continue;
        local += kf_layer_local_bytes(l->layer, l->parts[at].entry);
        size += l->parts[at].size;
    }
    return size > 0 && local >= size / 2;
}

static uint64_t end_offset(const struct kf_unpack_layer *l, size_t end)
{
    return l->parts[end - 1].offset + l->parts[end - 1].size;
}

static int copy_run(struct kf_unpack_layer *l, size_t end, struct kf_err *err)
{
    const struct kf_unpack_part *part = &l->parts[l->at];
    uint64_t from = part->offset + part->have;

    l->ask_at = l->ask_end = 0;
    l->ask_file = is_large(part) ? kf_layer_file(l->layer, part->entry, err)
                                 : kf_layer_whole(l->layer, err);
    if (!l->ask_file)
        return -1;
    l->ask_next = is_large(part) ? part->have : from;
    l->ask_left = end_offset(l, end) - from;
    return copy_what_is_asked(l, err);
}

static int fetch_runs(struct kf_unpack_layer *l, size_t end, struct kf_err *err)
{
    const struct kf_unpack_part *part = &l->parts[l->at];
    struct kf_blob_stream stream = {.source = kf_layer_plain_blob(l->layer),
                                    .offset = part->offset + part->have,
                                    .timeout_ns = l->opts.timeout_ns,
                                    .take = take,
                                    .idle = stop_when_told,
                                    .arg = l};

    while (end < l->count && !is_cached(l, end, end_of_run(l, end)))
        end = end_of_run(l, end);
    stream.length = end_offset(l, end) - stream.offset;
    return kf_blob_stream(&stream, err);
}

static int run_stream(struct kf_unpack_layer *l, struct kf_err *err)
{
    for (;;) {
        size_t end;
        int rc;

        while (l->at < l->count && l->parts[l->at].have == l->parts[l->at].size)
            l->at++;
        if (l->at == l->count)
            return 0;
        end = end_of_run(l, l->at);
        rc = is_cached(l, l->at, end) ? copy_run(l, end, err) : fetch_runs(l, end, err);
        if (rc != 0)
            return -1;
    }
}

static int hash_part(struct kf_unpack_layer *l, const struct kf_unpack_part *part,
                     uint8_t *block, struct kf_err *err)
{
    kf_auto(kf_close_fd) int fd = -1;
    char name[KF_UNPACK_FILE_NAME_SIZE];
    uint64_t done = 0;

    kf_unpack_file_name(part->entry, name);
    fd = openat(l->folder_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return kf_fail_errno(err, "cannot read in '" KF_UNPACK_FOLDER "'");
    while (done < part->have) {
        size_t some = (size_t)kf_min_u64(part->have - done, BLOCK);

        if (stop_when_told(l, err) != 0)
            return -1;
        if (kf_pread_all(fd, block, some, part->place + done, name, err) != 0 ||
            kf_hasher_update(l->hasher, block, some, err) != 0)
            return -1;
        done += some;
    }
    return 0;
}

/* What earlier runs have left. */
static int hash_what_is_there(struct kf_unpack_layer *l, struct kf_err *err)
{
    kf_auto(kf_free) uint8_t *block = malloc(BLOCK);

    if (!block)
        return kf_fail(err, KF_E_NOMEM, "no memory for reading");
    for (size_t i = 0; i < l->count && l->parts[i].have > 0; i++)
        if (hash_part(l, &l->parts[i], block, err) != 0)
            return -1;
    return 0;
}

/* 1: it is another one. */
static int check_digest(struct kf_unpack_layer *l, struct kf_err *err)
{
    const struct kf_kit_layer *info = l->opts.info;
    struct kf_digest digest;
    char text[KF_DIGEST_TEXT_SIZE], found[KF_DIGEST_TEXT_SIZE];

    if (kf_hasher_finish(l->hasher, &digest, err) != 0)
        return -1;
    (void)kf_digest_format(&info->digest, text);
    if (!kf_digest_equal(&digest, &info->digest)) {
        (void)kf_fail(err, KF_E_CORRUPT, "layer '%s' (%s): the digest of its blob is %s",
                      text, info->kind, kf_digest_format(&digest, found));
        return 1;
    }
    if (info->has_diff_id && !kf_digest_equal(&digest, &info->diff_id)) {
        (void)kf_fail(err, KF_E_CORRUPT,
                      "layer '%s' (%s): the Kitfile says another digest of its content",
                      text, info->kind);
        return 1;
    }
    return 0;
}

static int stream_once(struct kf_unpack_layer *l, struct kf_err *err)
{
    int rc;

    l->at = 0;
    l->hash_rc = 0;
    l->hasher = kf_hasher_new(err);
    if (!l->hasher)
        return -1;
    kf_beside_init(&l->beside);
    rc = hash_what_is_there(l, err);
    if (rc == 0)
        rc = run_stream(l, err);
    if (rc == 0)
        rc = check_digest(l, err);
    kf_beside_fini(&l->beside);
    kf_hasher_free(kf_steal(l->hasher));
    kf_close_fd(&l->rest_fd);
    l->rest_fd = -1;
    return rc;
}

/* What an earlier run left may be what is wrong: then all of it comes anew. */
static int run_in_order(struct kf_unpack_layer *l, struct kf_err *err)
{
    bool resumed = l->have > 0;
    int rc = stream_once(l, err);

    if (rc > 0 && resumed) {
        if (begin_anew(l, err) != 0)
            return -1;
        rc = stream_once(l, err);
    }
    if (rc > 0)
        (void)kf_unpack_folder_remove(l->opts.folder_fd, l->name, NULL); /* told */
    return rc == 0 ? 0 : -1;
}

/* ---- all of it ---- */

static int make_empty_files(struct kf_unpack_layer *l, struct kf_err *err)
{
    for (uint32_t i = 0; i < l->table->count; i++) {
        const struct kf_unpack_part part = {.entry = i};

        if (l->table->entries[i].type != KF_TYPE_FILE || !l->opts.wanted[i] ||
            l->table->entries[i].size > 0)
            continue;
        if (open_part(l, &part, err) != 0 || close_part(l, err) != 0)
            return -1;
    }
    return 0;
}

int kf_unpack_layer_run(struct kf_unpack_layer *l, struct kf_err *err)
{
    int rc = 0;

    if (kf_unpack_folder_layer(&l->folder_fd, l->opts.folder_fd, l->name, err) != 0)
        return -1;
    l->at = 0;
    if (!l->done)
        rc = l->in_order ? run_in_order(l, err) : run_by_files(l, err);
    if (rc == 0)
        rc = make_empty_files(l, err);
    if (rc == 0)
        rc = kf_unpack_mark(l->folder_fd, KF_UNPACK_DONE, "", err);
    (void)close_part(l, NULL); /* it failed already */
    kf_close_fd(&l->folder_fd);
    l->folder_fd = -1;
    return rc;
}
