#include "layer/writer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/frame.h"
#include "layer/le.h"
#include "layer/seektab.h"
#include "layer/tar_encode.h"
#include "layer/toc_build.h"

#define THREAD_LIMIT 16u
#define SLOTS_A_WORKER 3u
#define SLOTS_MIN 4u
#define SLOTS_BYTES (UINT64_C(512) << 20)
#define TOC_MAGIC UINT32_C(0x184D2A5A)
#define SEEKTAB_LIMIT ((size_t)2 << 30)
#define WEIGHTS_LEVEL 1
#define ZEROS_FRAME_BOUND 2048u

enum slot_state { SLOT_FREE, SLOT_BUSY, SLOT_READY };

/* A chunk on its way: taken by a worker, free again when all consumers have had it. Chunk
 * n uses slot n modulo their count. State, chunk and uses are guarded by the lock; the
 * rest belongs to the worker while BUSY, and is read by the consumers while READY. */
struct slot {
    enum slot_state state;
    uint32_t chunk; /* which one is READY */
    unsigned uses;  /* consumers still to come */
    uint8_t *raw, *stored;
    size_t raw_length, stored_length;
    const uint8_t *out; /* what goes into the blob: raw or stored */
};

struct writer {
    const struct kf_pack_stream *stream;
    const struct kf_pack_reader *reader;
    const struct kf_pack_sink *sink;
    const struct kf_writer_opts *opts;
    struct kf_chunk_row *rows;

    struct slot *slots;
    uint32_t slot_count;

    pthread_mutex_t lock; /* guards the following, and the state of slots */
    pthread_cond_t room;  /* a slot is free: for one worker */
    pthread_cond_t ready; /* a slot is ready: for the consumers */
    uint32_t next;        /* chunk for the next worker */
    uint32_t stored_chunks;
    bool failed;
    struct kf_err error; /* the first one */

    struct kf_hasher *blob; /* the blob's thread; the caller's when that has ended */
    uint64_t blob_size;
    struct kf_hasher *diff; /* the same, of the diff's; NULL: the blob is the stream */
};

static bool compressed(const struct writer *w)
{
    return w->opts->carrier == KF_CARRIER_TAR_ZSTD;
}

static void fail(struct writer *w, const struct kf_err *err)
{
    (void)pthread_mutex_lock(&w->lock);
    if (!w->failed) {
        w->failed = true;
        w->error = *err;
    }
    (void)pthread_cond_broadcast(&w->room);
    (void)pthread_cond_broadcast(&w->ready);
    (void)pthread_mutex_unlock(&w->lock);
}

/* --- workers --- */

static bool must_wait(const struct writer *w)
{
    return !w->failed && w->next < w->stream->chunk_count &&
           w->slots[w->next % w->slot_count].state != SLOT_FREE;
}

/* The next chunk and its slot; NULL when all are taken or something failed. A chunk is
 * taken only when its slot is free: taken before, another worker could be faster and
 * fill the slot with a later chunk, for which nobody would ever come. */
static struct slot *claim(struct writer *w, uint32_t *ret_chunk)
{
    struct slot *slot = NULL;

    (void)pthread_mutex_lock(&w->lock);
    while (must_wait(w))
        (void)pthread_cond_wait(&w->room, &w->lock);
    if (!w->failed && w->next < w->stream->chunk_count) {
        *ret_chunk = w->next++;
        slot = &w->slots[*ret_chunk % w->slot_count];
        slot->state = SLOT_BUSY;
        if (w->next == w->stream->chunk_count)
            (void)pthread_cond_broadcast(&w->room); /* the others may go */
    }
    (void)pthread_mutex_unlock(&w->lock);
    return slot;
}

static int level_of(const struct writer *w, uint32_t chunk)
{
    if (!kf_pack_stream_is_weights(w->stream, chunk))
        return w->opts->level;
    return w->opts->weights_level ? w->opts->weights_level : WEIGHTS_LEVEL;
}

static int fill_slot(struct writer *w, struct kf_frame_encoder *encoder,
                     struct slot *slot, uint32_t chunk, int *ret_stored,
                     struct kf_err *err)
{
    const struct kf_pack_chunk *place = &w->stream->chunks[chunk];
    struct kf_chunk_row *row = &w->rows[chunk];

    slot->raw_length = place->length;
    if (kf_pack_stream_read(w->stream, w->reader, slot->raw, place->length, place->offset,
                            err) != 0 ||
        kf_digest_of(&row->digest, slot->raw, slot->raw_length, err) != 0)
        return -1;
    row->length = place->length;
    *ret_stored = 1;
    slot->out = slot->raw;
    slot->stored_length = slot->raw_length;
    if (compressed(w)) {
        if (kf_frame_encode(encoder, slot->raw, slot->raw_length, level_of(w, chunk),
                            slot->stored, &slot->stored_length, ret_stored, err) != 0)
            return -1;
        slot->out = slot->stored;
    }
    row->stored_length = (uint32_t)slot->stored_length;
    return 0;
}

static void *work(void *arg)
{
    struct writer *w = arg;
    struct kf_err err = {0};
    struct kf_frame_encoder *encoder = kf_frame_encoder_new(&err);
    struct slot *slot;
    uint32_t chunk;
    int stored;

    if (!encoder)
        fail(w, &err);
    while (encoder && (slot = claim(w, &chunk))) {
        if (fill_slot(w, encoder, slot, chunk, &stored, &err) != 0) {
            fail(w, &err);
            break;
        }
        (void)pthread_mutex_lock(&w->lock);
        w->stored_chunks += (uint32_t)stored;
        slot->uses = w->diff ? 2 : 1;
        slot->chunk = chunk;
        slot->state = SLOT_READY;
        (void)pthread_cond_broadcast(&w->ready);
        (void)pthread_mutex_unlock(&w->lock);
    }
    kf_frame_encoder_free(encoder);
    return NULL;
}

/* --- the two that go in order --- */

static struct slot *await(struct writer *w, uint32_t chunk)
{
    struct slot *slot = &w->slots[chunk % w->slot_count];

    (void)pthread_mutex_lock(&w->lock);
    /* A slot may still hold the chunk of a ring ago, for the other consumer. */
    while ((slot->state != SLOT_READY || slot->chunk != chunk) && !w->failed)
        (void)pthread_cond_wait(&w->ready, &w->lock);
    if (w->failed)
        slot = NULL;
    (void)pthread_mutex_unlock(&w->lock);
    return slot;
}

static void release(struct writer *w, struct slot *slot)
{
    (void)pthread_mutex_lock(&w->lock);
    if (--slot->uses == 0) {
        slot->state = SLOT_FREE;
        (void)pthread_cond_signal(&w->room);
    }
    (void)pthread_mutex_unlock(&w->lock);
}

static int put(struct writer *w, const void *data, size_t length, struct kf_err *err)
{
    if (kf_hasher_update(w->blob, data, length, err) != 0 ||
        w->sink->write(w->sink->arg, data, length, err) != 0)
        return -1;
    w->blob_size += length;
    return 0;
}

static int blob_chunk(struct writer *w, struct slot *slot, struct kf_err *err)
{
    if (put(w, slot->out, slot->stored_length, err) != 0)
        return -1;
    if (w->opts->progress)
        w->opts->progress(w->opts->progress_arg, slot->raw_length);
    return 0;
}

static int diff_chunk(struct writer *w, struct slot *slot, struct kf_err *err)
{
    return kf_hasher_update(w->diff, slot->raw, slot->raw_length, err);
}

static void consume(struct writer *w,
                    int (*take)(struct writer *, struct slot *, struct kf_err *))
{
    struct kf_err err = {0};

    for (uint32_t chunk = 0; chunk < w->stream->chunk_count; chunk++) {
        struct slot *slot = await(w, chunk);

        if (!slot)
            return;
        if (take(w, slot, &err) != 0) {
            fail(w, &err);
            return;
        }
        release(w, slot);
    }
}

static void *blob_main(void *arg)
{
    consume(arg, blob_chunk);
    return NULL;
}

static void *diff_main(void *arg)
{
    consume(arg, diff_chunk);
    return NULL;
}

/* --- threads --- */

static unsigned worker_count(const struct writer *w)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t count = w->opts->threads;

    if (count == 0)
        count = processors > 0 ? (uint64_t)processors : 1;
    return (unsigned)kf_min_u64(kf_min_u64(count, THREAD_LIMIT), w->stream->chunk_count);
}

static int make_slots(struct writer *w, unsigned workers, struct kf_err *err)
{
    size_t size = w->opts->chunk_size;
    uint64_t affordable = kf_max_u64(SLOTS_BYTES / (2 * size), SLOTS_MIN);
    uint32_t count = (uint32_t)kf_min_u64((uint64_t)workers * SLOTS_A_WORKER, affordable);

    w->slots = calloc(count, sizeof(*w->slots));
    if (!w->slots)
        return kf_fail(err, KF_E_NOMEM, "no memory for packing");
    w->slot_count = count;
    for (uint32_t i = 0; i < count; i++) {

        w->slots[i].raw = malloc(size);
        w->slots[i].stored = compressed(w) ? malloc(kf_frame_bound(size)) : NULL;
        if (!w->slots[i].raw || (compressed(w) && !w->slots[i].stored))
            return kf_fail(err, KF_E_NOMEM, "no memory for packing");
    }
    return 0;
}

static void free_slots(struct writer *w)
{
    for (uint32_t i = 0; i < w->slot_count; i++) {
        free(w->slots[i].raw);
        free(w->slots[i].stored);
    }
    free(w->slots);
}

static int run_threads(struct writer *w, unsigned workers, struct kf_err *err)
{
    void *(*mains[THREAD_LIMIT + 2])(void *);
    pthread_t threads[THREAD_LIMIT + 2];
    unsigned count = 0, started = 0;
    struct kf_err thread_err;

    mains[count++] = blob_main;
    if (w->diff)
        mains[count++] = diff_main;
    while (workers-- > 0)
        mains[count++] = work;
    for (; started < count; started++) {
        if (pthread_create(&threads[started], NULL, mains[started], w) != 0) {
            (void)kf_fail(&thread_err, KF_E_NOMEM, "cannot start threads to pack");
            fail(w, &thread_err);
            break;
        }
    }
    for (unsigned i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL); /* ours, joinable */
    if (!w->failed)
        return 0;
    if (err)
        *err = w->error;
    return -1;
}

/* --- what follows the chunks --- */

static int put_toc_frame(struct writer *w, const struct kf_buf *area, struct kf_err *err)
{
    uint8_t header[8];

    kf_put_le32(header, TOC_MAGIC);
    kf_put_le32(header + 4, (uint32_t)area->length);
    if (put(w, header, sizeof(header), err) != 0)
        return -1;
    return put(w, area->data, area->length, err);
}

static int put_end_mark(struct writer *w, uint32_t *ret_stored, struct kf_err *err)
{
    static const uint8_t zeros[KF_TAR_END_SIZE];
    uint8_t frame[ZEROS_FRAME_BOUND];
    struct kf_frame_encoder *encoder;
    size_t length;
    int stored, rc;

    if (!compressed(w))
        return put(w, zeros, sizeof(zeros), err);
    if (kf_hasher_update(w->diff, zeros, sizeof(zeros), err) != 0)
        return -1;
    encoder = kf_frame_encoder_new(err);
    if (!encoder)
        return -1;
    rc = kf_frame_encode(encoder, zeros, sizeof(zeros), WEIGHTS_LEVEL, frame, &length,
                         &stored, err);
    kf_frame_encoder_free(encoder);
    *ret_stored = (uint32_t)length;
    return rc == 0 ? put(w, frame, length, err) : -1;
}

static int put_seek_table(struct writer *w, const struct kf_buf *area,
                          uint32_t end_stored, struct kf_err *err)
{
    uint32_t count = w->stream->chunk_count, used = 0;
    kf_auto(kf_free) struct kf_seek_entry *entries =
        calloc((size_t)count + 2, sizeof(*entries));
    struct kf_buf table;
    int rc;

    if (!entries)
        return kf_fail(err, KF_E_NOMEM, "no memory for a seek table");
    for (; used < count; used++)
        entries[used] =
            (struct kf_seek_entry){w->rows[used].stored_length, w->rows[used].length};
    if (area->length > 0)
        entries[used++] = (struct kf_seek_entry){(uint32_t)area->length + 8, 0};
    entries[used++] = (struct kf_seek_entry){end_stored, KF_TAR_END_SIZE};
    kf_buf_init(&table, SEEKTAB_LIMIT);
    rc = kf_seektab_encode(entries, used, &table, err);
    if (rc == 0)
        rc = put(w, table.data, table.length, err);
    kf_buf_fini(&table);
    return rc;
}

/* The tail of each carrier; in zstd the TOC comes before the end mark, so that all but
 * the seek table has been read where a tar reader stops. */
static int finish_blob(struct writer *w, struct kf_written *written, struct kf_buf *area,
                       struct kf_err *err)
{
    const struct kf_writer_opts *opts = w->opts;
    uint64_t chunks_stored = w->blob_size;
    uint32_t end_stored = 0;

    if (!opts->no_toc) {
        if (kf_toc_build(&written->link, w->stream, w->rows, opts->carrier,
                         opts->chunk_size, area, err) != 0)
            return -1;
        written->has_toc = true;
        written->link.embedded = compressed(w);
        written->link.area_offset = compressed(w) ? chunks_stored + 8 : 0;
    }
    if (compressed(w) && area->length > 0 && put_toc_frame(w, area, err) != 0)
        return -1;
    if (!w->stream->raw && put_end_mark(w, &end_stored, err) != 0)
        return -1;
    if (compressed(w) && !opts->no_seek_table &&
        put_seek_table(w, area, end_stored, err) != 0)
        return -1;
    return 0;
}

static int finish(struct writer *w, struct kf_written *written, struct kf_err *err)
{
    struct kf_buf *area = calloc(1, sizeof(*area));
    int rc;

    if (!area)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    kf_buf_init(area, kf_toc_limits.area_bytes);
    rc = finish_blob(w, written, area, err);
    if (rc == 0)
        rc = kf_hasher_finish(w->blob, &written->digest, err);
    written->diff_id = written->digest;
    if (rc == 0 && w->diff)
        rc = kf_hasher_finish(w->diff, &written->diff_id, err);
    written->size = w->blob_size;
    written->stream_size = w->stream->length + (w->stream->raw ? 0 : KF_TAR_END_SIZE);
    written->chunk_count = w->stream->chunk_count;
    written->stored_chunks = w->stored_chunks;
    if (rc == 0 && written->has_toc && !compressed(w)) {
        written->area = area;
        return 0;
    }
    kf_buf_fini(area);
    free(area);
    return rc;
}

static int write_stream(struct writer *w, struct kf_written *written, struct kf_err *err)
{
    unsigned workers = worker_count(w);

    w->rows = calloc((size_t)w->stream->chunk_count + 1, sizeof(*w->rows));
    if (!w->rows)
        return kf_fail(err, KF_E_NOMEM, "no memory for packing");
    w->blob = kf_hasher_new(err);
    if (!w->blob || (compressed(w) && !(w->diff = kf_hasher_new(err))))
        return -1;
    if (workers > 0 &&
        (make_slots(w, workers, err) != 0 || run_threads(w, workers, err) != 0))
        return -1;
    return finish(w, written, err);
}

int kf_write_layer(struct kf_written *ret, const struct kf_pack_entry *entries,
                   uint32_t entry_count, const struct kf_pack_reader *reader,
                   const struct kf_pack_sink *sink, const struct kf_writer_opts *opts,
                   struct kf_err *err)
{
    struct kf_pack_stream stream;
    struct kf_written written = {0};
    struct writer w = {.stream = &stream,
                       .reader = reader,
                       .sink = sink,
                       .opts = opts,
                       .lock = PTHREAD_MUTEX_INITIALIZER,
                       .room = PTHREAD_COND_INITIALIZER,
                       .ready = PTHREAD_COND_INITIALIZER};
    int rc;

    if (kf_pack_stream_init(&stream, entries, entry_count, opts->chunk_size,
                            opts->carrier == KF_CARRIER_TAR,
                            opts->carrier == KF_CARRIER_RAW, err) != 0)
        return -1;
    rc = write_stream(&w, &written, err);
    free_slots(&w);
    free(w.rows);
    kf_hasher_free(w.blob);
    kf_hasher_free(w.diff);
    kf_pack_stream_fini(&stream);
    if (rc == 0)
        *ret = written;
    return rc;
}

void kf_written_fini(struct kf_written *written)
{
    if (written->area) {
        kf_buf_fini(written->area);
        free(written->area);
    }
    memset(written, 0, sizeof(*written));
}
