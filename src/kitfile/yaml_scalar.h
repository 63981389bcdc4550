/*
 * What a plain YAML scalar is: typed as yaml.v3 (resolve.go) types it for Go, written as
 * Go's encoding/json writes that type. Pure.
 */
#ifndef KF_KITFILE_YAML_SCALAR_H
#define KF_KITFILE_YAML_SCALAR_H

struct kf_err;
struct kf_value;

/* From a text to what it is: null, a literal (which keeps its text), or the text. */
int kf_yaml_resolve(struct kf_value *value, struct kf_err *err);

/* The fewest digits that give a finite number back, as printf's %e writes them; how many.
 */
#define KF_YAML_NUMBER_SIZE 32
int kf_yaml_shortest(double real, char ret[KF_YAML_NUMBER_SIZE]);

#endif
