/*
 * libfuse's low-level interface, in the version that kitfs is written for.
 */
#ifndef KF_FS_FUSE_H
#define KF_FS_FUSE_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#endif
