#include <criterion/criterion.h>
#include <stdio.h>

#include "base/containers.h"

Test(strings, holds_copies_in_order)
{
    struct kf_strings strings = {0};
    char text[16];

    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "item %d", i);
        cr_assert_eq(kf_strings_add(&strings, text, NULL), 0);
    }
    cr_assert_eq(strings.count, 100);
    cr_assert_str_eq(strings.items[0], "item 0");
    cr_assert_str_eq(strings.items[99], "item 99");
    kf_strings_fini(&strings);
    cr_assert_eq(strings.count, 0);
    kf_strings_fini(&strings);
}

Test(strings, sorts_by_bytes)
{
    static const char *const sorted[] = {"", "A", "B", "a", "a", "aa", "\xc3\xa4"};
    static const size_t order[] = {6, 3, 1, 0, 5, 2, 4};
    struct kf_strings strings = {0};

    kf_strings_sort(&strings);
    for (size_t i = 0; i < 7; i++)
        kf_strings_add(&strings, sorted[order[i]], NULL);
    kf_strings_sort(&strings);
    for (size_t i = 0; i < 7; i++)
        cr_assert_str_eq(strings.items[i], sorted[i]);
    kf_strings_fini(&strings);
}
