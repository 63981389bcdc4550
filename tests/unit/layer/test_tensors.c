#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "layer/le.h"
#include "layer/tensors.h"

#define MIB(n) ((uint64_t)(n) << 20)

/* The header in an allocation of its own length, so that a read too far is seen. */
static enum kf_tensors_answer parse(struct kf_tensors *ret, const void *data,
                                    size_t length, uint64_t file_size,
                                    uint64_t *ret_needed)
{
    void *exact = malloc(length ? length : 1);
    enum kf_tensors_answer answer;

    if (length > 0)
        memcpy(exact, data, length);
    answer = kf_tensors_parse(ret, exact, length, file_size, ret_needed);
    free(exact);
    return answer;
}

static void expect_none(const struct kf_buf *header, uint64_t file_size)
{
    struct kf_tensors tensors = {0};
    uint64_t needed = 0;

    cr_assert_eq(parse(&tensors, header->data, header->length, file_size, &needed),
                 KF_TENSORS_NONE);
    cr_assert_null(tensors.items);
}

/* As a caller does it: eight bytes, and then as many as are asked for. */
static struct kf_tensors expect_found(const struct kf_buf *file, uint64_t file_size)
{
    struct kf_tensors tensors = {0};
    uint64_t length = 8, needed = 0;
    enum kf_tensors_answer answer;

    while ((answer = parse(&tensors, file->data, length, file_size, &needed)) ==
           KF_TENSORS_MORE) {
        cr_assert_gt(needed, length);
        cr_assert_leq(needed, file_size);
        length = kf_min_u64(needed, file->length);
    }
    cr_assert_eq(answer, KF_TENSORS_FOUND);
    return tensors;
}

static void expect_tensors(struct kf_tensors *tensors, uint64_t data_offset,
                           const struct kf_tensor *expected, uint32_t count)
{
    cr_assert_eq(tensors->data_offset, data_offset);
    cr_assert_eq(tensors->count, count);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(tensors->items[i].offset, expected[i].offset);
        cr_assert_eq(tensors->items[i].length, expected[i].length);
    }
    kf_tensors_fini(tensors);
    cr_assert_null(tensors->items);
}

/* --- safetensors --- */

static struct kf_buf safetensors(const char *json)
{
    struct kf_buf buf;
    uint8_t length[8];

    kf_buf_init(&buf, MIB(64));
    kf_put_le64(length, strlen(json));
    (void)kf_buf_append(&buf, length, 8, NULL);
    (void)kf_buf_append_text(&buf, json, NULL);
    return buf;
}

Test(tensors, safetensors_in_the_order_of_the_file)
{
    struct kf_buf file = safetensors(
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"b\":{\"dtype\":\"F16\",\"shape\":[8],\"data_offsets\":[100,116]},"
        "\"none\":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[100,100]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[5,5],\"data_offsets\":[0,100]}}   ");
    uint64_t data = file.length;
    struct kf_tensor expected[] = {{data, 100}, {data + 100, 16}};
    struct kf_tensors tensors = expect_found(&file, data + 116);

    expect_tensors(&tensors, data, expected, 2);
    expect_none(&file, data + 115); /* the last one ends outside */
    kf_buf_fini(&file);
}

Test(tensors, safetensors_without_tensors)
{
    struct kf_buf file = safetensors("{}");
    struct kf_tensors tensors = expect_found(&file, 10);

    expect_tensors(&tensors, 10, NULL, 0);
    kf_buf_fini(&file);
}

Test(tensors, safetensors_asks_for_its_header_once)
{
    struct kf_buf file = safetensors("{\"a\":{\"data_offsets\":[0,4]}}");
    struct kf_tensors tensors;
    uint64_t needed = 0;

    for (size_t length = 8; length < file.length; length++) {
        cr_assert_eq(parse(&tensors, file.data, length, file.length + 4, &needed),
                     KF_TENSORS_MORE);
        cr_assert_eq(needed, file.length);
    }
    kf_buf_fini(&file);
}

Test(tensors, safetensors_header_limit)
{
    uint8_t head[9] = {[8] = '{'};
    struct kf_tensors tensors;
    uint64_t needed = 0;

    kf_put_le64(head, KF_TENSORS_HEADER_LIMIT);
    cr_assert_eq(parse(&tensors, head, 9, UINT64_MAX, &needed), KF_TENSORS_MORE);
    cr_assert_eq(needed, KF_TENSORS_HEADER_LIMIT + 8);
    cr_assert_eq(parse(&tensors, head, 9, KF_TENSORS_HEADER_LIMIT + 8, &needed),
                 KF_TENSORS_MORE);
    cr_assert_eq(parse(&tensors, head, 9, KF_TENSORS_HEADER_LIMIT + 7, &needed),
                 KF_TENSORS_NONE);
    kf_put_le64(head, KF_TENSORS_HEADER_LIMIT + 1);
    cr_assert_eq(parse(&tensors, head, 9, UINT64_MAX, &needed), KF_TENSORS_NONE);
    kf_put_le64(head, UINT64_MAX);
    cr_assert_eq(parse(&tensors, head, 9, UINT64_MAX, &needed), KF_TENSORS_NONE);
    kf_put_le64(head, 100);
    head[8] = '[';
    cr_assert_eq(parse(&tensors, head, 9, UINT64_MAX, &needed), KF_TENSORS_NONE);
}

Test(tensors, broken_safetensors_mean_plain_cuts)
{
    static const char *const broken[] = {
        "{",
        "{} x",
        "{\"a\":1}",
        "{\"a\":{}}",
        "{\"a\":{\"data_offsets\":[0]}}",
        "{\"a\":{\"data_offsets\":[0,4,8]}}",
        "{\"a\":{\"data_offsets\":[4,0]}}",
        "{\"a\":{\"data_offsets\":[-4,0]}}",
        "{\"a\":{\"data_offsets\":[0,4.5]}}",
        "{\"a\":{\"data_offsets\":[\"0\",4]}}",
        "{\"a\":{\"data_offsets\":[0,9223372036854775808]}}",
        "{\"a\":{\"data_offsets\":[0,9223372036854775807]}}",
        "{\"a\":{\"data_offsets\":[9223372036854775807,9223372036854775807]}}",
        "{\"a\":{\"data_offsets\":[0,101]}}",
        "{\"a\":{\"data_offsets\":[0,8]},\"b\":{\"data_offsets\":[7,9]}}", /* overlap */
        "{\"a\":{\"data_offsets\":[0,8]},\"b\":{\"data_offsets\":[0,8]}}",
        "{\"a\":{\"data_offsets\":[0,8]},\"b\":{\"data_offsets\":[4,4]}}",
        "{\"a\":{\"data_offsets\":[0,4]},\"a\":{\"data_offsets\":[4,8]}}", /* twice */
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(broken); i++) {
        struct kf_buf file = safetensors(broken[i]);

        expect_none(&file, file.length + 100);
        kf_buf_fini(&file);
    }
}

Test(tensors, neither_format)
{
    static const char *const others[] = {"PK\3\4 a zip of pickles", "12345678", "GGUF",
                                         "\0\0\0\0\0\0\0\0\0\0"};
    struct kf_tensors tensors;
    uint64_t needed;

    for (size_t i = 0; i < KF_ARRAY_LEN(others); i++)
        cr_assert_eq(
            parse(&tensors, others[i], i == 3 ? 10 : strlen(others[i]), MIB(9), &needed),
            KF_TENSORS_NONE);
    cr_assert_eq(parse(&tensors, "", 0, 0, &needed), KF_TENSORS_NONE);
    /* more bytes than the file has */
    cr_assert_eq(parse(&tensors, "\2\0\0\0\0\0\0\0{}", 10, 9, &needed), KF_TENSORS_NONE);
}

/* --- GGUF --- */

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 };

static void put32(struct kf_buf *buf, uint32_t v)
{
    uint8_t p[4];

    kf_put_le32(p, v);
    (void)kf_buf_append(buf, p, 4, NULL);
}

static void put64(struct kf_buf *buf, uint64_t v)
{
    uint8_t p[8];

    kf_put_le64(p, v);
    (void)kf_buf_append(buf, p, 8, NULL);
}

static void put_string(struct kf_buf *buf, const char *text)
{
    put64(buf, strlen(text));
    (void)kf_buf_append_text(buf, text, NULL);
}

static struct kf_buf gguf(uint32_t version, uint64_t tensors, uint64_t values)
{
    struct kf_buf buf;

    kf_buf_init(&buf, MIB(256));
    (void)kf_buf_append_text(&buf, "GGUF", NULL);
    put32(&buf, version);
    put64(&buf, tensors);
    put64(&buf, values);
    return buf;
}

static void put_tensor(struct kf_buf *buf, const char *name, uint64_t rows,
                       uint64_t columns, uint32_t type, uint64_t offset)
{
    put_string(buf, name);
    put32(buf, 2);
    put64(buf, columns);
    put64(buf, rows);
    put32(buf, type);
    put64(buf, offset);
}

static void put_scalar(struct kf_buf *buf, const char *key, uint32_t type, size_t size)
{
    static const uint8_t zeros[8];

    put_string(buf, key);
    put32(buf, type);
    (void)kf_buf_append(buf, zeros, size, NULL);
}

static void put_alignment(struct kf_buf *buf, uint32_t alignment)
{
    put_string(buf, "general.alignment");
    put32(buf, U32);
    put32(buf, alignment);
}

static uint64_t align(uint64_t offset, uint64_t alignment)
{
    return (offset + alignment - 1) / alignment * alignment;
}

Test(tensors, gguf_of_both_versions_with_every_kind_of_value)
{
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

    for (uint32_t version = 2; version <= 3; version++) {
        struct kf_buf file = gguf(version, 2, 14);
        struct kf_tensors tensors;
        uint64_t data;

        for (uint32_t type = 0; type < KF_ARRAY_LEN(sizes); type++)
            if (sizes[type])
                put_scalar(&file, "key", type, sizes[type]);
        put_string(&file, "general.name");
        put32(&file, STRING);
        put_string(&file, "a model");
        put_string(&file, "numbers");
        put32(&file, ARRAY);
        put32(&file, F32);
        put64(&file, 3);
        (void)kf_buf_append(&file, "123412341234", 12, NULL);
        put_string(&file, "tokens");
        put32(&file, ARRAY);
        put32(&file, STRING);
        put64(&file, 2);
        put_string(&file, "<s>");
        put_string(&file, "");
        put_tensor(&file, "second", 2, 64, 2, 1024); /* q4_0: 18 bytes a 32 */
        put_tensor(&file, "first", 16, 16, 0, 0);    /* f32 */
        data = align(file.length, 32);
        tensors = expect_found(&file, data + 1024 + 72);
        expect_tensors(&tensors, data,
                       (struct kf_tensor[]){{data, 1024}, {data + 1024, 72}}, 2);
        expect_none(&file, data + 1024 + 71);
        kf_buf_fini(&file);
    }
}

Test(tensors, gguf_alignment)
{
    static const uint32_t good[] = {1, 8, 32, 4096, 1u << 20};
    static const uint32_t bad[] = {0, 3, 33, 1u << 21, UINT32_MAX};

    for (size_t i = 0; i < KF_ARRAY_LEN(good); i++) {
        struct kf_buf file = gguf(3, 1, 1);
        struct kf_tensors tensors;
        uint64_t data;

        put_alignment(&file, good[i]);
        put_tensor(&file, "a", 1, 10, 24, 0);
        data = align(file.length, good[i]);
        tensors = expect_found(&file, data + 10);
        expect_tensors(&tensors, data, (struct kf_tensor[]){{data, 10}}, 1);
        kf_buf_fini(&file);
    }
    for (size_t i = 0; i < KF_ARRAY_LEN(bad); i++) {
        struct kf_buf file = gguf(3, 1, 1);

        put_alignment(&file, bad[i]);
        put_tensor(&file, "a", 1, 10, 24, 0);
        expect_none(&file, MIB(10));
        kf_buf_fini(&file);
    }
}

Test(tensors, gguf_versions_and_counts)
{
    static const struct {
        uint32_t version;
        uint64_t tensors, values;
    } bad[] = {{1, 0, 0},
               {4, 0, 0},
               {0x03000000, 0, 0}, /* big-endian */
               {3, KF_TENSORS_LIMIT + 1, 0},
               {3, UINT64_MAX, 0},
               {3, 1, 0}, /* more than there are */
               {3, 0, 1},
               {3, 0, UINT64_MAX}};

    for (size_t i = 0; i < KF_ARRAY_LEN(bad); i++) {
        struct kf_buf file = gguf(bad[i].version, bad[i].tensors, bad[i].values);

        expect_none(&file, file.length);
        kf_buf_fini(&file);
    }
}

Test(tensors, gguf_that_ends_inside_its_padding)
{
    struct kf_buf file = gguf(3, 0, 0); /* 24 bytes: data would begin at 32 */
    struct kf_tensors tensors;

    expect_none(&file, 24);
    expect_none(&file, 31);
    tensors = expect_found(&file, 32);
    expect_tensors(&tensors, 32, NULL, 0);
    kf_buf_fini(&file);
}

/* A value that is an array, or says to be. */
static struct kf_buf gguf_with_array(uint32_t type, uint64_t count)
{
    struct kf_buf file = gguf(3, 0, 1);

    put_string(&file, "key");
    put32(&file, ARRAY);
    put32(&file, type);
    put64(&file, count);
    return file;
}

Test(tensors, hostile_gguf_values)
{
    static const struct {
        uint32_t type;
        uint64_t count;
    } arrays[] = {{F64, UINT64_C(1) << 61}, /* its bytes overflow */
                  {U8, KF_TENSORS_HEADER_LIMIT + 1},
                  {STRING, UINT64_MAX},
                  {ARRAY, 1},
                  {F64 + 1, 1}};
    struct kf_buf file;

    for (size_t i = 0; i < KF_ARRAY_LEN(arrays); i++) {
        file = gguf_with_array(arrays[i].type, arrays[i].count);
        put_string(&file, "behind");
        expect_none(&file, arrays[i].type == STRING ? file.length : MIB(100));
        kf_buf_fini(&file);
    }
    file = gguf(3, 0, 1);
    put_string(&file, "key");
    put32(&file, STRING);
    put64(&file, UINT64_MAX);
    expect_none(&file, MIB(100));
    kf_buf_fini(&file);
    file = gguf(3, 0, 1);
    put_scalar(&file, "key", F64 + 1, 8);
    expect_none(&file, MIB(100));
    kf_buf_fini(&file);
}

Test(tensors, hostile_gguf_tensors)
{
    static const struct {
        uint64_t rows, columns;
        uint32_t type;
        uint64_t offset;
        enum kf_tensors_answer answer;
    } cases[] = {
        {1, 32, 24, 32, KF_TENSORS_FOUND},
        {1, 32, 4, 32, KF_TENSORS_NONE}, /* a type that is no more, and one that is not */
        {1, 32, UINT32_MAX, 32, KF_TENSORS_NONE},
        {UINT64_C(1) << 33, UINT64_C(1) << 33, 24, 32, KF_TENSORS_NONE},
        {UINT64_C(1) << 31, UINT64_C(1) << 31, 27, 32, KF_TENSORS_NONE},
        {1, 33, 2, 32, KF_TENSORS_NONE}, /* half a block */
        {1, 32, 24, UINT64_MAX - 31, KF_TENSORS_NONE},
        {1, 32, 24, UINT64_MAX - MIB(1), KF_TENSORS_NONE},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        struct kf_buf file = gguf(3, 2, 0);
        struct kf_tensors tensors = {0};
        uint64_t needed;

        put_tensor(&file, "good", 1, 32, 24, 0);
        put_tensor(&file, "a", cases[i].rows, cases[i].columns, cases[i].type,
                   cases[i].offset);
        cr_assert_eq(parse(&tensors, file.data, file.length, MIB(100), &needed),
                     cases[i].answer, "case %zu", i);
        kf_tensors_fini(&tensors);
        kf_buf_fini(&file);
    }
}

Test(tensors, gguf_that_overlaps)
{
    struct kf_buf file = gguf(3, 2, 0);

    put_tensor(&file, "a", 1, 64, 24, 0);
    put_tensor(&file, "b", 1, 32, 24, 32);
    expect_none(&file, MIB(1));
    kf_buf_fini(&file);
}

Test(tensors, gguf_with_too_many_dimensions)
{
    struct kf_buf file = gguf(3, 1, 0);

    put_string(&file, "a");
    put32(&file, 9);
    for (int i = 0; i < 9; i++)
        put64(&file, 1);
    put32(&file, 24);
    put64(&file, 0);
    expect_none(&file, MIB(1));
    kf_buf_fini(&file);
}

Test(tensors, a_long_gguf_header_is_asked_for_in_growing_steps)
{
    struct kf_buf file = gguf(3, 1, 1);
    struct kf_tensors tensors = {0};
    uint64_t length = 8, needed = 0, data;
    unsigned asked = 0;

    put_string(&file, "tokens");
    put32(&file, ARRAY);
    put32(&file, STRING);
    put64(&file, 500000);
    for (int i = 0; i < 500000; i++)
        put_string(&file, "tok");
    put_tensor(&file, "a", 1, 64, 30, 0);
    data = align(file.length, 32);
    while (parse(&tensors, file.data, length, MIB(50), &needed) == KF_TENSORS_MORE) {
        asked++;
        length = kf_min_u64(needed, file.length);
    }
    cr_assert_leq(asked, 4); /* 1, 2, 4 and 8 MiB */
    expect_tensors(&tensors, data, (struct kf_tensor[]){{data, 128}}, 1);
    kf_buf_fini(&file);
}

Test(tensors, a_gguf_header_over_the_limit_is_given_up)
{
    struct kf_buf file = gguf(3, 0, 3);
    struct kf_tensors tensors = {0};
    uint64_t length = 8, needed = 0;
    uint8_t *zeros = calloc(1, MIB(40));
    enum kf_tensors_answer answer;

    for (int i = 0; i < 3; i++) {
        put_string(&file, "array");
        put32(&file, ARRAY);
        put32(&file, U8);
        put64(&file, MIB(40));
        (void)kf_buf_append(&file, zeros, MIB(40), NULL);
    }
    while ((answer = kf_tensors_parse(&tensors, file.data, length, MIB(200), &needed)) ==
           KF_TENSORS_MORE) {
        cr_assert_gt(needed, length);
        cr_assert_leq(needed, KF_TENSORS_HEADER_LIMIT);
        length = needed;
    }
    cr_assert_eq(answer, KF_TENSORS_NONE);
    cr_assert_eq(length, KF_TENSORS_HEADER_LIMIT);
    /* Whoever gives more at once learns the same. */
    cr_assert_eq(kf_tensors_parse(&tensors, file.data, file.length, MIB(200), &needed),
                 KF_TENSORS_NONE);
    free(zeros);
    kf_buf_fini(&file);
}

Test(tensors, as_many_tensors_as_the_limit)
{
    for (uint32_t over = 0; over < 2; over++) {
        struct kf_buf file = gguf(3, KF_TENSORS_LIMIT + over, 0);
        struct kf_tensors tensors;

        for (uint32_t i = 0; i < KF_TENSORS_LIMIT + over; i++)
            put_tensor(&file, "", 1, 1, 24, i);
        if (over) {
            expect_none(&file, MIB(100));
        } else {
            tensors = expect_found(&file, MIB(100));
            cr_assert_eq(tensors.count, KF_TENSORS_LIMIT);
            kf_tensors_fini(&tensors);
        }
        kf_buf_fini(&file);
    }
}
