/*
 * sha256, the only digest algorithm kitfs computes (OCI image spec, descriptor.md,
 * "Digests"). Text form: "sha256:" and 64 lower-case hex digits. The only user of
 * OpenSSL's hashing. A running digest belongs to one thread.
 */
#ifndef KF_BASE_DIGEST_H
#define KF_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_err;

#define KF_SHA256_SIZE 32
#define KF_DIGEST_TEXT_SIZE 72 /* "sha256:" + 64 + NUL */

struct kf_digest {
    uint8_t bytes[KF_SHA256_SIZE];
};

/* Exactly the text form; anything else is KF_E_MALFORMED (another algorithm:
 * KF_E_UNSUPPORTED). `length` excludes any NUL. */
int kf_digest_parse(struct kf_digest *ret, const char *text, size_t length,
                    struct kf_err *err);
/* Writes the text form; returns `out` so that it can stand in a printf argument. */
char *kf_digest_format(const struct kf_digest *digest, char out[KF_DIGEST_TEXT_SIZE]);
/* The 64 hex digits alone, NUL-terminated: names of cache files. */
char *kf_digest_hex(const struct kf_digest *digest, char out[65]);
bool kf_digest_equal(const struct kf_digest *a, const struct kf_digest *b);

int kf_digest_of(struct kf_digest *ret, const void *data, size_t length,
                 struct kf_err *err);

struct kf_hasher; /* a digest over a stream */
struct kf_hasher *kf_hasher_new(struct kf_err *err);
void kf_hasher_free(struct kf_hasher *hasher);
int kf_hasher_update(struct kf_hasher *hasher, const void *data, size_t length,
                     struct kf_err *err);
/* The digest so far; the hasher starts over. */
int kf_hasher_finish(struct kf_hasher *hasher, struct kf_digest *ret, struct kf_err *err);

#endif
