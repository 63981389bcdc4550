/*
 * Kits made for tests: a layout folder, what it takes to open it, and its bytes.
 */
#ifndef TESTS_KIT_KIT_WORLD_H
#define TESTS_KIT_KIT_WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "kit/open.h"
#include "layout_maker.h"

#define TAR_TYPE(base) "application/vnd.kitops.modelkit." base ".v1.tar"
#define PACK_TYPE(base) "application/vnd.cncf.model." base ".v1.tar"
#define MIB(n) ((size_t)(n) << 20)
#define FILE_NODE 2 /* of the only file of a kit's layers; node 1 is the file Kitfile */

struct world {
    struct layout layout;
    struct kf_workq *workq;
    struct kf_kit *kit;
    struct kf_kit_opts opts; /* what a test opens it with; ref and workq are set */
    struct kf_err err;
};

/* An empty layout and a work queue; world_end closes the kit too, if one was opened. */
void world_begin(struct world *world);
void world_end(struct world *world);
int world_open(struct world *world);
void world_expect_open(struct world *world);
/* The bytes of FILE_NODE in a range are those of `data` there. */
void world_expect_copy(struct world *world, const uint8_t *data, uint64_t offset,
                       uint64_t length);

/* A layer of one file, as a descriptor. */
const char *layout_file_layer(struct layout *layout, const char *type, const char *name,
                              const char *content);
/* The config of a kit with a model `a` of the layer's digest, and what `more` adds. */
const char *layout_config(struct layout *layout, const char *layer, const char *more);
/* The manifest of a kit of one model file `a`. */
const char *layout_simple_kit(struct layout *layout, const char *content);

/* For kf_kit_copy: gathers bytes, and fails instead of going beyond `stop_at`. */
struct collect {
    struct kf_buf bytes;
    size_t stop_at;
};

int collect_take(void *arg, const void *data, size_t length, struct kf_err *err);

#endif
