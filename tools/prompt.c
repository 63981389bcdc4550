#include "prompt.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

/* Up to a line end or the end; it need not fit. */
static ssize_t read_some(char *ret, size_t size, bool line)
{
    size_t length = 0;

    while (length < size) {
        ssize_t got = read(STDIN_FILENO, ret + length, line ? 1 : size - length);

        if (got < 0 && errno == EINTR && !caught)
            continue;
        if (got < 0)
            return -1;
        length += (size_t)got;
        if (got == 0 || (line && ret[length - 1] == '\n'))
            break;
    }
    return (ssize_t)length;
}

/* Cuts one line end off; -1: it does not fit. */
static int finish(char *text, size_t length, size_t size, struct kf_err *err)
{
    if (length > 0 && length <= size && text[length - 1] == '\n')
        length--;
    if (length > 0 && text[length - 1] == '\r')
        length--;
    if (length >= size)
        return kf_fail(err, KF_E_ARG, "more than %zu bytes", size - 1);
    if (memchr(text, '\0', length) || memchr(text, '\n', length))
        return kf_fail(err, KF_E_ARG, "more than one line");
    text[length] = '\0';
    return 0;
}

int kf_prompt(const char *question, bool hidden, char *ret, size_t size,
              struct kf_err *err)
{
    struct sigaction action = {.sa_handler = on_signal}, before[KF_ARRAY_LEN(ending)];
    struct termios shown, quiet;
    ssize_t length;
    int why;

    if (tcgetattr(STDIN_FILENO, &shown) != 0)
        return kf_fail(err, KF_E_ARG,
                       "standard input is no terminal; use -u and --password-stdin");
    caught = 0;
    for (size_t i = 0; i < KF_ARRAY_LEN(ending); i++)
        (void)sigaction(ending[i], &action, &before[i]); /* known signals */
    quiet = shown;
    if (hidden)
        quiet.c_lflag &= ~(tcflag_t)ECHO;
    fprintf(stderr, "%s: ", question);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet); /* then it is seen */
    length = read_some(ret, size, true);
    why = errno;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    if (hidden)
        fprintf(stderr, "\n");
    for (size_t i = 0; i < KF_ARRAY_LEN(ending); i++)
        (void)sigaction(ending[i], &before[i], NULL);
    if (caught) {
        explicit_bzero(ret, size);
        (void)raise(caught);
        return kf_fail(err, KF_E_CANCELLED, "interrupted");
    }
    errno = why;
    return length < 0 ? kf_fail_errno(err, "cannot read from the terminal")
                      : finish(ret, (size_t)length, size, err);
}

int kf_read_stdin(char *ret, size_t size, struct kf_err *err)
{
    ssize_t length = read_some(ret, size, false);

    return length < 0 ? kf_fail_errno(err, "cannot read standard input")
                      : finish(ret, (size_t)length, size, err);
}
