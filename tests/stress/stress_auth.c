/*
 * Readers on several threads over one registry that forgets tokens now and then, says so
 * in several ways, and whose token service fails, is slow, and gives tokens of no length;
 * some reads are cancelled, some have little time. Each ends once, with right bytes or a
 * reason, and what is left is freed in any order.
 *
 *     stress_auth [--rounds N] [--seed S]
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/source.h"
#include "base/workq.h"
#include "http_peer.h"
#include "oci/creds.h"
#include "oci/origin.h"

#define THREADS 4u
#define READS 12u
#define SIZE 4096u
#define LENGTH 64u

static char content[SIZE];
static struct kf_source *source;
static unsigned good, bad; /* atomic */

/* The registry's and the service's: both are served by one thread each. */
static char challenge[256];
static unsigned current;   /* atomic: the token that is taken */
static unsigned kind_seed; /* the registry's */
static unsigned token_seed;
static char body[128];

static void expect(bool right, const char *what)
{
    if (right)
        return;
    (void)fprintf(stderr, "stress_auth: %s\n", what);
    abort();
}

static unsigned draw(unsigned *seed, unsigned below)
{
    return (unsigned)rand_r(seed) % below;
}

/* ---- the registry ---- */

static void refuse(struct kf_http_answer *ret, bool sent)
{
    static const char expired[] =
        "{\"errors\":[{\"message\":\"Your authorization token has expired\"}]}";
    unsigned kind = draw(&kind_seed, 4);

    if (sent && kind == 0) {
        (void)snprintf(ret->head, sizeof(ret->head),
                       "HTTP/1.1 403 X\r\nContent-Length: %zu\r\n\r\n",
                       sizeof(expired) - 1);
        ret->body = expired;
        ret->body_length = sizeof(expired) - 1;
    } else {
        (void)snprintf(ret->head, sizeof(ret->head),
                       "HTTP/1.1 401 X\r\nContent-Length: 0\r\n"
                       "WWW-Authenticate: %s\r\n\r\n",
                       sent && kind == 1 ? "Basic realm=\"harbor\"" : challenge);
    }
}

static void answer_registry(void *arg, const char *request, struct kf_http_answer *ret)
{
    const char *sent = strstr(request, "\r\nAuthorization: Bearer t");
    const char *range = strstr(request, "\r\nRange: bytes=");
    unsigned token = 0, first = 0, last = 0;

    if (sent)
        (void)sscanf(sent, "\r\nAuthorization: Bearer t%u", &token);
    if (token == 0 || token < __atomic_load_n(&current, __ATOMIC_RELAXED)) {
        refuse(ret, sent != NULL);
        return;
    }
    expect(range && sscanf(range, "\r\nRange: bytes=%u-%u", &first, &last) == 2,
           "a request without a range");
    (void)snprintf(ret->head, sizeof(ret->head),
                   "HTTP/1.1 206 P\r\nContent-Length: %u\r\n"
                   "Content-Range: bytes %u-%u/%u\r\n\r\n",
                   last - first + 1, first, last, SIZE);
    if (draw(&kind_seed, 8) == 0) /* it is forgotten; a new one is good at first */
        (void)__atomic_add_fetch(&current, 1, __ATOMIC_RELAXED);
    ret->body = content + first;
    ret->body_length = last - first + 1;
}

static void answer_tokens(void *arg, const char *request, struct kf_http_answer *ret)
{
    static const char *const lives[] = {"", ",\"expires_in\":0.02",
                                        ",\"expires_in\":0.001",
                                        ",\"expires_in\":1,\"refresh_token\":\"r\""};
    unsigned kind = draw(&token_seed, 12);
    bool by_password = strstr(request, "\r\nAuthorization: Basic ") != NULL;

    (void)snprintf(body, sizeof(body), "{\"token\":\"t%u\"%s}",
                   __atomic_load_n(&current, __ATOMIC_RELAXED),
                   lives[draw(&token_seed, 4)]);
    (void)snprintf(ret->head, sizeof(ret->head),
                   "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n",
                   kind == 0                 ? 503
                   : kind < 5 && by_password ? 405
                                             : 200,
                   strlen(body));
    ret->body = body;
    ret->body_length = strlen(body);
    if (kind == 1)
        ret->then = KF_HTTP_THEN_CLOSE;
}

/* ---- credentials ---- */

static int find(struct kf_creds *creds, const char *host, const char *repository,
                struct kf_cred *ret, struct kf_err *err)
{
    static unsigned turn; /* one thread at a time */

    if (turn++ % 7 == 6)
        return kf_fail(err, KF_E_TIMEOUT, "no answer");
    *ret = (struct kf_cred){.from = strdup("/a/file")};
    if (turn % 3 != 0) {
        ret->username = strdup("ci");
        ret->password = strdup(turn % 3 == 1 ? "pw" : "other");
    }
    return 0;
}

static struct kf_creds creds = {find};

/* ---- readers ---- */

struct request {
    struct kf_source_req req;
    struct kf_sink sink;
    uint8_t got[LENGTH];
    size_t length;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done; /* lock */
};

static int write_got(struct kf_sink *sink, const uint8_t *data, size_t length,
                     struct kf_err *err)
{
    struct request *request = kf_container_of(sink, struct request, sink);

    expect(length <= LENGTH - request->length, "more than was asked for");
    memcpy(request->got + request->length, data, length);
    request->length += length;
    return 0;
}

static void on_done(struct kf_source_req *req, const struct kf_err *failure)
{
    struct request *request = kf_container_of(req, struct request, req);

    expect(failure || memcmp(request->got, content + req->offset, LENGTH) == 0,
           "wrong bytes");
    (void)__atomic_add_fetch(failure ? &bad : &good, 1, __ATOMIC_RELAXED); /* a count */
    (void)pthread_mutex_lock(&request->lock);
    expect(!request->done, "an end that comes twice");
    request->done = true;
    (void)pthread_cond_signal(&request->cond);
    (void)pthread_mutex_unlock(&request->lock);
}

static void read_one(unsigned *seed)
{
    struct request request = {0};

    expect(pthread_mutex_init(&request.lock, NULL) == 0, "no mutex");
    expect(pthread_cond_init(&request.cond, NULL) == 0, "no condition");
    request.sink.write = write_got;
    request.req.offset = draw(seed, SIZE - LENGTH);
    request.req.length = LENGTH;
    request.req.sink = &request.sink;
    request.req.deadline_ns = kf_deadline_ns((1 + draw(seed, 400)) * KF_NS_PER_MS);
    request.req.done = on_done;
    kf_source_submit(source, &request.req);
    (void)pthread_mutex_lock(&request.lock);
    if (draw(seed, 6) == 0 && !request.done) /* it is there as long as we hold the lock */
        kf_source_cancel(source, &request.req);
    while (!request.done)
        (void)pthread_cond_wait(&request.cond, &request.lock);
    (void)pthread_mutex_unlock(&request.lock);
    (void)pthread_cond_destroy(&request.cond);
    (void)pthread_mutex_destroy(&request.lock);
}

static void *run_reader(void *arg)
{
    unsigned seed = *(const unsigned *)arg;

    for (unsigned i = 0; i < READS; i++)
        read_one(&seed);
    return NULL;
}

/* ---- rounds ---- */

static struct kf_origin *open_source(struct kf_http_peer *registry,
                                     struct kf_workq *workq, unsigned seed)
{
    const struct kf_origin_opts opts = {
        .net = {.plain_http = true, .creds = seed % 2 ? &creds : NULL}, .workq = workq};
    kf_auto(kf_ref_fini) struct kf_ref ref = {0};
    struct kf_desc desc = {.size = SIZE};
    struct kf_origin *origin = NULL;
    struct kf_err err;
    char text[64];

    (void)snprintf(text, sizeof(text), "127.0.0.1:%u/a:v1", kf_http_peer_port(registry));
    expect(kf_ref_parse(&ref, text, &err) == 0 &&
               kf_registry_open(&origin, &ref, &opts, &err) == 0 &&
               kf_digest_of(&desc.digest, content, SIZE, &err) == 0,
           "no registry");
    source = kf_origin_blob(origin, &desc, &err);
    expect(source != NULL, "no source");
    return origin;
}

static void run_round(unsigned seed)
{
    struct kf_http_peer *registry = kf_http_peer_new(), *tokens = kf_http_peer_new();
    struct kf_err err;
    struct kf_workq *workq = kf_workq_new(2, &err);
    struct kf_origin *origin;
    pthread_t threads[THREADS];
    unsigned seeds[THREADS];

    expect(workq != NULL, "no work queue");
    current = 1;
    kind_seed = token_seed = seed;
    kf_http_peer_handle(registry, answer_registry, NULL);
    kf_http_peer_handle(tokens, answer_tokens, NULL);
    (void)snprintf(challenge, sizeof(challenge),
                   "Bearer realm=\"http://127.0.0.1:%u/t\",scope=\"repository:a:pull\"",
                   kf_http_peer_port(tokens));
    origin = open_source(registry, workq, seed);
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = seed * THREADS + i;
        expect(pthread_create(&threads[i], NULL, run_reader, &seeds[i]) == 0,
               "no thread");
    }
    kf_origin_close(origin); /* the source keeps it */
    for (unsigned i = 0; i < THREADS; i++)
        expect(pthread_join(threads[i], NULL) == 0, "a thread that is lost");
    kf_source_close(source); /* perhaps in the midst of a renewal */
    kf_workq_free(workq);
    kf_http_peer_free(registry);
    kf_http_peer_free(tokens);
}

int main(int argc, char **argv)
{
    unsigned rounds = 20, seed = (unsigned)time(NULL);

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--rounds") == 0)
            rounds = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = (unsigned)strtoul(argv[i + 1], NULL, 10);
    }
    (void)printf("seed %u, %u rounds\n", seed, rounds);
    (void)fflush(stdout); /* it may not come to an end */
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = (char)(i * 7 + i / 256);
    for (unsigned i = 0; i < rounds; i++)
        run_round(seed + i);
    (void)printf("%u reads passed, %u failed\n", good, bad);
    expect(rounds < 10 || (good > bad && bad > 0), "nothing passes, or nothing fails");
    return 0;
}
