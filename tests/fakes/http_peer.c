#include "http_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWERS 64u
#define REQUESTS_KEPT 64u
#define CONNECTIONS 64u
#define REQUEST_BYTES 8192u

struct connection {
    int fd; /* -1: free */
    bool hanging;
    size_t length;
    char request[REQUEST_BYTES]; /* the part that has come */
};

struct kf_http_peer {
    int listener, stop;
    unsigned port;
    pthread_t thread;
    struct connection connections[CONNECTIONS]; /* the thread's */

    pthread_mutex_t lock; /* guards the rest */
    struct kf_http_answer *answers[ANSWERS];
    unsigned answers_said, answers_given;
    void (*handler)(void *arg, const char *request, struct kf_http_answer *ret);
    void *handler_arg;
    char *requests[REQUESTS_KEPT];
    unsigned request_count, connection_count;
};

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static void must_work(bool worked)
{
    if (!worked)
        abort();
}

/* ---- one connection ------------------------------------------------------------------
 */

static void end_connection(struct connection *connection, bool reset)
{
    const struct linger none = {.l_onoff = 1, .l_linger = 0};

    if (reset)
        (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    (void)close(connection->fd); /* the client sees it */
    connection->fd = -1;
}

/* A client that has left is none of our business. */
static void say(int fd, const void *data, size_t length)
{
    const char *at = data;

    while (length > 0) {
        ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);

        if (sent <= 0)
            return;
        at += sent;
        length -= (size_t)sent;
    }
}

/* The answer to a request, yours to free; NULL: there is none. */
static struct kf_http_answer *answer_to(struct kf_http_peer *peer, const char *request)
{
    struct kf_http_answer *answer = NULL;
    void (*handler)(void *, const char *, struct kf_http_answer *);
    void *arg;

    (void)pthread_mutex_lock(&peer->lock);
    if (peer->request_count < REQUESTS_KEPT)
        peer->requests[peer->request_count] = must(strdup(request));
    peer->request_count++;
    handler = peer->handler;
    arg = peer->handler_arg;
    if (!handler && peer->answers_given < peer->answers_said) {
        answer = peer->answers[peer->answers_given];
        peer->answers[peer->answers_given++] = NULL;
    }
    (void)pthread_mutex_unlock(&peer->lock);
    if (handler) {
        answer = must(calloc(1, sizeof(*answer)));
        handler(arg, request, answer);
    }
    return answer;
}

static void serve(struct kf_http_peer *peer, struct connection *connection)
{
    struct kf_http_answer *answer = answer_to(peer, connection->request);
    enum kf_http_then then = answer ? answer->then : KF_HTTP_THEN_CLOSE;

    connection->length = 0;
    if (answer) {
        say(connection->fd, answer->head, strlen(answer->head));
        say(connection->fd, answer->body, answer->body_length);
    }
    free(answer);
    connection->hanging = then == KF_HTTP_THEN_HANG;
    if (then == KF_HTTP_THEN_CLOSE || then == KF_HTTP_THEN_RESET)
        end_connection(connection, then == KF_HTTP_THEN_RESET);
}

/* A short body belongs to its request; of a longer one only the head is waited for. */
static bool is_whole(const struct connection *connection)
{
    const char *end = strstr(connection->request, "\r\n\r\n");
    const char *line = strcasestr(connection->request, "\r\nContent-Length: ");
    size_t head, body;

    if (!end || !line || line > end)
        return end != NULL;
    head = (size_t)(end - connection->request) + 4;
    body = strtoul(line + strlen("\r\nContent-Length: "), NULL, 10);
    return body >= sizeof(connection->request) - head ||
           connection->length >= head + body;
}

static void take_bytes(struct kf_http_peer *peer, struct connection *connection)
{
    size_t room = sizeof(connection->request) - 1 - connection->length;
    ssize_t got = recv(connection->fd, connection->request + connection->length, room, 0);

    if (got <= 0 || connection->hanging) {
        if (got <= 0)
            end_connection(connection, false);
        return;
    }
    connection->length += (size_t)got;
    connection->request[connection->length] = '\0';
    if (is_whole(connection))
        serve(peer, connection);
    else
        must_work(connection->length < sizeof(connection->request) - 1);
}

/* ---- the thread ----------------------------------------------------------------------
 */

static void take_connection(struct kf_http_peer *peer)
{
    int fd = accept(peer->listener, NULL, NULL), yes = 1;

    if (fd < 0)
        return; /* the client has given up again */
    /* Else a body waits for the acknowledgement of its head: 40 ms an answer, no more. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    (void)pthread_mutex_lock(&peer->lock);
    peer->connection_count++;
    (void)pthread_mutex_unlock(&peer->lock);
    for (unsigned i = 0; i < CONNECTIONS; i++)
        if (peer->connections[i].fd < 0) {
            peer->connections[i].fd = fd;
            peer->connections[i].length = 0;
            peer->connections[i].hanging = false;
            return;
        }
    (void)close(fd); /* too many at once for a test */
}

static void *run(void *arg)
{
    struct kf_http_peer *peer = arg;
    struct pollfd fds[CONNECTIONS + 2];

    for (;;) {
        fds[CONNECTIONS] = (struct pollfd){.fd = peer->listener, .events = POLLIN};
        fds[CONNECTIONS + 1] = (struct pollfd){.fd = peer->stop, .events = POLLIN};
        for (unsigned i = 0; i < CONNECTIONS; i++) /* poll ignores those that are -1 */
            fds[i] = (struct pollfd){.fd = peer->connections[i].fd, .events = POLLIN};
        must_work(poll(fds, CONNECTIONS + 2, -1) > 0);
        if (fds[CONNECTIONS + 1].revents)
            return NULL;
        for (unsigned i = 0; i < CONNECTIONS; i++)
            if (fds[i].revents)
                take_bytes(peer, &peer->connections[i]);
        if (fds[CONNECTIONS].revents)
            take_connection(peer);
    }
}

/* ---- the test's calls ----------------------------------------------------------------
 */

static void listen_somewhere(struct kf_http_peer *peer)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);

    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must_work(peer->listener >= 0);
    must_work(bind(peer->listener, (struct sockaddr *)&address, length) == 0);
    must_work(listen(peer->listener, (int)CONNECTIONS) == 0);
    must_work(getsockname(peer->listener, (struct sockaddr *)&address, &length) == 0);
    peer->port = ntohs(address.sin_port);
}

struct kf_http_peer *kf_http_peer_new(void)
{
    struct kf_http_peer *peer = must(calloc(1, sizeof(*peer)));

    for (unsigned i = 0; i < CONNECTIONS; i++)
        peer->connections[i].fd = -1;
    listen_somewhere(peer);
    peer->stop = eventfd(0, EFD_CLOEXEC);
    must_work(peer->stop >= 0);
    must_work(pthread_mutex_init(&peer->lock, NULL) == 0);
    must_work(pthread_create(&peer->thread, NULL, run, peer) == 0);
    return peer;
}

void kf_http_peer_free(struct kf_http_peer *peer)
{
    if (!peer)
        return;
    must_work(eventfd_write(peer->stop, 1) == 0);
    must_work(pthread_join(peer->thread, NULL) == 0);
    for (unsigned i = 0; i < CONNECTIONS; i++)
        if (peer->connections[i].fd >= 0)
            end_connection(&peer->connections[i], false);
    for (unsigned i = 0; i < ANSWERS; i++)
        free(peer->answers[i]);
    for (unsigned i = 0; i < REQUESTS_KEPT; i++)
        free(peer->requests[i]);
    (void)close(peer->listener); /* nothing was written there */
    (void)close(peer->stop);
    (void)pthread_mutex_destroy(&peer->lock);
    free(peer);
}

unsigned kf_http_peer_port(const struct kf_http_peer *peer)
{
    return peer->port;
}

void kf_http_peer_say(struct kf_http_peer *peer, const void *body, size_t body_length,
                      enum kf_http_then then, const char *head, ...)
{
    struct kf_http_answer *answer = must(calloc(1, sizeof(*answer)));
    va_list args;
    int length;

    va_start(args, head);
    length = vsnprintf(answer->head, sizeof(answer->head), head, args);
    va_end(args);
    must_work(length >= 0 && (size_t)length < sizeof(answer->head));
    answer->body = body;
    answer->body_length = body_length;
    answer->then = then;
    (void)pthread_mutex_lock(&peer->lock);
    must_work(peer->answers_said < ANSWERS);
    peer->answers[peer->answers_said++] = answer;
    (void)pthread_mutex_unlock(&peer->lock);
}

void kf_http_peer_handle(struct kf_http_peer *peer,
                         void (*answer)(void *arg, const char *request,
                                        struct kf_http_answer *ret),
                         void *arg)
{
    (void)pthread_mutex_lock(&peer->lock);
    peer->handler = answer;
    peer->handler_arg = arg;
    (void)pthread_mutex_unlock(&peer->lock);
}

unsigned kf_http_peer_requests(struct kf_http_peer *peer)
{
    unsigned count;

    (void)pthread_mutex_lock(&peer->lock);
    count = peer->request_count;
    (void)pthread_mutex_unlock(&peer->lock);
    return count;
}

unsigned kf_http_peer_connections(struct kf_http_peer *peer)
{
    unsigned count;

    (void)pthread_mutex_lock(&peer->lock);
    count = peer->connection_count;
    (void)pthread_mutex_unlock(&peer->lock);
    return count;
}

const char *kf_http_peer_request(struct kf_http_peer *peer, unsigned index)
{
    const char *request;

    (void)pthread_mutex_lock(&peer->lock);
    request = index < REQUESTS_KEPT ? peer->requests[index] : NULL;
    (void)pthread_mutex_unlock(&peer->lock);
    return request;
}
