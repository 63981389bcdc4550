#include "layer/tar_extension.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/tar_decode.h"

void kf_tar_extension_clear(struct kf_tar_extension *extension)
{
    free(extension->path);
    memset(extension, 0, sizeof(*extension));
}

/* Digits only, at least one. */
static bool parse_decimal(const char *text, size_t length, uint64_t *ret)
{
    uint64_t value = 0;

    if (length == 0)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        if (!kf_mul_u64(value, 10, &value) ||
            !kf_add_u64(value, (uint64_t)(text[i] - '0'), &value))
            return false;
    }
    *ret = value;
    return true;
}

static int take_path(struct kf_tar_extension *extension, const char *value, size_t length,
                     struct kf_err *err)
{
    char *path;

    if (memchr(value, '\0', length))
        return kf_fail(err, KF_E_MALFORMED, "NUL byte in a path");
    path = malloc(length);
    if (!path)
        return kf_fail(err, KF_E_NOMEM, "no memory for a path");
    memcpy(path, value, length);
    free(extension->path);
    extension->path = path;
    extension->path_length = length;
    return 0;
}

static int take_size(struct kf_tar_extension *extension, const char *value, size_t length,
                     struct kf_err *err)
{
    if (!parse_decimal(value, length, &extension->size) || extension->size > INT64_MAX)
        return kf_fail(err, KF_E_MALFORMED, "bad pax size");
    extension->has_size = true;
    return 0;
}

/* Seconds with an optional sign and fraction; the fraction is dropped. */
static int take_mtime(struct kf_tar_extension *extension, const char *value,
                      size_t length, struct kf_err *err)
{
    bool negative = value[0] == '-';
    const char *digits = value + negative;
    size_t left = length - negative;
    const char *dot = memchr(digits, '.', left);
    size_t whole = dot ? (size_t)(dot - digits) : left;
    uint64_t seconds, fraction;

    if (!parse_decimal(digits, whole, &seconds) || seconds > INT64_MAX)
        return kf_fail(err, KF_E_MALFORMED, "bad pax mtime");
    /* Only the fraction's form matters, and of that nine digits: nanoseconds. */
    if (dot && !parse_decimal(dot + 1, kf_min_u64(left - whole - 1, 9), &fraction))
        return kf_fail(err, KF_E_MALFORMED, "bad pax mtime");
    extension->mtime = negative ? -(int64_t)seconds : (int64_t)seconds;
    extension->has_mtime = true;
    return 0;
}

static const struct {
    const char *key;
    int (*take)(struct kf_tar_extension *extension, const char *value, size_t length,
                struct kf_err *err);
} pax_keys[] = {
    {"path", take_path},
    {"size", take_size},
    {"mtime", take_mtime},
};

/* One keyword and its value. Keywords that we do not know change nothing that we show;
 * those of sparse files change what the data means. An empty value takes nothing back
 * that we could have, since records are not inherited. */
static int take_pax_record(struct kf_tar_extension *extension, const char *key,
                           size_t key_length, const char *value, size_t value_length,
                           struct kf_err *err)
{
    static const char sparse[] = "GNU.sparse.";

    if (key_length >= sizeof(sparse) - 1 && memcmp(key, sparse, sizeof(sparse) - 1) == 0)
        return kf_fail(err, KF_E_UNSUPPORTED, "a sparse file");
    if (value_length == 0)
        return 0;
    for (size_t i = 0; i < KF_ARRAY_LEN(pax_keys); i++) {
        if (strlen(pax_keys[i].key) == key_length &&
            memcmp(pax_keys[i].key, key, key_length) == 0)
            return pax_keys[i].take(extension, value, value_length, err);
    }
    return 0;
}

/* Records "LENGTH KEYWORD=VALUE\n", one after the other; LENGTH counts the whole record.
 */
int kf_tar_parse_pax(struct kf_tar_extension *extension, const char *data, size_t length,
                     struct kf_err *err)
{
    while (length > 0) {
        const char *space = memchr(data, ' ', kf_min_u64(length, 20));
        const char *key = space ? space + 1 : NULL;
        const char *equals;
        uint64_t record;

        if (!space || !parse_decimal(data, (size_t)(space - data), &record) ||
            record > length || record < (uint64_t)(key - data) + sizeof("k=") ||
            data[record - 1] != '\n')
            return kf_fail(err, KF_E_MALFORMED, "bad pax record");
        equals = memchr(key, '=', (size_t)(data + record - key));
        if (!equals || equals == key)
            return kf_fail(err, KF_E_MALFORMED, "pax record without a keyword");
        if (take_pax_record(extension, key, (size_t)(equals - key), equals + 1,
                            (size_t)(data + record - 1 - (equals + 1)), err) != 0)
            return -1;
        data += record;
        length -= record;
    }
    return 0;
}

int kf_tar_parse_long_name(struct kf_tar_extension *extension, const char *data,
                           size_t length, struct kf_err *err)
{
    size_t name = strnlen(data, length);

    if (name == 0 || name + 1 < length)
        return kf_fail(err, KF_E_MALFORMED, "bad GNU long name");
    return take_path(extension, data, name, err);
}
