/*
 * What registries write in JSON besides manifests: error bodies and tag lists
 * (distribution spec, "Error Codes" and "Listing Tags"). Pure; any thread; input is a
 * stranger's.
 */
#ifndef KF_OCI_REPLY_H
#define KF_OCI_REPLY_H

#include <stdbool.h>
#include <stddef.h>

struct kf_err;
struct kf_strings;

#define KF_REPLY_TEXT_SIZE 160
#define KF_REPLY_TAG_LIMIT 100000u /* of one repository */

/* The first error's message, else its code: printable, cut to fit. "" when the body is
 * not such a list (a proxy's HTML); returns `out`. */
char *kf_reply_error(char out[KF_REPLY_TEXT_SIZE], const void *json, size_t length);

/* Appends the page's tags; `"tags": null` is none. A name that is no tag is
 * KF_E_MALFORMED; more than KF_REPLY_TAG_LIMIT in `ret`, a page of more than
 * KF_REGISTRY_PAGE_LIMIT bytes, or one with far more values than tags, KF_E_LIMIT. */
int kf_reply_tags(struct kf_strings *ret, const void *json, size_t length,
                  struct kf_err *err);

/* [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127} */
bool kf_reply_is_tag(const char *text);

#endif
