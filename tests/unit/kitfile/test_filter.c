/*
 * Filters as kit takes them (kitops pkg/lib/kitfile/filter.go).
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "kitfile/filter.h"

static char model_name[] = "llama", model_path[] = "./model/", plain_path[] = "data",
            docs_path[] = "docs";

static const struct kf_entry model = {
    .kind = KF_ENTRY_MODEL, .name = model_name, .path = model_path};
static const struct kf_entry part = {.kind = KF_ENTRY_PART, .path = plain_path};
static const struct kf_entry code = {.kind = KF_ENTRY_CODE, .path = plain_path};
static const struct kf_entry dataset = {
    .kind = KF_ENTRY_DATASET, .name = model_name, .path = plain_path};
static const struct kf_entry docs = {.kind = KF_ENTRY_DOCS, .path = docs_path};
static const struct kf_entry prompt = {
    .kind = KF_ENTRY_PROMPT, .name = model_name, .path = plain_path};
static const struct kf_entry mcp = {
    .kind = KF_ENTRY_MCP, .name = model_name, .path = plain_path};

static const struct kf_entry *const entries[] = {&model, &part,   &code, &dataset,
                                                 &docs,  &prompt, &mcp};

static bool wants(const struct kf_filter *filter, const struct kf_entry *entry)
{
    return kf_filter_wants(filter, entry->kind, entry->name, entry->path);
}

/* A letter for each entry that is wanted, and K for the Kitfile. */
static void expect(const char *const *texts, size_t count, const char *wanted)
{
    static const char letters[] = "mpcdDPM";
    struct kf_filter filter = {0};
    struct kf_err err = {0};
    char found[16] = "";
    size_t used = 0;

    for (size_t i = 0; i < count; i++)
        cr_assert_eq(kf_filter_add(&filter, texts[i], &err), 0, "%s", err.message);
    for (size_t i = 0; i < KF_ARRAY_LEN(entries); i++)
        if (wants(&filter, entries[i]))
            found[used++] = letters[i];
    if (kf_filter_kitfile(&filter))
        found[used++] = 'K';
    cr_assert_str_eq(found, wanted, "%s", count > 0 ? texts[0] : "(none)");
    kf_filter_fini(&filter);
}

static void expect_one(const char *text, const char *wanted)
{
    expect(&text, 1, wanted);
}

Test(filter, none_is_everything)
{
    expect(NULL, 0, "mpcdDPMK");
    cr_assert(wants(NULL, &model));
    cr_assert(kf_filter_kitfile(NULL));
    cr_assert(kf_filter_some(NULL, KF_ENTRY_CODE));
    cr_assert(kf_filter_all(NULL, KF_ENTRY_CODE));
}

Test(filter, types)
{
    expect_one("kitfile", "K");
    expect_one("model", "mp"); /* its parts too */
    expect_one("datasets", "d");
    expect_one("code", "c");
    expect_one("prompts", "P");
    expect_one("docs", "D");
    expect_one("mcpservers", "M");
    expect_one("kitfile,model,datasets,code,prompts,docs,mcpservers", "mpcdDPMK");
    expect_one("model,model", "mp");
}

Test(filter, name_or_path_exactly)
{
    expect_one("model:llama", "m");
    expect_one("model:./model/", "m");
    expect_one("model:./model", "");
    expect_one("model:model", "");
    expect_one("model:LLAMA", "");
    expect_one("model:llama,data", "mp");
    expect_one("docs:docs", "D");
    expect_one("docs:./docs", "");
    expect_one("model,datasets,code,prompts,mcpservers:data", "pcdPM");
    expect_one("datasets,prompts,mcpservers:llama", "dPM");
    expect_one("model: llama", "");
}

/* What is absent is the empty text to kit; code and docs have no name at all. */
Test(filter, empty_field)
{
    expect_one("model:", "p");
    expect_one("code,docs:", "");
    expect_one("model:,llama", "mp");
}

/* What stands behind the colon does not matter to the Kitfile. */
Test(filter, kitfile_with_fields)
{
    expect_one("kitfile:llama", "K");
    expect_one("kitfile,datasets:nothing", "K");
}

Test(filter, any_of_several)
{
    static const char *const some[] = {"model:llama", "docs", "kitfile"};
    static const char *const nothing[] = {"model:none", "docs:none"};

    expect(some, 3, "mDK");
    expect(nothing, 2, "");
}

Test(filter, some_and_all_of_a_kind)
{
    struct kf_filter filter = {0};

    cr_assert_eq(kf_filter_add(&filter, "model:llama", NULL), 0);
    cr_assert(kf_filter_some(&filter, KF_ENTRY_PART));
    cr_assert_not(kf_filter_all(&filter, KF_ENTRY_PART));
    cr_assert_not(kf_filter_some(&filter, KF_ENTRY_DOCS));
    cr_assert_eq(kf_filter_add(&filter, "docs,model", NULL), 0);
    cr_assert(kf_filter_all(&filter, KF_ENTRY_PART));
    cr_assert(kf_filter_all(&filter, KF_ENTRY_DOCS));
    cr_assert_not(kf_filter_some(&filter, KF_ENTRY_CODE));
    kf_filter_fini(&filter);
}

Test(filter, refused)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "invalid filter type '' (must be one of kitfile, model, datasets, code, "
             "prompts, docs, mcpservers)"},
        {"config", "invalid filter type 'config' (must be one of"},
        {"Model", "invalid filter type 'Model' (must be one of"},
        {"dataset", "invalid filter type 'dataset' (must be one of"},
        {"model,", "invalid filter type ''"},
        {",model", "invalid filter type ''"},
        {"model, docs", "invalid filter type ' docs'"},
        {":llama", "invalid filter type ''"},
        {"model:a:b", "should be in format <type1>,<type2>[:<filter1>,<filter2>]"},
        {"model::", "should be in format"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_filter filter = {0};
        struct kf_err err = {0};

        cr_assert_eq(kf_filter_add(&filter, "docs", &err), 0);
        cr_assert_eq(kf_filter_add(&filter, rows[i].text, &err), -1, "%s", rows[i].text);
        cr_assert_eq(err.kind, KF_E_ARG);
        cr_assert_not_null(strstr(err.message, rows[i].words), "%s", err.message);
        cr_assert(wants(&filter, &docs)); /* as it was */
        cr_assert_not(wants(&filter, &model));
        kf_filter_fini(&filter);
    }
}
