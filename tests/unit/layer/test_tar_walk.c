#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/workq.h"
#include "fake_source.h"
#include "layer/table.h"
#include "layer/tar_walk.h"
#include "tar_maker.h"

#define KIB(n) ((size_t)(n) << 10)
#define TIMEOUT_NS (10 * KF_NS_PER_S)

struct world {
    struct kf_workq *workq;
    struct kf_fake_source *fake;
    struct kf_table table;
    struct kf_err err;
};

static int walk(struct world *world, const void *data, size_t length)
{
    memset(world, 0, sizeof(*world));
    world->workq = kf_workq_new(1, NULL);
    world->fake = kf_fake_source_new(world->workq, data, length);
    return kf_tar_walk(&world->table, &world->fake->source, TIMEOUT_NS, &world->err);
}

static void finish(struct world *world)
{
    kf_table_fini(&world->table);
    kf_source_close(&world->fake->source);
    kf_workq_free(world->workq);
}

static void expect_range(struct world *world, size_t index, uint64_t offset,
                         uint64_t length)
{
    struct kf_fake_range range;

    cr_assert(kf_fake_source_range(world->fake, index, &range));
    cr_assert_eq(range.offset, offset, "request %zu", index);
    cr_assert_eq(range.length, length, "request %zu", index);
    cr_assert_eq(range.urgency, KF_DEMAND);
}

/* A large model file: headers in one request, the end mark in another. */
Test(tar_walk, large_file_takes_two_requests)
{
    const size_t size = (size_t)1 << 30, total = 1024 + size + 1024;
    struct kf_buf head;
    struct world world;
    size_t length;
    char *data = mmap(NULL, total, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    cr_assert_neq(data, MAP_FAILED);
    kf_buf_init(&head, KIB(4));
    tar_add_dir(&head, "model");
    tar_add_header(&head, &(struct tar_header){.name = "model/weights", .size = size});
    memcpy(data, head.data, head.length);
    cr_assert_eq(walk(&world, data, total), 0, "%s", world.err.message);
    cr_assert_eq(kf_fake_source_requests(world.fake), 2);
    expect_range(&world, 0, 0, KIB(64));
    expect_range(&world, 1, total - 1024, 1024);
    cr_assert_eq(world.table.count, 2);
    cr_assert_eq(world.table.stream_size, total);
    cr_assert_eq(world.table.entries[1].offset, 1024);
    cr_assert_eq(world.table.entries[1].size, size);
    cr_assert_eq(strncmp(kf_table_name(&world.table, 1, &length), "model/weights", 13),
                 0);
    finish(&world);
    kf_buf_fini(&head);
    (void)munmap(data, total);
}

/* Small files side by side: windows of 64, 128, 256, 256 ... KiB, each byte read once. */
Test(tar_walk, dense_headers_grow_the_window)
{
    struct kf_buf tar;
    struct world world;
    char name[32];

    kf_buf_init(&tar, 8 << 20);
    for (unsigned i = 0; i < 900; i++) {
        (void)snprintf(name, sizeof(name), "f%u", i);
        tar_add_file(&tar, name, "content", 7);
    }
    tar_end(&tar);
    cr_assert_eq(walk(&world, tar.data, tar.length), 0, "%s", world.err.message);
    cr_assert_eq(world.table.count, 900);
    cr_assert_eq(kf_fake_source_requests(world.fake), 5);
    expect_range(&world, 0, 0, KIB(64));
    expect_range(&world, 1, KIB(64), KIB(128));
    expect_range(&world, 2, KIB(192), KIB(256));
    expect_range(&world, 3, KIB(448), KIB(256));
    cr_assert_eq(kf_fake_source_bytes(world.fake), tar.length);
    finish(&world);
    kf_buf_fini(&tar);
}

/* Large files between: the window is small again, and the data is not read. */
Test(tar_walk, large_files_shrink_the_window)
{
    struct kf_buf tar;
    struct world world;
    char *data = calloc(1, 1 << 20);
    char name[32];

    kf_buf_init(&tar, 16 << 20);
    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof(name), "small%u", i);
        tar_add_file(&tar, name, "content", 7);
    }
    for (unsigned i = 0; i < 8; i++) {
        (void)snprintf(name, sizeof(name), "large%u", i);
        tar_add_file(&tar, name, data, 1 << 20);
    }
    tar_end(&tar);
    cr_assert_eq(walk(&world, tar.data, tar.length), 0, "%s", world.err.message);
    cr_assert_eq(world.table.count, 308);
    /* 64, 128, 256 KiB reach into large0; then one for each header, one for the end. */
    cr_assert_eq(kf_fake_source_requests(world.fake), 3 + 7 + 1);
    cr_assert_leq(kf_fake_source_bytes(world.fake), KIB(448 + 7 * 64 + 64));
    free(data);
    finish(&world);
    kf_buf_fini(&tar);
}

Test(tar_walk, extension_larger_than_the_window)
{
    struct kf_buf tar;
    struct world world;
    char *record = calloc(1, KIB(300));
    size_t length;

    memset(record, 'c', KIB(300));
    memcpy(record, "307200 comment=", 15);
    record[KIB(300) - 1] = '\n';
    kf_buf_init(&tar, 8 << 20);
    tar_add_extension(&tar, 'x', record, KIB(300));
    tar_add_file(&tar, "a", "b", 1);
    tar_end(&tar);
    cr_assert_eq(walk(&world, tar.data, tar.length), 0, "%s", world.err.message);
    cr_assert_eq(world.table.count, 1);
    cr_assert_eq(kf_table_name(&world.table, 0, &length)[0], 'a');
    free(record);
    finish(&world);
    kf_buf_fini(&tar);
}

Test(tar_walk, empty_layers)
{
    static const char zeros[1024];
    struct world world;

    cr_assert_eq(walk(&world, zeros, sizeof(zeros)), 0);
    cr_assert_eq(world.table.count, 0);
    finish(&world);
    cr_assert_eq(walk(&world, zeros, 0), 0);
    cr_assert_eq(kf_fake_source_requests(world.fake), 0);
    finish(&world);
}

Test(tar_walk, names_are_brought_to_their_shortest_form)
{
    struct kf_buf tar;
    struct world world;
    size_t length;

    kf_buf_init(&tar, KIB(64));
    tar_add_dir(&tar, "./");
    tar_add_dir(&tar, "./d/");
    tar_add_file(&tar, "./d/f", "x", 1);
    tar_end(&tar);
    cr_assert_eq(walk(&world, tar.data, tar.length), 0, "%s", world.err.message);
    cr_assert_eq(world.table.count, 2); /* the root is no entry */
    cr_assert_eq(strncmp(kf_table_name(&world.table, 1, &length), "d/f", 3), 0);
    cr_assert_eq(length, 3);
    finish(&world);
    kf_buf_fini(&tar);
}

static void expect_refused(const char *name, char type, enum kf_err_kind kind,
                           const char *words)
{
    struct kf_buf tar;
    struct world world;

    kf_buf_init(&tar, KIB(64));
    tar_add_pax(&tar, "path", name);
    tar_add_header(&tar, &(struct tar_header){.name = "x", .type = type});
    tar_end(&tar);
    cr_assert_eq(walk(&world, tar.data, tar.length), -1, "'%s'", name);
    cr_assert_eq(world.err.kind, kind, "%s", world.err.message);
    cr_assert_not_null(strstr(world.err.message, words), "%s", world.err.message);
    finish(&world);
    kf_buf_fini(&tar);
}

Test(tar_walk, bad_names)
{
    char longest[KF_NAME_LIMIT + 2];

    expect_refused("../etc/passwd", '0', KF_E_MALFORMED, "'../etc/passwd'");
    expect_refused("/etc/passwd", '0', KF_E_MALFORMED, "not relative");
    expect_refused("a/../../b", '0', KF_E_MALFORMED, "holds '..'");
    expect_refused("x..y", '5', KF_E_MALFORMED, "holds '..'");
    expect_refused("a//b", '0', KF_E_MALFORMED, "empty component");
    expect_refused(".", '0', KF_E_MALFORMED, "in the place of the root");
    memset(longest, 'n', sizeof(longest));
    for (size_t i = 100; i < sizeof(longest); i += 101)
        longest[i] = '/';
    longest[sizeof(longest) - 1] = '\0';
    expect_refused(longest, '0', KF_E_LIMIT, "longer than 4096");
    longest[KF_COMPONENT_LIMIT + 1] = '\0';
    memset(longest, 'n', KF_COMPONENT_LIMIT + 1);
    expect_refused(longest, '0', KF_E_LIMIT, "longer than 255");
}

Test(tar_walk, failures_of_the_source_are_told)
{
    struct kf_buf tar;
    struct world world;

    kf_buf_init(&tar, KIB(64));
    tar_add_file(&tar, "a", "b", 1);
    memset(&world, 0, sizeof(world));
    world.workq = kf_workq_new(1, NULL);
    world.fake = kf_fake_source_new(world.workq, tar.data, tar.length);
    kf_fake_source_fail(world.fake, 1, KF_E_UNREACHABLE, 100);
    cr_assert_eq(kf_tar_walk(&world.table, &world.fake->source, TIMEOUT_NS, &world.err),
                 -1);
    cr_assert_eq(world.err.kind, KF_E_UNREACHABLE);
    finish(&world);
    kf_buf_fini(&tar);
}

/* Each request has its own time: a walk of many requests may take longer than one. */
Test(tar_walk, requests_have_a_deadline_each)
{
    static const char zeros[1024];
    struct kf_fake_range range;
    struct world world;
    int64_t before = kf_now_ns();

    cr_assert_eq(walk(&world, zeros, sizeof(zeros)), 0);
    cr_assert(kf_fake_source_range(world.fake, 0, &range));
    cr_assert_geq(range.deadline_ns, before + TIMEOUT_NS);
    cr_assert_leq(range.deadline_ns, kf_now_ns() + TIMEOUT_NS);
    finish(&world);
}
