#include "oci/push.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/header.h"
#include "oci/call.h"
#include "oci/registry.h"

#define ANSWER_LIMIT (64u << 10)

/* Statuses to a PATCH: ghcr.io says 416, proxies that want a length 411, and so on. */
static const int about_size[] = {405, 411, 413, 416, 501};

bool kf_push_is_about_size(const struct kf_exchange *exchange)
{
    if (exchange->end != KF_HTTP_STATUS || exchange->method != KF_HTTP_PATCH)
        return false;
    for (size_t i = 0; i < KF_ARRAY_LEN(about_size); i++)
        if (exchange->status == about_size[i])
            return true;
    return false;
}

bool kf_push_wants_size(const char *host)
{
    static const struct {
        const char *name;
        bool is_end; /* else it is the whole name */
    } rows[] = {
        {"ghcr.io", false},       {".pkg.dev", true},          {"gcr.io", true},
        {".amazonaws.com", true}, {".amazonaws.com.cn", true},
    };
    size_t length = strcspn(host, ":");

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        size_t tail = strlen(rows[i].name);

        if ((rows[i].is_end ? length >= tail : length == tail) &&
            strncasecmp(host + length - tail, rows[i].name, tail) == 0)
            return true;
    }
    return false;
}

int kf_push_refused(struct kf_err *err, const struct kf_exchange *exchange)
{
    static const struct {
        int status;
        enum kf_http_method method; /* GET: whichever it is */
        const char *remedy;
    } rows[] = {
        {403, KF_HTTP_GET, "check that you may write there, and that it exists"},
        {404, KF_HTTP_POST, "some registries want a repository created before a push"},
        {405, KF_HTTP_POST, "it takes no uploads: is it a mirror or a cache?"},
        {413, KF_HTTP_PUT, "it, or a proxy before it, takes no blobs of this size"},
    };

    if (!err || exchange->end != KF_HTTP_STATUS)
        return -1;
    if (kf_push_is_about_size(exchange)) {
        struct kf_err before = *err;

        return kf_fail(err, KF_E_UNSUPPORTED, "%s; it wants to know a blob's size before",
                       before.message);
    }
    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_err before = *err;

        if (rows[i].status == exchange->status &&
            (rows[i].method == KF_HTTP_GET || rows[i].method == exchange->method))
            return kf_fail(err, before.kind, "%s; %s", before.message, rows[i].remedy);
    }
    return -1;
}

int kf_push_has(struct kf_registry *registry, const struct kf_digest *digest,
                uint64_t size, struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE];
    kf_auto(kf_call_fini) struct kf_call call;
    kf_auto(kf_buf_fini) struct kf_buf answer;
    const struct kf_exchange *exchange = &call.exchange;
    uint64_t length;

    kf_buf_init(&answer, ANSWER_LIMIT);
    if (kf_call_init(&call, registry,
                     kf_endpoint_url(&registry->upstream, "blobs/%s",
                                     kf_digest_format(digest, text)),
                     kf_call_deadline(registry), &answer, err) != 0)
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
    return kf_push_refused(err, exchange);
}
