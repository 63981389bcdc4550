#include "pack/pack.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "kitfile/kitfile_yaml.h"
#include "oci/dest.h"
#include "oci/manifest.h"
#include "oci/media.h"
#include "pack/mcpb.h"
#include "pack/packing.h"

static void layer_fini(struct kf_packing_layer *layer)
{
    kf_scan_fini(&layer->scan);
    kf_written_fini(&layer->written);
}

static void packing_fini(struct kf_packing *packing)
{
    for (size_t i = 0; i < packing->layer_count; i++)
        layer_fini(&packing->layers[i]);
    for (size_t i = 0; packing->out && i < packing->out_count; i++) {
        free(packing->out[i].filepath);
        free(packing->out[i].metadata);
        free(packing->out[i].toc);
    }
    (void)pthread_mutex_destroy(&packing->lock);
    free(packing->layers);
    free(packing->out);
    kf_ignore_fini(&packing->ignore);
    kf_parents_fini(&packing->parents);
    kf_kitfile_plan_fini(&packing->plan);
    kf_close_fd(&packing->context_fd);
}

static void warn(const struct kf_packing *packing, const char *line)
{
    if (packing->opts->warn)
        packing->opts->warn(packing->opts->arg, line);
}

static int no_memory(struct kf_err *err)
{
    return kf_fail(err, KF_E_NOMEM, "no memory for packing");
}

/* ---- what is asked for ---- */

static int load_default_kitfile(const struct kf_packing *packing, struct kf_buf *ret,
                                struct kf_err *err)
{
    static const char *const names[] = {"Kitfile", "kitfile", ".kitfile"};

    for (size_t i = 0; i < KF_ARRAY_LEN(names); i++) {
        if (kf_load_file(packing->context_fd, names[i], ret, err) == 0)
            return 0;
        if (err->kind != KF_E_NOTFOUND)
            return -1;
    }
    return kf_fail(err, KF_E_NOTFOUND,
                   "no Kitfile in '%s' (name another one with --file)",
                   packing->opts->context);
}

static int load_stdin(struct kf_buf *ret, struct kf_err *err)
{
    uint8_t piece[4096];
    ssize_t got;

    while ((got = read(STDIN_FILENO, piece, sizeof(piece))) > 0)
        if (kf_buf_append(ret, piece, (size_t)got, err) != 0)
            return -1;
    return got == 0 ? 0 : kf_fail_errno(err, "cannot read the Kitfile from stdin");
}

static int load_plan(struct kf_packing *packing, struct kf_err *err)
{
    const struct kf_pack_opts *opts = packing->opts;
    struct kf_buf yaml;
    int rc;

    kf_buf_init(&yaml, KF_YAML_LIMIT);
    if (!opts->kitfile)
        rc = load_default_kitfile(packing, &yaml, err);
    else if (strcmp(opts->kitfile, "-") == 0)
        rc = load_stdin(&yaml, err);
    else
        rc = kf_load_file(AT_FDCWD, opts->kitfile, &yaml, err);
    if (rc == 0 && kf_kitfile_plan(&packing->plan, yaml.data, yaml.length, opts->warn,
                                   opts->arg, err) != 0)
        rc = kf_fail_wrap(err, "Kitfile");
    kf_buf_fini(&yaml);
    return rc;
}

static int load_ignore(struct kf_packing *packing, struct kf_err *err)
{
    struct kf_buf text;
    int rc;

    kf_buf_init(&text, KF_IGNORE_LIMIT);
    rc = kf_load_file(packing->context_fd, ".kitignore", &text, err);
    if (rc == 0 || err->kind == KF_E_NOTFOUND)
        rc = kf_ignore_parse(&packing->ignore, (const char *)text.data, text.length, err);
    kf_buf_fini(&text);
    return rc == 0 ? 0 : kf_fail_wrap(err, ".kitignore");
}

static int check_options(const struct kf_packing *packing, struct kf_err *err)
{
    const struct kf_pack_opts *opts = packing->opts;

    if (opts->chunk_size != 0 &&
        (opts->chunk_size < KF_CHUNK_MIN || opts->chunk_size > KF_CHUNK_MAX))
        return kf_fail(err, KF_E_ARG, "a chunk has %u KiB to %u MiB", KF_CHUNK_MIN >> 10,
                       KF_CHUNK_MAX >> 20);
    for (size_t i = 0; i < opts->annotation_count; i++)
        if (kf_out_annotation_check(opts->annotations[i], err) != 0)
            return -1;
    for (size_t i = 0; i < packing->plan.entry_count; i++)
        if (opts->model_pack && packing->plan.entries[i].kind == KF_ENTRY_MCP)
            return kf_fail(err, KF_E_ARG, "ModelPack has no place for MCP servers ('%s')",
                           packing->plan.entries[i].clean);
    return 0;
}

/* ---- which files, which carrier ---- */

static bool is_single_file(const struct kf_scan *scan, const char *path)
{
    const struct kf_pack_entry *last =
        scan->count ? &scan->entries[scan->count - 1] : NULL;

    return last && !last->is_dir && strcmp(last->name, path) == 0;
}

/* A raw blob is one file, and never empty: kit hangs on those. */
static enum kf_toc_carrier carrier_for(const struct kf_packing *packing,
                                       const struct kf_packing_layer *layer)
{
    const struct kf_plan_entry *entry = &packing->plan.entries[layer->entry];
    bool raw = packing->opts->raw || entry->kind == KF_ENTRY_MCP;

    if (raw && is_single_file(&layer->scan, entry->clean) && layer->scan.bytes > 0)
        return KF_CARRIER_RAW;
    return packing->opts->compress && !packing->opts->raw ? KF_CARRIER_TAR_ZSTD
                                                          : KF_CARRIER_TAR;
}

void kf_packing_warn_of_tar(const struct kf_packing *packing, size_t entry,
                            const char *why)
{
    char line[512];

    (void)snprintf(line, sizeof(line), "'%s' is packed as tar: %s",
                   packing->plan.entries[entry].clean, why); /* cut is fine */
    warn(packing, line);
}

/* What the chosen forms mean for others. */
static void warn_of_carriers(const struct kf_packing *packing)
{
    bool is_compressed = false;

    for (size_t i = 0; i < packing->layer_count; i++) {
        const struct kf_packing_layer *layer = &packing->layers[i];

        is_compressed |= layer->carrier == KF_CARRIER_TAR_ZSTD;
        if (packing->opts->raw && !packing->opts->model_pack &&
            layer->carrier == KF_CARRIER_TAR)
            kf_packing_warn_of_tar(packing, layer->entry,
                                   "raw is for a file with content");
    }
    if (is_compressed)
        warn(packing,
             "kit before 1.15 cannot read compressed layers of this form; for it "
             "pack with --compression none");
}

static int check_mcp(const struct kf_packing *packing,
                     const struct kf_packing_layer *layer, struct kf_err *err)
{
    const char *path = packing->plan.entries[layer->entry].clean;

    if (layer->carrier != KF_CARRIER_RAW)
        return kf_fail(err, KF_E_ARG, "MCP server '%s' is not a file with content", path);
    return kf_mcpb_check(packing->context_fd, path, err);
}

static int scan_layers(struct kf_packing *packing, struct kf_err *err)
{
    struct stat output;
    bool has_output = packing->opts->output && stat(packing->opts->output, &output) == 0;
    struct kf_scan_opts opts = {.context_fd = packing->context_fd,
                                .plan = &packing->plan,
                                .ignore = &packing->ignore,
                                .parents = &packing->parents,
                                .output = has_output ? &output : NULL,
                                .warn = packing->opts->warn,
                                .arg = packing->opts->arg};

    packing->layers = calloc(packing->plan.entry_count + 1, sizeof(*packing->layers));
    packing->out = calloc(packing->plan.entry_count + 1, sizeof(*packing->out));
    if (!packing->layers || !packing->out)
        return no_memory(err);
    for (size_t i = 0; i < packing->plan.entry_count; i++) {
        const struct kf_plan_entry *entry = &packing->plan.entries[i];
        struct kf_packing_layer *layer = &packing->layers[packing->layer_count];

        if (entry->is_reference)
            continue;
        if (kf_scan_entry(&layer->scan, &opts, i, err) != 0)
            return -1;
        packing->layer_count++;
        layer->entry = i;
        layer->carrier = carrier_for(packing, layer);
        if (entry->kind == KF_ENTRY_MCP && check_mcp(packing, layer, err) != 0)
            return -1;
        packing->total += layer->scan.bytes;
    }
    warn_of_carriers(packing);
    return 0;
}

/* ---- config and manifest ---- */

static int put_bytes(struct kf_packing *packing, const struct kf_buf *bytes,
                     struct kf_digest *ret_digest, struct kf_err *err)
{
    packing->put_bytes += bytes->length;
    if (kf_digest_of(ret_digest, bytes->data, bytes->length, err) != 0)
        return -1;
    return kf_dest_put(packing->dest, bytes->data, bytes->length, ret_digest, err);
}

static int put_manifest(struct kf_packing *packing, const struct kf_buf *kitfile,
                        const struct kf_buf *config, struct kf_digest *ret,
                        struct kf_err *err)
{
    const struct kf_pack_opts *opts = packing->opts;
    struct kf_out_manifest manifest = {
        .model_pack = opts->model_pack,
        .config_size = config->length,
        .layers = packing->out,
        .layer_count = packing->out_count,
        .version = opts->version,
        .kitfile = opts->model_pack ? (const char *)kitfile->data : NULL,
        .created = packing->created[0] ? packing->created : NULL,
        .annotations = opts->annotations,
        .annotation_count = opts->annotation_count,
    };
    struct kf_buf json;
    int rc;

    kf_buf_init(&json, KF_MANIFEST_LIMIT);
    rc = put_bytes(packing, config, &manifest.config_digest, err);
    if (rc == 0)
        rc = kf_out_manifest(&manifest, &json, err);
    if (rc == 0)
        rc = kf_digest_of(ret, json.data, json.length, err);
    if (rc == 0)
        rc = kf_dest_manifest(
            packing->dest,
            &(struct kf_dest_manifest){.json = json.data,
                                       .length = json.length,
                                       .digest = ret,
                                       .artifact_type = opts->model_pack
                                                            ? KF_MEDIA_MODELPACK_ARTIFACT
                                                            : KF_MEDIA_MODELKIT_ARTIFACT},
            err);
    packing->put_bytes += json.length;
    kf_buf_fini(&json);
    return rc;
}

static int finish(struct kf_packing *packing, struct kf_digest *ret, struct kf_err *err)
{
    const char *created = packing->created[0] ? packing->created : NULL;
    struct kf_buf kitfile, config;
    int rc = 0;

    kf_buf_init(&kitfile, KF_KITFILE_LIMIT);
    kf_buf_init(&config, KF_KITFILE_LIMIT);
    for (size_t i = 0; rc == 0 && i < packing->layer_count; i++)
        rc = kf_kitfile_plan_set(&packing->plan, packing->layers[i].entry,
                                 &packing->layers[i].written.digest,
                                 &packing->layers[i].written.diff_id, err);
    if (rc == 0)
        rc = kf_kitfile_plan_json(&packing->plan, &kitfile, err);
    if (rc == 0 && packing->opts->model_pack)
        rc = kf_out_model_config(&packing->plan, packing->out, packing->layer_count,
                                 created, &config, err);
    if (rc == 0)
        rc = put_manifest(packing, &kitfile,
                          packing->opts->model_pack ? &config : &kitfile, ret, err);
    kf_buf_fini(&kitfile);
    kf_buf_fini(&config);
    return rc;
}

/* ---- all of it ---- */

static int summarize(const struct kf_packing *packing, struct kf_packed *ret,
                     struct kf_err *err)
{
    ret->layers = calloc(packing->layer_count + 1, sizeof(*ret->layers));
    if (!ret->layers)
        return no_memory(err);
    ret->size = packing->put_bytes;
    for (size_t i = 0; i < packing->layer_count; i++) {
        const struct kf_packing_layer *layer = &packing->layers[i];
        const struct kf_plan_entry *entry = &packing->plan.entries[layer->entry];
        struct kf_packed_layer *to = &ret->layers[ret->layer_count++];

        *to = (struct kf_packed_layer){.kind = kf_packing_kind(entry->kind),
                                       .path = strdup(entry->clean),
                                       .chunks = layer->written.chunk_count,
                                       .stored_chunks = layer->written.stored_chunks,
                                       .bytes = layer->scan.bytes,
                                       .size = layer->written.size,
                                       .digest = layer->written.digest};
        if (!to->path)
            return no_memory(err);
        for (uint32_t k = 0; k < layer->scan.count; k++)
            to->files += !layer->scan.entries[k].is_dir;
    }
    for (size_t i = 0; i < packing->out_count; i++)
        ret->size += packing->out[i].size;
    return 0;
}

static int prepare(struct kf_packing *packing, struct kf_err *err)
{
    bool set;

    packing->context_fd =
        open(packing->opts->context, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (packing->context_fd < 0)
        return kf_fail_errno(err, "cannot open folder '%s'", packing->opts->context);
    if (kf_out_created(packing->created, &set, err) != 0)
        return -1;
    if (!set)
        packing->created[0] = '\0';
    if (load_plan(packing, err) != 0 || check_options(packing, err) != 0 ||
        load_ignore(packing, err) != 0 ||
        kf_parents_find(&packing->parents, &packing->plan, packing->opts->parents,
                        packing->opts->name, err) != 0)
        return -1;
    return scan_layers(packing, err);
}

struct kf_packing *kf_pack_prepare(const struct kf_pack_opts *opts, struct kf_err *err)
{
    struct kf_packing *packing = calloc(1, sizeof(*packing));
    struct kf_err own_err;

    if (!packing) {
        (void)no_memory(err); /* NULL says it */
        return NULL;
    }
    packing->opts = opts;
    packing->context_fd = -1;
    (void)pthread_mutex_init(&packing->lock, NULL); /* default attributes: cannot fail */
    if (prepare(packing, err ? err : &own_err) == 0)
        return packing;
    kf_packing_free(packing);
    return NULL;
}

void kf_packing_free(struct kf_packing *packing)
{
    if (!packing)
        return;
    packing_fini(packing);
    free(packing);
}

int kf_pack(struct kf_packed *ret, struct kf_packing *packing, struct kf_dest *dest,
            struct kf_err *err)
{
    struct kf_err own_err;
    int rc = 0;

    if (!err)
        err = &own_err; /* what went wrong decides here what is tried */
    packing->dest = dest;
    memset(ret, 0, sizeof(*ret));
    if (kf_packing_write_layers(packing, err) != 0 ||
        kf_packing_describe(packing, err) != 0 ||
        finish(packing, &ret->digest, err) != 0 || summarize(packing, ret, err) != 0)
        rc = -1;
    kf_dest_stop_when(dest, NULL, NULL); /* what it asked is gone soon */
    if (rc != 0)
        kf_packed_fini(ret);
    return rc;
}

void kf_packed_fini(struct kf_packed *packed)
{
    for (size_t i = 0; i < packed->layer_count; i++)
        free(packed->layers[i].path);
    free(packed->layers);
    memset(packed, 0, sizeof(*packed));
}
