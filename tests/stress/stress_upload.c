/*
 * Uploads of all sizes from several threads over one network thread, to a server on
 * loopback that now and then refuses a stream or hangs up: what arrives whole is right,
 * what does not is said, and nobody waits for ever.
 */
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/mem.h"
#include "oci/dest.h"

#define WRITERS 4u
#define PERIOD 4093u /* of the content; no boundary of anything */
#define PIECE_LIMIT (300u << 10)
#define SIZE_LIMIT (14u << 20)

static uint8_t content[PERIOD + PIECE_LIMIT];
static uint64_t seed;
static unsigned whole, broken, given_up; /* atomic */

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            (void)fprintf(stderr, "line %d: %s, seed %llu\n", __LINE__, #condition, \
                          (unsigned long long)seed);                                \
            abort();                                                                \
        }                                                                           \
    } while (0)

static uint32_t draw(uint64_t *state, uint32_t limit)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % limit;
}

/* ---- the server ---- */

struct request {
    char method[16];
    size_t length;
    bool chunked;
};

static bool read_head(FILE *in, struct request *ret)
{
    char line[4096];

    *ret = (struct request){0};
    if (!fgets(line, sizeof(line), in) || sscanf(line, "%15s", ret->method) != 1)
        return false;
    while (fgets(line, sizeof(line), in) && strcmp(line, "\r\n") != 0) {
        (void)sscanf(line, "Content-Length: %zu", &ret->length); /* or another line */
        ret->chunked = ret->chunked || strstr(line, "chunked");
    }
    return true;
}

/* So many bytes of the content from `at` on. */
static bool read_span(FILE *in, size_t at, size_t length)
{
    static __thread uint8_t piece[PIECE_LIMIT];

    while (length > 0) {
        size_t take = length < sizeof(piece) ? length : sizeof(piece);

        if (fread(piece, 1, take, in) != take)
            return false;
        CHECK(memcmp(piece, content + at % PERIOD, take) == 0);
        at += take;
        length -= take;
    }
    return true;
}

/* Reads a chunked body; ends it early, with false, behind `limit` bytes. */
static bool read_chunks(FILE *in, size_t limit)
{
    char line[64];
    size_t at = 0, length;

    while (fgets(line, sizeof(line), in) && sscanf(line, "%zx", &length) == 1) {
        if (!read_span(in, at, length) || !fgets(line, sizeof(line), in))
            return false;
        if (length == 0)
            return true;
        at += length;
        if (at > limit)
            return false;
    }
    return false;
}

static bool answer(FILE *in, FILE *out, const struct request *request, uint64_t *state)
{
    static const struct {
        const char *method, *head;
    } rows[] = {{"HEAD", "404 N"},
                {"POST", "202 A\r\nLocation: /u"},
                {"PATCH", "202 A"},
                {"PUT", "201 C"},
                {"DELETE", "202 D"}};
    bool fails = draw(state, 4) == 0, refused = draw(state, 2) == 0;
    size_t limit = fails ? draw(state, SIZE_LIMIT / 2) : SIZE_MAX;

    if (request->chunked && !read_chunks(in, limit)) {
        if (refused)
            (void)fputs("HTTP/1.1 503 U\r\nContent-Length: 0\r\n\r\n", out);
        return false;
    }
    if (!request->chunked && !read_span(in, 0, request->length))
        return false;
    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].method, request->method) == 0)
            (void)fprintf(out, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", rows[i].head);
    return fflush(out) == 0;
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    struct request request;
    uint64_t state = seed + (uint64_t)fd;

    CHECK(in && out);
    while (read_head(in, &request) && answer(in, out, &request, &state))
        ;
    (void)fclose(out);
    (void)fclose(in);
    return NULL;
}

static void *accept_all(void *arg)
{
    int listener = (int)(intptr_t)arg, fd;

    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        pthread_t thread;

        CHECK(pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) == 0);
        CHECK(pthread_detach(thread) == 0);
    }
    return NULL;
}

static unsigned start_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    pthread_t thread;

    CHECK(bind(listener, (struct sockaddr *)&address, length) == 0);
    CHECK(listen(listener, 64) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    CHECK(pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)listener) == 0);
    return ntohs(address.sin_port);
}

/* ---- the writers ---- */

struct writer {
    pthread_t thread;
    struct kf_dest *dest;
    uint64_t state;
};

/* False when the stream broke. */
static bool write_all(struct kf_dest_blob *blob, size_t size, uint64_t *state)
{
    struct kf_err err = {0};

    for (size_t at = 0; at < size;) {
        size_t take = 1 + draw(state, PIECE_LIMIT);

        if (take > size - at)
            take = size - at;
        if (kf_dest_write(blob, content + at % PERIOD, take, &err) != 0) {
            CHECK(err.kind == KF_E_UNREACHABLE);
            return false;
        }
        at += take;
    }
    return true;
}

static void *write_one(void *arg)
{
    struct writer *writer = arg;
    size_t size = draw(&writer->state, SIZE_LIMIT);
    struct kf_dest_blob *blob = kf_dest_begin(writer->dest, NULL);
    struct kf_digest digest;

    CHECK(blob && kf_digest_of(&digest, "", 0, NULL) == 0); /* the server does not ask */
    if (!write_all(blob, size, &writer->state)) {
        kf_dest_abandon(blob);
        (void)__atomic_add_fetch(&broken, 1, __ATOMIC_RELAXED);
    } else if (draw(&writer->state, 4) == 0) {
        kf_dest_abandon(blob);
        (void)__atomic_add_fetch(&given_up, 1, __ATOMIC_RELAXED);
    } else if (kf_dest_commit(blob, &digest, NULL) == 0) {
        (void)__atomic_add_fetch(&whole, 1, __ATOMIC_RELAXED);
    } else {
        (void)__atomic_add_fetch(&broken, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void one_round(struct kf_dest *dest, uint64_t round)
{
    struct writer writers[WRITERS];

    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.dest = dest, .state = seed + round * WRITERS + i};
        CHECK(pthread_create(&writers[i].thread, NULL, write_one, &writers[i]) == 0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        CHECK(pthread_join(writers[i].thread, NULL) == 0);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"rounds", required_argument, NULL, 'r'},
                                            {"seed", required_argument, NULL, 's'},
                                            {0}};
    struct kf_origin_opts opts = {.net.plain_http = true};
    struct kf_ref ref = {0};
    struct kf_dest *dest;
    uint64_t rounds = 20;
    char text[64];
    int option;

    seed = (uint64_t)time(NULL);
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        CHECK(option == 'r' || option == 's');
        *(option == 'r' ? &rounds : &seed) = strtoull(optarg, NULL, 10);
    }
    (void)printf("seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)((i % PERIOD) * 31 + (i % PERIOD) / 256);
    (void)snprintf(text, sizeof(text), "oci://127.0.0.1:%u/kit:v1", start_server());
    CHECK(kf_ref_parse(&ref, text, NULL) == 0 &&
          kf_dest_open(&dest, &ref, &opts, NULL) == 0);
    for (uint64_t i = 0; i < rounds; i++)
        one_round(dest, i);
    kf_dest_close(dest);
    kf_ref_fini(&ref);
    (void)printf("%u whole, %u broken, %u given up\n", whole, broken, given_up);
    return whole > 0 ? 0 : 1;
}
