/* The digests of a checked layer's chunks, and a stream that passes. */
#include "layer/sums.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "fail_alloc.h"
#include "layer/layer.h"
#include "layer/table.h"
#include "layer/whole_pass.h"
#include "tar_maker.h"

#define MIB(n) ((uint64_t)(n) << 20)
#define HEADER 40u

static void add(struct kf_table *table, uint64_t offset, uint64_t size)
{
    const struct kf_table_entry entry = {.offset = offset, .size = size};

    cr_assert_eq(kf_table_add(table, &entry, "f", 1, NULL), 0);
}

static bool is_hidden(const struct kf_table *table, uint64_t chunk)
{
    uint64_t begin = chunk * MIB(1), end = kf_min_u64(begin + MIB(1), table->stream_size);

    for (uint32_t i = 0; i < table->count; i++) {
        const struct kf_table_entry *entry = &table->entries[i];

        if (entry->size >= KF_LARGE_FILE && entry->offset <= begin &&
            entry->offset + entry->size >= end)
            return true;
    }
    return false;
}

static struct kf_digest digest(bool of_rest, uint64_t offset, uint64_t chunk)
{
    const uint64_t what[] = {of_rest, offset, chunk};
    struct kf_digest result;

    cr_assert_eq(kf_digest_of(&result, what, sizeof(what), NULL), 0);
    return result;
}

/* Sums as a pass would fill them. */
static struct kf_sums *fill(const struct kf_table *table)
{
    struct kf_sums *sums = kf_sums_new(table->stream_size, NULL);
    uint64_t chunks = (table->stream_size + MIB(1) - 1) / MIB(1);

    cr_assert_eq(kf_sums_add_files(sums, table, NULL), 0);
    for (uint32_t i = 0; i < sums->file_count; i++)
        for (uint64_t c = 0; c * MIB(1) < sums->files[i].size; c++) {
            struct kf_digest one = digest(false, sums->files[i].offset, c);

            cr_assert_eq(kf_sums_append(sums, &sums->of_files, &one, NULL), 0);
        }
    for (uint64_t c = 0; c < chunks; c++) {
        struct kf_digest one = digest(true, 0, c);

        cr_assert_eq(kf_sums_needs(sums, c), !is_hidden(table, c), "%d", (int)c);
        if (kf_sums_needs(sums, c))
            cr_assert_eq(kf_sums_append(sums, &sums->of_rest, &one, NULL), 0);
    }
    cr_assert_not(kf_sums_needs(sums, chunks));
    return sums;
}

static void expect_found(const struct kf_sums *sums, const struct kf_table *table)
{
    for (uint32_t i = 0; i < sums->file_count; i++) {
        uint64_t offset = sums->files[i].offset, c = 0;

        for (; c * MIB(1) < sums->files[i].size; c++) {
            struct kf_digest one = digest(false, offset, c);

            cr_assert(kf_digest_equal(kf_sums_of_file(sums, offset, c), &one));
        }
        cr_assert_null(kf_sums_of_file(sums, offset, c));
        cr_assert_null(kf_sums_of_file(sums, offset + 1, 0));
    }
    for (uint64_t c = 0; c <= table->stream_size / MIB(1) + 1; c++) {
        struct kf_digest one = digest(true, 0, c);
        const struct kf_digest *found = kf_sums_of_rest(sums, c);

        cr_assert_eq(found != NULL, kf_sums_needs(sums, c));
        if (found)
            cr_assert(kf_digest_equal(found, &one), "%d", (int)c);
    }
}

static const struct {
    uint64_t stream_size, files[3][2];
} shapes[] = {
    {MIB(20), {{0, 0}}},                                     /* no large file */
    {MIB(20), {{0, MIB(20)}}},                               /* nothing else */
    {MIB(20) + 7, {{0, MIB(20) + 7}}},                       /* the same, uneven */
    {MIB(60), {{MIB(3), MIB(16)}, {MIB(19), MIB(20)}}},      /* touching, at borders */
    {MIB(60), {{512, MIB(17) + 1}, {MIB(18), MIB(20) + 5}}}, /* a gap in a chunk */
    {MIB(70), {{512, MIB(17)}, {MIB(20) - 1, MIB(30)}, {MIB(53), MIB(17)}}},
    {MIB(40), {{MIB(2), 5000}, {MIB(4), MIB(16)}}}, /* a small one */
    {5000, {{0, 0}}},
    {0, {{0, 0}}},
};

static void make_table(struct kf_table *table, size_t shape)
{
    kf_table_init(table);
    table->stream_size = shapes[shape].stream_size;
    for (size_t i = 0; i < 3 && shapes[shape].files[i][1] > 0; i++)
        add(table, shapes[shape].files[i][0], shapes[shape].files[i][1]);
}

Test(sums, each_chunk_has_its_own)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(shapes); i++) {
        struct kf_table table;
        struct kf_sums *sums, *again;
        struct kf_buf bytes;

        make_table(&table, i);
        sums = fill(&table);
        expect_found(sums, &table);
        kf_buf_init(&bytes, MIB(1));
        cr_assert_eq(kf_sums_encode(sums, &bytes, NULL), 0);
        cr_assert_eq(kf_sums_decode(&again, &table, bytes.data, bytes.length, NULL), 0);
        expect_found(again, &table);
        kf_sums_unref(again);
        kf_sums_unref(sums);
        kf_buf_fini(&bytes);
        kf_table_fini(&table);
    }
}

Test(sums, other_bytes_are_refused)
{
    struct kf_table table, other;
    struct kf_sums *sums, *again = NULL;
    struct kf_buf bytes;
    struct kf_err err;

    make_table(&table, 4);
    make_table(&other, 3);
    sums = fill(&table);
    kf_buf_init(&bytes, MIB(1));
    cr_assert_eq(kf_sums_encode(sums, &bytes, NULL), 0);
    for (size_t length = 0; length < bytes.length; length += length < 100 ? 1 : 31) {
        uint8_t *exact = malloc(length + 1);

        cr_assert_not_null(exact);
        memcpy(exact, bytes.data, length);
        cr_assert_eq(kf_sums_decode(&again, &table, exact, length, &err), -1);
        cr_assert_eq(err.kind, KF_E_MALFORMED);
        free(exact);
    }
    for (size_t i = 0; i < HEADER + 32; i++) {
        if (i == 10 || i == 11)
            continue; /* a minor version */
        bytes.data[i] ^= 1;
        cr_assert_eq(kf_sums_decode(&again, &table, bytes.data, bytes.length, &err), -1,
                     "%zu", i);
        bytes.data[i] ^= 1;
    }
    cr_assert_eq(kf_sums_decode(&again, &other, bytes.data, bytes.length, &err), -1);
    cr_assert_null(again);
    kf_sums_unref(sums);
    kf_buf_fini(&bytes);
    kf_table_fini(&table);
    kf_table_fini(&other);
}

Test(sums, files_that_lie_in_each_other)
{
    static const uint64_t bad[][2] = {
        {MIB(4), MIB(16)},          /* inside the one before */
        {MIB(19), MIB(16)},         /* in its last byte */
        {MIB(20), MIB(16) - 1},     /* not large */
        {MIB(50), MIB(16)},         /* beyond the end */
        {MIB(70), MIB(16)},         /* begins there */
        {MIB(20), UINT64_MAX - 10}, /* overflows */
    };
    struct kf_sums *sums = kf_sums_new(MIB(60), NULL);

    cr_assert_eq(kf_sums_add_file(sums, MIB(2) + 1, MIB(18), NULL), 0);
    for (size_t i = 0; i < KF_ARRAY_LEN(bad); i++)
        cr_assert_eq(kf_sums_add_file(sums, bad[i][0], bad[i][1], NULL), -1, "%zu", i);
    cr_assert_eq(kf_sums_add_file(sums, MIB(20) + 1, MIB(16), NULL), 0);
    kf_sums_unref(sums);
}

Test(sums, limit_of_chunks)
{
    struct kf_sums *sums = kf_sums_new(MIB(1), NULL);
    const struct kf_digest one = {{1}};
    struct kf_err err;

    sums->of_rest.count = KF_SUMS_CHUNK_LIMIT - 1; /* as if they were there */
    cr_assert_eq(kf_sums_append(sums, &sums->of_files, &one, &err), 0);
    cr_assert_eq(kf_sums_append(sums, &sums->of_files, &one, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    kf_sums_unref(sums);
}

/* ---- a stream that passes ---- */

struct seen {
    const uint8_t *stream;
    unsigned of_files, of_rest;
};

static int see(void *arg, const struct kf_whole_chunk *chunk, struct kf_err *err)
{
    struct seen *seen = arg;
    uint64_t at = (chunk->of_rest ? 0 : chunk->file_offset) + chunk->chunk * MIB(1);
    struct kf_digest digest;

    cr_assert_arr_eq(chunk->block->data, seen->stream + at, chunk->block->length);
    cr_assert_eq(kf_digest_of(&digest, chunk->block->data, chunk->block->length, NULL),
                 0);
    cr_assert(kf_digest_equal(&digest, &chunk->digest));
    seen->of_rest += chunk->of_rest;
    seen->of_files += !chunk->of_rest;
    return 0;
}

static void make_tar(struct kf_buf *tar)
{
    size_t size = MIB(17) + 300;
    uint8_t *data = malloc(size);

    cr_assert_not_null(data);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 11));
    kf_buf_init(tar, MIB(64));
    tar_add_dir(tar, "d");
    tar_add_file(tar, "d/small", data, 5000);
    tar_add_file(tar, "d/large", data, size);
    tar_add_pax(tar, "path", "d/another");
    tar_add_file(tar, "x", data + 1, MIB(16));
    tar_add_file(tar, "d/empty", "", 0);
    tar_end(tar);
    free(data);
}

static int pass_all(const struct kf_buf *tar, size_t piece, struct seen *seen,
                    uint32_t *ret_count, struct kf_err *err)
{
    const struct kf_whole_pass_spec spec = {
        .stream_size = tar->length, .on_chunk = see, .arg = seen};
    struct kf_passed passed;
    struct kf_whole_pass *pass;
    struct kf_digest whole;
    int rc = kf_whole_pass_new(&pass, &spec, err);

    if (rc != 0)
        return -1;
    for (size_t at = 0; rc == 0 && at < tar->length; at += piece)
        rc = kf_whole_pass_push(pass, tar->data + at,
                                (size_t)kf_min_u64(piece, tar->length - at), err);
    if (rc == 0)
        rc = kf_whole_pass_end(pass, &passed, err);
    if (rc == 0) {
        cr_assert_eq(kf_digest_of(&whole, tar->data, tar->length, NULL), 0);
        cr_assert(kf_digest_equal(&whole, &passed.digest));
        *ret_count = passed.table->count;
        cr_assert_eq(passed.sums->file_count, 2);
        cr_assert_eq(passed.sums->of_files.count, 18 + 16);
        cr_assert_eq(passed.sums->of_rest.count, seen->of_rest);
    }
    kf_whole_pass_free(pass);
    return rc;
}

Test(pass, pieces_of_any_size)
{
    static const size_t pieces[] = {511, 512, 100000, MIB(1), MIB(1) + 1, MIB(64)};
    struct kf_buf tar;

    make_tar(&tar);
    for (size_t i = 0; i < KF_ARRAY_LEN(pieces); i++) {
        struct seen seen = {.stream = tar.data};
        struct kf_err err;
        uint32_t count = 0;

        cr_assert_eq(pass_all(&tar, pieces[i], &seen, &count, &err), 0, "%s",
                     err.message);
        cr_assert_eq(count, 5);
        cr_assert_eq(seen.of_files, 18 + 16);
        cr_assert_eq(seen.of_rest, 3); /* the first, between the two, the last */
    }
    kf_buf_fini(&tar);
}

Test(pass, an_archive_that_ends_too_early)
{
    struct kf_buf tar;
    struct seen seen = {0};
    struct kf_err err;
    uint32_t count;

    make_tar(&tar);
    seen.stream = tar.data;
    tar.length = 5000; /* inside a file */
    cr_assert_eq(pass_all(&tar, 700, &seen, &count, &err), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
    kf_buf_fini(&tar);
}

Test(pass, without_memory)
{
    struct kf_buf tar;
    bool failed = true;

    make_tar(&tar);
    for (long n = 0; failed; n++) {
        struct seen seen = {.stream = tar.data};
        struct kf_err err;
        uint32_t count;
        int rc;

        fail_alloc_after(n);
        rc = pass_all(&tar, MIB(4), &seen, &count, &err);
        failed = fail_alloc_happened() != 0;
        fail_alloc_after(-1);
        cr_assert_eq(rc != 0, failed);
        if (failed)
            cr_assert_eq(err.kind, KF_E_NOMEM, "%s", err.message);
    }
    kf_buf_fini(&tar);
}
