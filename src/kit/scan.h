/*
 * One file of a kit whose layers were not streamed (kf_kit_opts.defer): they are streamed
 * until it has passed, those first that the Kitfile says it is in. Keeps nothing.
 */
#ifndef KF_KIT_SCAN_H
#define KF_KIT_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "kit/copy.h"

struct kf_err;
struct kf_kit;

/* Blocking: gives the file's bytes from `offset` on, `length` of them at most, to `write`
 * as they pass: before the layer's digest could be compared, unless the layer ends
 * first. *ret_found says whether there is such a file. KF_E_ARG for a folder. */
int kf_kit_scan(struct kf_kit *kit, const char *path, uint64_t offset, uint64_t length,
                kf_copy_write *write, void *arg, bool *ret_found, struct kf_err *err);

#endif
