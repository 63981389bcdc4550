/* What `kitfs verify` finds wrong with diffIds, and with what it does not. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "kit/verify.h"
#include "kit_world.h"
#include "oci/media.h"

#define OTHER                                                           \
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789" \
    "abcdef"

struct problems {
    unsigned count;
    char last[600];
};

static void on_problem(void *arg, const char *blob, const char *line)
{
    struct problems *problems = arg;

    problems->count++;
    (void)snprintf(problems->last, sizeof(problems->last), "%s: %s", blob, line);
}

/* Opens what is tagged, and says how much is wrong with it. */
static struct problems verify(struct world *world)
{
    struct problems problems = {0};
    const struct kf_kit_verify_opts opts = {
        .timeout_ns = 10 * KF_NS_PER_S, .problem = on_problem, .arg = &problems};

    world_expect_open(world);
    cr_assert_eq(kf_kit_verify(world->kit, &opts), problems.count);
    return problems;
}

/* A ModelKit whose Kitfile says that diffId. */
static struct problems verify_kit(const char *diff_id)
{
    struct problems problems;
    struct world world;
    const char *layer, *config;
    char text[1024], layers[512], digest[KF_DIGEST_TEXT_SIZE];
    struct kf_digest right;

    world_begin(&world);
    layer = layout_file_layer(&world.layout, TAR_TYPE("model"), "a", "content");
    right = digest_in(layer);
    (void)kf_digest_format(&right, digest);
    (void)snprintf(text, sizeof(text),
                   "{\"package\":{},\"model\":{\"path\":\"a\",\"digest\":\"%s\","
                   "\"diffId\":\"%s\"}}",
                   digest, diff_id ? diff_id : digest);
    config = layout_text(&world.layout, KF_MEDIA_MODELKIT_CONFIG, text);
    (void)snprintf(layers, sizeof(layers), "[%s]", layer);
    layout_tag(&world.layout, layout_manifest(&world.layout, KF_MEDIA_MODELKIT_ARTIFACT,
                                              config, layers, ""));
    problems = verify(&world);
    world_end(&world);
    return problems;
}

Test(kit_verify, diff_ids_of_the_kitfile)
{
    struct problems problems = verify_kit(NULL);

    cr_assert_eq(problems.count, 0, "%s", problems.last);
    problems = verify_kit(OTHER);
    cr_assert_eq(problems.count, 1);
    cr_assert_not_null(strstr(problems.last, "the Kitfile says another"), "%s",
                       problems.last);
}

/* A ModelPack without a Kitfile; %s of its config is the right diffId, and %2$s the
 * digest of that text. */
static struct problems verify_pack(const char *config_format)
{
    struct problems problems;
    struct world world;
    const char *layer, *config;
    char text[1024], layers[512], digest[KF_DIGEST_TEXT_SIZE],
        of_text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest right, wrong;

    world_begin(&world);
    layer = layout_file_layer(&world.layout, PACK_TYPE("weight"), "a", "content");
    right = digest_in(layer);
    (void)kf_digest_format(&right, digest);
    cr_assert_eq(kf_digest_of(&wrong, digest, strlen(digest), NULL), 0);
    (void)kf_digest_format(&wrong, of_text);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(text, sizeof(text), config_format, digest, of_text);
#pragma GCC diagnostic pop
    config = layout_text(&world.layout, KF_MEDIA_MODELPACK_CONFIG, text);
    (void)snprintf(layers, sizeof(layers), "[%s]", layer);
    layout_tag(&world.layout, layout_manifest(&world.layout, KF_MEDIA_MODELPACK_ARTIFACT,
                                              config, layers, ""));
    problems = verify(&world);
    world_end(&world);
    return problems;
}

#define IDS(list) "{\"modelfs\":{\"type\":\"layers\",\"diffIds\":[" list "]}}"

Test(kit_verify, diff_ids_of_a_model_pack)
{
    static const char *const right[] = {
        IDS("\"%1$s\""),
        IDS("\"%2$s\""), /* as kit 1.10 and 1.11 wrote them */
        "{\"descriptor\":{}}",
    };
    static const struct {
        const char *config;
        const char *words;
    } wrong[] = {
        {IDS("\"" OTHER "\""), "the config says another"},
        {IDS("\"%1$s\",\"%1$s\""), "2 diffIds for 1 layers"},
        {IDS("\"sha256:1\""), "diffId 0"},
        {IDS("7"), "diffId 0"},
        {"{\"modelfs\":{\"diffIds\":{}}}", "no list"},
        {"[]", "not an object"},
    };

    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        struct problems problems = verify_pack(right[i]);

        cr_assert_eq(problems.count, 0, "%s: %s", right[i], problems.last);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct problems problems = verify_pack(wrong[i].config);

        cr_assert_eq(problems.count, 1, "%s", wrong[i].config);
        cr_assert_not_null(strstr(problems.last, wrong[i].words), "%s", problems.last);
    }
}

Test(kit_verify, a_config_that_is_not_there)
{
    struct problems problems;
    struct world world;
    const char *layer;
    char layers[512], path[256];

    world_begin(&world);
    layer = layout_file_layer(&world.layout, PACK_TYPE("weight"), "a", "content");
    (void)snprintf(layers, sizeof(layers), "[%s]", layer);
    layout_tag(
        &world.layout,
        layout_manifest(&world.layout, KF_MEDIA_MODELPACK_ARTIFACT,
                        layout_text(&world.layout, KF_MEDIA_MODELPACK_CONFIG, "{}"),
                        layers, ""));
    (void)snprintf(
        path, sizeof(path),
        "%s/blobs/sha256/44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f6"
        "1caaff8a",
        world.layout.dir);
    cr_assert_eq(remove(path), 0);
    problems = verify(&world);
    cr_assert_eq(problems.count, 1);
    cr_assert_eq(strncmp(problems.last, "config: ", 8), 0, "%s", problems.last);
    world_end(&world);
}
