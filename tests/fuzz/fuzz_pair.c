/*
 * Layers and entries: a manifest, NUL, a config. No layer belongs to two entries, what a
 * filter leaves is a part of the whole, and names never lead out of the kit.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "kit/pair.h"
#include "kitfile/filter.h"
#include "kitfile/kitfile.h"
#include "oci/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_prefix(const struct kf_pair *pair)
{
    char *prefix;

    if (kf_pair_prefix(&prefix, "", pair, NULL) != 0)
        return;
    if (*prefix == '/' || strncmp(prefix, "..", 3) == 0 || strncmp(prefix, "../", 3) == 0)
        abort();
    free(prefix);
}

static size_t check_pairs(const struct kf_pair_from *from)
{
    struct kf_pair *pairs;
    size_t count;

    if (kf_pair_layers(&pairs, &count, from, NULL) != 0)
        return SIZE_MAX;
    if (count > from->manifest->layer_count)
        abort();
    for (size_t i = 0; i < count; i++) {
        check_prefix(&pairs[i]);
        for (size_t k = 0; k < i; k++)
            if (pairs[k].desc == pairs[i].desc)
                abort();
    }
    free(pairs);
    return count;
}

static void check_kit(const struct kf_manifest *manifest,
                      const struct kf_kitfile *kitfile)
{
    struct kf_pair_from from = {.manifest = manifest, .kitfile = kitfile};
    struct kf_filter filter = {0};
    size_t all, some;

    if (kf_filter_add(&filter, "model,docs", NULL) != 0)
        abort();
    all = check_pairs(&from);
    from.filter = &filter;
    some = check_pairs(&from);
    if (all != SIZE_MAX && (some == SIZE_MAX || some > all))
        abort();
    from.is_early = true;
    if (!kitfile)
        (void)check_pairs(&from);
    kf_filter_fini(&filter);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, 0, size);
    size_t length = end ? (size_t)(end - data) : size;
    struct kf_manifest manifest;
    struct kf_kitfile kitfile;

    kf_log_setup(KF_LOG_ERROR, KF_LOG_TEXT, 2);
    if (kf_manifest_parse(&manifest, data, length, NULL) != 0)
        return 0;
    if (manifest.layer_count <= 64) {
        check_kit(&manifest, NULL);
        if (end &&
            kf_kitfile_from_json(&kitfile, end + 1, size - length - 1, NULL) == 0) {
            check_kit(&manifest, &kitfile);
            kf_kitfile_fini(&kitfile);
        }
    }
    kf_manifest_fini(&manifest);
    return 0;
}
