/*
 * Reads of more chunks than the fetch queue takes at once (KF_READ_CHUNKS): a foreign TOC
 * may cut chunks of one byte. Such a read is gathered in memory of its own, by several.
 */
#ifndef KF_LAYER_LONG_READ_H
#define KF_LAYER_LONG_READ_H

struct kf_feed;
struct kf_layer;
struct kf_long_read;
struct kf_read;

/* As kf_feed_read. The layer knows it, to be cancelled, until `done` is about to run. */
void kf_long_read_start(struct kf_layer *layer, struct kf_feed *feed,
                        struct kf_read *read);
/* As kf_feed_cancel, after that was called for the same read; nothing when the read is no
 * long one. */
void kf_long_read_cancel(struct kf_layer *layer, const struct kf_read *read);

#endif
