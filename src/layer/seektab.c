#include "layer/seektab.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/le.h"

#define SKIPPABLE_MAGIC UINT32_C(0x184D2A5E)
#define SEEKABLE_MAGIC UINT32_C(0x8F92EAB1)
#define FRAME_HEADER 8u
#define ENTRY 8u
#define CHECKED_ENTRY 12u
#define CHECKSUM_FLAG 0x80u
#define RESERVED_FLAGS 0x7cu

static int bad(struct kf_err *err, const char *what)
{
    return kf_fail(err, KF_E_MALFORMED, "broken zstd seek table: %s", what);
}

static uint64_t table_size(uint32_t frames, uint8_t descriptor)
{
    uint64_t entry = (descriptor & CHECKSUM_FLAG) != 0 ? CHECKED_ENTRY : ENTRY;

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

int kf_seektab_view(struct kf_seek_view *ret, const void *data, size_t length,
                    uint64_t file_size, struct kf_err *err)
{
    const uint8_t *p = data;
    struct kf_seek_view view;
    uint64_t sum = 0;

    if (length < FRAME_HEADER + KF_SEEKTAB_FOOTER || length > file_size ||
        kf_seektab_size(p + length - KF_SEEKTAB_FOOTER) != length)
        return bad(err, "its length");
    if (kf_le32(p) != SKIPPABLE_MAGIC || kf_le32(p + 4) != length - FRAME_HEADER)
        return bad(err, "its frame");
    view.entries = p + FRAME_HEADER;
    view.count = kf_le32(p + length - KF_SEEKTAB_FOOTER);
    view.step = (p[length - 5] & CHECKSUM_FLAG) != 0 ? CHECKED_ENTRY : ENTRY;
    for (uint32_t i = 0; i < view.count; i++)
        sum += kf_seek_view_at(&view, i).stored_length;
    if (sum != file_size - length)
        return bad(err, "its sizes do not add up to the file");
    *ret = view;
    return 0;
}

struct kf_seek_entry kf_seek_view_at(const struct kf_seek_view *view, uint32_t index)
{
    const uint8_t *entry = view->entries + (size_t)index * view->step;

    return (struct kf_seek_entry){kf_le32(entry), kf_le32(entry + 4)};
}

bool kf_seek_view_checksum(const struct kf_seek_view *view, uint32_t index, uint32_t *ret)
{
    if (view->step != CHECKED_ENTRY)
        return false;
    *ret = kf_le32(view->entries + (size_t)index * view->step + ENTRY);
    return true;
}

int kf_seektab_decode(const void *data, size_t length, uint64_t file_size,
                      struct kf_seek_entry **ret, uint32_t *ret_count, struct kf_err *err)
{
    struct kf_seek_view view;
    struct kf_seek_entry *entries;

    if (kf_seektab_view(&view, data, length, file_size, err) != 0)
        return -1;
    entries = malloc(((size_t)view.count + 1) * sizeof(*entries));
    if (!entries)
        return kf_fail(err, KF_E_NOMEM, "no memory for a seek table");
    for (uint32_t i = 0; i < view.count; i++)
        entries[i] = kf_seek_view_at(&view, i);
    *ret = entries;
    *ret_count = view.count;
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
        uint8_t entry[ENTRY];

        kf_put_le32(entry, entries[i].stored_length);
        kf_put_le32(entry + 4, entries[i].length);
        if (kf_buf_append(ret, entry, sizeof(entry), err) != 0)
            return -1;
    }
    kf_put_le32(footer, count);
    kf_put_le32(footer + 5, SEEKABLE_MAGIC);
    return kf_buf_append(ret, footer, sizeof(footer), err);
}
