/*
 * OCI image layouts made by hand for tests, in a folder of their own.
 */
#ifndef TESTS_KIT_LAYOUT_MAKER_H
#define TESTS_KIT_LAYOUT_MAKER_H

#include <stddef.h>

#include "base/digest.h"

struct layout {
    char dir[64];
    char ref[80]; /* "oci:DIR:v1" */
};

void layout_begin(struct layout *layout);
void layout_end(struct layout *layout); /* removes it */
void remove_folder(const char *path);

/* A descriptor in JSON, of a blob that was put into the layout. Static; each call uses
 * the next of 16. `extra` goes into the object: "" or ",\"key\":value". */
const char *layout_blob(struct layout *layout, const char *media_type, const void *data,
                        size_t length, const char *extra);
const char *layout_text(struct layout *layout, const char *media_type, const char *text);
/* A manifest with the given config and layers ("[...]", or "null"), as a descriptor. */
const char *layout_manifest(struct layout *layout, const char *artifact_type,
                            const char *config, const char *layers, const char *extra);
/* An index of the given descriptors, as a descriptor. */
const char *layout_index(struct layout *layout, const char *entries);
/* Makes the tag v1 of it. */
void layout_tag(struct layout *layout, const char *descriptor);
/* The digest of a descriptor as the calls above write it. */
struct kf_digest digest_in(const char *descriptor);

#endif
