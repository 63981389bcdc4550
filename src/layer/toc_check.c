/*
 * What must hold between the records of a root: docs/formats/layer.md section 7, rule 3.
 * Each record by itself was checked when it was read (toc_decode.c).
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/table.h"
#include "layer/toc.h"
#include "layer/toc_private.h"

#define TAR_END_SIZE 1024u

/* A borrowed name; not terminated. */
struct name {
    const char *text;
    size_t length;
};

static int broken_file(struct kf_err *err, uint32_t file, const char *what)
{
    return kf_fail(err, KF_E_MALFORMED, "broken table of contents: file %u: %s", file,
                   what);
}

static int broken_slice(struct kf_err *err, uint32_t slice, const char *what)
{
    return kf_fail(err, KF_E_MALFORMED, "broken table of contents: slice %u: %s", slice,
                   what);
}

static struct name name_of(const struct kf_toc *toc, uint32_t file)
{
    struct name name;

    name.text = kf_toc_name(toc, file, &name.length);
    return name;
}

static int compare_names(struct name a, struct name b)
{
    int order = memcmp(a.text, b.text, kf_min_u64(a.length, b.length));

    if (order != 0)
        return order;
    return a.length < b.length ? -1 : a.length > b.length;
}

/* The parent's path; empty where that is the root. */
static struct name folder_of(struct name name)
{
    const char *slash = memrchr(name.text, '/', name.length);

    return (struct name){name.text, slash ? (size_t)(slash - name.text) : 0};
}

/* Records are sorted by then: a binary search. */
static bool has_folder(const struct kf_toc *toc, struct name name)
{
    uint32_t low = 0, high = toc->file_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare_names(name_of(toc, middle), name);

        if (order == 0)
            return toc->files[middle].type == KF_TYPE_DIR;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* A name as section 2 wants it, in its shortest form, after the one before. */
static int check_name(const struct kf_toc *toc, uint32_t file, struct kf_err *err)
{
    struct name name = name_of(toc, file), checked = name;

    if (kf_name_check(&checked.text, &checked.length, err) != 0)
        return kf_fail_wrap(err, "broken table of contents: file %u", file);
    if (checked.text != name.text || checked.length != name.length)
        return broken_file(err, file, "its name is not in its shortest form");
    if (file > 0 && compare_names(name_of(toc, file - 1), name) >= 0)
        return broken_file(err, file, "its name is out of order");
    return 0;
}

/* Neighbours mostly share their folder: it is looked up once for all of them. */
static int check_folders(const struct kf_toc *toc, struct kf_err *err)
{
    struct name known = {"", 0};

    for (uint32_t i = 0; i < toc->file_count; i++) {
        struct name folder = folder_of(name_of(toc, i));

        if (folder.length == 0 || compare_names(folder, known) == 0)
            continue;
        if (!has_folder(toc, folder))
            return broken_file(err, i, "its folder is missing");
        known = folder;
    }
    return 0;
}

/* The one file of a raw layer has no name: its attributes are the descriptor's. (It is no
 * folder: those are of size 0.) */
static int check_raw_file(const struct kf_toc *toc, struct kf_err *err)
{
    const struct kf_toc_file *file = toc->files;

    if (toc->file_count != 1 || file->offset != 0 || file->size != toc->stream_length ||
        file->name_length != 0 || file->mtime != 0 || file->mode != 0)
        return kf_toc_broken(err, "the record of a raw layer");
    return 0;
}

/* Files share no byte. Those that have chunks of their own leave their two ends in
 * toc->borders, ascending since the extents are. */
static int check_ranges(struct kf_toc *toc, struct kf_err *err)
{
    kf_auto(kf_free) struct kf_toc_extent *extents = NULL;
    uint32_t count = 0, large = 0;

    extents = calloc((size_t)toc->file_count + 1, sizeof(*extents));
    if (!extents)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    for (uint32_t i = 0; i < toc->file_count; i++) {
        const struct kf_toc_file *file = &toc->files[i];

        if (file->size > 0)
            extents[count++] =
                (struct kf_toc_extent){file->offset, file->offset + file->size};
        large += file->size >= KF_TOC_SMALL_FILE;
    }
    kf_toc_sort_extents(extents, count);
    toc->borders = calloc((size_t)large * 2 + 1, sizeof(*toc->borders));
    if (!toc->borders)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && extents[i].offset < extents[i - 1].end)
            return kf_toc_broken(err, "files overlap");
        if (extents[i].end - extents[i].offset >= KF_TOC_SMALL_FILE) {
            toc->borders[toc->border_count++] = extents[i].offset;
            toc->borders[toc->border_count++] = extents[i].end;
        }
    }
    return 0;
}

int kf_toc_check_files(struct kf_toc *toc, struct kf_err *err)
{
    if (toc->carrier == KF_CARRIER_RAW) {
        if (check_raw_file(toc, err) != 0)
            return -1;
    } else {
        for (uint32_t i = 0; i < toc->file_count; i++)
            if (check_name(toc, i, err) != 0)
                return -1;
        if (check_folders(toc, err) != 0)
            return -1;
    }
    return check_ranges(toc, err);
}

/* Each chunk holds something and none more than the largest. This bounds all offsets by
 * about 2^50, so that no later sum overflows. */
static int check_extent(const struct kf_toc *toc, uint32_t index, struct kf_err *err)
{
    const struct kf_toc_slice *slice = &toc->slices[index];
    uint64_t stream_end = kf_toc_slice_stream_end(toc, index);
    uint64_t stored_end = kf_toc_slice_stored_end(toc, index);
    uint64_t count = slice->chunk_count;

    if (stream_end <= slice->stream_offset || stored_end <= slice->stored_offset)
        return broken_slice(err, index, "its offsets are out of order");
    if (stream_end - slice->stream_offset < count ||
        stream_end - slice->stream_offset > count * toc->largest_chunk ||
        stored_end - slice->stored_offset < count ||
        stored_end - slice->stored_offset >
            count * kf_toc_stored_limit(toc->largest_chunk))
        return broken_slice(err, index, "its length is not that of so many chunks");
    return 0;
}

/* Slices cover all chunks in order, and their rows fill the slices part and ROWS. */
static int check_order(const struct kf_toc *toc, struct kf_err *err)
{
    uint64_t chunk = 0, outside = 0, within = 0;

    for (uint32_t i = 0; i < toc->slice_count; i++) {
        const struct kf_toc_slice *slice = &toc->slices[i];
        uint64_t *place = slice->is_inline ? &within : &outside;

        if (slice->first_chunk != chunk || slice->where != *place)
            return broken_slice(err, i, "it does not follow the one before");
        if (i == 0 && (slice->stream_offset != 0 || slice->stored_offset != 0))
            return broken_slice(err, i, "it does not begin with the layer");
        if (check_extent(toc, i, err) != 0)
            return -1;
        chunk += slice->chunk_count;
        *place += (uint64_t)slice->chunk_count * KF_TOC_ROW_SIZE;
    }
    if (chunk != toc->chunk_count)
        return kf_toc_broken(err, "its slices do not cover its chunks");
    if (outside != toc->slices_length || within != toc->rows_length)
        return kf_toc_broken(err, "its slices do not fill their place");
    return 0;
}

/* Each file of 16 MiB or more has exactly one slice, which begins and ends with it. */
static int check_large_files(const struct kf_toc *toc, struct kf_err *err)
{
    kf_auto(kf_free) bool *seen = calloc((size_t)toc->file_count + 1, sizeof(*seen));

    if (!seen)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    for (uint32_t i = 0; i < toc->slice_count; i++) {
        const struct kf_toc_slice *slice = &toc->slices[i];
        const struct kf_toc_file *file;

        if (slice->file == KF_TOC_NO_FILE)
            continue;
        file = &toc->files[slice->file];
        if (seen[slice->file])
            return broken_slice(err, i, "its file has another one");
        if (slice->stream_offset != file->offset ||
            kf_toc_slice_stream_end(toc, i) != file->offset + file->size)
            return broken_slice(err, i, "it does not begin and end with its file");
        seen[slice->file] = true;
    }
    for (uint32_t i = 0; i < toc->file_count; i++)
        if (toc->files[i].size >= KF_TOC_LARGE_FILE && !seen[i])
            return broken_file(err, i, "a large file without a slice");
    return 0;
}

int kf_toc_check_slices(const struct kf_toc *toc, struct kf_err *err)
{
    if ((toc->chunk_count == 0) != (toc->file_count == 0))
        return kf_toc_broken(err, "chunks without files, or files without chunks");
    if (toc->chunk_count == 0 &&
        (toc->stream_length != 0 || toc->stored_length != 0 || toc->largest_chunk != 0))
        return kf_toc_broken(err, "an empty layer with content");
    if (check_order(toc, err) != 0)
        return -1;
    return check_large_files(toc, err);
}

/* Where the chunks end in the blob, by its carrier. */
static int stored_end(const struct kf_toc *toc, const struct kf_toc_link *link,
                      uint64_t blob_size, uint64_t *ret, struct kf_err *err)
{
    if (link->embedded != (toc->carrier == KF_CARRIER_TAR_ZSTD))
        return kf_toc_broken(err, "it lies where its carrier has no place for it");
    switch (toc->carrier) {
    case KF_CARRIER_TAR_ZSTD:
        if (link->area_offset + link->area_length > blob_size)
            return kf_toc_broken(err, "its area is not within the layer");
        *ret = link->area_offset - KF_TOC_FRAME_HEADER;
        return 0;
    case KF_CARRIER_TAR:
        if (blob_size < TAR_END_SIZE)
            return kf_toc_broken(err, "a tar layer without its end mark");
        *ret = blob_size - TAR_END_SIZE;
        return 0;
    case KF_CARRIER_RAW:
        break;
    }
    *ret = blob_size;
    return 0;
}

int kf_toc_check_blob(const struct kf_toc *toc, const struct kf_toc_link *link,
                      uint64_t blob_size, struct kf_err *err)
{
    uint64_t stored = 0;

    if (toc->slices_length != link->area_length - link->root_stored)
        return kf_toc_broken(err, "its slices and its area differ in length");
    if (stored_end(toc, link, blob_size, &stored, err) != 0)
        return -1;
    if (toc->stored_length != stored)
        return kf_toc_broken(err, "its chunks do not end where the layer's do");
    if (toc->carrier != KF_CARRIER_TAR_ZSTD && toc->stored_length != toc->stream_length)
        return kf_toc_broken(err, "a stored length that is not the stream's");
    return 0;
}
