#include "net/url.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define URL_FLAGS (CURLU_URLENCODE | CURLU_DISALLOW_USER)

KF_DEFINE_AUTO(curlu, CURLU *, curl_url_cleanup)
KF_DEFINE_AUTO(curl_text, char *, curl_free)

static int fail_url(struct kf_err *err, CURLUcode code)
{
    if (code == CURLUE_OUT_OF_MEMORY)
        return kf_fail(err, KF_E_NOMEM, "out of memory");
    return kf_fail(err, KF_E_MALFORMED, "malformed URL: %s", curl_url_strerror(code));
}

static int check_scheme(CURLU *parts, struct kf_err *err)
{
    kf_auto(kf_auto_curl_text) char *scheme = NULL;
    CURLUcode code = curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);

    if (code != CURLUE_OK)
        return fail_url(err, code);
    if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
        return kf_fail(err, KF_E_REFUSED, "URL is neither http nor https");
    return 0;
}

static int origin_of(char **ret, CURLU *parts, struct kf_err *err)
{
    kf_auto(kf_auto_curl_text) char *scheme = NULL;
    kf_auto(kf_auto_curl_text) char *host = NULL;
    kf_auto(kf_auto_curl_text) char *port = NULL;
    CURLUcode code = curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);
    char *origin = NULL;

    if (code == CURLUE_OK)
        code = curl_url_get(parts, CURLUPART_HOST, &host, 0);
    if (code != CURLUE_OK)
        return fail_url(err, code);
    code = curl_url_get(parts, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT);
    if (code != CURLUE_OK && code != CURLUE_NO_PORT)
        return fail_url(err, code);
    if (asprintf(&origin, "%s://%s%s%s", scheme, host, port ? ":" : "",
                 port ? port : "") < 0)
        return kf_fail(err, KF_E_NOMEM, "out of memory");
    for (char *at = origin; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    *ret = origin;
    return 0;
}

int kf_url_origin(char **ret, const char *url, struct kf_err *err)
{
    kf_auto(kf_auto_curlu) CURLU *parts = curl_url();
    CURLUcode code;

    if (!parts)
        return kf_fail(err, KF_E_NOMEM, "out of memory");
    code = curl_url_set(parts, CURLUPART_URL, url, URL_FLAGS);
    if (code != CURLUE_OK)
        return fail_url(err, code);
    if (check_scheme(parts, err) != 0)
        return -1;
    return origin_of(ret, parts, err);
}

const char *kf_url_origin_host(const char *origin)
{
    const char *host = strstr(origin, "://");

    return host ? host + 3 : origin;
}

bool kf_url_origin_is_tls(const char *origin)
{
    return strncmp(origin, "https:", 6) == 0;
}

int kf_url_resolve(char **ret, const char *base, const char *reference,
                   struct kf_err *err)
{
    kf_auto(kf_auto_curlu) CURLU *parts = curl_url();
    kf_auto(kf_auto_curl_text) char *text = NULL;
    CURLUcode code;
    char *url;

    if (!parts)
        return kf_fail(err, KF_E_NOMEM, "out of memory");
    code = curl_url_set(parts, CURLUPART_URL, base, URL_FLAGS);
    if (code == CURLUE_OK)
        code = curl_url_set(parts, CURLUPART_URL, reference, URL_FLAGS);
    if (code == CURLUE_OK)
        code = curl_url_set(parts, CURLUPART_FRAGMENT, NULL, 0);
    if (code != CURLUE_OK)
        return fail_url(err, code);
    if (check_scheme(parts, err) != 0)
        return -1;
    code = curl_url_get(parts, CURLUPART_URL, &text, 0);
    if (code != CURLUE_OK)
        return fail_url(err, code);
    url = strdup(text); /* curl's own memory must go back to curl */
    if (!url)
        return kf_fail(err, KF_E_NOMEM, "out of memory");
    *ret = url;
    return 0;
}

char *kf_url_encode(const char *text)
{
    char *encoded = curl_easy_escape(NULL, text, 0); /* 0: up to the NUL */
    char *copy = encoded ? strdup(encoded) : NULL;

    if (encoded)
        explicit_bzero(encoded, strlen(encoded));
    curl_free(encoded); /* NULL is fine */
    return copy;
}
