#include "pack/scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "layer/table.h"
#include "layer/tensors.h"
#include "pack/parents.h"

struct kf_scan_file {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
    mode_t mode;
    char name[];
};

struct other {
    const char *path;
    bool is_lost; /* whoever unpacks the kit does not get it from elsewhere */
};

struct walk {
    struct kf_scan *scan;
    const struct kf_scan_opts *opts;
    const char *own;      /* the path of the entry that is scanned */
    struct other *others; /* paths below it that are other entries' */
    size_t other_count;
};

/* A folder on the way down from the context; added when something needs it. */
struct folder {
    struct folder *parent; /* NULL: the context itself is its parent */
    const char *name;
    struct stat info;
    bool is_added;
    unsigned depth;
};

static int no_memory(struct kf_err *err)
{
    return kf_fail(err, KF_E_NOMEM, "no memory for a list of files");
}

static void warn(const struct kf_scan_opts *opts, const char *name, const char *what)
{
    char line[512], text[KF_NAME_TEXT_SIZE];

    if (!opts->warn)
        return;
    (void)snprintf(line, sizeof(line), "'%s' %s", kf_name_text(text, name, strlen(name)),
                   what); /* cut is fine */
    opts->warn(opts->arg, line);
}

/* --- whose a name is --- */

/* Whether `name` is `folder` or lies below it; "." holds everything. */
static bool is_within(const char *name, const char *folder)
{
    size_t length = strlen(folder);

    if (strcmp(folder, ".") == 0)
        return true;
    return strncmp(name, folder, length) == 0 &&
           (name[length] == '\0' || name[length] == '/');
}

static void add_other(struct walk *walk, const char *path, bool is_lost)
{
    if (strcmp(path, walk->own) != 0 && is_within(path, walk->own))
        walk->others[walk->other_count++] = (struct other){path, is_lost};
}

/* The nested entry wins: what it names is its own. */
static int find_others(struct walk *walk, struct kf_err *err)
{
    static const struct kf_parents none = {0};
    const struct kf_kitfile_plan *plan = walk->opts->plan;
    const struct kf_parents *parents = walk->opts->parents;

    if (!parents)
        parents = &none;
    walk->others = calloc(plan->entry_count + parents->count, sizeof(*walk->others));
    if (!walk->others)
        return no_memory(err);
    for (size_t i = 0; i < plan->entry_count; i++)
        add_other(walk, plan->entries[i].clean, false);
    for (size_t i = 0; i < parents->count; i++)
        add_other(walk, parents->paths[i].path, !parents->paths[i].is_unpacked);
    return 0;
}

static bool belongs_to_another(const struct walk *walk, const char *name)
{
    bool is_found = false, is_lost = true;

    for (size_t i = 0; i < walk->other_count; i++) {
        if (is_within(name, walk->others[i].path)) {
            is_found = true;
            is_lost &= walk->others[i].is_lost;
        }
    }
    if (is_found && is_lost)
        warn(walk->opts, name,
             "is left out: the kit referred to has that path, but gives its model alone");
    return is_found;
}

/* --- entries --- */

static int check_name(const char *name, struct kf_err *err)
{
    const char *checked = name;
    size_t length = strlen(name);

    return kf_name_check(&checked, &length, err) == 0
               ? 0
               : kf_fail_wrap(err, "cannot be packed");
}

static int reserve(struct kf_scan *scan, struct kf_err *err)
{
    uint32_t capacity = scan->capacity ? scan->capacity * 2 : 64;
    struct kf_pack_entry *entries;

    if (scan->count < scan->capacity)
        return 0;
    if (scan->count >= KF_TABLE_ENTRY_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "more than %u files in a layer",
                       KF_TABLE_ENTRY_LIMIT);
    entries = reallocarray(scan->entries, capacity, sizeof(*entries));
    if (!entries)
        return no_memory(err);
    scan->entries = entries;
    scan->capacity = capacity;
    return 0;
}

static int add(struct kf_scan *scan, const char *name, const struct stat *info,
               struct kf_err *err)
{
    struct kf_scan_file *file;
    bool is_dir = S_ISDIR(info->st_mode);

    if (check_name(name, err) != 0 || reserve(scan, err) != 0)
        return -1;
    file = malloc(sizeof(*file) + strlen(name) + 1);
    if (!file)
        return no_memory(err);
    *file = (struct kf_scan_file){.dev = info->st_dev,
                                  .ino = info->st_ino,
                                  .size = info->st_size,
                                  .mtime = info->st_mtim,
                                  .mode = info->st_mode};
    memcpy(file->name, name, strlen(name) + 1);
    scan->entries[scan->count++] =
        (struct kf_pack_entry){.name = file->name,
                               .size = is_dir ? 0 : (uint64_t)info->st_size,
                               .is_dir = is_dir,
                               .is_executable = !is_dir && (info->st_mode & 0111) != 0,
                               .source = file};
    scan->bytes += scan->entries[scan->count - 1].size;
    return 0;
}

static int add_folder(struct walk *walk, struct folder *folder, struct kf_err *err)
{
    if (!folder || folder->is_added)
        return 0;
    folder->is_added = true;
    if (add_folder(walk, folder->parent, err) != 0)
        return -1;
    return add(walk->scan, folder->name, &folder->info, err);
}

/* --- walking --- */

static int walk_folder(struct walk *walk, struct folder *folder, const char *name,
                       struct kf_err *err);

static bool is_output(const struct walk *walk, const struct stat *info)
{
    const struct stat *output = walk->opts->output;

    return output && output->st_dev == info->st_dev && output->st_ino == info->st_ino;
}

/* What is ignored may still hold what a '!' pattern takes back. */
static int visit(struct walk *walk, struct folder *parent, const char *name,
                 const struct stat *info, struct kf_err *err)
{
    const struct kf_ignore *ignore = walk->opts->ignore;
    bool is_ignored = kf_ignore_match(ignore, name);

    if (S_ISDIR(info->st_mode)) {
        struct folder folder = {.parent = parent,
                                .name = name,
                                .info = *info,
                                .depth = parent ? parent->depth + 1 : 1};

        if (is_ignored && !ignore->has_negated)
            return 0;
        if (is_output(walk, info)) {
            warn(walk->opts, name, "is left out: the kit goes there");
            return 0;
        }
        if (!is_ignored && add_folder(walk, &folder, err) != 0)
            return -1;
        return walk_folder(walk, &folder, name, err);
    }
    if (is_ignored)
        return 0;
    if (!S_ISREG(info->st_mode)) {
        warn(walk->opts, name,
             S_ISLNK(info->st_mode) ? "is left out: a symbolic link"
                                    : "is left out: neither a file nor a folder");
        return 0;
    }
    if (add_folder(walk, parent, err) != 0)
        return -1;
    return add(walk->scan, name, info, err);
}

static int visit_child(struct walk *walk, struct folder *folder, const char *child,
                       struct kf_err *err)
{
    kf_auto(kf_free) char *name = NULL;
    struct stat info;

    if (asprintf(&name, "%s%s%s", folder ? folder->name : "", folder ? "/" : "", child) <
        0) {
        name = NULL;
        return no_memory(err);
    }
    if (belongs_to_another(walk, name))
        return 0;
    if (fstatat(walk->opts->context_fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return kf_fail_errno(err, "cannot look at '%s'", name);
    return visit(walk, folder, name, &info, err);
}

static void close_folder(DIR **folder)
{
    if (*folder)
        (void)closedir(*folder); /* only read from */
}

static int walk_folder(struct walk *walk, struct folder *folder, const char *name,
                       struct kf_err *err)
{
    kf_auto(kf_close_fd) int fd = -1;
    kf_auto(close_folder) DIR *list = NULL;

    if (folder && folder->depth > KF_SCAN_DEPTH)
        return kf_fail(err, KF_E_LIMIT, "more than %u folders deep: '%s'", KF_SCAN_DEPTH,
                       name);
    fd = openat(walk->opts->context_fd, name,
                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list)
        return kf_fail_errno(err, "cannot open folder '%s'", name);
    fd = -1; /* is the list's */
    for (;;) {
        const struct dirent *item;

        errno = 0;
        item = readdir(list);
        if (!item)
            return errno == 0 ? 0 : kf_fail_errno(err, "cannot list '%s'", name);
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0 &&
            visit_child(walk, folder, item->d_name, err) != 0)
            return -1;
    }
}

/* Down the path of the entry, which is "a/b/c": `name` is what is above and `rest` what
 * is still to go. */
static int descend(struct walk *walk, struct folder *parent, size_t length,
                   struct kf_err *err)
{
    size_t next = length + strcspn(walk->own + length, "/");
    bool is_last = !walk->own[next];
    kf_auto(kf_free) char *name = strndup(walk->own, next);
    struct folder folder = {.parent = parent, .depth = parent ? parent->depth + 1 : 1};

    if (!name)
        return no_memory(err);
    folder.name = name;
    if (fstatat(walk->opts->context_fd, name, &folder.info, AT_SYMLINK_NOFOLLOW) != 0)
        return kf_fail_errno(err, "cannot look at '%s'", name);
    if (S_ISLNK(folder.info.st_mode))
        return kf_fail(err, KF_E_ARG, "'%s' is a symbolic link, which no kit holds",
                       name);
    if (is_last && (S_ISREG(folder.info.st_mode) || S_ISDIR(folder.info.st_mode)))
        return visit(walk, parent, name, &folder.info, err);
    if (is_last || !S_ISDIR(folder.info.st_mode))
        return kf_fail(err, KF_E_ARG, "'%s' is neither a file nor a folder", name);
    if (!kf_ignore_match(walk->opts->ignore, name) && add_folder(walk, &folder, err) != 0)
        return -1;
    return descend(walk, &folder, next + 1, err);
}

static int walk_entry(struct walk *walk, struct kf_err *err)
{
    if (find_others(walk, err) != 0)
        return -1;
    if (strcmp(walk->own, ".") == 0)
        return walk_folder(walk, NULL, ".", err);
    if (kf_ignore_match(walk->opts->ignore, walk->own))
        warn(walk->opts, walk->own, "is named by .kitignore");
    return descend(walk, NULL, 0, err);
}

/* --- tensors --- */

/* A header says how long it is only as it is read; twice as much each time keeps the
 * reading linear. */
static int find_tensors(int context_fd, struct kf_pack_entry *entry, struct kf_err *err)
{
    enum kf_tensors_answer answer = KF_TENSORS_MORE;
    uint64_t needed = KF_CUT_FILE, length = 0;

    while (answer == KF_TENSORS_MORE) {
        kf_auto(kf_free) uint8_t *head = NULL;

        if (length == entry->size)
            return 0; /* it would be longer than its file */
        length = kf_min_u64(kf_max_u64(needed, 2 * length), entry->size);
        head = malloc(length);
        if (!head)
            return kf_fail(err, KF_E_NOMEM, "no memory for the header of '%s'",
                           entry->name);
        if (kf_scan_read(&context_fd, entry->source, head, length, 0, err) != 0)
            return -1;
        answer = kf_tensors_parse(&entry->tensors, head, length, entry->size, &needed);
    }
    return 0;
}

/* --- all of it --- */

static int compare(const void *left, const void *right)
{
    return kf_pack_order(left, right);
}

static int fill(struct kf_scan *scan, const struct kf_scan_opts *opts, const char *path,
                struct kf_err *err)
{
    struct walk walk = {.scan = scan, .opts = opts, .own = path};
    int rc = walk_entry(&walk, err);

    free(walk.others);
    for (uint32_t i = 0; rc == 0 && i < scan->count; i++)
        if (scan->entries[i].size >= KF_CUT_FILE)
            rc = find_tensors(opts->context_fd, &scan->entries[i], err);
    if (rc != 0)
        return -1;
    if (scan->count > 1)
        qsort(scan->entries, scan->count, sizeof(*scan->entries), compare);
    if (scan->bytes == 0)
        warn(opts, path, "holds nothing that is packed");
    return 0;
}

int kf_scan_entry(struct kf_scan *ret, const struct kf_scan_opts *opts, size_t entry,
                  struct kf_err *err)
{
    struct kf_scan scan = {0};

    if (fill(&scan, opts, opts->plan->entries[entry].clean, err) != 0) {
        kf_scan_fini(&scan);
        return -1;
    }
    *ret = scan;
    return 0;
}

void kf_scan_fini(struct kf_scan *scan)
{
    for (uint32_t i = 0; i < scan->count; i++) {
        kf_tensors_fini(&scan->entries[i].tensors);
        free((void *)(uintptr_t)scan->entries[i].source);
    }
    free(scan->entries);
    memset(scan, 0, sizeof(*scan));
}

/* --- reading --- */

static int check_unchanged(int fd, const struct kf_scan_file *file, struct kf_err *err)
{
    struct stat now;

    if (fstat(fd, &now) != 0)
        return kf_fail_errno(err, "cannot look at '%s'", file->name);
    if (now.st_dev != file->dev || now.st_ino != file->ino || now.st_mode != file->mode ||
        now.st_size != file->size || now.st_mtim.tv_sec != file->mtime.tv_sec ||
        now.st_mtim.tv_nsec != file->mtime.tv_nsec)
        return kf_fail(err, KF_E_CORRUPT, "'%s' changed while it was packed", file->name);
    return 0;
}

int kf_scan_read(void *arg, const void *source, void *data, size_t length,
                 uint64_t offset, struct kf_err *err)
{
    const struct kf_scan_file *file = source;
    /* Not blocking: what stands there now may be a pipe. */
    kf_auto(kf_close_fd) int fd = openat(*(const int *)arg, file->name,
                                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return kf_fail_errno(err, "cannot open '%s'", file->name);
    if (check_unchanged(fd, file, err) != 0 ||
        kf_pread_all(fd, data, length, offset, file->name, err) != 0)
        return -1;
    return check_unchanged(fd, file, err);
}
