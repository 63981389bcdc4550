/*
 * Layers written by many threads at once. Each round packs the same small kit with a
 * random number of workers, in small chunks; the reader and the sink dawdle at random,
 * and in some rounds one of them fails at a random place. What is written is always the
 * same; what fails, fails with the error of whoever failed. Usage: stress_writer
 * [--rounds N] [--seed N]
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "layer/writer.h"
#include "rounds.h"

#define CHUNK ((uint32_t)64 << 10)
#define FILES 6u
#define LARGE_BYTES ((uint64_t)2 << 20)
#define PACKS 10u

struct round {
    atomic_uint random; /* a seed that all threads stir */
    atomic_uint reads, writes;
    unsigned fail_read, fail_write; /* the n-th; 0: none */
};

static void die(const char *what)
{
    (void)fprintf(stderr, "FAILED: %s\n", what); /* nobody else to tell */
    abort();
}

static unsigned draw(struct round *round)
{
    unsigned x = atomic_fetch_add(&round->random, 0x9e3779b9u);

    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    return x;
}

static void dawdle(struct round *round)
{
    for (unsigned i = draw(round) % 8; i > 0; i--)
        (void)sched_yield(); /* never fails */
}

static int read_file(void *arg, const void *source, void *data, size_t length,
                     uint64_t offset, struct kf_err *err)
{
    struct round *round = arg;
    uint8_t *to = data;
    unsigned seed = *(const unsigned *)source;

    if (atomic_fetch_add(&round->reads, 1) + 1 == round->fail_read)
        return kf_fail(err, KF_E_IO, "read");
    for (size_t i = 0; i < length; i++)
        to[i] = (uint8_t)(((offset + i) * 2654435761u + seed) >> (seed % 2 ? 13 : 3));
    dawdle(round);
    return 0;
}

static int take(void *arg, const void *data, size_t length, struct kf_err *err)
{
    struct round *round = arg;

    if (atomic_fetch_add(&round->writes, 1) + 1 == round->fail_write)
        return kf_fail(err, KF_E_IO, "write");
    dawdle(round);
    return 0;
}

static void make_kit(struct kf_pack_entry entries[FILES])
{
    static const char *const names[FILES] = {"a", "b", "c", "d", "e", "f"};
    static const unsigned seeds[FILES] = {1, 2, 3, 4, 5, 6};

    for (unsigned i = 0; i < FILES; i++)
        entries[i] =
            (struct kf_pack_entry){.name = names[i],
                                   .size = i < FILES - 2 ? i * 40000 : LARGE_BYTES + i,
                                   .source = &seeds[i]};
}

static void pack(unsigned seed, enum kf_toc_carrier carrier, struct kf_digest *expected,
                 bool *has_expected)
{
    struct kf_pack_entry entries[FILES];
    struct round round = {.random = seed};
    struct kf_pack_reader reader = {.read = read_file, .arg = &round};
    struct kf_pack_sink sink = {.write = take, .arg = &round};
    struct kf_writer_opts opts = {.carrier = carrier, .chunk_size = CHUNK, .level = 1};
    struct kf_written written = {0};
    struct kf_err err = {0};

    make_kit(entries);
    opts.threads = 1 + draw(&round) % 16;
    if (*has_expected && draw(&round) % 3 == 0)
        round.fail_read = 1 + draw(&round) % 60;
    if (*has_expected && draw(&round) % 3 == 0)
        round.fail_write = 1 + draw(&round) % 60;
    if (kf_write_layer(&written, entries, FILES, &reader, &sink, &opts, &err) != 0) {
        if (!(round.fail_read && strcmp(err.message, "read") == 0) &&
            !(round.fail_write && strcmp(err.message, "write") == 0))
            die(err.message);
        return;
    }
    if (!*has_expected)
        *expected = written.digest;
    *has_expected = true;
    if (!kf_digest_equal(expected, &written.digest))
        die("another digest");
    kf_written_fini(&written);
}

int main(int argc, char **argv)
{
    static const enum kf_toc_carrier carriers[] = {KF_CARRIER_TAR_ZSTD, KF_CARRIER_TAR};
    struct kf_digest expected[2];
    bool has_expected[2] = {false, false};
    unsigned rounds = 20, seed;

    take_rounds(argc, argv, &rounds, &seed);
    (void)printf("seed %u\n", seed);
    for (unsigned i = 0; i < rounds * PACKS; i++)
        pack(seed + i, carriers[i % 2], &expected[i % 2], &has_expected[i % 2]);
    return 0;
}
