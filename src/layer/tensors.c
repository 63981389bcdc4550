#include "layer/tensors.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "layer/le.h"

static int compare(const void *left, const void *right)
{
    const struct kf_tensor *a = left, *b = right;

    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return a->length < b->length ? -1 : a->length > b->length;
}

/* Sorted, empty ones gone, disjoint and inside the file; else the header is not to be
 * believed. */
static bool settle(struct kf_tensors *tensors, uint64_t file_size)
{
    uint32_t kept = 0;
    uint64_t end = tensors->data_offset;

    if (end > file_size)
        return false;
    if (tensors->count > 0)
        qsort(tensors->items, tensors->count, sizeof(*tensors->items), compare);
    for (uint32_t i = 0; i < tensors->count; i++) {
        struct kf_tensor tensor = tensors->items[i];
        uint64_t tensor_end;

        if (tensor.offset < end ||
            !kf_add_u64(tensor.offset, tensor.length, &tensor_end) ||
            tensor_end > file_size)
            return false;
        if (tensor.length == 0)
            continue;
        end = tensor_end;
        tensors->items[kept++] = tensor;
    }
    tensors->count = kept;
    return true;
}

static bool add(struct kf_tensors *tensors, uint32_t *capacity, struct kf_tensor tensor)
{
    if (tensors->count == KF_TENSORS_LIMIT)
        return false;
    if (tensors->count == *capacity) {
        uint32_t grown_capacity = *capacity ? *capacity * 2 : 256;
        struct kf_tensor *grown =
            realloc(tensors->items, grown_capacity * sizeof(*tensors->items));

        if (!grown)
            return false;
        tensors->items = grown;
        *capacity = grown_capacity;
    }
    tensors->items[tensors->count++] = tensor;
    return true;
}

/* --- safetensors --- */

static bool safetensors_entry(const json_t *value, uint64_t data_offset,
                              struct kf_tensor *ret)
{
    const json_t *offsets = json_object_get(value, "data_offsets");
    json_int_t begin, end;

    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !json_is_integer(json_array_get(offsets, 0)) ||
        !json_is_integer(json_array_get(offsets, 1)))
        return false;
    begin = json_integer_value(json_array_get(offsets, 0));
    end = json_integer_value(json_array_get(offsets, 1));
    if (begin < 0 || end < begin)
        return false;
    ret->length = (uint64_t)(end - begin);
    return kf_add_u64(data_offset, (uint64_t)begin, &ret->offset);
}

static bool safetensors_collect(struct kf_tensors *tensors, json_t *root)
{
    uint32_t capacity = 0;
    const char *name;
    json_t *value;

    json_object_foreach(root, name, value)
    {
        struct kf_tensor tensor;

        if (strcmp(name, "__metadata__") == 0)
            continue;
        if (!safetensors_entry(value, tensors->data_offset, &tensor) ||
            !add(tensors, &capacity, tensor))
            return false;
    }
    return true;
}

static enum kf_tensors_answer safetensors_parse(struct kf_tensors *ret,
                                                const uint8_t *data, size_t length,
                                                uint64_t file_size, uint64_t *ret_needed)
{
    uint64_t header = kf_le64(data);
    json_t *root;
    bool ok;

    if (header < 2 || header > KF_TENSORS_HEADER_LIMIT || header > file_size - 8)
        return KF_TENSORS_NONE;
    if (length > 8 && data[8] != '{')
        return KF_TENSORS_NONE;
    if (length < header + 8) {
        *ret_needed = header + 8;
        return KF_TENSORS_MORE;
    }
    root =
        json_loadb((const char *)data + 8, (size_t)header, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        return KF_TENSORS_NONE;
    }
    ret->data_offset = header + 8;
    ok = safetensors_collect(ret, root) && settle(ret, file_size);
    json_decref(root);
    return ok ? KF_TENSORS_FOUND : KF_TENSORS_NONE;
}

/* --- GGUF --- */

/* Holds most headers; then twice as much is asked for, and so on. */
#define FIRST_READ (UINT64_C(1) << 20)

enum gguf_type { GGUF_STRING = 8, GGUF_ARRAY = 9, GGUF_TYPE_COUNT = 13 };

static const uint8_t gguf_sizes[GGUF_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4,
                                                    1, 0, 0, 8, 8, 8};

/* ggml_type -> bytes of a block, values in it; 0 bytes: not known to us. */
static const struct {
    uint16_t bytes, values;
} ggml_types[] = {
    [0] = {4, 1},      [1] = {2, 1},      [2] = {18, 32},    [3] = {20, 32},
    [6] = {22, 32},    [7] = {24, 32},    [8] = {34, 32},    [9] = {36, 32},
    [10] = {84, 256},  [11] = {110, 256}, [12] = {144, 256}, [13] = {176, 256},
    [14] = {210, 256}, [15] = {292, 256}, [16] = {66, 256},  [17] = {74, 256},
    [18] = {98, 256},  [19] = {50, 256},  [20] = {18, 32},   [21] = {110, 256},
    [22] = {82, 256},  [23] = {136, 256}, [24] = {1, 1},     [25] = {2, 1},
    [26] = {4, 1},     [27] = {8, 1},     [28] = {8, 1},     [29] = {56, 256},
    [30] = {2, 1},     [34] = {54, 256},  [35] = {66, 256},  [39] = {17, 32},
};

/* Reads forward; `short_of` is set when the bytes end before the header does. */
struct reader {
    const uint8_t *data;
    uint64_t length, at;
    bool short_of, broken;
};

static const uint8_t *take(struct reader *r, uint64_t bytes)
{
    const uint8_t *p = r->data + r->at;

    if (r->short_of || r->broken)
        return NULL;
    if (bytes > KF_TENSORS_HEADER_LIMIT) {
        r->broken = true;
        return NULL;
    }
    if (bytes > r->length - r->at) {
        r->short_of = true;
        return NULL;
    }
    r->at += bytes;
    return p;
}

static uint64_t take_u64(struct reader *r)
{
    const uint8_t *p = take(r, 8);

    return p ? kf_le64(p) : 0;
}

static uint32_t take_u32(struct reader *r)
{
    const uint8_t *p = take(r, 4);

    return p ? kf_le32(p) : 0;
}

static const uint8_t *take_string(struct reader *r, uint64_t *ret_length)
{
    *ret_length = take_u64(r);
    return take(r, *ret_length);
}

static bool alive(const struct reader *r)
{
    return !r->short_of && !r->broken;
}

static void skip_array(struct reader *r)
{
    uint32_t type = take_u32(r);
    uint64_t count = take_u64(r), bytes;

    if (!alive(r))
        return;
    if (type == GGUF_STRING) {
        uint64_t length;

        for (uint64_t i = 0; i < count && alive(r); i++)
            (void)take_string(r, &length); /* its content does not matter */
        return;
    }
    if (type >= GGUF_TYPE_COUNT || type == GGUF_ARRAY ||
        !kf_mul_u64(count, gguf_sizes[type], &bytes)) {
        r->broken = true;
        return;
    }
    (void)take(r, bytes); /* nor does this */
}

static void take_value(struct reader *r, bool is_alignment, uint32_t *alignment)
{
    uint32_t type = take_u32(r);
    uint64_t length;
    const uint8_t *p;

    if (!alive(r))
        return;
    if (type == GGUF_STRING) {
        (void)take_string(r, &length); /* skipped */
    } else if (type == GGUF_ARRAY) {
        skip_array(r);
    } else if (type >= GGUF_TYPE_COUNT) {
        r->broken = true;
    } else {
        p = take(r, gguf_sizes[type]);
        if (p && is_alignment && type == 4)
            *alignment = kf_le32(p);
    }
}

static bool tensor_bytes(uint32_t type, uint64_t values, uint64_t *ret)
{
    if (type >= KF_ARRAY_LEN(ggml_types) || ggml_types[type].bytes == 0)
        return false;
    return values % ggml_types[type].values == 0 &&
           kf_mul_u64(values / ggml_types[type].values, ggml_types[type].bytes, ret);
}

static void take_tensor(struct reader *r, struct kf_tensor *ret)
{
    uint64_t length, values = 1;
    uint32_t dimensions, type;

    (void)take_string(r, &length); /* names do not matter */
    dimensions = take_u32(r);
    if (dimensions > 8)
        r->broken = true;
    for (uint32_t i = 0; i < dimensions && alive(r); i++)
        if (!kf_mul_u64(values, take_u64(r), &values))
            r->broken = true;
    type = take_u32(r);
    ret->offset = take_u64(r);
    if (alive(r) && !tensor_bytes(type, values, &ret->length))
        r->broken = true;
}

static bool gguf_place(struct kf_tensors *tensors, uint64_t header_end,
                       uint32_t alignment)
{
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > (1u << 20))
        return false;
    tensors->data_offset = (header_end + alignment - 1) / alignment * alignment;
    for (uint32_t i = 0; i < tensors->count; i++)
        if (!kf_add_u64(tensors->items[i].offset, tensors->data_offset,
                        &tensors->items[i].offset))
            return false;
    return true;
}

static enum kf_tensors_answer gguf_parse(struct kf_tensors *ret, const uint8_t *data,
                                         size_t length, uint64_t file_size,
                                         uint64_t *ret_needed)
{
    struct reader r = {
        .data = data, .length = kf_min_u64(length, KF_TENSORS_HEADER_LIMIT), .at = 4};
    uint32_t version = take_u32(&r), alignment = 32, capacity = 0;
    uint64_t tensor_count = take_u64(&r), value_count = take_u64(&r);

    if (alive(&r) && (version < 2 || version > 3 || tensor_count > KF_TENSORS_LIMIT))
        return KF_TENSORS_NONE;
    for (uint64_t i = 0; i < value_count && alive(&r); i++) {
        uint64_t key_length;
        const uint8_t *key = take_string(&r, &key_length);
        static const char name[] = "general.alignment";

        take_value(&r,
                   key && key_length == sizeof(name) - 1 &&
                       memcmp(key, name, sizeof(name) - 1) == 0,
                   &alignment);
    }
    for (uint64_t i = 0; i < tensor_count && alive(&r); i++) {
        struct kf_tensor tensor;

        take_tensor(&r, &tensor);
        if (alive(&r) && !add(ret, &capacity, tensor))
            return KF_TENSORS_NONE;
    }
    if (r.short_of && length < file_size && length < KF_TENSORS_HEADER_LIMIT) {
        *ret_needed = kf_min_u64(kf_min_u64(file_size, KF_TENSORS_HEADER_LIMIT),
                                 kf_max_u64((uint64_t)length * 2, FIRST_READ));
        return KF_TENSORS_MORE;
    }
    if (!alive(&r) || !gguf_place(ret, r.at, alignment))
        return KF_TENSORS_NONE;
    return settle(ret, file_size) ? KF_TENSORS_FOUND : KF_TENSORS_NONE;
}

enum kf_tensors_answer kf_tensors_parse(struct kf_tensors *ret, const void *data,
                                        size_t length, uint64_t file_size,
                                        uint64_t *ret_needed)
{
    struct kf_tensors tensors = {0};
    enum kf_tensors_answer answer;

    if (length < 8 || length > file_size)
        return KF_TENSORS_NONE;
    if (memcmp(data, "GGUF", 4) == 0)
        answer = gguf_parse(&tensors, data, length, file_size, ret_needed);
    else
        answer = safetensors_parse(&tensors, data, length, file_size, ret_needed);
    if (answer == KF_TENSORS_FOUND)
        *ret = tensors;
    else
        kf_tensors_fini(&tensors);
    return answer;
}

void kf_tensors_fini(struct kf_tensors *tensors)
{
    free(tensors->items);
    memset(tensors, 0, sizeof(*tensors));
}
