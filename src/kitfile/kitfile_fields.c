#include "kitfile/kitfile_fields.h"

#include <stddef.h>

static const struct kf_field package_fields[] = {
    {"name", KF_FIELD_TEXT, NULL, false},        {"version", KF_FIELD_TEXT, NULL, false},
    {"description", KF_FIELD_TEXT, NULL, false}, {"license", KF_FIELD_TEXT, NULL, false},
    {"authors", KF_FIELD_TEXTS, NULL, false},    {0}};
static const struct kf_field part_fields[] = {{"name", KF_FIELD_TEXT, NULL, false},
                                              {"path", KF_FIELD_TEXT, NULL, false},
                                              {"license", KF_FIELD_TEXT, NULL, false},
                                              {"type", KF_FIELD_TEXT, NULL, false},
                                              {0}};
static const struct kf_field model_fields[] = {
    {"name", KF_FIELD_TEXT, NULL, false},
    {"path", KF_FIELD_TEXT, NULL, false},
    {"license", KF_FIELD_TEXT, NULL, false},
    {"framework", KF_FIELD_TEXT, NULL, false},
    {"format", KF_FIELD_TEXT, NULL, false},
    {"version", KF_FIELD_TEXT, NULL, false},
    {"description", KF_FIELD_TEXT, NULL, false},
    {"parts", KF_FIELD_LIST, part_fields, false},
    {"parameters", KF_FIELD_ANY, NULL, false},
    {0}};
static const struct kf_field code_fields[] = {{"path", KF_FIELD_TEXT, NULL, false},
                                              {"description", KF_FIELD_TEXT, NULL, false},
                                              {"license", KF_FIELD_TEXT, NULL, false},
                                              {0}};
static const struct kf_field dataset_fields[] = {
    {"name", KF_FIELD_TEXT, NULL, false},
    {"path", KF_FIELD_TEXT, NULL, false},
    {"remotePath", KF_FIELD_TEXT, NULL, false},
    {"remoteHash", KF_FIELD_TEXT, NULL, false},
    {"description", KF_FIELD_TEXT, NULL, false},
    {"license", KF_FIELD_TEXT, NULL, false},
    {"parameters", KF_FIELD_ANY, NULL, false},
    {0}};
static const struct kf_field docs_fields[] = {{"path", KF_FIELD_TEXT, NULL, true},
                                              {"description", KF_FIELD_TEXT, NULL, false},
                                              {0}};
static const struct kf_field prompt_fields[] = {
    {"name", KF_FIELD_TEXT, NULL, false},
    {"path", KF_FIELD_TEXT, NULL, false},
    {"description", KF_FIELD_TEXT, NULL, false},
    {0}};
const struct kf_field kf_kitfile_fields[] = {
    {"manifestVersion", KF_FIELD_TEXT, NULL, true},
    {"package", KF_FIELD_OBJECT, package_fields, true},
    {"model", KF_FIELD_OBJECT, model_fields, false},
    {"code", KF_FIELD_LIST, code_fields, false},
    {"datasets", KF_FIELD_LIST, dataset_fields, false},
    {"docs", KF_FIELD_LIST, docs_fields, false},
    {"prompts", KF_FIELD_LIST, prompt_fields, false},
    {"mcpServers", KF_FIELD_LIST, prompt_fields, false},
    {0}};
