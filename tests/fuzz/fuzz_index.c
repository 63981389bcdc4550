/*
 * Choosing from an index: what is chosen is one of its entries, what is said about it is
 * one line without control characters.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/containers.h"
#include "base/digest.h"
#include "base/err.h"
#include "kit/choose.h"
#include "oci/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_choice(const struct kf_index *index, const struct kf_strings *labels)
{
    struct kf_err err = {0};
    struct kf_digest chosen;

    if (kf_choose_entry(&chosen, index, labels, &err) == 0) {
        for (size_t i = 0; i < index->entry_count; i++)
            if (kf_digest_equal(&index->entries[i].digest, &chosen))
                return;
        abort();
    }
    for (const char *c = err.message; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char label[] = "bits=4";
    char *items[] = {label};
    const struct kf_strings labels = {.items = items, .count = 1, .capacity = 1};
    struct kf_index index;

    if (kf_index_parse(&index, data, size, NULL) != 0)
        return 0;
    for (size_t i = 0; i < index.entry_count; i++)
        if (index.entries[i].label_count > KF_MANIFEST_ANNOTATION_LIMIT)
            abort();
    check_choice(&index, NULL);
    check_choice(&index, &labels);
    kf_index_fini(&index);
    return 0;
}
