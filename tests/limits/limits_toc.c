/*
 * The largest root that docs/formats/layer.md section 6 allows, at full size: 2^22 files,
 * 2^20 slices, 2^26 chunks; and one more of each, which is refused.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "layer/le.h"
#include "layer/toc.h"

#define HEADER 64u
#define ENTRY 24u
#define FILE_RECORD 48u
#define SLICE_RECORD 104u
#define NAME_LENGTH 8u /* digits: sorted as they are counted */
#define TAR_END 1024u

struct shape {
    const char *what;
    uint32_t files, slices;
    uint64_t chunks; /* shared out among the slices, the last one takes what is left */
    enum kf_err_kind expected;
};

static void put_section(uint8_t *root, unsigned index, const char *type, uint64_t offset,
                        uint64_t length)
{
    uint8_t *at = root + HEADER + (size_t)index * ENTRY;

    memcpy(at, type, 4);
    kf_put_le32(at + 4, 1);
    kf_put_le64(at + 8, offset);
    kf_put_le64(at + 16, length);
}

static void put_header(uint8_t *root, const struct shape *shape)
{
    memcpy(root, KF_TOC_MAGIC, 8);
    kf_put_le16(root + 8, 1);
    kf_put_le32(root + 12, HEADER);
    kf_put_le32(root + 16, 3);
    root[20] = KF_CARRIER_TAR;
    root[21] = 1;
    kf_put_le64(root + 24, shape->chunks); /* chunks of one byte */
    kf_put_le64(root + 32, shape->chunks);
    kf_put_le32(root + 40, (uint32_t)shape->chunks);
    kf_put_le32(root + 44, shape->files);
    kf_put_le32(root + 48, 65536);
    kf_put_le32(root + 52, 1);
    kf_put_le64(root + 56, shape->chunks * KF_TOC_ROW_SIZE);
}

static void put_files(uint8_t *files, uint8_t *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *at = files + (size_t)i * FILE_RECORD;
        char name[16];

        (void)snprintf(name, sizeof(name), "%08" PRIu32, i); /* fits */
        memcpy(names + (size_t)i * NAME_LENGTH, name, NAME_LENGTH);
        kf_put_le64(at, i); /* an empty file in the middle of others' bytes */
        kf_put_le32(at + 24, i * NAME_LENGTH);
        kf_put_le32(at + 28, NAME_LENGTH);
        kf_put_le32(at + 32, 0644);
    }
}

static void put_slices(uint8_t *slices, const struct shape *shape)
{
    uint64_t each = shape->chunks / shape->slices;

    for (uint32_t i = 0; i < shape->slices; i++) {
        uint8_t *at = slices + (size_t)i * SLICE_RECORD;
        uint64_t first = i * each;
        uint64_t count = i + 1 < shape->slices ? each : shape->chunks - first;

        kf_put_le32(at, KF_TOC_NO_FILE);
        kf_put_le32(at + 4, (uint32_t)first);
        kf_put_le32(at + 8, (uint32_t)count);
        kf_put_le64(at + 16, first);
        kf_put_le64(at + 24, first);
        kf_put_le64(at + 32, first * KF_TOC_ROW_SIZE);
        at[40] = 1; /* some digest */
    }
}

static int decode(const struct shape *shape, struct kf_err *err)
{
    size_t files = HEADER + 3 * ENTRY, names = files + (size_t)shape->files * FILE_RECORD;
    size_t slices = names + (size_t)shape->files * NAME_LENGTH;
    size_t length = slices + (size_t)shape->slices * SLICE_RECORD;
    struct kf_toc_link link = {.root_stored = 1000,
                               .root_raw = length,
                               .area_length = 1000 + shape->chunks * KF_TOC_ROW_SIZE};
    uint8_t *root = calloc(1, length);
    struct kf_toc toc;
    int rc;

    if (!root)
        return kf_fail(err, KF_E_NOMEM, "no memory for the test");
    put_header(root, shape);
    put_section(root, 0, "FILE", files, (uint64_t)shape->files * FILE_RECORD);
    put_section(root, 1, "NAME", names, (uint64_t)shape->files * NAME_LENGTH);
    put_section(root, 2, "SLIC", slices, (uint64_t)shape->slices * SLICE_RECORD);
    put_files(root + files, root + names, shape->files);
    put_slices(root + slices, shape);
    rc = kf_toc_decode(&toc, root, length, &link, shape->chunks + TAR_END, &kf_toc_limits,
                       err);
    free(root);
    if (rc == 0)
        kf_toc_fini(&toc);
    return rc;
}

int main(void)
{
    static const struct shape shapes[] = {
        {"all at their limits", 1u << 22, 1u << 20, UINT64_C(1) << 26, KF_E_NONE},
        {"a file more", (1u << 22) + 1, 1024, 1u << 20, KF_E_LIMIT},
        {"a slice more", 1024, (1u << 20) + 1, (UINT64_C(1) << 26) - 1, KF_E_LIMIT},
        {"a chunk more", 1024, 1u << 20, (UINT64_C(1) << 26) + 1, KF_E_LIMIT},
    };
    int failed = 0;

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct kf_err err = {.kind = KF_E_NONE};
        int64_t began = kf_now_ns();
        int rc = decode(&shapes[i], &err);
        bool right = (rc == 0) == (shapes[i].expected == KF_E_NONE) &&
                     err.kind == shapes[i].expected;

        printf("%s: %s (%.2f s) %s\n", shapes[i].what, right ? "ok" : "FAILED",
               (double)(kf_now_ns() - began) / (double)KF_NS_PER_S, err.message);
        failed += !right;
    }
    return failed ? 1 : 0;
}
