/*
 * An HTTP server for tests, on 127.0.0.1 and a port of its own: it says exactly the bytes
 * it is told to say, and keeps what it was asked.
 *
 *     struct kf_http_peer *peer = kf_http_peer_new();
 *     kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_KEEP, "HTTP/1.1 304 Not
 * Modified\r\n\r\n");
 *     ... let something send a request to 127.0.0.1:kf_http_peer_port(peer) ...
 *     cr_assert(strstr(kf_http_peer_request(peer, 0), "If-None-Match: "));
 *
 * The n-th request, on whatever connection, gets the n-th answer; one that comes after
 * the last gets its connection closed. Or a function answers. One thread serves all
 * connections; the calls lock themselves. Out of memory and a lack of sockets end the
 * test (abort).
 */
#ifndef KF_FAKES_HTTP_PEER_H
#define KF_FAKES_HTTP_PEER_H

#include <stddef.h>
#include <stdint.h>

struct kf_http_peer;

enum kf_http_then {
    KF_HTTP_THEN_KEEP,  /* wait for another request on the connection */
    KF_HTTP_THEN_CLOSE, /* end it */
    KF_HTTP_THEN_RESET, /* end it with a reset */
    KF_HTTP_THEN_HANG,  /* say nothing more, until the client or the peer ends */
};

#define KF_HTTP_PEER_HEAD 20480u /* enough for a header that is too long */

struct kf_http_answer {
    char head[KF_HTTP_PEER_HEAD]; /* said as it stands; "" says nothing */
    const void *body;             /* borrowed until the peer is freed */
    size_t body_length;
    enum kf_http_then then;
};

struct kf_http_peer *kf_http_peer_new(void);
void kf_http_peer_free(struct kf_http_peer *peer); /* closes all connections */
unsigned kf_http_peer_port(const struct kf_http_peer *peer);

/* The answer to the next request that has none yet; `head` is a format. */
void kf_http_peer_say(struct kf_http_peer *peer, const void *body, size_t body_length,
                      enum kf_http_then then, const char *head, ...)
    __attribute__((format(printf, 5, 6)));

/* From now on `answer` is called for each request, on the peer's thread. */
void kf_http_peer_handle(struct kf_http_peer *peer,
                         void (*answer)(void *arg, const char *request,
                                        struct kf_http_answer *ret),
                         void *arg);

unsigned kf_http_peer_requests(struct kf_http_peer *peer);
unsigned kf_http_peer_connections(struct kf_http_peer *peer);
/* The index-th request (from 0), its head and a short body, or NULL; only the first 64
 * are kept. Borrowed until the peer is freed. */
const char *kf_http_peer_request(struct kf_http_peer *peer, unsigned index);

#endif
