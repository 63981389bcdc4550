/*
 * Lines for people about a mount: docs/CLI.md, "What people see". Pure.
 */
#ifndef KF_FS_WORDS_H
#define KF_FS_WORDS_H

#include <stddef.h>
#include <stdint.h>

struct kf_digest;
struct kf_kit;

#define KF_WORDS_SIZE_SIZE 16u

/* "197 KiB", "4.3 GiB", "12 B"; one decimal below 10. Returns `out`. */
char *kf_words_size(uint64_t bytes, char out[KF_WORDS_SIZE_SIZE]);

/* "REF@sha256:995b9e0f87dd..."; a reference that ends with a digest loses it first. */
void kf_words_short_name(const char *reference, const struct kf_digest *digest, char *out,
                         size_t size);
/* The same with the whole digest: what is mounted, for /proc/mounts. */
void kf_words_full_name(const char *reference, const struct kf_digest *digest, char *out,
                        size_t size);

#endif
