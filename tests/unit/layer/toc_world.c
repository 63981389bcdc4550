#include "toc_world.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/store.h"
#include "fake_source.h"
#include "layer/frame.h"
#include "layer/table.h"
#include "seekable_maker.h"
#include "tar_maker.h"

/* ---- layers ---- */

void toc_world_pack(struct toc_world *world, enum kf_toc_carrier carrier,
                    const struct kf_pack_entry *entries, uint32_t count,
                    uint32_t chunk_size)
{
    struct kf_writer_opts opts = pack_opts(carrier);
    struct pack_sink sink;
    struct kf_written written;

    memset(world, 0, sizeof(*world));
    kf_buf_init(&world->area, MIB(64));
    opts.chunk_size = chunk_size;
    written = pack_layer(&sink, entries, count, &opts);
    world->blob = sink.blob;
    world->carrier = carrier;
    world->link = written.link;
    if (written.area) {
        /* Something in front of it, as where other layers have theirs. */
        cr_assert_eq(kf_buf_append(&world->area, "in front", 8, NULL), 0);
        cr_assert_eq(
            kf_buf_append(&world->area, written.area->data, written.area->length, NULL),
            0);
        world->link.area_offset = 8;
    }
    if (carrier == KF_CARRIER_TAR_ZSTD) {
        world->stream = pack_unpack(&world->blob, written.stream_size);
    } else {
        world->stream = malloc(world->blob.length);
        memcpy(world->stream, world->blob.data, world->blob.length);
    }
    kf_written_fini(&written);
}

struct cutting {
    struct kf_toc toc;
    struct kf_buf tar;
    struct kf_chunk_row *rows;
    uint32_t count;
};

static void add_files(struct cutting *cutting, const struct toc_world_file *files,
                      uint32_t count)
{
    struct kf_toc *toc = &cutting->toc;

    toc->files = calloc(count, sizeof(*toc->files));
    toc->names = calloc(count, 100);
    toc->file_count = count;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *data = malloc(files[i].size);
        const struct pack_file fill = {.seed = i, .alphabet = 256};
        size_t length = strlen(files[i].name);

        pack_file_fill(&fill, data, files[i].size, 0);
        toc->files[i] = (struct kf_toc_file){.offset = cutting->tar.length + 512,
                                             .size = files[i].size,
                                             .name_offset = (uint32_t)toc->names_length,
                                             .name_length = (uint32_t)length,
                                             .mode = 0644,
                                             .type = KF_TYPE_FILE};
        memcpy(toc->names + toc->names_length, files[i].name, length);
        toc->names_length += length;
        tar_add_file(&cutting->tar, files[i].name, data, files[i].size);
        free(data);
    }
}

/* The first end of a file of 64 KiB or more after `at`. */
static uint64_t next_border(const struct kf_toc *toc, uint64_t at, uint64_t end)
{
    for (uint32_t i = 0; i < toc->file_count; i++) {
        const struct kf_toc_file *file = &toc->files[i];

        if (file->size < KF_TOC_SMALL_FILE)
            continue;
        if (file->offset > at)
            return kf_min_u64(file->offset, end);
        if (file->offset + file->size > at)
            return file->offset + file->size;
    }
    return end;
}

static void cut_rows(struct cutting *cutting, uint32_t cut)
{
    uint64_t end = cutting->tar.length, at = 0;

    cutting->rows =
        calloc(end / cut + 2 * cutting->toc.file_count + 1, sizeof(*cutting->rows));
    while (at < end) {
        struct kf_chunk_row *row = &cutting->rows[cutting->count++];
        uint64_t border = next_border(&cutting->toc, at, end);

        row->length = row->stored_length = (uint32_t)kf_min_u64(cut, border - at);
        cr_assert_eq(
            kf_digest_of(&row->digest, cutting->tar.data + at, row->length, NULL), 0);
        at += row->length;
    }
}

static void encode(struct toc_world *world, const struct cutting *cutting)
{
    struct kf_buf root, slices;
    uint8_t *frame;
    size_t length;

    kf_buf_init(&root, MIB(64));
    kf_buf_init(&slices, MIB(64));
    cr_assert_eq(kf_toc_encode(&cutting->toc, cutting->rows, cutting->count, &root,
                               &slices, &world->err),
                 0, "%s", world->err.message);
    frame = malloc(kf_frame_bound(root.length));
    length = kf_frame_store(root.data, root.length, frame);
    world->link = (struct kf_toc_link){.root_stored = length,
                                       .root_raw = root.length,
                                       .area_length = length + slices.length};
    cr_assert_eq(kf_digest_of(&world->link.root_digest, frame, length, NULL), 0);
    cr_assert_eq(kf_buf_append(&world->area, frame, length, NULL), 0);
    cr_assert_eq(kf_buf_append(&world->area, slices.data, slices.length, NULL), 0);
    free(frame);
    kf_buf_fini(&root);
    kf_buf_fini(&slices);
}

void toc_world_cut(struct toc_world *world, const struct toc_world_file *files,
                   uint32_t count, uint32_t cut)
{
    struct cutting cutting = {.toc = {.carrier = KF_CARRIER_TAR, .chunk_size = cut}};

    memset(world, 0, sizeof(*world));
    kf_buf_init(&world->area, MIB(64));
    world->carrier = KF_CARRIER_TAR;
    kf_buf_init(&cutting.tar, MIB(64));
    add_files(&cutting, files, count);
    cut_rows(&cutting, cut);
    encode(world, &cutting);
    tar_end(&cutting.tar);
    world->blob = cutting.tar;
    world->stream = malloc(world->blob.length);
    memcpy(world->stream, world->blob.data, world->blob.length);
    free(cutting.rows);
    kf_toc_fini(&cutting.toc);
}

void toc_world_frames(struct toc_world *world, const struct toc_world_file *files,
                      uint32_t count, uint32_t cut, bool raw)
{
    struct seekable seekable;
    struct kf_buf plain;

    memset(world, 0, sizeof(*world));
    kf_buf_init(&plain, MIB(64));
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *data = seekable_pattern(files[i].size, i);

        if (raw)
            cr_assert_eq(kf_buf_append(&plain, data, files[i].size, NULL), 0);
        else
            tar_add_file(&plain, files[i].name, data, files[i].size);
        free(data);
    }
    if (!raw)
        tar_end(&plain);
    seekable_init(&seekable);
    seekable_add_all(&seekable, plain.data, plain.length, cut);
    seekable_end(&seekable, true);
    world->stream = malloc(plain.length + 1);
    memcpy(world->stream, plain.data, plain.length);
    world->blob = seekable.blob;
    world->carrier = raw ? KF_CARRIER_RAW : KF_CARRIER_TAR_ZSTD;
    world->raw_zstd = raw;
    world->unlinked = true;
    world->link.embedded = true;
    kf_buf_init(&world->area, 1);
    kf_buf_fini(&seekable.stream);
    kf_buf_fini(&plain);
}

/* ---- opened ---- */

void toc_world_start(struct toc_world *world, bool cached)
{
    struct kf_store_opts store_opts = {.path = world->folder};
    struct kf_fetch_opts opts = {.workq = kf_workq_new(2, NULL)};

    if (cached) {
        if (!world->folder[0]) {
            (void)snprintf(world->folder, sizeof(world->folder), "/tmp/kf-toc-XXXXXX");
            cr_assert_not_null(mkdtemp(world->folder));
        }
        cr_assert_eq(kf_store_open(&world->store, &store_opts, &world->err), 0, "%s",
                     world->err.message);
    }
    world->workq = opts.workq;
    world->fake = kf_fake_source_new(world->workq, world->blob.data, world->blob.length);
    world->toc_fake = NULL;
    if (!world->link.embedded)
        world->toc_fake =
            kf_fake_source_new(world->workq, world->area.data, world->area.length);
    cr_assert_eq(kf_fetch_new(&world->fetch, &opts, NULL), 0);
}

int toc_world_open(struct toc_world *world)
{
    struct kf_layer_spec spec = {
        .digest = {{1, 2, 3}},
        .source = &world->fake->source,
        .is_tar = world->carrier != KF_CARRIER_RAW,
        .packing = world->carrier == KF_CARRIER_TAR_ZSTD || world->raw_zstd
                       ? KF_LAYER_ZSTD
                       : KF_LAYER_PLAIN,
        .raw_path = "models/raw.bin",
        .raw_mode = 0600,
        .raw_mtime = 77,
        .has_raw_size = world->raw_size > 0,
        .raw_size = world->raw_size,
        .toc = world->unlinked ? NULL : &world->link,
        .toc_source = world->toc_fake ? &world->toc_fake->source : NULL,
        .diff_id = world->stream_digest,
        .check = world->check,
        .store = world->store,
        .fetch = world->fetch,
        .timeout_ns = 10 * KF_NS_PER_S,
    };

    return kf_layer_open(&world->layer, &spec, &world->err);
}

void toc_world_expect_open(struct toc_world *world)
{
    cr_assert_eq(toc_world_open(world), 0, "%s", world->err.message);
}

void toc_world_stop(struct toc_world *world)
{
    cr_assert_eq(kf_fetch_stop(world->fetch, kf_deadline_ns(10 * KF_NS_PER_S)), 0);
    kf_layer_close(world->layer);
    world->layer = NULL;
    kf_fetch_free(world->fetch);
    kf_source_close(&world->fake->source);
    if (world->toc_fake)
        kf_source_close(&world->toc_fake->source);
    kf_workq_free(world->workq); /* before the store: its jobs hold objects */
    kf_store_close(world->store, kf_deadline_ns(10 * KF_NS_PER_S));
    world->store = NULL;
}

static int remove_one(const char *path, const struct stat *status, int type,
                      struct FTW *place)
{
    return remove(path);
}

void toc_world_end(struct toc_world *world)
{
    toc_world_stop(world);
    if (world->folder[0])
        (void)nftw(world->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    kf_buf_fini(&world->blob);
    kf_buf_fini(&world->area);
    free(world->stream);
}

void toc_world_unplug(struct toc_world *world)
{
    kf_fake_source_fail(world->fake, 0, KF_E_UNREACHABLE, 0);
    if (world->toc_fake)
        kf_fake_source_fail(world->toc_fake, 0, KF_E_UNREACHABLE, 0);
}

uint64_t toc_world_requests(struct toc_world *world)
{
    return kf_fake_source_requests(world->fake) +
           (world->toc_fake ? kf_fake_source_requests(world->toc_fake) : 0);
}

/* ---- reads ---- */

uint32_t toc_world_entry(struct toc_world *world, const char *name)
{
    const struct kf_table *table = kf_layer_table(world->layer);

    for (uint32_t i = 0; i < table->count; i++) {
        size_t length;
        const char *found = kf_table_name(table, i, &length);

        if (length == strlen(name) && memcmp(found, name, length) == 0)
            return i;
    }
    cr_assert_fail("no file %s", name);
    return 0;
}

struct kf_file *toc_world_file(struct toc_world *world, const char *name)
{
    struct kf_file *file =
        kf_layer_file(world->layer, toc_world_entry(world, name), &world->err);

    cr_assert_not_null(file, "%s", world->err.message);
    return file;
}

static void read_done(struct kf_read *read, const void *data, const struct kf_err *err)
{
    struct toc_read *is = kf_container_of(read, struct toc_read, read);

    is->kind = data ? KF_E_NONE : err->kind;
    if (!data)
        memcpy(is->message, err->message, sizeof(is->message));
    else if (memcmp(data, is->expected, read->length) != 0)
        abort(); /* wrong bytes; not on a thread of the test */
    (void)sem_post(&is->done);
}

void toc_read_begin(struct toc_world *world, struct toc_read *read, const char *name,
                    uint64_t offset, size_t length)
{
    const struct kf_table *table = kf_layer_table(world->layer);
    uint64_t at = table->entries[toc_world_entry(world, name)].offset;

    memset(read, 0, sizeof(*read));
    read->read = (struct kf_read){.offset = offset, .length = length, .done = read_done};
    read->file = toc_world_file(world, name);
    read->expected = world->stream + at + offset;
    (void)sem_init(&read->done, 0, 0);
    kf_file_read(read->file, &read->read);
}

enum kf_err_kind toc_read_end(struct toc_read *read)
{
    while (sem_wait(&read->done) != 0)
        ;
    (void)sem_destroy(&read->done);
    kf_file_put(read->file);
    return read->kind;
}

enum kf_err_kind toc_world_read(struct toc_world *world, const char *name,
                                uint64_t offset, size_t length)
{
    struct toc_read read;
    enum kf_err_kind kind;

    toc_read_begin(world, &read, name, offset, length);
    kind = toc_read_end(&read);
    if (kind != KF_E_NONE)
        memcpy(world->err.message, read.message, sizeof(read.message));
    return kind;
}

void toc_world_expect_all(struct toc_world *world, size_t step)
{
    const struct kf_table *table = kf_layer_table(world->layer);

    for (uint32_t i = 0; i < table->count; i++) {
        uint64_t size = table->entries[i].size;
        size_t length;
        const char *text = kf_table_name(table, i, &length);
        char name[256];

        (void)snprintf(name, sizeof(name), "%.*s", (int)length, text);
        for (uint64_t at = 0; at < size; at += step)
            cr_assert_eq(
                toc_world_read(world, name, at, (size_t)kf_min_u64(step, size - at)),
                KF_E_NONE, "%s: %s", name, world->err.message);
    }
}
