/*
 * The config blob: what is accepted keeps its limits.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "kitfile/kitfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_kitfile kitfile;
    struct kf_err err;

    if (kf_kitfile_from_json(&kitfile, data, size, &err) != 0)
        return 0;
    if (kitfile.entry_count > KF_KITFILE_ENTRY_LIMIT)
        abort();
    for (size_t i = 0; i < kitfile.entry_count; i++)
        if (!*kf_entry_kind_name(kitfile.entries[i].kind) ||
            (i > 0 && kitfile.entries[i].kind < kitfile.entries[i - 1].kind))
            abort();
    kf_kitfile_fini(&kitfile);
    return 0;
}
