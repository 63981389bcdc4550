/*
 * The seek table of a blob, found and kept: hostile ones, how much is asked for, and what
 * the cache's file may hold.
 */
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/workq.h"
#include "cache/store.h"
#include "fake_source.h"
#include "layer/frame_map.h"
#include "layer/le.h"
#include "layer/seek_find.h"
#include "seekable_maker.h"

#define KIB(n) ((size_t)(n) << 10)

static const struct kf_digest digest = {{5}};

/* One blob looked at: `requests` of them, `rc`, and whether there was a table. */
struct look {
    struct kf_seek_found found;
    struct kf_err err;
    uint64_t requests, bytes;
    int rc;
};

static struct look look_at(const void *blob, size_t length, struct kf_store *store)
{
    struct kf_workq *workq = kf_workq_new(1, NULL);
    struct kf_fake_source *fake = kf_fake_source_new(workq, blob, length);
    const struct kf_seek_from from = {.source = &fake->source,
                                      .digest = &digest,
                                      .is_tar = true,
                                      .store = store,
                                      .timeout_ns = 10 * KF_NS_PER_S};
    struct look look = {.rc = 0};

    look.rc = kf_seek_find(&look.found, &from, &look.err);
    look.requests = kf_fake_source_requests(fake);
    look.bytes = kf_fake_source_bytes(fake);
    kf_source_close(&fake->source);
    kf_workq_free(workq);
    return look;
}

static void expect_none(const void *blob, size_t length, uint64_t most_requests)
{
    struct look look = look_at(blob, length, NULL);

    cr_assert_eq(look.rc, 0, "%s", look.err.message);
    cr_assert_null(look.found.table);
    cr_assert_not(look.found.has_toc);
    cr_assert_leq(look.requests, most_requests);
    cr_assert_leq(look.bytes, KIB(64) * most_requests);
}

static void put_footer(uint8_t *end, uint32_t frames, uint8_t descriptor)
{
    kf_put_le32(end - 9, frames);
    end[-5] = descriptor;
    kf_put_le32(end - 4, UINT32_C(0x8F92EAB1));
}

Test(seek_find, blobs_without_a_table)
{
    static uint8_t blob[100000];

    for (size_t i = 0; i < 12; i++)
        expect_none(blob, i, i < 9 ? 0 : 1);
    expect_none(blob, sizeof(blob), 1);
}

/* Sizes that are larger than the blob, than the limit, than what can be. */
Test(seek_find, tables_that_cannot_be)
{
    static const uint32_t counts[] = {
        1000,
        KF_FRAMES_LIMIT + 1, /* one too many */
        KF_SEEKTAB_FRAME_LIMIT,
        KF_SEEKTAB_FRAME_LIMIT + 1,
        UINT32_MAX,
    };
    static uint8_t blob[5000];

    for (size_t i = 0; i < KF_ARRAY_LEN(counts); i++) {
        put_footer(blob + sizeof(blob), counts[i], 0);
        expect_none(blob, sizeof(blob), 1);
        put_footer(blob + sizeof(blob), counts[i], 0x80);
        expect_none(blob, sizeof(blob), 1);
    }
    /* A footer alone: no room for a frame before it. */
    put_footer(blob + 9, 0, 0);
    expect_none(blob, 9, 1);
}

static void make(struct seekable *made, uint32_t frames)
{
    seekable_init(made);
    for (uint32_t i = 0; i < frames; i++)
        seekable_add(made, &i, sizeof(i));
    seekable_end(made, false);
}

/* Too many frames, in a table that is otherwise right. */
Test(seek_find, limit_of_frames)
{
    for (uint32_t more = 0; more < 2; more++) {
        uint32_t frames = KF_FRAMES_LIMIT + more;
        size_t length = 17 + (size_t)8 * frames;
        uint8_t *blob = calloc(1, length); /* frames of nothing */
        struct look look;

        kf_put_le32(blob, 0x184D2A5E);
        kf_put_le32(blob + 4, (uint32_t)length - 8);
        put_footer(blob + length, frames, 0);
        look = look_at(blob, length, NULL);
        cr_assert_eq(look.rc, 0);
        cr_assert_eq(look.found.table != NULL, more == 0);
        kf_seek_found_fini(&look.found);
        free(blob);
    }
}

Test(seek_find, sums_that_do_not_fit)
{
    struct seekable made;
    uint8_t *table;

    make(&made, 3);
    table = made.blob.data + seekable_table(&made);
    for (uint32_t i = 0; i < 3; i++) {
        uint8_t *entry = table + 8 + (size_t)8 * i;
        uint32_t right = kf_le32(entry);

        kf_put_le32(entry, right + 1);
        expect_none(made.blob.data, made.blob.length, 1);
        kf_put_le32(entry, UINT32_MAX); /* beyond the blob */
        expect_none(made.blob.data, made.blob.length, 1);
        kf_put_le32(entry, right);
    }
    seekable_fini(&made);
}

/* A table that is longer than what is asked for at first. */
Test(seek_find, long_table)
{
    uint32_t frames = 9000;
    size_t length = 17 + (size_t)8 * frames;
    uint8_t *blob = calloc(1, length);
    struct look look;

    kf_put_le32(blob, 0x184D2A5E);
    kf_put_le32(blob + 4, (uint32_t)length - 8);
    put_footer(blob + length, frames, 0);
    look = look_at(blob, length, NULL);
    cr_assert_eq(look.rc, 0);
    cr_assert_eq(look.found.length, length);
    cr_assert_arr_eq(look.found.table, blob, length);
    cr_assert_eq(look.requests, 2);
    kf_seek_found_fini(&look.found);
    free(blob);
}

/* ---- kept ---- */

static int remove_one(const char *path, const struct stat *status, int type,
                      struct FTW *place)
{
    return remove(path);
}

static struct look look_again(const struct seekable *made, struct kf_store *store,
                              uint64_t requests)
{
    struct look look = look_at(made->blob.data, made->blob.length, store);

    cr_assert_eq(look.rc, 0, "%s", look.err.message);
    cr_assert_eq(look.requests, requests);
    return look;
}

Test(seek_find, what_was_found_is_kept)
{
    char folder[] = "/tmp/kf-seek-XXXXXX";
    const struct kf_store_opts opts = {.path = folder};
    struct seekable made;
    struct kf_store *store;
    struct look look;

    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(kf_store_open(&store, &opts, NULL), 0);
    make(&made, 3);
    for (uint64_t requests = 1; requests <= 1; requests--) {
        look = look_again(&made, store, requests);
        cr_assert_eq(look.found.length, made.blob.length - seekable_table(&made));
        kf_seek_found_fini(&look.found);
    }
    /* Rubbish in its place costs a request; and it is kept anew. */
    cr_assert_eq(kf_store_save(store, KF_SMALL_SEEK, &digest, "KITFSSEK", 8, NULL), 0);
    look = look_again(&made, store, 1);
    kf_seek_found_fini(&look.found);
    /* A table that does not fit is not kept: it may be damage on the way. */
    cr_assert_eq(kf_store_save(store, KF_SMALL_SEEK, &digest, "", 0, NULL), 0);
    made.blob.data[seekable_table(&made) + 8]++;
    look_again(&made, store, 1);
    look_again(&made, store, 1);
    /* That there is none is kept. */
    made.blob.length--;
    look_again(&made, store, 1);
    look_again(&made, store, 0);
    kf_store_close(store, kf_deadline_ns(10 * KF_NS_PER_S));
    seekable_fini(&made);
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- the file ---- */

static int decode(const void *data, size_t length, uint64_t blob_size)
{
    uint8_t *exact = malloc(length ? length : 1);
    struct kf_seek_found found;
    struct kf_err err = {0};
    int rc;

    memcpy(exact, data, length);
    rc = kf_seek_file_decode(&found, exact, length, blob_size, &err);
    if (rc == 0)
        kf_seek_found_fini(&found);
    else
        cr_assert_eq(err.kind, KF_E_MALFORMED);
    free(exact);
    return rc;
}

Test(seek_find, file_round_trip_and_breakage)
{
    struct kf_seek_found found = {.has_toc = true,
                                  .toc = {.root_digest = {{7}},
                                          .embedded = true,
                                          .area_offset = 4000,
                                          .root_stored = 100,
                                          .root_raw = 200,
                                          .area_length = 900}};
    struct kf_seek_found again;
    struct seekable made;
    struct kf_buf file;

    make(&made, 3);
    found.table = made.blob.data + seekable_table(&made);
    found.length = made.blob.length - seekable_table(&made);
    kf_buf_init(&file, 4096);
    cr_assert_eq(kf_seek_file_encode(&found, &file, NULL), 0);
    cr_assert_eq(
        kf_seek_file_decode(&again, file.data, file.length, made.blob.length, NULL), 0);
    cr_assert(again.has_toc && again.toc.embedded && again.toc.area_offset == 4000 &&
              again.toc.area_length == 900 && again.length == found.length &&
              memcmp(again.table, found.table, found.length) == 0);
    kf_seek_found_fini(&again);
    for (size_t length = 0; length < file.length; length++)
        cr_assert_eq(decode(file.data, length, made.blob.length) == 0,
                     length == file.length - found.length, "%zu bytes", length);
    cr_assert_eq(decode(file.data, file.length, made.blob.length + 1), -1);
    for (size_t i = 0; i < 16; i++) {
        if (i == 10 || i == 11)
            continue; /* minor */
        file.data[i] ^= 0x40;
        cr_assert_eq(decode(file.data, file.length, made.blob.length), -1, "byte %zu", i);
        file.data[i] ^= 0x40;
    }
    file.data[16 + 20] = '\0'; /* in the link */
    cr_assert_eq(decode(file.data, file.length, made.blob.length), -1);
    kf_buf_fini(&file);
    seekable_fini(&made);
}
