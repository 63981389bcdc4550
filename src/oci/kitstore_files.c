#include "oci/kitstore_files.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "oci/ref.h"

#define INDEX_END "-index.json"
#define TAGS_END "-tags.json"

/* A variable that is set to nothing counts as not set. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

int kf_kitstore_path(char **ret, struct kf_err *err)
{
    const char *kit = variable("KITOPS_HOME"), *data = variable("XDG_DATA_HOME");
    const char *home = variable("HOME");
    int rc;

    *ret = NULL;
    if (kit)
        rc = asprintf(ret, "%s/storage", kit);
    else if (data)
        rc = asprintf(ret, "%s/kitops/storage", data);
    else if (home)
        rc = asprintf(ret, "%s/.local/share/kitops/storage", home);
    else
        return kf_fail(err, KF_E_ARG, "cannot find kit's store: set KITOPS_HOME or HOME");
    if (rc >= 0)
        return 0;
    *ret = NULL;
    return kf_fail(err, KF_E_NOMEM, "no memory for kit's store");
}

/* ---- base64: RFC 4648 section 5, padded ---- */

static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static char *encode(const char *text)
{
    const unsigned char *in = (const unsigned char *)text;
    size_t length = strlen(text), groups = (length + 2) / 3;
    char *out = malloc(4 * groups + 1), *at = out;

    if (!out)
        return NULL;
    for (size_t i = 0; i < length; i += 3) {
        unsigned second = i + 1 < length ? in[i + 1] : 0;
        unsigned third = i + 2 < length ? in[i + 2] : 0;
        unsigned bits = (unsigned)in[i] << 16 | second << 8 | third;

        *at++ = digits[bits >> 18];
        *at++ = digits[bits >> 12 & 63];
        *at++ = i + 1 < length ? digits[bits >> 6 & 63] : '=';
        *at++ = i + 2 < length ? digits[bits & 63] : '=';
    }
    *at = '\0';
    return out;
}

/* What encode makes of its result is what was given: kf_kitstore_repository compares. */
static char *decode(const char *text, size_t length)
{
    char *out = calloc(1, length / 4 * 3 + 1), *at = out;

    for (size_t i = 0; out && i + 4 <= length; i += 4) {
        uint32_t bits = 0;

        for (size_t k = 0; k < 4; k++) {
            const char *digit = strchr(digits, text[i + k]);

            bits = bits << 6 | (uint32_t)(digit ? digit - digits : 0);
        }
        *at++ = (char)(bits >> 16);
        *at++ = (char)(bits >> 8);
        *at++ = (char)bits;
    }
    return out;
}

/* ---- names ---- */

int kf_kitstore_names(struct kf_kitstore_names *ret, const struct kf_ref *ref,
                      struct kf_err *err)
{
    struct kf_kitstore_names names = {0};
    kf_auto(kf_free) char *name = NULL;
    kf_auto(kf_free) char *encoded = NULL;

    if (asprintf(&name, "%s/%s", ref->registry, ref->repository) < 0)
        name = NULL;
    encoded = name ? encode(name) : NULL;
    if (!encoded || asprintf(&names.index, "%s" INDEX_END, encoded) < 0)
        names.index = NULL;
    if (!names.index || asprintf(&names.tags, "%s" TAGS_END, encoded) < 0) {
        free(names.index);
        return kf_fail(err, KF_E_NOMEM, "no memory for kit's store");
    }
    *ret = names;
    return 0;
}

void kf_kitstore_names_fini(struct kf_kitstore_names *names)
{
    free(names->index);
    free(names->tags);
    *names = (struct kf_kitstore_names){0};
}

char *kf_kitstore_repository(const char *index_name)
{
    size_t length = strlen(index_name), end = strlen(INDEX_END);
    kf_auto(kf_free) char *name = NULL;
    kf_auto(kf_free) char *again = NULL;

    if (length <= end || strcmp(index_name + length - end, INDEX_END) != 0)
        return NULL;
    length -= end;
    name = decode(index_name, length);
    again = name ? encode(name) : NULL;
    if (!again || strlen(again) != length || memcmp(again, index_name, length) != 0 ||
        !strchr(name, '/'))
        return NULL;
    return kf_steal(name);
}
