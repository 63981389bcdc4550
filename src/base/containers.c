#include "base/containers.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

void kf_strings_fini(struct kf_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        free(strings->items[i]);
    free(strings->items);
    *strings = (struct kf_strings){0};
}

int kf_strings_add(struct kf_strings *strings, const char *text, struct kf_err *err)
{
    char *copy;

    if (strings->count == strings->capacity) {
        size_t capacity = strings->capacity ? strings->capacity * 2 : 16;
        char **grown = reallocarray(strings->items, capacity, sizeof(*grown));

        if (!grown)
            return kf_fail(err, KF_E_NOMEM, "no memory for a list");
        strings->items = grown;
        strings->capacity = capacity;
    }
    copy = strdup(text);
    if (!copy)
        return kf_fail(err, KF_E_NOMEM, "no memory for a list");
    strings->items[strings->count++] = copy;
    return 0;
}

static int compare(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

void kf_strings_sort(struct kf_strings *strings)
{
    if (strings->count > 1)
        qsort(strings->items, strings->count, sizeof(*strings->items), compare);
}
