#include "oci/ref.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define NAME_LIMIT 255u
#define TAG_LIMIT 128u
#define LOCAL "localhost"
#define HUB "docker.io"
#define HUB_API "registry-1.docker.io"

static const struct {
    const char *prefix;
    enum kf_ref_where where;
} schemes[] = {
    {"oci://", KF_REF_REGISTRY},    {"kit://", KF_REF_REGISTRY},
    {"docker://", KF_REF_REGISTRY}, {"store:", KF_REF_STORE},
    {"oci:", KF_REF_LAYOUT},
};

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_word(char c)
{
    return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

/* [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*  */
static bool is_name_component(const char *text, size_t length)
{
    size_t i = 0;

    for (;;) {
        size_t start = i, dashes;

        while (i < length && is_lower_or_digit(text[i]))
            i++;
        if (i == start)
            return false;
        if (i == length)
            return true;
        for (dashes = 0; i + dashes < length && text[i + dashes] == '-'; dashes++)
            ;
        if (dashes > 0)
            i += dashes;
        else if (length - i >= 2 && text[i] == '_' && text[i + 1] == '_')
            i += 2;
        else if (text[i] == '.' || text[i] == '_')
            i++;
        else
            return false;
    }
}

static bool is_repository(const char *text)
{
    for (;;) {
        size_t length = strcspn(text, "/");

        if (!is_name_component(text, length))
            return false;
        if (text[length] == '\0')
            return true;
        text += length + 1;
    }
}

static bool is_tag(const char *text)
{
    size_t length = strlen(text);

    if (length == 0 || length > TAG_LIMIT || !is_word(text[0]))
        return false;
    for (size_t i = 1; i < length; i++)
        if (!is_word(text[i]) && text[i] != '.' && text[i] != '-')
            return false;
    return true;
}

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* host[:port], [v6][:port]: it goes into addresses as it is. */
static bool is_registry(const char *text)
{
    size_t host, port;

    if (text[0] == '[') {
        host = strspn(text + 1, DIGITS "abcdefABCDEF:.");
        if (host == 0 || text[1 + host] != ']')
            return false;
        text += host + 2;
    } else {
        host = strspn(text, LETTERS DIGITS "._-");
        if (host == 0)
            return false;
        text += host;
    }
    if (*text == '\0')
        return true;
    port = strspn(text + 1, DIGITS);
    return *text == ':' && port >= 1 && port <= 5 && text[1 + port] == '\0';
}

static int no_memory(struct kf_err *err)
{
    return kf_fail(err, KF_E_NOMEM, "no memory for a reference");
}

static int copy(char **ret, const char *text, size_t length, struct kf_err *err)
{
    *ret = strndup(text, length);
    return *ret ? 0 : no_memory(err);
}

static int take_digest(struct kf_ref *ref, const char *text, struct kf_err *err)
{
    if (kf_digest_parse(&ref->digest, text, strlen(text), err) != 0) {
        if (err)
            err->kind = KF_E_ARG;
        return -1;
    }
    ref->has_digest = true;
    return 0;
}

static int take_tag(struct kf_ref *ref, const char *text, struct kf_err *err)
{
    if (strchr(text, ','))
        return kf_fail(err, KF_E_ARG, "one tag only: '%s'", text);
    if (!is_tag(text))
        return kf_fail(err, KF_E_ARG, "invalid tag '%s'", text);
    return copy(&ref->tag, text, strlen(text), err);
}

/* DIR[:TAG|@digest]: a tag has no slash, so a colon in the folder's path stays there. */
static int parse_layout(struct kf_ref *ref, const char *text, struct kf_err *err)
{
    const char *at = strrchr(text, '@'), *colon;
    size_t length = strlen(text);

    if (at && strncmp(at + 1, "sha", 3) == 0 && strchr(at, ':')) {
        length = (size_t)(at - text);
        if (take_digest(ref, at + 1, err) != 0)
            return -1;
    } else {
        colon = strrchr(text, ':');
        if (colon && !strchr(colon, '/')) {
            length = (size_t)(colon - text);
            if (take_tag(ref, colon + 1, err) != 0)
                return -1;
        }
    }
    if (length == 0)
        return kf_fail(err, KF_E_ARG, "no folder in 'oci:%s'", text);
    return copy(&ref->dir, text, length, err);
}

static int take_repository(struct kf_ref *ref, const char *text, size_t length,
                           struct kf_err *err)
{
    bool hub = strcmp(ref->registry, HUB) == 0 || strcmp(ref->registry, HUB_API) == 0 ||
               strcmp(ref->registry, "index.docker.io") == 0;
    bool plain = memchr(text, '/', length) == NULL;

    if (asprintf(&ref->repository, "%s%.*s", hub && plain ? "library/" : "", (int)length,
                 text) < 0) {
        ref->repository = NULL;
        return no_memory(err);
    }
    if (!is_repository(ref->repository) &&
        (strcmp(ref->registry, LOCAL) != 0 ||
         strcmp(ref->repository, KF_REF_NAMELESS) != 0))
        return kf_fail(err, KF_E_ARG,
                       "invalid repository '%s' (lower case letters, digits and . _ - /)",
                       ref->repository);
    if (strlen(ref->registry) + strlen(ref->repository) > NAME_LIMIT)
        return kf_fail(err, KF_E_ARG, "name of over %u bytes", NAME_LIMIT);
    return 0;
}

static int parse_name(struct kf_ref *ref, const char *text, struct kf_err *err)
{
    const char *at = strchr(text, '@');
    size_t length = at ? (size_t)(at - text) : strlen(text);
    const char *slash = memchr(text, '/', length);
    size_t host = slash ? (size_t)(slash - text) : 0;
    const char *name = text, *colon;

    if (at && take_digest(ref, at + 1, err) != 0)
        return -1;
    if (host > 0 && (memchr(text, '.', host) || memchr(text, ':', host))) {
        if (copy(&ref->registry, text, host, err) != 0)
            return -1;
        name = slash + 1;
        length -= host + 1;
    } else if (copy(&ref->registry, LOCAL, strlen(LOCAL), err) != 0) {
        return -1;
    }
    if (!is_registry(ref->registry))
        return kf_fail(err, KF_E_ARG, "invalid registry '%s'", ref->registry);
    colon = memchr(name, ':', length);
    if (colon) {
        kf_auto(kf_free) char *tag =
            strndup(colon + 1, length - (size_t)(colon + 1 - name));

        if (!tag)
            return no_memory(err);
        if (take_tag(ref, tag, err) != 0)
            return -1;
        length = (size_t)(colon - name);
    }
    return take_repository(ref, name, length, err);
}

/* "sha256:..." alone names a manifest of the local store, as for kit. */
static int parse_bare_digest(struct kf_ref *ref, const char *text, struct kf_err *err)
{
    if (take_digest(ref, text, err) != 0 ||
        copy(&ref->registry, LOCAL, strlen(LOCAL), err) != 0)
        return -1;
    return copy(&ref->repository, KF_REF_NAMELESS, strlen(KF_REF_NAMELESS), err);
}

int kf_ref_parse_plain(struct kf_ref *ret, const char *text, struct kf_err *err)
{
    kf_auto(kf_free) char *first = strndup(text, strcspn(text, ","));
    struct kf_ref ref = {.where = KF_REF_ANY};
    int rc;

    if (!first)
        return no_memory(err);
    rc = strncmp(first, "sha256:", 7) == 0 && !strchr(first, '/')
             ? parse_bare_digest(&ref, first, err)
             : parse_name(&ref, first, err);
    if (rc != 0) {
        kf_ref_fini(&ref);
        return kf_fail_wrap(err, "reference '%s'", text);
    }
    *ret = ref;
    return 0;
}

int kf_ref_parse(struct kf_ref *ret, const char *text, struct kf_err *err)
{
    struct kf_ref ref = {.where = KF_REF_ANY};
    const char *rest = text;
    int rc;

    for (size_t i = 0; i < KF_ARRAY_LEN(schemes); i++) {
        size_t length = strlen(schemes[i].prefix);

        if (strncmp(text, schemes[i].prefix, length) == 0) {
            ref.where = schemes[i].where;
            rest = text + length;
            break;
        }
    }
    if (!*rest)
        return kf_fail(err, KF_E_ARG, "empty reference");
    if (ref.where == KF_REF_LAYOUT)
        rc = parse_layout(&ref, rest, err);
    else if (strncmp(rest, "sha256:", 7) == 0 && !strchr(rest, '/'))
        rc = parse_bare_digest(&ref, rest, err);
    else
        rc = parse_name(&ref, rest, err);
    if (rc != 0) {
        kf_ref_fini(&ref);
        return kf_fail_wrap(err, "reference '%s'", text);
    }
    *ret = ref;
    return 0;
}

void kf_ref_fini(struct kf_ref *ref)
{
    free(ref->registry);
    free(ref->repository);
    free(ref->dir);
    free(ref->tag);
    memset(ref, 0, sizeof(*ref));
}

static const char *prefix_of(const struct kf_ref *ref)
{
    static const char *const prefixes[] = {[KF_REF_ANY] = "",
                                           [KF_REF_REGISTRY] = "oci://",
                                           [KF_REF_STORE] = "store:",
                                           [KF_REF_LAYOUT] = "oci:"};

    /* a repository that is called as a prefix is */
    if (ref->where == KF_REF_ANY &&
        (strcmp(ref->repository, "oci") == 0 || strcmp(ref->repository, "store") == 0))
        return prefixes[KF_REF_STORE];
    return prefixes[ref->where];
}

bool kf_ref_is_local(const struct kf_ref *ref)
{
    return ref->registry && strcmp(ref->registry, LOCAL) == 0;
}

char *kf_ref_format_name(const struct kf_ref *ref)
{
    char *text;
    int rc;

    if (ref->dir)
        rc = asprintf(&text, "%s%s", prefix_of(ref), ref->dir);
    else if (kf_ref_is_local(ref))
        rc = asprintf(&text, "%s%s", prefix_of(ref), ref->repository);
    else
        rc = asprintf(&text, "%s%s/%s", prefix_of(ref), ref->registry, ref->repository);
    return rc < 0 ? NULL : text;
}

char *kf_ref_format(const struct kf_ref *ref)
{
    char digest[KF_DIGEST_TEXT_SIZE], *text;
    kf_auto(kf_free) char *name = kf_ref_format_name(ref);
    int rc;

    if (!name)
        return NULL;
    (void)kf_digest_format(&ref->digest, digest);
    if (ref->has_digest && kf_ref_is_local(ref) &&
        strcmp(ref->repository, KF_REF_NAMELESS) == 0)
        rc = asprintf(&text, "%s%s", prefix_of(ref), digest);
    else if (ref->has_digest)
        rc = asprintf(&text, "%s@%s", name, digest);
    else
        rc = asprintf(&text, "%s%s%s", name, ref->tag ? ":" : "",
                      ref->tag ? ref->tag : "");
    return rc < 0 ? NULL : text;
}

const char *kf_ref_api_host(const struct kf_ref *ref)
{
    if (strcmp(ref->registry, HUB) == 0 || strcmp(ref->registry, "index.docker.io") == 0)
        return HUB_API;
    return ref->registry;
}
