#include "fs/worker.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"
#include "base/workq.h"
#include "fs/channel.h"
#include "fs/confine.h"
#include "fs/creds_channel.h"
#include "fs/inode.h"
#include "fs/mount.h"
#include "fs/reads.h"
#include "fs/session.h"
#include "fs/status.h"
#include "fs/view.h"
#include "fs/words.h"
#include "kit/open.h"

#define DEFAULT_READAHEAD (UINT32_C(1) << 20)
#define DEFAULT_READ_TIMEOUT (300 * KF_NS_PER_S)
#define READAHEAD_WAIT (2 * KF_NS_PER_S)
#define CHECK_NS (2 * KF_NS_PER_S) /* what is checked waits for the first readers */
#define KERNEL_READAHEAD_KIB 128u  /* what it is when nobody raises it */
#define BAR_NS (KF_NS_PER_S / 5)
#define MIN_JOBS 2
#define MAX_JOBS 8

/* Closing: what of it may take how long, and when the process is ended whatever happens.
 */
#define STOP_NS (KF_NS_PER_S / 2)
#define STORE_NS KF_NS_PER_S
#define LAST_MS 1900

struct worker {
    const struct kf_mount_opts *opts;
    int channel;
    struct kf_creds *creds; /* NULL: none */
    struct kf_stats stats;
    struct kf_workq *workq;
    struct kf_store *store;
    struct kf_view view;
    struct kf_session *session;
    int64_t bar_began_ns, bar_next_ns; /* of streaming; 0: not begun */
    pthread_t control;
    bool controlled; /* the thread runs */
};

static void say(struct worker *worker, const char *text)
{
    struct kf_msg msg;

    kf_msg_text(&msg, KF_MSG_LINE, text);
    (void)kf_channel_send(worker->channel, &msg, -1,
                          NULL); /* nobody listens: no matter */
}

static unsigned job_threads(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return (unsigned)(cores < MIN_JOBS ? MIN_JOBS : cores > MAX_JOBS ? MAX_JOBS : cores);
}

/* A cache that cannot be used is no reason not to mount. */
static void open_store(struct worker *worker)
{
    struct kf_store_opts opts = worker->opts->cache;
    char line[KF_MSG_TEXT_SIZE];
    struct kf_err err;

    opts.stats = &worker->stats;
    if (kf_store_open(&worker->store, &opts, &err) == 0)
        return;
    (void)snprintf(line, sizeof(line), "[WARN] Going on without a cache: %s",
                   err.message); /* cut is fine */
    say(worker, line);
}

/* Kind, how much of its blobs, how fast, how long still. */
static void show_streaming(void *arg, const struct kf_kit_streaming *now)
{
    struct worker *worker = arg;
    int64_t now_ns = kf_now_ns();
    struct kf_msg msg = {.type = KF_MSG_PROGRESS};
    char done[KF_WORDS_SIZE_SIZE], total[KF_WORDS_SIZE_SIZE], rate[KF_WORDS_SIZE_SIZE];
    double seconds, speed;

    if (worker->bar_began_ns == 0)
        worker->bar_began_ns = now_ns;
    if (now_ns < worker->bar_next_ns)
        return;
    worker->bar_next_ns = now_ns + BAR_NS;
    seconds = (double)(now_ns - worker->bar_began_ns) / KF_NS_PER_S;
    speed = seconds > 0.001 ? (double)now->done / seconds : 0;
    (void)snprintf(msg.text, sizeof(msg.text),
                   "streaming %s: %s of %s, %s/s, %.0f s left", now->kind,
                   kf_words_size(now->done, done), kf_words_size(now->total, total),
                   kf_words_size((uint64_t)speed, rate),
                   speed > 0 ? (double)(now->total - now->done) / speed : 0.0); /* fits */
    (void)kf_channel_send(worker->channel, &msg, -1, NULL); /* nobody: no matter */
}

static int open_kit(struct worker *worker, struct kf_err *err)
{
    struct kf_kit_opts opts = worker->opts->kit;

    worker->workq = kf_workq_new(job_threads(), err);
    if (!worker->workq)
        return -1;
    open_store(worker);
    opts.net.creds = worker->creds;
    opts.workq = worker->workq;
    opts.store = worker->store;
    opts.stats = &worker->stats;
    if (worker->opts->progress)
        opts.streaming = show_streaming;
    opts.arg = worker;
    return kf_kit_open(&worker->view.kit, &opts, err);
}

static int make_view(struct worker *worker, struct kf_err *err)
{
    struct kf_view *view = &worker->view;
    int64_t timeout_ns = worker->opts->kit.read_timeout_ns;

    view->tree = kf_kit_tree(view->kit);
    view->stats = &worker->stats;
    view->rules = (struct kf_attr_rules){
        .uid = worker->opts->uid, .gid = worker->opts->gid, .umask = worker->opts->umask};
    view->hidden_taken = kf_tree_child(view->tree, 0, KF_HIDDEN_NAME,
                                       strlen(KF_HIDDEN_NAME)) != KF_NODE_NONE;
    view->keeper = getppid();
    view->since_s = kf_wall_s();
    view->cached = worker->store != NULL;
    view->offline = worker->opts->kit.offline;
    if (kf_inodes_new(&view->inodes, view->kit, err) != 0)
        return -1;
    return kf_reads_new(&view->reads,
                        &(struct kf_reads_opts){
                            .tree = view->tree,
                            .inodes = view->inodes,
                            .workq = worker->workq,
                            .stats = &worker->stats,
                            .trouble = &view->trouble,
                            .timeout_ns = timeout_ns ? timeout_ns : DEFAULT_READ_TIMEOUT},
                        err);
}

static void say_layers(struct worker *worker)
{
    size_t count = kf_kit_layer_count(worker->view.kit);

    for (size_t i = 0; i < count; i++) {
        const char *kind = kf_kit_layer(worker->view.kit, i)->kind;
        char line[128], size[KF_WORDS_SIZE_SIZE];
        uint64_t sum = 0;
        bool said = false, streamed = false;

        for (size_t j = 0; j < count; j++) {
            const struct kf_kit_layer *other = kf_kit_layer(worker->view.kit, j);

            if (strcmp(other->kind, kind) != 0)
                continue;
            sum += other->size;
            streamed |= kf_layer_is_streamed(other->layer);
            said |= j < i;
        }
        if (said)
            continue;
        (void)snprintf(line, sizeof(line), "  %-9s %-8s %s", kind,
                       kf_words_size(sum, size),
                       !streamed       ? "lazy"
                       : worker->store ? "streamed once, into the cache"
                                       : "streamed, and nothing kept"); /* short */
        say(worker, line);
    }
}

static void say_opened(struct worker *worker)
{
    const struct kf_kit *kit = worker->view.kit;
    const struct kf_err *outage = kf_kit_outage(kit);
    char line[KF_MSG_TEXT_SIZE], name[KF_MSG_TEXT_SIZE - 64];
    struct kf_digest digest;
    const char *other;

    kf_words_short_name(kf_kit_name(kit), kf_kit_digest(kit), name, sizeof(name));
    (void)snprintf(line, sizeof(line), "%s from %s", name, kf_kit_origin(kit)); /* cut */
    say(worker, line);
    if (outage) {
        (void)snprintf(line, sizeof(line),
                       "[WARN] Not asked whether it is still that: %s",
                       outage->message); /* cut is fine */
        say(worker, line);
    }
    for (size_t i = 0; (other = kf_kit_other(kit, i, &digest)); i++) {
        kf_words_short_name(other, &digest, name, sizeof(name));
        (void)snprintf(line, sizeof(line), "  refers to %s", name); /* cut is fine */
        say(worker, line);
    }
    if (worker->opts->kit.filter && kf_kit_is_empty(kit))
        say(worker, "[WARN] Nothing in it matches the filter");
    say_layers(worker);
}

static void say_ready(struct worker *worker)
{
    const struct kf_tree *tree = worker->view.tree;
    double took_s = (double)(kf_now_ns() - worker->opts->started_ns) / KF_NS_PER_S;
    uint64_t fetched = kf_stats_get(&worker->stats, KF_STAT_FETCHED_BYTES);
    char line[160], size[KF_WORDS_SIZE_SIZE], fetched_size[KF_WORDS_SIZE_SIZE];

    (void)snprintf(line, sizeof(line),
                   "Ready in %.1f s: %" PRIu32 " file%s, %s, %s fetched.", took_s,
                   tree->file_count, tree->file_count == 1 ? "" : "s",
                   kf_words_size(tree->file_bytes, size),
                   kf_words_size(fetched, fetched_size)); /* fits */
    say(worker, line);
}

/* Asks the keeper to mount; gives /dev/fuse. */
static int get_mounted(struct worker *worker, int *ret_device, struct kf_err *err)
{
    struct kf_msg msg = {.type = KF_MSG_OPENED};
    int got;

    kf_words_full_name(kf_kit_name(worker->view.kit), kf_kit_digest(worker->view.kit),
                       msg.text, sizeof(msg.text));
    if (kf_channel_send(worker->channel, &msg, -1, err) != 0)
        return -1;
    got = kf_channel_receive(worker->channel, KF_MSG_BIT(KF_MSG_MOUNTED), KF_NO_DEADLINE,
                             &msg, ret_device, err);
    if (got == 0 || (got > 0 && *ret_device < 0))
        return kf_fail(err, KF_E_CANCELLED, "the keeper did not mount");
    return got < 0 ? -1 : 0;
}

static uint32_t set_readahead(void *arg, uint32_t wanted_kib)
{
    struct worker *worker = arg;
    struct kf_msg msg = {.type = KF_MSG_READAHEAD, .number = wanted_kib};

    if (kf_channel_send(worker->channel, &msg, -1, NULL) != 0 ||
        kf_channel_receive(worker->channel, KF_MSG_BIT(KF_MSG_READAHEAD),
                           kf_deadline_ns(READAHEAD_WAIT), &msg, NULL, NULL) != 1)
        return KERNEL_READAHEAD_KIB;
    return msg.number;
}

/* The keeper's messages while the mount is served: there is one. */
static void *control_main(void *arg)
{
    struct worker *worker = arg;
    int64_t check_ns = kf_deadline_ns(CHECK_NS);
    struct kf_msg msg;
    struct kf_err err;

    for (;;) {
        int got = kf_channel_receive(worker->channel, KF_MSG_BIT(KF_MSG_DETACHED),
                                     check_ns, &msg, NULL, &err);

        if (got == 1) {
            kf_reads_drain(worker->view.reads);
        } else if (got < 0 && err.kind == KF_E_TIMEOUT) {
            kf_kit_check(worker->view.kit, worker->opts->check);
            check_ns = KF_NO_DEADLINE;
        } else {
            return NULL; /* the keeper is gone: the mount is served all the same */
        }
    }
}

static int start(struct worker *worker, struct kf_err *err)
{
    uint32_t readahead = worker->opts->readahead_bytes;
    int device = -1;

    if (kf_confine(err) != 0 || open_kit(worker, err) != 0 || make_view(worker, err) != 0)
        return -1;
    if (chdir("/") != 0) /* relative names were used up */
        return kf_fail_errno(err, "cannot leave the folder");
    say_opened(worker);
    if (get_mounted(worker, &device, err) != 0 ||
        kf_session_open(&worker->session, device, &worker->view,
                        (readahead ? readahead : DEFAULT_READAHEAD) >> 10, set_readahead,
                        worker, err) != 0)
        return -1;
    if (pthread_create(&worker->control, NULL, control_main, worker) != 0)
        return kf_fail(err, KF_E_NOMEM, "cannot start a thread");
    worker->controlled = true;
    say_ready(worker);
    return kf_channel_send(worker->channel, &(struct kf_msg){.type = KF_MSG_READY}, -1,
                           err);
}

/* In order, each within its time; a read that cannot be ended leaves the rest to _exit.
 * Nobody needs to wait for a disk that is busy. */
static void stop(struct worker *worker, bool served)
{
    const struct kf_msg closed = {.type = KF_MSG_CLOSED};
    struct itimerval last = {.it_value.tv_usec = LAST_MS % 1000 * 1000,
                             .it_value.tv_sec = LAST_MS / 1000};
    struct kf_view *view = &worker->view;

    (void)setitimer(ITIMER_REAL, &last, NULL); /* SIGALRM: whatever hangs, we are gone */
    (void)shutdown(worker->channel, SHUT_RD);  /* ends the thread; fails when it ended */
    if (worker->controlled)
        (void)pthread_join(worker->control, NULL);
    kf_creds_ask_stop(worker->creds);
    if (view->reads && kf_reads_stop(view->reads, kf_deadline_ns(STOP_NS)) != 0)
        return;
    kf_inodes_free(view->inodes);
    if (kf_kit_close(view->kit, kf_deadline_ns(STOP_NS)) != 0)
        return;
    kf_workq_free(worker->workq);
    kf_reads_free(view->reads);
    kf_session_close(worker->session);
    kf_store_end_writes(worker->store, kf_deadline_ns(STORE_NS));
    if (served)
        (void)kf_channel_send(worker->channel, &closed, -1,
                              NULL); /* the same as ending */
    kf_store_close(worker->store, 0);
    kf_trouble_fini(&view->trouble);
    kf_creds_ask_free(worker->creds);
}

static void set_signals(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    sigset_t none;

    for (size_t i = 0; i < KF_ARRAY_LEN(ignored); i++)
        (void)signal(ignored[i], SIG_IGN); /* known signals: cannot fail */
    (void)signal(SIGALRM, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

int kf_worker_main(const struct kf_mount_opts *opts, const char *dir, int channel,
                   int creds)
{
    struct worker worker = {.opts = opts, .channel = channel, .view.dir = dir};
    struct kf_msg msg;
    struct kf_err err;
    int rc;

    (void)prctl(PR_SET_NAME, "kitfs-worker", 0, 0, 0); /* a name: for people */
    set_signals();
    kf_trouble_init(&worker.view.trouble);
    if (creds >= 0 && !(worker.creds = kf_creds_ask_new(creds, &err)))
        rc = -1;
    else
        rc = start(&worker, &err);
    if (rc != 0) {
        kf_msg_fail(&msg, &err);
        (void)kf_channel_send(channel, &msg, -1, NULL); /* no keeper: nobody to tell */
    } else if ((rc = kf_session_serve(worker.session, &err)) != 0) {
        kf_log(KF_LOG_ERROR, "fs", "event=serving-ended error=%s", err.message);
    }
    stop(&worker, rc == 0);
    return rc == 0 ? 0 : 1;
}
