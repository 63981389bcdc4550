/*
 * Paths of a Kitfile: cleaned as Go's path.Clean, and what they name, by the rules of
 * kitops pkg/artifact (util.go, GetPathType of kitfile.go). Pure.
 */
#ifndef KF_KITFILE_KITFILE_PATH_H
#define KF_KITFILE_KITFILE_PATH_H

enum kf_path_kind {
    KF_PATH_LOCAL,
    KF_PATH_REFERENCE, /* another kit: has ':' or '@', and parses as a reference */
    KF_PATH_S3,
    KF_PATH_URL, /* any other; nothing packs it */
};

/* Yours to free; NULL on no memory. */
char *kf_path_clean(const char *path);
enum kf_path_kind kf_path_kind(const char *path);

#endif
