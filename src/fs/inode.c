#include "fs/inode.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "kit/open.h"

struct inode {
    struct kf_file *file;
    uint32_t users; /* 0: file is NULL */
};

struct kf_inodes {
    struct kf_kit *kit;
    pthread_mutex_t lock;
    uint32_t count;
    struct inode nodes[]; /* guarded by lock */
};

int kf_inodes_new(struct kf_inodes **ret, struct kf_kit *kit, struct kf_err *err)
{
    uint32_t count = kf_kit_tree(kit)->count;
    struct kf_inodes *inodes =
        calloc(1, sizeof(*inodes) + (size_t)count * sizeof(inodes->nodes[0]));

    if (!inodes)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of %u files", count);
    inodes->kit = kit;
    inodes->count = count;
    (void)pthread_mutex_init(&inodes->lock, NULL); /* default attributes: cannot fail */
    *ret = inodes;
    return 0;
}

void kf_inodes_free(struct kf_inodes *inodes)
{
    if (!inodes)
        return;
    for (uint32_t i = 0; i < inodes->count; i++)
        if (inodes->nodes[i].file)
            kf_file_put(inodes->nodes[i].file);
    (void)pthread_mutex_destroy(&inodes->lock);
    free(inodes);
}

static bool join(struct kf_inodes *inodes, uint32_t node)
{
    struct inode *inode = &inodes->nodes[node];
    bool joined;

    (void)pthread_mutex_lock(&inodes->lock);
    joined = inode->users > 0;
    if (joined)
        inode->users++;
    (void)pthread_mutex_unlock(&inodes->lock);
    return joined;
}

/* The first user gets the file without the lock, since that may touch the disk; of two
 * that come at once the second one's reference is surplus. */
int kf_inodes_get(struct kf_inodes *inodes, uint32_t node, struct kf_err *err)
{
    struct inode *inode = &inodes->nodes[node];
    struct kf_file *file;

    assert(node < inodes->count);
    if (join(inodes, node))
        return 0;
    file = kf_kit_file(inodes->kit, node, err);
    if (!file)
        return -1;
    (void)pthread_mutex_lock(&inodes->lock);
    if (inode->users++ == 0)
        inode->file = kf_steal(file);
    (void)pthread_mutex_unlock(&inodes->lock);
    if (file)
        kf_file_put(file);
    return 0;
}

void kf_inodes_put(struct kf_inodes *inodes, uint32_t node)
{
    struct inode *inode = &inodes->nodes[node];
    struct kf_file *unused = NULL;

    (void)pthread_mutex_lock(&inodes->lock);
    assert(inode->users > 0);
    if (--inode->users == 0)
        unused = kf_steal(inode->file);
    (void)pthread_mutex_unlock(&inodes->lock);
    if (unused)
        kf_file_put(unused);
}

struct kf_file *kf_inodes_file(struct kf_inodes *inodes, uint32_t node)
{
    struct kf_file *file;

    (void)pthread_mutex_lock(&inodes->lock);
    file = inodes->nodes[node].file;
    (void)pthread_mutex_unlock(&inodes->lock);
    return file;
}
