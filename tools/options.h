/*
 * The command line: one table of options gives parsing, --help, completion and the option
 * part of the man page. A value comes from the command line, else from -o name=value,
 * else from KITFS_NAME in the environment, else from the table; a list comes from one of
 * these, too.
 */
#ifndef KF_TOOLS_OPTIONS_H
#define KF_TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/containers.h"
#include "base/log.h"

struct kf_creds_local;
struct kf_err;

#define KF_ARGS_LIMIT 16u
#define KF_OPTION_LIMIT 128u

/* An amount of disk: bytes, or a percentage of the file system; 0 is none given. */
struct kf_space {
    uint64_t bytes;
    unsigned percent;
};

/* Every value there is; a verb looks at those whose rows name it. */
struct kf_options {
    /* selection */
    struct kf_strings filters;
    struct kf_strings labels;
    char *subdir;
    /* cache */
    char *cache_dir;
    struct kf_space cache_size;
    unsigned min_free_percent;
    /* fetching */
    unsigned connections;
    int64_t read_timeout_ns;
    uint64_t readahead_bytes;
    uint64_t memory_bytes;
    char *prefetch;
    bool offline;
    char *pull;
    bool include_remote;
    bool alone; /* no option: the kit without those it refers to, for pack's check */
    bool require_lazy;
    char *verify;
    /* network */
    bool plain_http;
    bool tls_verify;
    char *tls_cert;
    char *cert;
    char *key;
    char *proxy;
    char *hosts_dir;
    char *authfile;
    struct kf_creds_local *creds; /* no option: what authfile and environment lead to */
    /* ownership */
    uint64_t uid, gid;
    mode_t umask;
    bool allow_other;
    /* what is done */
    bool foreground;
    bool lazy;
    bool abort_connection;
    bool long_listing;
    bool recursive;
    bool json;
    uint64_t offset, length;
    bool layers;
    bool whole_toc;
    /* unpacking */
    char *dir;
    bool overwrite;
    bool ignore_existing;
    /* packing */
    char *tag;
    char *file;
    bool push;
    char *compression;
    char *layer_format;
    bool use_model_pack;
    unsigned level;
    uint64_t chunk_size;
    unsigned threads;
    char *toc;
    bool no_seek_table;
    struct kf_strings annotations;
    char *metadata_file;
    char *check;
    /* login */
    char *username;
    bool password_stdin;
    /* output */
    char *progress;
    char *log_level;
    char *log_format;
    char *debug;
    bool verbose;
    bool quiet;
    bool help;

    const char *args[KF_ARGS_LIMIT]; /* what is no option; borrowed from argv */
    size_t arg_count;

    /* the parser's own: where values come from now, and where each list came from */
    unsigned char source;
    unsigned char list_sources[KF_OPTION_LIMIT];
};

enum kf_verb_bit {
    KF_V_MOUNT = 1 << 0,
    KF_V_UMOUNT = 1 << 1,
    KF_V_LS = 1 << 2,
    KF_V_CAT = 1 << 3,
    KF_V_LIST = 1 << 4,
    KF_V_STATUS = 1 << 5,
    KF_V_VERSION = 1 << 6,
    KF_V_DOCTOR = 1 << 7,
    KF_V_COMPLETION = 1 << 8,
    KF_V_HELP = 1 << 9,
    KF_V_PACK = 1 << 10,
    KF_V_VERIFY = 1 << 11,
    KF_V_INSPECT = 1 << 12,
    KF_V_INFO = 1 << 13,
    KF_V_TAG = 1 << 14,
    KF_V_DIFF = 1 << 15,
    KF_V_UNPACK = 1 << 16,
    KF_V_LOGIN = 1 << 17,
    KF_V_LOGOUT = 1 << 18,
};

enum kf_option_type {
    KF_OPT_FLAG,     /* bool: --name is true; --name=false takes it back */
    KF_OPT_TEXT,     /* char * */
    KF_OPT_SIZE,     /* uint64_t: 1048576, 10M, 50G */
    KF_OPT_SPACE,    /* struct kf_space */
    KF_OPT_PERCENT,  /* unsigned: 10% */
    KF_OPT_COUNT,    /* unsigned */
    KF_OPT_DURATION, /* int64_t of nanoseconds: 30s, 5m */
    KF_OPT_MODE,     /* mode_t, octal */
    KF_OPT_ID,       /* uint64_t: a number, or a user's or group's name */
    KF_OPT_TEXTS,    /* struct kf_strings: may be given several times */
};

struct kf_option {
    const char *name; /* without dashes */
    char letter;      /* 0: none */
    enum kf_option_type type;
    const char *argument; /* how the value is called in --help; NULL: none is shown */
    size_t offset;        /* in struct kf_options */
    unsigned verbs;       /* enum kf_verb_bit */
    const char *fallback; /* default, as it would be typed; NULL: zero */
    const char *choices;  /* "a|b|c", or NULL */
    const char *help;
};

extern const struct kf_option kf_option_table[];
extern const size_t kf_option_count;

void kf_options_fini(struct kf_options *options);

/* Defaults, environment, then argv (without program and verb). KF_E_ARG with a message
 * that names the option, and the nearest one when it is mistyped. */
int kf_options_parse(struct kf_options *ret, unsigned verb, int argc, char *const *argv,
                     struct kf_err *err);

/* Whether the next word is its value; a flag only takes one behind '='. */
bool kf_option_takes_value(const struct kf_option *option);

/* One value in text form; `target` is the field. */
int kf_option_parse_value(const struct kf_option *option, const char *text, void *target,
                          struct kf_err *err);

/* The nearest of `words` by edit distance, or NULL when none is near. */
const char *kf_nearest(const char *word, const char *const *words, size_t count);

#endif
