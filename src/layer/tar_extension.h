/*
 * The data of a pax "x" header, or of a GNU "L" header, to what it says about the entry
 * that follows: path, size, time. Pure. Sources: POSIX.1-2017, pax, "pax Extended
 * Header"; GNU tar, "Basic Tar Format".
 */
#ifndef KF_LAYER_TAR_EXTENSION_H
#define KF_LAYER_TAR_EXTENSION_H

#include <stddef.h>

struct kf_err;
struct kf_tar_extension;

/* Records of other keywords are ignored; those of sparse files are KF_E_UNSUPPORTED. The
 * last record of a keyword counts, an empty value is none. */
int kf_tar_parse_pax(struct kf_tar_extension *extension, const char *data, size_t length,
                     struct kf_err *err);
/* The name, and a NUL behind it or none. */
int kf_tar_parse_long_name(struct kf_tar_extension *extension, const char *data,
                           size_t length, struct kf_err *err);
/* Frees and zeroes. */
void kf_tar_extension_clear(struct kf_tar_extension *extension);

#endif
