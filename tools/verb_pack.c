#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/workq.h"
#include "kit/verify.h"
#include "oci/dest.h"
#include "opened.h"
#include "options.h"
#include "pack/pack.h"
#include "progress.h"
#include "verbs.h"

#define PACK_TIMEOUT (60 * KF_NS_PER_S)
#define LEVEL_LIMIT 19u
#define CHUNK_LEAST ((uint64_t)64 << 10)
#define CHUNK_LIMIT ((uint64_t)16 << 20)
#define INTERRUPTED 130
#define CHECKED_LAYER (UINT64_C(1) << 30) /* docs/formats/layer.md section 7, rule 5 */

static int interrupted; /* atomic */

struct packer {
    const struct kf_options *options;
    struct kf_progress progress;
    int64_t packed_ns; /* when all was written */
};

static void on_signal(int number)
{
    (void)number;
    __atomic_store_n(&interrupted, 1, __ATOMIC_RELAXED);
}

/* What was begun is taken back; a second signal ends us at once. A file that may not grow
 * is an error like others. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    (void)sigaction(SIGINT, &action, NULL); /* these cannot fail */
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGXFSZ, SIG_IGN);
}

static bool is_stopped(void *arg)
{
    (void)arg;
    return __atomic_load_n(&interrupted, __ATOMIC_RELAXED) != 0;
}

static void warn(void *arg, const char *line)
{
    struct packer *packer = arg;

    if (packer->options->quiet)
        return;
    kf_progress_clear(&packer->progress);
    fprintf(stderr, "[WARN ] %s\n", line);
}

static void show(void *arg, const char *path, uint64_t done, uint64_t total)
{
    struct packer *packer = arg;

    kf_progress_show(&packer->progress, path, done, total);
}

/* ---- from options ---- */

static bool is(const char *value, const char *word)
{
    return value && strcmp(value, word) == 0;
}

static int pack_options(struct kf_pack_opts *ret, const struct kf_options *options,
                        struct packer *packer, struct kf_err *err)
{
    bool raw = options->layer_format ? is(options->layer_format, "raw")
                                     : options->use_model_pack;

    if (raw && is(options->compression, "zstd"))
        return kf_fail(err, KF_E_ARG,
                       "raw layers are not compressed: leave out "
                       "--compression zstd, or choose --layer-format tar");
    if (options->level > LEVEL_LIMIT)
        return kf_fail(err, KF_E_ARG, "--level goes from 1 to %u", LEVEL_LIMIT);
    if (options->chunk_size != 0 &&
        (options->chunk_size < CHUNK_LEAST || options->chunk_size > CHUNK_LIMIT))
        return kf_fail(err, KF_E_ARG, "--chunk-size goes from 64K to 16M");
    *ret = (struct kf_pack_opts){
        .context = options->args[0],
        .kitfile = options->file,
        .compress = !raw && !is(options->compression, "none"),
        .raw = raw,
        .model_pack = options->use_model_pack,
        .no_toc = is(options->toc, "none"),
        .no_seek_table = options->no_seek_table,
        .level = (int)options->level,
        .chunk_size = (uint32_t)options->chunk_size,
        .threads = options->threads,
        .annotations = (const char *const *)options->annotations.items,
        .annotation_count = options->annotations.count,
        .version = "kitfs-" KF_VERSION,
        .warn = warn,
        .progress = show,
        .stopped = is_stopped,
        .arg = packer,
    };
    return 0;
}

static int parse_tag(struct kf_ref *ret, const struct kf_options *options,
                     struct kf_err *err)
{
    kf_auto(kf_free) char *text = NULL;

    if (!options->tag)
        return kf_fail(err, KF_E_ARG, "name where the kit goes with --tag (-t)");
    text = kf_ref_with_tag(options->tag, options->quiet, err);
    if (!text || kf_ref_parse(ret, text, err) != 0)
        return -1;
    if (options->push && ret->where == KF_REF_LAYOUT) {
        kf_ref_fini(ret);
        return kf_fail(err, KF_E_ARG, "--push goes to a registry, and '%s' is a folder",
                       options->tag);
    }
    if (options->push)
        ret->where = KF_REF_REGISTRY;
    return 0;
}

/* ---- results ---- */

static void print_layer(const struct kf_packed_layer *layer)
{
    char bytes[32], size[32];

    printf("%-9s %-28s %8llu files %11s -> %-11s %8llu chunks, %llu not compressed\n",
           layer->kind, layer->path, (unsigned long long)layer->files,
           kf_format_size(layer->bytes, bytes), kf_format_size(layer->size, size),
           (unsigned long long)layer->chunks, (unsigned long long)layer->stored_chunks);
}

static void print_summary(const struct kf_packed *packed, const struct packer *packer)
{
    char digest[KF_DIGEST_TEXT_SIZE], rate[40], text[32];
    uint64_t bytes = 0;

    (void)kf_digest_format(&packed->digest, digest);
    if (packer->options->quiet) {
        printf("%s\n", digest);
        return;
    }
    for (size_t i = 0; i < packed->layer_count; i++) {
        print_layer(&packed->layers[i]);
        bytes += packed->layers[i].bytes;
    }
    printf("Packed %s in %s", packer->options->args[0], kf_format_size(bytes, text));
    printf(" -> %s", kf_format_size(packed->size, text));
    if (bytes > 0)
        printf(" (%.2f), %s", (double)packed->size / (double)bytes,
               kf_progress_rate(&packer->progress, packer->packed_ns, bytes, rate));
    printf("\n%s\n", digest);
}

static json_t *layers_as_json(const struct kf_packed *packed)
{
    json_t *layers = json_array();
    char digest[KF_DIGEST_TEXT_SIZE];

    for (size_t i = 0; layers && i < packed->layer_count; i++) {
        const struct kf_packed_layer *layer = &packed->layers[i];
        json_t *item = json_pack(
            "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "kind", layer->kind, "path",
            layer->path, "digest", kf_digest_format(&layer->digest, digest), "size",
            (json_int_t)layer->size, "bytes", (json_int_t)layer->bytes, "files",
            (json_int_t)layer->files, "chunks", (json_int_t)layer->chunks,
            "chunksNotCompressed", (json_int_t)layer->stored_chunks);

        if (!item || json_array_append_new(layers, item) != 0) {
            json_decref(layers);
            layers = NULL;
        }
    }
    return layers;
}

static int write_metadata(const struct kf_packed *packed, const struct kf_ref *ref,
                          const char *path, struct kf_err *err)
{
    kf_auto(kf_free) char *name = kf_ref_format(ref);
    char digest[KF_DIGEST_TEXT_SIZE];
    json_t *root = json_pack("{s:s, s:s, s:I, s:o}", "reference", name ? name : "",
                             "digest", kf_digest_format(&packed->digest, digest), "size",
                             (json_int_t)packed->size, "layers", layers_as_json(packed));
    int rc = root ? json_dump_file(root, path, JSON_INDENT(2)) : -1;

    json_decref(root);
    return rc == 0 ? 0 : kf_fail(err, KF_E_IO, "cannot write '%s'", path);
}

/* ---- reading back ---- */

static void on_problem(void *arg, const char *blob, const char *line)
{
    struct packer *packer = arg;

    kf_progress_clear(&packer->progress);
    fprintf(stderr, "[ERROR] %s: %s\n", blob, line);
}

/* What was put there, by its digest: a tag may have moved since. */
static int check_written(const struct kf_packed *packed, const struct kf_ref *ref,
                         struct packer *packer, struct kf_err *err)
{
    const struct kf_options *options = packer->options;
    struct kf_kit_verify_opts opts = {
        .timeout_ns = options->read_timeout_ns,
        .layer_limit = is(options->check, "always") ? 0 : CHECKED_LAYER,
        .problem = on_problem,
        .progress = show,
        .arg = packer};
    char digest[KF_DIGEST_TEXT_SIZE];
    kf_auto(kf_free) char *name = kf_ref_format_name(ref), *text = NULL;
    struct kf_options reading = *options;
    struct kf_opened opened;
    uint64_t problems;

    if (!name ||
        asprintf(&text, "%s@%s", name, kf_digest_format(&packed->digest, digest)) < 0) {
        text = NULL;
        return kf_fail(err, KF_E_NOMEM, "no memory to check what was packed");
    }
    reading.args[0] = text;
    reading.alone = true; /* others were not packed */
    if (kf_opened_open_uncached(&opened, &reading, err) != 0) {
        /* What others read, and we do not, was asked for: --toc none. */
        if (err->kind == KF_E_UNSUPPORTED && is(options->check, "auto"))
            return 0;
        return kf_fail_wrap(err, "what was packed cannot be read back");
    }
    problems = kf_kit_verify(opened.kit, &opts);
    kf_opened_close(&opened);
    return problems == 0 ? 0
                         : kf_fail(err, KF_E_CORRUPT,
                                   "what was packed is not what its digests say");
}

static bool is_checked(const struct kf_options *options, const struct kf_ref *ref)
{
    if (is(options->check, "always"))
        return true;
    return is(options->check, "auto") && ref->where == KF_REF_LAYOUT;
}

/* ---- all of it ---- */

static int pack_to(struct kf_packed *ret, const struct kf_ref *ref, struct packer *packer,
                   struct kf_err *err)
{
    const struct kf_options *options = packer->options;
    struct kf_origin_opts opts = {.timeout_ns = PACK_TIMEOUT};
    struct kf_ref plain = *ref; /* as others refer to it */
    kf_auto(kf_free) char *name = NULL;
    struct kf_packing *packing = NULL;
    struct kf_dest *dest = NULL;
    struct kf_pack_opts pack;
    int rc;

    if (pack_options(&pack, options, packer, err) != 0)
        return -1;
    pack.output = ref->where == KF_REF_LAYOUT ? ref->dir : NULL;
    if (ref->where != KF_REF_LAYOUT)
        plain.where = KF_REF_ANY;
    name = kf_ref_format(&plain);
    pack.parents = &opts;
    pack.name = name;
    kf_net_from_options(&opts.net, options);
    opts.workq = kf_workq_new(2, err);
    if (opts.workq)
        packing = kf_pack_prepare(&pack, err);
    rc = packing ? kf_dest_open(&dest, ref, &opts, err) : -1;
    if (rc == 0)
        rc = kf_pack(ret, packing, dest, err);
    kf_packing_free(packing);
    kf_dest_close(dest);
    kf_workq_free(opts.workq);
    return rc;
}

int kf_verb_pack(const struct kf_options *options)
{
    struct packer packer = {.options = options};
    struct kf_packed packed = {0};
    struct kf_err err = {0};
    struct kf_ref ref;
    int rc;

    if (parse_tag(&ref, options, &err) != 0)
        return kf_report("pack", options->args[0], &err);
    catch_signals();
    kf_progress_init(&packer.progress, options);
    rc = pack_to(&packed, &ref, &packer, &err);
    packer.packed_ns = kf_now_ns();
    if (rc == 0 && is_checked(options, &ref))
        rc = check_written(&packed, &ref, &packer, &err);
    kf_progress_clear(&packer.progress);
    if (rc == 0)
        print_summary(&packed, &packer);
    if (rc == 0 && options->metadata_file)
        rc = write_metadata(&packed, &ref, options->metadata_file, &err);
    kf_packed_fini(&packed);
    kf_ref_fini(&ref);
    if (rc == 0)
        return 0;
    (void)kf_report("pack", options->args[0], &err);
    return is_stopped(NULL) ? INTERRUPTED : kf_err_exit_code(&err);
}
