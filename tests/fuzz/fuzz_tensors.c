/*
 * Headers of safetensors and GGUF: the first bytes of a file that is as long as they are,
 * and of a much longer one. What is found lies in the file, in order; what is asked for
 * is more than there was.
 */
#include <stdint.h>
#include <stdlib.h>

#include "layer/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *data, size_t size, uint64_t file_size)
{
    struct kf_tensors tensors;
    uint64_t needed = 0, end;

    switch (kf_tensors_parse(&tensors, data, size, file_size, &needed)) {
    case KF_TENSORS_NONE:
        return;
    case KF_TENSORS_MORE:
        if (needed <= size || needed > file_size)
            abort();
        return;
    case KF_TENSORS_FOUND:
        break;
    }
    end = tensors.data_offset;
    if (end > file_size || tensors.count > KF_TENSORS_LIMIT)
        abort();
    for (uint32_t i = 0; i < tensors.count; i++) {
        const struct kf_tensor *tensor = &tensors.items[i];

        if (tensor->length == 0 || tensor->offset < end || tensor->offset > file_size ||
            tensor->length > file_size - tensor->offset)
            abort();
        end = tensor->offset + tensor->length;
    }
    kf_tensors_fini(&tensors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size, size);
    check(data, size, UINT64_C(1) << 40);
    check(data, size, UINT64_MAX);
    return 0;
}
