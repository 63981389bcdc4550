#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "fail_alloc.h"
#include "layer/frame.h"
#include "layer/le.h"
#include "layer/seektab.h"
#include "layer/tar_decode.h"
#include "layer/tar_encode.h"
#include "layer/writer.h"
#include "pack_files.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)

static const struct pack_file noise = {.seed = 1, .alphabet = 256};
static const struct pack_file text = {.seed = 2, .alphabet = 20};
static const struct pack_file weights = {.seed = 3, .alphabet = 64};

static struct kf_tensor tensors[] = {{KIB(20), MIB(2)}, {KIB(20) + MIB(2), MIB(1)}};

/* Folders, small and empty files, one of 64 KiB, weights. */
#define KIT_COUNT 7u
static void make_kit(struct kf_pack_entry entries[KIT_COUNT])
{
    entries[0] = pack_entry("README", 3000, &text);
    entries[1] = pack_dir("m");
    entries[2] = pack_entry("m/empty", 0, NULL);
    entries[3] = pack_entry("m/noise", KIB(64), &noise);
    entries[4] = pack_entry("m/run", 100, &text);
    entries[4].is_executable = true;
    entries[5] = pack_entry("m/gro\xc3\x9f.safetensors", KIB(20) + MIB(3), &weights);
    entries[5].tensors = (struct kf_tensors){tensors, 2, KIB(20)};
    entries[6] = pack_entry("m/z", MIB(1) + 1, &noise);
}

/* A reader of tar finds the entries in the stream, with their bytes. */
static void expect_tar(const uint8_t *stream, uint64_t size,
                       const struct kf_pack_entry *entries, uint32_t count)
{
    struct kf_tar_decoder decoder;
    struct kf_tar_result found;
    struct kf_err err = {0};

    kf_tar_decoder_init(&decoder, size);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *expected = malloc(entries[i].size + 1);

        cr_assert_eq(kf_tar_next(&decoder, stream, 0, size, &found, &err), KF_TAR_ENTRY,
                     "%s", err.message);
        cr_assert_eq(found.name_length, strlen(entries[i].name));
        cr_assert_arr_eq(found.name, entries[i].name, found.name_length);
        cr_assert_eq(found.entry.size, entries[i].size);
        if (entries[i].size > 0) {
            pack_file_fill(entries[i].source, expected, entries[i].size, 0);
            cr_assert_eq(memcmp(stream + found.entry.offset, expected, entries[i].size),
                         0);
        }
        free(expected);
    }
    cr_assert_eq(kf_tar_next(&decoder, stream, 0, size, &found, &err), KF_TAR_END);
    cr_assert_eq(decoder.position, size - KF_TAR_END_SIZE);
    for (uint64_t i = size - KF_TAR_END_SIZE; i < size; i++)
        cr_assert_eq(stream[i], 0);
    kf_tar_decoder_fini(&decoder);
}

/* The seek table's frames, which are what the blob is made of. */
static struct kf_seek_entry *seek_table(const struct kf_buf *blob, uint32_t *ret_count)
{
    struct kf_seek_entry *frames = NULL;
    uint64_t size = kf_seektab_size(blob->data + blob->length - KF_SEEKTAB_FOOTER);
    struct kf_err err = {0};

    cr_assert_gt(size, 0);
    cr_assert_eq(kf_seektab_decode(blob->data + blob->length - size, size, blob->length,
                                   &frames, ret_count, &err),
                 0, "%s", err.message);
    return frames;
}

Test(writer, a_blob_of_zstd_frames)
{
    struct kf_pack_entry entries[KIT_COUNT];
    struct kf_writer_opts opts = pack_opts(KF_CARRIER_TAR_ZSTD);
    struct pack_sink sink;
    struct kf_written written;
    struct kf_frame_decoder *decoder = kf_frame_decoder_new(NULL);
    uint32_t frame_count;
    uint64_t at = 0, stream_at = 0;
    uint8_t *stream, *chunk = malloc(MIB(1));
    struct kf_seek_entry *frames;

    make_kit(entries);
    opts.progress = pack_sink_progress;
    opts.progress_arg = &sink;
    written = pack_layer(&sink, entries, KIT_COUNT, &opts);
    cr_assert_eq(sink.progress + KF_TAR_END_SIZE, written.stream_size);
    pack_expect_digest(&written.digest, sink.blob.data, sink.blob.length);
    stream = pack_unpack(&sink.blob, written.stream_size);
    pack_expect_digest(&written.diff_id, stream, written.stream_size);
    expect_tar(stream, written.stream_size, entries, KIT_COUNT);
    cr_assert_arr_eq(sink.blob.data, "\x28\xB5\x2F\xFD", 4);

    /* Chunks, TOC, end mark: each entry of the seek table is exactly a frame. */
    frames = seek_table(&sink.blob, &frame_count);
    cr_assert_eq(frame_count, written.chunk_count + 2);
    for (uint32_t i = 0; i < frame_count; i++) {
        const uint8_t *frame = sink.blob.data + at;

        if (i == frame_count - 2) {
            cr_assert_eq(kf_le32(frame), 0x184D2A5A);
            cr_assert_eq(kf_le32(frame + 4), frames[i].stored_length - 8);
            cr_assert_eq(frames[i].length, 0);
        } else {
            cr_assert_eq(kf_frame_decode(decoder, frame, frames[i].stored_length, chunk,
                                         frames[i].length, NULL),
                         0);
            cr_assert_arr_eq(chunk, stream + stream_at, frames[i].length);
        }
        at += frames[i].stored_length;
        stream_at += frames[i].length;
    }
    cr_assert_eq(frames[frame_count - 1].length, KF_TAR_END_SIZE);
    cr_assert_eq(stream_at, written.stream_size);

    cr_assert(written.has_toc && written.link.embedded);
    cr_assert_null(written.area);
    cr_assert_eq(written.link.area_offset, at - frames[frame_count - 1].stored_length -
                                               frames[frame_count - 2].stored_length + 8);
    cr_assert_eq(written.link.area_length, frames[frame_count - 2].stored_length - 8);
    pack_expect_digest(&written.link.root_digest,
                       sink.blob.data + written.link.area_offset,
                       written.link.root_stored);
    kf_frame_decoder_free(decoder);
    free(frames);
    free(chunk);
    free(stream);
    kf_written_fini(&written);
    kf_buf_fini(&sink.blob);
}

Test(writer, noise_is_stored_and_weights_take_level_1)
{
    struct kf_pack_entry entries[KIT_COUNT];
    struct kf_writer_opts opts = pack_opts(KF_CARRIER_TAR_ZSTD);
    struct pack_sink sink, other;
    struct kf_written written, again;
    uint32_t count, stored = 0;
    struct kf_seek_entry *frames;

    make_kit(entries);
    written = pack_layer(&sink, entries, KIT_COUNT, &opts);
    frames = seek_table(&sink.blob, &count);
    for (uint32_t i = 0; i < written.chunk_count; i++)
        stored += frames[i].stored_length > frames[i].length;
    cr_assert_eq(written.stored_chunks, stored);
    cr_assert_eq(stored, 3); /* m/noise, two of m/z */
    opts.weights_level = 1;
    again = pack_layer(&other, entries, KIT_COUNT, &opts);
    cr_assert(kf_digest_equal(&again.digest, &written.digest));
    kf_buf_fini(&other.blob);
    opts.weights_level = 12;
    again = pack_layer(&other, entries, KIT_COUNT, &opts);
    cr_assert_not(kf_digest_equal(&again.digest, &written.digest));
    cr_assert(kf_digest_equal(&again.diff_id, &written.diff_id));
    free(frames);
    kf_buf_fini(&other.blob);
    kf_buf_fini(&sink.blob);
}

Test(writer, the_same_bytes_for_any_number_of_threads)
{
    static const unsigned threads[] = {1, 2, 3, 16, 0, 1000};
    static const enum kf_toc_carrier carriers[] = {KF_CARRIER_TAR_ZSTD, KF_CARRIER_TAR};
    struct kf_pack_entry entries[KIT_COUNT];

    make_kit(entries);
    for (size_t c = 0; c < 2; c++) {
        struct kf_digest first = {{0}};

        for (size_t i = 0; i < KF_ARRAY_LEN(threads); i++) {
            struct kf_writer_opts opts = pack_opts(carriers[c]);
            struct pack_sink sink;
            struct kf_written written;

            opts.threads = threads[i];
            opts.chunk_size = KIB(64);
            written = pack_layer(&sink, entries, KIT_COUNT, &opts);
            if (i == 0)
                first = written.digest;
            cr_assert(kf_digest_equal(&written.digest, &first));
            kf_written_fini(&written);
            kf_buf_fini(&sink.blob);
        }
    }
}

Test(writer, plain_tar)
{
    struct kf_pack_entry entries[KIT_COUNT];
    struct kf_writer_opts opts = pack_opts(KF_CARRIER_TAR);
    struct pack_sink sink;
    struct kf_written written;

    make_kit(entries);
    written = pack_layer(&sink, entries, KIT_COUNT, &opts);
    cr_assert_eq(written.stream_size, written.size);
    pack_expect_digest(&written.digest, sink.blob.data, sink.blob.length);
    cr_assert(kf_digest_equal(&written.digest, &written.diff_id));
    expect_tar(sink.blob.data, sink.blob.length, entries, KIT_COUNT);
    cr_assert(written.has_toc && !written.link.embedded);
    cr_assert_eq(written.area->length, written.link.area_length);
    pack_expect_digest(&written.link.root_digest, written.area->data,
                       written.link.root_stored);
    kf_written_fini(&written);
    cr_assert_null(written.area);
    kf_buf_fini(&sink.blob);
}

Test(writer, a_raw_file)
{
    struct kf_pack_entry entry = pack_entry("m/noise", MIB(2) + 3, &noise);
    struct kf_writer_opts opts = pack_opts(KF_CARRIER_RAW);
    uint8_t *expected = malloc(entry.size);
    struct pack_sink sink;
    struct kf_written written = pack_layer(&sink, &entry, 1, &opts);

    pack_file_fill(&noise, expected, entry.size, 0);
    cr_assert_eq(written.size, entry.size);
    cr_assert_eq(written.stream_size, entry.size);
    cr_assert_eq(memcmp(sink.blob.data, expected, entry.size), 0);
    pack_expect_digest(&written.digest, expected, entry.size);
    cr_assert(kf_digest_equal(&written.digest, &written.diff_id));
    cr_assert(written.has_toc && written.area);
    free(expected);
    kf_written_fini(&written);
    kf_buf_fini(&sink.blob);
}

Test(writer, without_toc_or_seek_table)
{
    struct kf_pack_entry entries[KIT_COUNT];
    struct kf_writer_opts opts = pack_opts(KF_CARRIER_TAR_ZSTD);
    struct kf_seek_entry *frames;
    uint32_t count;
    struct pack_sink full, sink;
    struct kf_written written, complete;
    uint64_t table;

    make_kit(entries);
    complete = pack_layer(&full, entries, KIT_COUNT, &opts);
    table = kf_seektab_size(full.blob.data + full.blob.length - KF_SEEKTAB_FOOTER);
    opts.no_seek_table = true; /* all but the table */
    written = pack_layer(&sink, entries, KIT_COUNT, &opts);
    cr_assert_eq(written.size, complete.size - table);
    cr_assert_eq(memcmp(sink.blob.data, full.blob.data, written.size), 0);
    cr_assert(written.has_toc);
    kf_buf_fini(&sink.blob);

    opts = pack_opts(KF_CARRIER_TAR_ZSTD);
    opts.no_toc = true; /* neither the frame nor its entry */
    written = pack_layer(&sink, entries, KIT_COUNT, &opts);
    cr_assert(!written.has_toc && !written.area);
    frames = seek_table(&sink.blob, &count);
    cr_assert_eq(count, written.chunk_count + 1);
    cr_assert_eq(written.size, complete.size - complete.link.area_length - 8 - 8);
    cr_assert(kf_digest_equal(&written.diff_id, &complete.diff_id));
    free(frames);
    kf_buf_fini(&sink.blob);

    opts.carrier = KF_CARRIER_TAR;
    written = pack_layer(&sink, entries, KIT_COUNT, &opts);
    cr_assert(!written.has_toc && !written.area);
    kf_buf_fini(&sink.blob);
    kf_buf_fini(&full.blob);
}

Test(writer, a_layer_without_entries)
{
    struct kf_writer_opts opts = pack_opts(KF_CARRIER_TAR_ZSTD);
    static const uint8_t zeros[KF_TAR_END_SIZE];
    struct pack_sink sink;
    struct kf_written written = pack_layer(&sink, NULL, 0, &opts);
    uint8_t *stream = pack_unpack(&sink.blob, KF_TAR_END_SIZE);
    struct kf_seek_entry *frames;
    uint32_t count;

    cr_assert_eq(written.stream_size, KF_TAR_END_SIZE);
    cr_assert_eq(written.chunk_count, 0);
    pack_expect_digest(&written.diff_id, zeros, sizeof(zeros));
    cr_assert_eq(kf_le32(sink.blob.data), 0x184D2A5A);
    cr_assert_eq(written.link.area_offset, 8);
    frames = seek_table(&sink.blob, &count);
    cr_assert_eq(count, 2);
    free(frames);
    free(stream);
    kf_buf_fini(&sink.blob);

    opts.carrier = KF_CARRIER_TAR;
    written = pack_layer(&sink, NULL, 0, &opts);
    cr_assert_eq(sink.blob.length, KF_TAR_END_SIZE);
    pack_expect_digest(&written.digest, zeros, sizeof(zeros));
    kf_written_fini(&written);
    kf_buf_fini(&sink.blob);
}

Test(writer, a_failing_reader_ends_it_wherever_it_fails)
{
    struct kf_pack_entry entries[KIT_COUNT];
    struct kf_writer_opts opts = pack_opts(KF_CARRIER_TAR_ZSTD);
    unsigned long long failures = 0;
    int rc = -1;

    make_kit(entries);
    opts.chunk_size = KIB(256);
    while (rc != 0) {
        struct kf_written written = {0};
        struct pack_files files;
        struct pack_sink sink;
        struct kf_err err = {0};

        pack_files_init(&files);
        pack_sink_init(&sink);
        files.fail_at = ++failures;
        opts.threads = 1 + (unsigned)failures % 3;
        rc = kf_write_layer(&written, entries, KIT_COUNT, &files.reader, &sink.sink,
                            &opts, &err);
        if (rc != 0) {
            cr_assert_eq(err.kind, KF_E_IO);
            cr_assert_str_eq(err.message, "this read fails");
            cr_assert_eq(written.size, 0);
        }
        kf_written_fini(&written);
        kf_buf_fini(&sink.blob);
    }
    cr_assert_gt(failures, 20);
}

Test(writer, a_failing_sink_ends_it_wherever_it_fails)
{
    static const enum kf_toc_carrier carriers[] = {KF_CARRIER_TAR_ZSTD, KF_CARRIER_TAR};
    struct kf_pack_entry entries[KIT_COUNT];

    make_kit(entries);
    for (size_t c = 0; c < 2; c++) {
        unsigned failures = 0;
        int rc = -1;

        while (rc != 0) {
            struct kf_writer_opts opts = pack_opts(carriers[c]);
            struct kf_written written = {0};
            struct pack_files files;
            struct pack_sink sink;
            struct kf_err err = {0};

            pack_files_init(&files);
            pack_sink_init(&sink);
            sink.fail_at = ++failures;
            rc = kf_write_layer(&written, entries, KIT_COUNT, &files.reader, &sink.sink,
                                &opts, &err);
            if (rc != 0)
                cr_assert_str_eq(err.message, "this write fails");
            kf_written_fini(&written);
            kf_buf_fini(&sink.blob);
        }
        cr_assert_geq(failures, 10); /* chunks, and what follows them */
    }
}

static int discard(void *arg, const void *data, size_t length, struct kf_err *err)
{
    return 0;
}

Test(writer, memory_that_runs_out_ends_it_wherever_it_does)
{
    static const enum kf_toc_carrier carriers[] = {KF_CARRIER_TAR_ZSTD, KF_CARRIER_TAR};
    struct kf_pack_sink sink = {.write = discard};
    struct kf_pack_entry entries[KIT_COUNT];

    make_kit(entries);
    for (size_t c = 0; c < 2; c++) {
        struct kf_writer_opts opts = pack_opts(carriers[c]);
        long allocations = 0;
        int happened = 1;

        opts.threads = 1; /* which alone allocates while threads run */
        for (; happened; allocations++) {
            struct kf_written written = {0};
            struct pack_files files;
            struct kf_err err = {0};
            int rc;

            pack_files_init(&files);
            fail_alloc_after(allocations);
            rc = kf_write_layer(&written, entries, KIT_COUNT, &files.reader, &sink, &opts,
                                &err);
            happened = fail_alloc_happened();
            fail_alloc_after(-1);
            cr_assert_eq(rc, happened ? -1 : 0);
            cr_assert_eq(err.kind, happened ? KF_E_NOMEM : KF_E_NONE, "%s", err.message);
            kf_written_fini(&written);
        }
        cr_assert_gt(allocations, 20);
    }
}

Test(writer, what_cannot_be_written_is_refused)
{
    struct kf_pack_entry entries[KIT_COUNT];
    struct kf_writer_opts opts = pack_opts(KF_CARRIER_RAW);
    struct kf_written written;
    struct pack_files files;
    struct pack_sink sink;
    struct kf_err err = {0};

    make_kit(entries);
    pack_files_init(&files);
    pack_sink_init(&sink);
    cr_assert_eq(kf_write_layer(&written, entries, KIT_COUNT, &files.reader, &sink.sink,
                                &opts, &err),
                 -1);
    cr_assert_eq(err.kind, KF_E_ARG);
    opts.carrier = KF_CARRIER_TAR;
    opts.chunk_size = 0;
    cr_assert_eq(kf_write_layer(&written, entries, KIT_COUNT, &files.reader, &sink.sink,
                                &opts, NULL),
                 -1);
    cr_assert_eq(sink.writes, 0);
    kf_buf_fini(&sink.blob);
}

/* A slow sink: workers may only be a ring of slots ahead of it. */
struct slow_sink {
    struct pack_files *files;
    uint64_t taken, most_ahead;
};

static int take_slowly(void *arg, const void *data, size_t length, struct kf_err *err)
{
    struct slow_sink *slow = arg;
    uint64_t ahead;

    for (int i = 0; i < 1000; i++)
        sched_yield();
    ahead = atomic_load(&slow->files->bytes) - slow->taken;
    if (ahead > slow->most_ahead)
        slow->most_ahead = ahead;
    slow->taken += length;
    return 0;
}

Test(writer, workers_run_ahead_only_so_far)
{
    struct kf_pack_entry entry = pack_entry("a", MIB(8), &noise);
    struct kf_writer_opts opts = pack_opts(KF_CARRIER_RAW);
    struct slow_sink slow = {0};
    struct kf_pack_sink sink = {.write = take_slowly, .arg = &slow};
    struct kf_written written;
    struct pack_files files;

    pack_files_init(&files);
    slow.files = &files;
    opts.chunk_size = KIB(64);
    opts.threads = 4;
    cr_assert_eq(kf_write_layer(&written, &entry, 1, &files.reader, &sink, &opts, NULL),
                 0);
    cr_assert_eq(slow.taken, MIB(8));
    cr_assert_leq(slow.most_ahead, 12 * KIB(64)); /* three slots a worker */
    kf_written_fini(&written);
}
