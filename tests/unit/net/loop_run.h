/*
 * An exchange on a real network thread, against a peer on loopback that says what the
 * test wants: what the tests of net/loop share. One peer and one loop a test.
 */
#ifndef TESTS_NET_LOOP_RUN_H
#define TESTS_NET_LOOP_RUN_H

#include <semaphore.h>
#include <stddef.h>
#include <stdint.h>

#include "net/http.h"
#include "net/loop.h"

struct kf_http_peer;

#define RUN_TOTAL 4096u /* bytes of the peer's resource */
#define RUN_WAIT_S 20   /* longer, and the test has failed */

/* The head of the answer to run_range(run, 0, 50). */
#define RUN_HEAD_50          \
    "HTTP/1.1 206 P\r\n"     \
    "Content-Length: 50\r\n" \
    "Content-Range: bytes 0-49/4096\r\n\r\n"

/* One exchange, and what it got. */
struct run {
    struct kf_exchange exchange;
    char url[128];
    char *origin;
    uint8_t data[RUN_TOTAL];
    size_t length;
    size_t refuse_at; /* `write` says no when so much is there; 0: never */
    sem_t ended;
};

extern struct kf_http_peer *run_peer;
extern struct kf_loop *run_loop;
extern char run_resource[RUN_TOTAL];

/* For .init and .fini of a suite. */
void run_set_up(void);
void run_tear_down(void);
/* Another loop than the one that set_up made. */
void run_reopen_loop(const struct kf_loop_opts *opts);

/* GET http://127.0.0.1:port/blob, the whole resource at most. */
void run_init(struct run *run, unsigned port);
/* The same of a range, from the peer. */
void run_range(struct run *run, uint64_t offset, uint64_t length);
void run_fini(struct run *run);

void run_submit(struct run *run);
void run_wait(struct run *run);
enum kf_http_end run_go(struct run *run); /* both */

/* Returns when the peer has been sent so many requests. */
void run_await_requests(unsigned count);
/* That so much, and nothing else, of the resource was delivered. */
void run_expect_bytes(const struct run *run, size_t offset, size_t length);
/* A range from its beginning to its end, and just its bytes. */
void run_expect_range(struct run *run, uint64_t offset, uint64_t length);

#endif
