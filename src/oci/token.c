#include "oci/token.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "net/url.h"

#define CLIENT "kitfs"
#define VALUES_LIMIT 1000u

KF_DEFINE_AUTO(wiped, char *, kf_token_wipe)

void kf_token_wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

/* ---- answers ---- */

/* A text that a header can carry; NULL when it is missing or something else. */
static const char *text_at(const json_t *root, const char *name)
{
    const char *text = json_string_value(json_object_get(root, name));

    if (!text || !*text)
        return NULL;
    for (const char *at = text; *at; at++)
        if (*at <= 0x20 || *at > 0x7e)
            return NULL;
    return text;
}

static int64_t lifetime_of(const json_t *root)
{
    double seconds = json_number_value(json_object_get(root, "expires_in"));

    if (!(seconds > 0)) /* not said, or said by nobody who means it */
        return KF_TOKEN_LIFETIME_NS;
    if (seconds >= (double)KF_TOKEN_LIFETIME_LIMIT_NS / (double)KF_NS_PER_S)
        return KF_TOKEN_LIFETIME_LIMIT_NS;
    return (int64_t)(seconds * (double)KF_NS_PER_S);
}

/* jansson frees without wiping. */
static void drop_json(json_t *root)
{
    const char *name;
    json_t *value;

    json_object_foreach(root, name, value)
    {
        if (json_is_string(value))
            explicit_bzero((char *)(uintptr_t)json_string_value(value),
                           json_string_length(value));
    }
    json_decref(root);
}

KF_DEFINE_AUTO(json, json_t *, drop_json)

int kf_token_parse(struct kf_token *ret, const char *json, size_t length,
                   struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *root = NULL;
    struct kf_token token = {0};
    const char *value, *refresh;

    if (kf_json_check_size(json, length, KF_TOKEN_ANSWER_LIMIT, VALUES_LIMIT,
                           "an answer with a token", err) != 0)
        return -1;
    root = json_loadb(json, length, 0, NULL);
    value = text_at(root, "token");
    if (!value)
        value = text_at(root, "access_token");
    if (!value)
        return kf_fail(err, KF_E_MALFORMED, "no token in the answer");
    refresh = text_at(root, "refresh_token");
    token.value = strdup(value);
    token.refresh = refresh ? strdup(refresh) : NULL;
    token.lifetime_ns = lifetime_of(root);
    if (!token.value || (refresh && !token.refresh)) {
        kf_token_fini(&token);
        return kf_fail(err, KF_E_NOMEM, "no memory for a token");
    }
    *ret = token;
    return 0;
}

void kf_token_fini(struct kf_token *token)
{
    kf_token_wipe(token->value);
    kf_token_wipe(token->refresh);
    *token = (struct kf_token){0};
}

/* ---- questions ---- */

/* Puts "NAME=VALUE" behind a text, with a separator; takes the text over. NULL stays. */
static char *with(char *text, char separator, const char *name, const char *value)
{
    kf_auto(kf_auto_wiped) char *before = text;
    kf_auto(kf_auto_wiped) char *encoded = before && value ? kf_url_encode(value) : NULL;
    char *longer;

    if (!value)
        return kf_steal(before);
    if (!encoded || asprintf(&longer, "%s%c%s=%s", before, separator, name, encoded) < 0)
        return NULL;
    return longer;
}

/* The query of a realm ends in '?' or '&' already, perhaps. */
static char separator_behind(const char *url)
{
    return strchr(url, '?') ? '&' : '?';
}

char *kf_token_url(const char *realm, const char *service, const char *scope)
{
    char *url = strdup(realm);

    if (url && service)
        url = with(url, separator_behind(url), "service", service);
    for (const char *at = scope; url && *at;) {
        size_t length = strcspn(at, " ");
        kf_auto(kf_free) char *entry = strndup(at, length);

        if (!entry) {
            free(url);
            return NULL;
        }
        url = with(url, separator_behind(url), "scope", entry);
        at += length;
        at += strspn(at, " ");
    }
    return url;
}

static char *form_end(char *form, const char *service, const char *scope)
{
    form = with(form, '&', "service", service);
    form = with(form, '&', "scope", *scope ? scope : NULL);
    return with(form, '&', "client_id", CLIENT);
}

char *kf_token_password_form(const char *username, const char *password,
                             const char *service, const char *scope)
{
    char *form = with(strdup("grant_type=password"), '&', "username", username);

    form = with(form, '&', "password", password);
    /* So that it tells us a refresh token, where it has such. */
    return form_end(with(form, '&', "access_type", "offline"), service, scope);
}

char *kf_token_refresh_form(const char *refresh, const char *service, const char *scope)
{
    return form_end(
        with(strdup("grant_type=refresh_token"), '&', "refresh_token", refresh), service,
        scope);
}

/* ---- values of Authorization ---- */

static void encode_base64(char *out, const char *text, size_t length)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t three = (uint32_t)(uint8_t)text[i] << 16;

        if (left > 1)
            three |= (uint32_t)(uint8_t)text[i + 1] << 8;
        if (left > 2)
            three |= (uint8_t)text[i + 2];
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        *out++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[three & 63] : '=';
    }
    *out = '\0';
}

char *kf_token_basic(const char *username, const char *password)
{
    static const char scheme[] = "Basic ";
    kf_auto(kf_auto_wiped) char *pair = NULL;
    size_t length;
    char *line;

    if (asprintf(&pair, "%s:%s", username, password) < 0) {
        pair = NULL;
        return NULL;
    }
    length = strlen(pair);
    line = malloc(sizeof(scheme) + (length + 2) / 3 * 4);
    if (!line)
        return NULL;
    memcpy(line, scheme, sizeof(scheme) - 1);
    encode_base64(line + sizeof(scheme) - 1, pair, length);
    return line;
}

char *kf_token_bearer(const char *token)
{
    char *line;

    return asprintf(&line, "Bearer %s", token) < 0 ? NULL : line;
}
