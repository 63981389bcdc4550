#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "oci/ref.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define AT "@sha256:" HEX

static struct kf_ref ref;
static struct kf_err err;

static int parse(const char *text)
{
    memset(&ref, 0x5a, sizeof(ref)); /* what is not set shows */
    kf_err_clear(&err);
    return kf_ref_parse(&ref, text, &err);
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static const struct {
    const char *text;
    enum kf_ref_where where;
    const char *registry, *repository, *tag;
    bool has_digest;
    const char *formatted; /* NULL: as `text` */
} names[] = {
    {"registry.example/acme/llama3:8B", KF_REF_ANY, "registry.example", "acme/llama3",
     "8B", false, NULL},
    {"localhost:5000/x", KF_REF_ANY, "localhost:5000", "x", NULL, false, NULL},
    {"127.0.0.1:5000/a/b/c:v1", KF_REF_ANY, "127.0.0.1:5000", "a/b/c", "v1", false, NULL},
    {"[::1]:5000/x:v1", KF_REF_ANY, "[::1]:5000", "x", "v1", false, NULL},
    {"Registry.Example/x", KF_REF_ANY, "Registry.Example", "x", NULL, false, NULL},
    /* Neither a dot nor a colon: the local store. */
    {"org/repo:v1", KF_REF_ANY, "localhost", "org/repo", "v1", false, NULL},
    {"repo", KF_REF_ANY, "localhost", "repo", NULL, false, NULL},
    {"repo:8b", KF_REF_ANY, "localhost", "repo", "8b", false, NULL},
    {"repo" AT, KF_REF_ANY, "localhost", "repo", NULL, true, NULL},
    {"a.b:c", KF_REF_ANY, "localhost", "a.b", "c", false, NULL},
    {"localhost/x:y", KF_REF_ANY, "localhost", "localhost/x", "y", false, NULL},
    {"sha256:" HEX, KF_REF_ANY, "localhost", "_", NULL, true, NULL},
    {"store:sha256:" HEX, KF_REF_STORE, "localhost", "_", NULL, true, NULL},
    {"_" AT, KF_REF_ANY, "localhost", "_", NULL, true, "sha256:" HEX},
    {"a.b/c" AT, KF_REF_ANY, "a.b", "c", NULL, true, NULL},
    /* The digest counts. */
    {"a.b/c:v1" AT, KF_REF_ANY, "a.b", "c", "v1", true, "a.b/c" AT},
    /* Docker Hub. */
    {"docker.io/x:1", KF_REF_ANY, "docker.io", "library/x", "1", false,
     "docker.io/library/x:1"},
    {"docker.io/acme/x:1", KF_REF_ANY, "docker.io", "acme/x", "1", false, NULL},
    /* Prefixes. */
    {"oci://a.b/c:v1", KF_REF_REGISTRY, "a.b", "c", "v1", false, NULL},
    {"kit://a.b/c:v1", KF_REF_REGISTRY, "a.b", "c", "v1", false, "oci://a.b/c:v1"},
    {"docker://a.b/c" AT, KF_REF_REGISTRY, "a.b", "c", NULL, true, "oci://a.b/c" AT},
    {"store:org/repo:v1", KF_REF_STORE, "localhost", "org/repo", "v1", false, NULL},
    {"store:a.b/c", KF_REF_STORE, "a.b", "c", NULL, false, NULL},
    /* What a repository and a tag may hold. */
    {"a.b/x.y_z__w--v/0", KF_REF_ANY, "a.b", "x.y_z__w--v/0", NULL, false, NULL},
    {"a.b/c:_A.b-9", KF_REF_ANY, "a.b", "c", "_A.b-9", false, NULL},
};

Test(ref, names)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(names); i++) {
        const char *text = names[i].text;
        kf_auto(kf_free) char *formatted = NULL;

        cr_assert_eq(parse(text), 0, "%s: %s", text, err.message);
        formatted = kf_ref_format(&ref);
        cr_assert_eq(ref.where, names[i].where, "%s", text);
        cr_assert(same(ref.registry, names[i].registry), "%s", text);
        cr_assert(same(ref.repository, names[i].repository), "%s", text);
        cr_assert(same(ref.tag, names[i].tag), "%s", text);
        cr_assert_null(ref.dir);
        cr_assert_eq(ref.has_digest, names[i].has_digest, "%s", text);
        cr_assert_str_eq(formatted, names[i].formatted ? names[i].formatted : text);
        kf_ref_fini(&ref);
    }
}

Test(ref, what_is_formatted_parses_to_the_same)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(names); i++) {
        kf_auto(kf_free) char *once = NULL, *twice = NULL;

        cr_assert_eq(parse(names[i].text), 0);
        once = kf_ref_format(&ref);
        kf_ref_fini(&ref);
        cr_assert_eq(parse(once), 0, "%s: %s", once, err.message);
        twice = kf_ref_format(&ref);
        kf_ref_fini(&ref);
        cr_assert_str_eq(once, twice);
    }
}

Test(ref, layouts)
{
    static const struct {
        const char *text, *dir, *tag;
        bool has_digest;
    } cases[] = {
        {"oci:dir", "dir", NULL, false},
        {"oci:dir:v1", "dir", "v1", false},
        {"oci:./a.b/c:v1", "./a.b/c", "v1", false},
        {"oci:/abs/dir", "/abs/dir", NULL, false},
        {"oci:/abs/dir" AT, "/abs/dir", NULL, true},
        {"oci:/with:colon/dir", "/with:colon/dir", NULL, false},
        {"oci:/with:colon/dir:v1", "/with:colon/dir", "v1", false},
        {"oci:../user@host/x", "../user@host/x", NULL, false},
        {"oci:../user@host/x:v1", "../user@host/x", "v1", false},
        {"oci:dir/", "dir/", NULL, false},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        kf_auto(kf_free) char *formatted = NULL;

        cr_assert_eq(parse(cases[i].text), 0, "%s: %s", cases[i].text, err.message);
        cr_assert_eq(ref.where, KF_REF_LAYOUT);
        cr_assert_str_eq(ref.dir, cases[i].dir);
        cr_assert(same(ref.tag, cases[i].tag), "%s", cases[i].text);
        cr_assert_eq(ref.has_digest, cases[i].has_digest);
        cr_assert_null(ref.registry);
        cr_assert_null(ref.repository);
        formatted = kf_ref_format(&ref);
        cr_assert_str_eq(formatted, cases[i].text);
        kf_ref_fini(&ref);
    }
}

Test(ref, refused_with_the_part_that_is_wrong)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "empty"},
        {"oci:", "empty"},
        {"oci://", "empty"},
        {"store:", "empty"},
        {":", "tag ''"},
        {"a.b/", "repository ''"},
        {"a.b/C:v1", "repository 'C'"},
        {"a.b//c", "repository '/c'"},
        {"a.b/c/", "repository 'c/'"},
        {"a.b/../c", "repository '../c'"},
        {"a.b/c..d", "repository"},
        {"a.b/c___d", "repository"},
        {"a.b/-c", "repository"},
        {"a.b/c-", "repository"},
        {"a.b/c?x=1", "repository"},
        {"a.b/c%2f", "repository"},
        {"a.b/c d", "repository"},
        {"a.b/_:v1", "repository '_'"},
        {"a.b/c:", "tag ''"},
        {"a.b/c:v1/..", "tag 'v1/..'"},
        {"a.b/c:-v", "tag '-v'"},
        {"a.b/c:.v", "tag '.v'"},
        {"a.b/c:v1:v2", "tag 'v1:v2'"},
        {"a.b/c:v1,v2", "one tag"},
        {"a.b/c:v1\n", "tag"},
        {"a.b/c@", "digest"},
        {"a.b/c@sha256:12", "digest"},
        {"a.b/c" AT "0", "digest"},
        {"a.b/c@sha256:" HEX "@sha256:" HEX, "digest"},
        {"a.b/c@md5:00", "digest"},
        {"sha256:12", "digest"},
        {"a.b@c/d:v1", "digest"},
        {"a.b:/c", "registry 'a.b:'"},
        {"a.b:99999999/c", "registry"},
        {"a.b:5000:1/c", "registry"},
        {"u:p@a.b/c", "digest"},
        {"a.b?x/c", "registry"},
        {"[::1/c", "registry"},
        {"[]:1/c", "registry"},
        {"oci:dir:", "tag ''"},
        {"oci::v1", "no folder"},
        {"oci:dir@sha256:12", "digest"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        cr_assert_eq(parse(cases[i].text), -1, "%s", cases[i].text);
        cr_assert_eq(err.kind, KF_E_ARG, "%s: %s", cases[i].text, err.message);
        cr_assert(strstr(err.message, cases[i].part), "%s: %s", cases[i].text,
                  err.message);
    }
    cr_assert_eq(kf_ref_parse(&ref, "a.b/C", NULL), -1, "no record is needed");
}

Test(ref, limits_of_names_and_tags)
{
    char text[600], tag[140];

    memset(tag, 'v', sizeof(tag));
    (void)snprintf(text, sizeof(text), "a.b/c:%.128s", tag);
    cr_assert_eq(parse(text), 0, "%s", err.message);
    kf_ref_fini(&ref);
    (void)snprintf(text, sizeof(text), "a.b/c:%.129s", tag);
    cr_assert_eq(parse(text), -1);

    /* Registry and repository together: 255 bytes. */
    memset(text, 'x', sizeof(text));
    memcpy(text, "a.b/", 4);
    text[256] = '\0';
    cr_assert_eq(parse(text), 0, "%s", err.message);
    cr_assert_eq(strlen(ref.registry) + strlen(ref.repository), 255);
    kf_ref_fini(&ref);
    text[256] = 'x';
    text[257] = '\0';
    cr_assert_eq(parse(text), -1);
    cr_assert(strstr(err.message, "255"), "%s", err.message);
}

Test(ref, the_host_to_contact)
{
    cr_assert_eq(parse("docker.io/acme/x:1"), 0);
    cr_assert_str_eq(kf_ref_api_host(&ref), "registry-1.docker.io");
    kf_ref_fini(&ref);
    cr_assert_eq(parse("ghcr.io/acme/x:1"), 0);
    cr_assert_str_eq(kf_ref_api_host(&ref), "ghcr.io");
    kf_ref_fini(&ref);
}

Test(ref, a_name_is_what_a_digest_can_be_put_behind)
{
    static const struct {
        const char *text, *name;
    } cases[] = {
        {"a.b/c:v1", "a.b/c"},
        {"kit://a.b/c" AT, "oci://a.b/c"},
        {"oci:dir:v1", "oci:dir"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        kf_auto(kf_free) char *name = NULL;

        cr_assert_eq(parse(cases[i].text), 0);
        name = kf_ref_format_name(&ref);
        cr_assert_str_eq(name, cases[i].name);
        kf_ref_fini(&ref);
    }
}

Test(ref, what_a_kit_refers_to)
{
    static const struct {
        const char *text, *formatted;
    } cases[] = {
        {"a.b/c:v1", "a.b/c:v1"},
        {"a.b/c:v1,v2,v3", "a.b/c:v1"},
        {"a.b/c:v1" AT, "a.b/c" AT},
        {"sha256:" HEX, "sha256:" HEX},
        /* Repositories, not prefixes. */
        {"oci:dir", "store:oci:dir"},
        {"store:v1", "store:store:v1"},
    };
    static const char *const refused[] = {"oci://a.b/c:v1", "oci:../dir", "oci:dir:v1",
                                          "", ",v1"};

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        kf_auto(kf_free) char *text = NULL;

        memset(&ref, 0x5a, sizeof(ref));
        cr_assert_eq(kf_ref_parse_plain(&ref, cases[i].text, &err), 0, "%s", err.message);
        cr_assert_eq(ref.where, KF_REF_ANY);
        text = kf_ref_format(&ref);
        cr_assert_str_eq(text, cases[i].formatted);
        kf_ref_fini(&ref);
    }
    for (size_t i = 0; i < KF_ARRAY_LEN(refused); i++) {
        cr_assert_eq(kf_ref_parse_plain(&ref, refused[i], &err), -1, "%s", refused[i]);
        cr_assert_eq(err.kind, KF_E_ARG, "%s", err.message);
    }
}
