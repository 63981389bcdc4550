#include "base/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define PREFIX "sha256:"
#define PREFIX_LENGTH (sizeof(PREFIX) - 1)
#define HEX_LENGTH ((size_t)KF_SHA256_SIZE * 2)
#define SHOWN_LENGTH 80u /* of a bad digest, in a message */

struct kf_hasher {
    EVP_MD_CTX *context;
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int kf_digest_parse(struct kf_digest *ret, const char *text, size_t length,
                    struct kf_err *err)
{
    struct kf_digest digest;
    int shown = (int)kf_min_u64(length, SHOWN_LENGTH);
    const char *hex;

    if (length < PREFIX_LENGTH || memcmp(text, PREFIX, PREFIX_LENGTH) != 0) {
        if (length > 0 && memchr(text, ':', length))
            return kf_fail(err, KF_E_UNSUPPORTED, "digest '%.*s' is not sha256", shown,
                           text);
        return kf_fail(err, KF_E_MALFORMED, "malformed digest '%.*s'", shown, text);
    }
    if (length != PREFIX_LENGTH + HEX_LENGTH)
        return kf_fail(err, KF_E_MALFORMED, "malformed digest '%.*s'", shown, text);
    hex = text + PREFIX_LENGTH;
    for (size_t i = 0; i < KF_SHA256_SIZE; i++) {
        int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);

        if (high < 0 || low < 0)
            return kf_fail(err, KF_E_MALFORMED, "malformed digest '%.*s'", shown, text);
        digest.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret = digest;
    return 0;
}

char *kf_digest_hex(const struct kf_digest *digest, char out[65])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < KF_SHA256_SIZE; i++) {
        out[2 * i] = digits[digest->bytes[i] >> 4];
        out[2 * i + 1] = digits[digest->bytes[i] & 15];
    }
    out[HEX_LENGTH] = '\0';
    return out;
}

char *kf_digest_format(const struct kf_digest *digest, char out[KF_DIGEST_TEXT_SIZE])
{
    memcpy(out, PREFIX, PREFIX_LENGTH);
    (void)kf_digest_hex(digest, out + PREFIX_LENGTH); /* gives its argument back */
    return out;
}

bool kf_digest_equal(const struct kf_digest *a, const struct kf_digest *b)
{
    return memcmp(a->bytes, b->bytes, KF_SHA256_SIZE) == 0;
}

int kf_digest_of(struct kf_digest *ret, const void *data, size_t length,
                 struct kf_err *err)
{
    struct kf_digest digest;

    if (EVP_Digest(data, length, digest.bytes, NULL, EVP_sha256(), NULL) != 1)
        return kf_fail(err, KF_E_NOMEM, "cannot compute a sha256");
    *ret = digest;
    return 0;
}

struct kf_hasher *kf_hasher_new(struct kf_err *err)
{
    struct kf_hasher *hasher = calloc(1, sizeof(*hasher));

    if (hasher)
        hasher->context = EVP_MD_CTX_new();
    if (!hasher || !hasher->context ||
        EVP_DigestInit_ex(hasher->context, EVP_sha256(), NULL) != 1) {
        kf_hasher_free(hasher);
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a digest"); /* NULL says it */
        return NULL;
    }
    return hasher;
}

void kf_hasher_free(struct kf_hasher *hasher)
{
    if (!hasher)
        return;
    EVP_MD_CTX_free(hasher->context);
    free(hasher);
}

int kf_hasher_update(struct kf_hasher *hasher, const void *data, size_t length,
                     struct kf_err *err)
{
    if (EVP_DigestUpdate(hasher->context, data, length) != 1)
        return kf_fail(err, KF_E_NOMEM, "cannot compute a sha256");
    return 0;
}

int kf_hasher_finish(struct kf_hasher *hasher, struct kf_digest *ret, struct kf_err *err)
{
    struct kf_digest digest;

    if (EVP_DigestFinal_ex(hasher->context, digest.bytes, NULL) != 1 ||
        EVP_DigestInit_ex(hasher->context, EVP_sha256(), NULL) != 1)
        return kf_fail(err, KF_E_NOMEM, "cannot compute a sha256");
    *ret = digest;
    return 0;
}
