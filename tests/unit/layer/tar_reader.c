#include "tar_reader.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

struct kf_buf tar_new(void)
{
    struct kf_buf tar;

    kf_buf_init(&tar, 8 << 20);
    return tar;
}

/* Runs the decoder over the tar. With `sparing` it is given exactly what it asks for,
 * copied to an allocation of its own; else all at once. */
int tar_decode(const struct kf_buf *tar, uint64_t stream_size, bool sparing,
               struct tar_found *found, struct kf_err *err)
{
    struct kf_tar_decoder decoder;
    uint8_t *window = NULL;
    uint64_t offset = 0;
    size_t length = sparing ? 0 : tar->length;
    int rc = 1;

    memset(found, 0, sizeof(*found));
    kf_tar_decoder_init(&decoder, stream_size);
    while (rc == 1) {
        struct kf_tar_result result;
        const uint8_t *data = sparing ? window : tar->data;

        switch (kf_tar_next(&decoder, data, offset, length, &result, err)) {
        case KF_TAR_NEED:
            cr_assert(sparing, "asks for more than there is");
            cr_assert_eq(result.need_length % 512, 0);
            cr_assert_leq(result.need_offset + result.need_length, tar->length);
            free(window);
            window = malloc(result.need_length);
            cr_assert_not_null(window);
            memcpy(window, tar->data + result.need_offset, result.need_length);
            offset = result.need_offset;
            length = result.need_length;
            found->needs++;
            break;
        case KF_TAR_ENTRY:
            found->entries++;
            found->entry = result.entry;
            found->name_length = result.name_length;
            memcpy(found->name, result.name, kf_min_u64(result.name_length, 4199));
            found->name[kf_min_u64(result.name_length, 4199)] = '\0';
            break;
        case KF_TAR_END:
            rc = 0;
            break;
        case KF_TAR_ERROR:
            rc = -1;
            break;
        }
    }
    free(window);
    kf_tar_decoder_fini(&decoder);
    return rc;
}

int tar_decode_twice(const struct kf_buf *tar, struct tar_found *found,
                     struct kf_err *err)
{
    struct tar_found all;
    int rc = tar_decode(tar, tar->length, true, found, err);

    cr_assert_eq(tar_decode(tar, tar->length, false, &all, err), rc);
    cr_assert_eq(all.entries, found->entries);
    cr_assert_str_eq(all.name, found->name);
    return rc;
}
