#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "oci/file_metadata.h"

static struct kf_err err;

static struct kf_raw_file parsed(const char *json)
{
    struct kf_raw_file file;

    cr_assert_eq(kf_raw_file_parse(&file, json, &err), 0, "%s: %s", json, err.message);
    return file;
}

/* As modctl and kit write it. */
Test(file_metadata, mode_and_time)
{
    struct kf_raw_file file =
        parsed("{\"name\":\"m.gguf\",\"mode\":493,\"uid\":0,\"gid\":0,\"size\":7,"
               "\"mtime\":\"2026-02-25T12:00:00.5+01:00\",\"typeflag\":48}");

    cr_assert_eq(file.mode, 0755);
    cr_assert_eq(file.mtime, 1772017200);
}

Test(file_metadata, what_is_not_said)
{
    cr_assert_eq(parsed(NULL).mode, 0644);
    cr_assert_eq(parsed(NULL).mtime, 0);
    cr_assert_eq(parsed("{}").mode, 0644);
    cr_assert_eq(parsed("{}").mtime, 0);
    cr_assert_eq(parsed("{\"mode\":\"0755\"}").mode, 0644); /* no number */
    cr_assert_eq(parsed("{\"mode\":1.5}").mode, 0644);
    cr_assert_eq(parsed("{\"mtime\":12}").mtime, 0);
    cr_assert_eq(parsed("{\"mtime\":\"yesterday\"}").mtime, 0);
    cr_assert_eq(parsed("{\"mtime\":\"\"}").mtime, 0);
}

/* Of a mode only what a mount shows. */
Test(file_metadata, modes_are_cut)
{
    cr_assert_eq(parsed("{\"mode\":0}").mode, 0);
    cr_assert_eq(parsed("{\"mode\":33261}").mode, 0755);
    cr_assert_eq(parsed("{\"mode\":4095}").mode, 0777);
    cr_assert_eq(parsed("{\"mode\":-1}").mode, 0777);
    cr_assert_eq(parsed("{\"mode\":9223372036854775807}").mode, 0777);
}

Test(file_metadata, what_is_no_object_is_malformed)
{
    static const char *const texts[] = {
        "",
        " ",
        "[]",
        "7",
        "\"x\"",
        "null",
        "{",
        "{\"mode\":1",
        "{}x",
        "{\"mode\":420,\"mode\":493}",
        "{\"mode\":99999999999999999999}",
        "{\"name\":\"\xff\"}",
    };
    struct kf_raw_file file;

    for (size_t i = 0; i < KF_ARRAY_LEN(texts); i++) {
        cr_assert_eq(kf_raw_file_parse(&file, texts[i], &err), -1, "%s", texts[i]);
        cr_assert_eq(err.kind, KF_E_MALFORMED, "%s: %s", texts[i], err.message);
    }
    cr_assert_eq(kf_raw_file_parse(&file, "[]", NULL), -1);
}

static char *padded(size_t length)
{
    char *text = malloc(length + 1);

    memset(text, ' ', length);
    memcpy(text, "{}", 2);
    text[length] = '\0';
    return text;
}

Test(file_metadata, limits)
{
    kf_auto(kf_free) char *most = padded(KF_FILE_METADATA_LIMIT);
    kf_auto(kf_free) char *more = padded(KF_FILE_METADATA_LIMIT + 1);
    kf_auto(kf_free) char *many = padded(4200);
    struct kf_raw_file file;

    (void)parsed(most);
    cr_assert_eq(kf_raw_file_parse(&file, more, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    memcpy(many, "{\"a\":[1", 7);
    for (size_t i = 7; i < 4198; i += 2)
        memcpy(many + i, ",1", 2);
    memcpy(many + 4197, "]}", 3);
    cr_assert_eq(kf_raw_file_parse(&file, many, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT, "%s", err.message);
}
