#include "oci/reply.h"

#include <jansson.h>
#include <string.h>

#include "base/containers.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "oci/registry.h"

#define TAG_LENGTH_LIMIT 128u
#define VALUE_LIMIT (2 * KF_REPLY_TAG_LIMIT) /* of a page, whatever they are */

KF_DEFINE_AUTO(json, json_t *, json_decref)

static void copy_printable(char *out, size_t size, const char *text)
{
    size_t length = 0;

    for (; text[length] && length + 1 < size; length++) {
        unsigned char c = (unsigned char)text[length];

        out[length] = c >= 0x20 && c <= 0x7e ? (char)c : '?';
    }
    out[length] = '\0';
}

char *kf_reply_error(char out[KF_REPLY_TEXT_SIZE], const void *json, size_t length)
{
    kf_auto(kf_auto_json) json_t *root = json_loadb(json, length, 0, NULL);
    const json_t *first = json_array_get(json_object_get(root, "errors"), 0);
    const char *text = json_string_value(json_object_get(first, "message"));

    if (!text || !*text)
        text = json_string_value(json_object_get(first, "code"));
    copy_printable(out, KF_REPLY_TEXT_SIZE, text ? text : "");
    return out;
}

bool kf_reply_is_tag(const char *text)
{
    static const char word[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t length = strlen(text);

    if (length == 0 || length > TAG_LENGTH_LIMIT || !strchr(word, text[0]))
        return false;
    for (size_t i = 1; i < length; i++)
        if (!strchr(word, text[i]) && text[i] != '.' && text[i] != '-')
            return false;
    return true;
}

int kf_reply_tags(struct kf_strings *ret, const void *json, size_t length,
                  struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *root = NULL;
    const json_t *tags, *tag;
    size_t i;

    if (kf_json_check_size(json, length, KF_REGISTRY_PAGE_LIMIT, VALUE_LIMIT,
                           "a list of tags", err) != 0)
        return -1;
    root = json_loadb(json, length, JSON_REJECT_DUPLICATES, NULL);
    tags = json_object_get(root, "tags");
    if (!tags || !(json_is_array(tags) || json_is_null(tags)))
        return kf_fail(err, KF_E_MALFORMED, "malformed list of tags");
    json_array_foreach(tags, i, tag)
    {
        const char *text = json_string_value(tag);

        if (!text || !kf_reply_is_tag(text))
            return kf_fail(err, KF_E_MALFORMED,
                           "malformed list of tags: entry %zu is no tag", i);
        if (ret->count >= KF_REPLY_TAG_LIMIT)
            return kf_fail(err, KF_E_LIMIT, "more than %u tags", KF_REPLY_TAG_LIMIT);
        if (kf_strings_add(ret, text, err) != 0)
            return -1;
    }
    return 0;
}
