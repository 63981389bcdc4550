/*
 * A Kitfile in YAML: what is accepted becomes a config that a mount can read, with the
 * same entries.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "kitfile/kitfile_pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_config(const struct kf_kitfile_plan *plan, const struct kf_buf *json)
{
    struct kf_kitfile kitfile;
    struct kf_err err;
    size_t with_path = 0;

    if (kf_kitfile_from_json(&kitfile, (const char *)json->data, json->length, &err) != 0)
        abort();
    for (size_t i = 0; i < kitfile.entry_count; i++)
        with_path += kitfile.entries[i].kind != KF_ENTRY_MODEL || kitfile.entries[i].path;
    if (with_path != plan->entry_count)
        abort();
    kf_kitfile_fini(&kitfile);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_kitfile_plan plan;
    struct kf_buf json;
    struct kf_err err;

    if (kf_kitfile_plan(&plan, data, size, NULL, NULL, &err) != 0)
        return 0;
    kf_buf_init(&json, (size_t)64 << 20);
    if (kf_kitfile_plan_json(&plan, &json, &err) == 0)
        check_config(&plan, &json);
    kf_buf_fini(&json);
    kf_kitfile_plan_fini(&plan);
    return 0;
}
