#include "base/json.h"

#include "base/err.h"

int kf_json_check_size(const char *json, size_t length, size_t limit_bytes,
                       size_t limit_values, const char *what, struct kf_err *err)
{
    size_t values = 0;

    if (length > limit_bytes)
        return kf_fail(err, KF_E_LIMIT, "%s of %zu bytes is over the limit of %zu", what,
                       length, limit_bytes);
    for (size_t i = 0; i < length; i++)
        values += json[i] == '{' || json[i] == '[' || json[i] == ',';
    if (values > limit_values)
        return kf_fail(err, KF_E_LIMIT, "%s with more than %zu values", what,
                       limit_values);
    return 0;
}
