/*
 * A file of credentials: what is taken from it is bounded, helpers' names are harmless,
 * no message has a secret's control bytes, and what login writes can be read back.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "oci/creds_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
    if (text && strlen(text) > KF_CRED_TEXT_LIMIT)
        abort();
}

static void check_suffix(const char *text)
{
    if (text && (!*text || strchr(text, '/') || strlen(text) > KF_CREDS_SUFFIX_LIMIT))
        abort();
}

static void check_cred(const struct kf_cred *cred)
{
    if (!cred->username != !cred->password || cred->from ||
        (cred->username && strchr(cred->username, ':')))
        abort();
    check_text(cred->username);
    check_text(cred->password);
    check_text(cred->identity_token);
    check_text(cred->registry_token);
}

static void check_edit(const char *json, size_t size)
{
    struct kf_creds_file file;
    bool found;
    char *text;

    if (kf_creds_file_edit(&text, &found, json, size, "h.io", "u", "p", NULL) != 0)
        return;
    /* What it had before may be malformed, but not our entry. */
    if (kf_creds_file_parse(&file, text, strlen(text), "h.io", NULL, NULL) == 0) {
        if (!file.cred.username || strcmp(file.cred.username, "u") != 0)
            abort();
        kf_creds_file_fini(&file);
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const hosts[] = {"h.io", "docker.io", "r.x.io:5000"};
    const char *json = (const char *)data;
    struct kf_creds_file file;

    for (size_t i = 0; i < 3; i++) {
        if (kf_creds_file_parse(&file, json, size, hosts[i], "a/b", NULL) != 0)
            continue;
        check_suffix(file.host_helper);
        check_suffix(file.store_helper);
        check_cred(&file.cred);
        kf_creds_file_fini(&file);
    }
    check_edit(json, size);
    return 0;
}
