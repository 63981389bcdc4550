/*
 * A config as jansson sees it, within the limits of kitfile/kitfile.h; for the parts of
 * this folder. Numbers are doubles, as in kit. Pure.
 */
#ifndef KF_KITFILE_KITFILE_LOAD_H
#define KF_KITFILE_KITFILE_LOAD_H

#include <jansson.h>
#include <stddef.h>

struct kf_err;

/* The caller's; NULL with `err` when it is too large or malformed. */
json_t *kf_kitfile_load(const char *json, size_t length, struct kf_err *err);

#endif
