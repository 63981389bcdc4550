#include "base/sink.h"

#include <string.h>

#include "base/mem.h"

static int write_memory(struct kf_sink *sink, const uint8_t *data, size_t length,
                        struct kf_err *err)
{
    struct kf_sink_memory *memory = kf_container_of(sink, struct kf_sink_memory, sink);

    if (length > memory->capacity - memory->length)
        return kf_fail(err, KF_E_LIMIT, "more bytes than were asked for");
    memcpy(memory->data + memory->length, data, length);
    memory->length += length;
    return 0;
}

void kf_sink_memory_init(struct kf_sink_memory *sink, void *data, size_t capacity)
{
    *sink = (struct kf_sink_memory){
        .sink = {.write = write_memory}, .data = data, .capacity = capacity};
}
