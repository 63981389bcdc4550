/*
 * YAML as gopkg.in/yaml.v3 3.0.1 writes it with an indent of 2, byte for byte (encode.go,
 * emitterc.go): what kit prints. Block collections, one flow list of texts, no folding;
 * its oddities with line breaks other than LF included. libyaml's emitter quotes, folds
 * and indents in other ways.
 *
 * The first failure (KF_E_LIMIT of the buffer, KF_E_NOMEM) is kept, what is written after
 * it is dropped, and kf_yaml_end gives it. One thread; pure.
 */
#ifndef KF_KITFILE_YAML_EMIT_H
#define KF_KITFILE_YAML_EMIT_H

#include <stdbool.h>
#include <stddef.h>

struct kf_buf;
struct kf_err;

struct kf_yaml_out {
    struct kf_buf *to;
    struct kf_err *err;
    bool failed;
    bool in_flow;
    bool spaced; /* nothing or a space comes before what is next */
    bool fresh;  /* the line has but indentation, and '-', '?' or ':' behind it */
    int indent;  /* of the innermost collection; negative outside of all */
    size_t column;
};

/* Appends to `to`, and fills `err`: both are borrowed until kf_yaml_end. */
void kf_yaml_begin(struct kf_yaml_out *out, struct kf_buf *to, struct kf_err *err);
int kf_yaml_end(struct kf_yaml_out *out);

/* A collection that is not empty; in it comes an item or a key before each value. */
void kf_yaml_open(struct kf_yaml_out *out);
void kf_yaml_close(struct kf_yaml_out *out);
void kf_yaml_item(struct kf_yaml_out *out);
void kf_yaml_key(struct kf_yaml_out *out, const char *key);

/* A list of texts in brackets; `next` before each but the first. */
void kf_yaml_flow_open(struct kf_yaml_out *out);
void kf_yaml_flow_next(struct kf_yaml_out *out);
void kf_yaml_flow_close(struct kf_yaml_out *out);

/* Values: UTF-8 that is quoted where it would be read as something else, and what is
 * written as it stands (null, a number, "{}"). */
void kf_yaml_text(struct kf_yaml_out *out, const char *text);
void kf_yaml_word(struct kf_yaml_out *out, const char *word);

#endif
