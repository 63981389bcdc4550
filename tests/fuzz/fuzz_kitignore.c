/*
 * .kitignore: the input's last line is a path; whatever the patterns, the Kitfile stays
 * out, and a path is ignored where "**" comes last.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "kitfile/kitignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memrchr(data, '\n', size) : NULL;
    size_t rules = end ? (size_t)(end - data) : 0;
    kf_auto(kf_free) char *path =
        end ? strndup((const char *)end + 1, size - rules - 1) : strdup("a/b");
    kf_auto(kf_free) char *all = malloc(rules + sizeof("\n**"));
    struct kf_ignore ignore;
    struct kf_err err;

    if (!path || !all || kf_ignore_parse(&ignore, (const char *)data, rules, &err) != 0)
        return 0;
    (void)kf_ignore_match(&ignore, path);
    if (!kf_ignore_match(&ignore, "Kitfile"))
        abort();
    kf_ignore_fini(&ignore);
    memcpy(all, data, rules);
    memcpy(all + rules, "\n**", sizeof("\n**"));
    if (kf_ignore_parse(&ignore, all, rules + sizeof("\n**") - 1, &err) != 0)
        return 0; /* one pattern too many */
    if (!kf_ignore_match(&ignore, path))
        abort();
    kf_ignore_fini(&ignore);
    return 0;
}
