/*
 * The root from bytes: header, directory of sections, then each section record by record.
 * What must hold between records is toc_check.c's.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/le.h"
#include "layer/table.h"
#include "layer/toc.h"
#include "layer/toc_private.h"

#define META_LIMIT (UINT32_C(64) << 10)

enum section_id {
    SECTION_FILE,
    SECTION_NAME,
    SECTION_SLIC,
    SECTION_ROWS,
    SECTION_PREF,
    SECTION_META,
    SECTION_COUNT
};

static const char section_names[SECTION_COUNT][5] = {"FILE", "NAME", "SLIC",
                                                     "ROWS", "PREF", "META"};

struct section {
    const uint8_t *data; /* NULL when absent */
    uint64_t length;
};

struct decoder {
    struct kf_toc *toc;
    const uint8_t *raw;
    uint64_t length;
    const struct kf_toc_limits *limits;
    struct section sections[SECTION_COUNT];
    uint32_t section_count;
};

static bool all_zero(const uint8_t *p, uint64_t length)
{
    return length == 0 || (p[0] == 0 && memcmp(p, p + 1, length - 1) == 0);
}

/* Returns 1 for a higher major: then nothing behind the version means what we know. */
static int decode_version(const struct decoder *d, struct kf_err *err)
{
    if (d->length < KF_TOC_HEADER_SIZE)
        return kf_toc_broken(err, "its length");
    if (memcmp(d->raw, KF_TOC_MAGIC, 8) != 0)
        return kf_toc_broken(err, "its magic");
    if (kf_le16(d->raw + 8) == 0)
        return kf_toc_broken(err, "its version");
    return kf_le16(d->raw + 8) > KF_TOC_MAJOR;
}

static int decode_header(struct decoder *d, struct kf_err *err)
{
    const uint8_t *p = d->raw;
    struct kf_toc *toc = d->toc;

    if (d->length % 8 != 0)
        return kf_toc_broken(err, "its length");
    if (kf_le32(p + 12) != KF_TOC_HEADER_SIZE)
        return kf_toc_broken(err, "its header size");
    if (p[20] < KF_CARRIER_TAR_ZSTD || p[20] > KF_CARRIER_RAW)
        return kf_toc_broken(err, "its carrier");
    if (p[21] != KF_TOC_SHA256)
        return kf_toc_broken(err, "its digest kind");
    if (kf_le16(p + 22) != 0)
        return kf_toc_broken(err, "bytes of its header that should be zero");
    d->section_count = kf_le32(p + 16);
    toc->carrier = (enum kf_toc_carrier)p[20];
    toc->stream_length = kf_le64(p + 24);
    toc->stored_length = kf_le64(p + 32);
    toc->chunk_count = kf_le32(p + 40);
    toc->file_count = kf_le32(p + 44);
    toc->chunk_size = kf_le32(p + 48);
    toc->largest_chunk = kf_le32(p + 52);
    toc->slices_length = kf_le64(p + 56);
    if (d->section_count > KF_TOC_SECTION_LIMIT || toc->chunk_count > d->limits->chunks ||
        toc->file_count > d->limits->files || toc->chunk_size > d->limits->chunk_bytes ||
        toc->largest_chunk > d->limits->chunk_bytes ||
        toc->slices_length > d->limits->area_bytes)
        return kf_fail(err, KF_E_LIMIT, "table of contents over a limit of its header");
    return 0;
}

static const uint8_t *directory_entry(const struct decoder *d, uint32_t index)
{
    return d->raw + KF_TOC_HEADER_SIZE + (size_t)index * KF_TOC_DIRECTORY_ENTRY;
}

/* Returns 1 for a section that must be understood and is not. */
static int decode_directory_entry(struct decoder *d, uint32_t index,
                                  struct kf_toc_extent *ret, struct kf_err *err)
{
    const uint8_t *p = directory_entry(d, index);
    uint32_t flags = kf_le32(p + 4);
    uint64_t offset = kf_le64(p + 8), length = kf_le64(p + 16), end;

    if ((flags & ~KF_TOC_MUST_UNDERSTAND) != 0)
        return kf_toc_broken(err, "unknown flags of a section");
    if (offset % 8 != 0)
        return kf_toc_broken(err, "a section that is not aligned");
    if (!kf_add_u64(offset, length, &end) || end > d->length)
        return kf_toc_broken(err, "a section beyond its end");
    for (uint32_t i = 0; i < index; i++)
        if (memcmp(p, directory_entry(d, i), 4) == 0)
            return kf_toc_broken(err, "a section twice");
    *ret = (struct kf_toc_extent){offset, end};
    for (size_t id = 0; id < SECTION_COUNT; id++) {
        if (memcmp(p, section_names[id], 4) != 0)
            continue;
        d->sections[id] = (struct section){d->raw + offset, length};
        return 0;
    }
    return flags != 0;
}

/* No two sections share a byte, and bytes that belong to none are zero. */
static int check_gaps(const struct decoder *d, struct kf_toc_extent *extents,
                      struct kf_err *err)
{
    uint64_t at =
        KF_TOC_HEADER_SIZE + (uint64_t)d->section_count * KF_TOC_DIRECTORY_ENTRY;

    kf_toc_sort_extents(extents, d->section_count);
    for (uint32_t i = 0; i < d->section_count; i++) {
        if (extents[i].offset < at)
            return kf_toc_broken(err, "sections overlap");
        if (!all_zero(d->raw + at, extents[i].offset - at))
            return kf_toc_broken(err, "bytes that belong to no section");
        at = extents[i].end;
    }
    if (d->length != (at + 7) / 8 * 8 || !all_zero(d->raw + at, d->length - at))
        return kf_toc_broken(err, "bytes after its last section");
    return 0;
}

static int decode_directory(struct decoder *d, struct kf_err *err)
{
    struct kf_toc_extent extents[KF_TOC_SECTION_LIMIT];
    int unknown = 0;

    if (d->length <
        KF_TOC_HEADER_SIZE + (uint64_t)d->section_count * KF_TOC_DIRECTORY_ENTRY)
        return kf_toc_broken(err, "its directory is cut off");
    for (uint32_t i = 0; i < d->section_count; i++) {
        int rc = decode_directory_entry(d, i, &extents[i], err);

        if (rc < 0)
            return -1;
        unknown |= rc;
    }
    if (check_gaps(d, extents, err) != 0)
        return -1;
    for (size_t id = SECTION_FILE; id <= SECTION_SLIC; id++)
        if (!d->sections[id].data)
            return kf_fail(err, KF_E_MALFORMED,
                           "broken table of contents: section %s is missing",
                           section_names[id]);
    return unknown;
}

static int broken_record(struct kf_err *err, const char *kind, uint32_t index,
                         const char *what)
{
    return kf_fail(err, KF_E_MALFORMED, "broken table of contents: %s %u: %s", kind,
                   index, what);
}

static int decode_file(struct decoder *d, uint32_t index, struct kf_err *err)
{
    const uint8_t *p =
        d->sections[SECTION_FILE].data + (size_t)index * KF_TOC_FILE_RECORD;
    struct kf_toc_file *file = &d->toc->files[index];
    uint32_t mode = kf_le32(p + 32);
    uint64_t end;

    *file = (struct kf_toc_file){.offset = kf_le64(p),
                                 .size = kf_le64(p + 8),
                                 .mtime = (int64_t)kf_le64(p + 16),
                                 .name_offset = kf_le32(p + 24),
                                 .name_length = kf_le32(p + 28),
                                 .mode = (uint16_t)(mode & 0777),
                                 .type = p[36]};
    if (file->type != KF_TYPE_FILE && file->type != KF_TYPE_DIR)
        return broken_record(err, "file", index, "an unknown type");
    if ((mode & ~0777u) != 0)
        return broken_record(err, "file", index, "a mode beyond 0777");
    if (!all_zero(p + 37, KF_TOC_FILE_RECORD - 37))
        return broken_record(err, "file", index, "bytes that should be zero");
    if ((uint64_t)file->name_offset + file->name_length > d->toc->names_length)
        return broken_record(err, "file", index, "its name is not within NAME");
    if (!kf_add_u64(file->offset, file->size, &end) || end > d->toc->stream_length)
        return broken_record(err, "file", index, "it is not within the layer");
    if (file->type == KF_TYPE_DIR && (file->offset != 0 || file->size != 0))
        return broken_record(err, "file", index, "a folder with content");
    return 0;
}

/* A copy of a section; one byte more, so that it is never of length 0. */
static void *copy_section(const struct section *section)
{
    char *copy = malloc(section->length + 1);

    if (!copy)
        return NULL;
    if (section->length > 0)
        memcpy(copy, section->data, section->length);
    copy[section->length] = '\0';
    return copy;
}

/* Names share no bytes: otherwise a small NAME could hold gigabytes of names. */
static int decode_files(struct decoder *d, struct kf_err *err)
{
    struct kf_toc *toc = d->toc;
    const struct section *names = &d->sections[SECTION_NAME];
    uint64_t named = 0;

    if (d->sections[SECTION_FILE].length !=
        (uint64_t)toc->file_count * KF_TOC_FILE_RECORD)
        return kf_toc_broken(err, "its number of files");
    toc->files = calloc((size_t)toc->file_count + 1, sizeof(*toc->files));
    toc->names = copy_section(names);
    if (!toc->files || !toc->names)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    toc->names_length = names->length;
    for (uint32_t i = 0; i < toc->file_count; i++) {
        if (decode_file(d, i, err) != 0)
            return -1;
        named += toc->files[i].name_length;
    }
    if (named > names->length)
        return kf_toc_broken(err, "names that share bytes");
    return kf_toc_check_files(toc, err);
}

static int check_slice(const struct kf_toc *toc, uint32_t index, struct kf_err *err)
{
    const struct kf_toc_slice *slice = &toc->slices[index];

    if (slice->chunk_count == 0)
        return broken_record(err, "slice", index, "it has no chunks");
    if (slice->is_inline && (slice->chunk_count > KF_TOC_INLINE_CHUNKS ||
                             !all_zero(slice->digest.bytes, KF_SHA256_SIZE)))
        return broken_record(err, "slice", index, "it cannot be inline");
    if (slice->file == KF_TOC_NO_FILE) {
        if (slice->chunk_count > KF_TOC_SLICE_CHUNKS)
            return broken_record(err, "slice", index, "too many chunks");
        if (!all_zero(slice->content_id.bytes, KF_SHA256_SIZE))
            return broken_record(err, "slice", index, "a content id without a file");
    } else if (slice->file >= toc->file_count ||
               toc->files[slice->file].size < KF_TOC_LARGE_FILE) {
        return broken_record(err, "slice", index, "it names no large file");
    }
    return 0;
}

static int decode_slice(struct decoder *d, uint32_t index, struct kf_err *err)
{
    const uint8_t *p =
        d->sections[SECTION_SLIC].data + (size_t)index * KF_TOC_SLICE_RECORD;
    struct kf_toc_slice *slice = &d->toc->slices[index];
    uint32_t flags = kf_le32(p + 12);

    *slice = (struct kf_toc_slice){.file = kf_le32(p),
                                   .first_chunk = kf_le32(p + 4),
                                   .chunk_count = kf_le32(p + 8),
                                   .is_inline = (flags & KF_TOC_INLINE) != 0,
                                   .stream_offset = kf_le64(p + 16),
                                   .stored_offset = kf_le64(p + 24),
                                   .where = kf_le64(p + 32)};
    memcpy(slice->digest.bytes, p + 40, KF_SHA256_SIZE);
    memcpy(slice->content_id.bytes, p + 72, KF_SHA256_SIZE);
    if ((flags & ~KF_TOC_INLINE) != 0)
        return broken_record(err, "slice", index, "unknown flags");
    return check_slice(d->toc, index, err);
}

static int decode_slices(struct decoder *d, struct kf_err *err)
{
    struct kf_toc *toc = d->toc;
    uint64_t length = d->sections[SECTION_SLIC].length;
    const struct section *rows = &d->sections[SECTION_ROWS];

    if (length % KF_TOC_SLICE_RECORD != 0)
        return kf_toc_broken(err, "its number of slices");
    if (length / KF_TOC_SLICE_RECORD > d->limits->slices)
        return kf_fail(err, KF_E_LIMIT, "table of contents with too many slices");
    toc->slice_count = (uint32_t)(length / KF_TOC_SLICE_RECORD);
    toc->slices = calloc((size_t)toc->slice_count + 1, sizeof(*toc->slices));
    toc->rows = copy_section(rows);
    if (!toc->slices || !toc->rows)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    toc->rows_length = rows->length;
    for (uint32_t i = 0; i < toc->slice_count; i++)
        if (decode_slice(d, i, err) != 0)
            return -1;
    return kf_toc_check_slices(toc, err);
}

static int decode_prefetch(struct decoder *d, struct kf_err *err)
{
    struct kf_toc *toc = d->toc;
    const struct section *pref = &d->sections[SECTION_PREF];
    uint64_t count = pref->length / KF_TOC_RUN_RECORD;

    if (pref->length % KF_TOC_RUN_RECORD != 0 || count > UINT32_MAX)
        return kf_toc_broken(err, "the length of its prefetch list");
    toc->prefetch = calloc(count + 1, sizeof(*toc->prefetch));
    if (!toc->prefetch)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    toc->prefetch_count = (uint32_t)count;
    for (uint32_t i = 0; i < toc->prefetch_count; i++) {
        const uint8_t *p = pref->data + (size_t)i * KF_TOC_RUN_RECORD;
        struct kf_toc_run run = {kf_le32(p), kf_le32(p + 4)};

        if (run.count == 0 || (uint64_t)run.first_chunk + run.count > toc->chunk_count)
            return kf_toc_broken(err, "its prefetch list");
        toc->prefetch[i] = run;
    }
    return 0;
}

static int decode_meta(struct decoder *d, struct kf_err *err)
{
    const struct section *meta = &d->sections[SECTION_META];

    if (meta->length > META_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "META of a table of contents over 64 KiB");
    if (!meta->data)
        return 0;
    d->toc->meta = copy_section(meta);
    return d->toc->meta ? 0 : kf_fail(err, KF_E_NOMEM, "no memory for META");
}

static int decode(struct decoder *d, struct kf_err *err)
{
    static int (*const steps[])(struct decoder * d, struct kf_err * err) = {
        decode_header, decode_directory, decode_files,
        decode_slices, decode_prefetch,  decode_meta,
    };
    int rc = decode_version(d, err);

    for (size_t i = 0; rc == 0 && i < KF_ARRAY_LEN(steps); i++)
        rc = steps[i](d, err);
    return rc;
}

int kf_toc_decode(struct kf_toc *ret, const void *raw, size_t length,
                  const struct kf_toc_link *link, uint64_t blob_size,
                  const struct kf_toc_limits *limits, struct kf_err *err)
{
    struct kf_toc toc = {0};
    struct decoder d = {.toc = &toc, .raw = raw, .length = length, .limits = limits};
    int rc = kf_toc_check_link(link, limits, err);

    if (rc == 0 && length != link->root_raw)
        rc = kf_toc_broken(err, "its length is not the promised one");
    if (rc == 0)
        rc = decode(&d, err);
    if (rc == 0)
        rc = kf_toc_check_blob(&toc, link, blob_size, err);
    if (rc != 0) {
        kf_toc_fini(&toc);
        return rc;
    }
    *ret = toc;
    return 0;
}
