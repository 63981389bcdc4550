#include "cache/map.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"

/* Where the fields of the header lie. */
enum {
    AT_MAGIC = 0,
    AT_MAJOR = 8,
    AT_HEADER_SIZE = 12,
    AT_SIZE = 16,
    AT_CHUNK_SIZE = 24,
    AT_CHUNK_COUNT = 28,
    AT_CHECKSUM = 32,
    AT_FLAGS = 64,
    AT_DROPS = 68,
    AT_BOOT_ID = 72,
    AT_MACHINE_ID = 88,
};

#define CHECKED_SIZE 32u /* bytes 0..31, the part that never changes */
#define MAJOR 1u
#define HAS_CUTS (UINT32_C(1) << 31) /* in the field of the chunk size */

static const char magic[8] = {'K', 'I', 'T', 'F', 'S', 'M', 'A', 'P'};

static void put_u32(uint8_t *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof(value));
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

/* The hex digits of an id file, dashes skipped. */
static bool read_id(const char *path, uint8_t ret[KF_ID_SIZE])
{
    kf_auto(kf_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t id[KF_ID_SIZE] = {0};
    char text[64];
    unsigned digits = 0;

    if (fd < 0)
        return false;
    ssize_t length = read(fd, text, sizeof(text));

    for (ssize_t i = 0; i < length && digits < 2 * KF_ID_SIZE; i++) {
        static const char hex[] = "0123456789abcdef";
        const char *digit = text[i] ? strchr(hex, text[i]) : NULL;

        if (digit) {
            id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | (digit - hex));
            digits++;
        }
    }
    if (digits != 2 * KF_ID_SIZE)
        return false;
    memcpy(ret, id, sizeof(id));
    return true;
}

void kf_identity_read(struct kf_identity *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (!read_id("/proc/sys/kernel/random/boot_id", ret->boot_id))
        (void)getrandom(ret->boot_id, KF_ID_SIZE, 0);  /* 16 bytes cannot fail */
    (void)read_id("/etc/machine-id", ret->machine_id); /* zero says that there is none */
}

struct kf_map_shape kf_map_uniform(uint64_t size, uint32_t chunk_size)
{
    return (struct kf_map_shape){.size = size,
                                 .chunk_size = chunk_size,
                                 .chunk_count =
                                     size / chunk_size + (size % chunk_size != 0)};
}

struct kf_map_shape kf_map_of_cuts(uint64_t size, uint64_t chunk_count)
{
    uint64_t mean = chunk_count > 0 ? size / chunk_count : 0;

    mean = kf_min_u64(kf_max_u64(mean, KF_CHUNK_SIZE_MIN), KF_CHUNK_SIZE_MAX);
    return (struct kf_map_shape){.size = size,
                                 .chunk_size = (uint32_t)mean,
                                 .chunk_count = chunk_count,
                                 .has_cuts = true};
}

static size_t digests_at(uint64_t chunk_count)
{
    return (size_t)((KF_MAP_HEADER_SIZE + chunk_count + 63) & ~UINT64_C(63));
}

static size_t cuts_at(uint64_t chunk_count)
{
    return digests_at(chunk_count) + chunk_count * KF_SHA256_SIZE;
}

uint64_t kf_map_file_length(const struct kf_map_shape *shape)
{
    uint64_t length = cuts_at(shape->chunk_count);

    return shape->has_cuts ? length + (shape->chunk_count + 1) * sizeof(uint64_t)
                           : length;
}

int kf_map_check(const struct kf_map_shape *shape, struct kf_err *err)
{
    if (shape->chunk_size < KF_CHUNK_SIZE_MIN || shape->chunk_size > KF_CHUNK_SIZE_MAX)
        return kf_fail(err, KF_E_ARG, "chunk size %u is not between %u and %u",
                       shape->chunk_size, KF_CHUNK_SIZE_MIN, KF_CHUNK_SIZE_MAX);
    if (shape->size > INT64_MAX)
        return kf_fail(err, KF_E_ARG, "object size %llu is too large",
                       (unsigned long long)shape->size);
    if ((shape->chunk_count == 0) != (shape->size == 0) ||
        shape->chunk_count > shape->size)
        return kf_fail(err, KF_E_ARG, "an object of %llu bytes has no %llu chunks",
                       (unsigned long long)shape->size,
                       (unsigned long long)shape->chunk_count);
    if (shape->chunk_count > KF_MAP_CHUNK_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "an object has more than %llu chunks",
                       (unsigned long long)KF_MAP_CHUNK_LIMIT);
    return 0;
}

int kf_map_encode(const struct kf_map_header *header, uint8_t out[KF_MAP_HEADER_SIZE],
                  struct kf_err *err)
{
    uint64_t size = htole64(header->shape.size);
    uint16_t major = htole16(MAJOR);
    struct kf_digest checksum;

    memset(out, 0, KF_MAP_HEADER_SIZE);
    memcpy(out + AT_MAGIC, magic, sizeof(magic));
    memcpy(out + AT_MAJOR, &major, sizeof(major));
    put_u32(out + AT_HEADER_SIZE, KF_MAP_HEADER_SIZE);
    memcpy(out + AT_SIZE, &size, sizeof(size));
    put_u32(out + AT_CHUNK_SIZE,
            header->shape.chunk_size | (header->shape.has_cuts ? HAS_CUTS : 0));
    put_u32(out + AT_CHUNK_COUNT, (uint32_t)header->shape.chunk_count); /* in its limit */
    if (kf_digest_of(&checksum, out, CHECKED_SIZE, err) != 0)
        return -1;
    memcpy(out + AT_CHECKSUM, checksum.bytes, sizeof(checksum.bytes));
    put_u32(out + AT_FLAGS, header->flags);
    memcpy(out + AT_BOOT_ID, header->identity.boot_id, KF_ID_SIZE);
    memcpy(out + AT_MACHINE_ID, header->identity.machine_id, KF_ID_SIZE);
    return 0;
}

int kf_map_decode(struct kf_map_header *ret, const void *data, size_t length,
                  struct kf_err *err)
{
    const uint8_t *bytes = data;
    struct kf_digest checksum;
    uint16_t major;

    if (length < KF_MAP_HEADER_SIZE)
        return kf_fail(err, KF_E_MALFORMED, "the map ends in its header");
    memcpy(&major, bytes + AT_MAJOR, sizeof(major));
    if (memcmp(bytes + AT_MAGIC, magic, sizeof(magic)) != 0 || le16toh(major) != MAJOR ||
        get_u32(bytes + AT_HEADER_SIZE) != KF_MAP_HEADER_SIZE)
        return kf_fail(err, KF_E_MALFORMED, "not a map of version %u", MAJOR);
    if (kf_digest_of(&checksum, bytes, CHECKED_SIZE, err) != 0)
        return -1;
    if (memcmp(checksum.bytes, bytes + AT_CHECKSUM, sizeof(checksum.bytes)) != 0)
        return kf_fail(err, KF_E_MALFORMED, "the map's header is damaged");

    struct kf_map_header header = {
        .shape = {.size = get_u64(bytes + AT_SIZE),
                  .chunk_size = get_u32(bytes + AT_CHUNK_SIZE) & ~HAS_CUTS,
                  .chunk_count = get_u32(bytes + AT_CHUNK_COUNT),
                  .has_cuts = (get_u32(bytes + AT_CHUNK_SIZE) & HAS_CUTS) != 0},
        .flags = get_u32(bytes + AT_FLAGS),
    };

    if (kf_map_check(&header.shape, NULL) != 0)
        return kf_fail(err, KF_E_MALFORMED, "the map's size or chunks are impossible");
    memcpy(header.identity.boot_id, bytes + AT_BOOT_ID, KF_ID_SIZE);
    memcpy(header.identity.machine_id, bytes + AT_MACHINE_ID, KF_ID_SIZE);
    *ret = header;
    return 0;
}

static int write_cuts(int fd, const struct kf_map_shape *shape, const uint64_t *cuts,
                      struct kf_err *err)
{
    kf_auto(kf_free) uint64_t *encoded = calloc(shape->chunk_count + 1, sizeof(*encoded));

    if (!encoded)
        return kf_fail(err, KF_E_NOMEM, "no memory for a map");
    for (uint64_t i = 0; i <= shape->chunk_count; i++)
        encoded[i] = htole64(cuts[i]);
    return kf_pwrite_all(fd, encoded, (shape->chunk_count + 1) * sizeof(*encoded),
                         cuts_at(shape->chunk_count), "map", err);
}

int kf_map_create(int fd, const struct kf_map_header *header, const uint64_t *cuts,
                  struct kf_err *err)
{
    uint8_t bytes[KF_MAP_HEADER_SIZE];
    uint64_t length = kf_map_file_length(&header->shape);

    if (kf_map_encode(header, bytes, err) != 0)
        return -1;
    /* A hole in a mapped file kills its writer by SIGBUS when the disk is full. */
    errno = posix_fallocate(fd, 0, (off_t)length);
    if (errno != 0)
        return kf_fail_errno(err, "cannot allocate the map");
    if (header->shape.has_cuts && write_cuts(fd, &header->shape, cuts, err) != 0)
        return -1;
    return kf_pwrite_all(fd, bytes, sizeof(bytes), 0, "map", err);
}

int kf_map_attach(struct kf_map *ret, int fd, const struct kf_map_shape *shape,
                  struct kf_err *err)
{
    struct kf_map map = {
        .length = (size_t)kf_map_file_length(shape),
        .chunk_count = shape->chunk_count,
    };
    struct kf_map_header header;
    struct stat st;

    if (fstat(fd, &st) != 0)
        return kf_fail_errno(err, "cannot examine the map");
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != map.length)
        return kf_fail(err, KF_E_MALFORMED, "the map has another length");
    void *base = mmap(NULL, map.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (base == MAP_FAILED)
        return kf_fail_errno(err, "cannot map the map");
    map.base = base;
    if (kf_map_decode(&header, map.base, map.length, err) != 0) {
        kf_map_detach(&map);
        return -1;
    }
    if (header.shape.size != shape->size ||
        header.shape.chunk_size != shape->chunk_size ||
        header.shape.chunk_count != shape->chunk_count ||
        header.shape.has_cuts != shape->has_cuts) {
        kf_map_detach(&map);
        return kf_fail(err, KF_E_MALFORMED, "the map is that of another object");
    }
    *ret = map;
    return 0;
}

static uint64_t cut_of(const struct kf_map *map, uint64_t index)
{
    return get_u64(map->base + cuts_at(map->chunk_count) + index * sizeof(uint64_t));
}

bool kf_map_has_cuts(const struct kf_map *map, const uint64_t *cuts)
{
    for (uint64_t i = 0; i <= map->chunk_count; i++)
        if (cut_of(map, i) != cuts[i])
            return false;
    return true;
}

bool kf_map_place(const struct kf_map *map, const struct kf_map_shape *shape,
                  uint64_t chunk, uint64_t *ret_offset, uint32_t *ret_length)
{
    uint64_t offset = chunk * shape->chunk_size, end;

    if (chunk >= map->chunk_count)
        return false;
    end = kf_min_u64(offset + shape->chunk_size, shape->size);
    if (shape->has_cuts) {
        offset = cut_of(map, chunk);
        end = cut_of(map, chunk + 1);
    }
    if (offset >= end || end > shape->size || end - offset > KF_CHUNK_SIZE_MAX)
        return false;
    *ret_offset = offset;
    *ret_length = (uint32_t)(end - offset);
    return true;
}

void kf_map_detach(struct kf_map *map)
{
    if (map->base)
        (void)munmap(map->base, map->length); /* cannot fail on what mmap gave */
    map->base = NULL;
}

bool kf_map_is_current(const struct kf_map *map, const struct kf_identity *identity)
{
    return memcmp(map->base + AT_BOOT_ID, identity->boot_id, KF_ID_SIZE) == 0;
}

static uint32_t *flags_of(const struct kf_map *map)
{
    return (uint32_t *)(void *)(map->base + AT_FLAGS);
}

static uint32_t *drops_of(const struct kf_map *map)
{
    return (uint32_t *)(void *)(map->base + AT_DROPS);
}

static uint8_t *state_of(const struct kf_map *map, uint64_t chunk)
{
    return map->base + KF_MAP_HEADER_SIZE + chunk;
}

static void clear_durable(struct kf_map *map)
{
    __atomic_fetch_and(flags_of(map), ~htole32(KF_MAP_DURABLE), __ATOMIC_SEQ_CST);
}

/* Killed half-way, the boot id is still the old one, and the next opener starts over. */
void kf_map_make_current(struct kf_map *map, const struct kf_identity *identity)
{
    bool trusted =
        kf_map_is_durable(map) && kf_map_first_absent(map) == map->chunk_count &&
        memcmp(map->base + AT_MACHINE_ID, identity->machine_id, KF_ID_SIZE) == 0;

    if (!trusted) {
        clear_durable(map);
        for (uint64_t chunk = 0; chunk < map->chunk_count; chunk++)
            (void)kf_map_change(map, chunk, KF_CHUNK_VERIFIED, KF_CHUNK_PRESENT);
    }
    memcpy(map->base + AT_MACHINE_ID, identity->machine_id, KF_ID_SIZE);
    memcpy(map->base + AT_BOOT_ID, identity->boot_id, KF_ID_SIZE);
}

uint8_t kf_map_state(const struct kf_map *map, uint64_t chunk)
{
    return __atomic_load_n(state_of(map, chunk), __ATOMIC_ACQUIRE);
}

static uint64_t *digest_words(const struct kf_map *map, uint64_t chunk)
{
    return (uint64_t *)(void *)(map->base + digests_at(map->chunk_count) +
                                chunk * KF_SHA256_SIZE);
}

#define DIGEST_WORDS (KF_SHA256_SIZE / sizeof(uint64_t))

void kf_map_set_verified(struct kf_map *map, uint64_t chunk,
                         const struct kf_digest *digest)
{
    uint64_t *at = digest_words(map, chunk);
    uint64_t words[DIGEST_WORDS];

    memcpy(words, digest->bytes, sizeof(words));
    for (size_t i = 0; i < DIGEST_WORDS; i++)
        __atomic_store_n(&at[i], words[i], __ATOMIC_RELAXED);
    __atomic_store_n(state_of(map, chunk), KF_CHUNK_VERIFIED, __ATOMIC_RELEASE);
}

bool kf_map_change(struct kf_map *map, uint64_t chunk, uint8_t seen, uint8_t next)
{
    return __atomic_compare_exchange_n(state_of(map, chunk), &seen, next, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* This order and that of kf_map_set_durable leave no way to a durable map that had a
 * chunk rewritten after the sync: whichever of the two comes second clears the flag. */
void kf_map_drop(struct kf_map *map, uint64_t chunk)
{
    __atomic_fetch_add(drops_of(map), 1, __ATOMIC_SEQ_CST);
    clear_durable(map);
    __atomic_store_n(state_of(map, chunk), KF_CHUNK_ABSENT, __ATOMIC_RELEASE);
}

void kf_map_digest(const struct kf_map *map, uint64_t chunk, struct kf_digest *ret)
{
    const uint64_t *at = digest_words(map, chunk);
    uint64_t words[DIGEST_WORDS];

    for (size_t i = 0; i < DIGEST_WORDS; i++)
        words[i] = __atomic_load_n(&at[i], __ATOMIC_RELAXED);
    memcpy(ret->bytes, words, sizeof(words));
}

/* Eight states at once: the bit that says "here" of each. The bytes after the last state
 * belong to the map as well (padding or digests), so whole words can be read. */
static uint64_t here_bits(const struct kf_map *map, uint64_t first_chunk)
{
    const uint64_t *word = (const uint64_t *)(const void *)state_of(map, first_chunk);
    uint64_t bits = le64toh(__atomic_load_n(word, __ATOMIC_ACQUIRE));
    uint64_t rest = map->chunk_count - first_chunk;

    bits &= UINT64_C(0x0202020202020202);
    return rest >= 8 ? bits : bits & ((UINT64_C(1) << (8 * rest)) - 1);
}

uint64_t kf_map_here(const struct kf_map *map)
{
    uint64_t count = 0;

    for (uint64_t chunk = 0; chunk < map->chunk_count; chunk += 8)
        count += (uint64_t)__builtin_popcountll(here_bits(map, chunk));
    return count;
}

uint64_t kf_map_first_absent(const struct kf_map *map)
{
    for (uint64_t chunk = 0; chunk < map->chunk_count; chunk += 8) {
        uint64_t absent = here_bits(map, chunk) ^ UINT64_C(0x0202020202020202);

        if (absent)
            return kf_min_u64(chunk + (uint64_t)__builtin_ctzll(absent) / 8,
                              map->chunk_count);
    }
    return map->chunk_count;
}

bool kf_map_is_durable(const struct kf_map *map)
{
    return (__atomic_load_n(flags_of(map), __ATOMIC_SEQ_CST) & htole32(KF_MAP_DURABLE)) !=
           0;
}

uint32_t kf_map_drops(const struct kf_map *map)
{
    return __atomic_load_n(drops_of(map), __ATOMIC_SEQ_CST);
}

void kf_map_set_durable(struct kf_map *map, uint32_t drops)
{
    __atomic_fetch_or(flags_of(map), htole32(KF_MAP_DURABLE), __ATOMIC_SEQ_CST);
    if (kf_map_drops(map) != drops)
        clear_durable(map);
}
