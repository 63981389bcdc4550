/*
 * The annotation that names a table of contents: what is accepted is within the limits,
 * and prints as it was.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "layer/toc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct kf_toc_link link;
    struct kf_buf buf;
    struct kf_err err;

    if (!text)
        abort();
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    if (kf_toc_link_parse(&link, text, &err) == 0) {
        kf_buf_init(&buf, 1000);
        if (kf_toc_link_format(&link, &buf, &err) != 0 ||
            strcmp((const char *)buf.data, text) != 0 ||
            link.root_stored > link.area_length ||
            link.area_offset > UINT64_MAX - link.area_length ||
            link.root_raw > kf_toc_limits.root_raw_bytes)
            abort();
        kf_buf_fini(&buf);
    }
    free(text);
    return 0;
}
