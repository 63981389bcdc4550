#include "fs/status.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/stats.h"
#include "fetch/queue.h"
#include "fs/view.h"
#include "kit/open.h"

#define RECENT_NS (60 * KF_NS_PER_S) /* how long a failed read colours the state */

static const char *const urgency_names[KF_URGENCY_COUNT] = {
    [KF_DEMAND] = "demand", [KF_READAHEAD] = "readahead", [KF_PREFETCH] = "prefetch"};

static void auto_json(json_t **json)
{
    json_decref(*json);
}

/* JSON is UTF-8; paths are any bytes. What is no UTF-8 loses its other characters. */
static json_t *text_of(const char *from)
{
    char plain[KF_ERR_MESSAGE_SIZE];
    json_t *text = json_string(from);
    size_t i = 0;

    if (text)
        return text;
    for (; from[i] && i + 1 < sizeof(plain); i++)
        plain[i] = (unsigned char)from[i] < 0x80 ? from[i] : '?';
    plain[i] = '\0';
    return json_string(plain);
}

/* UTC, as in RFC 3339. */
static void format_time(int64_t when_s, char out[32])
{
    time_t when = (time_t)when_s;
    struct tm parts;

    if (!gmtime_r(&when, &parts) || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        out[0] = '\0';
}

static uint64_t local_bytes(const struct kf_view *view)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < view->tree->count; i++) {
        const struct kf_node *node = &view->tree->nodes[i];

        if (node->type != KF_TYPE_FILE)
            continue;
        sum += node->layer == KF_NODE_NONE /* in memory */
                   ? node->size
                   : kf_layer_local_bytes(kf_kit_layer(view->kit, node->layer)->layer,
                                          node->entry);
    }
    return sum;
}

static json_t *counters(const struct kf_stats *stats)
{
    json_t *object = json_object();

    for (int i = 0; i < KF_STAT_COUNT; i++)
        (void)json_object_set_new(
            object, kf_stat_name((enum kf_stat)i),
            json_integer((json_int_t)kf_stats_get(stats, (enum kf_stat)i)));
    return object; /* a NULL anywhere makes the whole NULL: json_pack checks */
}

static void add_flight(void *arg, const struct kf_fetch_view *flight)
{
    bool known = flight->urgency >= 0 && flight->urgency < KF_URGENCY_COUNT;

    (void)json_array_append_new(
        arg,
        json_pack("{s:o, s:I, s:I, s:s, s:I}", "source", text_of(flight->source_name),
                  "first_chunk", (json_int_t)flight->first_chunk, "chunks",
                  (json_int_t)flight->chunk_count, "urgency",
                  known ? urgency_names[flight->urgency] : "", "age_ms",
                  (json_int_t)(flight->age_ns / KF_NS_PER_MS)));
}

/* The kits that this one refers to. */
static json_t *references(const struct kf_kit *kit)
{
    json_t *list = json_array();
    char text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest digest;
    const char *name;

    for (size_t i = 0; list && (name = kf_kit_other(kit, i, &digest)); i++)
        (void)json_array_append_new(list,
                                    json_pack("{s:o, s:s}", "reference", text_of(name),
                                              "digest", kf_digest_format(&digest, text)));
    return list;
}

/* Those that are asked for its content. */
static json_t *hosts(const struct kf_kit *kit)
{
    json_t *list = json_array();
    struct kf_origin_host host;

    for (size_t i = 0; list && kf_kit_host(kit, i, &host); i++)
        (void)json_array_append_new(
            list,
            json_pack("{s:o, s:I, s:i, s:I, s:o}", "host", text_of(host.name), "answers",
                      (json_int_t)host.answers, "failures", (int)host.failures,
                      "left_alone_ms", (json_int_t)(host.rest_ns / KF_NS_PER_MS),
                      "last_error", host.why[0] ? text_of(host.why) : json_null()));
    return list;
}

static json_t *last_error(const struct kf_trouble_last *last)
{
    char when[32];

    format_time(last->when_s, when);
    return json_pack("{s:s, s:o, s:s, s:o}", "when", when, "path", text_of(last->path),
                     "kind", kf_err_kind_name(last->err.kind), "message",
                     text_of(last->err.message));
}

/* That of the layer that can be trusted least. */
static enum kf_trust trust(const struct kf_view *view, struct kf_err *ret_failure)
{
    enum kf_trust worst = KF_TRUST_VERIFIED;

    for (size_t i = 0; i < kf_kit_layer_count(view->kit); i++) {
        enum kf_trust one =
            kf_layer_trust(kf_kit_layer(view->kit, i)->layer, ret_failure);

        if (one == KF_TRUST_FAILED)
            return one;
        if (one == KF_TRUST_UNVERIFIED)
            worst = one;
    }
    return worst;
}

#define STATE_SIZE (KF_ERR_MESSAGE_SIZE + 16)

static void describe_state(const struct kf_view *view, const struct kf_trouble_last *last,
                           char out[STATE_SIZE])
{
    struct kf_err failure;
    enum kf_trust worst = trust(view, &failure);
    const struct kf_err *cut_off = kf_kit_cut_off(view->kit);
    const char *plain = "ok", *why = NULL;

    if (worst == KF_TRUST_FAILED)
        why = failure.message;
    else if (last && kf_now_ns() - last->when_ns < RECENT_NS)
        why = "reads fail";
    else if (!view->cached)
        why = "no cache";
    else if (cut_off)
        why = cut_off->message;
    else if (worst == KF_TRUST_UNVERIFIED)
        plain = "unverified";
    else if (view->offline)
        plain = "offline";
    (void)snprintf(out, STATE_SIZE, "%s%s", why ? "degraded: " : "",
                   why ? why : plain); /* fits */
}

char *kf_status_json(struct kf_view *view, struct kf_err *err)
{
    struct kf_trouble_last last;
    bool failed = kf_trouble_last(&view->trouble, &last);
    json_t *flights = json_array();
    char since[32], digest[KF_DIGEST_TEXT_SIZE], state[STATE_SIZE];
    const struct kf_err *outage = kf_kit_outage(view->kit);
    char *text, *lines = NULL;

    format_time(view->since_s, since);
    describe_state(view, failed ? &last : NULL, state);
    kf_fetch_in_flight(kf_kit_fetch(view->kit), add_flight, flights);
    kf_auto(auto_json) json_t *status = json_pack(
        "{s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:i, s:i, s:s, s:o, s:o, s:I, s:I, s:I, "
        "s:o, s:o,"
        " s:{s:I, s:i, s:b}}",
        "reference", text_of(kf_kit_name(view->kit)), "digest",
        kf_digest_format(kf_kit_digest(view->kit), digest), "references",
        references(view->kit), "origin", kf_kit_origin(view->kit), "not_asked",
        outage ? text_of(outage->message) : json_null(), "hosts", hosts(view->kit), "dir",
        text_of(view->dir), "pid_keeper", (int)view->keeper, "pid_worker", (int)getpid(),
        "since", since, "state", text_of(state), "last_error",
        failed ? last_error(&last) : json_null(), "files",
        (json_int_t)view->tree->file_count, "size_bytes",
        (json_int_t)view->tree->file_bytes, "local_bytes", (json_int_t)local_bytes(view),
        "counters", counters(view->stats), "in_flight", flights, "kernel",
        "readahead_kib", (json_int_t)view->readahead_kib, "max_background",
        (int)KF_MAX_BACKGROUND, "passthrough", 0);
    text = status ? json_dumps(status, JSON_INDENT(2)) : NULL;
    if (!text || asprintf(&lines, "%s\n", text) < 0) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for the status"); /* NULL says it */
        lines = NULL;
    }
    free(text);
    return lines;
}

int kf_status_pids(const char *text, size_t length, pid_t *ret_keeper, pid_t *ret_worker,
                   struct kf_err *err)
{
    json_error_t problem;
    json_int_t keeper, worker;
    kf_auto(auto_json) json_t *status = json_loadb(text, length, 0, &problem);

    if (!status)
        return kf_fail(err, KF_E_MALFORMED, "status is no JSON: %s", problem.text);
    if (json_unpack(status, "{s:I, s:I}", "pid_keeper", &keeper, "pid_worker", &worker) !=
            0 ||
        keeper <= 1 || keeper > INT_MAX || worker <= 1 || worker > INT_MAX)
        return kf_fail(err, KF_E_MALFORMED, "status names no processes");
    *ret_keeper = (pid_t)keeper;
    *ret_worker = (pid_t)worker;
    return 0;
}
