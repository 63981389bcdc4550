/*
 * The file table of a plain tar blob, by reading little more than its headers: windows of
 * 64 KiB, of up to 256 KiB while headers come densely, and a jump over the data of a
 * large file. Bounded memory: one window (1 MiB when an extension header needs it) and
 * the table.
 */
#ifndef KF_LAYER_TAR_WALK_H
#define KF_LAYER_TAR_WALK_H

#include <stdint.h>

struct kf_err;
struct kf_source;
struct kf_table;
struct kf_tar_result;

/* Blocking. `timeout_ns` is that of each request: a walk that moves goes on. Entries for
 * the root itself are left out. Fills an uninitialized table. */
int kf_tar_walk(struct kf_table *ret, struct kf_source *source, int64_t timeout_ns,
                struct kf_err *err);

/* Into a table, with its name checked; the root is left out. */
int kf_tar_add_entry(struct kf_table *table, const struct kf_tar_result *found,
                     struct kf_err *err);

#endif
