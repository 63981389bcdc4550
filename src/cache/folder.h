/*
 * The cache folder itself: where it is by default, and whether it may be used. Any
 * thread.
 */
#ifndef KF_CACHE_FOLDER_H
#define KF_CACHE_FOLDER_H

#include <stdint.h>

struct kf_err;

/* The name of a file system that other machines or programs answer for, by statfs(2)'s
 * f_type; NULL when it is a local one. */
const char *kf_folder_remote_type(uint64_t f_type);

/* Opens the folder, made 0700 when missing, with its subfolders. Returns a descriptor
 * that is the caller's, or -1: KF_E_REFUSED, with the remedy, for an owner, mode or file
 * system that cannot be trusted. */
int kf_folder_open(const char *path, struct kf_err *err);

#endif
