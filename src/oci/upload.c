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
#include "net/header.h"
#include "net/http.h"
#include "net/loop.h"
#include "net/retry.h"
#include "net/url.h"
#include "oci/call.h"
#include "oci/dest.h"
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
    unsigned failures;           /* of PUTs */
    int64_t delay_ns;            /* before the next request */
    bool streaming;              /* the PATCH was submitted */
    struct kf_exchange exchange; /* the PATCH */
    pthread_mutex_t lock;        /* guards the rest */
    pthread_cond_t cond;         /* taken moved, or it ended */
    uint64_t written, taken;
    bool over;    /* nothing more will be written */
    bool dropped; /* nor is the ring to be sent */
    bool starved; /* the network thread waits for bytes */
    bool ended;   /* the PATCH has */
};

static struct upload *upload_of(struct kf_dest_blob *blob)
{
    return kf_container_of(blob, struct upload, blob);
}

/* ---- what the requests share ---- */

int kf_upload_refused(struct kf_err *err, const struct kf_exchange *exchange)
{
    static const char unknown_size[] =
        "it does not take a blob whose size it is not told before: "
        "pack without --push, and use 'kit push'";
    static const struct {
        int status;
        enum kf_http_method method; /* GET: whichever it is */
        const char *remedy;
    } rows[] = {
        {401, KF_HTTP_GET, "it wants a login, which is not supported yet"},
        {403, KF_HTTP_GET, "check that you may write there, and that it exists"},
        {404, KF_HTTP_POST, "some registries want a repository created before a push"},
        {405, KF_HTTP_POST, "it takes no uploads: is it a mirror or a cache?"},
        {405, KF_HTTP_PATCH, unknown_size},
        {411, KF_HTTP_PATCH, unknown_size},
        {413, KF_HTTP_GET, "it, or a proxy before it, takes no blobs of this size"},
        {416, KF_HTTP_PATCH, unknown_size},
        {501, KF_HTTP_PATCH, unknown_size},
    };

    if (!err || exchange->end != KF_HTTP_STATUS)
        return -1;
    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_err before = *err;

        if (rows[i].status == exchange->status &&
            (rows[i].method == KF_HTTP_GET || rows[i].method == exchange->method))
            return kf_fail(err, before.kind, "%s; %s", before.message, rows[i].remedy);
    }
    return -1;
}

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

int kf_registry_has(struct kf_registry *registry, const struct kf_digest *digest,
                    uint64_t size, struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE], *url;
    kf_auto(kf_call_fini) struct kf_call call;
    kf_auto(kf_buf_fini) struct kf_buf answer;
    const struct kf_exchange *exchange = &call.exchange;
    uint64_t length;

    kf_buf_init(&answer, ANSWER_LIMIT);
    if (asprintf(&url, "%s/blobs/%s", registry->base, kf_digest_format(digest, text)) < 0)
        url = NULL;
    if (kf_call_init(&call, registry, url, kf_call_deadline(registry), &answer, err) != 0)
        return -1;
    call.exchange.method = KF_HTTP_HEAD;
    if (kf_call_run(&call, err) == 0) {
        const char *value = exchange->fields[KF_HTTP_CONTENT_LENGTH];

        return !value || (kf_header_length(&length, value, NULL) == 0 && length == size);
    }
    if (exchange->end != KF_HTTP_STATUS)
        return -1;
    /* A registry that looked sent us to where the content lies, with a URL that is signed
     * for GET alone. */
    if (call.hops.redirected &&
        (exchange->status == 400 || exchange->status == 403 || exchange->status == 405))
        return 1;
    if (exchange->status == 404 || exchange->status == 405)
        return 0; /* 405: no HEAD here; then it is sent again */
    return kf_upload_refused(err, exchange);
}

/* POST; the session's place is in upload->session afterwards. */
static int open_session(struct upload *upload, struct kf_err *err)
{
    kf_auto(kf_call_fini) struct kf_call call;
    kf_auto(kf_buf_fini) struct kf_buf answer;
    char *url;

    kf_buf_init(&answer, ANSWER_LIMIT);
    kf_hops_fini(&upload->session);
    if (asprintf(&url, "%s/blobs/uploads/", upload->registry->base) < 0)
        url = NULL;
    if (request_init(&call, upload, url, KF_HTTP_POST, &answer, err) != 0)
        return -1;
    call.max_tries = TRIES;
    if (kf_call_run(&call, err) != 0)
        return kf_upload_refused(err, &call.exchange);
    upload->delay_ns = 0;
    if (!call.exchange.fields[KF_HTTP_LOCATION])
        return kf_fail(err, KF_E_MALFORMED,
                       "'%s' begins an upload without saying where it goes on",
                       upload->registry->host);
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

/* PUT with the digest: of what the ring holds, or behind a stream of nothing more. */
static int put(struct upload *upload, const struct kf_digest *digest, struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE], *url;
    kf_auto(kf_call_fini) struct kf_call call;
    kf_auto(kf_buf_fini) struct kf_buf answer;
    const char *session = upload->session.url;

    kf_buf_init(&answer, ANSWER_LIMIT);
    if (asprintf(&url, "%s%cdigest=%s", session, strchr(session, '?') ? '&' : '?',
                 kf_digest_format(digest, text)) < 0)
        url = NULL;
    if (request_init(&call, upload, url, KF_HTTP_PUT, &answer, err) != 0)
        return -1;
    call.exchange.content_type = BLOB_TYPE;
    /* On an old connection that dies curl sends it again, unasked: but a session takes it
     * once. */
    call.exchange.fresh_connection = true;
    if (upload->streaming) {
        call.exchange.stall_ns = CLOSE_NS;
    } else {
        call.exchange.send = upload->ring;
        call.exchange.send_length = (size_t)upload->written;
    }
    if (kf_call_run(&call, err) == 0)
        return 0;
    upload->failures++;
    upload->delay_ns = delay_after(upload, &call.exchange);
    return kf_upload_refused(err, &call.exchange);
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
    exchange->url = upload->session.url;
    exchange->origin = upload->session.origin;
    exchange->method = KF_HTTP_PATCH;
    exchange->content_type = BLOB_TYPE;
    exchange->fresh_connection = true;
    exchange->body_limit = ANSWER_LIMIT;
    exchange->urgency = KF_DEMAND;
    exchange->stall_ns = STALL_NS;
    exchange->deadline_ns = KF_NO_DEADLINE;
    exchange->read = on_read;
    exchange->write = on_answer;
    exchange->ended = on_ended;
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
    if (err)
        kf_err_clear(err);
    (void)kf_registry_fail(err, kind, exchange, upload->session.origin);
    return kf_upload_refused(err, exchange);
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

/* Room in one piece; 0: the stream is broken. Waits for as long as the network thread
 * lets it live. */
static size_t wait_room(struct upload *upload)
{
    size_t at, room;

    (void)pthread_mutex_lock(&upload->lock);
    while (!upload->ended && upload->written - upload->taken == KF_UPLOAD_HELD_BYTES)
        (void)pthread_cond_wait(&upload->cond, &upload->lock);
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
    while (!upload->ended &&
           kf_cond_wait_until(&upload->cond, &upload->lock, deadline_ns) == 0)
        ;
    ended = upload->ended;
    (void)pthread_mutex_unlock(&upload->lock);
    return ended;
}

/* Ends the PATCH; the session may have moved. */
static int end_stream(struct upload *upload, int64_t deadline_ns, struct kf_err *err)
{
    publish(upload, 0, true);
    if (!wait_ended(upload, deadline_ns)) {
        kf_loop_cancel(upload->registry->loop, &upload->exchange);
        (void)wait_ended(upload, KF_NO_DEADLINE);
    }
    if (upload->exchange.end != KF_HTTP_COMPLETE)
        return stream_failed(upload, err);
    return upload->exchange.fields[KF_HTTP_LOCATION]
               ? kf_hops_follow(&upload->session, &upload->exchange, err)
               : 0;
}

/* ---- from outside ---- */

static void upload_free(struct upload *upload)
{
    kf_hops_fini(&upload->session);
    kf_http_fini(&upload->exchange);
    (void)pthread_cond_destroy(&upload->cond);
    (void)pthread_mutex_destroy(&upload->lock);
    kf_registry_unref(upload->registry);
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
    int has = kf_registry_has(upload->registry, digest, upload->written, err);

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

        if (doubtful &&
            kf_registry_has(upload->registry, digest, upload->written, NULL) == 1)
            return 0;
        if (!again)
            return -1;
    }
    return 0;
}

int kf_upload_commit(struct kf_dest_blob *blob, const struct kf_digest *digest,
                     struct kf_err *err)
{
    struct upload *upload = upload_of(blob);
    struct kf_err why = {0};
    char text[KF_DIGEST_TEXT_SIZE];
    int rc = upload->streaming ? close_stream(upload, digest, &why)
                               : put_held(upload, digest, &why);

    if (rc == 0) {
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
    if (!upload->over)
        (void)end_stream(upload, deadline_ns, NULL);
    kf_buf_init(&answer, ANSWER_LIMIT);
    upload->delay_ns = 0;
    if (request_init(&call, upload, strdup(upload->session.url), KF_HTTP_DELETE, &answer,
                     NULL) != 0)
        return;
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
