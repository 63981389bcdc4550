#include "layer/seektab.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/le.h"

#define SKIPPABLE_MAGIC UINT32_C(0x184D2A5E)
#define SEEKABLE_MAGIC UINT32_C(0x8F92EAB1)
#define FRAME_HEADER 8u
#define CHECKSUM_FLAG 0x80u
#define RESERVED_FLAGS 0x7cu

static int bad(struct kf_err *err, const char *what)
{
    return kf_fail(err, KF_E_MALFORMED, "broken zstd seek table: %s", what);
}

static uint64_t table_size(uint32_t frames, uint8_t descriptor)
{
    uint64_t entry = (descriptor & CHECKSUM_FLAG) != 0 ? 12 : 8;

    return FRAME_HEADER + entry * frames + KF_SEEKTAB_FOOTER;
}

uint64_t kf_seektab_size(const uint8_t footer[KF_SEEKTAB_FOOTER])
{
    uint32_t frames = kf_le32(footer);

    if (kf_le32(footer + 5) != SEEKABLE_MAGIC || (footer[4] & RESERVED_FLAGS) != 0 ||
        frames > KF_SEEKTAB_FRAME_LIMIT)
        return 0;
    return table_size(frames, footer[4]);
}

int kf_seektab_decode(const void *data, size_t length, uint64_t file_size,
                      struct kf_seek_entry **ret, uint32_t *ret_count, struct kf_err *err)
{
    const uint8_t *p = data;
    uint32_t frames;
    size_t step;
    uint64_t sum = 0;
    struct kf_seek_entry *entries;

    if (length < FRAME_HEADER + KF_SEEKTAB_FOOTER || length > file_size ||
        kf_seektab_size(p + length - KF_SEEKTAB_FOOTER) != length)
        return bad(err, "its length");
    if (kf_le32(p) != SKIPPABLE_MAGIC || kf_le32(p + 4) != length - FRAME_HEADER)
        return bad(err, "its frame");
    frames = kf_le32(p + length - KF_SEEKTAB_FOOTER);
    step = (p[length - 5] & CHECKSUM_FLAG) != 0 ? 12 : 8;
    entries = malloc(((size_t)frames + 1) * sizeof(*entries));
    if (!entries)
        return kf_fail(err, KF_E_NOMEM, "no memory for a seek table");
    for (uint32_t i = 0; i < frames; i++) {
        const uint8_t *entry = p + FRAME_HEADER + i * step;

        entries[i].stored_length = kf_le32(entry);
        entries[i].length = kf_le32(entry + 4);
        sum += entries[i].stored_length;
    }
    if (sum != file_size - length) {
        free(entries);
        return bad(err, "its sizes do not add up to the file");
    }
    *ret = entries;
    *ret_count = frames;
    return 0;
}

int kf_seektab_encode(const struct kf_seek_entry *entries, uint32_t count,
                      struct kf_buf *ret, struct kf_err *err)
{
    uint8_t header[FRAME_HEADER], footer[KF_SEEKTAB_FOOTER] = {0};

    if (count > KF_SEEKTAB_FRAME_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "too many frames for a seek table");
    kf_put_le32(header, SKIPPABLE_MAGIC);
    kf_put_le32(header + 4, (uint32_t)(table_size(count, 0) - FRAME_HEADER));
    if (kf_buf_append(ret, header, sizeof(header), err) != 0)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t entry[8];

        kf_put_le32(entry, entries[i].stored_length);
        kf_put_le32(entry + 4, entries[i].length);
        if (kf_buf_append(ret, entry, sizeof(entry), err) != 0)
            return -1;
    }
    kf_put_le32(footer, count);
    kf_put_le32(footer + 5, SEEKABLE_MAGIC);
    return kf_buf_append(ret, footer, sizeof(footer), err);
}
