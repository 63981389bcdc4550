#include "oci/creds_file.h"

#include <ctype.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#define HUB "docker.io"
#define HUB_SERVER "https://index.docker.io/v1/"
#define INDENT JSON_INDENT(8)

KF_DEFINE_AUTO(json, json_t *, json_decref)

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
}

/* ---- keys -------------------------------------------------------------------------- */

struct key {
    const char *host; /* as it is written, or HUB */
    size_t host_length;
    const char *path; /* without slashes around it */
    size_t path_length;
};

static size_t scheme_length(const char *text)
{
    return strncasecmp(text, "https://", 8) == 0  ? 8
           : strncasecmp(text, "http://", 7) == 0 ? 7
                                                  : 0;
}

static bool is_hub(const char *host, size_t length)
{
    static const char *const names[] = {HUB, "index.docker.io", "registry-1.docker.io"};

    for (size_t i = 0; i < KF_ARRAY_LEN(names); i++)
        if (strlen(names[i]) == length && strncasecmp(names[i], host, length) == 0)
            return true;
    return false;
}

static struct key split(const char *text)
{
    size_t scheme = scheme_length(text);
    struct key key = {.host = text + scheme};

    key.host_length = strcspn(key.host, "/");
    key.path = key.host + key.host_length;
    key.path += *key.path == '/';
    key.path_length = scheme > 0 ? 0 : strlen(key.path);
    while (key.path_length > 0 && key.path[key.path_length - 1] == '/')
        key.path_length--;
    if (is_hub(key.host, key.host_length)) {
        key.host = HUB;
        key.host_length = strlen(HUB);
    }
    return key;
}

char *kf_creds_host(const char *text)
{
    struct key key = split(text);
    char *host = strndup(key.host, key.host_length);

    for (char *c = host; c && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return host;
}

const char *kf_creds_server(const char *host)
{
    return is_hub(host, strlen(host)) ? HUB_SERVER : host;
}

static bool ends_label(char c)
{
    return c == '.' || c == ':' || c == '\0';
}

/* '*' reaches to the end of a label at most, so that going back to the last one is
 * enough.
 */
static bool fits(const char *pattern, size_t length, const char *host)
{
    const char *end = pattern + length, *star = NULL, *back = NULL;

    while (*host) {
        if (pattern < end && *pattern == '*') {
            star = pattern++;
            back = host;
        } else if (pattern < end &&
                   (tolower((unsigned char)*pattern) == tolower((unsigned char)*host) ||
                    (*pattern == '?' && !ends_label(*host)))) {
            pattern++;
            host++;
        } else if (star && !ends_label(*back)) {
            pattern = star + 1;
            host = ++back;
        } else {
            return false;
        }
    }
    while (pattern < end && *pattern == '*')
        pattern++;
    return pattern == end;
}

/* How well a key fits: 0 not at all, the longest path best, then a host that is spelled
 * out. */
static size_t rank(const char *text, const char *host, const char *repository)
{
    struct key key = split(text), wanted = split(host);
    bool literal = key.host_length == wanted.host_length &&
                   strncasecmp(key.host, wanted.host, key.host_length) == 0;
    kf_auto(kf_free) char *whole = NULL;

    if (key.path_length > 0 &&
        (!repository || strncmp(repository, key.path, key.path_length) != 0 ||
         (repository[key.path_length] != '/' && repository[key.path_length] != '\0')))
        return 0;
    if (!literal) {
        whole = strndup(wanted.host, wanted.host_length);
        if (!whole || !fits(key.host, key.host_length, whole))
            return 0;
    }
    return 2 * key.path_length + (literal ? 2 : 1);
}

/* ---- entries ----------------------------------------------------------------------- */

/* A text; NULL where there is none, or an empty one. */
static int text_of(const char **ret, const json_t *entry, const char *key,
                   const char *name, struct kf_err *err)
{
    const json_t *value = json_object_get(entry, name);

    *ret = NULL;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return kf_fail(err, KF_E_MALFORMED, "'%s' of '%s' is no text", name, key);
    if (json_string_length(value) > 2 * KF_CRED_TEXT_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "'%s' of '%s' is over %u bytes", name, key,
                       KF_CRED_TEXT_LIMIT);
    if (json_string_length(value) > 0)
        *ret = json_string_value(value);
    return 0;
}

static int keep(char **ret, const char *text, size_t length, const char *key,
                struct kf_err *err)
{
    if (length > KF_CRED_TEXT_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "a text of '%s' is over %u bytes", key,
                       KF_CRED_TEXT_LIMIT);
    *ret = strndup(text, length);
    return *ret ? 0 : kf_fail(err, KF_E_NOMEM, "no memory for credentials");
}

/* USER:PASSWORD, where a password may have colons; old docker put NULs behind it. */
static int take_auth(struct kf_cred *cred, const char *key, const char *encoded,
                     struct kf_err *err)
{
    kf_auto(wipe) char *plain = NULL;
    const char *colon;
    size_t length;

    if (kf_base64_decode(&plain, &length, encoded, err) != 0)
        return kf_fail_wrap(err, "'auth' of '%s'", key);
    while (length > 0 && plain[length - 1] == '\0')
        length--;
    colon = memchr(plain, ':', length);
    if (!colon || memchr(plain, '\0', length))
        return kf_fail(err, KF_E_MALFORMED, "'auth' of '%s' is not USER:PASSWORD", key);
    if (length == 1)
        return 0;
    return keep(&cred->username, plain, (size_t)(colon - plain), key, err) != 0 ||
                   keep(&cred->password, colon + 1, length - (size_t)(colon + 1 - plain),
                        key, err) != 0
               ? -1
               : 0;
}

static int take_name(struct kf_cred *cred, const char *key, const json_t *entry,
                     struct kf_err *err)
{
    const char *encoded, *username, *password;

    if (text_of(&encoded, entry, key, "auth", err) != 0 ||
        text_of(&username, entry, key, "username", err) != 0 ||
        text_of(&password, entry, key, "password", err) != 0)
        return -1;
    if (encoded)
        return take_auth(cred, key, encoded, err);
    if (!username)
        return 0;
    if (strchr(username, ':'))
        return kf_fail(err, KF_E_MALFORMED, "'username' of '%s' has a colon", key);
    if (!password)
        password = "";
    return keep(&cred->username, username, strlen(username), key, err) != 0 ||
                   keep(&cred->password, password, strlen(password), key, err) != 0
               ? -1
               : 0;
}

static int take_tokens(struct kf_cred *cred, const char *key, const json_t *entry,
                       struct kf_err *err)
{
    const char *identity, *registry;

    if (text_of(&identity, entry, key, "identitytoken", err) != 0 ||
        text_of(&registry, entry, key, "registrytoken", err) != 0)
        return -1;
    for (const char *c = registry; c && *c; c++)
        if (*c <= ' ' || *c > '~')
            return kf_fail(err, KF_E_MALFORMED, "'registrytoken' of '%s' is no token",
                           key);
    if (identity &&
        keep(&cred->identity_token, identity, strlen(identity), key, err) != 0)
        return -1;
    return registry ? keep(&cred->registry_token, registry, strlen(registry), key, err)
                    : 0;
}

/* Docker keeps empty entries for hosts whose credentials a helper has. */
static bool is_empty(const json_t *entry)
{
    static const char *const names[] = {"auth", "username", "identitytoken",
                                        "registrytoken"};

    for (size_t i = 0; i < KF_ARRAY_LEN(names); i++) {
        const json_t *value = json_object_get(entry, names[i]);

        if (value && !json_is_null(value) &&
            (!json_is_string(value) || json_string_length(value) > 0))
            return false;
    }
    return json_is_object(entry);
}

static int take_entry(struct kf_cred *ret, const char *key, const json_t *entry,
                      struct kf_err *err)
{
    struct kf_cred cred = {0};

    if (!json_is_object(entry))
        return kf_fail(err, KF_E_MALFORMED, "the entry of '%s' is no object", key);
    if (take_name(&cred, key, entry, err) != 0 ||
        take_tokens(&cred, key, entry, err) != 0) {
        kf_cred_fini(&cred);
        return -1;
    }
    *ret = cred;
    return 0;
}

/* ---- the file ---------------------------------------------------------------------- */

/* An object of the file; NULL where there is none. */
static int member(json_t **ret, const json_t *root, const char *name, struct kf_err *err)
{
    *ret = json_object_get(root, name);
    if (json_is_null(*ret))
        *ret = NULL;
    if (*ret && !json_is_object(*ret))
        return kf_fail(err, KF_E_MALFORMED, "'%s' is no object", name);
    return 0;
}

static int parse(json_t **ret, const char *json, size_t length, struct kf_err *err)
{
    json_error_t where;

    if (kf_json_check_size(json, length, KF_CREDS_FILE_LIMIT, KF_CREDS_FILE_VALUE_LIMIT,
                           "a file", err) != 0)
        return -1;
    *ret = length > 0 ? json_loadb(json, length, 0, &where) : json_object();
    if (!*ret)
        return kf_fail(err, KF_E_MALFORMED, "no JSON in line %d", where.line);
    if (json_is_object(*ret))
        return 0;
    json_decref(*ret);
    *ret = NULL;
    return kf_fail(err, KF_E_MALFORMED, "no JSON object");
}

static int find_entry(struct kf_cred *ret, json_t *auths, const char *host,
                      const char *repository, struct kf_err *err)
{
    const json_t *best = NULL;
    const char *best_key = NULL, *key;
    size_t best_rank = 0;
    json_t *entry;

    json_object_foreach(auths, key, entry)
    {
        size_t own = rank(key, host, repository);

        if (own <= best_rank || is_empty(entry))
            continue;
        best = entry;
        best_key = key;
        best_rank = own;
    }
    return best ? take_entry(ret, best_key, best, err) : 0;
}

static int take_suffix(char **ret, const json_t *value, const char *name,
                       struct kf_err *err)
{
    const char *text = json_string_value(value);
    size_t length = text ? strlen(text) : 0;

    if (!text || length > KF_CREDS_SUFFIX_LIMIT ||
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                     "0123456789._-") != length)
        return kf_fail(err, KF_E_MALFORMED, "'%s' names no helper program", name);
    if (length > 0 && !(*ret = strdup(text)))
        return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
    return 0;
}

/* An empty one for the host means that no helper has it. */
static int find_helpers(struct kf_creds_file *file, const json_t *root, const char *host,
                        struct kf_err *err)
{
    const json_t *store = json_object_get(root, "credsStore"), *best = NULL;
    size_t best_rank = 0;
    const char *key;
    json_t *helpers, *value;

    if (member(&helpers, root, "credHelpers", err) != 0)
        return -1;
    json_object_foreach(helpers, key, value)
    {
        size_t own = rank(key, host, NULL);

        if (own <= best_rank)
            continue;
        best = value;
        best_rank = own;
    }
    if (best && take_suffix(&file->host_helper, best, "credHelpers", err) != 0)
        return -1;
    if (!store || json_is_null(store) || (best && !file->host_helper))
        return 0;
    return take_suffix(&file->store_helper, store, "credsStore", err);
}

int kf_creds_file_parse(struct kf_creds_file *ret, const char *json, size_t length,
                        const char *host, const char *repository, struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *root = NULL;
    struct kf_creds_file file = {0};
    json_t *auths;

    if (parse(&root, json, length, err) != 0)
        return -1;
    if (member(&auths, root, "auths", err) != 0 ||
        find_helpers(&file, root, host, err) != 0 ||
        find_entry(&file.cred, auths, host, repository, err) != 0) {
        kf_creds_file_fini(&file);
        return -1;
    }
    *ret = file;
    return 0;
}

void kf_creds_file_fini(struct kf_creds_file *file)
{
    free(file->host_helper);
    free(file->store_helper);
    kf_cred_fini(&file->cred);
    *file = (struct kf_creds_file){0};
}

/* ---- login and logout -------------------------------------------------------------- */

static bool remove_host(json_t *auths, const char *host)
{
    const char *key;
    json_t *entry;
    bool found = false;
    void *next;

    json_object_foreach_safe(auths, next, key, entry)
    {
        struct key own = split(key), wanted = split(host);

        if (own.path_length > 0 || own.host_length != wanted.host_length ||
            strncasecmp(own.host, wanted.host, own.host_length) != 0)
            continue;
        found = true;
        (void)json_object_del(auths, key); /* it is there */
    }
    return found;
}

static int put_entry(json_t *root, json_t *auths, const char *host, const char *username,
                     const char *password, struct kf_err *err)
{
    size_t length = strlen(username) + 1 + strlen(password);
    kf_auto(wipe) char *plain = malloc(length + 1);
    kf_auto(wipe) char *encoded = NULL;

    if (plain) {
        memcpy(plain, username, strlen(username));
        plain[strlen(username)] = ':';
        memcpy(plain + strlen(username) + 1, password, strlen(password) + 1);
        encoded = kf_base64_encode(plain, length);
    }
    if (!encoded || (!auths && json_object_set_new(root, "auths", json_object()) != 0) ||
        json_object_set_new(json_object_get(root, "auths"), kf_creds_server(host),
                            json_pack("{s:s}", "auth", encoded)) != 0)
        return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
    return 0;
}

int kf_creds_file_edit(char **ret, bool *ret_found, const char *json, size_t length,
                       const char *host, const char *username, const char *password,
                       struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *root = NULL;
    json_t *auths;
    bool found;
    char *text;

    if (parse(&root, json, length, err) != 0 || member(&auths, root, "auths", err) != 0)
        return -1;
    found = auths && remove_host(auths, host);
    if (username && put_entry(root, auths, host, username, password, err) != 0)
        return -1;
    text = json_dumps(root, INDENT);
    if (!text)
        return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
    if (strlen(text) > KF_CREDS_FILE_LIMIT) {
        wipe(&text);
        return kf_fail(err, KF_E_LIMIT, "a file of over %u bytes", KF_CREDS_FILE_LIMIT);
    }
    *ret = text;
    *ret_found = found;
    return 0;
}
