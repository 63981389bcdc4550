#include "fetch/readahead.h"

#include <string.h>

#include "base/mem.h"

/* A stream that was not read during so many reads of the file gives its share of the
 * windows back. */
#define ACTIVE_READS 256

void kf_readahead_init(struct kf_readahead *state)
{
    memset(state, 0, sizeof(*state));
    state->lowest = UINT64_MAX;
}

/* How far the read is from where the stream would go on; UINT64_MAX: it is none of its.
 */
static uint64_t distance(const struct kf_stream *stream, uint64_t offset, uint64_t length)
{
    uint64_t ahead = stream->window > 0 ? stream->window : length;

    if (stream->stamp == 0)
        return UINT64_MAX;
    if (offset >= stream->next)
        return offset - stream->next <= ahead ? offset - stream->next : UINT64_MAX;
    if (stream->next - offset <= KF_READAHEAD_BEHIND)
        return stream->next - offset;
    return UINT64_MAX;
}

/* The nearest stream that the read continues, or a new one in the stalest place. */
static struct kf_stream *find_stream(struct kf_readahead *state, uint64_t offset,
                                     uint64_t length)
{
    struct kf_stream *best = NULL, *stalest = &state->streams[0];
    uint64_t best_distance = UINT64_MAX;

    for (size_t i = 0; i < KF_READAHEAD_STREAMS; i++) {
        struct kf_stream *stream = &state->streams[i];
        uint64_t away = distance(stream, offset, length);

        if (away < best_distance) {
            best = stream;
            best_distance = away;
        }
        if (stream->stamp < stalest->stamp)
            stalest = stream;
    }
    if (best)
        return best;
    *stalest = (struct kf_stream){.next = offset, .wanted = offset};
    return stalest;
}

/* A stream's share of the windows, and no more than is in proportion to what was read of
 * it: never so small that ranges become short. */
static uint64_t window_limit(const struct kf_readahead *state,
                             const struct kf_stream *asking, uint64_t max_window)
{
    uint64_t active = 0;

    for (size_t i = 0; i < KF_READAHEAD_STREAMS; i++) {
        const struct kf_stream *stream = &state->streams[i];

        if (stream->window > 0 && state->stamp - stream->stamp < ACTIVE_READS)
            active++;
    }
    /* The stream that asks is open and was just read: there is one. */
    return kf_max_u64(
        kf_min_u64(max_window / active, asking->run / KF_READAHEAD_PROPORTION),
        kf_min_u64(max_window, KF_READAHEAD_MIN_WINDOW));
}

/* Once in half a window: the reads that wait for one batch say the same thing. */
static void grow(struct kf_stream *stream)
{
    if (stream->next < stream->grow_at)
        return;
    stream->grow_at = stream->next + stream->window / 2;
    stream->window *= 2;
}

/* The next batch of an open stream, once there is room for one in its window. */
static struct kf_readahead_want next_batch(struct kf_stream *stream, uint64_t file_size)
{
    struct kf_readahead_want want = {0, 0};
    uint64_t batch = kf_min_u64(
        kf_max_u64(stream->window / KF_READAHEAD_BATCHES, KF_READAHEAD_MIN_BATCH),
        stream->window);
    uint64_t end = stream->window < file_size - stream->next
                       ? stream->next + stream->window
                       : file_size;

    stream->wanted = kf_max_u64(stream->wanted, stream->next);
    if (stream->wanted - stream->next > stream->window - batch || end <= stream->wanted)
        return want;
    want = (struct kf_readahead_want){stream->wanted, end - stream->wanted};
    stream->wanted = end;
    return want;
}

struct kf_readahead_want kf_readahead_see(struct kf_readahead *state, uint64_t offset,
                                          uint64_t length, bool waited,
                                          uint64_t file_size, uint64_t max_window)
{
    struct kf_stream *stream;
    uint64_t end, before;

    if (offset >= file_size || length == 0)
        return (struct kf_readahead_want){0, 0};
    end = offset + kf_min_u64(length, file_size - offset);
    state->stamp++;
    state->read_bytes += end - offset;
    state->lowest = kf_min_u64(state->lowest, offset);
    state->highest = kf_max_u64(state->highest, end);

    stream = find_stream(state, offset, end - offset);
    stream->stamp = state->stamp;
    before = stream->run;
    if (end > stream->next) {
        stream->run += end - stream->next;
        stream->next = end;
    }
    if (stream->window == 0) {
        if (before <= KF_READAHEAD_TRUST || stream->run == before)
            return (struct kf_readahead_want){0, 0};
        stream->window = KF_READAHEAD_MIN_WINDOW;
        stream->grow_at = stream->next + stream->window / 2;
    } else if (waited) {
        grow(stream);
    }
    stream->window = kf_min_u64(stream->window, window_limit(state, stream, max_window));
    return next_batch(stream, file_size);
}
