/*
 * URLs: the input is a reference, found in an answer to one of two bases. What is
 * accepted is http or https without a user, has an origin that is its own origin, and
 * means the same when it is resolved once more.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "net/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_origin(const char *url)
{
    char *origin = NULL, *again = NULL;
    const char *host;

    if (kf_url_origin(&origin, url, NULL) != 0)
        return;
    host = kf_url_origin_host(origin);
    if (strncmp(origin, "http://", 7) != 0 && strncmp(origin, "https://", 8) != 0)
        abort();
    if (!*host || strpbrk(host, "/?#@\\ \t\r\n") ||
        kf_url_origin_is_tls(origin) != (origin[4] == 's'))
        abort();
    if (kf_url_origin(&again, origin, NULL) != 0 || strcmp(origin, again) != 0)
        abort();
    free(origin);
    free(again);
}

static void check_reference(const char *base, const char *reference)
{
    char *url = NULL, *again = NULL, *origin = NULL;

    if (kf_url_resolve(&url, base, reference, NULL) != 0)
        return;
    if (strchr(url, '#') || strpbrk(url, " \t\r\n"))
        abort();
    if (kf_url_origin(&origin, url, NULL) != 0)
        abort();
    if (kf_url_resolve(&again, base, url, NULL) != 0 || strcmp(url, again) != 0)
        abort();
    free(url);
    free(again);
    free(origin);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);

    if (!text)
        abort();
    check_origin(text);
    check_reference("https://registry.example/v2/a/blobs/sha256:0?x=1", text);
    check_reference("http://127.0.0.1:5000/", text);
    free(text);
    return 0;
}
