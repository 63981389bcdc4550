#include "layer/tar_walk.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/source.h"
#include "layer/table.h"
#include "layer/tar_decode.h"

#define WINDOW_MIN (UINT64_C(64) << 10)
#define WINDOW_MAX (UINT64_C(256) << 10)

struct walk {
    struct kf_source *source;
    int64_t timeout_ns;
    struct kf_tar_decoder decoder;
    uint8_t *data;
    uint64_t capacity;
    uint64_t offset;      /* of the window in the stream */
    uint64_t length;      /* 0: nothing read yet */
    uint64_t next_length; /* how much to read in one request */
};

static void finish(struct walk *walk)
{
    kf_tar_decoder_fini(&walk->decoder);
    free(walk->data);
}

static int reserve(struct walk *walk, uint64_t length, struct kf_err *err)
{
    uint8_t *grown;

    if (length <= walk->capacity)
        return 0;
    grown = realloc(walk->data, length);
    if (!grown)
        return kf_fail(err, KF_E_NOMEM, "no memory for a window of %" PRIu64 " bytes",
                       length);
    walk->data = grown;
    walk->capacity = length;
    return 0;
}

/* A header inside the window or less than a window behind it: they come densely, and a
 * larger window saves requests. One farther away: what follows its header is likely
 * another large file, and would be read for nothing. */
static void adapt(struct walk *walk, uint64_t need_offset)
{
    bool dense = need_offset < walk->offset + walk->length + walk->next_length;

    if (walk->length == 0)
        return;
    walk->next_length =
        dense ? kf_min_u64(2 * walk->next_length, WINDOW_MAX) : WINDOW_MIN;
}

static int move_window(struct walk *walk, const struct kf_tar_result *need,
                       struct kf_err *err)
{
    uint64_t left = kf_source_size(walk->source) - need->need_offset;
    uint64_t length;

    adapt(walk, need->need_offset);
    length = kf_min_u64(left, kf_max_u64(walk->next_length, need->need_length));
    if (reserve(walk, length, err) != 0)
        return -1;
    walk->length = 0;
    if (kf_source_read(walk->source, walk->data, need->need_offset, length,
                       kf_deadline_ns(walk->timeout_ns), err) != 0)
        return -1;
    walk->offset = need->need_offset;
    walk->length = length;
    return 0;
}

int kf_tar_add_entry(struct kf_table *table, const struct kf_tar_result *found,
                     struct kf_err *err)
{
    const char *name = found->name;
    size_t length = found->name_length;

    if (kf_name_check(&name, &length, err) != 0)
        return kf_fail_wrap(err, "tar entry whose data is at offset %" PRIu64,
                            found->entry.offset);
    if (length == 0 && found->entry.type == KF_TYPE_DIR)
        return 0;
    if (length == 0)
        return kf_fail(err, KF_E_MALFORMED, "a file in the place of the root");
    return kf_table_add(table, &found->entry, name, length, err);
}

static int run(struct walk *walk, struct kf_table *table, struct kf_err *err)
{
    for (;;) {
        struct kf_tar_result found = {0};

        switch (kf_tar_next(&walk->decoder, walk->data, walk->offset,
                            (size_t)walk->length, &found, err)) {
        case KF_TAR_END:
            return 0;
        case KF_TAR_NEED:
            if (move_window(walk, &found, err) != 0)
                return -1;
            break;
        case KF_TAR_ENTRY:
            if (kf_tar_add_entry(table, &found, err) != 0)
                return -1;
            break;
        case KF_TAR_ERROR:
            return -1;
        }
    }
}

int kf_tar_walk(struct kf_table *ret, struct kf_source *source, int64_t timeout_ns,
                struct kf_err *err)
{
    kf_auto(kf_table_fini) struct kf_table table;
    kf_auto(finish) struct walk walk = {
        .source = source,
        .timeout_ns = timeout_ns,
        .next_length = WINDOW_MIN,
    };

    kf_table_init(&table);
    table.stream_size = kf_source_size(source);
    kf_tar_decoder_init(&walk.decoder, table.stream_size);
    if (run(&walk, &table, err) != 0)
        return -1;
    *ret = table;
    kf_table_init(&table);
    return 0;
}
