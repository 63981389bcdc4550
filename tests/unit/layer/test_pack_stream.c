#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/pack_stream.h"
#include "layer/tar_encode.h"
#include "layer/toc.h"
#include "pack_files.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

static const struct pack_file content = {.seed = 1, .alphabet = 256};

/* What holds for any plan: chunks without gaps, none empty or too large; those of a file
 * of 64 KiB or more hold bytes of it alone. */
static void expect_sound(const struct kf_pack_stream *stream, uint32_t chunk_size)
{
    uint64_t at = 0;
    uint32_t chunk = 0;

    for (uint32_t i = 0; i < stream->chunk_count; i++) {
        cr_assert_eq(stream->chunks[i].offset, at);
        cr_assert_gt(stream->chunks[i].length, 0);
        cr_assert_leq(stream->chunks[i].length, chunk_size);
        at += stream->chunks[i].length;
    }
    cr_assert_eq(at, stream->length);
    for (uint32_t i = 0; i < stream->entry_count; i++) {
        uint64_t data = stream->places[i].data, end = data + stream->entries[i].size;

        if (stream->entries[i].size < KF_CUT_FILE)
            continue;
        while (stream->chunks[chunk].offset < data)
            chunk++;
        cr_assert_eq(stream->chunks[chunk].offset, data);
        while (chunk < stream->chunk_count && stream->chunks[chunk].offset < end)
            chunk++;
        cr_assert_eq(stream->chunks[chunk - 1].offset + stream->chunks[chunk - 1].length,
                     end);
    }
}

static struct kf_pack_stream plan(const struct kf_pack_entry *entries, uint32_t count,
                                  uint32_t chunk_size, bool align_data, bool raw)
{
    struct kf_pack_stream stream;
    struct kf_err err = {0};

    cr_assert_eq(
        kf_pack_stream_init(&stream, entries, count, chunk_size, align_data, raw, &err),
        0, "%s", err.message);
    expect_sound(&stream, chunk_size);
    return stream;
}

static void expect_lengths(const struct kf_pack_stream *stream, const uint64_t *lengths,
                           uint32_t count)
{
    cr_assert_eq(stream->chunk_count, count, "%u chunks", stream->chunk_count);
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(stream->chunks[i].length, lengths[i], "chunk %u of %u bytes", i,
                     stream->chunks[i].length);
}

Test(pack_stream, small_files_share_chunks)
{
    struct kf_pack_entry entries[40];
    char names[40][16];
    struct kf_pack_stream stream;
    static const uint64_t lengths[] = {MIB(1), 40 * (512 + KIB(63)) - 2 * MIB(1)};

    for (int i = 0; i < 40; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "f%02d", i);
        entries[i] = pack_entry(names[i], KIB(63), &content);
    }
    stream = plan(entries, 40, MIB(1), false, false);
    cr_assert_eq(stream.chunk_count, 3);
    cr_assert_eq(stream.chunks[0].length, lengths[0]);
    cr_assert_eq(stream.chunks[2].length, lengths[1]);
    kf_pack_stream_fini(&stream);
}

Test(pack_stream, files_from_64_KiB_on_have_their_own_chunks)
{
    struct kf_pack_entry entries[] = {
        pack_dir("d"),
        pack_entry("d/a", KIB(64) - 1, &content),
        pack_entry("d/b", KIB(64), &content),
        pack_entry("d/c", 0, &content),
        pack_entry("d/d", MIB(1) + 1, &content),
    };
    static const uint64_t lengths[] = {
        2 * 512 + KIB(64) + 512, KIB(64), 2 * 512, MIB(1), 1, 511};
    struct kf_pack_stream stream = plan(entries, 5, MIB(1), false, false);

    expect_lengths(&stream, lengths, 6);
    cr_assert_eq(stream.places[0].end, 512);
    cr_assert_eq(stream.places[2].data, lengths[0]);
    kf_pack_stream_fini(&stream);
}

Test(pack_stream, chunk_sizes)
{
    struct kf_pack_entry entry = pack_entry("a", MIB(40) + 3, &content);
    static const uint32_t good[] = {KIB(64), KIB(64) + 1, MIB(1), MIB(16)};
    static const uint32_t bad[] = {0, KIB(64) - 1, MIB(16) + 1, UINT32_MAX};
    struct kf_pack_stream stream;
    struct kf_err err = {0};

    for (int i = 0; i < 4; i++) {
        stream = plan(&entry, 1, good[i], false, false);
        cr_assert_eq(stream.chunk_count,
                     2 + (MIB(40) + 3 + good[i] - 1) / good[i]); /* header and padding */
        kf_pack_stream_fini(&stream);
        cr_assert_eq(kf_pack_stream_init(&stream, &entry, 1, bad[i], false, false, &err),
                     -1);
        cr_assert_eq(err.kind, KF_E_ARG);
    }
}

Test(pack_stream, cuts_restart_at_tensors_of_1_MiB_and_after)
{
    struct kf_tensor tensors[] = {
        {KIB(100), KIB(900)},                /* too small for cuts */
        {KIB(1000), MIB(1)},                 /* large enough */
        {KIB(1000) + MIB(1), MIB(2) + 5},    /* right behind it */
        {KIB(1001) + MIB(3) + 5, MIB(1) - 1} /* one byte too small, after a gap */
    };
    struct kf_pack_entry entry = pack_entry("m", MIB(5), &content);
    static const uint64_t lengths[] = {512,    KIB(100), KIB(900),
                                       MIB(1), MIB(1),   MIB(1),
                                       5,      MIB(1),   MIB(5) - KIB(1000) - MIB(4) - 5};
    struct kf_pack_stream stream;

    entry.tensors = (struct kf_tensors){tensors, 4, KIB(100)};
    stream = plan(&entry, 1, MIB(1), false, false);
    expect_lengths(&stream, lengths, 9);
    for (uint32_t i = 0; i < 9; i++)
        cr_assert_eq(kf_pack_stream_is_weights(&stream, i), i >= 2, "chunk %u", i);
    kf_pack_stream_fini(&stream);
}

Test(pack_stream, tensor_cuts_do_not_move_with_the_chunk_size)
{
    struct kf_tensor tensors[] = {{KIB(8), MIB(1)}, {KIB(8) + MIB(1), MIB(2)}};
    struct kf_pack_entry entry = pack_entry("m", KIB(8) + MIB(3), &content);
    static const uint64_t lengths[] = {KIB(8), MIB(1), MIB(2)};
    struct kf_pack_stream stream;

    entry.tensors = (struct kf_tensors){tensors, 2, KIB(8)};
    stream = plan(&entry, 1, MIB(16), false, true);
    expect_lengths(&stream, lengths, 3);
    kf_pack_stream_fini(&stream);
}

Test(pack_stream, only_the_tensors_of_a_file_are_weights)
{
    struct kf_tensor tensor = {KIB(4), KIB(100)};
    struct kf_pack_entry entries[] = {pack_entry("a", KIB(200), &content),
                                      pack_entry("b", KIB(105) + 1, &content),
                                      pack_entry("c", 10, &content)};
    /* The last one begins with the padding of "b". */
    static const uint64_t lengths[] = {512,    KIB(200),     512,
                                       KIB(4), KIB(101) + 1, 511 + 1024};
    struct kf_pack_stream stream;

    entries[1].tensors = (struct kf_tensors){&tensor, 1, KIB(4)};
    stream = plan(entries, 3, MIB(1), false, false);
    expect_lengths(&stream, lengths, 6);
    for (uint32_t i = 0; i < 6; i++)
        cr_assert_eq(kf_pack_stream_is_weights(&stream, i), i == 4, "chunk %u", i);
    kf_pack_stream_fini(&stream);
}

Test(pack_stream, data_is_aligned_where_asked)
{
    struct kf_pack_entry entries[] = {
        pack_entry("a", 1, &content), pack_entry("b", KIB(64), &content),
        pack_entry("c", KIB(64) - 1, &content), pack_entry("d", MIB(3) + 1, &content),
        pack_entry("e", MIB(2), &content)};
    struct kf_pack_stream stream = plan(entries, 5, MIB(1), true, false);

    cr_assert_eq(stream.places[0].data, 512);
    cr_assert_eq(stream.places[1].data % 4096, 0);
    cr_assert_eq(stream.places[2].data - stream.places[2].header, 512);
    cr_assert_eq(stream.places[3].data % 4096, 0);
    cr_assert_eq(stream.places[4].data % 4096, 0);
    kf_pack_stream_fini(&stream);
}

Test(pack_stream, raw_is_the_file_alone)
{
    struct pack_files files;
    struct kf_pack_entry entries[] = {pack_entry("a/b", MIB(1) + 9, &content),
                                      pack_entry("c", 0, &content), pack_dir("d")};
    static const uint64_t lengths[] = {MIB(1), 9};
    struct kf_pack_stream stream = plan(entries, 1, MIB(1), false, true);
    uint8_t got[9], expected[9];
    struct kf_err err = {0};

    expect_lengths(&stream, lengths, 2);
    pack_files_init(&files);
    cr_assert_eq(kf_pack_stream_read(&stream, &files.reader, got, 9, MIB(1), &err), 0);
    pack_file_fill(&content, expected, 9, MIB(1));
    cr_assert_arr_eq(got, expected, 9);
    kf_pack_stream_fini(&stream);
    for (uint32_t i = 1; i < 3; i++) { /* an empty file, a folder */
        cr_assert_eq(
            kf_pack_stream_init(&stream, &entries[i], 1, MIB(1), false, true, &err), -1);
        cr_assert_eq(err.kind, KF_E_ARG);
    }
    cr_assert_eq(kf_pack_stream_init(&stream, entries, 2, MIB(1), false, true, &err), -1);
    cr_assert_eq(kf_pack_stream_init(&stream, entries, 0, MIB(1), false, true, &err), -1);
}

Test(pack_stream, nothing_at_all)
{
    struct kf_pack_stream stream = plan(NULL, 0, MIB(1), false, false);

    cr_assert_eq(stream.length, 0);
    cr_assert_eq(stream.chunk_count, 0);
    kf_pack_stream_fini(&stream);
}

/* The whole stream, made by hand. */
static uint8_t *by_hand(const struct kf_pack_stream *stream)
{
    struct kf_buf all;
    uint8_t *bytes = calloc(1, stream->length);

    kf_buf_init(&all, MIB(16));
    for (uint32_t i = 0; i < stream->entry_count; i++) {
        const struct kf_pack_entry *entry = &stream->entries[i];
        struct kf_tar_file file = {.name = entry->name,
                                   .size = entry->size,
                                   .is_dir = entry->is_dir,
                                   .is_executable = entry->is_executable,
                                   .aligned =
                                       stream->align_data && entry->size >= KIB(64),
                                   .position = stream->places[i].header};

        kf_buf_clear(&all);
        cr_assert_eq(kf_tar_encode(&file, &all, NULL), 0);
        memcpy(bytes + stream->places[i].header, all.data, all.length);
        if (entry->size > 0)
            pack_file_fill(entry->source, bytes + stream->places[i].data, entry->size, 0);
    }
    kf_buf_fini(&all);
    return bytes;
}

Test(pack_stream, any_range_reads_right)
{
    struct pack_file other = {.seed = 2, .alphabet = 7};
    struct kf_pack_entry entries[] = {
        pack_dir("d"),
        pack_entry("d/a", 1, &content),
        pack_entry("d/b", 0, &content),
        pack_entry("d/gr\xc3\xb6\xc3\x9f"
                   "e",
                   700, &other),
        pack_entry("d/run", KIB(64), &other),
        pack_entry("e", MIB(1) + 1, &content),
    };
    static const size_t lengths[] = {1, 511, 512, 513, 5000, 70001};
    struct pack_files files;
    struct kf_pack_stream stream;
    uint8_t *expected, *got;

    entries[4].is_executable = true;
    stream = plan(entries, 6, KIB(64), true, false);
    pack_files_init(&files);
    expected = by_hand(&stream);
    for (size_t k = 0; k < KF_ARRAY_LEN(lengths); k++) {
        uint64_t step = lengths[k] < 500 ? 97 : lengths[k];

        for (uint64_t at = 0; at + lengths[k] <= stream.length && at < KIB(300);
             at += step) {
            got = malloc(lengths[k]);
            cr_assert_eq(
                kf_pack_stream_read(&stream, &files.reader, got, lengths[k], at, NULL),
                0);
            cr_assert_arr_eq(got, expected + at, lengths[k]);
            free(got);
        }
    }
    got = malloc(stream.length);
    cr_assert_eq(kf_pack_stream_read(&stream, &files.reader, got, stream.length, 0, NULL),
                 0);
    cr_assert_arr_eq(got, expected, stream.length);
    free(got);
    free(expected);
    kf_pack_stream_fini(&stream);
}

Test(pack_stream, a_read_that_fails_is_told)
{
    struct kf_pack_entry entry = pack_entry("a", 10, &content);
    struct kf_pack_stream stream = plan(&entry, 1, MIB(1), false, false);
    struct pack_files files;
    struct kf_err err = {0};
    uint8_t data[1024];

    pack_files_init(&files);
    files.fail_at = 1;
    cr_assert_eq(kf_pack_stream_read(&stream, &files.reader, data, sizeof(data), 0, &err),
                 -1);
    cr_assert_eq(err.kind, KF_E_IO);
    kf_pack_stream_fini(&stream);
}

Test(pack_stream, a_hundred_gigabytes_are_a_small_plan)
{
    struct kf_pack_entry entries[] = {pack_entry("a", GIB(9), &content),
                                      pack_entry("b", GIB(91) + 1, &content)};
    struct kf_pack_stream stream = plan(entries, 2, MIB(1), false, false);
    struct pack_files files;
    uint8_t got[2000], expected[1488];

    cr_assert_eq(stream.places[0].data, 1536); /* a pax record for the size */
    cr_assert_eq(stream.places[1].header, GIB(9) + 1536);
    cr_assert_eq(stream.length, GIB(100) + 3072 + 512);
    cr_assert_eq(stream.chunk_count, 100 * 1024 + 4);
    pack_files_init(&files);
    cr_assert_eq(kf_pack_stream_read(&stream, &files.reader, got, 2000,
                                     stream.length - 2000, NULL),
                 0);
    pack_file_fill(&content, expected, 1489 - 1, GIB(91) + 1 - 1489);
    cr_assert_arr_eq(got, expected, 1488);
    for (size_t i = 1489; i < 2000; i++)
        cr_assert_eq(got[i], 0);
    kf_pack_stream_fini(&stream);
}

Test(pack_stream, sizes_that_overflow_are_refused)
{
    static const uint64_t sizes[] = {UINT64_MAX, UINT64_MAX - 511, UINT64_MAX - 2048};
    struct kf_pack_stream stream;
    struct kf_err err = {0};

    for (int i = 0; i < 3; i++) {
        struct kf_pack_entry entries[] = {pack_entry("a", 1000, &content),
                                          pack_entry("b", sizes[i], &content)};

        cr_assert_eq(
            kf_pack_stream_init(&stream, entries, 2, MIB(16), false, false, &err), -1);
        cr_assert_eq(err.kind, KF_E_LIMIT);
    }
}

Test(pack_stream, chunks_have_a_limit)
{
    static const uint64_t sizes[] = {1, GIB(1) << 10, INT64_MAX};
    struct kf_pack_stream stream;
    struct kf_err err = {0};

    for (size_t i = 0; i < KF_ARRAY_LEN(sizes); i++) {
        struct kf_pack_entry entry =
            pack_entry("a", KIB(64) * (kf_toc_limits.chunks - 1) + sizes[i], &content);

        /* The header takes a chunk, too. */
        cr_assert_eq(kf_pack_stream_init(&stream, &entry, 1, KIB(64), false, false, &err),
                     -1);
        cr_assert_eq(err.kind, KF_E_LIMIT);
    }
}

Test(pack_stream, files_have_a_limit)
{
    struct kf_pack_stream stream;
    struct kf_pack_entry entry = pack_entry("a", 1, &content);
    struct kf_err err = {0};

    cr_assert_eq(kf_pack_stream_init(&stream, &entry, (uint32_t)kf_toc_limits.files + 1,
                                     MIB(1), false, false, &err),
                 -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
}

Test(pack_stream, order)
{
    static const uint64_t boot = MIB(1);
    struct kf_pack_entry sorted[] = {
        pack_entry("A", 0, NULL),
        pack_dir("a"),
        pack_entry("a-b", boot, NULL),
        pack_entry("a/b", 1, NULL),
        pack_dir("z"),
        pack_entry("\xc3\xa4", 1, NULL),
        pack_entry("a/a", boot + 1, NULL),
        pack_entry("b", GIB(1), NULL),
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(sorted); i++)
        for (size_t k = 0; k < KF_ARRAY_LEN(sorted); k++) {
            int order = kf_pack_order(&sorted[i], &sorted[k]);

            cr_assert_eq(i < k, order < 0, "'%s' '%s'", sorted[i].name, sorted[k].name);
            cr_assert_eq(i > k, order > 0);
        }
}
