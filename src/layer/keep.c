#include "layer/keep.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/block.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/object.h"
#include "cache/spool.h"
#include "cache/store.h"
#include "layer/layer.h"
#include "layer/slot.h"
#include "layer/table.h"

#define CHUNK KF_PLAIN_CHUNK
#define ON_THEIR_WAY 12u /* chunks to the disk */
#define DROP_TRIES 100u
#define PATIENCE_NS (200 * KF_NS_PER_MS)
#define WORD_BITS 64

/* A chunk on its way. */
struct sent {
    struct kf_object_put put;
    struct kf_keep *keep;
};

struct kf_keep {
    struct kf_store *store;
    const struct kf_digest *name;
    const struct kf_table *table;
    struct kf_budget budget;
    uint32_t entry; /* the first one that has not passed */

    /* The large file that passes. */
    struct kf_object *object; /* NULL: none, or it cannot be kept */
    struct kf_block *block;   /* of its chunk; NULL: none has begun */
    size_t filled;

    /* The stream's chunk that passes, and those in the spool. */
    struct kf_spool *spool; /* NULL: not kept */
    uint8_t *chunk;
    bool wanted;       /* a small file is in it */
    uint64_t *spooled; /* a bit a chunk */
    size_t words;

    uint64_t lost; /* chunks that the cache did not take */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned on_their_way; /* lock */
};

/* ---- to the cache ---- */

static void written(struct kf_object_put *put)
{
    struct sent *sent = kf_container_of(put, struct sent, put);
    struct kf_keep *keep = sent->keep;

    free(sent);
    (void)pthread_mutex_lock(&keep->lock);
    keep->on_their_way--;
    (void)pthread_cond_signal(&keep->cond);
    (void)pthread_mutex_unlock(&keep->lock);
}

/* Until at most `left` chunks are on their way. The writer waits for neighbours of some;
 * when it takes long these are none that come. */
static void wait_for_writer(struct kf_keep *keep, unsigned left)
{
    (void)pthread_mutex_lock(&keep->lock);
    while (keep->on_their_way > left) { /* the writer ends each */
        if (kf_cond_wait_until(&keep->cond, &keep->lock, kf_deadline_ns(PATIENCE_NS)) !=
            0)
            kf_store_hurry(keep->store);
    }
    (void)pthread_mutex_unlock(&keep->lock);
}

static bool put(struct kf_keep *keep, struct kf_object *object, uint64_t chunk,
                struct kf_block *block, const struct kf_digest *digest)
{
    struct sent *sent = calloc(1, sizeof(*sent));

    if (!sent)
        return false;
    sent->keep = keep;
    sent->put.done = written;
    (void)pthread_mutex_lock(&keep->lock);
    keep->on_their_way++;
    (void)pthread_mutex_unlock(&keep->lock);
    if (kf_object_put(object, chunk, block, digest, &sent->put))
        return true;
    written(&sent->put);
    return false;
}

/* A chunk that is there already may be of a stream that was never seen to its end: it
 * stays only when it is the same. */
static int send(struct kf_keep *keep, struct kf_object *object, uint64_t chunk,
                struct kf_block *block, struct kf_err *err)
{
    struct kf_digest digest, known;

    if (kf_digest_of(&digest, block->data, block->length, err) != 0)
        return -1;
    if (kf_object_digest(object, chunk, &known)) {
        if (kf_digest_equal(&digest, &known))
            return 0;
        kf_object_drop(object, chunk);
    }
    wait_for_writer(keep, ON_THEIR_WAY - 1);
    if (put(keep, object, chunk, block, &digest))
        return 0;
    wait_for_writer(keep, 0); /* its queue may have been full */
    if (!put(keep, object, chunk, block, &digest))
        keep->lost++;
    return 0;
}

static struct kf_object *open_object(const struct kf_keep *keep,
                                     const struct kf_table_entry *entry, uint64_t size)
{
    struct kf_object_spec spec = {.size = size, .chunk_size = CHUNK, .kept_anyway = true};
    struct kf_object *object = NULL;

    kf_plain_object_name(keep->name, entry, spec.name);
    (void)kf_object_open(&object, keep->store, &spec, NULL); /* NULL: not kept */
    return object;
}

/* ---- a large file ---- */

static void end_large(struct kf_keep *keep)
{
    kf_block_unref(keep->block);
    keep->block = NULL;
    kf_object_unref(keep->object);
    keep->object = NULL;
}

static int take_large(struct kf_keep *keep, const struct kf_table_entry *entry,
                      uint64_t offset, const uint8_t *data, size_t length,
                      struct kf_err *err)
{
    if (offset == entry->offset)
        keep->object = open_object(keep, entry, entry->size);
    while (length > 0 && keep->object) {
        uint64_t chunk = (offset - entry->offset) / CHUNK;
        size_t part;

        if (!keep->block) {
            keep->block = kf_block_new(&keep->budget,
                                       kf_object_chunk_length(keep->object, chunk), true);
            keep->filled = 0;
        }
        if (!keep->block)
            return kf_fail(err, KF_E_NOMEM, "no memory for a chunk");
        part = (size_t)kf_min_u64(length, keep->block->length - keep->filled);
        memcpy(keep->block->data + keep->filled, data, part);
        keep->filled += part;
        offset += part;
        data += part;
        length -= part;
        if (keep->filled < keep->block->length)
            break;
        if (send(keep, keep->object, chunk, keep->block, err) != 0)
            return -1;
        kf_block_unref(kf_steal(keep->block));
    }
    if (offset == entry->offset + entry->size)
        end_large(keep);
    return 0;
}

/* ---- the rest ---- */

static void lose_spool(struct kf_keep *keep, const struct kf_err *why)
{
    kf_log(KF_LOG_WARN, "layer", "event=stream_not_kept why=\"%s\"", why->message);
    kf_spool_close(keep->spool);
    keep->spool = NULL;
}

static int note_spooled(struct kf_keep *keep, uint64_t chunk, struct kf_err *err)
{
    size_t word = (size_t)(chunk / WORD_BITS);

    if (word >= keep->words) {
        size_t words = word + word / 2 + 64;
        uint64_t *grown = realloc(keep->spooled, words * sizeof(*grown));

        if (!grown)
            return kf_fail(err, KF_E_NOMEM, "no memory to keep a stream");
        memset(grown + keep->words, 0, (words - keep->words) * sizeof(*grown));
        keep->spooled = grown;
        keep->words = words;
    }
    keep->spooled[word] |= UINT64_C(1) << (chunk % WORD_BITS);
    return 0;
}

static bool is_spooled(const struct kf_keep *keep, uint64_t chunk)
{
    size_t word = (size_t)(chunk / WORD_BITS);

    return word < keep->words && (keep->spooled[word] >> (chunk % WORD_BITS) & 1);
}

/* The chunk has passed, or the stream has, in the middle of it. */
static int end_chunk(struct kf_keep *keep, uint64_t chunk, size_t length,
                     struct kf_err *err)
{
    struct kf_err why;

    if (!keep->wanted || !keep->spool)
        return 0;
    keep->wanted = false;
    if (kf_spool_write(keep->spool, keep->chunk, length, chunk * CHUNK, &why) != 0) {
        lose_spool(keep, &why);
        return 0;
    }
    return note_spooled(keep, chunk, err);
}

/* Headers and large files are gathered, too: a chunk is whole, whatever is in it. */
static int take_rest(struct kf_keep *keep, uint64_t offset, const uint8_t *data,
                     size_t length, bool wanted, struct kf_err *err)
{
    while (length > 0) {
        size_t at = (size_t)(offset % CHUNK);
        size_t part = (size_t)kf_min_u64(length, CHUNK - at);

        memcpy(keep->chunk + at, data, part);
        keep->wanted |= wanted;
        offset += part;
        data += part;
        length -= part;
        if (at + part == CHUNK && end_chunk(keep, offset / CHUNK - 1, CHUNK, err) != 0)
            return -1;
    }
    return 0;
}

/* ---- the stream ---- */

static bool has_passed(const struct kf_table_entry *entry, uint64_t offset)
{
    return entry->size == 0 || offset - entry->offset >= entry->size;
}

/* The file that the bytes from `offset` on are of, or NULL; and how many they are. */
static const struct kf_table_entry *find(struct kf_keep *keep, uint64_t offset,
                                         size_t length, size_t *ret_length)
{
    const struct kf_table_entry *entry;

    *ret_length = length;
    while (keep->entry < keep->table->count) {
        entry = &keep->table->entries[keep->entry];
        if (entry->offset > offset) {
            *ret_length = (size_t)kf_min_u64(length, entry->offset - offset);
            return NULL;
        }
        if (!has_passed(entry, offset)) {
            *ret_length =
                (size_t)kf_min_u64(length, entry->size - (offset - entry->offset));
            return entry;
        }
        keep->entry++;
    }
    return NULL;
}

int kf_keep_take(struct kf_keep *keep, uint64_t offset, const uint8_t *data,
                 size_t length, struct kf_err *err)
{
    if (!keep->table)
        return take_rest(keep, offset, data, length, true, err);
    while (length > 0) {
        size_t part;
        const struct kf_table_entry *entry = find(keep, offset, length, &part);
        bool large = entry && entry->size >= KF_LARGE_FILE;

        if (large && take_large(keep, entry, offset, data, part, err) != 0)
            return -1;
        if (take_rest(keep, offset, data, part, entry && !large, err) != 0)
            return -1;
        offset += part;
        data += part;
        length -= part;
    }
    return 0;
}

struct kf_keep *kf_keep_new(struct kf_store *store, const struct kf_digest *name,
                            const struct kf_table *table, struct kf_err *err)
{
    struct kf_keep *keep = calloc(1, sizeof(*keep));
    uint8_t *chunk = malloc(CHUNK);
    struct kf_err why;

    if (!keep || !chunk || kf_cond_init(&keep->cond) != 0) {
        free(keep);
        free(chunk);
        (void)kf_fail(err, KF_E_NOMEM, "no memory to keep a stream"); /* NULL says it */
        return NULL;
    }
    (void)pthread_mutex_init(&keep->lock, NULL); /* cannot fail without attributes */
    keep->store = store;
    keep->name = name;
    keep->table = table;
    keep->chunk = chunk;
    kf_budget_init(&keep->budget, UINT64_MAX, NULL, NULL);
    if (kf_spool_open(&keep->spool, store, &why) != 0)
        lose_spool(keep, &why);
    return keep;
}

void kf_keep_free(struct kf_keep *keep)
{
    if (!keep)
        return;
    end_large(keep);
    wait_for_writer(keep, 0); /* it uses our memory */
    kf_spool_close(keep->spool);
    free(keep->spooled);
    free(keep->chunk);
    (void)pthread_cond_destroy(&keep->cond);  /* nobody waits */
    (void)pthread_mutex_destroy(&keep->lock); /* nobody holds it */
    free(keep);
}

static int send_spooled(struct kf_keep *keep, struct kf_object *object, uint64_t chunk,
                        struct kf_err *err)
{
    uint32_t length = kf_object_chunk_length(object, chunk);
    struct kf_block *block = kf_block_new(&keep->budget, length, true);
    struct kf_err why;
    int rc = 0;

    if (!block)
        return kf_fail(err, KF_E_NOMEM, "no memory for a chunk");
    if (kf_spool_take(keep->spool, block->data, length, chunk * CHUNK, &why) != 0)
        lose_spool(keep, &why);
    else
        rc = send(keep, object, chunk, block, err);
    kf_block_unref(block);
    return rc;
}

int kf_keep_settle(struct kf_keep *keep, uint64_t stream_size, struct kf_err *err)
{
    static const struct kf_table_entry all = {.offset = 0};
    bool large = !keep->table && stream_size >= KF_LARGE_FILE;
    struct kf_object *object;
    int rc = 0;

    if (stream_size % CHUNK != 0 &&
        end_chunk(keep, stream_size / CHUNK, (size_t)(stream_size % CHUNK), err) != 0)
        return -1;
    object = stream_size > 0 && keep->words > 0
                 ? open_object(keep, large ? &all : NULL, stream_size)
                 : NULL;
    for (uint64_t chunk = 0;
         rc == 0 && object && keep->spool && chunk < kf_object_chunk_count(object);
         chunk++)
        if (is_spooled(keep, chunk))
            rc = send_spooled(keep, object, chunk, err);
    kf_store_hurry(keep->store);
    wait_for_writer(keep, 0);
    kf_object_unref(object);
    if (keep->lost > 0)
        kf_log(KF_LOG_WARN, "layer", "event=stream_not_kept chunks=%llu",
               (unsigned long long)keep->lost);
    return rc;
}

/* Somebody may have it open: then its bytes are forgotten, and its room is not. */
static void drop_large(struct kf_keep *keep, const struct kf_table_entry *entry)
{
    struct kf_object *object = open_object(keep, entry, entry->size);
    char name[KF_OBJECT_NAME_SIZE];

    for (uint64_t chunk = 0; object && chunk < kf_object_chunk_count(object); chunk++)
        kf_object_drop(object, chunk);
    kf_object_unref(object);
    kf_plain_object_name(keep->name, entry, name);
    for (unsigned i = 0; i < DROP_TRIES && !kf_store_remove(keep->store, name); i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 10 * KF_NS_PER_MS},
                        NULL); /* shorter is fine */
}

void kf_keep_drop(struct kf_keep *keep)
{
    end_large(keep);
    wait_for_writer(keep, 0);
    for (uint32_t i = 0; keep->table && i < keep->table->count && i <= keep->entry; i++)
        if (keep->table->entries[i].size >= KF_LARGE_FILE)
            drop_large(keep, &keep->table->entries[i]);
}
