#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "pack/parents.h"
#include "pack/scan.h"

static char root[] = "/tmp/kf-scan-XXXXXX";
static int root_fd;
static struct kf_err err;
static struct kf_scan scan;
static struct kf_kitfile_plan plan;
static struct kf_parents parents;
static char names[8192], warnings[4096];

static int remove_one(const char *path, const struct stat *info, int type,
                      struct FTW *where)
{
    (void)info, (void)type, (void)where;
    return remove(path);
}

static void setup(void)
{
    cr_assert_not_null(mkdtemp(root));
    root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(root_fd, 0);
}

static void teardown(void)
{
    close(root_fd);
    (void)nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(scan, .init = setup, .fini = teardown);

static void make_file(const char *name, const char *text, mode_t mode)
{
    kf_auto(kf_free) char *folder = strdup(name);
    char *slash = strrchr(folder, '/');
    kf_auto(kf_close_fd) int fd = -1;

    if (slash) {
        *slash = '\0';
        cr_assert_eq(kf_make_dirs(root_fd, folder, 0755, &err), 0, "%s", err.message);
    }
    fd = openat(root_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0, "%s", name);
    cr_assert_eq(kf_write_all(fd, text, strlen(text), &err), 0);
    cr_assert_eq(fchmod(fd, mode), 0);
}

static void resize(const char *name, off_t size)
{
    kf_auto(kf_close_fd) int fd = openat(root_fd, name, O_WRONLY | O_CLOEXEC);

    cr_assert_eq(ftruncate(fd, size), 0);
}

static void make_files(const char *const *files)
{
    for (; *files; files++)
        make_file(*files, "x", 0644);
}

static void note(void *arg, const char *line)
{
    (void)arg;
    (void)snprintf(warnings + strlen(warnings), sizeof(warnings) - strlen(warnings),
                   "%s\n", line);
}

/* What is scanned for entry `index` of the Kitfile: names, folders with a slash behind
 * them, executables with a star. */
static int scan_entry(const char *yaml, const char *rules, size_t index)
{
    struct kf_ignore ignore;
    struct kf_scan_opts opts = {.context_fd = root_fd,
                                .plan = &plan,
                                .ignore = &ignore,
                                .parents = &parents,
                                .warn = note};
    int rc;

    names[0] = warnings[0] = '\0';
    cr_assert_eq(kf_ignore_parse(&ignore, rules, strlen(rules), &err), 0);
    cr_assert_eq(kf_kitfile_plan(&plan, yaml, strlen(yaml), NULL, NULL, &err), 0, "%s",
                 err.message);
    rc = kf_scan_entry(&scan, &opts, index, &err);
    for (uint32_t i = 0; rc == 0 && i < scan.count; i++) {
        const struct kf_pack_entry *entry = &scan.entries[i];

        (void)snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s%s%s",
                       i > 0 ? " " : "", entry->name, entry->is_dir ? "/" : "",
                       entry->is_executable ? "*" : "");
    }
    kf_kitfile_plan_fini(&plan);
    kf_ignore_fini(&ignore);
    return rc;
}

static void expect(const char *yaml, const char *rules, size_t index, const char *wanted)
{
    cr_assert_eq(scan_entry(yaml, rules, index), 0, "%s", err.message);
    cr_assert_str_eq(names, wanted, "%s", names);
    kf_scan_fini(&scan);
}

static void expect_error(const char *yaml, enum kf_err_kind kind, const char *message)
{
    cr_assert_eq(scan_entry(yaml, "", 0), -1, "%s", names);
    cr_assert_eq(err.kind, kind, "%s", err.message);
    cr_assert_not_null(strstr(err.message, message), "%s", err.message);
}

Test(scan, a_folder_with_its_parents_in_order)
{
    static const char *const files[] = {"a/b/z", "a/b/c/y", "a/b-x", "a/b/A",
                                        "other", "Kitfile", NULL};

    make_files(files);
    make_file("a/b/run", "#!", 0750);
    cr_assert_eq(mkdirat(root_fd, "a/b/empty", 0700), 0);
    expect("code: [{path: a/b}]", "", 0,
           "a/ a/b/ a/b/A a/b/c/ a/b/c/y a/b/empty/ a/b/run* a/b/z");
    cr_assert_str_empty(warnings);
}

Test(scan, one_file_with_its_parents)
{
    static const char *const files[] = {"a/b/w.bin", "a/b/v.bin", NULL};

    make_files(files);
    expect("model: {path: ./a//b/w.bin}", "", 0, "a/ a/b/ a/b/w.bin");
}

Test(scan, large_files_come_last)
{
    make_file("a/big", "", 0644);
    make_file("a/edge", "", 0644);
    make_file("a/small", "x", 0644);
    resize("a/big", (1 << 20) + 1);
    resize("a/edge", 1 << 20);
    cr_assert_eq(scan_entry("code: [{path: .}]", "", 0), 0, "%s", err.message);
    cr_assert_str_eq(names, "a/ a/edge a/small a/big");
    cr_assert_eq(scan.bytes, (2 << 20) + 2);
    kf_scan_fini(&scan);
}

Test(scan, nested_entries_are_left_to_themselves)
{
    static const char yaml[] = "code: [{path: .}, {path: data/sub}]\n"
                               "datasets: [{path: data}]\ndocs: [{path: README}]\n";
    static const char *const files[] = {"data/x",    "data/sub/y", "data-v2/z", "README",
                                        "README.md", "Kitfile",    NULL};

    make_files(files);
    expect(yaml, "", 0, "README.md data-v2/ data-v2/z");
    expect(yaml, "", 1, "data/ data/sub/ data/sub/y");
    expect(yaml, "", 2, "data/ data/x");
    expect(yaml, "", 3, "README");
}

Test(scan, the_path_of_a_remote_dataset_is_not_packed)
{
    static const char *const files[] = {"d/x", "e", NULL};

    make_files(files);
    expect("code: [{path: .}]\ndatasets: [{path: d, remotePath: 'kit:v1'}]", "", 0, "e");
}

static void add_parent_path(const char *path, bool is_unpacked)
{
    parents.paths =
        reallocarray(parents.paths, parents.count + 1, sizeof(*parents.paths));
    cr_assert_not_null(parents.paths);
    parents.paths[parents.count++] = (struct kf_parent_path){strdup(path), is_unpacked};
}

Test(scan, what_parents_have_is_left_out)
{
    static const char yaml[] = "code: [{path: .}, {path: own}, {path: own2/x}]\n"
                               "datasets: [{path: data}]\ndocs: [{path: lost/README}]\n";
    static const char *const files[] = {"data/x", "data/sub/y",  "data/sub-2", "model/w",
                                        "model2", "lost/f",      "own/f",      "own2/x/f",
                                        "all/f",  "lost/README", NULL};

    make_files(files);
    add_parent_path("data/sub", true);
    add_parent_path("model", true);
    add_parent_path("lost", false);
    add_parent_path("own", true);
    add_parent_path("all", false);
    add_parent_path("all", true);
    add_parent_path(".", true);
    add_parent_path("../out", true);
    expect(yaml, "", 0, "model2 own2/");
    cr_assert_str_eq(warnings, "'lost' is left out: the kit referred to has that path, "
                               "but gives its model alone\n");
    expect(yaml, "", 1, "own/ own/f"); /* at the path itself it is the child's */
    expect(yaml, "", 2, "own2/ own2/x/ own2/x/f");
    expect(yaml, "", 3, "data/ data/sub-2 data/x");
    expect(yaml, "", 4, "lost/ lost/README");
    cr_assert_str_empty(warnings);
    kf_parents_fini(&parents);
}

Test(scan, kitignore)
{
    static const char *const files[] = {"a/b/c/keep", "a/b/c/drop", "a/b/drop",     "a/x",
                                        "b/y",        ".kitignore", "code/Kitfile", NULL};

    make_files(files);
    expect("code: [{path: .}]", "a/b\n", 0, "a/ a/x b/ b/y code/ code/Kitfile");
    expect("code: [{path: .}]", "**/drop\n", 0,
           "a/ a/b/ a/b/c/ a/b/c/keep a/x b/ b/y code/ code/Kitfile");
    /* The folders above what is taken back are there, those that hold nothing are not. */
    expect("code: [{path: .}]", "*\n!a/b/c/keep\n", 0, "a/ a/b/ a/b/c/ a/b/c/keep");
    expect("code: [{path: a/b}]", "a\n!**/keep\n", 0, "a/ a/b/ a/b/c/ a/b/c/keep");
    expect("code: [{path: a/b/c}]", "a/*\n!a/b/c\n", 0,
           "a/ a/b/ a/b/c/ a/b/c/drop a/b/c/keep");
}

Test(scan, an_ignored_entry_is_empty_and_said_so)
{
    static const char *const files[] = {"a/w.bin", NULL};

    make_files(files);
    expect("model: {path: a/w.bin}", "**/*.bin", 0, "a/");
    cr_assert_str_eq(warnings, "'a/w.bin' is named by .kitignore\n"
                               "'a/w.bin' holds nothing that is packed\n");
}

Test(scan, odd_files_are_left_out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    kf_auto(kf_close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    make_file("a/file", "x", 0644);
    cr_assert_eq(symlinkat("file", root_fd, "a/link"), 0);
    cr_assert_eq(symlinkat("..", root_fd, "a/loop"), 0);
    cr_assert_eq(mkfifoat(root_fd, "a/pipe", 0600), 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/a/socket", root);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    expect("code: [{path: a}]", "", 0, "a/ a/file");
    cr_assert_not_null(strstr(warnings, "'a/link' is left out: a symbolic link\n"));
    cr_assert_not_null(strstr(warnings, "'a/loop' is left out: a symbolic link\n"));
    cr_assert_not_null(strstr(warnings, "'a/pipe' is left out: neither a file nor"));
    cr_assert_not_null(strstr(warnings, "'a/socket' is left out: neither a file nor"));
    expect("code: [{path: a}]", "a/[lps]*", 0, "a/ a/file");
    cr_assert_str_empty(warnings); /* what is ignored is not worth a word */
}

Test(scan, odd_paths_are_errors)
{
    make_file("a/file", "x", 0644);
    cr_assert_eq(symlinkat("a", root_fd, "link"), 0);
    cr_assert_eq(symlinkat("/etc", root_fd, "etc"), 0);
    cr_assert_eq(mkfifoat(root_fd, "pipe", 0600), 0);
    expect_error("code: [{path: link}]", KF_E_ARG, "'link' is a symbolic link");
    expect_error("code: [{path: link/file}]", KF_E_ARG, "'link' is a symbolic link");
    expect_error("code: [{path: etc/passwd}]", KF_E_ARG, "'etc' is a symbolic link");
    expect_error("code: [{path: pipe}]", KF_E_ARG, "'pipe' is neither");
    expect_error("code: [{path: a/file/x}]", KF_E_ARG, "'a/file' is neither");
    expect_error("code: [{path: none}]", KF_E_NOTFOUND, "'none'");
    expect_error("code: [{path: a/none}]", KF_E_NOTFOUND, "'a/none'");
}

Test(scan, names_that_kit_would_lose_are_errors)
{
    make_file("a/x..y", "x", 0644);
    expect_error("code: [{path: a}]", KF_E_MALFORMED, "a/x..y");
    expect("code: [{path: a}]", "**/*..*", 0, "a/");
}

Test(scan, long_names)
{
    char name[2 + 255 + 1] = "a/", yaml[64] = "code: [{path: a}]", wanted[600];

    memset(name + 2, 'n', 255);
    make_file(name, "x", 0644);
    (void)snprintf(wanted, sizeof(wanted), "a/ %s", name);
    expect(yaml, "", 0, wanted);
}

Test(scan, folders_are_nested_256_deep_at_most)
{
    kf_auto(kf_free) char *name = calloc(1, 2 * KF_SCAN_DEPTH + 2);

    for (unsigned i = 0; i < KF_SCAN_DEPTH; i++)
        memcpy(name + (size_t)2 * i, "d/", 2);
    cr_assert_eq(kf_make_dirs(root_fd, name, 0755, &err), 0, "%s", err.message);
    cr_assert_eq(scan_entry("code: [{path: .}]", "", 0), 0, "%s", err.message);
    cr_assert_eq(scan.count, KF_SCAN_DEPTH);
    kf_scan_fini(&scan);
    name[2 * KF_SCAN_DEPTH] = 'd';
    cr_assert_eq(kf_make_dirs(root_fd, name, 0755, &err), 0, "%s", err.message);
    expect_error("code: [{path: .}]", KF_E_LIMIT, "more than 256 folders deep");
}

Test(scan, nothing_is_a_warning)
{
    cr_assert_eq(mkdirat(root_fd, "a", 0700), 0);
    make_file("a/empty", "", 0644);
    expect("code: [{path: a}]", "", 0, "a/ a/empty");
    cr_assert_str_eq(warnings, "'a' holds nothing that is packed\n");
    expect("code: [{path: .}]", "a", 0, "");
    cr_assert_str_eq(warnings, "'.' holds nothing that is packed\n");
}

/* --- reading --- */

static int read_first(size_t length)
{
    char data[16];

    for (uint32_t i = 0; i < scan.count; i++)
        if (!scan.entries[i].is_dir)
            return kf_scan_read(&root_fd, scan.entries[i].source, data, length, 0, &err);
    return -2;
}

Test(scan, read)
{
    char data[8] = "";

    make_file("a/f", "0123456789", 0644);
    cr_assert_eq(scan_entry("code: [{path: a}]", "", 0), 0);
    cr_assert_eq(kf_scan_read(&root_fd, scan.entries[1].source, data, 5, 3, &err), 0);
    cr_assert_str_eq(data, "34567");
    kf_scan_fini(&scan);
}

static void append(void)
{
    kf_auto(kf_close_fd) int fd = openat(root_fd, "f", O_WRONLY | O_APPEND | O_CLOEXEC);

    cr_assert_eq(write(fd, "y", 1), 1);
}

static void touch(void)
{
    static const struct timespec times[2] = {{1, 0}, {1, 0}};

    cr_assert_eq(utimensat(root_fd, "f", times, 0), 0);
}

static void cut(void)
{
    make_file("f", "", 0644);
}

static void replace(void)
{
    struct stat info;
    struct timespec times[2];

    cr_assert_eq(fstatat(root_fd, "f", &info, 0), 0);
    times[0] = times[1] = info.st_mtim;
    make_file("new", "0123456789", 0644);
    cr_assert_eq(utimensat(root_fd, "new", times, 0), 0);
    cr_assert_eq(renameat(root_fd, "new", root_fd, "f"), 0);
}

static void make_pipe(void)
{
    cr_assert_eq(unlinkat(root_fd, "f", 0), 0);
    cr_assert_eq(mkfifoat(root_fd, "f", 0600), 0);
}

Test(scan, a_file_that_changed_is_corrupt)
{
    static void (*const changes[])(void) = {append, touch, cut, replace, make_pipe};

    for (size_t i = 0; i < KF_ARRAY_LEN(changes); i++) {
        (void)unlinkat(root_fd, "f", 0); /* of the round before */
        make_file("f", "0123456789", 0644);
        cr_assert_eq(scan_entry("code: [{path: f}]", "", 0), 0);
        cr_assert_eq(read_first(10), 0, "%s", err.message);
        changes[i]();
        cr_assert_eq(read_first(10), -1, "change %zu", i);
        cr_assert_eq(err.kind, KF_E_CORRUPT, "change %zu: %s", i, err.message);
        kf_scan_fini(&scan);
    }
}

Test(scan, a_file_that_became_a_link_or_went_is_an_error)
{
    make_file("f", "0123456789", 0644);
    cr_assert_eq(scan_entry("code: [{path: f}]", "", 0), 0);
    cr_assert_eq(renameat(root_fd, "f", root_fd, "g"), 0);
    cr_assert_eq(read_first(10), -1);
    cr_assert_eq(err.kind, KF_E_NOTFOUND);
    cr_assert_eq(symlinkat("g", root_fd, "f"), 0);
    cr_assert_eq(read_first(10), -1);
    kf_scan_fini(&scan);
}

/* --- tensors --- */

Test(scan, tensors_of_large_files_are_found)
{
    static const char json[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[100000],"
                               "\"data_offsets\":[0,100000]}}";
    kf_auto(kf_free) char *data = calloc(1, 8 + sizeof(json) - 1 + 100000);
    kf_auto(kf_close_fd) int fd = -1;

    data[0] = sizeof(json) - 1;
    memcpy(data + 8, json, sizeof(json) - 1);
    make_file("m.safetensors", "", 0644);
    fd = openat(root_fd, "m.safetensors", O_WRONLY | O_CLOEXEC);
    cr_assert_eq(kf_write_all(fd, data, 8 + sizeof(json) - 1 + 100000, &err), 0);
    cr_assert_eq(scan_entry("model: {path: m.safetensors}", "", 0), 0, "%s", err.message);
    cr_assert_eq(scan.entries[0].tensors.count, 1);
    cr_assert_eq(scan.entries[0].tensors.data_offset, 8 + sizeof(json) - 1);
    kf_scan_fini(&scan);
    data[0] = (char)0xff; /* a header that is longer than the file */
    data[2] = 2;
    cr_assert_eq(kf_pwrite_all(fd, data, 8, 0, "m", &err), 0);
    cr_assert_eq(scan_entry("model: {path: m.safetensors}", "", 0), 0, "%s", err.message);
    cr_assert_eq(scan.entries[0].tensors.count, 0);
    kf_scan_fini(&scan);
}
