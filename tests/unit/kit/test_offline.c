#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "cache/store.h"
#include "kit/open.h"
#include "kit_world.h"
#include "layer/table.h"
#include "layout_maker.h"

#define CACHED_REF "registry.example.com/team/kit:v1"

struct cached {
    struct world world;
    char folder[64];
    struct kf_store *store;
    struct kf_digest layer;
};

static void save_text(struct cached *cached, enum kf_small kind,
                      const struct kf_digest *key, const char *text, size_t length)
{
    cr_assert_eq(kf_store_save(cached->store, kind, key, text, length, NULL), 0);
}

/* A file of the layout into the store, by its digest. */
static void save_blob(struct cached *cached, const char *desc)
{
    struct kf_digest digest = digest_in(desc);
    char path[256], hex[65], bytes[4096];
    FILE *file;
    size_t length;

    (void)snprintf(path, sizeof(path), "%s/blobs/sha256/%s", cached->world.layout.dir,
                   kf_digest_hex(&digest, hex));
    file = fopen(path, "rb");
    cr_assert_not_null(file);
    length = fread(bytes, 1, sizeof(bytes), file);
    (void)fclose(file);
    save_text(cached, KF_SMALL_BLOB, &digest, bytes, length);
}

/* The cache as a mount of CACHED_REF leaves it, but for what `leave_out` names. */
static void begin_cached(struct cached *cached, const char *leave_out)
{
    struct kf_store_opts opts = {.path = cached->folder};
    struct layout *layout = &cached->world.layout;
    const char *layer, *config, *manifest;
    char layers[512], text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest key, digest;

    memset(cached, 0, sizeof(*cached));
    world_begin(&cached->world);
    (void)snprintf(cached->folder, sizeof(cached->folder), "/tmp/kf-cache-XXXXXX");
    cr_assert_not_null(mkdtemp(cached->folder));
    cr_assert_eq(kf_store_open(&cached->store, &opts, NULL), 0);

    layer = layout_file_layer(layout, TAR_TYPE("model"), "a", "content");
    cached->layer = digest_in(layer);
    config = layout_config(layout, layer, "");
    (void)snprintf(layers, sizeof(layers), "[%s]", layer);
    manifest = layout_manifest(layout, NULL, config, layers, "");
    digest = digest_in(manifest);
    cr_assert_eq(kf_digest_of(&key, CACHED_REF, strlen(CACHED_REF), NULL), 0);
    (void)kf_digest_format(&digest, text);
    if (strcmp(leave_out, "tag") != 0)
        save_text(cached, KF_SMALL_TAG, &key, text, strlen(text));
    if (strcmp(leave_out, "manifest") != 0)
        save_blob(cached, manifest);
    if (strcmp(leave_out, "config") != 0)
        save_blob(cached, config);
    if (strcmp(leave_out, "table") != 0) {
        struct kf_table table = {.stream_size = 2048};
        struct kf_table_entry entry = {.offset = 512, .size = 7, .mode = 0644};
        struct kf_buf bytes;

        kf_buf_init(&bytes, 4096);
        cr_assert_eq(kf_table_add(&table, &entry, "a", 1, NULL), 0);
        cr_assert_eq(kf_table_encode(&table, &bytes, NULL), 0);
        save_text(cached, KF_SMALL_TABLE, &cached->layer, (const char *)bytes.data,
                  bytes.length);
        kf_buf_fini(&bytes);
        kf_table_fini(&table);
    }
}

static void end_cached(struct cached *cached)
{
    world_end(&cached->world);
    kf_store_close(cached->store, kf_deadline_ns(10 * KF_NS_PER_S));
    remove_folder(cached->folder);
}

static int open_offline(struct cached *cached, const char *ref)
{
    struct kf_kit_opts opts = {.ref = ref,
                               .workq = cached->world.workq,
                               .store = cached->store,
                               .offline = true};

    return kf_kit_open(&cached->world.kit, &opts, &cached->world.err);
}

Test(offline, opens_from_the_cache_and_fails_reads_in_words)
{
    struct cached cached;
    struct collect collect = {0};

    begin_cached(&cached, "nothing");
    cr_assert_eq(open_offline(&cached, CACHED_REF), 0, "%s", cached.world.err.message);
    cr_assert_str_eq(kf_kit_origin(cached.world.kit), "the cache");
    cr_assert_eq(kf_kit_tree(cached.world.kit)->count, 3);
    cr_assert_eq(kf_kit_copy(cached.world.kit, FILE_NODE, 0, 7, collect_take, &collect,
                             &cached.world.err),
                 -1);
    cr_assert_eq(cached.world.err.kind, KF_E_UNREACHABLE, "%s", cached.world.err.message);
    cr_assert_not_null(strstr(cached.world.err.message, "offline"));
    end_cached(&cached);
}

Test(offline, what_is_missing_is_named)
{
    static const struct {
        const char *part;
        enum kf_err_kind kind;
        const char *words;
    } parts[] = {
        {"tag", KF_E_NOTFOUND, "manifest 'v1' is not in the cache"},
        {"manifest", KF_E_NOTFOUND, "manifest 'v1' is not in the cache"},
        {"config", KF_E_NOTFOUND, "config 'sha256:"},
        {"table", KF_E_UNREACHABLE, "offline"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(parts); i++) {
        struct cached cached;

        begin_cached(&cached, parts[i].part);
        cr_assert_eq(open_offline(&cached, CACHED_REF), -1, "%s", parts[i].part);
        cr_assert_eq(cached.world.err.kind, parts[i].kind, "%s",
                     cached.world.err.message);
        cr_assert_not_null(strstr(cached.world.err.message, parts[i].words), "%s",
                           cached.world.err.message);
        end_cached(&cached);
    }
}

Test(offline, another_tag_is_another_kit)
{
    struct cached cached;

    begin_cached(&cached, "nothing");
    cr_assert_eq(open_offline(&cached, "registry.example.com/team/kit:v2"), -1);
    cr_assert_eq(open_offline(&cached, "registry.example.com/other/kit:v1"), -1);
    cr_assert_eq(cached.world.err.kind, KF_E_NOTFOUND);
    cr_assert_eq(open_offline(&cached, "registry.example.com/team/kit"), -1);
    cr_assert_eq(cached.world.err.kind, KF_E_ARG);
    end_cached(&cached);
}

/* A layout is local: it needs no cache. */
Test(offline, layout)
{
    struct world world;
    struct kf_kit_opts opts = {.offline = true};

    world_begin(&world);
    layout_tag(&world.layout, layout_simple_kit(&world.layout, "one"));
    opts.ref = world.layout.ref;
    opts.workq = world.workq;
    cr_assert_eq(kf_kit_open(&world.kit, &opts, &world.err), 0, "%s", world.err.message);
    world_expect_copy(&world, (const uint8_t *)"one", 0, 3);
    world_end(&world);
}
