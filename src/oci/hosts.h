/*
 * Mirrors of a registry, and how its hosts are spoken to, as containerd is told:
 * FOLDER/HOST/hosts.toml. The parser is strict: what it does not know is an error with a
 * line, since a typing error would silently send a fleet to the registry itself.
 */
#ifndef KF_OCI_HOSTS_H
#define KF_OCI_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/containers.h"

struct kf_err;

#define KF_HOSTS_LIMIT 15u /* mirrors of a registry */
#define KF_HOSTS_DIAL_LIMIT_NS INT64_C(3600000000000)
#define KF_HOSTS_LINES_LIMIT 64u      /* header lines of a host */
#define KF_HOSTS_PEM_LIMIT (4u << 20) /* certificates of a host's authorities */

/* What a host may be asked for ("capabilities"). */
enum kf_host_can {
    KF_HOST_PULL = 1,    /* what is named by a digest */
    KF_HOST_RESOLVE = 2, /* tags */
    KF_HOST_PUSH = 4,
    KF_HOST_REFERRERS = 8,
};
#define KF_HOST_ALL 15u

struct kf_host {
    char *base;                /* "https://host:port/v2"; NULL: the registry's own */
    unsigned can;              /* enum kf_host_can */
    struct kf_strings headers; /* "Name: value"; may be secrets, wiped when freed */
    struct kf_strings ca_files;
    struct kf_buf ca;  /* their content, once loaded; PEM */
    char *client_cert; /* a file; NULL: none */
    char *client_key;  /* NULL: in client_cert */
    bool has_skip_verify, skip_verify;
    int64_t dial_ns; /* 0: not said */
};

struct kf_hosts {
    struct kf_host mirrors[KF_HOSTS_LIMIT]; /* in the order of the file */
    size_t mirror_count;
    struct kf_host server; /* asked when no mirror has it */
};

/* Pure. `dir` is where relative names of files begin. On failure, KF_E_MALFORMED or
 * KF_E_LIMIT, the message begins with "line N: "; kf_hosts_fini is due anyway. */
int kf_hosts_parse(struct kf_hosts *ret, const char *text, size_t length, const char *dir,
                   struct kf_err *err);

/* For `host` as a reference has it: of `dir` (NULL: /etc/kitfs/hosts.d, then
 * /etc/containerd/certs.d; "": none) the first folder that is there of "host_port_",
 * "host:port" and "_default", and in it hosts.toml; where that is missing or empty, *.crt
 * are authorities, and *.cert with *.key the client certificate. No folder: no mirrors.
 * The authorities are read, too. Blocks on files; messages name the file. kf_hosts_fini
 * is due anyway. */
int kf_hosts_load(struct kf_hosts *ret, const char *dir, const char *host,
                  struct kf_err *err);

void kf_hosts_fini(struct kf_hosts *hosts);
void kf_host_fini(struct kf_host *host);

/* A duration as Go writes it ("200ms", "1m30s"), up to KF_HOSTS_DIAL_LIMIT_NS; -1: it is
 * none, or is 0. */
int kf_hosts_duration(int64_t *ret_ns, const char *text);

#endif
