/*
 * What registries write in JSON besides manifests: what is shown of it is printable and
 * fits, what is taken of it is tags.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/containers.h"
#include "base/err.h"
#include "net/http.h"
#include "oci/registry.h"
#include "oci/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_printable(const char *text, size_t size)
{
    if (strnlen(text, size) == size)
        abort();
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
            abort();
}

static void check_error(const uint8_t *data, size_t size)
{
    struct kf_exchange exchange;
    char text[KF_REPLY_TEXT_SIZE];
    struct kf_err err = {0};

    check_printable(kf_reply_error(text, data, size), sizeof(text));
    kf_http_init(&exchange);
    exchange.end = KF_HTTP_STATUS;
    exchange.status = 500;
    if (size > 0 && size <= KF_HTTP_ERROR_BODY_LIMIT &&
        kf_buf_append(&exchange.error_body, data, size, NULL) != 0)
        abort();
    (void)kf_registry_fail(&err, KF_E_UNREACHABLE, &exchange, "http://r"); /* -1 always */
    check_printable(err.message, sizeof(err.message));
    kf_http_fini(&exchange);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_strings tags = {0};
    struct kf_err err = {0};

    check_error(data, size);
    if (kf_reply_tags(&tags, data, size, &err) != 0)
        check_printable(err.message, sizeof(err.message));
    if (tags.count > KF_REPLY_TAG_LIMIT)
        abort();
    for (size_t i = 0; i < tags.count; i++)
        if (!kf_reply_is_tag(tags.items[i]))
            abort();
    kf_strings_fini(&tags);
    return 0;
}
