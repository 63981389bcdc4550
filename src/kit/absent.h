/*
 * A source that has nothing: what a layer has below its cache when there is no network
 * (--offline). Every request ends with KF_E_UNREACHABLE, on the work queue.
 */
#ifndef KF_KIT_ABSENT_H
#define KF_KIT_ABSENT_H

struct kf_desc;
struct kf_err;
struct kf_source;
struct kf_workq;

/* One reference, or NULL. `workq` is borrowed and outlives the source. */
struct kf_source *kf_absent_new(const struct kf_desc *desc, struct kf_workq *workq,
                                struct kf_err *err);

#endif
