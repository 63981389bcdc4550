/*
 * peer: what the benchmarks compare with: a parallel download of ranges over plain HTTP,
 * as simple and as fast as it gets. Threads with a connection each take the next range
 * until all of the resource is there.
 *
 * peer HOST PORT PATH SIZE [connections=8] [range=8388608] [sha256=0] [write=FILE]
 *
 * The bytes land in a buffer of each thread; sha256=1 hashes each range; write=FILE keeps
 * them. Prints one line: bytes, requests, seconds, CPU seconds.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_LIMIT 16384
#define CONNECTION_LIMIT 256

static struct {
    const char *host, *path;
    uint16_t port;
    uint64_t size, range;
    unsigned connections;
    bool sha256;
    int out;
} plan = {.range = UINT64_C(8) << 20, .connections = 8, .out = -1};

static _Atomic uint64_t next_offset, requests;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double seconds_of(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int connected(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(plan.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    if (inet_pton(AF_INET, plan.host, &address.sin_addr) != 1 || fd < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

/* Reads up to the end of the head; what came of the body is moved to `body`. */
static size_t read_head(int fd, uint8_t *body)
{
    char head[HEAD_LIMIT];
    size_t have = 0, rest;
    char *end = NULL;

    while (!end) {
        ssize_t got = read(fd, head + have, sizeof(head) - have);

        if (got <= 0)
            die("head");
        have += (size_t)got;
        end = memmem(head, have, "\r\n\r\n", 4);
    }
    if (memcmp(head, "HTTP/1.1 206", 12) != 0) {
        fprintf(stderr, "peer: %.60s\n", head);
        exit(1);
    }
    rest = have - (size_t)(end + 4 - head);
    memcpy(body, end + 4, rest);
    return rest;
}

static void read_range(int fd, uint64_t offset, uint64_t length, uint8_t *body)
{
    char request[1024];
    int size = snprintf(request, sizeof(request),
                        "GET %s HTTP/1.1\r\nHost: %s:%u\r\n"
                        "Range: bytes=%" PRIu64 "-%" PRIu64 "\r\n\r\n",
                        plan.path, plan.host, plan.port, offset, offset + length - 1);
    uint64_t have;

    if (write(fd, request, (size_t)size) != size)
        die("write");
    for (have = read_head(fd, body); have < length;) {
        ssize_t got = read(fd, body + have, length - have);

        if (got <= 0)
            die("body");
        have += (uint64_t)got;
    }
    requests++;
}

static void keep(uint64_t offset, uint64_t length, const uint8_t *body)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_size;

    if (plan.sha256 &&
        EVP_Digest(body, length, digest, &digest_size, EVP_sha256(), NULL) != 1)
        die("sha256");
    for (uint64_t done = 0; plan.out >= 0 && done < length;) {
        ssize_t put =
            pwrite(plan.out, body + done, length - done, (off_t)(offset + done));

        if (put <= 0)
            die("pwrite");
        done += (uint64_t)put;
    }
}

static void *download(void *arg)
{
    uint8_t *body = malloc(plan.range + HEAD_LIMIT);
    int fd = connected();

    (void)arg;
    if (!body)
        die("memory");
    for (;;) {
        uint64_t offset = atomic_fetch_add(&next_offset, plan.range), length;

        if (offset >= plan.size)
            break;
        length = plan.size - offset < plan.range ? plan.size - offset : plan.range;
        read_range(fd, offset, length, body);
        keep(offset, length, body);
    }
    close(fd);
    free(body);
    return NULL;
}

static void set(const char *text)
{
    if (strncmp(text, "connections=", 12) == 0)
        plan.connections = (unsigned)strtoul(text + 12, NULL, 10);
    else if (strncmp(text, "range=", 6) == 0)
        plan.range = strtoull(text + 6, NULL, 10);
    else if (strncmp(text, "sha256=", 7) == 0)
        plan.sha256 = text[7] == '1';
    else if (strncmp(text, "write=", 6) == 0)
        plan.out = open(text + 6, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    else
        errno = EINVAL, die(text);
}

int main(int argc, char **argv)
{
    pthread_t threads[CONNECTION_LIMIT];
    double began = seconds_of(CLOCK_MONOTONIC);

    if (argc < 5) {
        fprintf(stderr, "usage: peer HOST PORT PATH SIZE [name=value]...\n");
        return 2;
    }
    plan.host = argv[1];
    plan.port = (uint16_t)strtoul(argv[2], NULL, 10);
    plan.path = argv[3];
    plan.size = strtoull(argv[4], NULL, 10);
    for (int i = 5; i < argc; i++)
        set(argv[i]);
    if (plan.connections == 0 || plan.connections > CONNECTION_LIMIT || plan.range == 0)
        errno = EINVAL, die("connections or range");
    for (unsigned i = 0; i < plan.connections; i++)
        if (pthread_create(&threads[i], NULL, download, NULL) != 0)
            die("thread");
    for (unsigned i = 0; i < plan.connections; i++)
        pthread_join(threads[i], NULL);
    printf("%" PRIu64 " %" PRIu64 " %.4f %.4f\n", plan.size, (uint64_t)requests,
           seconds_of(CLOCK_MONOTONIC) - began, seconds_of(CLOCK_PROCESS_CPUTIME_ID));
    return 0;
}
