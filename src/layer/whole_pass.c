/*
 * Two chunks are being filled at any time: one of the large file that the stream is in,
 * and one of the remainder, where it is needed.
 *
 *     stream     |h| small |h|        large         |h| small |0|
 *     of files                |chunk|chunk|chunk|chu|
 *     remainder  |chunk|chunk|chunk|           |chunk|chunk|chun|
 */
#include "layer/whole_pass.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/layer.h"
#include "layer/sums.h"
#include "layer/table.h"
#include "layer/tar_decode.h"
#include "layer/tar_push.h"
#include "layer/tar_walk.h"

struct kf_whole_pass {
    struct kf_whole_pass_spec spec;
    struct kf_hasher *hasher;
    struct kf_tar_decoder decoder;
    struct kf_tar_push tar;
    struct kf_table table;
    struct kf_sums *sums;
    struct kf_budget budget;
    uint64_t position;     /* of the next byte that is pushed */
    uint32_t file;         /* of `sums`: what lies before was passed */
    struct kf_block *rest; /* being filled; NULL: none is */
    struct kf_block *part; /* of the large file */
};

static int on_entry(void *arg, const struct kf_tar_result *found, struct kf_err *err)
{
    struct kf_whole_pass *pass = arg;

    if (kf_tar_add_entry(&pass->table, found, err) != 0)
        return -1;
    if (found->entry.size < KF_LARGE_FILE)
        return 0;
    return kf_sums_add_file(pass->sums, found->entry.offset, found->entry.size, err);
}

static int look(void *arg, const uint8_t *window, uint64_t offset, size_t length,
                uint64_t *ret_offset, uint64_t *ret_length, struct kf_err *err)
{
    struct kf_whole_pass *pass = arg;
    struct kf_tar_result found;
    int rc = kf_tar_entries(&pass->decoder, window, offset, length, on_entry, pass,
                            &found, err);

    *ret_offset = found.need_offset;
    *ret_length = found.need_length;
    return rc;
}

int kf_whole_pass_new(struct kf_whole_pass **ret, const struct kf_whole_pass_spec *spec,
                      struct kf_err *err)
{
    struct kf_whole_pass *pass = calloc(1, sizeof(*pass));

    if (!pass)
        return kf_fail(err, KF_E_NOMEM, "no memory to check a layer");
    pass->spec = *spec;
    kf_table_init(&pass->table);
    pass->table.stream_size = spec->stream_size;
    kf_tar_decoder_init(&pass->decoder, spec->stream_size);
    kf_tar_push_init(&pass->tar, look, pass);
    kf_budget_init(&pass->budget, UINT64_MAX, NULL, NULL);
    pass->sums = kf_sums_new(spec->stream_size, err);
    pass->hasher = pass->sums ? kf_hasher_new(err) : NULL;
    if (!pass->hasher ||
        (spec->raw && kf_sums_add_files(pass->sums, spec->raw, err) != 0)) {
        kf_whole_pass_free(pass);
        return -1;
    }
    *ret = pass;
    return 0;
}

void kf_whole_pass_free(struct kf_whole_pass *pass)
{
    if (!pass)
        return;
    kf_block_unref(pass->rest);
    kf_block_unref(pass->part);
    kf_sums_unref(pass->sums);
    kf_hasher_free(pass->hasher);
    kf_tar_push_fini(&pass->tar);
    kf_tar_decoder_fini(&pass->decoder);
    kf_table_fini(&pass->table);
    free(pass);
}

/* ---- chunks ---- */

/* An object that begins at `offset` of the stream. */
struct lane {
    const struct kf_sums_file *file; /* NULL: the remainder */
    uint64_t offset, size;
    struct kf_block **block;
};

static int end_chunk(struct kf_whole_pass *pass, const struct lane *lane, uint64_t chunk,
                     struct kf_err *err)
{
    struct kf_block *block = kf_steal(*lane->block);
    struct kf_whole_chunk done = {.of_rest = !lane->file, .chunk = chunk, .block = block};
    int rc = kf_digest_of(&done.digest, block->data, block->length, err);

    if (lane->file) {
        done.file_offset = lane->offset;
        done.file_size = lane->size;
    }
    if (rc == 0)
        rc = kf_sums_append(pass->sums,
                            lane->file ? &pass->sums->of_files : &pass->sums->of_rest,
                            &done.digest, err);
    if (rc == 0 && pass->spec.on_chunk)
        rc = pass->spec.on_chunk(pass->spec.arg, &done, err);
    kf_block_unref(block);
    return rc;
}

/* Bytes of the stream from `at` on, all of the lane's object. */
static int fill(struct kf_whole_pass *pass, const struct lane *lane, uint64_t at,
                const uint8_t *data, uint64_t length, struct kf_err *err)
{
    while (length > 0) {
        uint64_t in_object = at - lane->offset, chunk = in_object / KF_PLAIN_CHUNK;
        size_t in_chunk = (size_t)(in_object % KF_PLAIN_CHUNK);
        size_t whole =
            (size_t)kf_min_u64(KF_PLAIN_CHUNK, lane->size - chunk * KF_PLAIN_CHUNK);
        size_t part = (size_t)kf_min_u64(whole - in_chunk, length);

        if (in_chunk == 0 && (lane->file || kf_sums_needs(pass->sums, chunk))) {
            *lane->block = kf_block_new(&pass->budget, whole, true);
            if (!*lane->block)
                return kf_fail(err, KF_E_NOMEM, "no memory for a chunk");
        }
        if (*lane->block) {
            memcpy((*lane->block)->data + in_chunk, data, part);
            if (in_chunk + part == whole && end_chunk(pass, lane, chunk, err) != 0)
                return -1;
        }
        at += part;
        data += part;
        length -= part;
    }
    return 0;
}

/* The large files that the piece touches; they are known, for their headers have passed.
 */
static int fill_files(struct kf_whole_pass *pass, const uint8_t *data, size_t length,
                      struct kf_err *err)
{
    uint64_t end = pass->position + length;

    while (pass->file < pass->sums->file_count) {
        const struct kf_sums_file *file = &pass->sums->files[pass->file];
        const struct lane lane = {file, file->offset, file->size, &pass->part};
        uint64_t from = kf_max_u64(file->offset, pass->position);
        uint64_t to = kf_min_u64(file->offset + file->size, end);

        if (from < to &&
            fill(pass, &lane, from, data + (from - pass->position), to - from, err) != 0)
            return -1;
        if (file->offset + file->size > end)
            return 0;
        pass->file++;
    }
    return 0;
}

int kf_whole_pass_push(struct kf_whole_pass *pass, const uint8_t *data, size_t length,
                       struct kf_err *err)
{
    const struct lane rest = {NULL, 0, pass->spec.stream_size, &pass->rest};

    assert(length <= pass->spec.stream_size - pass->position);
    if (kf_hasher_update(pass->hasher, data, length, err) != 0 ||
        (!pass->spec.raw && kf_tar_push(&pass->tar, data, length, err) != 0) ||
        fill_files(pass, data, length, err) != 0 ||
        fill(pass, &rest, pass->position, data, length, err) != 0)
        return -1;
    pass->position += length;
    return 0;
}

int kf_whole_pass_end(struct kf_whole_pass *pass, struct kf_passed *ret,
                      struct kf_err *err)
{
    assert(pass->position == pass->spec.stream_size);
    if (!pass->spec.raw && pass->position == 0 &&
        kf_tar_push(&pass->tar, (const uint8_t *)"", 0, err) != 0)
        return -1;
    if (!pass->spec.raw && !pass->tar.at_end)
        return kf_fail(err, KF_E_MALFORMED, "the archive ends in an entry");
    *ret = (struct kf_passed){.table = &pass->table, .sums = pass->sums};
    return kf_hasher_finish(pass->hasher, &ret->digest, err);
}

void kf_whole_pass_take_table(struct kf_whole_pass *pass, struct kf_table *ret)
{
    *ret = pass->table;
    kf_table_init(&pass->table);
}
