/*
 * Which entry of an index is meant. Labels choose as in kit (kitops pkg/lib/index/
 * select.go): the one entry that carries all of them. Without labels: the only entry, or
 * the only kit. An index that holds but another one leads to that. Pure.
 */
#ifndef KF_KIT_CHOOSE_H
#define KF_KIT_CHOOSE_H

struct kf_digest;
struct kf_err;
struct kf_index;
struct kf_strings;

/* "key=value" each, every key once: KF_E_ARG otherwise. `labels` may be NULL: none. */
int kf_labels_check(const struct kf_strings *labels, struct kf_err *err);

/* Labels as checked. KF_E_ARG when no entry carries them, or several do: the message
 * lists what there is, by the tag that an entry was added under or its digest.
 * KF_E_UNSUPPORTED for an index of no kits. */
int kf_choose_entry(struct kf_digest *ret, const struct kf_index *index,
                    const struct kf_strings *labels, struct kf_err *err);

#endif
