/*
 * Files that the real kit read or wrote.
 */
#ifndef TESTS_KITFILE_KIT_FILE_H
#define TESTS_KITFILE_KIT_FILE_H

struct kf_buf;

/* Begins `ret`; the test fails when the file cannot be read. */
void load_kit_file(struct kf_buf *ret, const char *folder, const char *name);

#endif
