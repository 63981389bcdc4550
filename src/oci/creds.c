#include "oci/creds.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void kf_cred_fini(struct kf_cred *cred)
{
    wipe(cred->username);
    wipe(cred->password);
    wipe(cred->identity_token);
    wipe(cred->registry_token);
    free(cred->from);
    *cred = (struct kf_cred){0};
}
