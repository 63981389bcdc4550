/*
 * The roots of the tables of contents of a manifest's layers, fetched into the cache
 * while the config is still on its way, so that opening the layers asks for nothing: one
 * round trip less. A hint; what fails here is tried again there.
 */
#ifndef KF_KIT_WARM_H
#define KF_KIT_WARM_H

struct kf_filter;
struct kf_layers_from;
struct kf_manifest;

/* Blocking, a few seconds at most. Without a store or an origin nothing is done. Of
 * layers that the filter (NULL: none) may leave out nothing is asked for. */
void kf_warm_tocs(const struct kf_manifest *manifest, const struct kf_filter *filter,
                  const struct kf_layers_from *from);

#endif
