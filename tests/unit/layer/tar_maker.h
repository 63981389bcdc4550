/*
 * Tar archives made by hand for tests: also such as no archiver would write.
 */
#ifndef TESTS_LAYER_TAR_MAKER_H
#define TESTS_LAYER_TAR_MAKER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* A header block; what is NULL or 0 gets a usual value (a ustar file of mode 0644). */
struct tar_header {
    const char *name;
    const char *prefix;
    const char *magic; /* 8 bytes: magic and version; "" is V7 */
    char type;         /* 0: '0'; '?' stands for the NUL of V7 */
    uint64_t size;
    const char *size_field; /* the 12 bytes as they are */
    const char *mode_field; /* the 8 bytes as they are */
    const char *mtime_field;
    int checksum_off; /* added to the right checksum */
    int signed_sum;   /* the checksum of signed bytes, as some old writers made it */
};

void tar_add_header(struct kf_buf *tar, const struct tar_header *header);
/* Bytes and their padding. */
void tar_add_data(struct kf_buf *tar, const void *data, size_t length);
void tar_add_file(struct kf_buf *tar, const char *name, const void *data, size_t length);
void tar_add_dir(struct kf_buf *tar, const char *name);
/* An extension header of type 'x', 'L' ... and its data. */
void tar_add_extension(struct kf_buf *tar, char type, const void *data, size_t length);
/* One pax record in an 'x' header. */
void tar_add_pax(struct kf_buf *tar, const char *key, const char *value);
void tar_end(struct kf_buf *tar);

#endif
