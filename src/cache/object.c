#include "cache/object.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/cuts.h"
#include "cache/private.h"

static void free_object(struct kf_object *object)
{
    if (!object)
        return;
    if (object->store)
        (void)kf_object_check_disk(object); /* it has dropped what is lost */
    kf_pair_close(&object->files);
    if (__atomic_load_n(&object->discarded, __ATOMIC_RELAXED))
        kf_store_delete(object->store, object->spec.name);
    kf_cuts_unref(object->spec.cuts);
    free(object->regions);
    free(object);
}

KF_DEFINE_AUTO(object, struct kf_object *, free_object)

struct kf_map_shape kf_object_shape(const struct kf_object_spec *spec)
{
    return spec->cuts ? kf_map_of_cuts(spec->size, spec->cuts->count)
                      : kf_map_uniform(spec->size, spec->chunk_size);
}

static struct kf_object *new_object(const struct kf_object_spec *spec)
{
    struct kf_object *object = calloc(1, sizeof(*object));

    if (!object)
        return NULL;
    object->spec = *spec;
    if (spec->cuts)
        (void)kf_cuts_ref(spec->cuts);
    object->shape = kf_object_shape(spec);
    object->refs = 1;
    object->files.data_fd = object->files.map_fd = -1;
    return object;
}

static bool is_same(const struct kf_object *object, const struct kf_object_spec *spec,
                    const struct kf_map_shape *shape)
{
    return strcmp(object->spec.name, spec->name) == 0 &&
           object->shape.size == shape->size &&
           object->shape.chunk_size == shape->chunk_size &&
           object->shape.chunk_count == shape->chunk_count;
}

static struct kf_object *find_locked(struct kf_store *store,
                                     const struct kf_object_spec *spec)
{
    const struct kf_map_shape shape = kf_object_shape(spec);
    struct kf_object *object = store->objects;

    while (object && !is_same(object, spec, &shape))
        object = object->next;
    return object ? kf_object_ref(object) : NULL;
}

static struct kf_object *find(struct kf_store *store, const struct kf_object_spec *spec)
{
    pthread_mutex_lock(&store->lock);
    struct kf_object *object = find_locked(store, spec);
    pthread_mutex_unlock(&store->lock);
    return object;
}

/* The object, or the one that another thread opened meanwhile. */
static struct kf_object *publish(struct kf_store *store, struct kf_object *object)
{
    pthread_mutex_lock(&store->lock);
    struct kf_object *other = find_locked(store, &object->spec);

    if (!other) {
        object->store = store;
        object->next = store->objects;
        store->objects = object;
    }
    pthread_mutex_unlock(&store->lock);
    if (!other)
        return object;
    free_object(object);
    return other;
}

static int open_files(struct kf_object *object, struct kf_store *store, const char *path,
                      struct kf_err *err)
{
    const struct kf_object_spec *spec = &object->spec;
    size_t regions = (size_t)(spec->size / KF_CACHE_REGION + 1);

    object->regions = calloc(regions, 1);
    if (!object->regions)
        return kf_fail(err, KF_E_NOMEM, "no memory for object '%s'", spec->name);
    if (kf_pair_open(&object->files, store->objects_fd, path, &object->shape,
                     spec->cuts ? spec->cuts->offsets : NULL, &store->identity, err) != 0)
        return -1;
    object->charged_bytes = kf_pair_disk_bytes(&object->files);
    if (object->files.made)
        kf_space_charge(&store->space, object->charged_bytes);
    return 0;
}

static bool is_kept(struct kf_store *store, const struct kf_object_spec *spec,
                    const struct kf_map_shape *shape)
{
    return store && (!store->look_only || spec->kept_anyway ||
                     kf_store_local_bytes(store, spec->name, shape) > 0);
}

/* A cache that cannot hold an object is no reason to fail: it is served, and not kept. */
int kf_object_open(struct kf_object **ret, struct kf_store *store,
                   const struct kf_object_spec *spec, struct kf_err *err)
{
    static struct kf_log_rate rate;
    char path[KF_PAIR_PATH_SIZE];
    struct kf_err reason;
    uint32_t dropped;

    if (spec->chunk_size == 0 && !spec->cuts)
        return kf_fail(err, KF_E_ARG, "object '%s' has no chunk size", spec->name);
    const struct kf_map_shape shape = kf_object_shape(spec);

    if (kf_map_check(&shape, err) != 0 || kf_pair_path(path, spec->name, err) != 0)
        return -1;
    struct kf_object *known = store ? find(store, spec) : NULL;

    if (known) {
        *ret = known;
        return 0;
    }
    kf_auto(kf_auto_object) struct kf_object *object = new_object(spec);

    if (!object)
        return kf_fail(err, KF_E_NOMEM, "no memory for object '%s'", spec->name);
    object->near = store;
    object->stats = store ? store->stats : NULL;
    if (!is_kept(store, spec, &shape)) {
        *ret = kf_steal(object);
        return 0;
    }
    if (open_files(object, store, path, &reason) == 0) {
        *ret = publish(store, kf_steal(object));
        kf_syncer_submit(&store->syncer, *ret);
        return 0;
    }
    if (kf_log_allowed(&rate, 3, 60 * KF_NS_PER_S, &dropped))
        kf_log(KF_LOG_WARN, "cache", "event=not_kept reason=\"%s\" left_out=%u",
               reason.message, dropped);
    *ret = kf_steal(object);
    return 0;
}

struct kf_object *kf_object_ref(struct kf_object *object)
{
    __atomic_fetch_add(&object->refs, 1, __ATOMIC_RELAXED);
    return object;
}

static bool drop_ref(struct kf_object *object)
{
    return __atomic_sub_fetch(&object->refs, 1, __ATOMIC_ACQ_REL) == 0;
}

static bool drop_listed_ref(struct kf_store *store, struct kf_object *object)
{
    struct kf_object **link = &store->objects;
    bool last;

    pthread_mutex_lock(&store->lock);
    last = drop_ref(object);
    if (last) {
        while (*link != object)
            link = &(*link)->next;
        *link = object->next;
    }
    pthread_mutex_unlock(&store->lock);
    return last;
}

void kf_object_unref(struct kf_object *object)
{
    if (!object)
        return;
    if (object->store ? drop_listed_ref(object->store, object) : drop_ref(object))
        free_object(object);
}

uint64_t kf_object_size(const struct kf_object *object)
{
    return object->spec.size;
}

uint64_t kf_object_chunk_count(const struct kf_object *object)
{
    return object->shape.chunk_count;
}

uint64_t kf_object_chunk_offset(const struct kf_object *object, uint64_t chunk)
{
    const struct kf_cuts *cuts = object->spec.cuts;

    return cuts ? cuts->offsets[chunk] : chunk * object->spec.chunk_size;
}

uint32_t kf_object_chunk_length(const struct kf_object *object, uint64_t chunk)
{
    const struct kf_cuts *cuts = object->spec.cuts;

    if (cuts)
        return (uint32_t)(cuts->offsets[chunk + 1] - cuts->offsets[chunk]);
    return (uint32_t)kf_min_u64(object->spec.chunk_size,
                                object->spec.size - chunk * object->spec.chunk_size);
}

uint64_t kf_object_chunk_at(const struct kf_object *object, uint64_t offset)
{
    const struct kf_cuts *cuts = object->spec.cuts;

    return cuts ? kf_cuts_at(cuts, offset) : offset / object->spec.chunk_size;
}

bool kf_object_has(const struct kf_object *object, uint64_t chunk)
{
    return object->store && chunk < object->shape.chunk_count &&
           kf_state_is_here(kf_map_state(&object->files.map, chunk));
}

uint64_t kf_object_local_bytes(const struct kf_object *object)
{
    uint64_t count = object->shape.chunk_count, bytes = 0;

    if (!object->store || count == 0)
        return 0;
    if (object->spec.cuts) {
        for (uint64_t chunk = 0; chunk < count; chunk++)
            if (kf_object_has(object, chunk))
                bytes += kf_object_chunk_length(object, chunk);
        return bytes;
    }
    bytes = kf_map_here(&object->files.map) * object->spec.chunk_size;
    if (kf_object_has(object, count - 1))
        bytes -= object->spec.chunk_size - kf_object_chunk_length(object, count - 1);
    return kf_min_u64(bytes, object->spec.size);
}

/* Other processes change states too, so only the map knows. */
bool kf_object_complete(const struct kf_object *object)
{
    return object->store &&
           kf_map_first_absent(&object->files.map) == object->shape.chunk_count;
}

static bool is_inside(const struct kf_object *object, size_t length, uint64_t offset)
{
    return offset <= object->spec.size && length <= object->spec.size - offset;
}

ssize_t kf_object_read_now(struct kf_object *object, void *data, size_t length,
                           uint64_t offset)
{
    struct iovec iov = {.iov_base = data, .iov_len = length};

    if (!object->store || length == 0 || !is_inside(object, length, offset))
        return -1;
    uint64_t last = kf_object_chunk_at(object, offset + length - 1);

    for (uint64_t chunk = kf_object_chunk_at(object, offset); chunk <= last; chunk++)
        if (kf_map_state(&object->files.map, chunk) != KF_CHUNK_VERIFIED)
            return -1;
    ssize_t got = preadv2(object->files.data_fd, &iov, 1, (off_t)offset, RWF_NOWAIT);

    return got == (ssize_t)length ? got : -1;
}

/* Somebody may have fetched it again meanwhile: then `seen` is no longer its state. */
static int damaged(struct kf_object *object, uint64_t chunk, uint8_t seen,
                   const char *how, struct kf_err *err)
{
    static struct kf_log_rate rate;
    uint32_t dropped;

    if (kf_map_state(&object->files.map, chunk) == seen)
        kf_object_drop(object, chunk);
    kf_stats_add(object->stats, KF_STAT_CACHE_DAMAGED, 1);
    if (kf_log_allowed(&rate, 10, 60 * KF_NS_PER_S, &dropped))
        kf_log(KF_LOG_WARN, "cache",
               "event=damaged object=%s chunk=%llu how=%s left_out=%u", object->spec.name,
               (unsigned long long)chunk, how, dropped);
    return kf_fail(err, KF_E_CORRUPT, "chunk %llu of cached object '%s' is damaged",
                   (unsigned long long)chunk, object->spec.name);
}

/* Hashes the whole chunk before the first of its bytes is used. */
static int read_unverified(struct kf_object *object, uint64_t chunk, uint8_t seen,
                           void *data, size_t length, size_t skip, struct kf_err *err)
{
    uint32_t whole = kf_object_chunk_length(object, chunk);
    struct kf_digest expected, found;
    kf_auto(kf_free) uint8_t *bytes = malloc(whole);

    if (!bytes)
        return kf_fail(err, KF_E_NOMEM, "no memory to verify a cached chunk");
    kf_map_digest(&object->files.map, chunk, &expected);
    if (object->spec.cuts)
        expected = object->spec.cuts->digests[chunk];
    if (kf_pread_all(object->files.data_fd, bytes, whole,
                     kf_object_chunk_offset(object, chunk), object->spec.name, NULL) != 0)
        return damaged(object, chunk, seen, "unreadable", err);
    if (kf_digest_of(&found, bytes, whole, err) != 0)
        return -1;
    if (!kf_digest_equal(&found, &expected))
        return damaged(object, chunk, seen, "digest", err);
    (void)kf_map_change(&object->files.map, chunk, seen, KF_CHUNK_VERIFIED);
    memcpy(data, bytes + skip, length);
    return 0;
}

static int read_chunk(struct kf_object *object, uint64_t chunk, void *data, size_t length,
                      size_t skip, struct kf_err *err)
{
    uint8_t state = kf_map_state(&object->files.map, chunk);

    if (!kf_state_is_here(state))
        return kf_fail(err, KF_E_NOTFOUND, "chunk %llu of object '%s' is not cached",
                       (unsigned long long)chunk, object->spec.name);
    if (state != KF_CHUNK_VERIFIED)
        return read_unverified(object, chunk, state, data, length, skip, err);
    if (kf_pread_all(object->files.data_fd, data, length,
                     kf_object_chunk_offset(object, chunk) + skip, object->spec.name,
                     NULL) != 0)
        return damaged(object, chunk, state, "unreadable", err);
    return 0;
}

int kf_object_read(struct kf_object *object, void *data, size_t length, uint64_t offset,
                   struct kf_err *err)
{
    uint8_t *at = data;

    if (!is_inside(object, length, offset))
        return kf_fail(err, KF_E_ARG, "a read of object '%s' beyond its end",
                       object->spec.name);
    if (!object->store)
        return kf_fail(err, KF_E_NOTFOUND, "object '%s' is not cached",
                       object->spec.name);
    while (length > 0) {
        uint64_t chunk = kf_object_chunk_at(object, offset);
        size_t skip = (size_t)(offset - kf_object_chunk_offset(object, chunk));
        size_t part =
            (size_t)kf_min_u64(length, kf_object_chunk_length(object, chunk) - skip);

        if (read_chunk(object, chunk, at, part, skip, err) != 0)
            return -1;
        at += part;
        offset += part;
        length -= part;
    }
    return 0;
}

bool kf_object_put(struct kf_object *object, uint64_t chunk, struct kf_block *block,
                   const struct kf_digest *digest, struct kf_object_put *put)
{
    assert(chunk < object->shape.chunk_count);
    assert(block->length == kf_object_chunk_length(object, chunk));
    if (object->store && (!object->store->look_only || object->spec.kept_anyway)) {
        put->object = kf_object_ref(object);
        put->block = kf_block_ref(block);
        put->chunk = chunk;
        put->digest = *digest;
        if (kf_writer_submit(&object->store->writer, put))
            return true;
        kf_block_unref(block);
        kf_object_unref(object);
    }
    kf_stats_add(object->stats, KF_STAT_CACHE_SKIPPED, 1);
    return false;
}

bool kf_object_is_busy(struct kf_object *object)
{
    return object->store && kf_writer_is_busy(&object->store->writer);
}

void kf_object_drop(struct kf_object *object, uint64_t chunk)
{
    if (!object->store || chunk >= object->shape.chunk_count)
        return;
    kf_map_drop(&object->files.map, chunk);
}

void kf_object_discard(struct kf_object *object)
{
    __atomic_store_n(&object->discarded, true, __ATOMIC_RELAXED);
    for (uint64_t chunk = 0; chunk < object->shape.chunk_count; chunk++)
        if (kf_object_has(object, chunk))
            kf_object_drop(object, chunk);
}

bool kf_object_digest(struct kf_object *object, uint64_t chunk, struct kf_digest *ret)
{
    if (!kf_object_has(object, chunk))
        return false;
    kf_map_digest(&object->files.map, chunk, ret);
    return true;
}
