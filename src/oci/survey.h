/*
 * What the answers of a registry tell about it, for those who want to know how it behaves
 * (kitfs doctor): decisions and words. Pure; any thread. Input is a stranger's; what
 * comes out is printable ASCII, and never more of a URL than its origin.
 */
#ifndef KF_OCI_SURVEY_H
#define KF_OCI_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/http.h"
#include "oci/hops.h"

struct kf_call;

#define KF_SURVEY_TEXT_SIZE 512
#define KF_SURVEY_ORIGIN_SIZE 300
#define KF_SURVEY_VALUE_SIZE 65

/* ---- how long a signed URL is good ---- */

/* By its query: X-Amz-Expires and X-Goog-Expires are seconds from its signing on; Expires
 * (Unix time) and se (RFC 3339) end at a time, which is counted from `now_s` and may have
 * passed. The first that can be read counts. False: it does not say. */
bool kf_survey_url_life(const char *url, int64_t now_s, int64_t *ret_s);

/* "45 s", "20 min", "12 h", "7 days", rounded down; returns `out`. */
char *kf_survey_span(int64_t seconds, char out[32]);

/* ---- ranges ---- */

enum kf_survey_ranges {
    KF_SURVEY_UNASKED,
    KF_SURVEY_YES,    /* 206 */
    KF_SURVEY_AS_200, /* 200 with exactly the Content-Range */
    KF_SURVEY_WHOLE,  /* 200 with the whole blob */
    KF_SURVEY_REFUSED,
    KF_SURVEY_WRONG,  /* an answer that breaks a rule */
    KF_SURVEY_SILENT, /* none, or not in time */
};

/* Of a ranged exchange that ended. */
enum kf_survey_ranges kf_survey_ranges_of(const struct kf_exchange *exchange);
/* "206", "200", "whole", "refused", "wrong", "silent"; static. */
const char *kf_survey_ranges_name(enum kf_survey_ranges ranges);
/* Whether a mount can read through it. */
bool kf_survey_can_read(enum kf_survey_ranges ranges);

/* ---- throughput ---- */

#define KF_SURVEY_STEPS 4u
#define KF_SURVEY_LANES 8u

/* How many connections are tried: 1, 2, 4 and 8, none above `connections`, and that
 * itself where it is less than 8. Returns how many numbers these are. */
size_t kf_survey_steps(unsigned connections, unsigned ret[KF_SURVEY_STEPS]);

/* What each step reads of a blob: `count` pieces, at most 32 MiB. */
struct kf_survey_load {
    uint64_t piece, count; /* bytes of one, and how many in a step */
    uint64_t whole;        /* pieces that the blob has; more than a step, or as many */
};
/* False: the blob is too small (8 MiB). */
bool kf_survey_load_of(uint64_t size, struct kf_survey_load *ret);
/* Where a step's piece is. Steps read one after the other, and begin again at the end of
 * the blob. */
uint64_t kf_survey_piece(const struct kf_survey_load *load, size_t step, uint64_t index);

/* ---- what one host has shown ---- */

struct kf_survey_hop {
    int status;
    bool relative;                  /* its Location */
    char to[KF_SURVEY_ORIGIN_SIZE]; /* "": it was not followed */
};

#define KF_SURVEY_LIMITS 9u

struct kf_survey {
    struct kf_survey_hop hops[KF_HOPS_LIMIT]; /* of the last call */
    size_t hop_count;
    bool has_life;
    int64_t life_s;                                      /* of the URL that it led to */
    char limits[KF_SURVEY_LIMITS][KF_SURVEY_VALUE_SIZE]; /* the last ones; "": not said */
    bool limited;                                        /* an answer was 429 */
    int64_t retry_after_ns;                              /* of it; 0: not said */
};

/* Takes notes of an answer to a call. */
void kf_survey_note(struct kf_survey *survey, const struct kf_call *call, int64_t now_s);

/* Names of `limits` as the header fields have them, in that order; static. */
const char *kf_survey_limit_name(size_t index);
/* Whether any was said. */
bool kf_survey_has_limits(const struct kf_survey *survey);
/* Whether none is left by what was said. */
bool kf_survey_is_spent(const struct kf_survey *survey);

/* Continuations of "HOST ...": "redirects to https://cdn.example (307); that URL is good
 * for 20 min"; "limits requests: 100 per 6 h, 76 left". Return `out`. */
char *kf_survey_hops_words(const struct kf_survey *survey, char out[KF_SURVEY_TEXT_SIZE]);
char *kf_survey_limits_words(const struct kf_survey *survey,
                             char out[KF_SURVEY_TEXT_SIZE]);

#endif
