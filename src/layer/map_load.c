#include "layer/map_load.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/toc_open.h"

#define ASKED_SLICES 64u /* at once, so that they come by few requests */

static bool is_wanted(const struct kf_map_load *load, uint32_t slice)
{
    return !load->rest || load->toc->toc.slices[slice].file == KF_TOC_NO_FILE;
}

static uint64_t length_of(const struct kf_toc_slice *slice)
{
    return (uint64_t)slice->chunk_count * KF_TOC_ROW_SIZE;
}

/* The bytes of a slice when they are in memory. */
static const uint8_t *local_bytes(const struct kf_opened_toc *toc, uint32_t slice)
{
    const struct kf_toc_slice *of = &toc->toc.slices[slice];
    size_t length;

    if (of->is_inline)
        return kf_toc_inline_rows(&toc->toc, slice, &length);
    return toc->slices ? toc->slices + of->where : NULL;
}

bool kf_map_load_is_local(const struct kf_map_load *load)
{
    for (uint32_t i = 0; i < load->count; i++)
        if (is_wanted(load, load->first + i) && !local_bytes(load->toc, load->first + i))
            return false;
    return true;
}

static void finish(struct kf_map_load *load, const struct kf_err *err)
{
    free(load->bytes);
    load->bytes = NULL;
    if (err)
        kf_chunk_map_fini(&load->map);
    load->done(load, err); /* may free it */
}

/* The slice that is next lies in the source: asks for it and for some after it, those
 * next to each other in one go. */
static void ask(struct kf_map_load *load)
{
    const struct kf_opened_toc *toc = load->toc;
    const struct kf_object *object = kf_feed_object(toc->feed);
    uint32_t end = load->first + load->count;
    uint64_t first = 0, count = 0;

    if (load->slice < load->asked)
        return;
    load->asked = (uint32_t)kf_min_u64((uint64_t)load->slice + ASKED_SLICES, end);
    for (uint32_t i = load->slice; i < load->asked; i++) {
        uint64_t chunk;

        if (!is_wanted(load, i) || local_bytes(toc, i))
            continue;
        chunk = kf_object_chunk_at(object, toc->toc.slices[i].where);
        if (chunk != first + count) {
            kf_feed_want(toc->feed, first, count, KF_DEMAND);
            first = chunk;
            count = 0;
        }
        count++;
    }
    kf_feed_want(toc->feed, first, count, KF_DEMAND);
}

static void gathered(struct kf_gather *gather);

static int begin_slice(struct kf_map_load *load, struct kf_err *err)
{
    const struct kf_toc_slice *slice = &load->toc->toc.slices[load->slice];

    load->bytes = malloc(length_of(slice));
    if (!load->bytes)
        return kf_fail(err, KF_E_NOMEM, "no memory for a slice");
    load->gather = (struct kf_gather){.feed = load->toc->feed,
                                      .offset = slice->where,
                                      .length = length_of(slice),
                                      .bytes = load->bytes,
                                      .done = gathered};
    return 0;
}

static int add_slice(struct kf_map_load *load, const uint8_t *bytes, struct kf_err *err)
{
    const struct kf_toc *toc = &load->toc->toc;
    uint32_t slice = load->slice++;

    return kf_chunk_map_add(&load->map, toc, slice, bytes, length_of(&toc->slices[slice]),
                            err);
}

/* The slice that was read. */
static int take_slice(struct kf_map_load *load, struct kf_err *err)
{
    struct kf_object *object = kf_feed_object(load->toc->feed);
    int rc = -1;

    if (load->gather.failed)
        *err = load->gather.error;
    else
        rc = add_slice(load, load->bytes, err);
    /* They were right when they came: the next load fetches them again. */
    if (rc != 0 && !load->gather.failed && err->kind == KF_E_CORRUPT)
        kf_object_drop(object, kf_object_chunk_at(object, load->gather.offset));
    free(load->bytes);
    load->bytes = NULL;
    return rc;
}

static void go_on(struct kf_map_load *load)
{
    struct kf_err err;
    int rc = 0;

    while (rc == 0 && load->slice < load->first + load->count) {
        const uint8_t *bytes = local_bytes(load->toc, load->slice);

        if (!is_wanted(load, load->slice)) {
            load->slice++;
        } else if (bytes) {
            rc = add_slice(load, bytes, &err);
        } else {
            ask(load);
            rc = begin_slice(load, &err);
            if (rc == 0 && !kf_gather_start(&load->gather))
                return; /* `gathered` goes on */
            if (rc == 0)
                rc = take_slice(load, &err);
        }
    }
    finish(load, rc == 0 ? NULL : &err);
}

static void gathered(struct kf_gather *gather)
{
    struct kf_map_load *load = kf_container_of(gather, struct kf_map_load, gather);
    struct kf_err err;

    if (take_slice(load, &err) != 0)
        finish(load, &err);
    else
        go_on(load);
}

void kf_map_load_start(struct kf_map_load *load)
{
    struct kf_err err;

    load->slice = load->asked = load->first;
    load->bytes = NULL;
    load->map = (struct kf_chunk_map){0};
    if (kf_chunk_map_init(&load->map, load->chunk_count, &err) != 0)
        finish(load, &err);
    else
        go_on(load);
}
