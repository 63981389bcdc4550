#include "layer/map_load.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/toc_open.h"

#define PIECE (UINT64_C(1) << 20)

/* A read may be answered before the call that started it returns, or on another thread:
 * whoever comes second goes on, so that the stack does not grow with the slices. */
enum { PHASE_READING, PHASE_RETURNED, PHASE_ANSWERED };

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

static void go_on(struct kf_map_load *load);

static void piece_done(struct kf_read *read, const void *data, const struct kf_err *err)
{
    struct kf_map_load *load = kf_container_of(read, struct kf_map_load, read);

    if (!data) {
        finish(load, err);
        return;
    }
    memcpy(load->bytes + load->have, data, read->length);
    load->have += read->length;
    if (__atomic_exchange_n(&load->phase, PHASE_ANSWERED, __ATOMIC_ACQ_REL) ==
        PHASE_RETURNED)
        go_on(load);
}

/* True: the piece is here, go on; false: `piece_done` will. */
static bool read_piece(struct kf_map_load *load)
{
    uint64_t where = load->toc->toc.slices[load->slice].where;

    load->read = (struct kf_read){
        .offset = where + load->have,
        .length = (size_t)kf_min_u64(load->length - load->have, PIECE),
        .done = piece_done,
    };
    __atomic_store_n(&load->phase, PHASE_READING, __ATOMIC_RELEASE);
    kf_feed_read(load->toc->feed, &load->read);
    return __atomic_exchange_n(&load->phase, PHASE_RETURNED, __ATOMIC_ACQ_REL) ==
           PHASE_ANSWERED;
}

static int begin_slice(struct kf_map_load *load, struct kf_err *err)
{
    load->length = length_of(&load->toc->toc.slices[load->slice]);
    load->have = 0;
    load->bytes = malloc(load->length);
    return load->bytes ? 0 : kf_fail(err, KF_E_NOMEM, "no memory for a slice");
}

static int add_slice(struct kf_map_load *load, const uint8_t *bytes, struct kf_err *err)
{
    const struct kf_toc *toc = &load->toc->toc;
    uint32_t slice = load->slice++;
    int rc = kf_chunk_map_add(&load->map, toc, slice, bytes,
                              length_of(&toc->slices[slice]), err);

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
        } else if (bytes || (load->bytes && load->have == load->length)) {
            rc = add_slice(load, bytes ? bytes : load->bytes, &err);
        } else {
            if (!load->bytes)
                rc = begin_slice(load, &err);
            if (rc == 0 && !read_piece(load))
                return;
        }
    }
    finish(load, rc == 0 ? NULL : &err);
}

void kf_map_load_start(struct kf_map_load *load)
{
    struct kf_err err;

    load->slice = load->first;
    load->bytes = NULL;
    load->map = (struct kf_chunk_map){0};
    if (kf_chunk_map_init(&load->map, load->chunk_count, &err) != 0)
        finish(load, &err);
    else
        go_on(load);
}
