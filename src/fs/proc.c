#include "fs/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "fs/aside.h"

#define USERS_SHOWN 3u
#define USERS_LIMIT_NS KF_NS_PER_S

bool kf_proc_status_killed(const char *status)
{
    static const char label[] = "\nSigPnd:";
    const char *line = strstr(status, label);

    return line &&
           (strtoull(line + sizeof(label) - 1, NULL, 16) >> (SIGKILL - 1) & 1) != 0;
}

bool kf_proc_being_killed(pid_t tid)
{
    char path[64], status[4096];
    ssize_t got;

    if (tid <= 0)
        return false;
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
    kf_auto(kf_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    got = read(fd, status, sizeof(status) - 1);
    if (got <= 0)
        return false;
    status[got] = '\0';
    return kf_proc_status_killed(status);
}

bool kf_proc_name(pid_t pid, char ret[16])
{
    char path[64];
    ssize_t got;

    (void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    kf_auto(kf_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    got = read(fd, ret, 15);
    if (got <= 0)
        return false;
    ret[got] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
    return true;
}

static bool lies_in(const char *path, const char *dir)
{
    size_t length = strlen(dir);

    return strncmp(path, dir, length) == 0 &&
           (path[length] == '\0' || path[length] == '/');
}

static bool link_lies_in(int folder, const char *name, const char *dir)
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(folder, name, target, sizeof(target) - 1);

    if (length <= 0)
        return false;
    target[length] = '\0';
    return lies_in(target, dir);
}

static bool has_open(int process, const char *dir)
{
    int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *files = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    bool found = false;

    if (!files) {
        kf_close_fd(&fd);
        return false;
    }
    while (!found && (entry = readdir(files)))
        found = link_lies_in(fd, entry->d_name, dir);
    (void)closedir(files);
    return found;
}

static bool has_mapped(int process, const char *dir)
{
    int fd = openat(process, "maps", O_RDONLY | O_CLOEXEC);
    FILE *maps = fd >= 0 ? fdopen(fd, "r") : NULL;
    char line[PATH_MAX + 128];
    bool found = false;

    if (!maps) {
        kf_close_fd(&fd);
        return false;
    }
    while (!found && fgets(line, sizeof(line), maps)) {
        const char *path =
            strchr(line, '/'); /* the last field, and the only one with it */

        line[strcspn(line, "\n")] = '\0';
        found = path && lies_in(path, dir);
    }
    (void)fclose(maps);
    return found;
}

static bool uses(int proc, const char *pid, const char *dir)
{
    kf_auto(kf_close_fd) int process =
        openat(proc, pid, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return process >= 0 &&
           (link_lies_in(process, "cwd", dir) || link_lies_in(process, "root", dir) ||
            has_open(process, dir) || has_mapped(process, dir));
}

static void list_users(const void *arg, int out)
{
    const char *dir = arg;
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    unsigned shown = 0;

    if (!proc)
        return;
    while (shown < USERS_SHOWN && (entry = readdir(proc))) {
        char name[16];
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

        if (!isdigit((unsigned char)entry->d_name[0]) || pid == getpid() ||
            pid == getppid() || !uses(dirfd(proc), entry->d_name, dir) ||
            !kf_proc_name(pid, name))
            continue;
        (void)dprintf(out, "%s%s (%d)", shown++ ? ", " : "", name,
                      (int)pid); /* a pipe that broke ends us anyway */
    }
    (void)closedir(proc);
}

int kf_proc_users(const char *dir, struct kf_buf *ret, struct kf_err *err)
{
    return kf_aside(list_users, dir, USERS_LIMIT_NS, ret, err);
}
