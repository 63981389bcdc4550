#include "kit/absent.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/source.h"
#include "oci/manifest.h"

struct absent {
    struct kf_source source;
    struct kf_workq *workq;
};

static void submit(struct kf_source *source, struct kf_source_req *req)
{
    struct absent *absent = kf_container_of(source, struct absent, source);

    (void)kf_source_ref(source); /* kf_source_finish drops it */
    if (req->result.kind == KF_E_NONE)
        (void)kf_fail(&req->result, KF_E_UNREACHABLE,
                      "'%s' is not wholly in the cache, and this is offline",
                      source->name);
    kf_source_finish(req, absent->workq);
}

static void cancel(struct kf_source *source, struct kf_source_req *req)
{
    /* It has ended: `done` is queued. */
}

static void destroy(struct kf_source *source)
{
    free(kf_container_of(source, struct absent, source));
}

static const struct kf_source_ops absent_ops = {submit, cancel, destroy};

struct kf_source *kf_absent_new(const struct kf_desc *desc, struct kf_workq *workq,
                                struct kf_err *err)
{
    struct absent *absent = calloc(1, sizeof(*absent));

    if (!absent) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a source");
        return NULL;
    }
    absent->source.ops = &absent_ops;
    absent->source.size = desc->size;
    absent->source.refs = 1;
    (void)kf_digest_format(&desc->digest, absent->source.name);
    absent->workq = workq;
    return &absent->source;
}
