#include <criterion/criterion.h>
#include <fcntl.h>

#include "base/mem.h"

static int released;

static void count_release(char *thing)
{
    if (thing)
        released++;
}

KF_DEFINE_AUTO(thing, char *, count_release)

static char *make(bool keep)
{
    static char thing;
    kf_auto(kf_auto_thing) char *made = &thing;

    return keep ? kf_steal(made) : NULL;
}

Test(mem, the_scope_releases_what_was_not_moved_out)
{
    cr_assert_null(make(false));
    cr_assert_eq(released, 1);
    cr_assert_not_null(make(true));
    cr_assert_eq(released, 1);
}

Test(mem, the_scope_closes_descriptors)
{
    int number;

    {
        kf_auto(kf_close_fd) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        cr_assert_geq(fd, 0);
        number = fd;
    }
    cr_assert_eq(fcntl(number, F_GETFD), -1);
    number = -1;
    kf_close_fd(&number);
}

Test(mem, arithmetic_refuses_to_overflow)
{
    uint64_t result = 7;

    cr_assert(kf_add_u64(UINT64_MAX - 1, 1, &result));
    cr_assert_eq(result, UINT64_MAX);
    cr_assert_not(kf_add_u64(UINT64_MAX, 1, &result));
    cr_assert_eq(result, UINT64_MAX);
    cr_assert(kf_mul_u64(UINT64_MAX / 2, 2, &result));
    cr_assert_eq(result, UINT64_MAX - 1);
    cr_assert_not(kf_mul_u64(UINT64_MAX / 2 + 1, 2, &result));
    cr_assert_eq(result, UINT64_MAX - 1);
    cr_assert_eq(kf_min_u64(1, UINT64_MAX), 1);
    cr_assert_eq(kf_max_u64(1, UINT64_MAX), UINT64_MAX);
}

Test(mem, container_is_found_from_its_member)
{
    struct outer {
        int before;
        int member;
    } outer;

    cr_assert_eq(kf_container_of(&outer.member, struct outer, member), &outer);
}
