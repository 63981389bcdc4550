/*
 * A layer under threads. Each round readers open files of one layer, few enough that they
 * meet, read ranges at once, waiting or given up, ask what is local, and put the files
 * back. Every byte read is the right one; in the end no file is open and nothing is
 * fetched any more. Every other round the layer has a TOC of chunks so small that its
 * slices are fetched when a file is first read, and that reads are made of many.
 * Usage: stress_layer [--rounds N] [--seed N]
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/workq.h"
#include "fake_source.h"
#include "fetch/queue.h"
#include "layer/frame.h"
#include "layer/layer.h"
#include "layer/toc.h"
#include "rounds.h"

#define READERS 4u
#define READS 25u
#define SMALL_FILES 6u
#define SMALL_BYTES ((size_t)300000)
#define LARGE_BYTES ((size_t)17 << 20)
#define BLOCK ((size_t)512)
#define STREAM_BYTES ((size_t)20 << 20)
#define READ_BYTES ((size_t)100000)
#define FILES (SMALL_FILES + 1u)
#define CUT 512u

struct bytes {
    uint8_t *stream;
    size_t length;
    uint64_t data[FILES], sizes[FILES]; /* where each file's data are, in order */
    uint8_t *area;                      /* the TOC's blob */
    struct kf_toc_link link;
};

struct round {
    struct kf_layer *layer;
    const uint8_t *stream;
};

struct reader {
    struct round *round;
    unsigned seed;
};

struct wait {
    struct kf_read read;
    const uint8_t *expected;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    bool given_up;
};

static void die(const char *what)
{
    (void)fprintf(stderr, "FAILED: %s\n", what); /* nobody else to tell */
    abort();
}

/* ---- the layer's bytes: small files, then a large one ---- */

static size_t add_file(uint8_t *stream, size_t at, const char *name, size_t size)
{
    char *header = (char *)stream + at;
    unsigned sum = 0;

    memset(header, 0, BLOCK);
    (void)snprintf(header, 100, "%s", name);
    (void)snprintf(header + 100, 8, "%07o", 0644u);
    (void)snprintf(header + 124, 12, "%011zo", size);
    memcpy(header + 257, "ustar\00000", 8);
    memset(header + 148, ' ', 8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += stream[at + i];
    (void)snprintf(header + 148, 7, "%06o", sum);
    return at + BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK;
}

static void make_stream(struct bytes *bytes)
{
    uint8_t *stream = bytes->stream = malloc(STREAM_BYTES);
    size_t at = 0;
    char name[16];

    if (!stream)
        die("no memory");
    for (size_t i = 0; i < STREAM_BYTES; i++)
        stream[i] = (uint8_t)(i * 13 + (i >> 9));
    for (unsigned i = 0; i < FILES; i++) {
        bool large = i == SMALL_FILES;

        (void)snprintf(name, sizeof(name), large ? "large" : "small%u", i);
        bytes->data[i] = at + BLOCK;
        bytes->sizes[i] = large ? LARGE_BYTES : SMALL_BYTES;
        at = add_file(stream, at, name, bytes->sizes[i]);
    }
    memset(stream + at, 0, 2 * BLOCK);
    bytes->length = at + 2 * BLOCK;
}

/* ---- its TOC ---- */

static uint64_t next_border(const struct bytes *bytes, uint64_t at, uint64_t end)
{
    for (unsigned i = 0; i < FILES; i++) {
        if (bytes->data[i] > at)
            return bytes->data[i];
        if (bytes->data[i] + bytes->sizes[i] > at)
            return bytes->data[i] + bytes->sizes[i];
    }
    return end;
}

static uint32_t cut_rows(const struct bytes *bytes, struct kf_chunk_row *rows)
{
    uint64_t end = bytes->length - 2 * BLOCK, at = 0;
    uint32_t count = 0;

    while (at < end) {
        struct kf_chunk_row *row = &rows[count++];

        row->length = (uint32_t)kf_min_u64(CUT, next_border(bytes, at, end) - at);
        row->stored_length = row->length;
        if (kf_digest_of(&row->digest, bytes->stream + at, row->length, NULL) != 0)
            die("no digest");
        at += row->length;
    }
    return count;
}

static void encode(struct bytes *bytes, const struct kf_chunk_row *rows, uint32_t count)
{
    struct kf_toc_file files[FILES] = {{0}};
    char names[] = "largesmall0small1small2small3small4small5";
    const struct kf_toc toc = {.carrier = KF_CARRIER_TAR,
                               .chunk_size = CUT,
                               .files = files,
                               .file_count = FILES,
                               .names = names,
                               .names_length = sizeof(names) - 1};
    struct kf_toc_link *link = &bytes->link;
    struct kf_buf root, slices;

    for (uint32_t i = 0; i < FILES; i++) { /* by name: the large one is first */
        unsigned from = (i + SMALL_FILES) % FILES;

        files[i] = (struct kf_toc_file){.offset = bytes->data[from],
                                        .size = bytes->sizes[from],
                                        .name_offset = i == 0 ? 0 : 6 * i - 1,
                                        .name_length = i == 0 ? 5 : 6,
                                        .mode = 0644};
    }
    kf_buf_init(&root, STREAM_BYTES);
    kf_buf_init(&slices, STREAM_BYTES);
    if (kf_toc_encode(&toc, rows, count, &root, &slices, NULL) != 0)
        die("no TOC");
    bytes->area = malloc(kf_frame_bound(root.length) + slices.length);
    if (!bytes->area)
        die("no memory");
    link->root_raw = root.length;
    link->root_stored = kf_frame_store(root.data, root.length, bytes->area);
    link->area_length = link->root_stored + slices.length;
    memcpy(bytes->area + link->root_stored, slices.data, slices.length);
    if (kf_digest_of(&link->root_digest, bytes->area, link->root_stored, NULL) != 0)
        die("no digest");
    kf_buf_fini(&root);
    kf_buf_fini(&slices);
}

static void make_toc(struct bytes *bytes)
{
    struct kf_chunk_row *rows =
        calloc(bytes->length / CUT + 2 * (size_t)FILES, sizeof(*rows));

    if (!rows)
        die("no memory");
    encode(bytes, rows, cut_rows(bytes, rows));
    free(rows);
    if (bytes->link.area_length <= (UINT64_C(1) << 20))
        die("its slices come with the root");
}

/* ---- readers ---- */

static void read_done(struct kf_read *read, const void *data, const struct kf_err *err)
{
    struct wait *wait = kf_container_of(read, struct wait, read);

    if (data && memcmp(data, wait->expected, read->length) != 0)
        die("wrong bytes");
    if (!data && !(wait->given_up && err->kind == KF_E_CANCELLED))
        die(err->message);
    (void)pthread_mutex_lock(&wait->lock);
    wait->done = true;
    (void)pthread_cond_signal(&wait->cond);
    (void)pthread_mutex_unlock(&wait->lock);
}

static void read_waiting(struct kf_file *file, uint64_t offset, size_t length,
                         const uint8_t *expected, bool give_up)
{
    struct wait wait = {
        .read = {.offset = offset, .length = length, .done = read_done},
        .expected = expected,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .cond = PTHREAD_COND_INITIALIZER,
        .given_up = give_up,
    };

    kf_file_read(file, &wait.read);
    if (give_up)
        kf_file_cancel(file, &wait.read);
    (void)pthread_mutex_lock(&wait.lock);
    while (!wait.done)
        (void)pthread_cond_wait(&wait.cond, &wait.lock);
    (void)pthread_mutex_unlock(&wait.lock);
}

static void read_once(struct reader *reader, uint8_t *buffer)
{
    const struct kf_table *table = kf_layer_table(reader->round->layer);
    uint32_t entry = (uint32_t)rand_r(&reader->seed) % table->count;
    const struct kf_table_entry *which = &table->entries[entry];
    struct kf_file *file = kf_layer_file(reader->round->layer, entry, NULL);
    size_t length = 1 + (size_t)rand_r(&reader->seed) % READ_BYTES;
    uint64_t offset = (uint64_t)rand_r(&reader->seed) % (which->size - length + 1);
    const uint8_t *expected = reader->round->stream + which->offset + offset;

    if (!file)
        die("a file cannot be opened");
    if (kf_file_read_now(file, buffer, length, offset) < 0)
        read_waiting(file, offset, length, expected, rand_r(&reader->seed) % 8 == 0);
    else if (memcmp(buffer, expected, length) != 0)
        die("wrong bytes at once");
    if (kf_layer_local_bytes(reader->round->layer, entry) > which->size)
        die("more is local than there is");
    kf_file_put(file);
}

static void *read_much(void *arg)
{
    uint8_t *buffer = malloc(READ_BYTES);

    if (!buffer)
        die("no memory");
    for (unsigned i = 0; i < READS; i++)
        read_once(arg, buffer);
    free(buffer);
    return NULL;
}

/* ---- rounds ---- */

static void run_round(const struct bytes *bytes, bool with_toc, unsigned seed)
{
    struct kf_workq *workq = kf_workq_new(2, NULL);
    struct kf_fake_source *fake = kf_fake_source_new(workq, bytes->stream, bytes->length);
    struct kf_fake_source *toc =
        kf_fake_source_new(workq, bytes->area, bytes->link.area_length);
    struct kf_fetch_opts opts = {.workq = workq};
    struct kf_layer_spec spec = {.source = &fake->source,
                                 .is_tar = true,
                                 .toc = with_toc ? &bytes->link : NULL,
                                 .toc_source = &toc->source,
                                 .timeout_ns = 60 * KF_NS_PER_S};
    struct round round = {.stream = bytes->stream};
    struct reader readers[READERS];
    pthread_t threads[READERS];

    if (!workq || kf_fetch_new(&spec.fetch, &opts, NULL) != 0 ||
        kf_layer_open(&round.layer, &spec, NULL) != 0)
        die("the layer cannot be opened");
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){&round, seed + i};
        if (pthread_create(&threads[i], NULL, read_much, &readers[i]) != 0)
            die("no thread");
    }
    for (unsigned i = 0; i < READERS; i++)
        (void)pthread_join(threads[i], NULL);
    if (kf_fetch_stop(spec.fetch, kf_deadline_ns(60 * KF_NS_PER_S)) != 0)
        die("fetching does not stop");
    kf_layer_close(round.layer);
    kf_fetch_free(spec.fetch);
    kf_source_close(&fake->source);
    kf_source_close(&toc->source);
    kf_workq_free(workq);
}

int main(int argc, char **argv)
{
    unsigned rounds = 20, seed;
    struct bytes bytes = {0};

    take_rounds(argc, argv, &rounds, &seed);
    (void)printf("seed %u\n", seed);
    make_stream(&bytes);
    make_toc(&bytes);
    for (unsigned i = 0; i < rounds; i++)
        run_round(&bytes, i % 2 != 0, seed + i * READERS);
    free(bytes.stream);
    free(bytes.area);
    return 0;
}
