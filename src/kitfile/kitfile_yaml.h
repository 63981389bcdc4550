/*
 * YAML to values, typed as yaml.v3 types them for Go (kitfile/yaml_scalar.h): the only
 * user of libyaml. A scalar keeps its text beside its type, for fields that are text
 * whatever stands there (`manifestVersion: 1.0`). Aliases are copies, `<<` merges; maps
 * come out sorted by key. Refused: a second document, keys that are not text or come
 * twice, NUL, tags other than !!str, !!map and !!seq.
 *
 * Limits: 4 MiB, depth 64, 1,024 anchors; 262,144 values and 8 MiB of text, both after
 * aliases. Errors name line and column. Pure.
 */
#ifndef KF_KITFILE_KITFILE_YAML_H
#define KF_KITFILE_KITFILE_YAML_H

#include <stddef.h>

#include "kitfile/value.h"

struct kf_err;

#define KF_YAML_LIMIT ((size_t)4 << 20)
#define KF_YAML_DEPTH 64u
#define KF_YAML_VALUES 262144u
#define KF_YAML_ANCHORS 1024u
#define KF_YAML_TEXT ((size_t)8 << 20)

/* An empty document is a null. */
int kf_yaml_parse(struct kf_value *ret, const void *data, size_t length,
                  struct kf_err *err);

#endif
