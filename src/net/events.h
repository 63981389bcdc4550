/*
 * The sockets and timer of a multi handle, by epoll: curl looks only at transfers whose
 * socket has something (libcurl, curl_multi_socket_action). One thread, but for waking.
 */
#ifndef KF_NET_EVENTS_H
#define KF_NET_EVENTS_H

#include <curl/curl.h>
#include <stdint.h>

struct kf_err;

struct kf_events {
    CURLM *multi;     /* borrowed */
    int epoll_fd;     /* -1: none */
    int wake_fd;      /* likewise */
    int64_t timer_ns; /* when curl wants to be called; KF_NO_DEADLINE: not */
};

/* Before anything is added to `multi`; stays where it is. Fini after the multi handle is
 * cleaned up, also when init failed. */
int kf_events_init(struct kf_events *events, CURLM *multi, struct kf_err *err);
/* Every transfer, before it is added. */
void kf_events_attach(struct kf_events *events, CURL *easy);
void kf_events_fini(struct kf_events *events);

/* Waits until something comes, at most until `when_ns`, and lets curl do a little: few
 * sockets a call, so that what has ended and what is new need not wait for all of them.
 */
void kf_events_run(struct kf_events *events, int64_t when_ns);
/* The wait ends. Any thread. */
void kf_events_wake(struct kf_events *events);

#endif
