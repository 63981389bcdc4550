#include "toc_maker.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/le.h"
#include "layer/table.h"

#define BLOCK 512u
#define HEADER_SIZE 64u
#define DIRECTORY_ENTRY 24u

struct cutter {
    struct toc_image *image;
    uint64_t at;
    uint32_t chunk_size, capacity;
};

static void add_row(struct cutter *cutter, uint32_t length)
{
    struct toc_image *image = cutter->image;
    struct kf_chunk_row *row;

    if (image->row_count == cutter->capacity) {
        cutter->capacity = cutter->capacity ? cutter->capacity * 2 : 64;
        image->rows = reallocarray(image->rows, cutter->capacity, sizeof(*image->rows));
        cr_assert_not_null(image->rows);
    }
    row = &image->rows[image->row_count++];
    row->length = length;
    row->stored_length =
        image->source.carrier == KF_CARRIER_TAR_ZSTD ? length / 2 + 20 : length;
    memset(row->digest.bytes, 0xd0, sizeof(row->digest.bytes));
    kf_put_le32(row->digest.bytes, image->row_count);
}

static void cut_until(struct cutter *cutter, uint64_t end)
{
    while (cutter->at < end) {
        uint32_t length = (uint32_t)kf_min_u64(cutter->chunk_size, end - cutter->at);

        add_row(cutter, length);
        cutter->at += length;
    }
}

static int compare_entries(const void *left, const void *right)
{
    const struct toc_entry *a = *(const struct toc_entry *const *)left;
    const struct toc_entry *b = *(const struct toc_entry *const *)right;

    return strcmp(a->name, b->name);
}

static void fill_files(struct kf_toc *toc, const struct toc_entry *entries,
                       const uint64_t *data, uint32_t count)
{
    const struct toc_entry **order = calloc((size_t)count + 1, sizeof(*order));
    bool raw = toc->carrier == KF_CARRIER_RAW;

    for (uint32_t i = 0; i < count; i++) {
        order[i] = &entries[i];
        toc->names_length += raw ? 0 : strlen(entries[i].name);
    }
    qsort(order, count, sizeof(const struct toc_entry *), compare_entries);
    toc->files = calloc((size_t)count + 1, sizeof(*toc->files));
    toc->names = malloc(toc->names_length + 1);
    toc->file_count = count;
    toc->names_length = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t length = raw ? 0 : strlen(order[i]->name);

        toc->files[i] = (struct kf_toc_file){
            .offset = order[i]->is_dir ? 0 : data[order[i] - entries],
            .size = order[i]->size,
            .mtime = raw ? 0 : -1,
            .name_offset = (uint32_t)toc->names_length,
            .name_length = (uint32_t)length,
            .mode = raw ? 0 : 0644,
            .type = order[i]->is_dir ? KF_TYPE_DIR : KF_TYPE_FILE};
        memcpy(toc->names + toc->names_length, order[i]->name, length);
        toc->names_length += length;
    }
    free(order);
}

static void place(struct toc_image *image, const struct toc_entry *entries,
                  uint32_t count, uint32_t chunk_size)
{
    struct cutter cutter = {.image = image, .chunk_size = chunk_size};
    bool raw = image->source.carrier == KF_CARRIER_RAW;
    uint64_t *data = calloc((size_t)count + 1, sizeof(*data));
    uint64_t at = 0;

    for (uint32_t i = 0; i < count; i++) {
        data[i] = at + (raw ? 0 : BLOCK);
        at = data[i] + entries[i].size;
        if (entries[i].size >= KF_TOC_SMALL_FILE) {
            cut_until(&cutter, data[i]);
            cut_until(&cutter, at);
        }
        if (!raw)
            at = (at + BLOCK - 1) / BLOCK * BLOCK;
    }
    cut_until(&cutter, at);
    fill_files(&image->source, entries, data, count);
    free(data);
}

void toc_encode_again(struct toc_image *image)
{
    struct kf_err err;
    uint64_t stored = 0;
    struct kf_toc_link *link = &image->link;

    kf_buf_clear(&image->root);
    kf_buf_clear(&image->slices);
    cr_assert_eq(kf_toc_encode(&image->source, image->rows, image->row_count,
                               &image->root, &image->slices, &err),
                 0, "%s", err.message);
    for (uint32_t i = 0; i < image->row_count; i++)
        stored += image->rows[i].stored_length;
    link->embedded = image->source.carrier == KF_CARRIER_TAR_ZSTD;
    link->area_offset = link->embedded ? stored + 8 : 4711;
    link->root_stored = 100;
    link->root_raw = image->root.length;
    link->area_length = link->root_stored + image->slices.length;
    image->blob_size = link->embedded ? link->area_offset + link->area_length + 100
                       : image->source.carrier == KF_CARRIER_TAR ? stored + 1024
                                                                 : stored;
}

void toc_make(struct toc_image *ret, enum kf_toc_carrier carrier,
              const struct toc_entry *entries, uint32_t count, uint32_t chunk_size)
{
    *ret = (struct toc_image){.source = {.carrier = carrier, .chunk_size = chunk_size},
                              .limits = kf_toc_limits};
    kf_buf_init(&ret->root, SIZE_MAX);
    kf_buf_init(&ret->slices, SIZE_MAX);
    place(ret, entries, count, chunk_size);
    ret->source.meta = strdup("{\"packer\":\"test\"}");
    toc_encode_again(ret);
}

void toc_make_usual(struct toc_image *ret, enum kf_toc_carrier carrier)
{
    static const struct toc_entry usual[TOC_USUAL_COUNT] = {{"d", 0, true},
                                                            {"a", KIB(100), false},
                                                            {"d/e", 10, false},
                                                            {"x", MIB(16) + 1, false},
                                                            {"y", MIB(70) - 512, false}};

    toc_make(ret, carrier, usual, TOC_USUAL_COUNT, CHUNK);
}

void toc_image_fini(struct toc_image *image)
{
    kf_toc_fini(&image->source);
    free(image->rows);
    kf_buf_fini(&image->root);
    kf_buf_fini(&image->slices);
}

uint8_t *toc_directory(struct toc_image *image, const char *type)
{
    uint8_t *root = image->root.data;

    for (uint32_t i = 0; i < kf_le32(root + 16); i++) {
        uint8_t *entry = root + HEADER_SIZE + (size_t)i * DIRECTORY_ENTRY;

        if (memcmp(entry, type, 4) == 0)
            return entry;
    }
    cr_assert_fail("no section %s", type);
    return NULL;
}

uint8_t *toc_section(struct toc_image *image, const char *type)
{
    return image->root.data + kf_le64(toc_directory(image, type) + 8);
}

uint8_t *toc_file(struct toc_image *image, uint32_t index)
{
    return toc_section(image, "FILE") + (size_t)index * 48;
}

uint8_t *toc_slice(struct toc_image *image, uint32_t index)
{
    return toc_section(image, "SLIC") + (size_t)index * 104;
}

void toc_add32(uint8_t *p, int32_t n)
{
    kf_put_le32(p, kf_le32(p) + (uint32_t)n);
}

void toc_add64(uint8_t *p, int64_t n)
{
    kf_put_le64(p, kf_le64(p) + (uint64_t)n);
}

void toc_long_name(struct toc_image *image, uint32_t file, size_t component,
                   size_t length)
{
    struct kf_toc *source = &image->source;

    source->names = realloc(source->names, source->names_length + length);
    memset(source->names + source->names_length, 'z', length);
    for (size_t i = component; i < length; i += component + 1)
        source->names[source->names_length + i] = '/';
    source->files[file].name_offset = (uint32_t)source->names_length;
    source->files[file].name_length = (uint32_t)length;
    source->names_length += length;
    toc_encode_again(image);
}

void toc_set_meta(struct toc_image *image, size_t length)
{
    image->source.meta = realloc(image->source.meta, length + 1);
    memset(image->source.meta, ' ', length);
    image->source.meta[length] = '\0';
    toc_encode_again(image);
}

void toc_grow(struct toc_image *image, size_t length, uint8_t byte)
{
    for (size_t i = 0; i < length; i++)
        cr_assert_eq(kf_buf_append(&image->root, &byte, 1, NULL), 0);
    image->link.root_raw = image->root.length;
}

void toc_add_section(struct toc_image *image, const char *type, uint32_t flags)
{
    uint32_t count = kf_le32(image->root.data + 16);
    size_t directory_end = HEADER_SIZE + (size_t)count * DIRECTORY_ENTRY;
    uint8_t *root, *entry;

    toc_grow(image, DIRECTORY_ENTRY, 0);
    root = image->root.data;
    memmove(root + directory_end + DIRECTORY_ENTRY, root + directory_end,
            image->root.length - directory_end - DIRECTORY_ENTRY);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *offset = root + HEADER_SIZE + (size_t)i * DIRECTORY_ENTRY + 8;

        kf_put_le64(offset, kf_le64(offset) + DIRECTORY_ENTRY);
    }
    kf_put_le32(root + 16, count + 1);
    entry = root + directory_end;
    memcpy(entry, type, 4);
    kf_put_le32(entry + 4, flags);
    kf_put_le64(entry + 8, image->root.length);
    kf_put_le64(entry + 16, 0);
}

int toc_decode(const struct toc_image *image, struct kf_toc *ret, struct kf_err *err)
{
    uint8_t *exact = malloc(image->root.length);
    int rc;

    memcpy(exact, image->root.data, image->root.length);
    rc = kf_toc_decode(ret, exact, image->root.length, &image->link, image->blob_size,
                       &image->limits, err);
    free(exact);
    return rc;
}

const uint8_t *toc_slice_bytes(const struct toc_image *image, const struct kf_toc *toc,
                               uint32_t slice, size_t *ret_length)
{
    if (toc->slices[slice].is_inline)
        return kf_toc_inline_rows(toc, slice, ret_length);
    *ret_length = (size_t)toc->slices[slice].chunk_count * KF_TOC_ROW_SIZE;
    return image->slices.data + toc->slices[slice].where;
}

static void expect_files(const struct kf_toc *toc, const struct kf_toc *source)
{
    cr_assert_eq(toc->carrier, source->carrier);
    cr_assert_eq(toc->chunk_size, source->chunk_size);
    cr_assert_eq(toc->file_count, source->file_count);
    for (uint32_t i = 0; i < toc->file_count; i++) {
        const struct kf_toc_file *a = &toc->files[i], *b = &source->files[i];
        size_t length;
        const char *name = kf_toc_name(toc, i, &length);

        cr_assert(a->offset == b->offset && a->size == b->size && a->mtime == b->mtime &&
                  a->mode == b->mode && a->type == b->type);
        cr_assert_eq(length, b->name_length);
        cr_assert_eq(memcmp(name, source->names + b->name_offset, length), 0);
    }
    cr_assert_str_eq(toc->meta, source->meta);
    cr_assert_eq(toc->prefetch_count, source->prefetch_count);
    for (uint32_t i = 0; i < toc->prefetch_count; i++)
        cr_assert(toc->prefetch[i].first_chunk == source->prefetch[i].first_chunk &&
                  toc->prefetch[i].count == source->prefetch[i].count);
}

static void expect_rows(const struct toc_image *image, const struct kf_toc *toc)
{
    uint32_t first = 0;

    for (uint32_t i = 0; i < toc->slice_count; i++) {
        const struct kf_toc_slice *slice = &toc->slices[i];
        struct kf_chunk_row *rows = calloc(slice->chunk_count, sizeof(*rows));
        size_t length;
        const uint8_t *bytes = toc_slice_bytes(image, toc, i, &length);
        struct kf_err err;

        cr_assert_eq(slice->first_chunk, first);
        cr_assert_eq(kf_toc_slice_decode(toc, i, bytes, length, rows, &err), 0, "%s",
                     err.message);
        cr_assert_eq(
            memcmp(rows, image->rows + first, slice->chunk_count * sizeof(*rows)), 0);
        cr_assert_eq(kf_toc_slice_at(toc, slice->stream_offset), i);
        cr_assert_eq(kf_toc_slice_at(toc, kf_toc_slice_stream_end(toc, i) - 1), i);
        first += slice->chunk_count;
        free(rows);
    }
    cr_assert_eq(first, image->row_count);
}

void toc_expect_round_trip(const struct toc_image *image)
{
    struct kf_toc toc;
    struct kf_err err;

    cr_assert_eq(toc_decode(image, &toc, &err), 0, "%s", err.message);
    expect_files(&toc, &image->source);
    expect_rows(image, &toc);
    kf_toc_fini(&toc);
}
