/*
 * The config blob: what is accepted keeps its limits, and what is printed of it is lines
 * of text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "kitfile/kitfile.h"
#include "kitfile/kitfile_emit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const uint8_t *data, size_t size)
{
    struct kf_buf text;
    struct kf_err err;

    kf_buf_init(&text, KF_KITFILE_TEXT_LIMIT);
    if (kf_kitfile_emit(&text, data, size, &err) == 0 &&
        (text.length == 0 || text.length > KF_KITFILE_TEXT_LIMIT || text.data[0] != 'm' ||
         memchr(text.data, '\0', text.length)))
        abort();
    kf_buf_fini(&text);
}

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
    check_text(data, size);
    return 0;
}
