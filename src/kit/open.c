#include "kit/open.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "cache/store.h"
#include "fetch/queue.h"
#include "kit/chain.h"
#include "kit/copy.h"
#include "kit/layers.h"
#include "kit/pair.h"
#include "kit/resolve.h"
#include "kit/warm.h"
#include "kitfile/filter.h"
#include "oci/manifest.h"
#include "oci/ref.h"

#define DEFAULT_TIMEOUT_NS (300 * KF_NS_PER_S)
#define CLOSE_NS (2 * KF_NS_PER_S)
#define KITFILE_NAME "Kitfile"
#define KITFILE_MODE 0644
#define FOLDER_MODE 0755

struct toc_blob {
    struct kf_digest digest;
    struct kf_source *source;
};

struct kf_kit {
    char *name;
    struct kf_chain chain; /* the last is this one */
    struct kf_fetch *fetch;
    struct kf_kit_layer *layers;
    size_t layer_count;
    struct toc_blob *toc_blobs;
    size_t toc_blob_count;
    struct kf_desc config; /* of a ModelPack */
    size_t diff_ids;       /* that it should have */
    struct kf_tree tree;
    char *kitfile; /* the file's text; NULL: there is none */
    int64_t timeout_ns;
};

static struct kf_chain_kit *asked_for(const struct kf_kit *kit)
{
    return &kit->chain.kits[kit->chain.count - 1];
}

/* ---- opening ---- */

static int64_t timeout_of(const struct kf_kit_opts *opts)
{
    return opts->read_timeout_ns ? opts->read_timeout_ns : DEFAULT_TIMEOUT_NS;
}

static int open_origin(struct kf_origin **ret, const struct kf_ref *ref,
                       const struct kf_kit_opts *opts, struct kf_err *err)
{
    const struct kf_origin_opts origin_opts = {
        .net = opts->net,
        .pull = opts->pull,
        .offline = opts->offline,
        .workq = opts->workq,
        .stats = opts->stats,
        .timeout_ns = timeout_of(opts),
    };

    return kf_origin_open(ret, ref, &origin_opts, err);
}

static struct kf_resolve_from resolve_from(const struct kf_ref *ref,
                                           struct kf_origin *origin,
                                           const struct kf_kit_opts *opts)
{
    return (struct kf_resolve_from){.ref = ref,
                                    .origin = origin,
                                    .store = opts->store,
                                    .timeout_ns = timeout_of(opts),
                                    .labels = opts->labels};
}

static int open_fetch(struct kf_kit *kit, const struct kf_kit_opts *opts,
                      struct kf_err *err)
{
    const struct kf_fetch_opts fetch_opts = {
        .workq = opts->workq,
        .stats = opts->stats,
        .memory_bytes = opts->memory_bytes,
        .connections = opts->net.connections,
        .read_timeout_ns = opts->read_timeout_ns,
    };

    return kf_fetch_new(&kit->fetch, &fetch_opts, err);
}

/* Each once, however many layers have their table there. */
static int open_toc_blobs(struct kf_kit *kit, const struct kf_pair *pairs, size_t count,
                          const struct kf_layers_from *from, struct kf_err *err)
{
    struct toc_blob *grown =
        reallocarray(kit->toc_blobs, kit->toc_blob_count + count + 1, sizeof(*grown));
    struct kf_err why;

    if (!grown)
        return kf_fail(err, KF_E_NOMEM, "no memory for %zu layers", count);
    kit->toc_blobs = grown;
    for (size_t i = 0; i < count; i++) {
        struct toc_blob *blob = &kit->toc_blobs[kit->toc_blob_count];
        size_t known = 0;

        if (!pairs[i].toc_desc)
            continue;
        while (
            known < kit->toc_blob_count &&
            !kf_digest_equal(&kit->toc_blobs[known].digest, &pairs[i].toc_desc->digest))
            known++;
        if (known < kit->toc_blob_count)
            continue;
        blob->digest = pairs[i].toc_desc->digest;
        blob->source = kf_layers_source(from, pairs[i].toc_desc, &why);
        if (blob->source) {
            kit->toc_blob_count++;
        } else if (why.kind != KF_E_NOTFOUND) { /* else its layers are read without */
            if (err)
                *err = why;
            return -1;
        }
    }
    return 0;
}

static struct kf_layers_from layers_from(const struct kf_kit *kit,
                                         struct kf_origin *origin,
                                         const struct kf_kit_opts *opts)
{
    return (struct kf_layers_from){.origin = origin,
                                   .store = opts->store,
                                   .fetch = kit->fetch,
                                   .workq = opts->workq,
                                   .timeout_ns = kit->timeout_ns,
                                   .defer = opts->defer || opts->require_lazy,
                                   .streaming = opts->streaming,
                                   .arg = opts->arg,
                                   .check = opts->check};
}

/* Named all at once, so that nobody has to try again for each. */
static int refuse_streamed(const struct kf_kit *kit, struct kf_err *err)
{
    char list[KF_ERR_MESSAGE_SIZE] = "", digest[KF_DIGEST_TEXT_SIZE];
    size_t used = 0;

    for (size_t i = 0; i < kit->layer_count && used < sizeof(list); i++) {
        const struct kf_kit_layer *layer = &kit->layers[i];

        if (kf_layer_is_streamed(layer->layer))
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s (%s, %s)",
                                     used > 0 ? ", " : "",
                                     kf_digest_format(&layer->digest, digest),
                                     layer->kind, layer->form); /* cut is fine */
    }
    if (used == 0)
        return 0;
    return kf_fail(err, KF_E_UNSUPPORTED,
                   "without --require-lazy these layers would be streamed once: %s",
                   list);
}

/* All that lack a table of contents at once, before anything of them is fetched. */
static int require_tocs(const struct kf_pair *pairs, size_t count, struct kf_err *err)
{
    char names[KF_ERR_MESSAGE_SIZE] = "", hex[65];
    size_t length = 0;

    for (size_t i = 0; i < count; i++)
        if (!pairs[i].has_toc && length < sizeof(names))
            length += (size_t)snprintf(names + length, sizeof(names) - length,
                                       "%s%s %.12s", /* cut is fine */
                                       length > 0 ? ", " : "", pairs[i].kind,
                                       kf_digest_hex(&pairs[i].desc->digest, hex));
    if (length == 0)
        return 0;
    return kf_fail(err, KF_E_REFUSED, "layers without a table of contents: %s", names);
}

/* Room for more layers behind those there are. */
static struct kf_kit_layer *add_layers(struct kf_kit *kit, size_t count,
                                       const struct kf_chain_kit *of, struct kf_err *err)
{
    struct kf_kit_layer *grown =
        reallocarray(kit->layers, kit->layer_count + count + 1, sizeof(*grown));

    if (!grown) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for %zu layers",
                      count); /* NULL says it */
        return NULL;
    }
    kit->layers = grown;
    grown += kit->layer_count;
    for (size_t i = 0; i < count; i++)
        grown[i] = (struct kf_kit_layer){.position = SIZE_MAX, .kit = of->name};
    kit->layer_count += count;
    return grown;
}

/* The layers of one kit of the chain. */
static int open_layers(struct kf_kit *kit, const struct kf_kit_opts *opts,
                       const struct kf_chain_kit *of, struct kf_err *err)
{
    const struct kf_layers_from from = layers_from(kit, of->origin, opts);
    const struct kf_resolved *resolved = &of->resolved;
    const struct kf_pair_from pair_from = {
        .manifest = &resolved->manifest,
        .kitfile = resolved->has_kitfile ? &resolved->kitfile : NULL,
        .part = of->part,
        .filter = opts->filter,
    };
    kf_auto(kf_free) struct kf_pair *pairs = NULL;
    struct kf_kit_layer *layers;
    size_t count;

    if (kf_pair_layers(&pairs, &count, &pair_from, err) != 0)
        return -1;
    if (opts->check == KF_CHECK_REQUIRE_TOC && require_tocs(pairs, count, err) != 0)
        return -1;
    layers = add_layers(kit, count, of, err);
    for (size_t i = 0; layers && i < count && of == asked_for(kit); i++)
        layers[i].position = (size_t)(pairs[i].desc - resolved->manifest.layers);
    if (!layers || open_toc_blobs(kit, pairs, count, &from, err) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (kf_pair_prefix(&layers[i].prefix, of->prefix, &pairs[i], err) != 0)
            return -1;
    return kf_open_layers(layers, pairs, count, &from, err);
}

static int add_own(struct kf_table *own, enum kf_file_type type, const char *name,
                   uint64_t size, struct kf_err *err)
{
    const struct kf_table_entry entry = {.size = size,
                                         .mode = type == KF_TYPE_DIR ? FOLDER_MODE
                                                                     : KITFILE_MODE,
                                         .type = (uint8_t)type};

    return kf_table_add(own, &entry, name, strlen(name), err);
}

/* What is in no layer: the file Kitfile, and folders that remote datasets go into. */
static int list_own(const struct kf_kit *kit, struct kf_table *own, struct kf_err *err)
{
    for (size_t i = 0; i < kit->chain.count; i++)
        if (*kit->chain.kits[i].prefix &&
            add_own(own, KF_TYPE_DIR, kit->chain.kits[i].prefix, 0, err) != 0)
            return -1;
    return kit->kitfile
               ? add_own(own, KF_TYPE_FILE, KITFILE_NAME, strlen(kit->kitfile), err)
               : 0;
}

/* What is in no layer goes in as a layer of its own behind the others, so that a layer
 * that has a Kitfile, too, is an error, as it is for kit. */
static int build_tree(struct kf_kit *kit, int64_t created, struct kf_err *err)
{
    kf_auto(kf_free) struct kf_tree_layer *layers =
        calloc(kit->layer_count + 1, sizeof(*layers));
    kf_auto(kf_table_fini) struct kf_table own = {0};

    if (!layers)
        return kf_fail(err, KF_E_NOMEM, "no memory for %zu layers", kit->layer_count);
    for (size_t i = 0; i < kit->layer_count; i++) {
        layers[i].table = kf_layer_table(kit->layers[i].layer);
        layers[i].prefix = kit->layers[i].prefix;
    }
    if (list_own(kit, &own, err) != 0)
        return -1;
    layers[kit->layer_count] = (struct kf_tree_layer){&own, ""};
    if (kf_tree_build(&kit->tree, layers, kit->layer_count + 1, created, err) != 0)
        return -1;
    for (uint32_t i = 0; i < kit->tree.count; i++)
        if (kit->tree.nodes[i].layer == kit->layer_count)
            kit->tree.nodes[i].layer = KF_NODE_NONE;
    return 0;
}

/* For a chain, and for what is fetched while the first config is. */
struct opening {
    const struct kf_kit *kit;
    const struct kf_kit_opts *opts;
};

static int open_for_chain(void *arg, struct kf_origin **ret, const struct kf_ref *ref,
                          struct kf_err *err)
{
    const struct opening *opening = arg;

    return open_origin(ret, ref, opening->opts, err);
}

static int note_config(struct kf_kit *kit, const struct kf_manifest *manifest,
                       struct kf_err *err)
{
    for (size_t i = 0; i < manifest->layer_count; i++)
        kit->diff_ids += strcmp(manifest->layers[i].media_type, KF_MEDIA_TOC) != 0;
    return kf_desc_copy(&kit->config, &manifest->config, err);
}

static void warm(void *arg, struct kf_origin *origin, const struct kf_manifest *manifest)
{
    const struct opening *opening = arg;
    const struct kf_layers_from from = layers_from(opening->kit, origin, opening->opts);

    kf_warm_tocs(manifest, opening->opts->filter, &from);
}

static int open_kit(struct kf_kit *kit, const struct kf_ref *ref,
                    const struct kf_kit_opts *opts, struct kf_err *err)
{
    struct opening opening = {kit, opts};
    const struct kf_chain_from from = {.open = open_for_chain,
                                       .meanwhile = warm,
                                       .arg = &opening,
                                       .store = opts->store,
                                       .timeout_ns = kit->timeout_ns,
                                       .labels = opts->labels,
                                       .filter = opts->filter,
                                       .alone = opts->alone,
                                       .include_remote = opts->include_remote};
    struct kf_resolved *resolved;
    int64_t created;

    if (open_fetch(kit, opts, err) != 0 ||
        kf_chain_open(&kit->chain, ref, &from, err) != 0)
        return -1;
    resolved = &asked_for(kit)->resolved;
    created = resolved->created;
    if (kf_filter_kitfile(opts->filter))
        kit->kitfile = kf_steal(resolved->kitfile_text);
    if (resolved->family == KF_FAMILY_MODELPACK &&
        note_config(kit, &resolved->manifest, err) != 0)
        return -1;
    if (opts->store)
        kf_store_index(opts->store);
    for (size_t i = 0; i < kit->chain.count; i++)
        if (open_layers(kit, opts, &kit->chain.kits[i], err) != 0)
            return i + 1 < kit->chain.count
                       ? kf_fail_wrap(err, "'%s'", kit->chain.kits[i].name)
                       : -1;
    kf_chain_forget(&kit->chain);
    if (opts->require_lazy && refuse_streamed(kit, err) != 0)
        return -1;
    if (build_tree(kit, created, err) != 0)
        return -1;
    return opts->subdir ? kf_tree_root_at(&kit->tree, opts->subdir, err) : 0;
}

int kf_kit_resolve(struct kf_resolved *ret, const struct kf_kit_opts *opts,
                   struct kf_err *err)
{
    struct kf_origin *origin = NULL;
    struct kf_resolve_from from;
    struct kf_ref ref;
    int rc;

    if (kf_ref_parse(&ref, opts->ref, err) != 0)
        return -1;
    rc = open_origin(&origin, &ref, opts, err);
    if (rc == 0) {
        from = resolve_from(&ref, origin, opts);
        rc = kf_resolve(ret, &from, err);
    }
    kf_origin_close(origin);
    kf_ref_fini(&ref);
    return rc;
}

int kf_kit_open(struct kf_kit **ret, const struct kf_kit_opts *opts, struct kf_err *err)
{
    struct kf_kit *kit;
    struct kf_ref ref;
    int rc;

    if (kf_ref_parse(&ref, opts->ref, err) != 0)
        return -1;
    kit = calloc(1, sizeof(*kit));
    if (kit)
        kit->name = kf_ref_format(&ref);
    if (!kit || !kit->name) {
        free(kit);
        kf_ref_fini(&ref);
        return kf_fail(err, KF_E_NOMEM, "no memory for a kit");
    }
    kit->timeout_ns = timeout_of(opts);
    rc = open_kit(kit, &ref, opts, err);
    kf_ref_fini(&ref);
    if (rc != 0) {
        (void)kf_fail_wrap(err, "cannot open '%s'", kit->name);
        (void)kf_kit_close(kit, kf_deadline_ns(CLOSE_NS)); /* a TOC may be on its way */
        return -1;
    }
    *ret = kit;
    return 0;
}

static void close_layer(struct kf_kit_layer *layer)
{
    kf_layer_close(layer->layer);
    free(layer->prefix);
    free(layer->path);
}

int kf_kit_close(struct kf_kit *kit, int64_t deadline_ns)
{
    if (!kit)
        return 0;
    if (kit->fetch && kf_fetch_stop(kit->fetch, deadline_ns) != 0)
        return -1;
    for (size_t i = 0; kit->layers && i < kit->layer_count; i++)
        close_layer(&kit->layers[i]);
    free(kit->layers);
    for (size_t i = 0; i < kit->toc_blob_count; i++)
        kf_source_close(kit->toc_blobs[i].source);
    free(kit->toc_blobs);
    kf_fetch_free(kit->fetch);
    kf_tree_fini(&kit->tree);
    kf_desc_fini(&kit->config);
    free(kit->kitfile);
    kf_chain_fini(&kit->chain);
    free(kit->name);
    free(kit);
    return 0;
}

/* ---- what is in it ---- */

const struct kf_tree *kf_kit_tree(const struct kf_kit *kit)
{
    return &kit->tree;
}

const struct kf_digest *kf_kit_digest(const struct kf_kit *kit)
{
    return &asked_for(kit)->digest;
}

const char *kf_kit_name(const struct kf_kit *kit)
{
    return kit->name;
}

const char *kf_kit_origin(const struct kf_kit *kit)
{
    const struct kf_origin *origin = asked_for(kit)->origin;

    return origin ? origin->kind : "the cache";
}

const struct kf_err *kf_kit_outage(const struct kf_kit *kit)
{
    return kf_chain_outage(&kit->chain, false);
}

const struct kf_err *kf_kit_cut_off(const struct kf_kit *kit)
{
    return kf_chain_outage(&kit->chain, true);
}

bool kf_kit_host(const struct kf_kit *kit, size_t index, struct kf_origin_host *ret)
{
    struct kf_origin *origin = asked_for(kit)->origin;

    return origin && kf_origin_host(origin, index, ret);
}

const char *kf_kit_other(const struct kf_kit *kit, size_t index, struct kf_digest *ret)
{
    if (index + 1 >= kit->chain.count)
        return NULL;
    *ret = kit->chain.kits[index].digest;
    return kit->chain.kits[index].name;
}

struct kf_fetch *kf_kit_fetch(struct kf_kit *kit)
{
    return kit->fetch;
}

size_t kf_kit_layer_count(const struct kf_kit *kit)
{
    return kit->layer_count;
}

bool kf_kit_is_empty(const struct kf_kit *kit)
{
    return kit->layer_count == 0 && !kit->kitfile;
}

void kf_kit_check(struct kf_kit *kit, bool fetch)
{
    for (size_t i = 0; i < kit->layer_count; i++) {
        kf_layer_watch(kit->layers[i].layer, fetch);
        if (fetch)
            kf_layer_check(kit->layers[i].layer);
    }
}

struct kf_source *kf_kit_toc_blob(const struct kf_kit *kit, size_t index,
                                  struct kf_digest *ret)
{
    if (index >= kit->toc_blob_count)
        return NULL;
    *ret = kit->toc_blobs[index].digest;
    return kit->toc_blobs[index].source;
}

int kf_kit_config_diff_ids(struct kf_kit *kit, struct kf_digest **ret, size_t *ret_count,
                           struct kf_err *err)
{
    struct kf_origin *origin = asked_for(kit)->origin;
    kf_auto(kf_buf_fini) struct kf_buf bytes;
    kf_auto(kf_free) struct kf_digest *ids = NULL;
    size_t count = 0;

    kf_buf_init(&bytes, KF_MANIFEST_LIMIT);
    if (kit->config.media_type) {
        if (!origin)
            return kf_fail(err, KF_E_NOTFOUND, "this is offline");
        if (kf_origin_blob_bytes(origin, &kit->config, kit->timeout_ns, &bytes, err) !=
                0 ||
            kf_model_config_diff_ids(&ids, &count, bytes.data, bytes.length, err) != 0)
            return -1;
        if (count > 0 && count != kit->diff_ids)
            return kf_fail(err, KF_E_MALFORMED,
                           "the config names %zu diffIds for %zu layers", count,
                           kit->diff_ids);
    }
    *ret = kf_steal(ids);
    *ret_count = count;
    return 0;
}

const struct kf_kit_layer *kf_kit_layer(const struct kf_kit *kit, size_t index)
{
    return &kit->layers[index];
}

const char *kf_kit_bytes(const struct kf_kit *kit, uint32_t node)
{
    bool own = node < kit->tree.count && kit->tree.nodes[node].type == KF_TYPE_FILE &&
               kit->tree.nodes[node].layer == KF_NODE_NONE;

    return own ? kit->kitfile : NULL;
}

struct kf_file *kf_kit_file(struct kf_kit *kit, uint32_t node, struct kf_err *err)
{
    const struct kf_node *which;

    if (node >= kit->tree.count || kit->tree.nodes[node].layer == KF_NODE_NONE ||
        kit->tree.nodes[node].type != KF_TYPE_FILE) {
        (void)kf_fail(err, KF_E_ARG, "node %" PRIu32 " of the kit is no file of a layer",
                      node); /* NULL says it */
        return NULL;
    }
    which = &kit->tree.nodes[node];
    return kf_layer_file(kit->layers[which->layer].layer, which->entry, err);
}

static int copy_layer_file(struct kf_kit *kit, uint32_t node, uint64_t offset,
                           uint64_t length, kf_copy_write *write, void *arg,
                           struct kf_err *err)
{
    struct kf_file *file = kf_kit_file(kit, node, err);
    int rc;

    if (!file)
        return -1;
    rc = kf_copy_range(file, offset, length, kit->timeout_ns, write, arg, err);
    kf_file_put(file);
    return rc;
}

int kf_kit_copy(struct kf_kit *kit, uint32_t node, uint64_t offset, uint64_t length,
                int (*write)(void *arg, const void *data, size_t length,
                             struct kf_err *err),
                void *arg, struct kf_err *err)
{
    const char *bytes = kf_kit_bytes(kit, node);
    uint64_t size = node < kit->tree.count ? kit->tree.nodes[node].size : 0;

    if (offset > size || length > size - offset)
        return kf_fail(err, KF_E_ARG, "range beyond the end of the file");
    return bytes ? write(arg, bytes + offset, (size_t)length, err)
                 : copy_layer_file(kit, node, offset, length, write, arg, err);
}
