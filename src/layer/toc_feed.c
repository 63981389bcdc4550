#include "layer/toc_feed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/source.h"
#include "cache/cuts.h"
#include "cache/object.h"
#include "fetch/feed.h"
#include "layer/frame.h"

/* What a feed's operations work on. */
struct chunks {
    struct kf_chunk_map map;
    char layer[128]; /* the name of its source */
};

static void place(const void *arg, uint64_t chunk, struct kf_chunk_place *ret)
{
    const struct chunks *chunks = arg;
    const uint64_t *offsets = chunks->map.cuts->offsets;

    ret->stored_offset = chunks->map.stored_offset[chunk];
    ret->stored_length = chunks->map.stored_length[chunk];
    ret->length = (uint32_t)(offsets[chunk + 1] - offsets[chunk]);
}

static int check(const void *arg, uint64_t chunk, const uint8_t *data, size_t length,
                 struct kf_digest *ret_digest, struct kf_err *err)
{
    const struct chunks *chunks = arg;
    const struct kf_digest *expected = &chunks->map.cuts->digests[chunk];
    char want[KF_DIGEST_TEXT_SIZE], have[KF_DIGEST_TEXT_SIZE];

    if (kf_digest_of(ret_digest, data, length, err) != 0)
        return -1;
    if (kf_digest_equal(ret_digest, expected))
        return 0;
    return kf_fail(err, KF_E_CORRUPT,
                   "chunk %" PRIu32 " of layer '%s' (at offset %" PRIu64
                   ") has the digest %s, not %s",
                   chunks->map.number[chunk], chunks->layer,
                   chunks->map.stored_offset[chunk], kf_digest_format(ret_digest, have),
                   kf_digest_format(expected, want));
}

static int unpack(const void *arg, uint64_t chunk, const uint8_t *stored,
                  size_t stored_length, uint8_t *data, size_t length,
                  struct kf_digest *ret_digest, struct kf_err *err)
{
    const struct chunks *chunks = arg;
    struct kf_frame_decoder *decoder = kf_frame_decoder_own(err);

    if (!decoder)
        return -1;
    if (kf_frame_decode(decoder, stored, stored_length, data, length, err) != 0)
        return kf_fail_wrap(
            err, "chunk %" PRIu32 " of layer '%s' (at offset %" PRIu64 ")",
            chunks->map.number[chunk], chunks->layer, chunks->map.stored_offset[chunk]);
    return check(arg, chunk, data, length, ret_digest, err);
}

static void destroy(void *arg)
{
    struct chunks *chunks = arg;

    kf_chunk_map_fini(&chunks->map);
    free(chunks);
}

static const struct kf_feed_ops packed_ops = {
    .place = place, .decode = unpack, .destroy = destroy};
static const struct kf_feed_ops plain_ops = {
    .place = place, .check = check, .destroy = destroy};

int kf_toc_feed_new(struct kf_feed **ret, const struct kf_toc_feed_spec *spec,
                    struct kf_chunk_map *map, struct kf_err *err)
{
    struct chunks *chunks = calloc(1, sizeof(*chunks));
    struct kf_object_spec object_spec = {.size = map->cuts->offsets[map->cuts->count],
                                         .cuts = map->cuts};
    bool packed = spec->carrier == KF_CARRIER_TAR_ZSTD;
    struct kf_object *object;
    int rc;

    if (!chunks) {
        kf_chunk_map_fini(map);
        return kf_fail(err, KF_E_NOMEM, "no memory for a feed");
    }
    chunks->map = *map;
    *map = (struct kf_chunk_map){0};
    (void)snprintf(chunks->layer, sizeof(chunks->layer), "%s",
                   spec->source->name); /* a digest; cut is fine */
    (void)snprintf(object_spec.name, sizeof(object_spec.name), "%s", spec->name);
    rc = kf_object_open(&object, spec->store, &object_spec, err);
    if (rc == 0) {
        rc = kf_feed_new(ret, spec->fetch, spec->source, object,
                         packed ? &packed_ops : &plain_ops, chunks, err);
        kf_object_unref(object);
    }
    if (rc != 0)
        destroy(chunks);
    return rc;
}
