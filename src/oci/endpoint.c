#include "oci/endpoint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "oci/auth.h"

int kf_endpoint_init(struct kf_endpoint *endpoint, char *base, char *host)
{
    *endpoint = (struct kf_endpoint){.base = base, .host = host};
    return base && host ? 0 : -1;
}

void kf_endpoint_fini(struct kf_endpoint *endpoint)
{
    kf_auth_free(endpoint->auth);
    free(endpoint->base);
    free(endpoint->host);
    *endpoint = (struct kf_endpoint){0};
}

char *kf_endpoint_url(const struct kf_endpoint *endpoint, const char *format, ...)
{
    kf_auto(kf_free) char *rest = NULL;
    char *url;
    va_list args;

    va_start(args, format);
    if (vasprintf(&rest, format, args) < 0)
        rest = NULL;
    va_end(args);
    return rest && asprintf(&url, "%s/%s", endpoint->base, rest) >= 0 ? url : NULL;
}
