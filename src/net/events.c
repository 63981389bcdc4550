#include "net/events.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"

#define EVENTS_AT_ONCE 8

/* A failure shows as a transfer without progress. */
static void watch(const struct kf_events *events, int fd, uint32_t what)
{
    struct epoll_event event = {.events = what, .data.fd = fd};

    if (epoll_ctl(events->epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0)
        (void)epoll_ctl(events->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

/* What curl closes while it connects it may name as gone afterwards (7.88): by then the
 * number may be that of a file of another thread, which is not in our set. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct kf_events *events = arg;

    (void)easy;
    (void)unused;
    if (what == CURL_POLL_REMOVE)
        (void)epoll_ctl(events->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    else
        watch(events, fd,
              ((what & CURL_POLL_IN) ? (uint32_t)EPOLLIN : 0) |
                  ((what & CURL_POLL_OUT) ? (uint32_t)EPOLLOUT : 0));
    return 0;
}

/* A socket that gets the number of one that curl has just closed so is not told to
 * on_socket, for it waits for the same: it is watched from the start. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose,
                                 struct curl_sockaddr *address)
{
    struct kf_events *events = arg;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

    (void)purpose;
    if (fd < 0)
        return CURL_SOCKET_BAD;
    watch(events, fd, EPOLLOUT);
    return fd;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct kf_events *events = arg;

    (void)multi;
    events->timer_ns = timeout_ms < 0
                           ? KF_NO_DEADLINE
                           : kf_deadline_ns((int64_t)timeout_ms * KF_NS_PER_MS);
    return 0;
}

int kf_events_init(struct kf_events *events, CURLM *multi, struct kf_err *err)
{
    struct epoll_event wake = {.events = EPOLLIN};

    events->multi = multi;
    events->timer_ns = KF_NO_DEADLINE;
    events->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    events->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    wake.data.fd = events->wake_fd;
    if (events->epoll_fd < 0 || events->wake_fd < 0 ||
        epoll_ctl(events->epoll_fd, EPOLL_CTL_ADD, events->wake_fd, &wake) != 0)
        return kf_fail_errno(err, "cannot wait for the network");
    (void)curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, events);
    (void)curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(multi, CURLMOPT_TIMERDATA, events);
    return 0;
}

void kf_events_attach(struct kf_events *events, CURL *easy)
{
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, events);
}

void kf_events_fini(struct kf_events *events)
{
    kf_close_fd(&events->epoll_fd);
    kf_close_fd(&events->wake_fd);
}

static void pass_on(struct kf_events *events, const struct epoll_event *event)
{
    int running, what = 0;
    uint64_t count;

    if (event->data.fd == events->wake_fd) {
        (void)!read(events->wake_fd, &count, sizeof(count)); /* only to be quiet again */
        return;
    }
    if (event->events & EPOLLIN)
        what |= CURL_CSELECT_IN;
    if (event->events & EPOLLOUT)
        what |= CURL_CSELECT_OUT;
    if (event->events & (EPOLLERR | EPOLLHUP))
        what |= CURL_CSELECT_ERR;
    (void)curl_multi_socket_action(events->multi, event->data.fd, what, &running);
}

void kf_events_run(struct kf_events *events, int64_t when_ns)
{
    struct epoll_event found[EVENTS_AT_ONCE];
    int64_t now = kf_now_ns();
    int running, count;

    if (events->timer_ns < when_ns)
        when_ns = events->timer_ns;
    /* Rounded up: waking a moment too early would spin. */
    count = epoll_wait(
        events->epoll_fd, found, EVENTS_AT_ONCE,
        when_ns > now ? (int)((when_ns - now + KF_NS_PER_MS - 1) / KF_NS_PER_MS) : 0);
    for (int i = 0; i < count; i++)
        pass_on(events, &found[i]);
    if (events->timer_ns <= kf_now_ns()) {
        events->timer_ns = KF_NO_DEADLINE;
        (void)curl_multi_socket_action(events->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
}

void kf_events_wake(struct kf_events *events)
{
    const uint64_t one = 1;

    (void)!write(events->wake_fd, &one, sizeof(one)); /* full: it wakes anyway */
}
