#include "fs/words.h"

#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"

#define SHORT_DIGEST 19 /* "sha256:" and 12 digits */

char *kf_words_size(uint64_t bytes, char out[KF_WORDS_SIZE_SIZE])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1023.5 && unit + 1 < KF_ARRAY_LEN(units)) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, KF_WORDS_SIZE_SIZE, "%.*f %s", unit > 0 && value < 9.95, value,
                   units[unit]); /* fits */
    return out;
}

static int name_length(const char *reference)
{
    const char *digest = strstr(reference, "@sha256:");

    return (int)(digest ? (size_t)(digest - reference) : strlen(reference));
}

void kf_words_short_name(const char *reference, const struct kf_digest *digest, char *out,
                         size_t size)
{
    char text[KF_DIGEST_TEXT_SIZE];

    (void)snprintf(out, size, "%.*s@%.*s...", name_length(reference), reference,
                   SHORT_DIGEST, kf_digest_format(digest, text)); /* cut is fine */
}

void kf_words_full_name(const char *reference, const struct kf_digest *digest, char *out,
                        size_t size)
{
    char text[KF_DIGEST_TEXT_SIZE];

    (void)snprintf(out, size, "%.*s@%s", name_length(reference), reference,
                   kf_digest_format(digest, text)); /* cut is fine */
}
