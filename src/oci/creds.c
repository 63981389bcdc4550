#include "oci/creds.h"

#include <stdlib.h>

#include "base/mem.h"

void kf_cred_fini(struct kf_cred *cred)
{
    kf_wipe_text(cred->username);
    kf_wipe_text(cred->password);
    kf_wipe_text(cred->identity_token);
    kf_wipe_text(cred->registry_token);
    free(cred->from);
    *cred = (struct kf_cred){0};
}
