/*
 * WWW-Authenticate, scopes and the answers of token services: what is taken is within its
 * limits, fits into a header, and a merged scope stays as it is when it is merged again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "oci/challenge.h"
#include "oci/scope.h"
#include "oci/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(const char *text)
{
    if (!text)
        return;
    if (strlen(text) > KF_CHALLENGE_VALUE_LIMIT)
        abort();
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            abort();
}

static void check_scope(const char *scope)
{
    char *merged = NULL, *again = NULL;

    if (kf_scope_merge(&merged, "repository:a:pull", scope, NULL) != 0)
        return;
    if (strlen(merged) > KF_SCOPE_LIMIT || !strstr(merged, "repository:a:"))
        abort();
    if (kf_scope_merge(&again, merged, scope, NULL) == 0 && strcmp(again, merged) != 0)
        abort();
    free(merged);
    free(again);
}

static void check_token(const char *data, size_t size)
{
    struct kf_token token;

    if (kf_token_parse(&token, data, size, NULL) != 0)
        return;
    if (!*token.value || strpbrk(token.value, " \r\n\t") || token.lifetime_ns <= 0 ||
        token.lifetime_ns > KF_TOKEN_LIFETIME_LIMIT_NS)
        abort();
    kf_token_fini(&token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    struct kf_challenge challenge;

    if (!text || kf_challenge_parse(&challenge, text, NULL) != 0)
        abort();
    if (challenge.scheme == KF_CHALLENGE_BEARER && !challenge.realm)
        abort();
    check_value(challenge.realm);
    check_value(challenge.service);
    check_value(challenge.scope);
    check_value(challenge.error);
    check_scope(challenge.scope);
    check_scope(text);
    check_token((const char *)data, size);
    kf_challenge_fini(&challenge);
    free(text);
    return 0;
}
