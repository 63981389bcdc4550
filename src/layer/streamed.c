#include "layer/streamed.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"
#include "layer/digesting.h"
#include "layer/table.h"
#include "layer/tar_decode.h"
#include "layer/tar_push.h"
#include "layer/tar_walk.h"
#include "layer/unpack.h"

struct kf_streamed {
    struct kf_streamed_opts opts;
    struct kf_unpack *unpack;
    struct kf_digesting diff;
    struct kf_tar_decoder decoder;
    struct kf_tar_push push;
    struct kf_table table; /* its stream_size: what has passed */
};

static int add_entry(void *arg, const struct kf_tar_result *found, struct kf_err *err)
{
    struct kf_streamed *streamed = arg;

    return kf_tar_add_entry(&streamed->table, found, err);
}

static int look(void *arg, const uint8_t *window, uint64_t offset, size_t length,
                uint64_t *ret_offset, uint64_t *ret_length, struct kf_err *err)
{
    struct kf_streamed *streamed = arg;
    struct kf_tar_result found;
    int rc = kf_tar_entries(&streamed->decoder, window, offset, length, add_entry,
                            streamed, &found, err);

    *ret_offset = found.need_offset;
    *ret_length = found.need_length;
    return rc;
}

static int take_piece(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    struct kf_streamed *streamed = arg;
    uint64_t offset = streamed->table.stream_size;
    int rc = 0;

    if (streamed->opts.digest)
        kf_digesting_start(&streamed->diff, data, length);
    if (streamed->opts.is_tar)
        rc = kf_tar_push(&streamed->push, data, length, err);
    streamed->table.stream_size += length;
    if (rc == 0 && streamed->opts.take)
        rc = streamed->opts.take(streamed->opts.arg, offset, data, length, err);
    if (streamed->opts.digest &&
        kf_digesting_wait(&streamed->diff, rc == 0 ? err : NULL) != 0)
        rc = -1;
    return rc;
}

struct kf_streamed *kf_streamed_new(const struct kf_streamed_opts *opts,
                                    struct kf_err *err)
{
    struct kf_streamed *streamed = calloc(1, sizeof(*streamed));

    if (!streamed) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory to stream a layer"); /* NULL says it */
        return NULL;
    }
    streamed->opts = *opts;
    kf_table_init(&streamed->table);
    kf_tar_decoder_init(&streamed->decoder, UINT64_MAX);
    kf_tar_push_init(&streamed->push, look, streamed);
    streamed->unpack =
        kf_unpack_new(opts->packing == KF_LAYER_GZIP ? KF_UNPACK_GZIP : KF_UNPACK_ZSTD,
                      take_piece, streamed, err);
    if (!streamed->unpack ||
        (opts->digest && kf_digesting_init(&streamed->diff, err) != 0)) {
        kf_streamed_free(streamed);
        return NULL;
    }
    return streamed;
}

void kf_streamed_free(struct kf_streamed *streamed)
{
    if (!streamed)
        return;
    kf_digesting_fini(&streamed->diff);
    kf_unpack_free(streamed->unpack);
    kf_tar_push_fini(&streamed->push);
    kf_tar_decoder_fini(&streamed->decoder);
    kf_table_fini(&streamed->table);
    free(streamed);
}

struct kf_table *kf_streamed_table(struct kf_streamed *streamed)
{
    return &streamed->table;
}

int kf_streamed_push(struct kf_streamed *streamed, const uint8_t *data, size_t length,
                     struct kf_err *err)
{
    return kf_unpack_push(streamed->unpack, data, length, err);
}

/* Now that the stream's length is known it is an archive as others are: its end mark may
 * be short or missing, but no file may reach beyond it. */
static int end_archive(struct kf_streamed *streamed, struct kf_err *err)
{
    const struct kf_table *table = &streamed->table;
    const struct kf_tar_push *push = &streamed->push;
    uint64_t offset, length;
    int rc;

    if (push->at_end)
        return 0;
    if (table->count > 0) {
        const struct kf_table_entry *last = &table->entries[table->count - 1];

        if (last->size > table->stream_size ||
            last->offset > table->stream_size - last->size)
            return kf_fail(err, KF_E_CORRUPT,
                           "the archive ends after %" PRIu64 " bytes, inside a file",
                           table->stream_size);
    }
    streamed->decoder.stream_size = table->stream_size;
    rc = look(streamed, push->window, push->need_offset, push->have, &offset, &length,
              err);
    if (rc > 0)
        return kf_fail(err, KF_E_CORRUPT, "the archive ends inside a header");
    return rc;
}

int kf_streamed_end(struct kf_streamed *streamed, struct kf_digest *ret_diff,
                    struct kf_err *err)
{
    if (kf_unpack_end(streamed->unpack, err) != 0 ||
        (streamed->opts.is_tar && end_archive(streamed, err) != 0))
        return -1;
    if (ret_diff && streamed->opts.digest)
        return kf_digesting_finish(&streamed->diff, ret_diff, err);
    return 0;
}
