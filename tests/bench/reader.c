/*
 * reader: the reading side of the benchmarks.
 *
 * reader seq FILE BLOCK                 read(2) from front to end
 * reader random FILE BLOCK COUNT SEED [THREADS [STEP]]
 *                                       pread(2) at multiples of STEP (BLOCK), each once
 * reader touch FILE... THREADS          a byte of every page through shared mappings; the
 *                                       threads take pieces of 4 MiB in order
 * reader many THREADS FILE...           each file read once, whole, by a crowd of threads
 * reader lookup DIR SECONDS             stat(2) of names that are not there, each new
 * reader forget FILE...                 drops the page cache of the files
 *
 * Prints one line: bytes (or calls), seconds; lookup: calls, p50, p99 and the worst in
 * microseconds.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PIECE (UINT64_C(4) << 20)
#define PAGE 4096
#define FILE_LIMIT 65536
#define THREAD_LIMIT 256
#define SAMPLE_LIMIT (1u << 20)

static _Atomic uint64_t next_piece, total;
static volatile uint64_t sum;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int opened(const char *path, uint64_t *ret_size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0)
        die(path);
    *ret_size = (uint64_t)st.st_size;
    return fd;
}

static void *buffer_of(size_t size)
{
    void *buffer = aligned_alloc(PAGE, (size + PAGE - 1) / PAGE * PAGE);

    if (!buffer)
        die("memory");
    memset(buffer, 1, size);
    return buffer;
}

static int read_all(char **args, int count)
{
    uint64_t size;
    int fd = opened(args[0], &size);
    size_t block = count > 1 ? strtoull(args[1], NULL, 10) : 0;
    void *buffer = buffer_of(block);
    double began = now();
    ssize_t got;

    while ((got = read(fd, buffer, block)) > 0)
        total += (uint64_t)got;
    if (got < 0)
        die("read");
    printf("%" PRIu64 " %.4f\n", (uint64_t)total, now() - began);
    free(buffer);
    close(fd);
    return 0;
}

static struct {
    const uint8_t *data;
    uint64_t size, first_piece;
} maps[FILE_LIMIT];
static int map_count;
static uint64_t piece_count;

static void *touch_pieces(void *arg)
{
    uint64_t piece, mine = 0;

    (void)arg;
    while ((piece = next_piece++) < piece_count) {
        int i = 0;

        while (i + 1 < map_count && maps[i + 1].first_piece <= piece)
            i++;
        uint64_t at = (piece - maps[i].first_piece) * PIECE;
        uint64_t end = at + PIECE < maps[i].size ? at + PIECE : maps[i].size;

        for (; at < end; at += PAGE)
            mine += maps[i].data[at];
    }
    sum += mine;
    return NULL;
}

static void in_threads(unsigned count, void *(*work)(void *), void *arg)
{
    pthread_t threads[THREAD_LIMIT];

    if (count == 0 || count > THREAD_LIMIT)
        exit(2);
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, work, arg) != 0)
            die("thread");
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static struct {
    int fd;
    uint64_t block, step, count, *order;
} random_plan;

/* A permutation of all blocks by Fisher and Yates. */
static uint64_t *shuffled(uint64_t blocks, unsigned short seed)
{
    unsigned short state[3] = {seed, 2, 3};
    uint64_t *order = calloc(blocks, sizeof(*order));

    if (!order)
        die("memory");
    for (uint64_t i = 0; i < blocks; i++)
        order[i] = i;
    for (uint64_t i = blocks - 1; i > 0; i--) {
        uint64_t k = (uint64_t)nrand48(state) % (i + 1), kept = order[i];

        order[i] = order[k];
        order[k] = kept;
    }
    return order;
}

static void *read_blocks(void *arg)
{
    void *buffer = buffer_of(random_plan.block);
    uint64_t i;

    (void)arg;
    while ((i = next_piece++) < random_plan.count) {
        off_t offset = (off_t)(random_plan.order[i] * random_plan.step);

        if (pread(random_plan.fd, buffer, random_plan.block, offset) !=
            (ssize_t)random_plan.block)
            die("pread");
        total += random_plan.block;
    }
    free(buffer);
    return NULL;
}

static int read_random(char **args, int count)
{
    uint64_t size, places;
    double began;

    if (count < 4)
        return 2;
    random_plan.fd = opened(args[0], &size);
    random_plan.block = strtoull(args[1], NULL, 10);
    random_plan.count = strtoull(args[2], NULL, 10);
    random_plan.step = count > 5 ? strtoull(args[5], NULL, 10) : random_plan.block;
    places = size / random_plan.step;
    if (random_plan.count > places)
        random_plan.count = places;
    random_plan.order = shuffled(places, (unsigned short)strtoul(args[3], NULL, 10));
    began = now();
    in_threads(count > 4 ? (unsigned)strtoul(args[4], NULL, 10) : 1, read_blocks, NULL);
    printf("%" PRIu64 " %.4f\n", (uint64_t)total, now() - began);
    free(random_plan.order);
    close(random_plan.fd);
    return 0;
}

static int touch(char **args, int count)
{
    uint64_t bytes = 0;
    double began = now();

    for (int i = 0; i + 1 < count && i < FILE_LIMIT; i++) {
        uint64_t size;
        int fd = opened(args[i], &size);
        void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

        if (data == MAP_FAILED)
            die("mmap");
        maps[map_count].data = data;
        maps[map_count].size = size;
        maps[map_count++].first_piece = piece_count;
        piece_count += (size + PIECE - 1) / PIECE;
        bytes += size;
        close(fd);
    }
    in_threads((unsigned)strtoul(args[count - 1], NULL, 10), touch_pieces, NULL);
    printf("%" PRIu64 " %.4f\n", bytes, now() - began);
    return 0;
}

static char **file_names;
static uint64_t file_count;

static void *read_files(void *arg)
{
    uint8_t *buffer = buffer_of(1 << 20);
    uint64_t i;

    (void)arg;
    while ((i = next_piece++) < file_count) {
        uint64_t size;
        int fd = opened(file_names[i], &size);

        if (pread(fd, buffer, 1 << 20, 0) < 0)
            die(file_names[i]);
        total++;
        close(fd);
    }
    free(buffer);
    return NULL;
}

static int read_many(char **args, int count)
{
    double began = now();

    file_names = args + 1;
    file_count = (uint64_t)count - 1;
    in_threads((unsigned)strtoul(args[0], NULL, 10), read_files, NULL);
    printf("%" PRIu64 " %.4f\n", (uint64_t)total, now() - began);
    return 0;
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static int look_up(char **args, int count)
{
    double end = now() + (count > 1 ? strtod(args[1], NULL) : 1);
    float *samples = calloc(SAMPLE_LIMIT, sizeof(*samples));
    unsigned n = 0;

    if (!samples)
        die("memory");
    while (now() < end && n < SAMPLE_LIMIT) {
        char path[4096];
        struct stat st;
        double began;

        snprintf(path, sizeof(path), "%s/none.%d.%u", args[0], (int)getpid(), n);
        began = now();
        (void)stat(path, &st); /* not there; that it took so long is what counts */
        samples[n++] = (float)((now() - began) * 1e6);
        usleep(500);
    }
    qsort(samples, n, sizeof(*samples), ascending);
    printf("%u %.0f %.0f %.0f\n", n, (double)samples[n / 2],
           (double)samples[(uint64_t)n * 99 / 100], (double)samples[n - 1]);
    free(samples);
    return 0;
}

static int forget(char **args, int count)
{
    for (int i = 0; i < count; i++) {
        uint64_t size;
        int fd = opened(args[i], &size);

        if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
            die("fadvise");
        close(fd);
    }
    return 0;
}

static const struct {
    const char *name;
    int (*run)(char **args, int count);
} verbs[] = {
    {"seq", read_all},   {"random", read_random}, {"touch", touch},
    {"many", read_many}, {"lookup", look_up},     {"forget", forget},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 2 && i < sizeof(verbs) / sizeof(*verbs); i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argv + 2, argc - 2);
    fprintf(stderr, "usage: reader seq|random|touch|many|lookup|forget ...\n");
    return 2;
}
