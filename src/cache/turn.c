#include "cache/turn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/private.h"

#define PAUSE_MS 20
#define PATH_SIZE 80

struct kf_turn {
    int folder_fd; /* borrowed from the store */
    int fd;
    char path[PATH_SIZE];
};

/* When the holder last said something, and when we saw that. */
struct sign {
    struct timespec said;
    int64_t seen_ns;
};

static void look_for_sign(struct sign *sign, const struct stat *st)
{
    if (sign->seen_ns != 0 && sign->said.tv_sec == st->st_mtim.tv_sec &&
        sign->said.tv_nsec == st->st_mtim.tv_nsec)
        return;
    sign->said = st->st_mtim;
    sign->seen_ns = kf_now_ns();
}

/* 1: it is ours; 0: another has it; -1: it cannot be had. A file that lost its name was
 * that of one who has ended. */
static int try_once(struct kf_turn *turn, struct sign *sign)
{
    struct stat st;
    int rc = 0;

    turn->fd = openat(turn->folder_fd, turn->path,
                      O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (turn->fd < 0)
        return -1;
    if (flock(turn->fd, LOCK_EX | LOCK_NB) == 0)
        rc = 1;
    else if (errno != EWOULDBLOCK && errno != EINTR)
        rc = -1;
    if (rc >= 0 && fstat(turn->fd, &st) != 0)
        rc = -1;
    if (rc == 1 && st.st_nlink == 0)
        rc = 0;
    if (rc == 0)
        look_for_sign(sign, &st);
    if (rc != 1)
        kf_close_fd(&turn->fd);
    return rc;
}

static void go_without(const struct kf_turn *turn, const char *why)
{
    kf_log(KF_LOG_WARN, "cache", "event=no_turn file=%s why=\"%s\"", turn->path, why);
}

int kf_turn_take(struct kf_turn **ret, struct kf_store *store,
                 const struct kf_digest *name, int64_t patience_ns,
                 int (*wait)(void *arg, struct kf_err *err), void *arg,
                 struct kf_err *err)
{
    kf_auto(kf_free) struct kf_turn *turn = calloc(1, sizeof(*turn));
    struct sign sign = {.seen_ns = 0};
    char hex[65];
    int rc;

    if (!turn)
        return kf_fail(err, KF_E_NOMEM, "no memory for a lock");
    turn->folder_fd = store->folder_fd;
    (void)snprintf(turn->path, sizeof(turn->path), "turn/%s",
                   kf_digest_hex(name, hex)); /* fits */
    *ret = NULL;
    while ((rc = try_once(turn, &sign)) == 0) {
        if (wait && wait(arg, err) != 0)
            return -1;
        if (kf_now_ns() - sign.seen_ns >= patience_ns) {
            go_without(turn, "another process does not go on");
            return 0;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * KF_NS_PER_MS},
                        NULL); /* shorter is fine */
    }
    if (rc < 0) {
        go_without(turn, "no lock");
        return 0;
    }
    kf_turn_go_on(turn);
    *ret = kf_steal(turn);
    return 0;
}

void kf_turn_go_on(struct kf_turn *turn)
{
    if (turn)
        (void)futimens(turn->fd, NULL); /* then others lose patience earlier */
}

/* First the name, then the lock: who waits finds a file without one, and looks again. */
void kf_turn_end(struct kf_turn *turn)
{
    if (!turn)
        return;
    (void)unlinkat(turn->folder_fd, turn->path, 0); /* an empty file may stay */
    kf_close_fd(&turn->fd);
    free(turn);
}
