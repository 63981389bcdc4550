/*
 * fusetrace: a read-only FUSE pass-through of a folder that logs every READ the kernel
 * sends, with a delay per request (a stand-in for a remote store) and EIO behind an
 * offset. It shows what a client does to a FUSE server, and is the plain file system to
 * compare with.
 *
 * build: cc -O2 fusetrace.c -o fusetrace $(pkg-config --cflags --libs fuse3) -lpthread
 * use:   fusetrace SRC MNT -o
 * log=FILE,delay_us=0,ra_kb=128,direct=0,keep=1,threads=32,err_mb=0
 *
 * Stays in the foreground; `fusermount3 -u MNT` ends it with one line of sums. ra_kb is
 * the max_readahead asked for and, as root, what is written to the mount's read_ahead_kb.
 * Log lines: microseconds, R, inode, handle, offset, size, pid, requests in flight.
 */
#define FUSE_USE_VERSION 312
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define NODE_LIMIT 65536
#define TIMEOUT_S 3600

static struct {
    char *log;
    unsigned delay_us, ra_kb, direct, keep, threads, err_mb;
} options = {.ra_kb = 128, .keep = 1, .threads = 32};

#define OPTION(text, field)                           \
    {                                                 \
        text, offsetof(__typeof__(options), field), 0 \
    }
static const struct fuse_opt option_table[] = {
    OPTION("log=%s", log),       OPTION("delay_us=%u", delay_us),
    OPTION("ra_kb=%u", ra_kb),   OPTION("direct=%u", direct),
    OPTION("keep=%u", keep),     OPTION("threads=%u", threads),
    OPTION("err_mb=%u", err_mb), FUSE_OPT_END,
};

static char *paths[NODE_LIMIT]; /* by inode number; 1 is the source folder */
static _Atomic unsigned path_count = 2;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *log_file;
static _Atomic unsigned long opens, reads, read_bytes;
static _Atomic long in_flight, most_in_flight;

static long now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

static fuse_ino_t intern(const char *path)
{
    unsigned i, count;

    pthread_mutex_lock(&lock);
    count = path_count;
    for (i = 1; i < count && strcmp(paths[i], path) != 0;)
        i++;
    if (i == count && count < NODE_LIMIT) {
        paths[count] = strdup(path);
        path_count = count + 1;
    }
    pthread_mutex_unlock(&lock);
    return i;
}

static void on_init(void *data, struct fuse_conn_info *conn)
{
    (void)data;
    conn->max_readahead = options.ra_kb * 1024;
    conn->max_background = 256;
    conn->congestion_threshold = 256;
    conn->want |= conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS);
}

static int attributes(fuse_ino_t ino, struct stat *st)
{
    if (ino >= path_count)
        return ENOENT;
    if (lstat(paths[ino], st) != 0)
        return errno;
    st->st_ino = ino;
    st->st_mode &= ~0222u;
    return 0;
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st;
    int error = attributes(ino, &st);

    (void)fi;
    if (error)
        fuse_reply_err(req, error);
    else
        fuse_reply_attr(req, &st, TIMEOUT_S);
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = {.attr_timeout = TIMEOUT_S,
                                     .entry_timeout = TIMEOUT_S};
    char path[4096];

    if ((size_t)snprintf(path, sizeof(path), "%s/%s", paths[parent], name) >=
        sizeof(path)) {
        fuse_reply_err(req, ENAMETOOLONG);
        return;
    }
    if (access(path, F_OK) != 0) {
        fuse_reply_err(req, errno);
        return;
    }
    entry.ino = intern(path);
    if (attributes(entry.ino, &entry.attr) != 0)
        fuse_reply_err(req, EIO);
    else
        fuse_reply_entry(req, &entry);
}

static void on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                       struct fuse_file_info *fi)
{
    char *buffer = malloc(size);
    DIR *folder = opendir(paths[ino]);
    struct dirent *entry;
    size_t used = 0;
    off_t number = 0;

    (void)fi;
    while (buffer && folder && (entry = readdir(folder))) {
        struct stat st = {.st_ino = entry->d_ino, .st_mode = DTTOIF(entry->d_type)};
        size_t length;

        if (number++ < offset)
            continue;
        length = fuse_add_direntry(req, buffer + used, size - used, entry->d_name, &st,
                                   number);
        if (length > size - used)
            break;
        used += length;
    }
    if (folder)
        closedir(folder);
    fuse_reply_buf(req, buffer, used);
    free(buffer);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    int fd = (fi->flags & O_ACCMODE) == O_RDONLY ? open(paths[ino], O_RDONLY) : -1;

    if (fd < 0) {
        fuse_reply_err(req, (fi->flags & O_ACCMODE) == O_RDONLY ? errno : EROFS);
        return;
    }
    opens++;
    fi->fh = (uint64_t)fd;
    fi->direct_io = options.direct != 0;
    fi->keep_cache = options.keep != 0;
    if (log_file)
        fprintf(log_file, "%ld O %" PRIu64 " %d 0%o %s\n", now_us(), ino, fd,
                (unsigned)fi->flags, paths[ino]);
    fuse_reply_open(req, fi);
}

static void on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (log_file)
        fprintf(log_file, "%ld C %" PRIu64 " %d\n", now_us(), ino, (int)fi->fh);
    close((int)fi->fh);
    fuse_reply_err(req, 0);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *fi)
{
    struct fuse_bufvec buffers = FUSE_BUFVEC_INIT(size);
    long flying = ++in_flight;

    if (flying > most_in_flight)
        most_in_flight = flying;
    reads++;
    read_bytes += size;
    if (log_file)
        fprintf(log_file, "%ld R %" PRIu64 " %d %ld %zu %d %ld\n", now_us(), ino,
                (int)fi->fh, (long)offset, size, fuse_req_ctx(req)->pid, flying);
    if (options.delay_us)
        usleep(options.delay_us);
    if (options.err_mb && offset + (off_t)size > (off_t)options.err_mb << 20) {
        fuse_reply_err(req, EIO);
    } else {
        buffers.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
        buffers.buf[0].fd = (int)fi->fh;
        buffers.buf[0].pos = offset;
        fuse_reply_data(req, &buffers, 0);
    }
    in_flight--;
}

static const struct fuse_lowlevel_ops ops = {
    .init = on_init,
    .lookup = on_lookup,
    .getattr = on_getattr,
    .readdir = on_readdir,
    .open = on_open,
    .release = on_release,
    .read = on_read,
};

/* INIT resets the readahead, so a child writes it once the mount answers. The device
 * number comes from stat, which is that answer. */
static void set_readahead(const char *mount)
{
    char path[128];
    struct stat st;
    FILE *file;

    if (fork() != 0)
        return;
    if (stat(mount, &st) == 0) {
        usleep(50000);
        snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
                 major(st.st_dev), minor(st.st_dev));
        file = fopen(path, "w");
        if (file) {
            fprintf(file, "%u\n", options.ra_kb);
            fclose(file);
        }
    }
    _exit(0);
}

static int serve(struct fuse_session *session, const char *mount)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();

    fuse_loop_cfg_set_clone_fd(config, 1);
    fuse_loop_cfg_set_max_threads(config, options.threads);
    fuse_loop_cfg_set_idle_threads(config, options.threads);
    set_readahead(mount);
    fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    fuse_session_unmount(session);
    printf("opens %lu reads %lu bytes %lu most in flight %ld\n", opens, reads, read_bytes,
           most_in_flight);
    return 0;
}

int main(int argc, char **argv)
{
    char *source = argc > 2 ? realpath(argv[1], NULL) : NULL;
    char *mount = argc > 2 ? realpath(argv[2], NULL) : NULL;
    struct fuse_session *session;
    struct fuse_args args;

    if (!source || !mount) {
        fprintf(stderr, "usage: fusetrace SRC MNT [-o options]\n");
        return 2;
    }
    argv[2] = argv[0];
    args = (struct fuse_args)FUSE_ARGS_INIT(argc - 2, argv + 2);
    if (fuse_opt_parse(&args, &options, option_table, NULL) != 0 ||
        fuse_opt_add_arg(&args, "-oro,allow_other,default_permissions,"
                                "fsname=fusetrace,subtype=fusetrace") != 0)
        return 1;
    paths[1] = source;
    if (options.log && !(log_file = fopen(options.log, "w"))) {
        perror(options.log);
        return 1;
    }
    session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
    if (!session || fuse_set_signal_handlers(session) != 0 ||
        fuse_session_mount(session, mount) != 0)
        return 1;
    return serve(session, mount);
}
