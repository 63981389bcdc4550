/*
 * The thread that moves bytes: it owns a curl multi handle and runs exchanges
 * (net/http.h). It never blocks on anything but the sockets, hashes nothing, decodes
 * nothing, writes no file.
 *
 * At most `connections` exchanges a host are under way; the others wait in order of
 * urgency and submission, outside curl, so that waiting for a turn is not taken for a
 * slow connect. A host that fails or says 429 is asked less (net/health.h). HTTP/1.1
 * only: with several connections it beats one HTTP/2 connection for blobs.
 *
 * Redirections are not followed, no credentials are read from files, and only http and
 * https exist here.
 */
#ifndef KF_NET_LOOP_H
#define KF_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct kf_err;
struct kf_exchange;
struct kf_loop;

#define KF_LOOP_CONNECTIONS 8u
#define KF_LOOP_CONNECTIONS_LIMIT 64u

/* Texts are copied. 0 and NULL are the defaults. */
struct kf_loop_opts {
    unsigned connections; /* a host; default 8, at most 64 */
    bool tls_no_verify;
    const char *ca_file;     /* PEM; default: the system's */
    const char *client_cert; /* PEM */
    const char *client_key;
    const char *proxy;  /* default: what the environment says (curl's variables) */
    int64_t connect_ns; /* name, connection and TLS; default 5 s */
    int64_t stall_ns;   /* without a byte, on demand; default 5 s */
    int64_t stall_background_ns; /* the same for readahead and prefetch; default 30 s */
};

/* Starts the thread, with all signals blocked. */
int kf_loop_new(struct kf_loop **ret, const struct kf_loop_opts *opts,
                struct kf_err *err);

/* Ends everything under way as KF_HTTP_CANCELLED, then joins the thread: bounded, but not
 * from a callback. Nothing may be submitted any more except by `ended`. NULL is fine. */
void kf_loop_free(struct kf_loop *loop);

/* Any thread, callbacks included. Not before exchange->not_before_ns. */
void kf_loop_submit(struct kf_loop *loop, struct kf_exchange *exchange);

/* Any thread. The exchange ends soon, as KF_HTTP_CANCELLED unless it had ended; one that
 * is submitted anew afterwards ends so at once. It must still be there. */
void kf_loop_cancel(struct kf_loop *loop, struct kf_exchange *exchange);

/* Any thread, callbacks included: asks `read` of exchanges that said KF_HTTP_LATER,
 * `write` of those that said KF_HTTP_HOLD, and gates that said KF_HTTP_GATE_WAIT, again.
 */
void kf_loop_resume(struct kf_loop *loop);

#endif
