/*
 * The folder for what is being unpacked, KF_UNPACK_FOLDER inside the target: finished
 * files are moved from there to their places, and what an unpacking that was cut off left
 * there is gone on from. docs/formats/unpack.md says what is in it.
 *
 * It belongs to the caller alone (0700) and is locked; one that others can write is
 * refused, since its content is believed. One thread for each of its folders.
 */
#ifndef KF_KIT_UNPACK_FOLDER_H
#define KF_KIT_UNPACK_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

struct kf_err;

#define KF_UNPACK_FOLDER ".kitfs-unpack"
#define KF_UNPACK_VERSION 1   /* of all that is in it: docs/formats/unpack.md */
#define KF_UNPACK_DONE "done" /* of a layer: all of it is there, and verified */
#define KF_UNPACK_BOOT "boot" /* of a layer: when it was written */
#define KF_UNPACK_PLACING                                         \
    "placing" /* of all: the manifest whose files are being moved \
               */

/* Opens and locks it below `dir_fd`. 1 and -1 in *ret when there is none and it is not to
 * be made. KF_E_REFUSED when another process has it. */
int kf_unpack_folder_open(int *ret, int dir_fd, bool make, struct kf_err *err);
/* One of its folders, made when missing. */
int kf_unpack_folder_layer(int *ret, int folder_fd, const char *name, struct kf_err *err);
/* Removes one of its folders, or (NULL) all of it. */
int kf_unpack_folder_remove(int folder_fd, const char *name, struct kf_err *err);
/* The last step: it is empty, and goes. */
int kf_unpack_folder_end(int dir_fd, struct kf_err *err);

/* Marks hold a line of text, at most 100 bytes. One that is torn is none. */
int kf_unpack_mark(int fd, const char *name, const char *text, struct kf_err *err);
bool kf_unpack_is_marked(int fd, const char *name, const char *text);

/* What tells this boot of the machine from others; a fixed text when nothing does. */
#define KF_UNPACK_BOOT_SIZE 40
void kf_unpack_boot(char out[KF_UNPACK_BOOT_SIZE]);

#endif
