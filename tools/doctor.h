/*
 * What the parts of `kitfs doctor` share: what is found, one line or one JSON object
 * each. One thread.
 */
#ifndef KF_TOOLS_DOCTOR_H
#define KF_TOOLS_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct kf_desc;
struct kf_options;
struct kf_origin;

enum kf_verdict { KF_OK, KF_WARN, KF_FAIL };

struct kf_doctor {
    const struct kf_options *options;
    json_t *list; /* --json; NULL: words */
    bool failed;  /* a mount cannot work */
};

/* A line of text, which may be a stranger's in part; in JSON {check, verdict, text} and
 * what `more` has, which is taken over and may be NULL. */
void kf_doctor_say(struct kf_doctor *doctor, const char *check, enum kf_verdict verdict,
                   json_t *more, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* That it was not tried: "since the others took all the time". */
void kf_doctor_skip(struct kf_doctor *doctor, const char *what, const char *why);

/* What the reference names, and the way to it (tools/doctor_registry.c). */
void kf_doctor_reference(struct kf_doctor *doctor);

/* How fast a blob comes with 1 to 8 connections, until then at the latest
 * (tools/doctor_speed.c). Reads up to 128 MiB. */
void kf_doctor_speed(struct kf_doctor *doctor, struct kf_origin *origin,
                     const struct kf_desc *blob, int64_t end_ns);

#endif
