#define ZLIB_CONST /* input stays as it is */
#include "layer/unpack.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/le.h"

#define GZIP_ONLY (16 + MAX_WBITS) /* what inflateInit2 is told: no zlib, no raw */
#define MAGIC_SIZE 4u

struct kf_unpack {
    kf_unpack_take *take;
    void *arg;
    /* One step: reads from `data`, fills `out`. */
    int (*step)(struct kf_unpack *unpack, const uint8_t **data, size_t *length,
                size_t *ret_got, struct kf_err *err);
    uint64_t came, gave; /* bytes */
    bool inside;         /* a member or frame has begun and not ended */
    z_stream gzip;
    ZSTD_DCtx *zstd;
    uint8_t magic[MAGIC_SIZE]; /* zstd: of the next frame, as much as is here */
    unsigned magic_length;
    uint8_t out[KF_UNPACK_PIECE];
};

/* ---- gzip ---- */

static int step_gzip(struct kf_unpack *unpack, const uint8_t **data, size_t *length,
                     size_t *ret_got, struct kf_err *err)
{
    z_stream *z = &unpack->gzip;
    size_t part = kf_min_u64(*length, UINT_MAX);
    int rc;

    if (!unpack->inside && inflateReset(z) != Z_OK)
        return kf_fail(err, KF_E_NOMEM, "cannot unpack gzip");
    unpack->inside = true;
    z->next_in = *data;
    z->avail_in = (uInt)part;
    z->next_out = unpack->out;
    z->avail_out = sizeof(unpack->out);
    rc = inflate(z, Z_NO_FLUSH);
    *data += part - z->avail_in;
    *length -= part - z->avail_in;
    *ret_got = sizeof(unpack->out) - z->avail_out;
    if (rc == Z_STREAM_END)
        unpack->inside = false;
    else if (rc == Z_MEM_ERROR)
        return kf_fail(err, KF_E_NOMEM, "no memory to unpack gzip");
    else if (rc != Z_OK && rc != Z_BUF_ERROR) /* that one: nothing to do now */
        return kf_fail(err, KF_E_CORRUPT, "damaged gzip: %s", z->msg ? z->msg : "data");
    return 0;
}

static int init_gzip(struct kf_unpack *unpack, struct kf_err *err)
{
    unpack->step = step_gzip;
    if (inflateInit2(&unpack->gzip, GZIP_ONLY) != Z_OK)
        return kf_fail(err, KF_E_NOMEM, "no memory to unpack gzip");
    return 0;
}

/* ---- zstd ---- */

static int check_magic(const struct kf_unpack *unpack, struct kf_err *err)
{
    uint32_t magic = kf_le32(unpack->magic);

    if (magic != ZSTD_MAGICNUMBER &&
        (magic & ZSTD_MAGIC_SKIPPABLE_MASK) != ZSTD_MAGIC_SKIPPABLE_START)
        return kf_fail(err, KF_E_CORRUPT, "damaged zstd: no frame where one must begin");
    return 0;
}

static int feed_zstd(struct kf_unpack *unpack, ZSTD_inBuffer *in, size_t *ret_got,
                     struct kf_err *err)
{
    ZSTD_outBuffer out = {unpack->out, sizeof(unpack->out), 0};
    size_t rc = ZSTD_decompressStream(unpack->zstd, &out, in);

    *ret_got = out.pos;
    if (ZSTD_isError(rc)) {
        enum kf_err_kind kind = KF_E_CORRUPT;

        if (ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation)
            kind = KF_E_NOMEM;
        else if (ZSTD_getErrorCode(rc) == ZSTD_error_frameParameter_windowTooLarge)
            kind = KF_E_LIMIT;
        return kf_fail(err, kind, "cannot unpack zstd: %s", ZSTD_getErrorName(rc));
    }
    unpack->inside = rc != 0;
    return 0;
}

/* The magic number is gathered first: the library would take what we do not. */
static int begin_frame(struct kf_unpack *unpack, const uint8_t **data, size_t *length,
                       size_t *ret_got, struct kf_err *err)
{
    ZSTD_inBuffer in = {unpack->magic, MAGIC_SIZE, 0};

    while (unpack->magic_length<MAGIC_SIZE && * length> 0) {
        unpack->magic[unpack->magic_length++] = **data;
        (*data)++;
        (*length)--;
    }
    if (unpack->magic_length < MAGIC_SIZE)
        return 0;
    if (check_magic(unpack, err) != 0 || feed_zstd(unpack, &in, ret_got, err) != 0)
        return -1;
    unpack->magic_length = 0;
    return 0;
}

static int step_zstd(struct kf_unpack *unpack, const uint8_t **data, size_t *length,
                     size_t *ret_got, struct kf_err *err)
{
    ZSTD_inBuffer in = {*data, *length, 0};

    if (!unpack->inside)
        return begin_frame(unpack, data, length, ret_got, err);
    if (feed_zstd(unpack, &in, ret_got, err) != 0)
        return -1;
    *data += in.pos;
    *length -= in.pos;
    return 0;
}

static int init_zstd(struct kf_unpack *unpack, struct kf_err *err)
{
    unpack->step = step_zstd;
    unpack->zstd = ZSTD_createDCtx();
    if (!unpack->zstd)
        return kf_fail(err, KF_E_NOMEM, "no memory to unpack zstd");
    /* Cannot fail: a valid window. */
    (void)ZSTD_DCtx_setParameter(unpack->zstd, ZSTD_d_windowLogMax, KF_UNPACK_WINDOW_LOG);
    return 0;
}

/* ---- both ---- */

struct kf_unpack *kf_unpack_new(enum kf_unpack_form form, kf_unpack_take *take, void *arg,
                                struct kf_err *err)
{
    struct kf_unpack *unpack = calloc(1, sizeof(*unpack));

    if (!unpack) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory to unpack"); /* NULL says it */
        return NULL;
    }
    unpack->take = take;
    unpack->arg = arg;
    if ((form == KF_UNPACK_GZIP ? init_gzip(unpack, err) : init_zstd(unpack, err)) != 0) {
        free(unpack);
        return NULL;
    }
    return unpack;
}

void kf_unpack_free(struct kf_unpack *unpack)
{
    if (!unpack)
        return;
    if (unpack->step == step_gzip)
        (void)inflateEnd(&unpack->gzip); /* an early end is no matter now */
    (void)ZSTD_freeDCtx(unpack->zstd);   /* NULL is fine; always 0 */
    free(unpack);
}

static int give(struct kf_unpack *unpack, size_t got, struct kf_err *err)
{
    unpack->gave += got;
    if (unpack->gave > KF_UNPACK_FREE &&
        (unpack->gave - KF_UNPACK_FREE) / KF_UNPACK_RATIO > unpack->came)
        return kf_fail(err, KF_E_LIMIT,
                       "it unpacks to more than %llu times its size: not done",
                       (unsigned long long)KF_UNPACK_RATIO);
    return unpack->take(unpack->arg, unpack->out, got, err);
}

int kf_unpack_push(struct kf_unpack *unpack, const uint8_t *data, size_t length,
                   struct kf_err *err)
{
    size_t got = 0;

    unpack->came += length;
    /* A full buffer may have left more to come of what is in already. */
    while (length > 0 || got == sizeof(unpack->out)) {
        got = 0;
        if (length == 0 && !unpack->inside)
            break;
        if (unpack->step(unpack, &data, &length, &got, err) != 0 ||
            (got > 0 && give(unpack, got, err) != 0))
            return -1;
    }
    return 0;
}

int kf_unpack_end(struct kf_unpack *unpack, struct kf_err *err)
{
    if (unpack->came == 0)
        return kf_fail(err, KF_E_CORRUPT, "an empty blob where a packed one must be");
    if (unpack->inside || unpack->magic_length > 0)
        return kf_fail(err, KF_E_CORRUPT, "it ends in the middle of the packed data");
    return 0;
}
