/*
 * An encoded file table: what is accepted is sound, and encodes to itself.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "layer/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes that no field covers may differ: the minor version, and each entry's last. */
static void check_again(const struct kf_table *table, const uint8_t *data, size_t size)
{
    struct kf_buf bytes;

    kf_buf_init(&bytes, size);
    if (kf_table_encode(table, &bytes, NULL) != 0 || bytes.length != size)
        abort();
    memcpy(bytes.data + 10, data + 10, 2);
    for (uint32_t i = 0; i < table->count; i++)
        bytes.data[32 + 32 * i + 31] = data[32 + 32 * i + 31];
    if (memcmp(bytes.data, data, size) != 0)
        abort();
    kf_buf_fini(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_table table;
    struct kf_err err;

    if (kf_table_decode(&table, data, size, &err) != 0)
        return 0;
    for (uint32_t i = 0; i < table.count; i++) {
        size_t length;
        const char *name = kf_table_name(&table, i, &length);
        const struct kf_table_entry *entry = &table.entries[i];

        if (length == 0 || kf_name_check(&name, &length, &err) != 0 ||
            entry->size > table.stream_size ||
            entry->offset > table.stream_size - entry->size)
            abort();
    }
    check_again(&table, data, size);
    kf_table_fini(&table);
    return 0;
}
