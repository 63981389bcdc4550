#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "kitfile/kitfile_path.h"

#define SHA256 "sha256:74fe57de5f642b904f00589c094eaf57503b8fc042e844a1dd5c5b3c86551ea0"

/* What Go 1.26's path.Clean gives. */
Test(kitfile_path, clean_as_go)
{
    static const char *const rows[][2] = {
        {"", "."},
        {".", "."},
        {"./", "."},
        {"a", "a"},
        {"a/", "a"},
        {"./a//b/./c/", "a/b/c"},
        {"a/..", "."},
        {"a/../b", "b"},
        {"a/b/..", "a"},
        {"..", ".."},
        {"../", ".."},
        {"../..", "../.."},
        {"../a/..", ".."},
        {"../../a", "../../a"},
        {"a/../../b", "../b"},
        {"/", "/"},
        {"//", "/"},
        {"/..", "/"},
        {"/../a", "/a"},
        {"/a/../..", "/"},
        {"...", "..."},
        {"a..b/..c", "a..b/..c"},
        {"abc/./../def", "def"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        kf_auto(kf_free) char *clean = kf_path_clean(rows[i][0]);

        cr_assert_str_eq(clean, rows[i][1], "'%s' became '%s'", rows[i][0], clean);
    }
}

Test(kitfile_path, kinds)
{
    static const struct {
        const char *path;
        enum kf_path_kind kind;
    } rows[] = {
        {"model.bin", KF_PATH_LOCAL},
        {"./a b/c", KF_PATH_LOCAL},
        {"/abs", KF_PATH_LOCAL},
        {"weights@v2/m.bin", KF_PATH_LOCAL}, /* '@' without a digest */
        {"a b:c", KF_PATH_LOCAL},
        {"A/b:c", KF_PATH_LOCAL},
        {"a/:b", KF_PATH_LOCAL},
        {"a___b:c", KF_PATH_LOCAL},
        {"a/b@sha256:00", KF_PATH_LOCAL},
        {"localhost/parts:v1", KF_PATH_REFERENCE},
        {"parts:v1", KF_PATH_REFERENCE},
        {"dir/a:b.bin", KF_PATH_REFERENCE}, /* so kit reads it */
        {"localhost:5000/a/b", KF_PATH_REFERENCE},
        {"registry.io/a/b@" SHA256, KF_PATH_REFERENCE},
        {"registry.io/a/b:t@" SHA256, KF_PATH_REFERENCE},
        {SHA256, KF_PATH_REFERENCE},
        {"a__b--c.d:e,f", KF_PATH_REFERENCE},
        {"s3://bucket/key", KF_PATH_S3},
        {"S3://bucket/key?versionId=1", KF_PATH_S3},
        {"https://host/x", KF_PATH_URL},
        {"Model:v1.bin", KF_PATH_URL},
        {"//host/x", KF_PATH_URL},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++)
        cr_assert_eq(kf_path_kind(rows[i].path), rows[i].kind, "%s", rows[i].path);
}

Test(kitfile_path, tags_have_at_most_128_characters)
{
    char path[200] = "kit:";

    memset(path + 4, 'a', 128);
    cr_assert_eq(kf_path_kind(path), KF_PATH_REFERENCE);
    path[4 + 128] = 'a';
    cr_assert_eq(kf_path_kind(path), KF_PATH_URL);
}
