/*
 * The way to a kit, for `kitfs doctor`: what the registry that the reference names, and
 * each mirror of it, does with the requests that a mount sends. Each step has its time,
 * and so have all together: a registry that hangs does not hang us.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/workq.h"
#include "doctor.h"
#include "kit/choose.h"
#include "oci/auth.h"
#include "oci/call.h"
#include "oci/origin.h"
#include "oci/registry.h"
#include "oci/survey.h"
#include "opened.h"
#include "options.h"

#define MANIFEST_TIME (10 * KF_NS_PER_S)
#define PROBE_TIME (5 * KF_NS_PER_S)
#define ALL_TIME (60 * KF_NS_PER_S)
#define SAMPLE ((uint64_t)64 << 10)
#define INDEX_NESTING 2u

struct visit {
    struct kf_doctor *doctor;
    struct kf_origin *origin;
    struct kf_registry *registry; /* the same; NULL: a layout, or a store */
    struct kf_survey *hosts;      /* mirrors, then the registry; NULL without one */
    int64_t end_ns;               /* of all that is tried */
    char type[128];               /* Content-Type of the last answer */
};

struct probe {
    enum kf_survey_ranges ranges;
    int status;
    int64_t took_ns;
    struct kf_err err; /* where it cannot be read through */
};

static int64_t ms_since(int64_t began_ns)
{
    return (kf_now_ns() - began_ns) / KF_NS_PER_MS;
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? kf_json_name(text, strlen(text)) : json_null();
}

static const struct kf_endpoint *endpoint_of(const struct visit *visit, size_t index)
{
    return index < visit->registry->mirror_count ? &visit->registry->mirrors[index]
                                                 : &visit->registry->upstream;
}

static void on_answer(void *arg, const struct kf_call *call)
{
    struct visit *visit = arg;
    const char *type = call->exchange.fields[KF_HTTP_CONTENT_TYPE];
    size_t index = 0;

    while (endpoint_of(visit, index) != call->endpoint)
        index++; /* it is one of them */
    kf_survey_note(&visit->hosts[index], call, kf_wall_s());
    (void)snprintf(visit->type, sizeof(visit->type), "%.*s",
                   type ? (int)strcspn(type, "; ") : 0,
                   type ? type : ""); /* cut is fine */
}

/* ---- login ------------------------------------------------------------------------- */

static bool has_authorization_line(const struct kf_endpoint *endpoint)
{
    const struct kf_strings *lines = &endpoint->settings.headers;

    for (size_t i = 0; i < lines->count; i++)
        if (strncasecmp(lines->items[i], "authorization:", 14) == 0)
            return true;
    return false;
}

/* "HOST asks for a password (Basic)", and whose there is. */
static void name_credentials(const struct kf_auth_state *state, const char *host,
                             char *out, size_t size)
{
    bool basic = state->asks == KF_CHALLENGE_BASIC;

    if (state->user[0])
        (void)snprintf(out, size, "that of \"%s\", from %s", state->user, state->from);
    else if (state->from[0])
        (void)snprintf(out, size, "a token, from %s", state->from);
    else if (basic || !state->granted)
        (void)snprintf(out, size, "there is none (kitfs login %s)", host);
    else
        (void)snprintf(out, size, "got without credentials");
    if (state->from[0] && !state->granted)
        (void)snprintf(out + strlen(out), size - strlen(out), ", is not taken");
}

static void say_login(struct visit *visit, size_t index)
{
    static const char *const schemes[] = {[KF_CHALLENGE_NONE] = "none",
                                          [KF_CHALLENGE_BASIC] = "basic",
                                          [KF_CHALLENGE_BEARER] = "bearer"};
    const struct kf_endpoint *endpoint = endpoint_of(visit, index);
    const char *host = endpoint->host;
    struct kf_auth_state state;
    char whose[512];
    json_t *more;

    kf_auth_look(endpoint->auth, &state);
    name_credentials(&state, host, whose, sizeof(whose));
    more = json_pack("{s:s, s:s, s:b, s:o, s:o, s:o}", "host", host, "scheme",
                     schemes[state.asks], "granted", state.granted, "tokens_by",
                     text_or_null(state.tokens_by), "user", text_or_null(state.user),
                     "credentials", text_or_null(state.from));
    if (state.asks == KF_CHALLENGE_NONE)
        kf_doctor_say(visit->doctor, "login", KF_OK, more, "%s asks for no login%s", host,
                      has_authorization_line(endpoint)
                          ? " beyond the header line of hosts.toml"
                          : "");
    else if (state.asks == KF_CHALLENGE_BASIC)
        kf_doctor_say(visit->doctor, "login", state.granted ? KF_OK : KF_WARN, more,
                      "%s asks for a password (Basic): %s", host, whose);
    else
        kf_doctor_say(visit->doctor, "login", state.granted ? KF_OK : KF_WARN, more,
                      "%s asks for a token (Bearer) of %s: %s", host, state.tokens_by,
                      whose);
}

/* ---- ranges, redirections, rate limits --------------------------------------------- */

static void ask_range(struct visit *visit, size_t index, const struct kf_desc *blob,
                      struct probe *ret)
{
    const struct kf_endpoint *endpoint = endpoint_of(visit, index);
    int64_t began = kf_now_ns(), deadline = kf_deadline_ns(PROBE_TIME);
    kf_auto(kf_call_fini) struct kf_call call;
    kf_auto(kf_buf_fini) struct kf_buf body;
    char digest[KF_DIGEST_TEXT_SIZE];
    int rc;

    *ret = (struct probe){.ranges = KF_SURVEY_SILENT};
    kf_buf_init(&body, SAMPLE);
    rc = kf_call_init(
        &call, visit->registry,
        kf_endpoint_url(endpoint, "blobs/%s", kf_digest_format(&blob->digest, digest)),
        deadline < visit->end_ns ? deadline : visit->end_ns, &body, &ret->err);
    if (rc != 0)
        return;
    call.endpoint = endpoint;
    call.max_tries = 1;
    call.exchange.ranged = true;
    call.exchange.length = kf_min_u64(SAMPLE, blob->size);
    call.exchange.total = blob->size;
    rc = kf_call_run(&call, &ret->err);
    ret->took_ns = kf_now_ns() - began;
    ret->status = call.exchange.status;
    ret->ranges = kf_survey_ranges_of(&call.exchange);
    if (rc != 0 && kf_survey_can_read(ret->ranges))
        ret->ranges = KF_SURVEY_SILENT; /* the whole blob, but cut */
}

static void say_ranges(struct visit *visit, size_t index, const struct kf_desc *blob,
                       const struct probe *probe, enum kf_verdict failed)
{
    const char *host = endpoint_of(visit, index)->host;
    uint64_t size = kf_min_u64(SAMPLE, blob->size);
    long long ms = probe->took_ns / KF_NS_PER_MS;
    char digest[KF_DIGEST_TEXT_SIZE], size_text[32];
    json_t *more =
        json_pack("{s:s, s:s, s:i, s:s, s:I, s:I}", "host", host, "answer",
                  kf_survey_ranges_name(probe->ranges), "status", probe->status, "blob",
                  kf_digest_format(&blob->digest, digest), "bytes", (json_int_t)size,
                  "ms", (json_int_t)ms);

    if (probe->ranges == KF_SURVEY_WHOLE)
        kf_doctor_say(visit->doctor, "ranges", KF_WARN, more,
                      "%s sends the whole blob where a range is asked for: much is "
                      "fetched twice",
                      host);
    else if (kf_survey_can_read(probe->ranges))
        kf_doctor_say(visit->doctor, "ranges", KF_OK, more,
                      "%s gives ranges (%s): the first %s in %lld ms", host,
                      probe->ranges == KF_SURVEY_YES ? "206" : "200 with Content-Range",
                      kf_format_size(size, size_text), ms);
    else
        kf_doctor_say(visit->doctor, "ranges", failed, more,
                      "%s gives no range of a layer: %s", host, probe->err.message);
}

static void say_redirects(struct visit *visit, size_t index)
{
    const struct kf_survey *survey = &visit->hosts[index];
    const char *host = endpoint_of(visit, index)->host;
    char words[KF_SURVEY_TEXT_SIZE];
    json_t *hops = json_array();

    for (size_t i = 0; i < survey->hop_count; i++) {
        const struct kf_survey_hop *hop = &survey->hops[i];

        (void)json_array_append_new(hops,
                                    json_pack("{s:i, s:o, s:b}", "status", hop->status,
                                              "to", text_or_null(hop->to), "relative",
                                              hop->relative)); /* no memory: one less */
    }
    kf_doctor_say(
        visit->doctor, "redirects",
        survey->has_life && survey->life_s <= 0 ? KF_WARN : KF_OK,
        json_pack("{s:s, s:o, s:o}", "host", host, "hops", hops, "url_life_s",
                  survey->has_life ? json_integer(survey->life_s) : json_null()),
        "%s %s", host, kf_survey_hops_words(survey, words));
}

static void say_limits(struct visit *visit, size_t index)
{
    const struct kf_survey *survey = &visit->hosts[index];
    const char *host = endpoint_of(visit, index)->host;
    bool spent = survey->limited || kf_survey_is_spent(survey);
    json_int_t wait_s = survey->retry_after_ns / KF_NS_PER_S;
    char words[KF_SURVEY_TEXT_SIZE];
    json_t *headers = json_object();

    for (size_t i = 0; i < KF_SURVEY_LIMITS; i++)
        if (survey->limits[i][0])
            (void)json_object_set_new(headers, kf_survey_limit_name(i),
                                      json_string(survey->limits[i]));
    kf_doctor_say(
        visit->doctor, "rate_limits", spent ? KF_WARN : KF_OK,
        json_pack("{s:s, s:o, s:b, s:o}", "host", host, "headers", headers, "limited",
                  survey->limited, "retry_after_s",
                  survey->retry_after_ns > 0 ? json_integer(wait_s) : json_null()),
        "%s %s", host, kf_survey_limits_words(survey, words));
}

/* What can be told of a host besides its ranges. */
static void say_manners(struct visit *visit, size_t index, bool answered)
{
    struct kf_auth_state state;

    kf_auth_look(endpoint_of(visit, index)->auth, &state);
    if (answered || state.asks != KF_CHALLENGE_NONE)
        say_login(visit, index);
    if (answered || visit->hosts[index].limited ||
        kf_survey_has_limits(&visit->hosts[index]))
        say_limits(visit, index);
}

/* ---- all hosts --------------------------------------------------------------------- */

static bool can_pull(const struct visit *visit, size_t index)
{
    struct kf_route_host host;

    kf_route_look(&visit->registry->route, index, &host);
    return (host.can & KF_HOST_PULL) != 0;
}

/* One after the other: a mount asks the first that does. Returns the best that one did:
 * the order of the enum but for none. */
static enum kf_survey_ranges ask_hosts(struct visit *visit, const struct kf_desc *blob)
{
    enum kf_survey_ranges best = KF_SURVEY_UNASKED;
    size_t last = visit->registry->mirror_count;
    bool all = false;

    while (last > 0 && !can_pull(visit, last))
        last--;
    for (size_t i = 0; i <= last; i++) {
        struct probe probe;

        if (!can_pull(visit, i))
            continue;
        if (kf_now_ns() >= visit->end_ns) {
            kf_doctor_skip(visit->doctor, endpoint_of(visit, i)->host,
                           "since the others took all the time");
            break;
        }
        ask_range(visit, i, blob, &probe);
        if (best == KF_SURVEY_UNASKED || probe.ranges < best)
            best = probe.ranges;
        say_ranges(visit, i, blob, &probe,
                   i == last && !kf_survey_can_read(best) ? KF_FAIL : KF_WARN);
        all = i == last;
        if (visit->hosts[i].hop_count > 0 || kf_survey_can_read(probe.ranges))
            say_redirects(visit, i);
        say_manners(visit, i, probe.status != 0);
    }
    if (!all && !kf_survey_can_read(best))
        kf_doctor_say(visit->doctor, "ranges", KF_FAIL, NULL,
                      "no host could be asked for a layer");
    return best;
}

static bool is_limited(const struct visit *visit)
{
    for (size_t i = 0; i <= visit->registry->mirror_count; i++)
        if (visit->hosts[i].limited || kf_survey_is_spent(&visit->hosts[i]))
            return true;
    return false;
}

static void ask_registry(struct visit *visit, const struct kf_desc *blob)
{
    enum kf_survey_ranges best = ask_hosts(visit, blob);

    if (is_limited(visit))
        kf_doctor_skip(visit->doctor, "throughput", "since requests are limited");
    else if (best != KF_SURVEY_YES && best != KF_SURVEY_AS_200)
        kf_doctor_skip(visit->doctor, "throughput", "for want of ranges");
    else
        kf_doctor_speed(visit->doctor, visit->origin, blob, visit->end_ns);
}

/* ---- a layout, or a store ---------------------------------------------------------- */

/* A range in the middle of the largest layer: what every read will do. */
static void read_range(struct visit *visit, const struct kf_desc *blob)
{
    const char *kind = visit->origin->kind;
    uint64_t middle = blob->size / 2;
    struct kf_err err = {0};
    struct kf_source *source = kf_origin_blob(visit->origin, blob, &err);
    kf_auto(kf_free) uint8_t *sample = malloc(SAMPLE);
    int64_t began = kf_now_ns();

    if (source && sample &&
        kf_source_read(source, sample, middle,
                       (size_t)kf_min_u64(SAMPLE, blob->size - middle),
                       kf_deadline_ns(PROBE_TIME), &err) == 0)
        kf_doctor_say(visit->doctor, "ranges", KF_OK, NULL,
                      "%s gives ranges; the first took %lld ms", kind,
                      (long long)ms_since(began));
    else
        kf_doctor_say(visit->doctor, "ranges", KF_FAIL, NULL,
                      "%s gives no range of a layer: %s", kind, err.message);
    kf_source_close(source);
}

/* ---- the manifest ------------------------------------------------------------------ */

static int choose_from(const struct kf_buf *bytes, struct kf_digest *ret,
                       struct kf_err *err)
{
    struct kf_index index;
    int rc;

    if (kf_index_parse(&index, bytes->data, bytes->length, err) != 0)
        return -1;
    rc = kf_choose_entry(ret, &index, NULL, err);
    kf_index_fini(&index);
    return rc;
}

/* Through indexes, as a mount without labels would. */
static int find_manifest(struct visit *visit, const struct kf_ref *ref,
                         struct kf_manifest *ret, struct kf_digest *ret_digest,
                         struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE];
    const char *name = ref->has_digest ? kf_digest_format(&ref->digest, text)
                       : ref->tag      ? ref->tag
                                       : "";
    kf_auto(kf_buf_fini) struct kf_buf bytes;
    enum kf_manifest_kind kind;

    kf_buf_init(&bytes, KF_MANIFEST_LIMIT);
    for (unsigned depth = 0;; depth++) {
        struct kf_digest next;

        kf_buf_clear(&bytes);
        if (kf_origin_manifest(visit->origin, name, NULL, &bytes, ret_digest, err) != 0 ||
            kf_manifest_kind(bytes.data, bytes.length, &kind, err) != 0)
            return -1;
        if (kind == KF_KIND_MANIFEST)
            return kf_manifest_parse(ret, bytes.data, bytes.length, err);
        if (depth == INDEX_NESTING)
            return kf_fail(err, KF_E_LIMIT, "indexes nested more than %u deep",
                           INDEX_NESTING);
        if (choose_from(&bytes, &next, err) != 0)
            return -1;
        name = kf_digest_format(&next, text);
    }
}

static void say_no_manifest(struct visit *visit, const struct kf_err *err)
{
    kf_doctor_say(visit->doctor, "manifest", KF_FAIL, NULL, "%s: %s", visit->origin->kind,
                  err->message);
    if (!visit->registry)
        return;
    for (size_t i = 0; i <= visit->registry->mirror_count; i++)
        say_manners(visit, i, false);
    kf_doctor_skip(visit->doctor, "ranges, redirects, throughput",
                   "for want of a manifest");
}

static const struct kf_desc *largest_of(const struct kf_manifest *manifest)
{
    const struct kf_desc *largest = NULL;

    for (size_t i = 0; i < manifest->layer_count; i++)
        if (manifest->layers[i].size > 0 &&
            (!largest || manifest->layers[i].size > largest->size))
            largest = &manifest->layers[i];
    return largest;
}

static void look_at(struct visit *visit, const struct kf_ref *ref)
{
    struct kf_manifest manifest = {0};
    char text[KF_DIGEST_TEXT_SIZE];
    const struct kf_desc *largest;
    int64_t began = kf_now_ns(), ms;
    struct kf_digest digest;
    struct kf_err err = {0};
    const char *type;

    if (find_manifest(visit, ref, &manifest, &digest, &err) != 0) {
        say_no_manifest(visit, &err);
        return;
    }
    ms = ms_since(began);
    (void)kf_digest_format(&digest, text);
    /* It need not say what it is; then the registry does. */
    type = manifest.media_type[0] ? manifest.media_type : visit->type;
    kf_doctor_say(visit->doctor, "manifest", KF_OK,
                  json_pack("{s:s, s:o, s:I}", "digest", text, "media_type",
                            text_or_null(type), "ms", (json_int_t)ms),
                  "%s has %s (%s) in %lld ms", visit->origin->kind, text,
                  type[0] ? type : "no media type", (long long)ms);
    largest = largest_of(&manifest);
    if (!largest)
        kf_doctor_skip(visit->doctor, "ranges, redirects, throughput",
                       "for want of a layer");
    else if (visit->registry)
        ask_registry(visit, largest);
    else
        read_range(visit, largest);
    kf_manifest_fini(&manifest);
}

/* ---- the reference ----------------------------------------------------------------- */

static void visit_origin(struct kf_doctor *doctor, struct kf_origin *origin,
                         const struct kf_ref *ref)
{
    struct visit visit = {.doctor = doctor,
                          .origin = origin,
                          .registry = kf_registry_of(origin),
                          .end_ns = kf_deadline_ns(ALL_TIME)};

    if (visit.registry) {
        visit.hosts = calloc(visit.registry->mirror_count + 1, sizeof(*visit.hosts));
        if (!visit.hosts) {
            kf_doctor_say(doctor, "manifest", KF_FAIL, NULL, "no memory");
            return;
        }
        visit.registry->answered = on_answer;
        visit.registry->answered_arg = &visit;
    }
    look_at(&visit, ref);
    free(visit.hosts);
}

void kf_doctor_reference(struct kf_doctor *doctor)
{
    const struct kf_options *options = doctor->options;
    struct kf_origin_opts opts;
    struct kf_origin *origin = NULL;
    struct kf_ref ref = {0};
    struct kf_err err = {0};
    kf_auto(kf_free) char *text =
        kf_ref_with_tag(options->args[0], options->quiet || options->json, &err);

    kf_origin_from_options(&opts, options);
    opts.timeout_ns = MANIFEST_TIME;
    opts.workq = text ? kf_workq_new(2, &err) : NULL;
    if (!opts.workq || kf_ref_parse(&ref, text, &err) != 0 ||
        kf_origin_open(&origin, &ref, &opts, &err) != 0)
        kf_doctor_say(doctor, "reference", KF_FAIL, NULL, "%s: %s", options->args[0],
                      err.message);
    else
        visit_origin(doctor, origin, &ref);
    kf_origin_close(origin);
    kf_ref_fini(&ref);
    kf_workq_free(opts.workq);
}
