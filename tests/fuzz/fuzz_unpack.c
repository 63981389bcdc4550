/*
 * gzip and zstd as streams. The first byte says which, and how large the pieces are; the
 * others are the stream. Whatever the pieces, it is taken or refused the same way and
 * gives the same bytes, no more of them than the limits allow.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/err.h"
#include "layer/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ENOUGH (UINT64_C(1) << 26)

struct sum {
    struct kf_hasher *hasher;
    uint64_t bytes;
};

static int take(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    struct sum *sum = arg;

    if (length == 0 || length > KF_UNPACK_PIECE)
        abort();
    sum->bytes += length;
    if (sum->bytes > ENOUGH) /* a bomb that is within the limits: not here */
        return kf_fail(err, KF_E_LIMIT, "enough");
    return kf_hasher_update(sum->hasher, data, length, err);
}

/* The outcome, and the digest of a stream that was taken. */
static enum kf_err_kind run(enum kf_unpack_form form, const uint8_t *data, size_t size,
                            size_t piece, struct kf_digest *ret)
{
    struct sum sum = {.hasher = kf_hasher_new(NULL)};
    struct kf_err err = {.kind = KF_E_NONE};
    struct kf_unpack *unpack = kf_unpack_new(form, take, &sum, &err);
    int rc = 0;

    if (!unpack || !sum.hasher)
        abort();
    for (size_t at = 0; rc == 0 && at < size; at += piece)
        rc = kf_unpack_push(unpack, data + at, size - at < piece ? size - at : piece,
                            &err);
    if (rc == 0)
        rc = kf_unpack_end(unpack, &err);
    if ((rc == 0) != (err.kind == KF_E_NONE))
        abort();
    if (kf_hasher_finish(sum.hasher, ret, NULL) != 0)
        abort();
    kf_hasher_free(sum.hasher);
    kf_unpack_free(unpack);
    return err.kind;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum kf_unpack_form form;
    enum kf_err_kind whole, parts;
    struct kf_digest a, b;

    if (size == 0)
        return 0;
    form = data[0] & 1 ? KF_UNPACK_ZSTD : KF_UNPACK_GZIP;
    whole = run(form, data + 1, size - 1, size, &a);
    parts = run(form, data + 1, size - 1, (size_t)(data[0] >> 1) + 1, &b);
    if ((whole == KF_E_NONE) != (parts == KF_E_NONE) ||
        (whole == KF_E_NONE && !kf_digest_equal(&a, &b)))
        abort();
    return 0;
}
