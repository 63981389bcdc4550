#include <fcntl.h>
#include <stdio.h>

#include "base/mem.h"
#include "cache/private.h"

/* Only the map is looked at, and without its lock: an object that is remade meanwhile
 * makes the answer old, nothing else. */
uint64_t kf_store_local_bytes(struct kf_store *store, const char *name,
                              const struct kf_map_shape *shape)
{
    char path[KF_PAIR_PATH_SIZE], file[KF_PAIR_PATH_SIZE + 4];
    struct kf_map map = {0};
    uint64_t bytes = 0;

    if (!store || kf_pair_path(path, name, NULL) != 0)
        return 0;
    (void)snprintf(file, sizeof(file), "%s.map", path); /* always fits */
    kf_auto(kf_close_fd) int fd = openat(store->objects_fd, file, O_RDWR | O_CLOEXEC);
    if (fd < 0 || shape->chunk_count == 0 || kf_map_attach(&map, fd, shape, NULL) != 0)
        return 0;
    bytes = kf_min_u64(kf_map_here(&map) * shape->chunk_size, shape->size);
    kf_map_detach(&map);
    return bytes;
}
