#include "cache/dedup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "cache/cuts.h"
#include "cache/private.h"

#define CHUNK_LIMIT ((size_t)1 << 20)
#define OBJECT_LIMIT 65536u
#define FIRST_CAPACITY 1024u
#define FULL(capacity) ((capacity) / 4 * 3)

void kf_dedup_init(struct kf_dedup *dedup)
{
    *dedup = (struct kf_dedup){0};
    (void)pthread_mutex_init(&dedup->lock, NULL); /* cannot fail without attributes */
}

void kf_dedup_fini(struct kf_dedup *dedup)
{
    for (uint32_t i = 0; i < dedup->name_count; i++)
        free(dedup->names[i]);
    free(dedup->names);
    free(dedup->entries);
    (void)pthread_mutex_destroy(&dedup->lock); /* nobody holds it */
}

/* ---- the table: open addressing; an entry is never taken out, only made useless ---- */

static uint64_t key_of(const struct kf_digest *digest)
{
    uint64_t key;

    memcpy(&key, digest->bytes, sizeof(key)); /* as good as any hash */
    return key ? key : 1;
}

static struct kf_dedup_entry *slot_for(const struct kf_dedup *dedup, uint64_t key)
{
    size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20);

    while (dedup->entries[at & (dedup->capacity - 1)].key != 0 &&
           dedup->entries[at & (dedup->capacity - 1)].key != key)
        at++;
    return &dedup->entries[at & (dedup->capacity - 1)];
}

static bool grow(struct kf_dedup *dedup)
{
    struct kf_dedup larger = *dedup;

    if (dedup->capacity > 0 && dedup->count < FULL(dedup->capacity))
        return true;
    larger.capacity = dedup->capacity ? 2 * dedup->capacity : FIRST_CAPACITY;
    larger.entries = calloc(larger.capacity, sizeof(*larger.entries));
    if (!larger.entries)
        return false;
    for (size_t i = 0; i < dedup->capacity; i++)
        if (dedup->entries[i].key != 0)
            *slot_for(&larger, dedup->entries[i].key) = dedup->entries[i];
    free(dedup->entries);
    dedup->entries = larger.entries;
    dedup->capacity = larger.capacity;
    return true;
}

/* A number for an object's name; OBJECT_LIMIT: no room. */
static uint32_t add_name(struct kf_dedup *dedup, const char *name)
{
    uint32_t capacity = dedup->name_capacity ? 2 * dedup->name_capacity : 64;
    char **grown;

    if (dedup->name_count == OBJECT_LIMIT)
        return OBJECT_LIMIT;
    if (dedup->name_count == dedup->name_capacity) {
        grown = reallocarray(dedup->names, capacity, sizeof(*grown));
        if (!grown)
            return OBJECT_LIMIT;
        dedup->names = grown;
        dedup->name_capacity = capacity;
    }
    dedup->names[dedup->name_count] = strdup(name);
    return dedup->names[dedup->name_count] ? dedup->name_count++ : OBJECT_LIMIT;
}

static void add_locked(struct kf_dedup *dedup, uint32_t object, uint64_t chunk,
                       const struct kf_digest *digest)
{
    struct kf_dedup_entry *entry;

    if (object == OBJECT_LIMIT || chunk > UINT32_MAX || dedup->count == CHUNK_LIMIT ||
        !grow(dedup))
        return;
    entry = slot_for(dedup, key_of(digest));
    dedup->count += entry->key == 0;
    *entry = (struct kf_dedup_entry){key_of(digest), object, (uint32_t)chunk};
}

void kf_dedup_note(struct kf_dedup *dedup, struct kf_object *object, uint64_t chunk,
                   const struct kf_digest *digest)
{
    (void)pthread_mutex_lock(&dedup->lock);
    if (dedup->read) {
        if (object->dedup_number == 0)
            object->dedup_number = 1 + add_name(dedup, object->spec.name);
        add_locked(dedup, object->dedup_number - 1, chunk, digest);
    }
    (void)pthread_mutex_unlock(&dedup->lock);
}

/* ---- reading what is there ---- */

/* A map as it lies there, without its lock: hints need none. */
struct peeked {
    struct kf_map map;
    struct kf_map_shape shape;
};

static bool peek(struct peeked *ret, int folder_fd, const char *file)
{
    kf_auto(kf_close_fd) int fd =
        openat(folder_fd, file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    uint8_t bytes[KF_MAP_HEADER_SIZE];
    struct kf_map_header header;

    if (fd < 0 || kf_pread_all(fd, bytes, sizeof(bytes), 0, file, NULL) != 0 ||
        kf_map_decode(&header, bytes, sizeof(bytes), NULL) != 0)
        return false;
    ret->shape = header.shape;
    return kf_map_attach(&ret->map, fd, &header.shape, NULL) == 0;
}

static void read_map(struct kf_dedup *dedup, int folder_fd, const char *file)
{
    size_t length = strlen(file);
    char name[KF_OBJECT_NAME_SIZE];
    struct kf_digest digest;
    struct peeked peeked;
    uint32_t object;

    if (length < 5 || strcmp(file + length - 4, ".map") != 0 ||
        length - 4 >= sizeof(name) || !peek(&peeked, folder_fd, file))
        return;
    memcpy(name, file, length - 4);
    name[length - 4] = '\0';
    (void)pthread_mutex_lock(&dedup->lock);
    object = add_name(dedup, name);
    for (uint64_t chunk = 0; chunk < peeked.map.chunk_count; chunk++) {
        if (!kf_state_is_here(kf_map_state(&peeked.map, chunk)))
            continue;
        kf_map_digest(&peeked.map, chunk, &digest);
        add_locked(dedup, object, chunk, &digest);
    }
    (void)pthread_mutex_unlock(&dedup->lock);
    kf_map_detach(&peeked.map);
}

static DIR *open_folder(int at_fd, const char *name)
{
    int fd = openat(at_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;

    if (!folder)
        kf_close_fd(&fd);
    return folder;
}

void kf_store_index(struct kf_store *store)
{
    struct kf_dedup *dedup = &store->dedup;
    DIR *objects, *shard;
    const struct dirent *item, *file;
    bool first;

    (void)pthread_mutex_lock(&dedup->lock);
    first = !dedup->read;
    dedup->read = true;
    (void)pthread_mutex_unlock(&dedup->lock);
    objects = first ? open_folder(store->objects_fd, ".") : NULL;
    while (objects && (item = readdir(objects))) {
        shard =
            item->d_name[0] == '.' ? NULL : open_folder(store->objects_fd, item->d_name);
        while (shard && (file = readdir(shard)))
            read_map(dedup, dirfd(shard), file->d_name);
        if (shard)
            (void)closedir(shard); /* only read from */
    }
    if (objects)
        (void)closedir(objects); /* only read from */
}

/* ---- copying ---- */

bool kf_object_elsewhere(struct kf_object *object, uint64_t chunk,
                         struct kf_elsewhere *ret)
{
    const struct kf_cuts *cuts = object->spec.cuts;
    const struct kf_dedup_entry *entry;
    struct kf_dedup *dedup;
    bool found = false;

    if (!object->near || !cuts)
        return false;
    dedup = &object->near->dedup;
    (void)pthread_mutex_lock(&dedup->lock);
    if (dedup->capacity > 0) {
        entry = slot_for(dedup, key_of(&cuts->digests[chunk]));
        found = entry->key != 0 &&
                (entry->chunk != chunk ||
                 strcmp(dedup->names[entry->object], object->spec.name) != 0);
        *ret = (struct kf_elsewhere){entry->object, entry->chunk};
    }
    (void)pthread_mutex_unlock(&dedup->lock);
    return found;
}

static int read_chunk(int objects_fd, const char *name, uint64_t chunk, void *data,
                      size_t length, struct kf_err *err)
{
    char path[KF_PAIR_PATH_SIZE], file[KF_PAIR_PATH_SIZE + 6];
    struct peeked peeked;
    uint64_t offset = 0;
    uint32_t there = 0;
    bool placed;

    if (kf_pair_path(path, name, err) != 0)
        return -1;
    (void)snprintf(file, sizeof(file), "%s.map", path); /* fits */
    if (!peek(&peeked, objects_fd, file))
        return kf_fail(err, KF_E_NOTFOUND, "object '%s' has gone", name);
    placed = kf_map_place(&peeked.map, &peeked.shape, chunk, &offset, &there) &&
             there == length;
    kf_map_detach(&peeked.map);
    if (!placed)
        return kf_fail(err, KF_E_NOTFOUND, "object '%s' has no such chunk", name);
    (void)snprintf(file, sizeof(file), "%s.data", path); /* fits */
    kf_auto(kf_close_fd) int fd =
        openat(objects_fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return kf_fail_errno(err, "cannot open object '%s'", name);
    return kf_pread_all(fd, data, length, offset, name, err);
}

int kf_object_copy(struct kf_object *object, uint64_t chunk,
                   const struct kf_elsewhere *from, void *data, size_t length,
                   struct kf_digest *ret_digest, struct kf_err *err)
{
    struct kf_dedup *dedup = &object->near->dedup;
    char name[KF_OBJECT_NAME_SIZE];

    (void)pthread_mutex_lock(&dedup->lock);
    (void)snprintf(name, sizeof(name), "%s", dedup->names[from->object]); /* fits */
    (void)pthread_mutex_unlock(&dedup->lock);
    if (read_chunk(object->near->objects_fd, name, from->chunk, data, length, err) != 0 ||
        kf_digest_of(ret_digest, data, length, err) != 0)
        return -1;
    if (kf_digest_equal(ret_digest, &object->spec.cuts->digests[chunk])) {
        kf_stats_add(object->stats, KF_STAT_REUSED_BYTES, length);
        return 0;
    }
    return kf_fail(err, KF_E_CORRUPT, "object '%s' holds another chunk by now", name);
}
