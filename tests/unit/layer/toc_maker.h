/*
 * Tables of contents for tests: what a packer would have made of a list of files, in
 * bytes that a test can break before they are decoded.
 */
#ifndef TESTS_LAYER_TOC_MAKER_H
#define TESTS_LAYER_TOC_MAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "layer/toc.h"

struct kf_err;

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define CHUNK ((uint32_t)MIB(1))

struct toc_entry {
    const char *name;
    uint64_t size;
    bool is_dir;
};

/* Everything may be changed before decoding. */
struct toc_image {
    struct kf_toc source; /* what was encoded */
    struct kf_chunk_row *rows;
    uint32_t row_count;
    struct kf_buf root; /* decompressed */
    struct kf_buf slices;
    struct kf_toc_link link;
    uint64_t blob_size;
    struct kf_toc_limits limits;
};

/* Entries in the order of the stream: a header of 512 bytes before each (none for raw),
 * data padded to 512, chunks cut at the ends of files of 64 KiB or more. Chunks have
 * made-up digests; those of tar+zstd are stored in half of their length and 20 bytes. */
void toc_make(struct toc_image *ret, enum kf_toc_carrier carrier,
              const struct toc_entry *entries, uint32_t count, uint32_t chunk_size);
#define TOC_USUAL_COUNT 5u
/* A usual one. By name: 0 "a" of 100 KiB, 1 "d", 2 "d/e" of 10 bytes, 3 "x" of
 * 16 MiB + 1 in slice 1, 4 "y" of 70 chunks in slice 3, not inline. */
void toc_make_usual(struct toc_image *ret, enum kf_toc_carrier carrier);
void toc_image_fini(struct toc_image *image);

/* static void NAME(image): a change, for tables of them. */
#define TOC_CHANGE(name, change)              \
    static void name(struct toc_image *image) \
    {                                         \
        change;                               \
    }

/* Encodes source and rows once more, after a change of them. */
void toc_encode_again(struct toc_image *image);

/* A section's directory entry and its bytes; the test fails when there is none. */
uint8_t *toc_directory(struct toc_image *image, const char *type);
uint8_t *toc_section(struct toc_image *image, const char *type);
uint8_t *toc_file(struct toc_image *image, uint32_t index);  /* record of FILE */
uint8_t *toc_slice(struct toc_image *image, uint32_t index); /* record of SLIC */
/* Adds to a stored number. */
void toc_add32(uint8_t *p, int32_t n);
void toc_add64(uint8_t *p, int64_t n);

/* These encode again. A name of so many bytes, with a slash after each `component`. */
void toc_long_name(struct toc_image *image, uint32_t file, size_t component,
                   size_t length);
void toc_set_meta(struct toc_image *image, size_t length);

/* Puts an empty section of that type behind the last one in the directory. */
void toc_add_section(struct toc_image *image, const char *type, uint32_t flags);
/* Bytes at the end of the root. */
void toc_grow(struct toc_image *image, size_t length, uint8_t byte);

/* Of the root in an allocation of its own, so that a byte too far is seen. */
int toc_decode(const struct toc_image *image, struct kf_toc *ret, struct kf_err *err);
/* The bytes of a slice, wherever it is. */
const uint8_t *toc_slice_bytes(const struct toc_image *image, const struct kf_toc *toc,
                               uint32_t slice, size_t *ret_length);
/* Decodes root and slices, and compares all with what was encoded. */
void toc_expect_round_trip(const struct toc_image *image);

#endif
