#include "oci/creds_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "oci/creds.h"

#define PROGRAM "docker-credential-"
#define NOTHING "credentials not found in native keychain"
#define TOKEN_USER "<token>"
#define REAP_MS 5
#define SHOWN 160       /* of what it says */
#define VALUE_LIMIT 64u /* of the JSON that it writes */

KF_DEFINE_AUTO(json, json_t *, json_decref)

struct run {
    char program[128];
    const char *word; /* get, store, erase */
    pid_t pid;        /* 0: not begun, or waited for */
    int64_t deadline_ns;
    int in, out, why; /* our ends; `why` tells the errno when it could not be run */
    const char *send;
    size_t send_length, sent;
    char *answer; /* of KF_CREDS_HELPER_LIMIT + 2 bytes; a secret */
    size_t answer_length;
    int status; /* of waitpid */
};

static int init(struct run *run, const struct kf_creds_helper *helper, const char *word,
                const char *send, struct kf_err *err)
{
    int64_t timeout_ns = helper->timeout_ns ? helper->timeout_ns : KF_CREDS_HELPER_NS;

    *run = (struct run){.word = word,
                        .in = -1,
                        .out = -1,
                        .why = -1,
                        .send = send,
                        .send_length = strlen(send),
                        .deadline_ns = kf_deadline_ns(timeout_ns)};
    (void)snprintf(run->program, sizeof(run->program), PROGRAM "%s", helper->suffix);
    run->answer = calloc(1, KF_CREDS_HELPER_LIMIT + 2);
    return run->answer ? 0 : kf_fail(err, KF_E_NOMEM, "no memory for credentials");
}

/* Whatever is still running is killed. */
static void fini(struct run *run)
{
    if (run->pid > 0) {
        (void)kill(-run->pid, SIGKILL);
        (void)waitpid(run->pid, NULL, 0); /* ours: cannot fail but for nobody */
    }
    kf_close_fd(&run->in);
    kf_close_fd(&run->out);
    kf_close_fd(&run->why);
    if (run->answer)
        explicit_bzero(run->answer, KF_CREDS_HELPER_LIMIT + 2);
    free(run->answer);
}

/* ---- running it -------------------------------------------------------------------- */

struct ends {
    int in[2], out[2], why[2];
};

/* In the child of a process that may have threads: nothing but system calls, and execvpe,
 * which takes no memory. It dies with the thread that waits for it. */
__attribute__((noreturn)) static void become(struct run *run, const struct ends *ends,
                                             char *const *environment)
{
    char word[8] = {0};
    char *argv[] = {run->program, word, NULL};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC), why;
    sigset_t none;

    memcpy(word, run->word, strnlen(run->word, sizeof(word) - 1));
    (void)setpgid(0, 0); /* what it starts is killed with it */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (null >= 0 && dup2(ends->in[0], 0) == 0 && dup2(ends->out[1], 1) == 1 &&
        dup2(null, 2) == 2)
        (void)execvpe(run->program, argv, environment);
    why = errno;
    if (write(ends->why[1], &why, sizeof(why)) < 0)
        _exit(126);
    _exit(127);
}

/* The environment, and HOME if that has none; yours to free, not the texts. */
static char **environment_with(char *home)
{
    size_t count = 0;
    char **copy;

    while (environ && environ[count])
        count++;
    copy = calloc(count + 2, sizeof(*copy));
    if (!copy)
        return NULL;
    for (size_t i = 0; i < count; i++)
        copy[i] = environ[i];
    copy[count] = home;
    return copy;
}

static void close_pair(int pair[2])
{
    kf_close_fd(&pair[0]);
    kf_close_fd(&pair[1]);
}

static int fork_it(struct run *run, struct ends *ends, char *const *environment,
                   struct kf_err *err)
{
    if (pipe2(ends->in, O_CLOEXEC) != 0 || pipe2(ends->out, O_CLOEXEC) != 0 ||
        pipe2(ends->why, O_CLOEXEC) != 0 || fcntl(ends->in[1], F_SETFL, O_NONBLOCK) != 0)
        return kf_fail_errno(err, "cannot run '%s'", run->program);
    run->pid = fork();
    if (run->pid == 0)
        become(run, ends, environment);
    if (run->pid < 0) {
        run->pid = 0;
        return kf_fail_errno(err, "cannot run '%s'", run->program);
    }
    (void)setpgid(run->pid, run->pid); /* whoever is first; too late when it runs */
    run->in = ends->in[1];
    run->out = ends->out[0];
    run->why = ends->why[0];
    ends->in[1] = ends->out[0] = ends->why[0] = -1;
    return 0;
}

static int start(struct run *run, const char *home, struct kf_err *err)
{
    struct ends ends = {{-1, -1}, {-1, -1}, {-1, -1}};
    kf_auto(kf_free) char *variable = NULL;
    char **environment;
    int rc;

    if (home && !getenv("HOME") && asprintf(&variable, "HOME=%s", home) < 0)
        variable = NULL;
    environment = environment_with(variable);
    rc = environment ? fork_it(run, &ends, environment, err)
                     : kf_fail(err, KF_E_NOMEM, "no memory for credentials");
    free(environment);
    close_pair(ends.in);
    close_pair(ends.out);
    close_pair(ends.why);
    return rc;
}

static int late(const struct run *run, struct kf_err *err)
{
    return kf_fail(err, KF_E_TIMEOUT, "'%s' took too long, and was killed", run->program);
}

static int left_ms(const struct run *run)
{
    int64_t left_ns = run->deadline_ns - kf_now_ns();

    return left_ns <= 0 ? 0 : (int)(left_ns / KF_NS_PER_MS) + 1;
}

/* One that wants to hear no more is no failure: it may know the answer. */
static void send_some(struct run *run)
{
    ssize_t put = write(run->in, run->send + run->sent, run->send_length - run->sent);

    if (put < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    run->sent += put > 0 ? (size_t)put : 0;
    if (put < 0 || run->sent == run->send_length) {
        kf_close_fd(&run->in);
        run->in = -1;
    }
}

/* 1: more may come; 0: that was all. */
static int hear_some(struct run *run, struct kf_err *err)
{
    ssize_t got = read(run->out, run->answer + run->answer_length,
                       KF_CREDS_HELPER_LIMIT + 1 - run->answer_length);

    if (got < 0 && errno == EINTR)
        return 1;
    if (got < 0)
        return kf_fail_errno(err, "cannot hear '%s'", run->program);
    run->answer_length += (size_t)got;
    if (run->answer_length > KF_CREDS_HELPER_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "'%s' says more than %u bytes", run->program,
                       KF_CREDS_HELPER_LIMIT);
    return got > 0;
}

static int talk(struct run *run, struct kf_err *err)
{
    int more = 1;

    while (more == 1) {
        struct pollfd fds[] = {{.fd = run->out, .events = POLLIN},
                               {.fd = run->in, .events = POLLOUT}};
        int ready = poll(fds, 2, left_ms(run));

        if (ready < 0 && errno != EINTR)
            return kf_fail_errno(err, "cannot hear '%s'", run->program);
        if (ready == 0)
            return late(run, err);
        if (ready > 0 && fds[1].revents)
            send_some(run);
        if (ready > 0 && fds[0].revents)
            more = hear_some(run, err);
    }
    return more;
}

static int reap(struct run *run, struct kf_err *err)
{
    for (;;) {
        pid_t reaped = waitpid(run->pid, &run->status, WNOHANG);

        if (reaped == run->pid) {
            run->pid = 0;
            return 0;
        }
        if (reaped < 0 && errno != EINTR)
            return kf_fail_errno(err, "cannot wait for '%s'", run->program);
        if (left_ms(run) == 0)
            return late(run, err);
        (void)poll(NULL, 0, REAP_MS); /* it has closed its output: it is about to end */
    }
}

static int run_it(struct run *run, const char *home, struct kf_err *err)
{
    int why;

    if (start(run, home, err) != 0 || talk(run, err) != 0 || reap(run, err) != 0)
        return -1;
    if (read(run->why, &why, sizeof(why)) == (ssize_t)sizeof(why)) {
        errno = why;
        if (why == ENOENT ||
            why == EACCES) /* a folder of PATH that is closed to us, too */
            return kf_fail(err, KF_E_IO, "cannot run '%s': it is not installed%s",
                           run->program, why == EACCES ? ", or may not be run" : "");
        return kf_fail_errno(err, "cannot run '%s'", run->program);
    }
    return 0;
}

/* ---- what it says ------------------------------------------------------------------ */

/* Of one that failed: 1 when there is nothing, -1 with what it says. It says that on its
 * output; what looks like an answer is not shown. */
static int failed(const struct run *run, struct kf_err *err)
{
    size_t length = run->answer_length;
    const char *text = run->answer;

    while (length > 0 && strchr(" \t\r\n", text[length - 1]))
        length--;
    if (length == strlen(NOTHING) && memcmp(text, NOTHING, length) == 0)
        return 1;
    length = strnlen(text, length < SHOWN ? length : SHOWN);
    if (WIFSIGNALED(run->status))
        return kf_fail(err, KF_E_IO, "'%s' was ended by signal %d", run->program,
                       WTERMSIG(run->status));
    if (length == 0 || memchr(text, '{', length))
        return kf_fail(err, KF_E_IO, "'%s' failed with exit code %d", run->program,
                       WEXITSTATUS(run->status));
    return kf_fail(err, KF_E_IO, "'%s' failed: %.*s", run->program, (int)length, text);
}

static bool succeeded(const struct run *run)
{
    return WIFEXITED(run->status) && WEXITSTATUS(run->status) == 0;
}

static int keep(char **ret, const char *text, struct kf_err *err)
{
    if (strlen(text) > KF_CRED_TEXT_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "it gives a text of over %u bytes",
                       KF_CRED_TEXT_LIMIT);
    *ret = strdup(text);
    return *ret ? 0 : kf_fail(err, KF_E_NOMEM, "no memory for credentials");
}

static int take(struct kf_cred *cred, const char *username, const char *secret,
                struct kf_err *err)
{
    if (strcmp(username, TOKEN_USER) == 0)
        return keep(&cred->identity_token, secret, err);
    if (strchr(username, ':'))
        return kf_fail(err, KF_E_MALFORMED, "it gives a name with a colon");
    if (keep(&cred->username, username, err) != 0)
        return -1;
    return keep(&cred->password, secret, err);
}

static int parse(struct kf_cred *ret, const struct run *run, struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *root = NULL;
    struct kf_cred cred = {0};
    const char *username, *secret;

    if (kf_json_check_size(run->answer, run->answer_length, KF_CREDS_HELPER_LIMIT,
                           VALUE_LIMIT, "an answer", err) != 0)
        return -1;
    root = json_loadb(run->answer, run->answer_length, 0, NULL);
    username = json_string_value(json_object_get(root, "Username"));
    secret = json_string_value(json_object_get(root, "Secret"));
    if (!username || !secret)
        return kf_fail(err, KF_E_MALFORMED, "it gives no Username and Secret");
    if (!*username && !*secret)
        return 0;
    if (take(&cred, username, secret, err) != 0 ||
        keep(&cred.from, run->program, err) != 0) {
        kf_cred_fini(&cred);
        return -1;
    }
    *ret = cred;
    return 0;
}

int kf_creds_helper_get(const struct kf_creds_helper *helper, const char *server,
                        struct kf_cred *ret, struct kf_err *err)
{
    kf_auto(fini) struct run run;
    struct kf_cred cred = {0};

    if (init(&run, helper, "get", server, err) != 0 ||
        run_it(&run, helper->home, err) != 0)
        return -1;
    if (!succeeded(&run) && failed(&run, err) < 0)
        return -1;
    if (succeeded(&run) && parse(&cred, &run, err) != 0)
        return kf_fail_wrap(err, "'%s'", run.program);
    *ret = cred;
    return 0;
}

int kf_creds_helper_store(const struct kf_creds_helper *helper, const char *server,
                          const char *username, const char *secret, struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *json = json_pack(
        "{s:s, s:s, s:s}", "ServerURL", server, "Username", username, "Secret", secret);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    struct run run;
    int rc;

    if (!text)
        return kf_fail(err, KF_E_ARG, "name or password is not UTF-8");
    rc = init(&run, helper, "store", text, err);
    if (rc == 0)
        rc = run_it(&run, helper->home, err);
    if (rc == 0 && !succeeded(&run))
        rc = failed(&run, err) < 0
                 ? -1
                 : kf_fail(err, KF_E_IO, "'%s' does not store", run.program);
    fini(&run);
    explicit_bzero(text, strlen(text));
    free(text);
    return rc;
}

int kf_creds_helper_erase(const struct kf_creds_helper *helper, const char *server,
                          struct kf_err *err)
{
    kf_auto(fini) struct run run;

    if (init(&run, helper, "erase", server, err) != 0 ||
        run_it(&run, helper->home, err) != 0)
        return -1;
    return succeeded(&run) ? 0 : failed(&run, err);
}
