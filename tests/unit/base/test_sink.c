#include <criterion/criterion.h>
#include <string.h>

#include "base/sink.h"

static int write_to(struct kf_sink_memory *memory, const char *text, size_t length,
                    struct kf_err *err)
{
    return memory->sink.write(&memory->sink, (const uint8_t *)text, length, err);
}

Test(sink, memory_takes_its_capacity_and_no_more)
{
    struct kf_sink_memory memory;
    struct kf_err err;
    char data[6] = "......";

    kf_sink_memory_init(&memory, data, 5);
    cr_assert_eq(write_to(&memory, "abc", 3, &err), 0);
    cr_assert_eq(memory.length, 3);
    cr_assert_eq(write_to(&memory, "def", 3, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cr_assert_eq(memory.length, 3);
    cr_assert_eq(write_to(&memory, "de", 2, &err), 0);
    cr_assert_eq(write_to(&memory, "f", 1, &err), -1);
    cr_assert_eq(memcmp(data, "abcde.", 6), 0);
}
