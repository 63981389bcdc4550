/*
 * libfuse's session over a /dev/fuse that the keeper mounted, and the set-up that libfuse
 * alone cannot do (fs/wire). One thread, but for what libfuse starts itself.
 */
#ifndef KF_FS_SESSION_H
#define KF_FS_SESSION_H

#include <stdint.h>

struct kf_err;
struct kf_session;
struct kf_view;

/* Called once, while the kernel waits for our answer to INIT: the last moment at which
 * the readahead setting of the mount counts for its first file. Gives what is in effect.
 */
typedef uint32_t kf_set_readahead(void *arg, uint32_t wanted_kib);

/* Takes the descriptor, answers INIT. The view is borrowed and outlives the session; its
 * readahead_kib is filled in. */
int kf_session_open(struct kf_session **ret, int device, struct kf_view *view,
                    uint32_t readahead_kib, kf_set_readahead *set_readahead, void *arg,
                    struct kf_err *err);
/* Serves until the mount is gone. */
int kf_session_serve(struct kf_session *session, struct kf_err *err);
/* After every request was answered. NULL is fine. */
void kf_session_close(struct kf_session *session);

#endif
