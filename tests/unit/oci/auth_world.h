/*
 * A registry that wants a login, and its token service: two peers on loopback that answer
 * by rule, one more for redirections, credentials made up, and a blob that is read. One
 * world a test; test_auth*.c share it.
 */
#ifndef TESTS_OCI_AUTH_WORLD_H
#define TESTS_OCI_AUTH_WORLD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct kf_creds;
struct kf_http_answer;
struct kf_http_peer;

#define AUTH_SIZE 4096u /* of the blob */
#define AUTH_WAIT_NS (30 * KF_NS_PER_S)
#define AUTH_START_NS (1000 * KF_NS_PER_S) /* for a fake clock */
#define AUTH_SCOPE "repository:a/b:pull"
#define AUTH_SCOPE_SENT "scope=repository%3Aa%2Fb%3Apull"

/* Changed by the test while no request is under way. */
extern struct auth_is {
    /* The registry: what it asks for, and what it takes. */
    char challenge[256];
    char takes[6000]; /* the value of Authorization; "": nothing is taken */
    bool harbor, ecr, narrow;
    char wider[256]; /* the challenge of one that is narrow */
    /* The token service. */
    int status;         /* of all its answers; 0: by rule */
    int get_status;     /* of those to GET */
    const char *body;   /* of an answer; NULL: a token, which the registry takes */
    size_t body_length; /* 0: a text */
    const char *more;   /* fields behind the token's */
    const char *value;  /* of a token; NULL: t1, t2, ... */
    char location[128]; /* of a redirection; "": none */
    bool hangs, useless;
    unsigned given;
} auth_is;

/* What credentials there are; none at first. */
extern struct auth_known {
    const char *username, *password, *identity, *registry;
    bool fails;
} auth_known;
extern unsigned auth_finds; /* how often they were looked up; atomic */
extern struct kf_creds auth_creds;

extern struct kf_http_peer *auth_registry, *auth_tokens, *auth_third;
extern char auth_content[AUTH_SIZE];
extern struct kf_origin *auth_origin;
extern struct kf_source *auth_source;
extern struct kf_err auth_err;

/* For .init and .fini of a suite. */
void auth_set_up(void);
void auth_tear_down(void);
/* Opens the blob; NULL: anonymous. */
void auth_open(struct kf_creds *creds);

/* Reads 50 bytes and checks them. */
void auth_expect_read(void);
void auth_expect_failure(enum kf_err_kind kind, const char *words);
/* How many requests each has had. */
void auth_expect_requests(unsigned of_registry, unsigned of_tokens);
/* That a request, from 0, has such a text, or has not. */
void auth_expect_in(struct kf_http_peer *peer, unsigned index, const char *text);
void auth_expect_not_in(struct kf_http_peer *peer, unsigned index, const char *text);
void auth_await_tokens(unsigned count);

/* For handlers of a test's own. */
void auth_say(struct kf_http_answer *ret, int status, const char *lines, const void *data,
              size_t length);
void auth_answer_registry(void *arg, const char *request, struct kf_http_answer *ret);

#endif
