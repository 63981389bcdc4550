#include "base/base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *kf_base64_encode(const void *data, size_t length)
{
    const uint8_t *in = data;
    char *out = malloc((length + 2) / 3 * 4 + 1), *at = out;

    if (!out)
        return NULL;
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        unsigned second = left > 1 ? in[i + 1] : 0, third = left > 2 ? in[i + 2] : 0;
        unsigned bits = (unsigned)in[i] << 16 | second << 8 | third;

        *at++ = digits[bits >> 18];
        *at++ = digits[bits >> 12 & 63];
        *at++ = left > 1 ? digits[bits >> 6 & 63] : '=';
        *at++ = left > 2 ? digits[bits & 63] : '=';
    }
    *at = '\0';
    return out;
}

/* The digits alone are decoded; whether their number and the padding fit is told by
 * `digit_count` and `padding`. */
static int decode(char *out, size_t *ret_length, const char *text)
{
    size_t digit_count = 0, padding = 0, length = 0;
    uint32_t bits = 0;

    for (; *text; text++) {
        const char *digit = strchr(digits, *text);

        if (*text == '\r' || *text == '\n')
            continue;
        if (*text == '=' && padding < 2) {
            padding++;
            continue;
        }
        if (!digit || padding > 0)
            return -1;
        bits = bits << 6 | (uint32_t)(digit - digits);
        if (++digit_count % 4 != 1)
            out[length++] = (char)(bits >> (6 - 2 * ((digit_count + 3) % 4)));
    }
    if (digit_count % 4 == 1 || (padding > 0 && (digit_count + padding) % 4 != 0))
        return -1;
    out[length] = '\0';
    *ret_length = length;
    return 0;
}

int kf_base64_decode(char **ret, size_t *ret_length, const char *text, struct kf_err *err)
{
    size_t size = strlen(text) / 4 * 3 + 4;
    char *out = malloc(size);

    if (!out)
        return kf_fail(err, KF_E_NOMEM, "no memory for base64");
    if (decode(out, ret_length, text) != 0) {
        explicit_bzero(out, size);
        free(out);
        return kf_fail(err, KF_E_MALFORMED, "no base64");
    }
    *ret = out;
    return 0;
}
