#include "layer/digesting.h"

#include "base/digest.h"

int kf_digesting_init(struct kf_digesting *digesting, struct kf_err *err)
{
    *digesting = (struct kf_digesting){.hasher = kf_hasher_new(err)};
    if (!digesting->hasher)
        return -1;
    kf_beside_init(&digesting->beside);
    return 0;
}

void kf_digesting_fini(struct kf_digesting *digesting)
{
    if (!digesting->hasher)
        return;
    kf_beside_fini(&digesting->beside);
    kf_hasher_free(digesting->hasher);
}

static void digest_data(void *arg)
{
    struct kf_digesting *digesting = arg;

    if (digesting->rc == 0)
        digesting->rc = kf_hasher_update(digesting->hasher, digesting->data,
                                         digesting->length, &digesting->error);
}

void kf_digesting_start(struct kf_digesting *digesting, const uint8_t *data,
                        size_t length)
{
    kf_beside_wait(&digesting->beside);
    digesting->data = data;
    digesting->length = length;
    kf_beside_start(&digesting->beside, digest_data, digesting);
}

int kf_digesting_wait(struct kf_digesting *digesting, struct kf_err *err)
{
    kf_beside_wait(&digesting->beside);
    if (digesting->rc != 0 && err)
        *err = digesting->error;
    return digesting->rc;
}

int kf_digesting_finish(struct kf_digesting *digesting, struct kf_digest *ret,
                        struct kf_err *err)
{
    if (kf_digesting_wait(digesting, err) != 0)
        return -1;
    return kf_hasher_finish(digesting->hasher, ret, err);
}
