#include "net/http.h"

#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/header.h"

static const struct {
    const char *name;
    size_t limit;
    enum kf_http_rule rule;
} field_rules[] = {
#define FIELD_RULE(id, text, most, rule) [KF_HTTP_##id] = {text, most, rule},
    KF_HTTP_FIELDS(FIELD_RULE)
#undef FIELD_RULE
};

static const char *const method_names[] = {
    [KF_HTTP_GET] = "GET", [KF_HTTP_HEAD] = "HEAD",   [KF_HTTP_POST] = "POST",
    [KF_HTTP_PUT] = "PUT", [KF_HTTP_PATCH] = "PATCH", [KF_HTTP_DELETE] = "DELETE",
};

/* A Retry-After beyond a day is nobody's intention. */
#define RETRY_AFTER_LIMIT_S 86400

static void drop_fields(struct kf_exchange *exchange)
{
    for (size_t i = 0; i < KF_HTTP_FIELD_COUNT; i++) {
        free(exchange->fields[i]);
        exchange->fields[i] = NULL;
    }
}

void kf_http_init(struct kf_exchange *exchange)
{
    *exchange = (struct kf_exchange){0};
    kf_buf_init(&exchange->error_body, KF_HTTP_ERROR_BODY_LIMIT);
}

void kf_http_fini(struct kf_exchange *exchange)
{
    drop_fields(exchange);
    kf_buf_fini(&exchange->error_body);
}

__attribute__((format(printf, 2, 0))) static void
set_text(struct kf_exchange *exchange, const char *format, va_list args)
{
    (void)vsnprintf(exchange->text, sizeof(exchange->text), format,
                    args); /* cut is fine */
    for (char *at = exchange->text; *at; at++)
        if ((unsigned char)*at < 0x20 || (unsigned char)*at > 0x7e)
            *at = '?';
}

/* Ends the exchange for its answer's own fault; false, so that refusing is one line. */
__attribute__((format(printf, 2, 3))) static bool refuse(struct kf_exchange *exchange,
                                                         const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_text(exchange, format, args);
    va_end(args);
    exchange->end = KF_HTTP_BAD;
    return false;
}

/* ---- the head ---------------------------------------------------------------------- */

static bool keep_field(struct kf_exchange *exchange, enum kf_http_field field,
                       const char *value, size_t length)
{
    char **slot = &exchange->fields[field];
    const char *old = *slot ? *slot : "", *between = *slot ? ", " : "";
    size_t old_length = strlen(old);
    char *text;

    if (field_rules[field].rule == KF_HTTP_NOTE &&
        (*slot || length > field_rules[field].limit || memchr(value, '\0', length)))
        return true;
    if (*slot && field_rules[field].rule == KF_HTTP_ONCE) {
        if (old_length == length && memcmp(old, value, length) == 0)
            return true;
        return refuse(exchange, "header '%s' comes twice", field_rules[field].name);
    }
    if (old_length + strlen(between) + length > field_rules[field].limit)
        return refuse(exchange, "header '%s' is too long", field_rules[field].name);
    if (memchr(value, '\0', length))
        return refuse(exchange, "header '%s' has a NUL byte", field_rules[field].name);
    if (asprintf(&text, "%s%s%.*s", old, between, (int)length, value) < 0)
        return refuse(exchange, "no memory for a header");
    free(*slot);
    *slot = text;
    return true;
}

static bool take_field(struct kf_exchange *exchange, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);
    const char *value, *end = line + length;

    if (!colon)
        return true; /* curl has its own opinion about lines that are no fields */
    for (value = colon + 1; value < end && (*value == ' ' || *value == '\t'); value++)
        ;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    for (size_t i = 0; i < KF_HTTP_FIELD_COUNT; i++) {
        const char *name = field_rules[i].name;

        if (strlen(name) == (size_t)(colon - line) &&
            strncasecmp(name, line, (size_t)(colon - line)) == 0)
            return keep_field(exchange, (enum kf_http_field)i, value,
                              (size_t)(end - value));
    }
    return true;
}

static bool is_plain(const struct kf_exchange *exchange)
{
    const char *encoding = exchange->fields[KF_HTTP_CONTENT_ENCODING];

    return !encoding || strcasecmp(encoding, "identity") == 0;
}

/* A Content-Range must begin where we asked and not go beyond; a 200 must give all of it.
 */
static bool judge_range(struct kf_exchange *exchange, bool exactly)
{
    struct kf_content_range range;
    const char *value = exchange->fields[KF_HTTP_CONTENT_RANGE];

    if (!value)
        return refuse(exchange, "206 without Content-Range");
    if (kf_header_content_range(&range, value, NULL) != 0)
        return refuse(exchange, "malformed Content-Range '%s'", value);
    if (range.has_total && range.total != exchange->total)
        return refuse(exchange, "the blob has %llu bytes there, not %llu",
                      (unsigned long long)range.total,
                      (unsigned long long)exchange->total);
    if (range.offset != exchange->offset || range.length > exchange->length ||
        (exactly && range.length != exchange->length))
        return refuse(exchange, "wrong Content-Range '%s'", value);
    exchange->expect = range.length;
    return true;
}

static bool judge_whole(struct kf_exchange *exchange)
{
    const char *value = exchange->fields[KF_HTTP_CONTENT_LENGTH];
    uint64_t length;

    if (value && kf_header_length(&length, value, NULL) != 0)
        return refuse(exchange, "malformed Content-Length");
    if (value && length != exchange->total)
        return refuse(exchange, "the blob has %llu bytes there, not %llu",
                      (unsigned long long)length, (unsigned long long)exchange->total);
    exchange->range_ignored = true;
    if (exchange->refuse_whole)
        return refuse(exchange, "it sends whole blobs");
    if (exchange->keep_whole)
        exchange->length = exchange->total;
    exchange->skip = exchange->keep_whole ? 0 : exchange->offset;
    exchange->expect = exchange->length;
    return true;
}

static bool judge_unranged(struct kf_exchange *exchange)
{
    const char *value = exchange->fields[KF_HTTP_CONTENT_LENGTH];
    uint64_t length;

    if (exchange->method == KF_HTTP_HEAD)
        return true; /* no body follows, whatever its length is */
    if (value && kf_header_length(&length, value, NULL) != 0)
        return refuse(exchange, "malformed Content-Length");
    if (value && length > exchange->body_limit) {
        exchange->end = KF_HTTP_TOO_LONG;
        return false;
    }
    return true;
}

/* Looks at a complete head; false stops the transfer. */
static bool judge(struct kf_exchange *exchange)
{
    bool ranged = exchange->ranged;
    bool taken = exchange->method == KF_HTTP_GET
                     ? exchange->status == 200 || (ranged && exchange->status == 206)
                     : exchange->status / 100 == 2;

    if (!taken) {
        exchange->end = KF_HTTP_STATUS;
        return exchange->status != 416;
    }
    if (!is_plain(exchange))
        return refuse(exchange, "the body is encoded as '%s'",
                      exchange->fields[KF_HTTP_CONTENT_ENCODING]);
    if (!ranged)
        return judge_unranged(exchange);
    if (exchange->status == 206 || exchange->fields[KF_HTTP_CONTENT_RANGE])
        return judge_range(exchange, exchange->status == 200);
    return judge_whole(exchange);
}

static bool end_of_head(struct kf_exchange *exchange)
{
    long status = 0;
    curl_off_t retry_after = 0;

    (void)curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE,
                            &status); /* no failure */
    if (status < 200)
        return true; /* 100, 103: the real head follows */
    exchange->head_over = true;
    exchange->status = (int)status;
    (void)curl_easy_getinfo(exchange->easy, CURLINFO_RETRY_AFTER, &retry_after);
    if (retry_after > 0)
        exchange->retry_after_ns =
            (int64_t)kf_min_u64((uint64_t)retry_after, RETRY_AFTER_LIMIT_S) * KF_NS_PER_S;
    return judge(exchange);
}

/* curl calls this with one complete line; anything but its length stops the transfer. */
static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct kf_exchange *exchange = arg;
    size_t taken = size * count, length = taken;
    bool go_on;

    exchange->progress_ns = kf_now_ns();
    if (exchange->head_over)
        return taken; /* trailers */
    exchange->head_bytes += length;
    while (length > 0 && (data[length - 1] == '\n' || data[length - 1] == '\r'))
        length--;
    if (exchange->head_bytes > KF_HTTP_HEAD_LIMIT) {
        go_on = refuse(exchange, "the answer's header is too long");
    } else if (length == 0) {
        go_on = end_of_head(exchange);
    } else if (length > 5 && strncmp(data, "HTTP/", 5) == 0) {
        drop_fields(exchange);
        go_on = true;
    } else {
        go_on = take_field(exchange, data, length);
    }
    return go_on ? taken : 0;
}

/* ---- the body ---------------------------------------------------------------------- */

static bool deliver(struct kf_exchange *exchange, const uint8_t *data, size_t length)
{
    int rc = length > 0 ? exchange->write(exchange, data, length) : 0;

    if (rc == 0)
        exchange->delivered += length;
    else if (rc != KF_HTTP_HOLD)
        exchange->end = KF_HTTP_STOPPED;
    else
        exchange->blocked = exchange->paused = true;
    return rc == 0;
}

static bool take_error_text(struct kf_exchange *exchange, const uint8_t *data,
                            size_t length)
{
    size_t room = KF_HTTP_ERROR_BODY_LIMIT - exchange->error_body.length;
    size_t take = length < room ? length : room;

    if (take > 0 && kf_buf_append(&exchange->error_body, data, take, NULL) != 0)
        return false;
    return take == length;
}

static bool take_range(struct kf_exchange *exchange, const uint8_t *data, size_t length)
{
    size_t skip = (size_t)kf_min_u64(length, exchange->skip);
    size_t take =
        (size_t)kf_min_u64(length - skip, exchange->expect - exchange->delivered);

    exchange->skip -= skip;
    if (!deliver(exchange, data + skip, take))
        return false;
    if (skip + take < length)
        return false; /* surplus */
    /* Without a length the end would only be told by closing: do not wait for that. */
    return exchange->delivered < exchange->expect ||
           (!exchange->range_ignored && (exchange->fields[KF_HTTP_CONTENT_LENGTH] ||
                                         exchange->fields[KF_HTTP_TRANSFER_ENCODING]));
}

static bool take_unranged(struct kf_exchange *exchange, const uint8_t *data,
                          size_t length)
{
    if (length > exchange->body_limit - exchange->delivered) {
        exchange->end = KF_HTTP_TOO_LONG;
        return false;
    }
    return deliver(exchange, data, length);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct kf_exchange *exchange = arg;
    const uint8_t *bytes = (const uint8_t *)data;
    size_t length = size * count;
    bool go_on;

    exchange->progress_ns = kf_now_ns();
    if (exchange->end == KF_HTTP_STATUS)
        go_on = take_error_text(exchange, bytes, length);
    else if (exchange->ranged)
        go_on = take_range(exchange, bytes, length);
    else
        go_on = take_unranged(exchange, bytes, length);
    exchange->received += exchange->blocked ? 0 : length;
    return exchange->blocked ? CURL_WRITEFUNC_PAUSE : go_on ? length : 0;
}

/* ---- what is sent ------------------------------------------------------------------ */

static bool has_body(const struct kf_exchange *exchange)
{
    return exchange->method == KF_HTTP_POST || exchange->method == KF_HTTP_PUT ||
           exchange->method == KF_HTTP_PATCH;
}

static size_t take_from_memory(struct kf_exchange *exchange, void *data, size_t size)
{
    size_t take = (size_t)kf_min_u64(exchange->send_length - exchange->send_at, size);

    if (take > 0)
        memcpy(data, (const uint8_t *)exchange->send + exchange->send_at, take);
    exchange->send_at += take;
    exchange->all_sent = exchange->send_at == exchange->send_length;
    return take;
}

static size_t take_as_made(struct kf_exchange *exchange, void *data, size_t size)
{
    uint64_t length = exchange->send_length;
    uint64_t left = length > 0 ? length - exchange->send_at : UINT64_MAX;
    size_t taken = exchange->read(exchange, data, (size_t)kf_min_u64(size, left));

    if (taken == KF_HTTP_LATER) {
        exchange->paused = true;
        return CURL_READFUNC_PAUSE;
    }
    exchange->send_at += taken;
    exchange->all_sent = length > 0 ? exchange->send_at == length : taken == 0;
    /* Less than was announced: nobody must take it for the whole. */
    return taken == 0 && !exchange->all_sent ? CURL_READFUNC_ABORT : taken;
}

static size_t on_read(char *data, size_t size, size_t count, void *arg)
{
    struct kf_exchange *exchange = arg;

    exchange->progress_ns = kf_now_ns();
    if (exchange->head_over) {
        if (exchange->end == KF_HTTP_OPEN)
            (void)refuse(exchange, "it answered before it had everything");
        return CURL_READFUNC_ABORT;
    }
    return exchange->read ? take_as_made(exchange, data, size * count)
                          : take_from_memory(exchange, data, size * count);
}

/* curl begins again on another connection when one that was open turns out to be dead. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct kf_exchange *exchange = arg;

    if (exchange->read || origin != SEEK_SET || offset != 0)
        return CURL_SEEKFUNC_CANTSEEK;
    exchange->send_at = 0;
    exchange->all_sent = exchange->send_length == 0;
    return CURL_SEEKFUNC_OK;
}

/* ---- for the loop ------------------------------------------------------------------ */

void kf_http_reset(struct kf_exchange *exchange)
{
    drop_fields(exchange);
    kf_buf_clear(&exchange->error_body);
    exchange->end = KF_HTTP_OPEN;
    exchange->status = exchange->proxy_status = exchange->curl_code = 0;
    exchange->retry_after_ns = 0;
    exchange->delivered = exchange->received = 0;
    exchange->range_ignored = false;
    exchange->held = exchange->probe = false;
    exchange->name_lost = exchange->unconnected = false;
    exchange->text[0] = '\0';
    exchange->head_bytes = 0;
    exchange->head_over = false;
    exchange->skip = 0;
    exchange->expect = 0;
    exchange->curl_text[0] = '\0';
    exchange->sent = false;
    exchange->send_at = 0;
    exchange->all_sent =
        !has_body(exchange) || (!exchange->read && !exchange->send_length);
    exchange->paused = exchange->blocked = false;
}

static int on_sending(void *arg, char *remote_ip, char *local_ip, int remote_port,
                      int local_port)
{
    struct kf_exchange *exchange = arg;

    exchange->sent = true;
    exchange->progress_ns = kf_now_ns();
    return CURL_PREREQFUNC_OK;
}

static int add_line(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    if (!longer)
        return -1;
    *list = longer;
    return 0;
}

static int add_lines(struct curl_slist **list, const char *const *lines)
{
    for (; lines && *lines; lines++)
        if (add_line(list, *lines) != 0)
            return -1;
    return 0;
}

/* Adds "name: value"; a NULL value adds nothing. */
static int add_header(struct curl_slist **list, const char *name, const char *value)
{
    char *line;
    int rc;

    if (!value)
        return 0;
    if (asprintf(&line, "%s: %s", name, value) < 0)
        return -1;
    rc = add_line(list, line);
    kf_wipe_text(line); /* it may be a secret */
    return rc;
}

static void drop_lines(struct curl_slist *list)
{
    for (struct curl_slist *line = list; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    curl_slist_free_all(list);
}

static int add_headers(struct kf_exchange *exchange)
{
    struct curl_slist *list = NULL;

    if (add_header(&list, "Accept-Encoding", "identity") != 0 ||
        add_header(&list, "Accept", exchange->accept ? exchange->accept : "*/*") != 0 ||
        add_header(&list, "If-None-Match", exchange->if_none_match) != 0 ||
        add_header(&list, "Authorization", exchange->authorization) != 0 ||
        add_lines(&list, exchange->headers) != 0 ||
        (has_body(exchange) &&
         (add_header(&list, "Content-Type", exchange->content_type) != 0 ||
          add_header(&list, "Expect", "") != 0))) {
        drop_lines(list);
        return -1;
    }
    exchange->request_headers = list;
    (void)curl_easy_setopt(exchange->easy, CURLOPT_HTTPHEADER, list); /* cannot fail */
    return 0;
}

static int set_range(struct kf_exchange *exchange)
{
    char text[48];

    if (!exchange->ranged)
        return 0;
    (void)snprintf(text, sizeof(text), "%llu-%llu", (unsigned long long)exchange->offset,
                   (unsigned long long)(exchange->offset + (exchange->length - 1)));
    return curl_easy_setopt(exchange->easy, CURLOPT_RANGE, text) == CURLE_OK ? 0 : -1;
}

static int set_method(struct kf_exchange *exchange)
{
    CURL *easy = exchange->easy;

    if (exchange->method == KF_HTTP_GET)
        return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK ? 0 : -1;
    if (exchange->method == KF_HTTP_HEAD)
        return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L) == CURLE_OK ? 0 : -1;
    if (curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method_names[exchange->method]) !=
        CURLE_OK)
        return -1;
    if (!has_body(exchange))
        return 0;
    /* These only store what they are given. Without a length curl sends chunks. */
    (void)curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
                           exchange->read && exchange->send_length == 0
                               ? (curl_off_t)-1
                               : (curl_off_t)exchange->send_length);
    (void)curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    (void)curl_easy_setopt(easy, CURLOPT_READDATA, exchange);
    (void)curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
    (void)curl_easy_setopt(easy, CURLOPT_SEEKDATA, exchange);
    return 0;
}

int kf_http_begin(struct kf_exchange *exchange, void *easy)
{
    exchange->easy = easy;
    if (curl_easy_setopt(easy, CURLOPT_URL, exchange->url) != CURLE_OK ||
        set_method(exchange) != 0 || set_range(exchange) != 0 ||
        add_headers(exchange) != 0)
        return -1;
    /* The rest only stores what it is given. */
    (void)curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT,
                           exchange->fresh_connection ? 1L : 0L);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
    (void)curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_sending);
    (void)curl_easy_setopt(easy, CURLOPT_PREREQDATA, exchange);
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->curl_text);
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
    return 0;
}

__attribute__((format(printf, 2, 3))) static void say(struct kf_exchange *exchange,
                                                      const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_text(exchange, format, args);
    va_end(args);
}

/* curl's own words, unless they may quote a URL, which may hold a password or a
 * signature; or their end is cut off. */
static const char *words_of_curl(const struct kf_exchange *exchange, int curl_code)
{
    const char *text = exchange->curl_text;

    if (text[0] && !strpbrk(text, "@?") && !strstr(text, "://") &&
        strlen(text) + 1 < sizeof(exchange->curl_text))
        return text;
    return curl_easy_strerror((CURLcode)curl_code);
}

static void finish_broken(struct kf_exchange *exchange, int curl_code)
{
    exchange->end = KF_HTTP_BROKEN;
    exchange->curl_code = curl_code;
    if (curl_code == CURLE_OK || curl_code == CURLE_WRITE_ERROR) {
        /* The server closed where nothing told the length, or gave a shorter range, and
         * perhaps more bytes than that range has. */
        exchange->curl_code = CURLE_PARTIAL_FILE;
        say(exchange, "the answer ended early");
    } else {
        say(exchange, "%s", words_of_curl(exchange, curl_code));
    }
}

/* The answer's own end counts before what the loop imposed, and that before curl's
 * result: refusing a header makes curl report a write error. */
void kf_http_finish(struct kf_exchange *exchange, enum kf_http_end imposed, int curl_code)
{
    bool whole = exchange->ranged ? exchange->head_over && exchange->expect > 0 &&
                                        exchange->delivered == exchange->length
                                  : exchange->head_over && exchange->all_sent &&
                                        curl_code == CURLE_OK && imposed == KF_HTTP_OPEN;

    drop_lines(exchange->request_headers);
    exchange->request_headers = NULL;
    exchange->easy = NULL;
    if (exchange->end != KF_HTTP_OPEN)
        return;
    if (whole)
        exchange->end = KF_HTTP_COMPLETE;
    else if (imposed != KF_HTTP_OPEN)
        exchange->end = imposed;
    else
        finish_broken(exchange, curl_code);
}
