#include "pack_files.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <zstd.h>

#include "base/err.h"

#define BLOB_LIMIT ((size_t)64 << 20)

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

void pack_file_fill(const struct pack_file *file, void *data, size_t length,
                    uint64_t offset)
{
    uint8_t *to = data;

    for (size_t i = 0; i < length; i++) {
        uint64_t at = offset + i;
        uint64_t word = mix(((uint64_t)file->seed << 40) + at / 8);

        to[i] = (uint8_t)((word >> at % 8 * 8 & 0xff) % file->alphabet);
    }
}

static int read_file(void *arg, const void *source, void *data, size_t length,
                     uint64_t offset, struct kf_err *err)
{
    struct pack_files *files = arg;

    if (atomic_fetch_add(&files->reads, 1) + 1 == files->fail_at)
        return kf_fail(err, KF_E_IO, "this read fails");
    atomic_fetch_add(&files->bytes, length);
    pack_file_fill(source, data, length, offset);
    return 0;
}

void pack_files_init(struct pack_files *files)
{
    *files = (struct pack_files){.reader = {.read = read_file, .arg = files}};
}

struct kf_pack_entry pack_dir(const char *name)
{
    return (struct kf_pack_entry){.name = name, .is_dir = true};
}

struct kf_pack_entry pack_entry(const char *name, uint64_t size,
                                const struct pack_file *file)
{
    return (struct kf_pack_entry){.name = name, .size = size, .source = file};
}

static int take(void *arg, const void *data, size_t length, struct kf_err *err)
{
    struct pack_sink *sink = arg;

    if (++sink->writes == sink->fail_at)
        return kf_fail(err, KF_E_IO, "this write fails");
    return kf_buf_append(&sink->blob, data, length, err);
}

void pack_sink_progress(void *arg, uint64_t bytes)
{
    ((struct pack_sink *)arg)->progress += bytes;
}

void pack_sink_init(struct pack_sink *sink)
{
    *sink = (struct pack_sink){.sink = {.write = take, .arg = sink}};
    kf_buf_init(&sink->blob, BLOB_LIMIT);
}

struct kf_writer_opts pack_opts(enum kf_toc_carrier carrier)
{
    return (struct kf_writer_opts){
        .carrier = carrier, .chunk_size = 1u << 20, .level = 3, .threads = 2};
}

struct kf_written pack_layer(struct pack_sink *sink, const struct kf_pack_entry *entries,
                             uint32_t count, const struct kf_writer_opts *opts)
{
    struct kf_written written;
    struct pack_files files;
    struct kf_err err = {0};

    pack_sink_init(sink);
    pack_files_init(&files);
    cr_assert_eq(
        kf_write_layer(&written, entries, count, &files.reader, &sink->sink, opts, &err),
        0, "%s", err.message);
    cr_assert_eq(written.size, sink->blob.length);
    return written;
}

uint8_t *pack_unpack(const struct kf_buf *blob, uint64_t size)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    uint8_t *stream = malloc(size + 1);
    ZSTD_inBuffer in = {blob->data, blob->length, 0};
    ZSTD_outBuffer out = {stream, size + 1, 0};
    size_t left = 1;

    while (in.pos < in.size) {
        left = ZSTD_decompressStream(context, &out, &in);
        cr_assert_not(ZSTD_isError(left), "%s", ZSTD_getErrorName(left));
    }
    cr_assert_eq(left, 0);
    cr_assert_eq(out.pos, size);
    (void)ZSTD_freeDCtx(context);
    return stream;
}

void pack_expect_digest(const struct kf_digest *digest, const void *data, size_t length)
{
    struct kf_digest expected;

    cr_assert_eq(kf_digest_of(&expected, data, length, NULL), 0);
    cr_assert(kf_digest_equal(digest, &expected));
}
