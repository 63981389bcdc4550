#include "net/pace.h"

#include "base/clock.h"
#include "base/mem.h"

#define FADING 16u

static uint64_t rate_of(uint64_t bytes, int64_t span_ns)
{
    return span_ns > 0 ? (uint64_t)((double)bytes * KF_NS_PER_S / (double)span_ns) : 0;
}

void kf_pace_connection(struct kf_pace *pace, uint64_t bytes, int64_t span_ns)
{
    uint64_t rate = rate_of(bytes, span_ns);

    if (rate > pace->connection)
        pace->connection = rate;
}

void kf_pace_look(struct kf_pace *pace, int64_t span_ns)
{
    uint64_t rate = rate_of(pace->bytes, span_ns);

    pace->bytes = 0;
    pace->connection -= pace->connection / FADING;
    pace->all -= pace->all / FADING;
    if (rate > pace->all)
        pace->all = rate;
}

bool kf_pace_is_slow(const struct kf_pace *pace, unsigned active,
                     struct kf_pace_slow *slow, uint64_t bytes, uint64_t left,
                     int64_t span_ns)
{
    uint64_t rate = rate_of(bytes, span_ns);
    uint64_t fair = kf_min_u64(pace->connection, pace->all / (active > 0 ? active : 1));

    slow->under_floor_ns = rate < KF_PACE_FLOOR ? slow->under_floor_ns + span_ns : 0;
    slow->looks = rate < fair / KF_PACE_TIMES ? slow->looks + 1 : 0;
    return left > rate * KF_PACE_NEAR_S &&
           (slow->looks >= KF_PACE_LOOKS || slow->under_floor_ns >= KF_PACE_FLOOR_NS);
}

void kf_pace_replaced(struct kf_pace *pace)
{
    pace->connection /= 2;
    pace->all /= 2;
}
