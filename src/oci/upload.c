#include "oci/upload.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/http.h"
#include "net/loop.h"
#include "net/retry.h"
#include "net/url.h"
#include "oci/call.h"
#include "oci/dest.h"
#include "oci/push.h"
#include "oci/registry.h"

#define BLOB_TYPE "application/octet-stream"
#define ANSWER_LIMIT (64u << 10) /* nobody reads the body of a success */
#define TRIES 4u
#define DELAY_NS (500 * KF_NS_PER_MS)
/* Without a byte sent, or without an answer to something small. */
#define STALL_NS (60 * KF_NS_PER_S)
/* For the answer once a whole stream is there: the registry hashes or moves it, a proxy
 * before it may only now pass it on. */
#define CLOSE_NS (600 * KF_NS_PER_S)
#define CANCEL_NS (5 * KF_NS_PER_S)
#define ASK_NS (100 * KF_NS_PER_MS)

/*
 * The ring holds the bytes [taken, written) of the blob; byte n lies at n modulo its
 * size. The caller's thread writes, the network thread takes, each copying without the
 * lock: the other never touches that part.
 */
struct upload {
    struct kf_dest_blob blob;
    struct kf_registry *registry;
    uint8_t *ring; /* KF_UPLOAD_HELD_BYTES */
    struct kf_hops session;
    char *closing;               /* the session's URL with the digest */
    unsigned failures;           /* of PUTs */
    int64_t delay_ns;            /* before the next request */
    bool streaming;              /* the stream was submitted */
    bool stale;                  /* its login was refused; the next one may pass */
    bool stopped;                /* it was cancelled because somebody said so */
    struct kf_exchange exchange; /* the stream: PATCH, or PUT of a blob that is known */
    struct kf_auth_use auth;     /* of it */
    pthread_mutex_t lock;        /* guards the rest */
    pthread_cond_t cond;         /* taken moved, or it ended */
    uint64_t written, taken;
    bool over;    /* nothing more will be written */
    bool dropped; /* nor is the ring to be sent */
    bool starved; /* the network thread waits for bytes */
    bool ended;   /* the stream has */
};

static struct upload *upload_of(struct kf_dest_blob *blob)
{
    return kf_container_of(blob, struct upload, blob);
}

/* ---- what the requests share ---- */

/* A request of this upload, to be run once. */
static int request_init(struct kf_call *call, struct upload *upload, char *url,
                        enum kf_http_method method, struct kf_buf *answer,
                        struct kf_err *err)
{
    if (kf_call_init(call, upload->registry, url, KF_NO_DEADLINE, answer, err) != 0)
        return -1;
    call->exchange.method = method;
    call->exchange.stall_ns = STALL_NS;
    call->max_tries = 1;
    if (upload->delay_ns > 0)
        call->exchange.not_before_ns = kf_deadline_ns(upload->delay_ns);
    return 0;
}

/* POST; the session's place is in upload->session afterwards. */
static int open_session(struct upload *upload, struct kf_err *err)
{
    kf_auto(kf_call_fini) struct kf_call call;
    kf_auto(kf_buf_fini) struct kf_buf answer;

    kf_buf_init(&answer, ANSWER_LIMIT);
    kf_hops_fini(&upload->session);
    if (request_init(&call, upload,
                     kf_endpoint_url(&upload->registry->upstream, "blobs/uploads/"),
                     KF_HTTP_POST, &answer, err) != 0)
        return -1;
    call.max_tries = TRIES;
    if (kf_call_run(&call, err) != 0)
        return kf_push_refused(err, &call.exchange);
    upload->delay_ns = 0;
    if (!call.exchange.fields[KF_HTTP_LOCATION])
        return kf_fail(err, KF_E_MALFORMED,
                       "'%s' begins an upload without saying where it goes on",
                       upload->registry->upstream.host);
    if (kf_hops_follow(&call.hops, &call.exchange, err) != 0)
        return -1;
    upload->session = call.hops;
    call.hops = (struct kf_hops){0};
    return 0;
}

/* How long to wait after a PUT that failed: what the registry asks for, in reason. */
static int64_t delay_after(const struct upload *upload, const struct kf_exchange *answer)
{
    int64_t own = (int64_t)upload->failures * DELAY_NS, asked = answer->retry_after_ns;

    if (asked > KF_RETRY_AFTER_LIMIT_NS)
        asked = KF_RETRY_AFTER_LIMIT_NS;
    return asked > own ? asked : own;
}

static int name_closing(struct upload *upload, const struct kf_digest *digest,
                        struct kf_err *err)
{
    const char *session = upload->session.url;
    char text[KF_DIGEST_TEXT_SIZE];

    free(upload->closing);
    if (asprintf(&upload->closing, "%s%cdigest=%s", session,
                 strchr(session, '?') ? '&' : '?', kf_digest_format(digest, text)) >= 0)
        return 0;
    upload->closing = NULL;
    return kf_fail(err, KF_E_NOMEM, "no memory for an upload");
}

/* PUT with the digest: of what the ring holds, or behind a stream of nothing more. */
static int put(struct upload *upload, const struct kf_digest *digest, struct kf_err *err)
{
    kf_auto(kf_call_fini) struct kf_call call;
    kf_auto(kf_buf_fini) struct kf_buf answer;

    kf_buf_init(&answer, ANSWER_LIMIT);
    if (name_closing(upload, digest, err) != 0)
        return -1;
    if (request_init(&call, upload, strdup(upload->closing), KF_HTTP_PUT, &answer, err) !=
        0)
        return -1;
    call.exchange.content_type = BLOB_TYPE;
    /* On an old connection that dies curl sends it again, unasked: but a session takes it
     * once. */
    call.exchange.fresh_connection = true;
    if (upload->streaming) {
        call.exchange.stall_ns = CLOSE_NS;
    } else {
        call.exchange.send = upload->ring;
        call.exchange.send_length = upload->written;
    }
    if (kf_call_run(&call, err) == 0)
        return 0;
    upload->failures++;
    upload->delay_ns = delay_after(upload, &call.exchange);
    return kf_push_refused(err, &call.exchange);
}

/* ---- the stream ---- */

static size_t on_read(struct kf_exchange *exchange, void *data, size_t size)
{
    struct upload *upload = kf_container_of(exchange, struct upload, exchange);
    size_t at, take;
    bool over;

    (void)pthread_mutex_lock(&upload->lock);
    over = upload->over;
    at = upload->taken % KF_UPLOAD_HELD_BYTES;
    take = (size_t)kf_min_u64(kf_min_u64(size, KF_UPLOAD_HELD_BYTES - at),
                              upload->written - upload->taken);
    if (upload->dropped)
        take = 0;
    upload->starved = take == 0 && !over;
    (void)pthread_mutex_unlock(&upload->lock);
    if (take == 0 && !over)
        return KF_HTTP_LATER;
    if (take == 0) {
        exchange->stall_ns = CLOSE_NS;
        return 0;
    }
    memcpy(data, upload->ring + at, take);
    if (upload->taken + take == exchange->send_length)
        exchange->stall_ns = CLOSE_NS;
    (void)pthread_mutex_lock(&upload->lock);
    upload->taken += take;
    (void)pthread_cond_signal(&upload->cond);
    (void)pthread_mutex_unlock(&upload->lock);
    return take;
}

static int on_answer(struct kf_exchange *exchange, const uint8_t *data, size_t length)
{
    (void)exchange, (void)data, (void)length; /* nobody reads it; it is bounded */
    return 0;
}

static void on_ended(struct kf_exchange *exchange)
{
    struct upload *upload = kf_container_of(exchange, struct upload, exchange);

    upload->stale = kf_auth_again(&upload->auth, exchange);
    (void)pthread_mutex_lock(&upload->lock);
    upload->ended = true;
    (void)pthread_cond_signal(&upload->cond);
    (void)pthread_mutex_unlock(&upload->lock);
}

static int start_stream(struct upload *upload, struct kf_err *err)
{
    struct kf_exchange *exchange = &upload->exchange;

    if (open_session(upload, err) != 0)
        return -1;
    if (upload->blob.is_known && name_closing(upload, &upload->blob.known, err) != 0)
        return -1;
    exchange->url = upload->blob.is_known ? upload->closing : upload->session.url;
    exchange->origin = upload->session.origin;
    exchange->method = upload->blob.is_known ? KF_HTTP_PUT : KF_HTTP_PATCH;
    exchange->send_length = upload->blob.known_size; /* 0: not known */
    exchange->content_type = BLOB_TYPE;
    exchange->fresh_connection = true;
    exchange->body_limit = ANSWER_LIMIT;
    exchange->urgency = KF_DEMAND;
    exchange->stall_ns = STALL_NS;
    exchange->deadline_ns = KF_NO_DEADLINE;
    exchange->read = on_read;
    exchange->write = on_answer;
    exchange->ended = on_ended;
    kf_endpoint_prepare(&upload->registry->upstream, exchange);
    kf_auth_prepare(&upload->auth, upload->registry->upstream.auth, exchange);
    upload->streaming = true;
    kf_loop_submit(upload->registry->loop, exchange);
    return 0;
}

static int stream_failed(struct upload *upload, struct kf_err *err)
{
    const struct kf_exchange *exchange = &upload->exchange;
    struct kf_retry_case failure;
    enum kf_err_kind kind;

    kf_registry_case(&failure, exchange, &upload->session, 0);
    kind = kf_retry_decide(&failure).kind;
    if (kind == KF_E_CORRUPT)
        kind = KF_E_REFUSED; /* 416: not about a range of ours */
    if (kf_push_is_about_size(exchange))
        kf_dest_set_wants_size(upload->blob.dest);
    if (err)
        kf_err_clear(err);
    if (upload->stale)
        return kf_fail(err, KF_E_UNREACHABLE,
                       "'%s' answers %d in mid-stream: the login was too old",
                       kf_url_origin_host(upload->session.origin), exchange->status);
    (void)kf_registry_fail(err, kind, exchange, upload->session.origin);
    if (err)
        kf_auth_explain(&upload->auth, exchange, err);
    return kf_push_refused(err, exchange);
}

/* Tells the network thread of bytes in the ring, or of the end. */
static void publish(struct upload *upload, size_t length, bool over)
{
    bool starved;

    (void)pthread_mutex_lock(&upload->lock);
    upload->written += length;
    upload->over = over;
    starved = upload->starved;
    upload->starved = false;
    (void)pthread_mutex_unlock(&upload->lock);
    if (starved)
        kf_loop_resume(upload->registry->loop);
}

/* Lock held: waits for a signal, or the deadline (false). Where somebody may say stop, he
 * is asked now and then: what sees it may be a signal handler, which cannot wake us. */
static bool wait_locked(struct upload *upload, int64_t deadline_ns)
{
    struct kf_registry *registry = upload->registry;
    int64_t ask_ns = kf_deadline_ns(ASK_NS);

    if (upload->stopped || upload->dropped || !registry->stopped)
        return kf_cond_wait_until(&upload->cond, &upload->lock, deadline_ns) == 0;
    if (kf_cond_wait_until(&upload->cond, &upload->lock,
                           deadline_ns < ask_ns ? deadline_ns : ask_ns) == 0)
        return true;
    (void)pthread_mutex_unlock(&upload->lock);
    upload->stopped = registry->stopped(registry->stopped_arg);
    if (upload->stopped)
        kf_loop_cancel(registry->loop, &upload->exchange);
    (void)pthread_mutex_lock(&upload->lock);
    return deadline_ns >= ask_ns;
}

/* Room in one piece; 0: the stream is broken. Waits for as long as the network thread
 * lets it live. */
static size_t wait_room(struct upload *upload)
{
    size_t at, room;

    (void)pthread_mutex_lock(&upload->lock);
    while (!upload->ended && upload->written - upload->taken == KF_UPLOAD_HELD_BYTES)
        (void)wait_locked(upload, KF_NO_DEADLINE);
    at = upload->written % KF_UPLOAD_HELD_BYTES;
    room = KF_UPLOAD_HELD_BYTES - (size_t)(upload->written - upload->taken);
    if (upload->ended)
        room = 0;
    (void)pthread_mutex_unlock(&upload->lock);
    return (size_t)kf_min_u64(room, KF_UPLOAD_HELD_BYTES - at);
}

static int push(struct upload *upload, const uint8_t *data, size_t length,
                struct kf_err *err)
{
    while (length > 0) {
        size_t take = (size_t)kf_min_u64(wait_room(upload), length);

        if (take == 0)
            return stream_failed(upload, err);
        memcpy(upload->ring + upload->written % KF_UPLOAD_HELD_BYTES, data, take);
        publish(upload, take, false);
        data += take;
        length -= take;
    }
    return 0;
}

static bool wait_ended(struct upload *upload, int64_t deadline_ns)
{
    bool ended;

    (void)pthread_mutex_lock(&upload->lock);
    while (!upload->ended && wait_locked(upload, deadline_ns))
        ;
    ended = upload->ended;
    (void)pthread_mutex_unlock(&upload->lock);
    return ended;
}

/* Ends the stream; after a PATCH the session may have moved. */
static int end_stream(struct upload *upload, int64_t deadline_ns, struct kf_err *err)
{
    publish(upload, 0, true);
    if (!wait_ended(upload, deadline_ns)) {
        kf_loop_cancel(upload->registry->loop, &upload->exchange);
        (void)wait_ended(upload, KF_NO_DEADLINE);
    }
    if (upload->exchange.end != KF_HTTP_COMPLETE)
        return stream_failed(upload, err);
    return !upload->blob.is_known && upload->exchange.fields[KF_HTTP_LOCATION]
               ? kf_hops_follow(&upload->session, &upload->exchange, err)
               : 0;
}

/* ---- from outside ---- */

static void upload_free(struct upload *upload)
{
    kf_hops_fini(&upload->session);
    kf_http_fini(&upload->exchange);
    kf_auth_use_fini(&upload->auth);
    (void)pthread_cond_destroy(&upload->cond);
    (void)pthread_mutex_destroy(&upload->lock);
    kf_registry_unref(upload->registry);
    free(upload->closing);
    free(upload->ring);
    free(upload);
}

struct kf_dest_blob *kf_upload_begin(struct kf_registry *registry, struct kf_err *err)
{
    struct upload *upload = calloc(1, sizeof(*upload));

    if (!upload || !(upload->ring = malloc(KF_UPLOAD_HELD_BYTES))) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for an upload"); /* NULL says it */
        free(upload);
        return NULL;
    }
    upload->registry = kf_registry_ref(registry);
    kf_http_init(&upload->exchange);
    (void)pthread_mutex_init(&upload->lock, NULL); /* default attributes: cannot fail */
    (void)kf_cond_init(&upload->cond);
    return &upload->blob;
}

int kf_upload_write(struct kf_dest_blob *blob, const void *data, size_t length,
                    struct kf_err *err)
{
    struct upload *upload = upload_of(blob);

    if (!upload->streaming) {
        if (length <= KF_UPLOAD_HELD_BYTES - upload->written) {
            if (length > 0)
                memcpy(upload->ring + upload->written, data, length);
            upload->written += length;
            return 0;
        }
        if (!blob->is_known && kf_dest_wants_size(blob->dest))
            return kf_fail(err, KF_E_UNSUPPORTED,
                           "'%s' wants to know a blob's size before",
                           upload->registry->upstream.host);
        if (start_stream(upload, err) != 0)
            return kf_fail_wrap(err, "cannot upload a blob");
    }
    return push(upload, data, length, err) == 0
               ? 0
               : kf_fail_wrap(err, "cannot upload a blob");
}

/* All bytes are in the ring: again and again, each time in a new session. */
static int put_held(struct upload *upload, const struct kf_digest *digest,
                    struct kf_err *err)
{
    int has = upload->blob.is_known
                  ? 0 /* that was asked before */
                  : kf_push_has(upload->registry, digest, upload->written, err);

    if (has != 0)
        return has > 0 ? 0 : -1;
    for (;;) {
        if (open_session(upload, err) != 0)
            return -1;
        if (put(upload, digest, err) == 0)
            return 0;
        if (upload->failures == TRIES || !kf_err_worth_retrying(err->kind))
            return -1;
    }
}

/* The answer to a PUT may be lost, and the session is gone then: so the blob is looked
 * for before the PUT is said to have failed, or is sent again. */
static int close_stream(struct upload *upload, const struct kf_digest *digest,
                        struct kf_err *err)
{
    if (end_stream(upload, KF_NO_DEADLINE, err) != 0)
        return -1;
    while (put(upload, digest, err) != 0) {
        bool again = kf_err_worth_retrying(err->kind) && upload->failures < TRIES;
        bool doubtful = upload->failures > 1 || kf_err_worth_retrying(err->kind);

        if (doubtful && kf_push_has(upload->registry, digest, upload->written, NULL) == 1)
            return 0;
        if (!again)
            return -1;
    }
    return 0;
}

static int close_known(struct upload *upload, struct kf_err *err)
{
    if (end_stream(upload, KF_NO_DEADLINE, err) == 0)
        return 0;
    return kf_err_worth_retrying(err->kind) &&
                   kf_push_has(upload->registry, &upload->blob.known, upload->written,
                               NULL) == 1
               ? 0
               : -1;
}

static int commit(struct upload *upload, const struct kf_digest *digest,
                  struct kf_err *err)
{
    if (!upload->streaming)
        return put_held(upload, digest, err);
    return upload->blob.is_known ? close_known(upload, err)
                                 : close_stream(upload, digest, err);
}

int kf_upload_commit(struct kf_dest_blob *blob, const struct kf_digest *digest,
                     struct kf_err *err)
{
    struct upload *upload = upload_of(blob);
    struct kf_err why = {0};
    char text[KF_DIGEST_TEXT_SIZE];

    if (commit(upload, digest, &why) == 0) {
        upload_free(upload);
        return 0;
    }
    (void)kf_fail_wrap(&why, "cannot upload '%s'", kf_digest_format(digest, text));
    if (err)
        *err = why;
    kf_upload_abandon(blob);
    return -1;
}

/* The body ends in good order, so that the registry says where the session is now: with
 * the place of before docker-registry refuses to delete it. The outcome is nobody's
 * business: what is left, the registry removes in time. */
static void cancel_session(struct upload *upload)
{
    int64_t deadline_ns = kf_deadline_ns(CANCEL_NS);
    kf_auto(kf_call_fini) struct kf_call call;
    kf_auto(kf_buf_fini) struct kf_buf answer;

    (void)pthread_mutex_lock(&upload->lock);
    upload->dropped = true;
    (void)pthread_mutex_unlock(&upload->lock);
    if (!upload->over) /* a length that was announced leaves no good order */
        (void)end_stream(upload, upload->blob.is_known ? 0 : deadline_ns, NULL);
    kf_buf_init(&answer, ANSWER_LIMIT);
    upload->delay_ns = 0;
    if (request_init(&call, upload, strdup(upload->session.url), KF_HTTP_DELETE, &answer,
                     NULL) != 0)
        return;
    call.stoppable = false;
    call.exchange.deadline_ns = deadline_ns;
    (void)kf_call_run(&call, NULL);
}

void kf_upload_abandon(struct kf_dest_blob *blob)
{
    struct upload *upload = upload_of(blob);

    if (upload->streaming)
        cancel_session(upload);
    upload_free(upload);
}
