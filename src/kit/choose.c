#include "kit/choose.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/containers.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/table.h"
#include "oci/manifest.h"
#include "oci/media.h"

#define LIST_SIZE 360 /* what an error's message has room for */
#define TAG_ANNOTATION "ml.kitops.modelkit.original-tag"

static size_t key_length(const char *label)
{
    return strcspn(label, "=");
}

int kf_labels_check(const struct kf_strings *labels, struct kf_err *err)
{
    for (size_t i = 0; labels && i < labels->count; i++) {
        const char *label = labels->items[i];
        size_t length = key_length(label);

        if (length == 0 || label[length] != '=')
            return kf_fail(err, KF_E_ARG, "invalid label '%.64s': expected key=value",
                           label);
        for (size_t k = 0; k < i; k++)
            if (strncmp(labels->items[k], label, length + 1) == 0)
                return kf_fail(err, KF_E_ARG,
                               "invalid label '%.64s': each label can be specified only "
                               "once",
                               label);
    }
    return 0;
}

static bool carries(const struct kf_desc *entry, const struct kf_strings *labels)
{
    for (size_t i = 0; i < labels->count; i++) {
        const char *label = labels->items[i];
        size_t length = key_length(label);
        bool found = false;

        for (size_t k = 0; k < entry->label_count && !found; k++)
            found = strlen(entry->labels[k].key) == length &&
                    memcmp(entry->labels[k].key, label, length) == 0 &&
                    strcmp(entry->labels[k].value, label + length + 1) == 0;
        if (!found)
            return false;
    }
    return true;
}

/* ---- what there is ---- */

struct list {
    char text[LIST_SIZE];
    size_t used;
    bool full;
};

static void add_text(struct list *list, const char *before, const char *text)
{
    char plain[KF_NAME_TEXT_SIZE];
    size_t room = sizeof(list->text) - list->used;
    int length = snprintf(list->text + list->used, room, "%s%s", before,
                          kf_name_text(plain, text, strlen(text)));

    list->full = list->full || length < 0 || (size_t)length >= room;
    list->used += list->full ? 0 : (size_t)length;
}

static int compare_keys(const void *a, const void *b)
{
    const struct kf_annotation *const *first = a, *const *second = b;

    return strcmp((*first)->key, (*second)->key);
}

static void add_labels(struct list *list, const struct kf_desc *entry)
{
    kf_auto(kf_free) const struct kf_annotation **sorted =
        calloc(entry->label_count + 1, sizeof(*sorted));

    if (!sorted || entry->label_count == 0) {
        add_text(list, "", " (no labels)");
        return;
    }
    for (size_t i = 0; i < entry->label_count; i++)
        sorted[i] = &entry->labels[i];
    qsort(sorted, entry->label_count, sizeof(*sorted), compare_keys);
    for (size_t i = 0; i < entry->label_count && !list->full; i++) {
        add_text(list, i == 0 ? " (" : ", ", sorted[i]->key);
        add_text(list, "=", sorted[i]->value);
    }
    add_text(list, ")", "");
}

/* One entry; what does not fit is left out whole. */
static void add_entry(struct list *list, const struct kf_desc *entry)
{
    const char *tag =
        kf_annotation_get(entry->annotations, entry->annotation_count, TAG_ANNOTATION);
    char digest[KF_DIGEST_TEXT_SIZE];
    size_t before = list->used;

    add_text(list, before ? "; " : "",
             tag && *tag ? tag : kf_digest_format(&entry->digest, digest));
    add_labels(list, entry);
    if (list->full)
        list->used = before;
    list->text[list->used] = '\0';
}

/* ---- choosing ---- */

/* What of an index is looked at. */
typedef bool is_looked_for(const struct kf_index *index, size_t entry,
                           const struct kf_strings *labels);

static bool has_labels(const struct kf_index *index, size_t entry,
                       const struct kf_strings *labels)
{
    return carries(&index->entries[entry], labels);
}

/* kit's own index holds nothing else, and its entries do not say what they are. */
static bool is_kit(const struct kf_index *index, size_t entry,
                   const struct kf_strings *labels)
{
    const char *type = index->entries[entry].artifact_type;

    return (index->artifact_type &&
            strcmp(index->artifact_type, KF_MEDIA_MODELKIT_INDEX) == 0) ||
           (type && kf_media_artifact_family(type) != KF_FAMILY_UNKNOWN);
}

static bool is_any(const struct kf_index *index, size_t entry,
                   const struct kf_strings *labels)
{
    return true;
}

/* How many count; *ret is one of them. */
static size_t look(const struct kf_index *index, is_looked_for *counts,
                   const struct kf_strings *labels, struct list *list,
                   struct kf_digest *ret)
{
    size_t count = 0;

    for (size_t i = 0; i < index->entry_count; i++) {
        if (!counts(index, i, labels))
            continue;
        *ret = index->entries[i].digest;
        count++;
        if (!list->full)
            add_entry(list, &index->entries[i]);
    }
    return count;
}

static int choose_by_labels(struct kf_digest *ret, const struct kf_index *index,
                            const struct kf_strings *labels, struct kf_err *err)
{
    struct list list = {0}, all = {0};
    struct kf_digest found, other;
    size_t count = look(index, has_labels, labels, &list, &found);

    if (count > 1)
        return kf_fail(err, KF_E_ARG,
                       "%zu entries of the index match; add labels to choose one of: "
                       "%s%s",
                       count, list.text, list.full ? "; ..." : "");
    if (count == 0) {
        (void)look(index, is_any, NULL, &all, &other); /* for the list */
        return kf_fail(err, KF_E_ARG,
                       "no entry of the index has these labels; it has: %s%s", all.text,
                       all.full ? "; ..." : "");
    }
    *ret = found;
    return 0;
}

static int choose_kit(struct kf_digest *ret, const struct kf_index *index,
                      struct kf_err *err)
{
    struct list list = {0}, all = {0};
    struct kf_digest found, other;
    size_t count = look(index, is_kit, NULL, &list, &found);

    if (count > 1)
        return kf_fail(err, KF_E_ARG,
                       "an index of %zu kits; choose with --label, or by digest: %s%s",
                       count, list.text, list.full ? "; ..." : "");
    if (count == 0) {
        (void)look(index, is_any, NULL, &all, &other); /* for the list */
        return kf_fail(err, KF_E_UNSUPPORTED,
                       "an index without any ModelKit that is named as one; it has: %s%s",
                       all.text, all.full ? "; ..." : "");
    }
    *ret = found;
    return 0;
}

static bool is_index(const struct kf_desc *entry)
{
    return strcmp(entry->media_type, KF_MEDIA_OCI_INDEX) == 0;
}

int kf_choose_entry(struct kf_digest *ret, const struct kf_index *index,
                    const struct kf_strings *labels, struct kf_err *err)
{
    bool has = labels && labels->count > 0;

    if (index->entry_count == 0)
        return kf_fail(err, KF_E_UNSUPPORTED, "an index without any ModelKit");
    if (index->entry_count == 1 && (!has || is_index(&index->entries[0]))) {
        *ret = index->entries[0].digest;
        return 0;
    }
    return has ? choose_by_labels(ret, index, labels, err) : choose_kit(ret, index, err);
}
