#include "layer/sums.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/layer.h"
#include "layer/le.h"
#include "layer/table.h"

static const char magic[8] = {'K', 'I', 'T', 'F', 'S', 'S', 'U', 'M'};

#define MAJOR 1u
#define HEADER_SIZE 40u
#define FILE_SIZE 16u

struct kf_sums *kf_sums_new(uint64_t stream_size, struct kf_err *err)
{
    struct kf_sums *sums = calloc(1, sizeof(*sums));

    if (!sums) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for the sums of a layer");
        return NULL;
    }
    sums->refs = 1;
    sums->stream_size = stream_size;
    return sums;
}

struct kf_sums *kf_sums_ref(struct kf_sums *sums)
{
    (void)__atomic_add_fetch(&sums->refs, 1, __ATOMIC_RELAXED); /* the caller holds one */
    return sums;
}

void kf_sums_unref(struct kf_sums *sums)
{
    if (!sums || __atomic_sub_fetch(&sums->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    free(sums->files);
    free(sums->of_files.digests);
    free(sums->of_rest.digests);
    free(sums);
}

static uint64_t chunks_in(uint64_t size)
{
    return size / KF_PLAIN_CHUNK + (size % KF_PLAIN_CHUNK != 0);
}

/* Chunks of the remainder wholly inside a range of the stream: the first, and the one
 * behind the last. The stream's last chunk ends with the stream. */
static void hidden_in(const struct kf_sums *sums, uint64_t offset, uint64_t size,
                      uint64_t *ret_first, uint64_t *ret_end)
{
    uint64_t end = offset + size;

    *ret_first = chunks_in(offset);
    *ret_end = end == sums->stream_size ? chunks_in(end) : end / KF_PLAIN_CHUNK;
}

int kf_sums_add_file(struct kf_sums *sums, uint64_t offset, uint64_t size,
                     struct kf_err *err)
{
    const struct kf_sums_file *last =
        sums->file_count > 0 ? &sums->files[sums->file_count - 1] : NULL;
    struct kf_sums_file file = {.offset = offset, .size = size};
    uint64_t first, end;

    if (size < KF_LARGE_FILE || offset > sums->stream_size ||
        size > sums->stream_size - offset || (last && offset < last->offset + last->size))
        return kf_fail(err, KF_E_MALFORMED, "large files that lie in each other");
    if (sums->file_count == sums->file_capacity) {
        uint32_t capacity = sums->file_capacity ? 2 * sums->file_capacity : 16;
        void *grown = reallocarray(sums->files, capacity, sizeof(*sums->files));

        if (!grown)
            return kf_fail(err, KF_E_NOMEM, "no memory for the sums of a layer");
        sums->files = grown;
        sums->file_capacity = capacity;
        last = sums->file_count > 0 ? &sums->files[sums->file_count - 1] : NULL;
    }
    hidden_in(sums, offset, size, &first, &end);
    file.first = last ? last->first + chunks_in(last->size) : 0;
    file.hidden = (last ? last->hidden : 0) + (end - first);
    sums->files[sums->file_count++] = file;
    return 0;
}

int kf_sums_add_files(struct kf_sums *sums, const struct kf_table *table,
                      struct kf_err *err)
{
    for (uint32_t i = 0; i < table->count; i++)
        if (table->entries[i].size >= KF_LARGE_FILE &&
            kf_sums_add_file(sums, table->entries[i].offset, table->entries[i].size,
                             err) != 0)
            return -1;
    return 0;
}

int kf_sums_append(struct kf_sums *sums, struct kf_sums_list *list,
                   const struct kf_digest *digest, struct kf_err *err)
{
    if (sums->of_files.count + sums->of_rest.count == KF_SUMS_CHUNK_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "more chunks than sums are kept of");
    if (list->count == list->capacity) {
        uint64_t capacity = list->capacity ? 2 * list->capacity : 64;
        void *grown = reallocarray(list->digests, capacity, sizeof(*list->digests));

        if (!grown)
            return kf_fail(err, KF_E_NOMEM, "no memory for the sums of a layer");
        list->digests = grown;
        list->capacity = capacity;
    }
    list->digests[list->count++] = *digest;
    return 0;
}

/* ---- looking up ---- */

/* The last large file that begins at or before an offset; -1: none. */
static int64_t file_before(const struct kf_sums *sums, uint64_t offset)
{
    uint32_t low = 0, high = sums->file_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (sums->files[middle].offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return (int64_t)low - 1;
}

bool kf_sums_needs(const struct kf_sums *sums, uint64_t chunk)
{
    int64_t at = file_before(sums, chunk * KF_PLAIN_CHUNK);
    uint64_t first, end;

    if (chunk >= chunks_in(sums->stream_size))
        return false;
    if (at < 0)
        return true;
    hidden_in(sums, sums->files[at].offset, sums->files[at].size, &first, &end);
    return chunk < first || chunk >= end;
}

const struct kf_digest *kf_sums_of_rest(const struct kf_sums *sums, uint64_t chunk)
{
    int64_t at = file_before(sums, chunk * KF_PLAIN_CHUNK);
    uint64_t index;

    if (!kf_sums_needs(sums, chunk))
        return NULL;
    index = chunk - (at < 0 ? 0 : sums->files[at].hidden);
    return index < sums->of_rest.count ? &sums->of_rest.digests[index] : NULL;
}

const struct kf_digest *kf_sums_of_file(const struct kf_sums *sums, uint64_t offset,
                                        uint64_t chunk)
{
    int64_t at = file_before(sums, offset);
    uint64_t index;

    if (at < 0 || sums->files[at].offset != offset ||
        chunk >= chunks_in(sums->files[at].size))
        return NULL;
    index = sums->files[at].first + chunk;
    return index < sums->of_files.count ? &sums->of_files.digests[index] : NULL;
}

/* ---- both ways ---- */

int kf_sums_encode(const struct kf_sums *sums, struct kf_buf *ret, struct kf_err *err)
{
    uint8_t header[HEADER_SIZE] = {0}, file[FILE_SIZE];

    memcpy(header, magic, sizeof(magic));
    kf_put_le16(header + 8, MAJOR);
    kf_put_le32(header + 12, sums->file_count);
    kf_put_le64(header + 16, sums->stream_size);
    kf_put_le64(header + 24, sums->of_files.count);
    kf_put_le64(header + 32, sums->of_rest.count);
    if (kf_buf_append(ret, header, sizeof(header), err) != 0)
        return -1;
    for (uint32_t i = 0; i < sums->file_count; i++) {
        kf_put_le64(file, sums->files[i].offset);
        kf_put_le64(file + 8, sums->files[i].size);
        if (kf_buf_append(ret, file, sizeof(file), err) != 0)
            return -1;
    }
    if (kf_buf_append(ret, sums->of_files.digests,
                      sums->of_files.count * sizeof(struct kf_digest), err) != 0)
        return -1;
    return kf_buf_append(ret, sums->of_rest.digests,
                         sums->of_rest.count * sizeof(struct kf_digest), err);
}

static int fill(struct kf_sums *sums, struct kf_sums_list *list, const uint8_t *from,
                uint64_t count, struct kf_err *err)
{
    struct kf_digest digest;

    for (uint64_t i = 0; i < count; i++) {
        memcpy(digest.bytes, from + i * sizeof(digest), sizeof(digest));
        if (kf_sums_append(sums, list, &digest, err) != 0)
            return -1;
    }
    return 0;
}

/* What there must be, by the files that the table has. */
static bool fits(const struct kf_sums *sums, const uint8_t *header, size_t length)
{
    const struct kf_sums_file *last =
        sums->file_count > 0 ? &sums->files[sums->file_count - 1] : NULL;
    uint64_t of_files = last ? last->first + chunks_in(last->size) : 0;
    uint64_t of_rest = chunks_in(sums->stream_size) - (last ? last->hidden : 0);

    return of_files + of_rest <= KF_SUMS_CHUNK_LIMIT &&
           kf_le32(header + 12) == sums->file_count &&
           kf_le64(header + 16) == sums->stream_size &&
           kf_le64(header + 24) == of_files && kf_le64(header + 32) == of_rest &&
           length == HEADER_SIZE + (uint64_t)sums->file_count * FILE_SIZE +
                         (of_files + of_rest) * sizeof(struct kf_digest);
}

static bool has_same_files(const struct kf_sums *sums, const uint8_t *files)
{
    for (uint32_t i = 0; i < sums->file_count; i++)
        if (kf_le64(files + (size_t)i * FILE_SIZE) != sums->files[i].offset ||
            kf_le64(files + (size_t)i * FILE_SIZE + 8) != sums->files[i].size)
            return false;
    return true;
}

KF_DEFINE_AUTO(sums, struct kf_sums *, kf_sums_unref)

int kf_sums_decode(struct kf_sums **ret, const struct kf_table *table, const void *data,
                   size_t length, struct kf_err *err)
{
    kf_auto(kf_auto_sums) struct kf_sums *sums = kf_sums_new(table->stream_size, err);
    const uint8_t *at = data;

    if (!sums || kf_sums_add_files(sums, table, err) != 0)
        return -1;
    if (length < HEADER_SIZE || memcmp(at, magic, sizeof(magic)) != 0 ||
        kf_le16(at + 8) != MAJOR || !fits(sums, at, length) ||
        !has_same_files(sums, at + HEADER_SIZE))
        return kf_fail(err, KF_E_MALFORMED, "sums of another layer, or none");
    uint64_t of_files = kf_le64(at + 24), of_rest = kf_le64(at + 32);

    at += HEADER_SIZE + (size_t)sums->file_count * FILE_SIZE;
    if (fill(sums, &sums->of_files, at, of_files, err) != 0 ||
        fill(sums, &sums->of_rest, at + of_files * sizeof(struct kf_digest), of_rest,
             err) != 0)
        return -1;
    *ret = kf_steal(sums);
    return 0;
}
