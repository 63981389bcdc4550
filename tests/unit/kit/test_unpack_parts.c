/* Stretches of a stream, the files they go into, and what of them is there. */
#include "kit/unpack_parts.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "layer/table.h"

static struct kf_table table;
static struct kf_unpack_part *parts;
static size_t count;
static uint64_t have;
static struct kf_err err;

static char folder[64];
static int folder_fd;

static void setup(void)
{
    kf_table_init(&table);
    (void)snprintf(folder, sizeof(folder), "/tmp/kitfs-parts.XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY);
    cr_assert_geq(folder_fd, 0);
}

static void teardown(void)
{
    static const char *const names[] = {"0", "1", "2", "rest"};

    for (size_t i = 0; i < 4; i++)
        (void)unlinkat(folder_fd, names[i], 0); /* not all are there */
    (void)close(folder_fd);
    (void)rmdir(folder);
    kf_table_fini(&table);
    free(parts);
}

TestSuite(unpack_parts, .init = setup, .fini = teardown);

static void add(uint64_t offset, uint64_t size)
{
    const struct kf_table_entry entry = {.offset = offset, .size = size};
    char name[16];
    int length = snprintf(name, sizeof(name), "f%u", table.count);

    cr_assert_eq(kf_table_add(&table, &entry, name, (size_t)length, NULL), 0);
}

static int make(const bool *wanted)
{
    return kf_unpack_parts_make(&parts, &count, &table, wanted, &err);
}

static void expect(size_t index, uint64_t offset, uint64_t size, uint64_t place,
                   uint32_t entry)
{
    cr_assert_lt(index, count);
    cr_assert_eq(parts[index].offset, offset);
    cr_assert_eq(parts[index].size, size);
    cr_assert_eq(parts[index].place, place);
    cr_assert_eq(parts[index].entry, entry);
    cr_assert_eq(parts[index].have, 0);
}

static void lies_there(const char *name, off_t length)
{
    int fd = openat(folder_fd, name, O_WRONLY | O_CREAT, 0600);

    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, length), 0);
    cr_assert_eq(close(fd), 0);
}

static void look(bool in_order)
{
    cr_assert_eq(kf_unpack_parts_look(parts, count, folder_fd, in_order, &have, &err), 0,
                 "%s", err.message);
}

/* Headers of 10 bytes, files of 100, in another order than in the table; an end of 20. */
static void make_stream(void)
{
    add(120, 100);
    add(10, 100);
    add(220, 0);
    table.stream_size = 240;
    cr_assert_eq(make(NULL), 0);
}

Test(unpack_parts, a_stream_without_a_gap)
{
    make_stream();
    cr_assert_eq(count, 5);
    expect(0, 0, 10, 0, KF_UNPACK_BETWEEN);
    expect(1, 10, 100, 0, 1);
    expect(2, 110, 10, 10, KF_UNPACK_BETWEEN);
    expect(3, 120, 100, 0, 0);
    expect(4, 220, 20, 20, KF_UNPACK_BETWEEN);
    cr_assert_eq(kf_unpack_parts_total(parts, count), 240);
}

Test(unpack_parts, nothing_between)
{
    add(0, 100);
    table.stream_size = 100;
    cr_assert_eq(make(NULL), 0);
    cr_assert_eq(count, 1);
    expect(0, 0, 100, 0, 0);
}

Test(unpack_parts, no_files)
{
    table.stream_size = 1024;
    cr_assert_eq(make(NULL), 0);
    cr_assert_eq(count, 1);
    expect(0, 0, 1024, 0, KF_UNPACK_BETWEEN);
    free(parts);
    table.stream_size = 0;
    cr_assert_eq(make(NULL), 0);
    cr_assert_eq(count, 0);
}

Test(unpack_parts, wanted_files_alone)
{
    const bool wanted[] = {true, false, true};

    add(120, 100);
    add(10, 100);
    add(40, 20);
    cr_assert_eq(make(wanted), 0);
    cr_assert_eq(count, 2);
    expect(0, 40, 20, 0, 2);
    expect(1, 120, 100, 0, 0);
}

Test(unpack_parts, overlapping_files)
{
    add(10, 100);
    add(109, 100);
    table.stream_size = 500;
    cr_assert_eq(make(NULL), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
    table.entries[1].offset = 110;
    cr_assert_eq(make(NULL), 0);
}

Test(unpack_parts, a_file_beyond_the_stream)
{
    add(10, 100);
    table.stream_size = 109;
    cr_assert_eq(make(NULL), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
}

Test(unpack_parts, nothing_is_there)
{
    make_stream();
    look(true);
    cr_assert_eq(have, 0);
}

Test(unpack_parts, a_stream_up_to_its_first_hole)
{
    make_stream();
    lies_there("rest", 15);
    lies_there("1", 100);
    lies_there("0", 100);
    look(true);
    cr_assert_eq(have, 115);
    cr_assert_eq(parts[2].have, 5);
    cr_assert_eq(parts[3].have, 0);
    lies_there("rest", 20);
    lies_there("0", 99);
    look(true);
    cr_assert_eq(have, 219);
    cr_assert_eq(parts[3].have, 99);
    lies_there("rest", 40);
    lies_there("0", 100);
    look(true);
    cr_assert_eq(have, 240);
}

Test(unpack_parts, files_by_themselves)
{
    const bool wanted[] = {true, true};

    add(120, 100);
    add(10, 100);
    cr_assert_eq(make(wanted), 0);
    lies_there("0", 70);
    look(false);
    cr_assert_eq(have, 70);
    cr_assert_eq(parts[0].have, 0);
    cr_assert_eq(parts[1].have, 70);
}

Test(unpack_parts, a_file_that_is_too_long_is_none)
{
    const bool wanted[] = {true};

    add(10, 100);
    cr_assert_eq(make(wanted), 0);
    lies_there("0", 101);
    look(false);
    cr_assert_eq(have, 0);
    lies_there("0", 100);
    look(false);
    cr_assert_eq(have, 100);
}
