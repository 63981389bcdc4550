#include "layer/seek_find.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/source.h"
#include "cache/store.h"
#include "layer/frame.h"
#include "layer/frame_map.h"
#include "layer/le.h"
#include "layer/seektab.h"
#include "layer/toc_open.h"
#include "layer/toc_private.h"

#define TAIL (UINT64_C(64) << 10) /* what is asked for first */
#define TABLE_LIMIT ((size_t)8 + (size_t)12 * KF_FRAMES_LIMIT + KF_SEEKTAB_FOOTER)
#define TOC_FRAME_MAGIC UINT32_C(0x184D2A5A)
#define TOC_FRAME_HEADER 8u
#define END_MARK 1024u

void kf_seek_found_fini(struct kf_seek_found *found)
{
    free(found->table);
    free(found->area);
    memset(found, 0, sizeof(*found));
}

/* ---- the file in the cache ---- */

#define FILE_MAGIC "KITFSSEK"
#define FILE_HEADER 16u
#define FILE_MAJOR 1u
#define LINK_LIMIT 512u
#define FILE_LIMIT (FILE_HEADER + LINK_LIMIT + TABLE_LIMIT)

static int bad_file(struct kf_err *err)
{
    return kf_fail(err, KF_E_MALFORMED, "no seek table of ours");
}

static int decode_link(struct kf_seek_found *found, const uint8_t *text, size_t length,
                       struct kf_err *err)
{
    char copy[LINK_LIMIT + 1];

    memcpy(copy, text, length);
    copy[length] = '\0';
    found->has_toc = true;
    return strlen(copy) == length && kf_toc_link_parse(&found->toc, copy, NULL) == 0
               ? 0
               : bad_file(err);
}

int kf_seek_file_decode(struct kf_seek_found *ret, const void *data, size_t length,
                        uint64_t blob_size, struct kf_err *err)
{
    const uint8_t *bytes = data;
    struct kf_seek_found found = {0};
    struct kf_seek_view view;
    size_t link;

    if (length < FILE_HEADER || memcmp(bytes, FILE_MAGIC, 8) != 0 ||
        kf_le16(bytes + 8) != FILE_MAJOR)
        return bad_file(err);
    link = kf_le32(bytes + 12);
    bytes += FILE_HEADER;
    length -= FILE_HEADER;
    if (link > LINK_LIMIT || link > length)
        return bad_file(err);
    if (link > 0 && decode_link(&found, bytes, link, err) != 0)
        return -1;
    bytes += link;
    length -= link;
    if (length > 0) {
        if (kf_seektab_view(&view, bytes, length, blob_size, err) != 0)
            return -1;
        found.table = malloc(length);
        if (!found.table)
            return kf_fail(err, KF_E_NOMEM, "no memory for a seek table");
        memcpy(found.table, bytes, length);
        found.length = length;
    }
    *ret = found;
    return 0;
}

int kf_seek_file_encode(const struct kf_seek_found *found, struct kf_buf *ret,
                        struct kf_err *err)
{
    uint8_t header[FILE_HEADER] = FILE_MAGIC;
    kf_auto(kf_buf_fini) struct kf_buf link;

    kf_buf_init(&link, LINK_LIMIT);
    if (found->has_toc && kf_toc_link_format(&found->toc, &link, err) != 0)
        return -1;
    kf_put_le16(header + 8, FILE_MAJOR);
    kf_put_le32(header + 12, (uint32_t)link.length);
    if (kf_buf_append(ret, header, sizeof(header), err) != 0 ||
        (link.length > 0 && kf_buf_append(ret, link.data, link.length, err) != 0))
        return -1;
    return found->length > 0 ? kf_buf_append(ret, found->table, found->length, err) : 0;
}

/* -1 also when there is nothing of use. */
static int load(struct kf_seek_found *ret, const struct kf_seek_from *from)
{
    struct kf_err why;
    struct kf_buf bytes;
    int rc = -1;

    kf_buf_init(&bytes, FILE_LIMIT);
    if (kf_store_load(from->store, KF_SMALL_SEEK, from->digest, &bytes, NULL) == 0) {
        rc = kf_seek_file_decode(ret, bytes.data, bytes.length,
                                 kf_source_size(from->source), &why);
        if (rc != 0)
            kf_log(KF_LOG_WARN, "layer", "event=seek_table_damaged layer=%s why=\"%s\"",
                   from->source->name, why.message);
    }
    kf_buf_fini(&bytes);
    return rc;
}

static void save(const struct kf_seek_found *found, const struct kf_seek_from *from)
{
    struct kf_err why;
    struct kf_buf bytes;

    if (!from->store)
        return;
    kf_buf_init(&bytes, FILE_LIMIT);
    if (kf_seek_file_encode(found, &bytes, &why) != 0 ||
        kf_store_save(from->store, KF_SMALL_SEEK, from->digest, bytes.data, bytes.length,
                      &why) != 0)
        kf_log(KF_LOG_WARN, "layer", "event=seek_table_not_saved layer=%s why=\"%s\"",
               from->source->name, why.message);
    kf_buf_fini(&bytes);
}

/* ---- from the blob ---- */

/* The last `length` bytes of the blob, yours. */
static uint8_t *read_tail(const struct kf_seek_from *from, size_t length,
                          struct kf_err *err)
{
    uint8_t *tail = malloc(length);

    if (!tail)
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a seek table"); /* NULL says it */
    else if (kf_source_read(from->source, tail, kf_source_size(from->source) - length,
                            length, kf_deadline_ns(from->timeout_ns), err) != 0)
        free(kf_steal(tail));
    return tail;
}

/* 0, and `found->table` stays NULL when there is none; 1 when there is one that cannot be
 * used. */
static int fetch_table(struct kf_seek_found *found, const struct kf_seek_from *from,
                       struct kf_err *err)
{
    uint64_t blob = kf_source_size(from->source), size;
    size_t have = (size_t)kf_min_u64(blob, TAIL);
    kf_auto(kf_free) uint8_t *tail = NULL;
    struct kf_seek_view view;

    if (blob < KF_SEEKTAB_FOOTER)
        return 0;
    tail = read_tail(from, have, err);
    if (!tail)
        return -1;
    size = kf_seektab_size(tail + have - KF_SEEKTAB_FOOTER);
    if (size == 0)
        return 0;
    if (size > blob || size > TABLE_LIMIT)
        return 1;
    if (size > have) {
        free(tail);
        have = (size_t)size;
        tail = read_tail(from, have, err);
        if (!tail)
            return -1;
    }
    memmove(tail, tail + (have - size), (size_t)size);
    if (kf_seektab_view(&view, tail, (size_t)size, blob, NULL) != 0 ||
        view.count > KF_FRAMES_LIMIT)
        return 1;
    found->table = kf_steal(tail);
    found->length = (size_t)size;
    return 0;
}

/* ---- a TOC behind the data ---- */

/* Where an area would be by the last two entries; false: there is none. */
static bool place_area(const struct kf_seek_view *view, uint64_t *ret_offset,
                       uint64_t *ret_length)
{
    struct kf_seek_entry toc, end;
    uint64_t offset = 0;

    if (view->count < 2)
        return false;
    toc = kf_seek_view_at(view, view->count - 2);
    end = kf_seek_view_at(view, view->count - 1);
    if (toc.length != 0 || end.length != END_MARK ||
        toc.stored_length <= TOC_FRAME_HEADER)
        return false;
    for (uint32_t i = 0; i + 2 < view->count; i++)
        offset += kf_seek_view_at(view, i).stored_length;
    *ret_offset = offset + TOC_FRAME_HEADER;
    *ret_length = toc.stored_length - TOC_FRAME_HEADER;
    return true;
}

/* The frame's first `length` bytes of the area, with its header before them; in `buf`. */
static int grow_area(struct kf_buf *buf, const struct kf_seek_from *from,
                     uint64_t area_offset, uint64_t length, struct kf_err *err)
{
    uint64_t have = buf->length, more = TOC_FRAME_HEADER + length - have;
    kf_auto(kf_free) uint8_t *bytes = malloc(more);

    if (!bytes)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    if (kf_source_read(from->source, bytes, area_offset - TOC_FRAME_HEADER + have, more,
                       kf_deadline_ns(from->timeout_ns), err) != 0)
        return -1;
    return kf_buf_append(buf, bytes, more, err);
}

/* The whole root in `buf`, and its sizes; 1 when there is none. */
static int fetch_root(struct kf_buf *buf, const struct kf_seek_from *from,
                      struct kf_toc_link *link, struct kf_err *err)
{
    uint64_t wanted = kf_min_u64(link->area_length, KF_TOC_WHOLE_AREA);
    uint64_t limit = kf_min_u64(link->area_length, kf_toc_limits.root_stored_bytes);

    for (;;) {
        int rc;

        if (grow_area(buf, from, link->area_offset, wanted, err) != 0)
            return -1;
        if (kf_le32(buf->data) != TOC_FRAME_MAGIC ||
            kf_le32(buf->data + 4) != link->area_length)
            return 1;
        rc = kf_frame_scan(buf->data + TOC_FRAME_HEADER, (size_t)wanted,
                           &link->root_stored, &link->root_raw, NULL);
        if (rc <= 0)
            return rc < 0 || kf_toc_check_link(link, &kf_toc_limits, NULL) != 0;
        if (wanted >= limit || link->root_stored > limit)
            return 1;
        wanted = kf_min_u64(limit, kf_max_u64(4 * wanted, link->root_stored));
    }
}

static bool is_root(const uint8_t *stored, uint64_t length)
{
    struct kf_frame_decoder *decoder = kf_frame_decoder_new(NULL);
    bool is = decoder && kf_frame_begins_with(decoder, stored, (size_t)length,
                                              KF_TOC_MAGIC, strlen(KF_TOC_MAGIC));

    kf_frame_decoder_free(decoder);
    return is;
}

static int find_toc(struct kf_seek_found *found, const struct kf_seek_from *from,
                    struct kf_err *err)
{
    struct kf_toc_link link = {.embedded = true};
    struct kf_seek_view view;
    struct kf_buf buf;
    int rc;

    if (!found->table || !from->is_tar ||
        kf_seektab_view(&view, found->table, found->length, kf_source_size(from->source),
                        err) != 0 ||
        !place_area(&view, &link.area_offset, &link.area_length))
        return 0;
    kf_buf_init(&buf, TOC_FRAME_HEADER + kf_toc_limits.root_stored_bytes);
    rc = fetch_root(&buf, from, &link, err);
    if (rc == 0 && is_root(buf.data + TOC_FRAME_HEADER, link.root_stored)) {
        rc = kf_digest_of(&link.root_digest, buf.data + TOC_FRAME_HEADER,
                          (size_t)link.root_stored, err);
        found->area_length = buf.length - TOC_FRAME_HEADER;
        found->area = kf_buf_take(&buf, &(size_t){0});
        memmove(found->area, found->area + TOC_FRAME_HEADER, found->area_length);
        found->toc = link;
        found->has_toc = rc == 0;
    }
    kf_buf_fini(&buf);
    return rc < 0 ? -1 : 0;
}

int kf_seek_find(struct kf_seek_found *ret, const struct kf_seek_from *from,
                 struct kf_err *err)
{
    struct kf_seek_found found = {0};
    int rc;

    if (from->store && load(ret, from) == 0)
        return 0;
    rc = fetch_table(&found, from, err);
    if (rc < 0 || find_toc(&found, from, err) != 0) {
        kf_seek_found_fini(&found);
        return -1;
    }
    if (rc == 0) /* else it may be damage on the way */
        save(&found, from);
    *ret = found;
    return 0;
}
