/*
 * A list of owned strings. Plain data, embedded, one thread.
 */
#ifndef KF_BASE_CONTAINERS_H
#define KF_BASE_CONTAINERS_H

#include <stddef.h>

struct kf_err;

struct kf_strings {
    char **items; /* NULL while empty */
    size_t count;
    size_t capacity;
};

void kf_strings_fini(struct kf_strings *strings);
int kf_strings_add(struct kf_strings *strings, const char *text, struct kf_err *err);
/* By bytes (memcmp order). */
void kf_strings_sort(struct kf_strings *strings);

#endif
