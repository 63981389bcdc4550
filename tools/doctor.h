/*
 * What the parts of `kitfs doctor` share: what is found, one line or one JSON object
 * each. One thread.
 */
#ifndef KF_TOOLS_DOCTOR_H
#define KF_TOOLS_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>

struct kf_options;

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

/* What the reference names, and the way to it (tools/doctor_registry.c). */
void kf_doctor_reference(struct kf_doctor *doctor);

#endif
