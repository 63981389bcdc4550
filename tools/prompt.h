/*
 * Questions at a terminal. One thread.
 */
#ifndef KF_TOOLS_PROMPT_H
#define KF_TOOLS_PROMPT_H

#include <stdbool.h>
#include <stddef.h>

struct kf_err;

/* The line that is typed on standard input, without its end; hidden ones are not shown.
 * Whatever ends the program meanwhile, the terminal shows again what is typed. KF_E_ARG
 * when it is no terminal, or over `size`. */
int kf_prompt(const char *question, bool hidden, char *ret, size_t size,
              struct kf_err *err);

/* All of standard input, up to `size`, without one line end. */
int kf_read_stdin(char *ret, size_t size, struct kf_err *err);

#endif
