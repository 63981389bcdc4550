/*
 * One HTTP exchange: a request, the answer's head checked the moment it arrived, its body
 * handed on in order. The loop (net/loop.h) runs it; nothing here waits, and nothing is
 * tried again.
 *
 * A ranged exchange asks for one closed range of a resource of known size and takes only
 *   206 with a Content-Range that begins where asked and ends no later than asked,
 *   200 with exactly that Content-Range (old Dragonfly),
 *   200 with the whole resource, unless it is refused: what lies before the range is
 *   thrown away as it comes, or, with `keep_whole`, all of it is given,
 * and the transfer is stopped behind the range. An unranged exchange takes 200. Every
 * other status ends it as KF_HTTP_STATUS, with the beginning of the body kept as text
 * (416 is not drained: docker-registry announces the whole blob's length with it). An
 * encoded body, a wrong range or size is KF_HTTP_BAD.
 *
 * The other methods take every 2xx. POST, PUT and PATCH carry a body: from memory, its
 * length announced; or as it is made, its length announced or unknown to all (chunked).
 * "Expect: 100-continue" is never sent. An answer that comes before the whole body went
 * out ends the exchange: with its status when that is a refusal, else as KF_HTTP_BAD.
 *
 * An exchange is embedded in its owner's struct and belongs to the loop from submit until
 * `ended` begins to run.
 */
#ifndef KF_NET_HTTP_H
#define KF_NET_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/workq.h"
#include "net/pace.h"

#define KF_HTTP_HEAD_LIMIT (64u << 10)      /* all header lines of one answer */
#define KF_HTTP_ERROR_BODY_LIMIT (8u << 10) /* text kept of an answer that is refused */
#define KF_HTTP_TEXT_SIZE 160
#define KF_HTTP_LATER SIZE_MAX /* of `read` */
#define KF_HTTP_HOLD 2         /* of `write` */

/* What several lines of a field are, or one that is too long. */
enum kf_http_rule {
    KF_HTTP_ONCE, /* one value: another one, or a longer one, is KF_HTTP_BAD */
    KF_HTTP_LIST, /* joined by ", "; too long is KF_HTTP_BAD */
    KF_HTTP_NOTE, /* for people alone: the first counts, and none that is too long */
};

/* The header fields that are kept: name, most bytes, and their rule. */
#define KF_HTTP_FIELDS(X)                                          \
    X(CONTENT_RANGE, "content-range", 128, KF_HTTP_ONCE)           \
    X(CONTENT_LENGTH, "content-length", 32, KF_HTTP_ONCE)          \
    X(CONTENT_TYPE, "content-type", 256, KF_HTTP_ONCE)             \
    X(CONTENT_ENCODING, "content-encoding", 128, KF_HTTP_LIST)     \
    X(TRANSFER_ENCODING, "transfer-encoding", 128, KF_HTTP_LIST)   \
    X(DIGEST, "docker-content-digest", 256, KF_HTTP_ONCE)          \
    X(LOCATION, "location", 16384, KF_HTTP_ONCE)                   \
    X(LINK, "link", 8192, KF_HTTP_LIST)                            \
    X(ETAG, "etag", 256, KF_HTTP_ONCE)                             \
    X(WWW_AUTHENTICATE, "www-authenticate", 16384, KF_HTTP_LIST)   \
    X(RATE, "ratelimit", 64, KF_HTTP_NOTE)                         \
    X(RATE_POLICY, "ratelimit-policy", 64, KF_HTTP_NOTE)           \
    X(RATE_LIMIT, "ratelimit-limit", 64, KF_HTTP_NOTE)             \
    X(RATE_REMAINING, "ratelimit-remaining", 64, KF_HTTP_NOTE)     \
    X(RATE_RESET, "ratelimit-reset", 64, KF_HTTP_NOTE)             \
    X(X_RATE_LIMIT, "x-ratelimit-limit", 64, KF_HTTP_NOTE)         \
    X(X_RATE_REMAINING, "x-ratelimit-remaining", 64, KF_HTTP_NOTE) \
    X(X_RATE_RESET, "x-ratelimit-reset", 64, KF_HTTP_NOTE)         \
    X(DOCKER_RATE_SOURCE, "docker-ratelimit-source", 64, KF_HTTP_NOTE)

enum kf_http_field {
#define KF_HTTP_FIELD_ENUM(id, name, limit, rule) KF_HTTP_##id,
    KF_HTTP_FIELDS(KF_HTTP_FIELD_ENUM)
#undef KF_HTTP_FIELD_ENUM
        KF_HTTP_FIELD_COUNT
};

enum kf_http_method {
    KF_HTTP_GET,
    KF_HTTP_HEAD,
    KF_HTTP_POST,
    KF_HTTP_PUT,
    KF_HTTP_PATCH,
    KF_HTTP_DELETE,
};

/* Of one host; NULL: the default. Borrowed texts. */
struct kf_http_tls {
    bool no_verify;
    const char *ca_file; /* PEM; trusted instead of the system's bundle */
    const void *ca_pem;  /* the same from memory, and instead of ca_file; or NULL */
    size_t ca_pem_length;
    const char *client_cert, *client_key;
};

struct kf_exchange;

enum kf_http_gate_says {
    KF_HTTP_GATE_OPEN,
    KF_HTTP_GATE_WAIT, /* asked again after kf_loop_resume; the loop keeps the deadline */
    KF_HTTP_GATE_SHUT, /* it ends; the gate has set `end` and what belongs to it */
};

/* What an exchange may have to wait for, without a thread, before it starts. */
struct kf_http_gate {
    /* Loop thread, no lock held, when it is the exchange's turn, perhaps several times.
     * May set `authorization`. */
    enum kf_http_gate_says (*ask)(struct kf_http_gate *gate,
                                  struct kf_exchange *exchange);
};

enum kf_http_end {
    KF_HTTP_OPEN,     /* not ended yet */
    KF_HTTP_COMPLETE, /* every byte that was asked for was delivered */
    KF_HTTP_STATUS,   /* another status than the ones taken */
    KF_HTTP_BROKEN,   /* connection trouble, or the body ended early; `curl_code` */
    KF_HTTP_STALLED,  /* nothing came for too long */
    KF_HTTP_SLOW,     /* much slower than others of its host (net/pace.h) */
    KF_HTTP_BAD,      /* the answer broke a rule; `text` */
    KF_HTTP_TOO_LONG, /* the body is over `body_limit` */
    KF_HTTP_STOPPED,  /* `write` said no */
    KF_HTTP_DEADLINE, /* `deadline_ns` passed */
    KF_HTTP_CANCELLED,
};

struct kf_exchange {
    /* The request, the owner's; untouched while the loop has it. Texts are borrowed. */
    const char *url;
    const char *origin;         /* of `url` (net/url.h) */
    const char *accept;         /* NULL: no such header */
    const char *if_none_match;  /* NULL: no such header */
    const char *authorization;  /* NULL: no such header; a secret */
    const char *const *headers; /* more lines "Name: value", NULL behind them; or NULL */
    const struct kf_http_tls *tls; /* NULL: the loop's */
    struct kf_http_gate *gate;     /* NULL: none */
    int64_t connect_ns;            /* name, connection and TLS; 0: the loop's */
    bool fresh_connection;         /* do not use one that is open */
    bool again;                    /* it repeats one that failed */
    bool replace_slow;             /* may end as KF_HTTP_SLOW; ranged only */
    bool refuse_whole;             /* a 200 with the whole resource is KF_HTTP_BAD */
    bool keep_whole;               /* such a one is `write`'s from its first byte: then
                                      length is total */
    bool ranged;
    uint64_t offset, length,
        total;           /* ranged only; length > 0, offset + length <= total */
    uint64_t body_limit; /* of the answer; unranged only */
    enum kf_http_method method;
    /* POST, PUT and PATCH only. */
    const char *content_type; /* NULL: no such header */
    const void *send;         /* the body; NULL where that has no bytes */
    uint64_t send_length;     /* with `read` 0: not known */
    /* Instead of `send`: puts at most `size` bytes into `data` and returns how many, 0 at
     * the end, which is not asked for when `send_length` is known and must not come
     * before that; KF_HTTP_LATER when there are none yet: kf_loop_resume asks again. The
     * time until then is no stall, and that the peer left may show only then. It may
     * change `stall_ns`. Loop thread, no lock held. The bytes are given once, so set
     * fresh_connection: one that was open before may lose some. */
    size_t (*read)(struct kf_exchange *exchange, void *data, size_t size);
    enum kf_urgency urgency;
    int64_t stall_ns;      /* without a byte either way; 0: the loop's, by urgency */
    int64_t not_before_ns; /* the loop holds it back until then */
    int64_t deadline_ns;   /* `write` may change it, ... */
    int64_t hold_until_ns; /* ... and sets this, to a later time, before it holds */
    /* Loop thread, no lock held; must copy and return. KF_HTTP_HOLD: no more now; the
     * same bytes come again after kf_loop_resume, or at hold_until_ns, and the time until
     * then is no stall. Any other nonzero stops the exchange. */
    int (*write)(struct kf_exchange *exchange, const uint8_t *data, size_t length);
    /* Loop thread, no lock held. The exchange is the owner's again: it may be freed, or
     * changed and submitted anew. */
    void (*ended)(struct kf_exchange *exchange);

    /* The answer, for `ended`. */
    enum kf_http_end end;
    int status;                        /* 0: no head arrived */
    char *fields[KF_HTTP_FIELD_COUNT]; /* NULL when absent; owned by the exchange */
    int64_t retry_after_ns;            /* 0: not said */
    uint64_t delivered;                /* bytes given to `write` */
    uint64_t received;                 /* body bytes that came, delivered or not */
    bool range_ignored;                /* 200 with the whole resource */
    bool held;                         /* it had to wait for its host (net/health.h) */
    bool name_lost;                    /* its host's name could not be looked up */
    bool unconnected;                  /* BROKEN where a proxy may be why */
    int proxy_status;                  /* BROKEN by this answer of a proxy, or 0 */
    struct kf_buf error_body;          /* KF_HTTP_STATUS only */
    int curl_code;                     /* KF_HTTP_BROKEN only; a CURLcode */
    char text[KF_HTTP_TEXT_SIZE]; /* the cause of BROKEN or BAD, printable; else "" */

    /* Private to http.c. */
    size_t head_bytes;
    bool head_over;
    uint64_t skip;   /* body bytes before the range */
    uint64_t expect; /* ranged: bytes that this answer has for us */
    uint64_t send_at;
    bool all_sent; /* curl has all of the body, or there is none */
    char curl_text[256];

    /* Private to loop.c, but that http.c sets `paused` and loop.c looks at `head_over`.
     */
    bool paused;  /* `read` had nothing, or ... */
    bool blocked; /* ... `write` took nothing */
    struct kf_exchange *next, *prev;
    void *easy;
    void *request_headers;
    void *resolve; /* what curl is told of its host's address; or NULL */
    int64_t progress_ns;
    bool sent;
    bool probe;    /* of a host that rests */
    int cancelled; /* atomic */

    /* Private to slow.c, but that loop.c ends what is slow. */
    bool slow;
    struct kf_pace_slow pace;
    uint64_t seen;   /* of `received`, at the last look */
    int64_t seen_ns; /* of the last look that saw its head; 0: none yet */
    int64_t began_ns;
};

/* Zeroes it; the owner then sets the request. */
void kf_http_init(struct kf_exchange *exchange);
void kf_http_fini(struct kf_exchange *exchange);

/* For net/loop.c alone; `easy` is a curl easy handle. reset drops an earlier answer;
 * begin sets everything that is about this request (-1: no memory); finish tells how it
 * ended, given the end that the loop imposed (or KF_HTTP_OPEN) and curl's result. */
void kf_http_reset(struct kf_exchange *exchange);
int kf_http_begin(struct kf_exchange *exchange, void *easy);
void kf_http_finish(struct kf_exchange *exchange, enum kf_http_end imposed,
                    int curl_code);

#endif
