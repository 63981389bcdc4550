/*
 * References: what is accepted has the parts it must have, and its canonical text parses
 * to the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "oci/ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What goes into addresses and paths holds nothing that means something there. */
static void check(const struct kf_ref *ref)
{
    if (ref->where == KF_REF_LAYOUT) {
        if (!ref->dir || !*ref->dir || ref->registry || ref->repository)
            abort();
        return;
    }
    if (!ref->registry || !ref->repository || ref->dir || !*kf_ref_api_host(ref) ||
        strpbrk(ref->registry, "/?#@% ") || strpbrk(ref->repository, ":?#@%\\ ") ||
        strstr(ref->repository, "..") || (ref->tag && strpbrk(ref->tag, "/:?#@% ")))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size), *once, *twice;
    struct kf_ref ref;
    struct kf_err err;

    if (!text)
        abort();
    if (kf_ref_parse(&ref, text, &err) != 0) {
        free(text);
        return 0;
    }
    check(&ref);
    once = kf_ref_format(&ref);
    kf_ref_fini(&ref);
    if (!once || kf_ref_parse(&ref, once, &err) != 0)
        abort();
    twice = kf_ref_format(&ref);
    kf_ref_fini(&ref);
    if (!twice || strcmp(once, twice) != 0)
        abort();
    free(text);
    free(once);
    free(twice);
    return 0;
}
