#include "cache/pair.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"

#define OPEN_FLAGS (O_RDWR | O_CLOEXEC | O_NOFOLLOW)

/* Exclusive locks are held for milliseconds; who finds one looks again so often. */
#define LOCK_TRIES 2000
#define OPEN_TRIES 100

static void pause_1ms(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* shorter is fine */
}

int kf_pair_path(char ret[KF_PAIR_PATH_SIZE], const char *name, struct kf_err *err)
{
    size_t length = strnlen(name, KF_OBJECT_NAME_SIZE);
    struct kf_digest shard;

    if (length == 0 || length == KF_OBJECT_NAME_SIZE ||
        strspn(name, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") !=
            length)
        return kf_fail(err, KF_E_ARG, "not the name of an object: '%.*s'", (int)length,
                       name);
    if (kf_digest_of(&shard, name, length, err) != 0)
        return -1;
    (void)snprintf(ret, KF_PAIR_PATH_SIZE, "%02x/%s", shard.bytes[0], name); /* fits */
    return 0;
}

struct names {
    char data[KF_PAIR_PATH_SIZE + 8];
    char map[KF_PAIR_PATH_SIZE + 8];
};

static void name_files(struct names *ret, const char *path)
{
    (void)snprintf(ret->data, sizeof(ret->data), "%s.data", path); /* fits */
    (void)snprintf(ret->map, sizeof(ret->map), "%s.map", path);    /* fits */
}

static int unlink_both(int objects_fd, const struct names *names)
{
    if (unlinkat(objects_fd, names->data, 0) != 0 && errno != ENOENT)
        return -1;
    return unlinkat(objects_fd, names->map, 0);
}

static bool is_deleted(int fd)
{
    struct stat st;

    return fstat(fd, &st) != 0 || st.st_nlink == 0;
}

static bool is_empty(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_size == 0;
}

static int lock_shared(int fd, struct kf_err *err)
{
    for (unsigned tries = 0; tries < LOCK_TRIES; tries++) {
        if (flock(fd, LOCK_SH | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return kf_fail_errno(err, "cannot lock the map");
        pause_1ms();
    }
    return kf_fail(err, KF_E_TIMEOUT, "another process does not release the map");
}

/* What one opening works on. */
struct opening {
    int objects_fd;
    struct names names;
    const struct kf_map_shape *shape;
    const uint64_t *cuts; /* NULL: none */
    const struct kf_identity *identity;
    struct kf_pair pair;
};

static void close_files(struct kf_pair *pair)
{
    kf_map_detach(&pair->map);
    kf_close_fd(&pair->data_fd);
    kf_close_fd(&pair->map_fd);
    pair->data_fd = pair->map_fd = -1;
}

/* Exclusive lock held, map file empty. */
static int make(struct opening *opening, struct kf_err *err)
{
    struct kf_map_header header = {
        .shape = *opening->shape,
        .identity = *opening->identity,
    };

    /* Left over when somebody deleted map files by hand. */
    if (unlinkat(opening->objects_fd, opening->names.data, 0) != 0 && errno != ENOENT)
        return kf_fail_errno(err, "cannot delete an old data file");
    kf_auto(kf_close_fd) int fd = openat(opening->objects_fd, opening->names.data,
                                         OPEN_FLAGS | O_CREAT | O_EXCL, 0600);

    if (fd < 0)
        return kf_fail_errno(err, "cannot create the data file");
    if (ftruncate(fd, (off_t)opening->shape->size) != 0)
        return kf_fail_errno(err, "cannot size the data file");
    opening->pair.made = true;
    return kf_map_create(opening->pair.map_fd, &header, opening->cuts, err);
}

/* Any lock held: KF_E_MALFORMED when the files are not a sound pair of this object. */
static int attach(struct opening *opening, struct kf_err *err)
{
    struct kf_pair *pair = &opening->pair;
    struct stat st;

    if (kf_map_attach(&pair->map, pair->map_fd, opening->shape, err) != 0)
        return -1;
    if (opening->cuts && !kf_map_has_cuts(&pair->map, opening->cuts))
        return kf_fail(err, KF_E_MALFORMED, "the map has other cuts");
    pair->data_fd = openat(opening->objects_fd, opening->names.data, OPEN_FLAGS);
    if (pair->data_fd < 0 && errno == ENOENT)
        return kf_fail(err, KF_E_MALFORMED, "the data file is missing");
    if (pair->data_fd < 0 || fstat(pair->data_fd, &st) != 0)
        return kf_fail_errno(err, "cannot open the data file");
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != opening->shape->size)
        return kf_fail(err, KF_E_MALFORMED, "the data file has another length");
    return 0;
}

enum outcome { OPENED, AGAIN, FAILED };

/* We are the only user: whatever is wrong is put right, or away. */
static enum outcome open_alone(struct opening *opening, struct kf_err *err)
{
    struct kf_err reason;

    if (is_deleted(opening->pair.map_fd))
        return AGAIN;
    if (is_empty(opening->pair.map_fd) && make(opening, err) != 0)
        return FAILED;
    if (attach(opening, &reason) != 0) {
        if (reason.kind != KF_E_MALFORMED) {
            if (err)
                *err = reason;
            return FAILED;
        }
        if (unlink_both(opening->objects_fd, &opening->names) == 0)
            return AGAIN;
        (void)kf_fail_errno(err, "cannot delete damaged files");
        return FAILED;
    }
    if (!kf_map_is_current(&opening->pair.map, opening->identity))
        kf_map_make_current(&opening->pair.map, opening->identity);
    /* Not atomic: in between another may lock, and even delete. */
    if (lock_shared(opening->pair.map_fd, err) != 0)
        return FAILED;
    return is_deleted(opening->pair.map_fd) ? AGAIN : OPENED;
}

/* Others have it open, so it can only be taken as it is. An unsound pair is that of one
 * who was killed while making it, and the next try finds us alone; or it stays. */
static enum outcome open_shared(struct opening *opening, struct kf_err *err)
{
    if (lock_shared(opening->pair.map_fd, err) != 0)
        return FAILED;
    if (is_deleted(opening->pair.map_fd) || attach(opening, err) != 0)
        return AGAIN;
    if (!kf_map_is_current(&opening->pair.map, opening->identity)) {
        (void)kf_fail(err, KF_E_MALFORMED, "the map is that of another boot");
        return AGAIN;
    }
    return OPENED;
}

static enum outcome open_once(struct opening *opening, struct kf_err *err)
{
    struct kf_pair *pair = &opening->pair;

    pair->made = false;
    pair->map_fd =
        openat(opening->objects_fd, opening->names.map, OPEN_FLAGS | O_CREAT, 0600);
    if (pair->map_fd < 0) {
        (void)kf_fail_errno(err, "cannot open the map");
        return FAILED;
    }
    if (flock(pair->map_fd, LOCK_EX | LOCK_NB) == 0)
        return open_alone(opening, err);
    if (errno == EWOULDBLOCK)
        return open_shared(opening, err);
    (void)kf_fail_errno(err, "cannot lock the map");
    return FAILED;
}

static void touch(int map_fd)
{
    (void)futimens(map_fd, NULL); /* a wrong time only makes eviction choose worse */
}

int kf_pair_open(struct kf_pair *ret, int objects_fd, const char *path,
                 const struct kf_map_shape *shape, const uint64_t *cuts,
                 const struct kf_identity *identity, struct kf_err *err)
{
    struct opening opening = {
        .objects_fd = objects_fd,
        .shape = shape,
        .cuts = cuts,
        .identity = identity,
        .pair = {.data_fd = -1, .map_fd = -1},
    };
    char shard[3] = {path[0], path[1], '\0'};

    if (kf_make_dirs(objects_fd, shard, 0700, err) != 0)
        return kf_fail_wrap(err, "object '%s'", path);
    name_files(&opening.names, path);
    for (unsigned tries = 0; tries < OPEN_TRIES; tries++) {
        enum outcome outcome = open_once(&opening, err);

        if (outcome == OPENED) {
            touch(opening.pair.map_fd);
            *ret = opening.pair;
            return 0;
        }
        close_files(&opening.pair);
        if (outcome == FAILED)
            return kf_fail_wrap(err, "object '%s'", path);
        pause_1ms();
    }
    return kf_fail(err, KF_E_IO, "object '%s' is used by another process in another form",
                   path);
}

void kf_pair_close(struct kf_pair *pair)
{
    if (pair->map_fd >= 0)
        touch(pair->map_fd);
    close_files(pair);
}

static uint64_t disk_bytes(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

uint64_t kf_pair_disk_bytes(const struct kf_pair *pair)
{
    return disk_bytes(pair->data_fd) + disk_bytes(pair->map_fd);
}

/* Creating the map of a lone data file is what makes its deletion safe against an opener.
 */
bool kf_pair_delete(int objects_fd, const char *path)
{
    struct names names;

    name_files(&names, path);
    kf_auto(kf_close_fd) int fd =
        openat(objects_fd, names.map, OPEN_FLAGS | O_CREAT, 0600);

    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0)
        return false;
    return !is_deleted(fd) && unlink_both(objects_fd, &names) == 0;
}
