/*
 * Characters of UTF-8, and what Go says that they are. Pure.
 */
#ifndef KF_KITFILE_UNICODE_H
#define KF_KITFILE_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

/* The character at *text, which is not at its end, and moves it on. As Go reads strings:
 * what is not UTF-8 is one byte and the replacement character. */
uint32_t kf_utf8_next(const char **text);

/* Go's unicode.IsLetter and unicode.IsDigit, of Unicode 15.0. */
bool kf_is_letter(uint32_t c);
bool kf_is_digit(uint32_t c);

#endif
