/*
 * Release at end of scope, moving ownership, and arithmetic that refuses to overflow.
 *
 *     kf_auto(kf_free) char *text = ...;     released when `text` leaves its scope
 *     return kf_steal(text);                 moved out: the scope releases nothing
 *
 * The argument of kf_auto is a function that takes a pointer to the variable; a module
 * defines its own with KF_DEFINE_AUTO(type pointer, destructor). Destructors take NULL.
 */
#ifndef KF_BASE_MEM_H
#define KF_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define kf_auto(release) __attribute__((__cleanup__(release)))

/* static inline void kf_auto_NAME(TYPE *p): releases *p by DESTRUCTOR. */
#define KF_DEFINE_AUTO(name, type, destructor) \
    static inline void kf_auto_##name(type *p) \
    {                                          \
        destructor(*p);                        \
    }

#define kf_steal(variable)                              \
    __extension__({                                     \
        __typeof__(variable) *kf_steal_p = &(variable); \
        __typeof__(variable) kf_steal_v = *kf_steal_p;  \
        *kf_steal_p = NULL;                             \
        kf_steal_v;                                     \
    })

/* For memory of malloc: kf_auto(kf_free) char *s. */
static inline void kf_free(void *p)
{
    free(*(void **)p);
}

/* Secrets, in memory of malloc: overwritten, then freed. NULL is fine. */
static inline void kf_wipe(void *p, size_t length)
{
    if (p)
        explicit_bzero(p, length);
    free(p);
}

static inline void kf_wipe_text(char *text)
{
    kf_wipe(text, text ? strlen(text) : 0);
}

KF_DEFINE_AUTO(wiped, char *, kf_wipe_text)

/* For descriptors: kf_auto(kf_close_fd) int fd = -1. */
static inline void kf_close_fd(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* read-only or already synced; nothing to do about a failure */
}

/* True on success; on overflow false, and *ret is untouched. */
static inline bool kf_add_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
    uint64_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *ret = sum;
    return true;
}

static inline bool kf_mul_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
    uint64_t product;

    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *ret = product;
    return true;
}

static inline uint64_t kf_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t kf_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#define KF_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* The struct that embeds `member` at `pointer`. */
#define kf_container_of(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
