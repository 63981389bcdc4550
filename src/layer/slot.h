/*
 * A place for the feed of one object of a layer, made when it is first needed. In a layer
 * with a TOC its chunk map may have to be fetched first, and no thread waits for that:
 * reads that come too early are kept here, in order.
 *
 * Embedded in its owner (a large file, or the layer for all the rest); guarded by the
 * layer's lock.
 */
#ifndef KF_LAYER_SLOT_H
#define KF_LAYER_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "fetch/feed.h"

struct kf_err;
struct kf_file;
struct kf_layer;
struct kf_object;
struct kf_table_entry;

enum kf_slot_state { KF_SLOT_EMPTY, KF_SLOT_LOADING, KF_SLOT_READY };

struct kf_waiting {
    struct kf_read *read;
    struct kf_file *file;
    struct kf_waiting *next;
};

struct kf_slot {
    struct kf_layer *layer;
    struct kf_file *owner; /* the large file; NULL: the remainder */
    enum kf_slot_state state;
    struct kf_feed *feed; /* once it is ready; never changes again */
    struct kf_waiting *first, **last;
};

void kf_slot_init(struct kf_slot *slot, struct kf_layer *layer, struct kf_file *owner);
void kf_slot_fini(struct kf_slot *slot);

/* Makes the feed now, when that takes no network (may wait for the disk). Two callers may
 * race: one feed stays. 0 also when it must be loaded later. */
int kf_slot_open(struct kf_slot *slot, struct kf_err *err);

/* A reference to the feed, or NULL when it is not there yet. */
struct kf_feed *kf_slot_feed(struct kf_slot *slot);

/* The same for a read that waits, if it must, until there is one: then it is started by
 * kf_file_start (without a file: as a read of the object), or told the failure by its
 * `done`. NULL: it was kept, or has failed. */
struct kf_feed *kf_slot_feed_or_wait(struct kf_slot *slot, struct kf_file *file,
                                     struct kf_read *read);

/* Takes a read that waits out again, and has its `done` run with KF_E_CANCELLED on the
 * work queue. False: it does not wait here. */
bool kf_slot_cancel(struct kf_slot *slot, struct kf_read *read);

/* What the object over a large file is called, or over the rest (NULL). */
void kf_slot_object_name(const struct kf_layer *layer, const struct kf_table_entry *entry,
                         char out[KF_OBJECT_NAME_SIZE]);

/* The same of a layer without a TOC, whose objects have the name of that digest. */
void kf_plain_object_name(const struct kf_digest *digest,
                          const struct kf_table_entry *entry,
                          char out[KF_OBJECT_NAME_SIZE]);
/* Opens the object of a plain layer: over a large file, or over the rest (NULL). */
int kf_slot_plain_object(const struct kf_layer *layer, const struct kf_table_entry *entry,
                         struct kf_object **ret, struct kf_err *err);

/* file.c: what a slot does with a read that may go on. */
void kf_file_start(struct kf_file *file, struct kf_read *read);
/* file.c: the large file's place. */
uint32_t kf_file_entry(const struct kf_file *file);

#endif
