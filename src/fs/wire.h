/*
 * The bytes of the FUSE protocol that libfuse 3.14 does not let us set: nothing else in
 * kitfs knows the wire format (include/uapi/linux/fuse.h, protocol 7.31; native byte
 * order).
 *
 * Pure: bytes in, bytes out. Used from the session's read and writev hooks.
 *
 *      fuse_in_header (40)                     fuse_init_in
 *       0 len   4 opcode   8 unique  ...       40 major  44 minor  48 max_readahead ...
 *      fuse_out_header (16)                    fuse_init_out
 *       0 len   4 error    8 unique             0 major   4 minor   8 max_readahead ...
 */
#ifndef KF_FS_WIRE_H
#define KF_FS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KF_WIRE_OUT_HEADER_SIZE 16u
#define KF_WIRE_INIT_OUT_MAX 256u /* longer replies are left alone */

/* Whether a request is a whole INIT; if so gives its number. */
bool kf_wire_init_request(const void *request, size_t length, uint64_t *ret_unique);

/* Whether a reply header answers request `unique` without an error. */
bool kf_wire_reply_ok(const void *header, size_t length, uint64_t unique);

/* Sets max_readahead in the body of a reply to INIT. False, and nothing is changed, when
 * the body is too short to have that field (kernels before protocol 7.6). */
bool kf_wire_init_set_readahead(void *body, size_t length, uint32_t readahead_bytes);

#endif
