#include "layer/toc_open.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/source.h"
#include "cache/cuts.h"
#include "cache/object.h"
#include "cache/store.h"
#include "fetch/feed.h"
#include "layer/frame.h"

/* ---- the root ---- */

/* The root, or the whole area where that is small. */
static uint64_t first_bytes(const struct kf_toc_link *link)
{
    return link->area_length <= KF_TOC_WHOLE_AREA ? link->area_length : link->root_stored;
}

static int check_root(const struct kf_toc_link *link, const uint8_t *bytes,
                      struct kf_err *err)
{
    struct kf_digest found;

    if (kf_digest_of(&found, bytes, link->root_stored, err) != 0)
        return -1;
    if (!kf_digest_equal(&found, &link->root_digest))
        return kf_fail(err, KF_E_CORRUPT,
                       "the root of its table of contents has other "
                       "bytes than its digest says");
    return 0;
}

static int decode_root(struct kf_toc *ret, const struct kf_toc_from *from,
                       const uint8_t *stored, struct kf_err *err)
{
    const struct kf_toc_link *link = from->link;
    kf_auto(kf_free) uint8_t *raw = malloc(link->root_raw + 1);
    struct kf_frame_decoder *decoder = raw ? kf_frame_decoder_new(err) : NULL;
    int rc;

    if (!raw)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    if (!decoder)
        return -1;
    rc = kf_frame_decode(decoder, stored, link->root_stored, raw, link->root_raw, err);
    kf_frame_decoder_free(decoder);
    if (rc != 0)
        return -1;
    rc = kf_toc_decode(ret, raw, link->root_raw, link, from->blob_size, &kf_toc_limits,
                       err);
    if (rc > 0)
        (void)kf_fail(err, KF_E_UNSUPPORTED,
                      "its table of contents is of a later version; a newer kitfs "
                      "checks each chunk");
    return rc;
}

/* ---- slices that are fetched when they are needed ---- */

static int check_digest(const struct kf_digest *expected, const uint8_t *data,
                        size_t length, uint64_t slice, struct kf_err *err)
{
    struct kf_digest found;

    if (kf_digest_of(&found, data, length, err) != 0)
        return -1;
    if (!kf_digest_equal(&found, expected))
        return kf_fail(err, KF_E_CORRUPT,
                       "a slice of its table of contents (%" PRIu64 ") has other bytes "
                       "than its digest says",
                       slice);
    return 0;
}

struct slices {
    uint64_t area; /* where the first one lies in the source */
    struct kf_cuts *cuts;
};

static void place_slice(const void *arg, uint64_t chunk, struct kf_chunk_place *ret)
{
    const struct slices *slices = arg;
    const uint64_t *offsets = slices->cuts->offsets;

    ret->stored_offset = slices->area + offsets[chunk];
    ret->stored_length = ret->length = (uint32_t)(offsets[chunk + 1] - offsets[chunk]);
}

static int check_slice(const void *arg, uint64_t chunk, const uint8_t *data,
                       size_t length, struct kf_digest *ret_digest, struct kf_err *err)
{
    const struct slices *slices = arg;

    *ret_digest = slices->cuts->digests[chunk];
    return check_digest(ret_digest, data, length, chunk, err);
}

static void free_slices(void *arg)
{
    struct slices *slices = arg;

    kf_cuts_unref(slices->cuts);
    free(slices);
}

static const struct kf_feed_ops slice_ops = {
    .place = place_slice, .check = check_slice, .destroy = free_slices};

static struct kf_cuts *cuts_of_slices(const struct kf_toc *toc, struct kf_err *err)
{
    uint64_t count = 0;
    struct kf_cuts *cuts;

    for (uint32_t i = 0; i < toc->slice_count; i++)
        count += !toc->slices[i].is_inline;
    cuts = kf_cuts_new(count, err);
    count = 0;
    for (uint32_t i = 0; cuts && i < toc->slice_count; i++) {
        const struct kf_toc_slice *slice = &toc->slices[i];

        if (slice->is_inline)
            continue;
        cuts->digests[count++] = slice->digest;
        cuts->offsets[count] =
            cuts->offsets[count - 1] + (uint64_t)slice->chunk_count * KF_TOC_ROW_SIZE;
    }
    return cuts;
}

static int open_slices(struct kf_opened_toc *opened, const struct kf_toc_from *from,
                       struct kf_err *err)
{
    kf_auto(kf_free) struct slices *slices = calloc(1, sizeof(*slices));
    struct kf_object_spec spec = {.size = opened->toc.slices_length};
    struct kf_object *object;
    char hex[65];
    int rc;

    if (!slices)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    slices->area = from->link->area_offset + from->link->root_stored;
    slices->cuts = cuts_of_slices(&opened->toc, err);
    if (!slices->cuts)
        return -1;
    spec.cuts = slices->cuts;
    (void)snprintf(spec.name, sizeof(spec.name), "%s-s",
                   kf_digest_hex(&from->link->root_digest, hex)); /* fits */
    rc = kf_object_open(&object, from->store, &spec, err);
    if (rc == 0) {
        rc = kf_feed_new(&opened->feed, from->fetch, from->source, object, &slice_ops,
                         slices, err);
        kf_object_unref(object);
    }
    if (rc == 0)
        (void)kf_steal(slices); /* the feed's now */
    else
        kf_cuts_unref(slices->cuts);
    return rc;
}

/* ---- slices that came with the root ---- */

static int check_slices(const struct kf_toc *toc, const uint8_t *slices,
                        struct kf_err *err)
{
    for (uint32_t i = 0; i < toc->slice_count; i++) {
        const struct kf_toc_slice *slice = &toc->slices[i];

        if (!slice->is_inline &&
            check_digest(&slice->digest, slices + slice->where,
                         (size_t)slice->chunk_count * KF_TOC_ROW_SIZE, i, err) != 0)
            return -1;
    }
    return 0;
}

static int keep_slices(struct kf_opened_toc *opened, const struct kf_toc_from *from,
                       const uint8_t *area, struct kf_err *err)
{
    const uint8_t *slices = area + from->link->root_stored;

    if (opened->toc.slices_length == 0)
        return 0;
    if (first_bytes(from->link) < from->link->area_length)
        return open_slices(opened, from, err);
    if (check_slices(&opened->toc, slices, err) != 0)
        return -1;
    opened->slices = malloc(opened->toc.slices_length);
    if (!opened->slices)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    memcpy(opened->slices, slices, opened->toc.slices_length);
    return 0;
}

/* ---- from the cache or the source ---- */

/* KF_E_CORRUPT: these are not the bytes that digests name. */
static int decode_first(struct kf_opened_toc *ret, const struct kf_toc_from *from,
                        const uint8_t *bytes, struct kf_err *err)
{
    struct kf_opened_toc opened = {0};
    int rc;

    if (check_root(from->link, bytes, err) != 0)
        return -1;
    rc = decode_root(&opened.toc, from, bytes, err);
    if (rc != 0)
        return rc;
    if (keep_slices(&opened, from, bytes, err) != 0) {
        kf_opened_toc_fini(&opened);
        return -1;
    }
    *ret = opened;
    return 0;
}

/* -1 also when there is nothing of use in it. */
static int load_first(struct kf_opened_toc *ret, const struct kf_toc_from *from,
                      struct kf_err *err)
{
    const struct kf_toc_link *link = from->link;
    struct kf_buf bytes;
    int rc = -1;

    if (!from->store)
        return -1;
    kf_buf_init(&bytes, first_bytes(link));
    if (kf_store_load(from->store, KF_SMALL_TOC, &link->root_digest, &bytes, NULL) == 0 &&
        bytes.length == first_bytes(link))
        rc = decode_first(ret, from, bytes.data, err);
    kf_buf_fini(&bytes);
    return rc;
}

static void save_first(const struct kf_toc_from *from, const uint8_t *bytes)
{
    struct kf_err why;

    if (from->store && kf_store_save(from->store, KF_SMALL_TOC, &from->link->root_digest,
                                     bytes, first_bytes(from->link), &why) != 0)
        kf_log(KF_LOG_WARN, "layer", "event=toc_not_saved layer=%s why=\"%s\"",
               from->source->name, why.message);
}

/* Without `area`, or when it is too short or damaged, they are asked for, and when they
 * are damaged on their way once more. */
static int fetch_first(struct kf_opened_toc *ret, const struct kf_toc_from *from,
                       struct kf_err *err)
{
    const struct kf_toc_link *link = from->link;
    kf_auto(kf_free) uint8_t *bytes = malloc(first_bytes(link));
    bool damaged = from->area_length >= first_bytes(link);
    int rc = -1;

    if (!bytes)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    if (damaged) {
        memcpy(bytes, from->area, first_bytes(link));
        rc = decode_first(ret, from, bytes, err);
    }
    for (int attempt = 0; attempt < 2 && rc < 0; attempt++) {
        if ((damaged ? kf_source_read_anew : kf_source_read)(
                from->source, bytes, link->area_offset, first_bytes(link),
                kf_deadline_ns(from->timeout_ns), err) != 0)
            return !link->embedded && err->kind == KF_E_NOTFOUND ? 1 : -1;
        rc = decode_first(ret, from, bytes, err);
        damaged = true;
        if (rc < 0 && err->kind != KF_E_CORRUPT)
            return -1;
    }
    if (rc >= 0)
        save_first(from, bytes);
    return rc;
}

int kf_toc_open(struct kf_opened_toc *ret, const struct kf_toc_from *from,
                struct kf_err *err)
{
    struct kf_err why;
    int rc = load_first(ret, from, &why);

    if (rc < 0)
        rc = fetch_first(ret, from, &why);
    if (rc != 0 && err)
        *err = why;
    return rc;
}

void kf_opened_toc_fini(struct kf_opened_toc *opened)
{
    kf_toc_fini(&opened->toc);
    free(opened->slices);
    kf_feed_unref(opened->feed);
    memset(opened, 0, sizeof(*opened));
}
