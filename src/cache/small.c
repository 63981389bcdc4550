/*
 * The small files of a store: docs/formats/cache.md, section 4.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/private.h"

static const char trailer_magic[8] = {'K', 'I', 'T', 'F', 'S', 'S', 'M', 'L'};

#define TRAILER_SIZE (sizeof(trailer_magic) + KF_SHA256_SIZE)

static const char *const folders[] = {
    [KF_SMALL_BLOB] = "small/blob", [KF_SMALL_TABLE] = "small/table",
    [KF_SMALL_TOC] = "small/toc",   [KF_SMALL_SEEK] = "small/seek",
    [KF_SMALL_TAG] = "small/tag",   [KF_SMALL_SUMS] = "small/sums",
};

#define SMALL_PATH_SIZE 96

static void format_path(char ret[SMALL_PATH_SIZE], enum kf_small kind,
                        const struct kf_digest *key)
{
    char hex[65];

    (void)snprintf(ret, SMALL_PATH_SIZE, "%s/%s", folders[kind],
                   kf_digest_hex(key, hex)); /* fits */
}

/* Length of the content when it is what was saved, else -1. */
static ssize_t check(enum kf_small kind, const struct kf_digest *key, const uint8_t *data,
                     size_t length)
{
    struct kf_digest expected = *key, found;

    if (kind != KF_SMALL_BLOB) {
        if (length < TRAILER_SIZE)
            return -1;
        length -= TRAILER_SIZE;
        if (memcmp(data + length, trailer_magic, sizeof(trailer_magic)) != 0)
            return -1;
        memcpy(expected.bytes, data + length + sizeof(trailer_magic), KF_SHA256_SIZE);
    }
    if (kf_digest_of(&found, data, length, NULL) != 0 ||
        !kf_digest_equal(&found, &expected))
        return -1;
    return (ssize_t)length;
}

int kf_store_load(struct kf_store *store, enum kf_small kind, const struct kf_digest *key,
                  struct kf_buf *ret, struct kf_err *err)
{
    static struct kf_log_rate rate;
    kf_auto(kf_buf_fini) struct kf_buf file = {0};
    char path[SMALL_PATH_SIZE];
    uint32_t dropped;

    if (!store)
        return kf_fail(err, KF_E_NOTFOUND, "there is no cache");
    format_path(path, kind, key);
    kf_buf_init(&file, ret->limit > SIZE_MAX - TRAILER_SIZE ? SIZE_MAX
                                                            : ret->limit + TRAILER_SIZE);
    if (kf_load_file(store->folder_fd, path, &file, err) != 0)
        return -1;
    ssize_t length = check(kind, key, file.data, file.length);

    if (length < 0) {
        kf_stats_add(store->stats, KF_STAT_CACHE_DAMAGED, 1);
        if (kf_log_allowed(&rate, 10, 60 * KF_NS_PER_S, &dropped))
            kf_log(KF_LOG_WARN, "cache", "event=damaged file=%s left_out=%u", path,
                   dropped);
        return kf_fail(err, KF_E_NOTFOUND, "cached file '%s' is damaged", path);
    }
    return kf_buf_append(ret, file.data, (size_t)length, err);
}

int kf_store_save(struct kf_store *store, enum kf_small kind, const struct kf_digest *key,
                  const void *data, size_t length, struct kf_err *err)
{
    char path[SMALL_PATH_SIZE];
    struct kf_digest checksum;

    if (!store)
        return kf_fail(err, KF_E_NOTFOUND, "there is no cache");
    format_path(path, kind, key);
    if (kind == KF_SMALL_BLOB)
        return kf_save_file(store->folder_fd, path, data, length, 0600, err);

    if (length > SIZE_MAX - TRAILER_SIZE)
        return kf_fail(err, KF_E_LIMIT, "cached file '%s' is too large", path);
    if (kf_digest_of(&checksum, data, length, err) != 0)
        return -1;
    kf_auto(kf_free) uint8_t *file = malloc(length + TRAILER_SIZE);

    if (!file)
        return kf_fail(err, KF_E_NOMEM, "no memory to save '%s'", path);
    if (length)
        memcpy(file, data, length);
    memcpy(file + length, trailer_magic, sizeof(trailer_magic));
    memcpy(file + length + sizeof(trailer_magic), checksum.bytes, KF_SHA256_SIZE);
    return kf_save_file(store->folder_fd, path, file, length + TRAILER_SIZE, 0600, err);
}

void kf_store_forget(struct kf_store *store, enum kf_small kind,
                     const struct kf_digest *key)
{
    char path[SMALL_PATH_SIZE];

    if (!store)
        return;
    format_path(path, kind, key);
    (void)unlinkat(store->folder_fd, path, 0); /* not there: that is what is wanted */
}
