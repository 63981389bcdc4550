/*
 * hosts.toml: what is accepted can be put into requests as it is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "oci/hosts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
    for (; *text; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
            abort();
}

static void check(const struct kf_host *host)
{
    if (host->can == 0 || host->can > KF_HOST_ALL ||
        (host->client_key && !host->client_cert))
        abort();
    if (host->base && (strncmp(host->base, "http", 4) != 0 || strpbrk(host->base, "?# ")))
        abort();
    if (host->dial_ns < 0 || host->dial_ns > KF_HOSTS_DIAL_LIMIT_NS)
        abort();
    for (size_t i = 0; i < host->headers.count; i++) {
        check_text(host->headers.items[i]);
        if (strcspn(host->headers.items[i], ":; \t") == 0)
            abort();
    }
    for (size_t i = 0; i < host->ca_files.count; i++)
        if (host->ca_files.items[i][0] != '/')
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_hosts hosts;
    struct kf_err err = {0};
    int rc = kf_hosts_parse(&hosts, (const char *)data, size, "/d", &err);

    if ((rc == 0) != (err.kind == KF_E_NONE) ||
        (rc != 0 && strncmp(err.message, "line ", 5) != 0))
        abort();
    for (size_t i = 0; rc == 0 && i < hosts.mirror_count; i++) {
        if (!hosts.mirrors[i].base)
            abort();
        check(&hosts.mirrors[i]);
    }
    if (rc == 0)
        check(&hosts.server);
    kf_hosts_fini(&hosts);
    return 0;
}
