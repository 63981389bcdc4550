/*
 * How fast a layer comes, for `kitfs doctor`: read as a mount reads it, in ranges,
 * through the source that a mount uses, with more and more of them at the same time. What
 * comes is counted and dropped.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/source.h"
#include "doctor.h"
#include "oci/origin.h"
#include "oci/route.h"
#include "oci/survey.h"
#include "options.h"

#define STEP_TIME (2 * KF_NS_PER_S)
#define FIRST_TIME (10 * KF_NS_PER_S)
#define FIRST_SIZE ((size_t)64 << 10)
#define MEGABYTE 1e6

struct lane {
    struct kf_source_req req;
    struct kf_sink sink;
    struct step *step;
};

/* So many lanes, each of which reads one piece after the other. */
struct step {
    struct kf_source *source;
    const struct kf_survey_load *load;
    size_t number;
    int64_t deadline_ns;
    uint64_t received; /* atomic; bytes */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    uint64_t next;      /* under the lock, as are the others: the next piece */
    unsigned under_way; /* lanes */
    struct kf_err err;  /* of the first piece that failed before its time was over */
    struct lane lanes[KF_SURVEY_LANES];
};

struct result {
    unsigned connections;
    uint64_t bytes;
    int64_t took_ns;
};

static int on_write(struct kf_sink *sink, const uint8_t *data, size_t length,
                    struct kf_err *err)
{
    struct lane *lane = kf_container_of(sink, struct lane, sink);

    (void)data;
    (void)err;
    (void)__atomic_add_fetch(&lane->step->received, length, __ATOMIC_RELAXED);
    return 0;
}

/* The lane's next piece; false: there is none. */
static bool take_piece_locked(struct lane *lane)
{
    struct step *step = lane->step;

    if (step->next == step->load->count || step->err.kind != KF_E_NONE ||
        kf_now_ns() >= step->deadline_ns)
        return false;
    lane->req.offset = kf_survey_piece(step->load, step->number, step->next++);
    lane->req.length = step->load->piece;
    return true;
}

static void on_done(struct kf_source_req *req, const struct kf_err *err)
{
    struct lane *lane = kf_container_of(req, struct lane, req);
    struct step *step = lane->step;
    struct kf_source *source = step->source;
    bool more;

    (void)pthread_mutex_lock(&step->lock);
    if (err && kf_now_ns() < step->deadline_ns && step->err.kind == KF_E_NONE)
        step->err = *err;
    more = !err && take_piece_locked(lane);
    if (!more) {
        step->under_way--;
        (void)pthread_cond_signal(&step->cond);
    }
    (void)pthread_mutex_unlock(&step->lock);
    if (more)
        kf_source_submit(source, req);
}

static void start(struct step *step, unsigned count)
{
    bool begun[KF_SURVEY_LANES] = {false};

    (void)pthread_mutex_lock(&step->lock);
    for (unsigned i = 0; i < count; i++) {
        struct lane *lane = &step->lanes[i];

        *lane = (struct lane){.step = step, .sink.write = on_write};
        lane->req = (struct kf_source_req){.sink = &lane->sink,
                                           .urgency = KF_DEMAND,
                                           .deadline_ns = step->deadline_ns,
                                           .done = on_done};
        begun[i] = take_piece_locked(lane);
        step->under_way += begun[i] ? 1 : 0;
    }
    (void)pthread_mutex_unlock(&step->lock);
    for (unsigned i = 0; i < count; i++)
        if (begun[i])
            kf_source_submit(step->source, &step->lanes[i].req);
}

static int run_step(struct step *step, struct result *ret, struct kf_err *err)
{
    int64_t began = kf_now_ns();

    step->received = step->next = 0;
    step->deadline_ns = kf_deadline_ns(STEP_TIME);
    start(step, ret->connections);
    (void)pthread_mutex_lock(&step->lock);
    while (step->under_way > 0) /* the source keeps their deadlines */
        (void)kf_cond_wait_until(&step->cond, &step->lock, KF_NO_DEADLINE);
    (void)pthread_mutex_unlock(&step->lock);
    ret->took_ns = kf_now_ns() - began;
    ret->bytes = __atomic_load_n(&step->received, __ATOMIC_RELAXED);
    if (step->err.kind == KF_E_NONE)
        return 0;
    *err = step->err;
    return -1;
}

/* ---- words ------------------------------------------------------------------------- */

/* Who has answered more often than before. */
static void find_host(struct kf_origin *origin, const uint64_t *before, char *ret,
                      size_t size)
{
    struct kf_origin_host host;
    uint64_t most = 0;

    (void)snprintf(ret, size, "%s", origin->kind);
    for (size_t i = 0; i < KF_ROUTE_LIMIT && kf_origin_host(origin, i, &host); i++)
        if (host.answers - before[i] > most) {
            most = host.answers - before[i];
            (void)snprintf(ret, size, "%s", host.name); /* as long */
        }
}

static void note_answers(struct kf_origin *origin, uint64_t ret[KF_ROUTE_LIMIT])
{
    struct kf_origin_host host;

    for (size_t i = 0; i < KF_ROUTE_LIMIT && kf_origin_host(origin, i, &host); i++)
        ret[i] = host.answers;
}

static double rate_of(const struct result *result)
{
    return result->took_ns > 0 ? (double)result->bytes / MEGABYTE /
                                     ((double)result->took_ns / (double)KF_NS_PER_S)
                               : 0;
}

/* "1 connection 96, 2 connections 180" */
static void add_words(char *out, size_t size, const struct result *result, bool first)
{
    size_t length = strlen(out);
    double rate = rate_of(result);

    (void)snprintf(out + length, size - length, "%s%u connection%s %.*f",
                   first ? "" : ", ", result->connections,
                   result->connections == 1 ? "" : "s", rate < 10 ? 1 : 0,
                   rate); /* fits */
}

static json_t *json_of(const struct result *result)
{
    return json_pack("{s:I, s:I, s:I, s:f}", "connections",
                     (json_int_t)result->connections, "bytes", (json_int_t)result->bytes,
                     "ms", (json_int_t)(result->took_ns / KF_NS_PER_MS), "mb_per_s",
                     rate_of(result));
}

/* ---- all of it --------------------------------------------------------------------- */

/* Finds the way, so that redirections and logins are not measured. */
static int read_first(struct kf_source *source, struct kf_err *err)
{
    kf_auto(kf_free) uint8_t *data = malloc(FIRST_SIZE);

    return data ? kf_source_read(source, data, kf_source_size(source) / 2, FIRST_SIZE,
                                 kf_deadline_ns(FIRST_TIME), err)
                : kf_fail(err, KF_E_NOMEM, "no memory");
}

/* Words and objects of the steps; -1: one failed, or there was no time. */
static int run_steps(struct kf_doctor *doctor, struct step *step, int64_t end_ns,
                     char *words, size_t size, json_t *steps, struct kf_err *err)
{
    unsigned connections[KF_SURVEY_STEPS];
    size_t count = kf_survey_steps(doctor->options->connections, connections);

    for (step->number = 0; step->number < count; step->number++) {
        struct result result = {.connections = connections[step->number]};

        if (kf_deadline_ns(STEP_TIME) > end_ns)
            return kf_fail(err, KF_E_TIMEOUT, "no time is left");
        if (run_step(step, &result, err) != 0)
            return -1;
        add_words(words, size, &result, step->number == 0);
        (void)json_array_append_new(steps, json_of(&result)); /* no memory: one less */
    }
    return 0;
}

static void measure(struct kf_doctor *doctor, struct kf_origin *origin, struct step *step,
                    int64_t end_ns)
{
    uint64_t before[KF_ROUTE_LIMIT] = {0};
    char words[256] = "", host[KF_ORIGIN_HOST_SIZE];
    struct kf_err err = {0};
    json_t *steps = json_array(), *more;
    int rc;

    note_answers(origin, before);
    rc = read_first(step->source, &err);
    if (rc == 0)
        rc = run_steps(doctor, step, end_ns, words, sizeof(words), steps, &err);
    find_host(origin, before, host, sizeof(host));
    more = json_pack("{s:s, s:s, s:o}", "host", host, "blob", step->source->name, "steps",
                     steps);
    if (rc == 0)
        kf_doctor_say(doctor, "throughput", KF_OK, more, "%s: %s MB/s", host, words);
    else if (words[0])
        kf_doctor_say(doctor, "throughput", KF_WARN, more, "%s: %s MB/s, then %s", host,
                      words, err.message);
    else
        kf_doctor_say(doctor, "throughput", KF_FAIL, more, "%s: %s", host, err.message);
}

void kf_doctor_speed(struct kf_doctor *doctor, struct kf_origin *origin,
                     const struct kf_desc *blob, int64_t end_ns)
{
    kf_auto(kf_free) struct step *step = calloc(1, sizeof(*step));
    struct kf_survey_load load;
    struct kf_err err = {0};

    if (!kf_survey_load_of(blob->size, &load)) {
        kf_doctor_skip(doctor, "throughput", "for want of a layer of 8 MiB");
        return;
    }
    if (kf_deadline_ns(FIRST_TIME + STEP_TIME) > end_ns) {
        kf_doctor_skip(doctor, "throughput", "since the hosts took all the time");
        return;
    }
    if (!step || !(step->source = kf_origin_blob(origin, blob, &err))) {
        kf_doctor_skip(doctor, "throughput", "for want of memory");
        return;
    }
    step->load = &load;
    (void)pthread_mutex_init(&step->lock, NULL); /* default attributes: cannot fail */
    (void)kf_cond_init(&step->cond);
    measure(doctor, origin, step, end_ns);
    kf_source_close(step->source);
    (void)pthread_cond_destroy(&step->cond);
    (void)pthread_mutex_destroy(&step->lock);
}
