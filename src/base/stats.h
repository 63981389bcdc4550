/*
 * Named counters of one mount (or one command): added to from any thread, read as a
 * snapshot. One table gives the enum, the names in status.json and the help text.
 */
#ifndef KF_BASE_STATS_H
#define KF_BASE_STATS_H

#include <stdint.h>

#define KF_STATS(X)                                                                    \
    X(FETCHED_BYTES, "fetched_bytes", "bytes received from the source")                \
    X(FETCH_REQUESTS, "fetch_requests", "range requests sent to the source")           \
    X(NEEDED_BYTES, "needed_bytes", "bytes of chunks that a reader asked for first")   \
    X(READ_BYTES, "read_bytes", "bytes given to readers")                              \
    X(READ_REQUESTS, "read_requests", "read requests from the kernel")                 \
    X(READ_WAITS, "read_waits", "read requests that had to wait for the source")       \
    X(CACHE_BYTES, "cache_bytes", "bytes given to readers from the cache")             \
    X(CACHE_WRITTEN_BYTES, "cache_written_bytes", "bytes written to the cache")        \
    X(REUSED_BYTES, "reused_bytes", "bytes of chunks that other cached objects held")  \
    X(CACHE_SKIPPED, "cache_skipped", "chunks served but not kept")                    \
    X(CACHE_DAMAGED, "cache_damaged", "cached chunks found damaged and fetched again") \
    X(RETRIES, "retries", "requests sent again after a failure")                       \
    X(REPLACED, "slow_replaced", "slow connections replaced by others")                \
    X(READ_ERRORS, "read_errors", "read requests answered with an error")              \
    X(VERIFY_FAILURES, "verify_failures", "chunks whose digest differed")

enum kf_stat {
#define KF_STAT_ENUM(id, name, help) KF_STAT_##id,
    KF_STATS(KF_STAT_ENUM)
#undef KF_STAT_ENUM
        KF_STAT_COUNT
};

struct kf_stats {
    uint64_t values[KF_STAT_COUNT]; /* atomic, relaxed */
};

static inline void kf_stats_add(struct kf_stats *stats, enum kf_stat which,
                                uint64_t amount)
{
    if (stats)
        __atomic_fetch_add(&stats->values[which], amount, __ATOMIC_RELAXED);
}

static inline uint64_t kf_stats_get(const struct kf_stats *stats, enum kf_stat which)
{
    return __atomic_load_n(&stats->values[which], __ATOMIC_RELAXED);
}

const char *kf_stat_name(enum kf_stat which);
const char *kf_stat_help(enum kf_stat which);

#endif
