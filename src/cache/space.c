#include "cache/space.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/evict.h"
#include "cache/pair.h"
#include "cache/store.h"

/* How old numbers about the file system may be, in time and in bytes of our own. */
#define LOOK_PERIOD_NS KF_NS_PER_S
#define LOOK_BYTES (UINT64_C(64) << 20)

struct list {
    struct kf_evict_candidate *items;
    size_t count;
    size_t capacity;
};

static void free_list(const struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].path);
    free(list->items);
}

static void close_folder(DIR **folder)
{
    if (*folder)
        (void)closedir(*folder); /* read only */
}

static DIR *open_folder(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;

    if (!folder)
        kf_close_fd(&fd);
    return folder;
}

static uint64_t allocated(const struct stat *st)
{
    return (uint64_t)st->st_blocks * 512;
}

static int64_t modified_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * KF_NS_PER_S + st->st_mtim.tv_nsec;
}

/* The pair `stem` of the folder `shard`. Without its map it was never used. */
static bool add_pair(struct list *list, int folder, const char *shard, const char *stem,
                     int stem_length)
{
    struct kf_evict_candidate candidate = {.last_used_ns = 0};
    char name[NAME_MAX + 8];
    struct stat st;

    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        void *grown = reallocarray(list->items, capacity, sizeof(*list->items));

        if (!grown)
            return false;
        list->items = grown;
        list->capacity = capacity;
    }
    (void)snprintf(name, sizeof(name), "%.*s.data", stem_length, stem); /* fits */
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        candidate.bytes += allocated(&st);
    (void)snprintf(name, sizeof(name), "%.*s.map", stem_length, stem); /* fits */
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        candidate.bytes += allocated(&st);
        candidate.last_used_ns = modified_ns(&st);
    }
    if (asprintf(&candidate.path, "%s/%.*s", shard, stem_length, stem) < 0)
        return false;
    list->items[list->count++] = candidate;
    return true;
}

/* Data files, and map files that have none. */
static bool is_one_pair(int folder, const char *name, int *ret_stem_length)
{
    const char *dot = strrchr(name, '.');
    char data[NAME_MAX + 8];

    if (!dot)
        return false;
    *ret_stem_length = (int)(dot - name);
    if (strcmp(dot, ".data") == 0)
        return true;
    if (strcmp(dot, ".map") != 0)
        return false;
    (void)snprintf(data, sizeof(data), "%.*s.data", *ret_stem_length, name); /* fits */
    return faccessat(folder, data, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
}

/* Everything that is there, as far as memory goes. */
static void list_objects(int objects_fd, struct list *list)
{
    kf_auto(close_folder) DIR *objects = open_folder(objects_fd, ".");
    struct dirent *shard, *file;
    int stem_length;

    while (objects && (shard = readdir(objects))) {
        if (strlen(shard->d_name) != 2 || strcmp(shard->d_name, "..") == 0)
            continue;
        kf_auto(close_folder) DIR *folder = open_folder(objects_fd, shard->d_name);

        while (folder && (file = readdir(folder)))
            if (is_one_pair(dirfd(folder), file->d_name, &stem_length) &&
                !add_pair(list, dirfd(folder), shard->d_name, file->d_name, stem_length))
                return;
    }
}

static uint64_t sum(const struct list *list)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < list->count; i++)
        bytes += list->items[i].bytes;
    return bytes;
}

static int look(int fd, uint64_t *ret_size, uint64_t *ret_free, struct kf_err *err)
{
    struct statvfs fs;

    if (fstatvfs(fd, &fs) != 0)
        return kf_fail_errno(err, "cannot examine the cache's file system");
    *ret_size = (uint64_t)fs.f_blocks * fs.f_frsize;
    *ret_free = (uint64_t)fs.f_bavail * fs.f_frsize;
    return 0;
}

static void look_again(struct kf_space *space)
{
    /* Without new numbers the old ones, less what we took, are as good as any. */
    (void)look(space->objects_fd, &space->size_bytes, &space->free_bytes, NULL);
    space->looked_ns = kf_now_ns();
    space->admitted_bytes = 0;
}

static uint64_t percent(uint64_t bytes, unsigned part)
{
    return bytes / 100 * part;
}

static uint64_t limit_of(const struct kf_space *space, uint64_t size_bytes)
{
    uint64_t limit = space->size_limit_bytes ? space->size_limit_bytes : UINT64_MAX;

    if (space->size_limit_percent)
        limit = kf_min_u64(limit, percent(size_bytes, space->size_limit_percent));
    return limit;
}

static uint64_t need(const struct kf_space *space, uint64_t bytes)
{
    struct kf_evict_state state = {
        .used_bytes = __atomic_load_n(&space->used_bytes, __ATOMIC_RELAXED),
        .limit_bytes = limit_of(space, space->size_bytes),
        .free_bytes = space->free_bytes,
        .min_free_bytes = percent(space->size_bytes, space->min_free_percent),
    };

    return kf_evict_need(&state, bytes);
}

/* Removes until `wanted_bytes` more fit, or nothing is left that can go. The scan also
 * puts right what other processes have changed. */
static void evict(struct kf_space *space, uint64_t wanted_bytes)
{
    struct list list = {0};
    uint64_t shortage, gone = 0;

    list_objects(space->objects_fd, &list);
    __atomic_store_n(&space->used_bytes, sum(&list), __ATOMIC_RELAXED);
    shortage = need(space, wanted_bytes);
    kf_evict_order(list.items, list.count);
    for (size_t i = 0; i < list.count && gone < shortage; i++)
        if (kf_pair_delete(space->objects_fd, list.items[i].path)) {
            gone += list.items[i].bytes;
            kf_log(KF_LOG_INFO, "cache", "event=evicted object=%s bytes=%llu",
                   list.items[i].path, (unsigned long long)list.items[i].bytes);
        }
    __atomic_fetch_sub(&space->used_bytes, gone, __ATOMIC_RELAXED);
    free_list(&list);
}

int kf_space_init(struct kf_space *space, int objects_fd,
                  const struct kf_store_opts *opts, struct kf_err *err)
{
    struct list list = {0};

    if (opts->size_limit_percent > 100 || opts->min_free_percent > 100)
        return kf_fail(err, KF_E_ARG, "a share of the file system above 100 %%");
    *space = (struct kf_space){
        .objects_fd = objects_fd,
        .size_limit_bytes = opts->size_limit_bytes,
        .size_limit_percent = opts->size_limit_percent,
        .min_free_percent = opts->min_free_percent,
        .looked_ns = kf_now_ns(),
    };
    if (look(objects_fd, &space->size_bytes, &space->free_bytes, err) != 0)
        return -1;
    list_objects(objects_fd, &list);
    space->used_bytes = sum(&list);
    free_list(&list);
    return 0;
}

bool kf_space_fits(const struct kf_space *space, uint64_t bytes)
{
    return need(space, bytes) == 0;
}

bool kf_space_admit(struct kf_space *space, uint64_t bytes)
{
    if (space->admitted_bytes >= LOOK_BYTES ||
        kf_now_ns() - space->looked_ns >= LOOK_PERIOD_NS)
        look_again(space);
    if (!kf_space_fits(space, bytes)) {
        look_again(space);
        if (!kf_space_fits(space, bytes)) {
            evict(space, bytes);
            look_again(space);
        }
        if (!kf_space_fits(space, bytes))
            return false;
    }
    space->admitted_bytes += bytes;
    space->free_bytes -= kf_min_u64(space->free_bytes, bytes);
    return true;
}

void kf_space_charge(struct kf_space *space, uint64_t bytes)
{
    __atomic_fetch_add(&space->used_bytes, bytes, __ATOMIC_RELAXED);
}

int kf_space_report(const struct kf_space *space, struct kf_store_space *ret,
                    struct kf_err *err)
{
    struct kf_store_space now;

    if (look(space->objects_fd, &now.size_bytes, &now.free_bytes, err) != 0)
        return -1;
    now.used_bytes = __atomic_load_n(&space->used_bytes, __ATOMIC_RELAXED);
    now.limit_bytes = limit_of(space, now.size_bytes);
    if (space->min_free_percent) {
        uint64_t min_free = percent(now.size_bytes, space->min_free_percent);
        uint64_t room = now.free_bytes > min_free ? now.free_bytes - min_free : 0;

        now.limit_bytes = kf_min_u64(now.limit_bytes, now.used_bytes + room);
    }
    *ret = now;
    return 0;
}
