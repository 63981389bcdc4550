#include <criterion/criterion.h>

#include "base/digest.h"
#include "fs/words.h"

TestSuite(words, .timeout = 10);

Test(words, sizes)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {10 * 1024 - 60, "9.9 KiB"},
        {10 * 1024 - 1, "10 KiB"},
        {197 * 1024, "197 KiB"},
        {1024 * 1024 - 1, "1.0 MiB"},
        {210 << 20, "210 MiB"},
        {4617089843u, "4.3 GiB"},
        {UINT64_C(1) << 40, "1.0 TiB"},
        {UINT64_MAX, "16 EiB"},
    };
    char text[KF_WORDS_SIZE_SIZE];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_str_eq(kf_words_size(rows[i].bytes, text), rows[i].text);
}

Test(words, names)
{
    struct kf_digest digest = {.bytes = {0x99, 0x5b, 0x9e, 0x0f, 0x87, 0xdd, 0x12}};
    char text[200], tiny[8];

    kf_words_short_name("r.example/llama3:8B", &digest, text, sizeof(text));
    cr_expect_str_eq(text, "r.example/llama3:8B@sha256:995b9e0f87dd...");
    kf_words_full_name("r.example/llama3@sha256:995b", &digest, text, sizeof(text));
    cr_expect_str_eq(text,
                     "r.example/llama3@sha256:995b9e0f87dd1200000000000000000000000000"
                     "000000000000000000000000");
    kf_words_full_name("r.example/llama3:8B", &digest, tiny, sizeof(tiny));
    cr_expect_str_eq(tiny, "r.examp");
}
