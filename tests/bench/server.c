/*
 * server: a registry that costs next to nothing, for benchmarks in which the one of
 * tests/registry would take a processor for itself. Serves one OCI image layout over
 * plain HTTP/1.1 on loopback, each answer DELAY after its request; a thread a connection.
 *
 * server LAYOUT MANIFEST-DIGEST DELAY-MS
 *
 * Prints its port in one line, then serves until it is killed. Knows two paths, whatever
 * the name: /v2/NAME/manifests/ANYTHING (the manifest) and /v2/NAME/blobs/DIGEST.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEAD_LIMIT 16384

static const char *layout, *manifest;
static struct timespec delay;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Bytes of one head, its end included; 0: the client has gone. */
static size_t read_head(int fd, char *head)
{
    size_t have = 0;

    for (;;) {
        ssize_t got = read(fd, head + have, HEAD_LIMIT - 1 - have);

        if (got <= 0)
            return 0;
        have += (size_t)got;
        head[have] = '\0';
        if (strstr(head, "\r\n\r\n"))
            return have;
    }
}

/* The file that a request names; -1: none. */
static int open_blob(const char *head, const char **ret_digest)
{
    static __thread char digest[72];
    const char *blob = strstr(head, "/blobs/sha256:");
    char path[4096];

    if (blob)
        snprintf(digest, sizeof(digest), "%.71s", blob + strlen("/blobs/"));
    else if (strstr(head, "/manifests/"))
        snprintf(digest, sizeof(digest), "%s", manifest);
    else
        return -1;
    *ret_digest = digest;
    snprintf(path, sizeof(path), "%s/blobs/sha256/%s", layout,
             digest + strlen("sha256:"));
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int send_all(int to, int from, off_t offset, off_t length)
{
    while (length > 0) {
        ssize_t sent = sendfile(to, from, &offset, (size_t)length);

        if (sent <= 0)
            return -1;
        length -= sent;
    }
    return 0;
}

static int answer(int fd, const char *request)
{
    const char *range = strcasestr(request, "\r\nrange: bytes="), *digest = "";
    int blob = open_blob(request, &digest), rc = -1;
    intmax_t first = 0, last;
    struct stat about = {0};
    char head[1024];
    int size;

    if (blob < 0 || fstat(blob, &about) != 0) {
        close(blob);
        return dprintf(fd, "HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n") > 0 ? 0 : -1;
    }
    last = about.st_size - 1;
    if (range)
        sscanf(range, "\r\n%*[^=]=%jd-%jd", &first, &last);
    if (last >= about.st_size)
        last = about.st_size - 1;
    size = snprintf(head, sizeof(head),
                    "HTTP/1.1 %s\r\nContent-Length: %jd\r\nContent-Type: %s\r\n"
                    "Docker-Content-Digest: %s\r\n",
                    range ? "206 P" : "200 OK", last - first + 1,
                    strstr(request, "/manifests/")
                        ? "application/vnd.oci.image.manifest.v1+json"
                        : "application/octet-stream",
                    digest);
    if (range)
        size += snprintf(head + size, sizeof(head) - (size_t)size,
                         "Content-Range: bytes %jd-%jd/%jd\r\n", first, last,
                         (intmax_t)about.st_size);
    size += snprintf(head + size, sizeof(head) - (size_t)size, "\r\n");
    if (send(fd, head, (size_t)size, MSG_MORE) == size)
        rc = send_all(fd, blob, first, last - first + 1);
    close(blob);
    return rc;
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg, on = 1;
    char head[HEAD_LIMIT];

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    while (read_head(fd, head) > 0) {
        nanosleep(&delay, NULL);
        if (answer(fd, head) != 0)
            break;
    }
    close(fd);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    long delay_ms;

    if (argc != 4) {
        fprintf(stderr, "usage: server LAYOUT MANIFEST-DIGEST DELAY-MS\n");
        return 2;
    }
    layout = argv[1];
    manifest = argv[2];
    delay_ms = strtol(argv[3], NULL, 10);
    delay = (struct timespec){delay_ms / 1000, delay_ms % 1000 * 1000000};
    signal(SIGPIPE, SIG_IGN);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 ||
        listen(listener, 256) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        die("listen");
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        pthread_t thread;

        if (fd < 0)
            die("accept");
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) != 0)
            die("thread");
        pthread_detach(thread);
    }
}
