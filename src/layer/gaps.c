/*
 * What lies between the files of an archive, against its TOC: one small read after the
 * other, none of which a thread waits for.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/gather.h"
#include "layer/layer.h"
#include "layer/layer_state.h"
#include "layer/tar_check.h"
#include "layer/tar_encode.h"

struct gaps {
    struct kf_layer *layer;
    struct kf_tar_check *check;
    struct kf_feed *feed;  /* of the remainder: all that is no large file */
    struct kf_read loaded; /* of its first byte: waits for the chunk map */
    struct kf_gather gather;
    uint8_t *window;
    uint64_t offset; /* of the window in the stream */
    size_t length;
};

static void free_gaps(struct gaps *gaps)
{
    kf_tar_check_free(gaps->check);
    kf_feed_unref(gaps->feed);
    free(gaps->window);
    free(gaps);
}

/* How many bytes of chunks there are from `offset` on before the next large file. */
static uint64_t run_length(const struct kf_layer *layer, uint64_t offset)
{
    const struct kf_toc *toc = &layer->toc.toc;
    uint32_t slice = kf_toc_slice_at(toc, offset);

    while (slice < toc->slice_count && toc->slices[slice].file == KF_TOC_NO_FILE)
        slice++;
    return (slice < toc->slice_count ? toc->slices[slice].stream_offset
                                     : toc->stream_length) -
           kf_min_u64(offset, slice < toc->slice_count ? toc->slices[slice].stream_offset
                                                       : toc->stream_length);
}

/* The part of a window that chunks cover; the end mark behind them is known. */
static int place_window(struct gaps *gaps, uint64_t offset, uint64_t length,
                        uint64_t *ret_covered, struct kf_err *err)
{
    const struct kf_layer *layer = gaps->layer;
    const struct kf_toc *toc = &layer->toc.toc;
    uint64_t covered =
        offset < toc->stream_length ? kf_min_u64(length, toc->stream_length - offset) : 0;
    uint8_t *window = realloc(gaps->window, length);
    uint32_t slice;

    if (!window)
        return kf_fail(err, KF_E_NOMEM, "no memory to check an archive");
    gaps->window = window;
    memset(window, 0, length);
    gaps->offset = offset;
    gaps->length = length;
    *ret_covered = covered;
    if (covered == 0)
        return 0;
    slice = kf_toc_slice_at(toc, offset);
    if (run_length(layer, offset) < covered)
        return kf_fail(err, KF_E_CORRUPT,
                       "the archive has a header at offset %" PRIu64
                       ", where its table of contents has a file",
                       offset);
    gaps->gather.offset =
        layer->rest_offsets[slice] + offset - toc->slices[slice].stream_offset;
    return 0;
}

static void gathered(struct kf_gather *gather);

/* 1: a read is on its way; 0: all was looked at; -1: they disagree, or no memory. */
static int go_on(struct gaps *gaps, struct kf_err *err)
{
    for (;;) {
        uint64_t offset = 0, length = 0, covered = 0;
        int rc = kf_tar_check_look(gaps->check, gaps->window, gaps->offset, gaps->length,
                                   &offset, &length, err);

        if (rc <= 0)
            return rc == 0 ? kf_tar_check_end(gaps->check, err) : -1;
        if (place_window(gaps, offset, length, &covered, err) != 0)
            return -1;
        if (covered == 0)
            continue;
        gaps->gather = (struct kf_gather){.feed = gaps->feed,
                                          .offset = gaps->gather.offset,
                                          .length = covered,
                                          .bytes = gaps->window,
                                          .urgency = KF_PREFETCH,
                                          .done = gathered};
        if (!kf_gather_start(&gaps->gather))
            return 1;
        if (gaps->gather.failed)
            return 0; /* not to be had now: unchecked */
    }
}

static void run(struct gaps *gaps)
{
    struct kf_err err;
    int rc = go_on(gaps, &err);

    if (rc > 0)
        return;
    if (rc < 0 && err.kind != KF_E_NOMEM)
        kf_layer_fail(gaps->layer, "archive_differs", &err);
    free_gaps(gaps);
}

static void gathered(struct kf_gather *gather)
{
    struct gaps *gaps = kf_container_of(gather, struct gaps, gather);

    if (gather->failed)
        free_gaps(gaps);
    else
        run(gaps);
}

static void rest_loaded(struct kf_read *read, const void *data, const struct kf_err *err)
{
    struct gaps *gaps = kf_container_of(read, struct gaps, loaded);

    gaps->feed = data ? kf_slot_feed(&gaps->layer->remainder) : NULL;
    if (gaps->feed)
        run(gaps);
    else
        free_gaps(gaps);
}

void kf_layer_check(struct kf_layer *layer)
{
    struct gaps *gaps;
    struct kf_feed *feed;

    if (!layer->has_toc || layer->toc.toc.carrier == KF_CARRIER_RAW ||
        layer->rest_chunks == 0)
        return;
    gaps = calloc(1, sizeof(*gaps));
    if (gaps)
        gaps->check = kf_tar_check_new(&layer->table,
                                       layer->table.stream_size + KF_TAR_END_SIZE, NULL);
    if (!gaps || !gaps->check) {
        free(gaps);
        return;
    }
    gaps->layer = layer;
    gaps->loaded =
        (struct kf_read){.length = 1, .urgency = KF_PREFETCH, .done = rest_loaded};
    feed = kf_slot_feed_or_wait(&layer->remainder, NULL, &gaps->loaded);
    if (!feed)
        return; /* `rest_loaded` goes on, or has done so */
    gaps->feed = feed;
    run(gaps);
}
