#include "kit/diff.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "cache/cuts.h"

struct job {
    const struct kf_diff_kit *a, *b;
    struct kf_diff diff;
    size_t capacity;
};

enum sameness { SAME, OTHER, UNKNOWN };

/* ---- two files ---- */

struct content {
    const struct kf_diff_layer *layer; /* NULL: in memory */
    uint64_t offset, size;             /* in the layer's stream */
    bool has_whole;
    struct kf_digest whole;
};

static int content_of(struct content *ret, const struct kf_diff_kit *kit, uint32_t index,
                      struct kf_err *err)
{
    const struct kf_node *node = &kit->tree->nodes[index];
    const struct kf_cuts *cuts;
    uint64_t first;

    *ret = (struct content){.size = node->size};
    if (node->layer == KF_NODE_NONE) {
        ret->has_whole = true;
        return kf_digest_of(&ret->whole, kit->kitfile ? kit->kitfile : "",
                            kit->kitfile ? (size_t)node->size : 0, err);
    }
    ret->layer = &kit->layers[node->layer];
    ret->offset = ret->layer->table->entries[node->entry].offset;
    cuts = ret->layer->cuts;
    if (ret->layer->is_content) {
        ret->has_whole = true;
        ret->whole = ret->layer->digest;
    } else if (cuts && node->size > 0) {
        first = kf_cuts_at(cuts, ret->offset);
        ret->has_whole = cuts->offsets[first] == ret->offset &&
                         cuts->offsets[first + 1] == ret->offset + ret->size;
        ret->whole = cuts->digests[first];
    }
    return 0;
}

/* Where both are cut alike a digest decides; a part of a chunk can only be found to be
 * the same. */
static enum sameness compare_chunks(const struct content *a, const struct content *b)
{
    const struct kf_cuts *one = a->layer->cuts, *other = b->layer->cuts;
    uint64_t i = kf_cuts_at(one, a->offset), k = kf_cuts_at(other, b->offset);
    enum sameness result = SAME;

    for (uint64_t at = 0; at < a->size;) {
        uint64_t begin_a = one->offsets[i], end_a = one->offsets[i + 1];
        uint64_t begin_b = other->offsets[k], end_b = other->offsets[k + 1];
        uint64_t left_a = end_a - a->offset - at, left_b = end_b - b->offset - at;
        bool alike = left_a == left_b && end_a - begin_a == end_b - begin_b;
        bool is_whole = begin_a == a->offset + at && left_a <= a->size - at;

        if (alike && !kf_digest_equal(&one->digests[i], &other->digests[k]) && is_whole)
            return OTHER;
        if (!alike || !kf_digest_equal(&one->digests[i], &other->digests[k]))
            result = UNKNOWN;
        at += kf_min_u64(left_a, left_b);
        i += left_a <= left_b;
        k += left_b <= left_a;
    }
    return result;
}

static int compare_files(const struct job *job, uint32_t a, uint32_t b,
                         enum sameness *ret, struct kf_err *err)
{
    struct content one, other;

    if (content_of(&one, job->a, a, err) != 0 || content_of(&other, job->b, b, err) != 0)
        return -1;
    if (one.size != other.size || one.size == 0)
        *ret = one.size == other.size ? SAME : OTHER;
    else if (one.layer && other.layer && one.offset == other.offset &&
             kf_digest_equal(&one.layer->digest, &other.layer->digest))
        *ret = SAME;
    else if (one.has_whole && other.has_whole)
        *ret = kf_digest_equal(&one.whole, &other.whole) ? SAME : OTHER;
    else if (one.layer && other.layer && one.layer->cuts && other.layer->cuts)
        *ret = compare_chunks(&one, &other);
    else
        *ret = UNKNOWN;
    return 0;
}

/* ---- two trees ---- */

static int add_row(struct job *job, enum kf_diff_status status, uint32_t a, uint32_t b,
                   struct kf_err *err)
{
    struct kf_diff *diff = &job->diff;

    if (diff->count == job->capacity) {
        size_t capacity = job->capacity ? job->capacity * 2 : 64;
        struct kf_diff_row *grown =
            reallocarray(diff->rows, capacity, sizeof(*diff->rows));

        if (!grown)
            return kf_fail(err, KF_E_NOMEM, "no memory for a comparison");
        diff->rows = grown;
        job->capacity = capacity;
    }
    diff->rows[diff->count++] = (struct kf_diff_row){status, a, b};
    diff->counts[status]++;
    return 0;
}

/* A file, or all files below a folder, that only one has. */
static int add_alone(struct job *job, enum kf_diff_status status, uint32_t index,
                     struct kf_err *err)
{
    const struct kf_diff_kit *kit = status == KF_DIFF_ADDED ? job->b : job->a;
    const struct kf_node *node = &kit->tree->nodes[index];

    if (node->type != KF_TYPE_DIR || node->child_count == 0)
        return status == KF_DIFF_ADDED ? add_row(job, status, KF_NODE_NONE, index, err)
                                       : add_row(job, status, index, KF_NODE_NONE, err);
    for (uint32_t i = 0; i < node->child_count; i++)
        if (add_alone(job, status, node->first_child + i, err) != 0)
            return -1;
    return 0;
}

static int compare_folders(struct job *job, uint32_t a, uint32_t b, struct kf_err *err);

static int compare_nodes(struct job *job, uint32_t a, uint32_t b, struct kf_err *err)
{
    const struct kf_node *one = &job->a->tree->nodes[a], *other = &job->b->tree->nodes[b];
    enum sameness content = SAME;

    if (one->type != other->type)
        return add_alone(job, KF_DIFF_REMOVED, a, err) != 0
                   ? -1
                   : add_alone(job, KF_DIFF_ADDED, b, err);
    if (one->type == KF_TYPE_DIR)
        return compare_folders(job, a, b, err);
    if (compare_files(job, a, b, &content, err) != 0)
        return -1;
    if (content != SAME)
        return add_row(job, content == OTHER ? KF_DIFF_CHANGED : KF_DIFF_UNKNOWN, a, b,
                       err);
    if (one->mode != other->mode)
        return add_row(job, KF_DIFF_MODE, a, b, err);
    job->diff.same++;
    return 0;
}

static int compare_names(const struct job *job, uint32_t a, uint32_t b)
{
    size_t one, other;
    const char *first = kf_tree_name(job->a->tree, a, &one);
    const char *second = kf_tree_name(job->b->tree, b, &other);
    int order = memcmp(first, second, one < other ? one : other);

    return order != 0 ? order : (one > other) - (one < other);
}

/* Children are sorted by name in both. */
static int compare_folders(struct job *job, uint32_t a, uint32_t b, struct kf_err *err)
{
    const struct kf_node *one = &job->a->tree->nodes[a], *other = &job->b->tree->nodes[b];
    uint32_t i = one->first_child, end_a = i + one->child_count;
    uint32_t k = other->first_child, end_b = k + other->child_count;

    while (i < end_a || k < end_b) {
        int order = i == end_a ? 1 : k == end_b ? -1 : compare_names(job, i, k);
        int rc;

        if (order < 0)
            rc = add_alone(job, KF_DIFF_REMOVED, i, err);
        else if (order > 0)
            rc = add_alone(job, KF_DIFF_ADDED, k, err);
        else
            rc = compare_nodes(job, i, k, err);
        if (rc != 0)
            return -1;
        i += order <= 0;
        k += order >= 0;
    }
    return 0;
}

/* ---- chunks ---- */

struct chunk {
    struct kf_digest digest;
    uint32_t length, stored;
};

static int compare_chunk(const void *a, const void *b)
{
    const struct chunk *one = a, *other = b;

    return memcmp(&one->digest, &other->digest, sizeof(one->digest));
}

/* Among the first `count`. */
static bool has_layer(const struct kf_diff_kit *kit, const struct kf_digest *digest,
                      size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (kf_digest_equal(&kit->layers[i].digest, digest))
            return true;
    return false;
}

/* The different chunks of a kit, sorted; yours to free. */
static int list_chunks(struct chunk **ret, size_t *ret_count,
                       const struct kf_diff_kit *kit, struct kf_err *err)
{
    size_t count = 0, kept = 0;
    struct chunk *chunks;

    for (size_t i = 0; i < kit->layer_count; i++)
        count += kit->layers[i].cuts ? kit->layers[i].cuts->count : 0;
    chunks = calloc(count + 1, sizeof(*chunks));
    if (!chunks)
        return kf_fail(err, KF_E_NOMEM, "no memory for %zu chunks", count);
    count = 0;
    for (size_t i = 0; i < kit->layer_count; i++) {
        const struct kf_cuts *cuts = kit->layers[i].cuts;

        for (uint64_t k = 0; cuts && k < cuts->count; k++)
            chunks[count++] = (struct chunk){
                cuts->digests[k], (uint32_t)(cuts->offsets[k + 1] - cuts->offsets[k]),
                kit->layers[i].stored_length[k]};
    }
    qsort(chunks, count, sizeof(*chunks), compare_chunk);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || compare_chunk(&chunks[i], &chunks[kept - 1]) != 0)
            chunks[kept++] = chunks[i];
    *ret = chunks;
    *ret_count = kept;
    return 0;
}

static int compare_all_chunks(struct job *job, struct kf_err *err)
{
    kf_auto(kf_free) struct chunk *has = NULL;
    kf_auto(kf_free) struct chunk *wants = NULL;
    size_t has_count, wants_count;
    struct kf_diff *diff = &job->diff;

    if (list_chunks(&has, &has_count, job->a, err) != 0 ||
        list_chunks(&wants, &wants_count, job->b, err) != 0)
        return -1;
    diff->chunks = wants_count;
    for (size_t i = 0; i < wants_count; i++) {
        bool shared =
            bsearch(&wants[i], has, has_count, sizeof(*has), compare_chunk) != NULL;

        diff->chunk_bytes += wants[i].length;
        diff->shared_chunks += shared;
        diff->shared_bytes += shared ? wants[i].length : 0;
        diff->fetch_bytes += shared ? 0 : wants[i].stored;
    }
    return 0;
}

/* Each blob once. */
static void count_layers(struct job *job)
{
    const struct kf_diff_kit *b = job->b;

    for (size_t i = 0; i < b->layer_count; i++) {
        const struct kf_diff_layer *layer = &b->layers[i];

        if (has_layer(b, &layer->digest, i))
            continue;
        job->diff.total_bytes += layer->size;
        if (!layer->cuts && !has_layer(job->a, &layer->digest, job->a->layer_count))
            job->diff.fetch_bytes += layer->size;
    }
}

int kf_diff(struct kf_diff *ret, const struct kf_diff_kit *a, const struct kf_diff_kit *b,
            struct kf_err *err)
{
    struct job job = {.a = a, .b = b};

    if (compare_folders(&job, 0, 0, err) != 0 || compare_all_chunks(&job, err) != 0) {
        kf_diff_fini(&job.diff);
        return -1;
    }
    count_layers(&job);
    *ret = job.diff;
    return 0;
}

void kf_diff_fini(struct kf_diff *diff)
{
    free(diff->rows);
    *diff = (struct kf_diff){0};
}

const char *kf_diff_status_name(enum kf_diff_status status)
{
    static const char *const names[] = {[KF_DIFF_ADDED] = "added",
                                        [KF_DIFF_REMOVED] = "removed",
                                        [KF_DIFF_CHANGED] = "changed",
                                        [KF_DIFF_MODE] = "mode",
                                        [KF_DIFF_UNKNOWN] = "unknown"};

    return names[status];
}
