#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

#define NETWORK                                                              \
    (KF_V_MOUNT | KF_V_LS | KF_V_CAT | KF_V_LIST | KF_V_DOCTOR | KF_V_PACK | \
     KF_V_VERIFY | KF_V_INSPECT | KF_V_INFO | KF_V_TAG | KF_V_DIFF | KF_V_UNPACK)
#define READING (KF_V_MOUNT | KF_V_LS | KF_V_CAT | KF_V_INFO | KF_V_DIFF)
#define OPENING (READING | KF_V_VERIFY | KF_V_INSPECT | KF_V_UNPACK)
#define ASKING (OPENING | KF_V_TAG)
#define CACHE (READING | KF_V_DOCTOR | KF_V_UNPACK)
#define LONG (KF_V_PACK | KF_V_VERIFY | KF_V_UNPACK | KF_V_MOUNT | KF_V_LS)
#define SEEING (KF_V_MOUNT | KF_V_LS | KF_V_CAT)
#define LOGIN (KF_V_LOGIN | KF_V_LOGOUT)
#define ALL (~0u)
#define FIELD(name) offsetof(struct kf_options, name)

/* Of unpack they have kit's letters, which mean something else to other verbs. */
#define FILTER_FORM "TYPE[:NAME,...]"
#define FILTER_HELP                                                                    \
    "only these parts, as kit unpack: kitfile, model, datasets, code, docs, prompts, " \
    "mcpservers, by name or path; may be given several times"
#define LABEL_HELP "of an index, the kit with this label; may be given several times"

const struct kf_option kf_option_table[] = {
    {"foreground", 'f', KF_OPT_FLAG, NULL, FIELD(foreground), KF_V_MOUNT, NULL, NULL,
     "stay in the foreground and log there; Ctrl-C unmounts"},
    {"filter", 0, KF_OPT_TEXTS, FILTER_FORM, FIELD(filters), SEEING | KF_V_VERIFY, NULL,
     NULL, FILTER_HELP},
    {"filter", 'f', KF_OPT_TEXTS, FILTER_FORM, FIELD(filters), KF_V_UNPACK, NULL, NULL,
     FILTER_HELP},
    {"label", 0, KF_OPT_TEXTS, "KEY=VALUE", FIELD(labels), OPENING & ~KF_V_UNPACK, NULL,
     NULL, LABEL_HELP},
    {"label", 'l', KF_OPT_TEXTS, "KEY=VALUE", FIELD(labels), KF_V_UNPACK, NULL, NULL,
     LABEL_HELP},
    {"subdir", 0, KF_OPT_TEXT, "PATH", FIELD(subdir), SEEING, NULL, NULL,
     "only that folder of the kit: it becomes the root"},
    {"cache-dir", 0, KF_OPT_TEXT, "DIR", FIELD(cache_dir), CACHE, NULL, NULL,
     "where fetched chunks are kept (root: /var/cache/kitfs, others: ~/.cache/kitfs)"},
    {"cache-size", 0, KF_OPT_SPACE, "SIZE|PERCENT", FIELD(cache_size), READING, NULL,
     NULL, "the most the cache may hold, as 50G or 20% of the file system (no limit)"},
    {"min-free", 0, KF_OPT_PERCENT, "PERCENT", FIELD(min_free_percent), READING, "10%",
     NULL, "of the cache's file system stays free"},
    {"prefetch", 0, KF_OPT_TEXT, "WHAT", FIELD(prefetch), KF_V_MOUNT, "auto", "none|auto",
     "what is fetched unasked: auto also checks archives against their tables of "
     "contents"},
    {"connections", 0, KF_OPT_COUNT, "N", FIELD(connections), OPENING | KF_V_DOCTOR, "8",
     NULL, "requests to a registry at the same time"},
    {"read-timeout", 0, KF_OPT_DURATION, "TIME", FIELD(read_timeout_ns), ASKING, "5m",
     NULL, "how long a read waits for a registry that gives nothing, as 30s or 5m"},
    {"readahead", 0, KF_OPT_SIZE, "SIZE", FIELD(readahead_bytes), KF_V_MOUNT, "1M", NULL,
     "the kernel's readahead for the mount (root only)"},
    {"memory", 0, KF_OPT_SIZE, "SIZE", FIELD(memory_bytes), OPENING, "160M", NULL,
     "for data on its way from the registry to readers and cache"},
    {"offline", 0, KF_OPT_FLAG, NULL, FIELD(offline), READING | KF_V_UNPACK, NULL, NULL,
     "use nothing but the cache and what is local anyway"},
    {"pull", 0, KF_OPT_TEXT, "WHEN", FIELD(pull), NETWORK & ~KF_V_PACK, "missing",
     "missing|always|never",
     "whether the registry is asked for a reference without prefix; missing: unless "
     "kit's "
     "store holds it"},
    {"include-remote", 0, KF_OPT_FLAG, NULL, FIELD(include_remote),
     KF_V_MOUNT | KF_V_LS | KF_V_CAT | KF_V_VERIFY | KF_V_INSPECT | KF_V_UNPACK, NULL,
     NULL, "datasets that the kit says are in other kits, too"},
    {"require-lazy", 0, KF_OPT_FLAG, NULL, FIELD(require_lazy), KF_V_MOUNT, NULL, NULL,
     "refuse a kit with layers that must be streamed once (gzip, zstd of one frame)"},
    {"verify", 0, KF_OPT_TEXT, "WHEN", FIELD(verify), KF_V_MOUNT | KF_V_LS | KF_V_CAT,
     "deferred", "deferred|full|require-toc",
     "when layers without a table of contents are checked: once all of them is here, or "
     "before anything is read; or refuse such kits"},
    {"uid", 0, KF_OPT_ID, "USER", FIELD(uid), KF_V_MOUNT, NULL, NULL,
     "owner of what is mounted (you)"},
    {"gid", 0, KF_OPT_ID, "GROUP", FIELD(gid), KF_V_MOUNT, NULL, NULL,
     "group of what is mounted (yours)"},
    {"umask", 0, KF_OPT_MODE, "OCTAL", FIELD(umask), KF_V_MOUNT, "022", NULL,
     "bits taken from every mode"},
    {"allow-other", 0, KF_OPT_FLAG, NULL, FIELD(allow_other), KF_V_MOUNT, NULL, NULL,
     "let other users read the mount (on for root)"},
    {"plain-http", 0, KF_OPT_FLAG, NULL, FIELD(plain_http), NETWORK | KF_V_LOGIN, NULL,
     NULL, "speak HTTP without TLS to the registry"},
    {"tls-verify", 0, KF_OPT_FLAG, "true|false", FIELD(tls_verify), NETWORK | KF_V_LOGIN,
     "true", NULL, "check the registry's certificate"},
    {"tls-cert", 0, KF_OPT_TEXT, "FILE", FIELD(tls_cert), NETWORK | KF_V_LOGIN, NULL,
     NULL, "certificates (PEM) of authorities to trust instead of the system's"},
    {"cert", 0, KF_OPT_TEXT, "FILE", FIELD(cert), NETWORK | KF_V_LOGIN, NULL, NULL,
     "client certificate (also from KITOPS_CLIENT_CERT)"},
    {"key", 0, KF_OPT_TEXT, "FILE", FIELD(key), NETWORK | KF_V_LOGIN, NULL, NULL,
     "its key (also from KITOPS_CLIENT_KEY)"},
    {"proxy", 0, KF_OPT_TEXT, "URL", FIELD(proxy), NETWORK | KF_V_LOGIN, NULL, NULL,
     "proxy to use (else the usual https_proxy and no_proxy)"},
    {"hosts-dir", 0, KF_OPT_TEXT, "DIR", FIELD(hosts_dir), NETWORK | KF_V_LOGIN, NULL,
     NULL,
     "mirrors, as containerd's hosts.toml (/etc/kitfs/hosts.d, /etc/containerd/certs.d)"},
    {"authfile", 0, KF_OPT_TEXT, "FILE", FIELD(authfile), NETWORK | LOGIN, NULL, NULL,
     "credentials, instead of where kit, podman and docker keep them"},
    {"lazy", 'l', KF_OPT_FLAG, NULL, FIELD(lazy), KF_V_UMOUNT, NULL, NULL,
     "detach a mount that is in use"},
    {"abort", 0, KF_OPT_FLAG, NULL, FIELD(abort_connection), KF_V_UMOUNT, NULL, NULL,
     "end a mount that does not answer: its readers get errors"},
    {"long", 'l', KF_OPT_FLAG, NULL, FIELD(long_listing), KF_V_LS, NULL, NULL,
     "mode, size and name of each"},
    {"recursive", 'R', KF_OPT_FLAG, NULL, FIELD(recursive), KF_V_LS, NULL, NULL,
     "folders below too"},
    {"json", 0, KF_OPT_FLAG, NULL, FIELD(json),
     KF_V_LS | KF_V_STATUS | KF_V_DOCTOR | KF_V_VERIFY | KF_V_LIST | KF_V_DIFF, NULL,
     NULL, "for programs"},
    {"offset", 0, KF_OPT_SIZE, "N", FIELD(offset), KF_V_CAT, "0", NULL,
     "first byte to write"},
    {"length", 0, KF_OPT_SIZE, "N", FIELD(length), KF_V_CAT, NULL, NULL,
     "bytes to write (all)"},
    {"layers", 0, KF_OPT_FLAG, NULL, FIELD(layers), KF_V_INSPECT, NULL, NULL,
     "a table of how each layer is read"},
    {"toc", 0, KF_OPT_FLAG, NULL, FIELD(whole_toc), KF_V_INSPECT, NULL, NULL,
     "the tables of contents, with every file and chunk"},
    {"dir", 'd', KF_OPT_TEXT, "DIR", FIELD(dir), KF_V_UNPACK, ".", NULL,
     "where to; made when it is missing"},
    {"overwrite", 'o', KF_OPT_FLAG, NULL, FIELD(overwrite), KF_V_UNPACK, NULL, NULL,
     "files that are there"},
    {"ignore-existing", 'i', KF_OPT_FLAG, NULL, FIELD(ignore_existing), KF_V_UNPACK, NULL,
     NULL, "keep files that are there, and unpack the others"},
    {"tag", 't', KF_OPT_TEXT, "REF", FIELD(tag), KF_V_PACK, NULL, NULL,
     "where the kit goes: REPOSITORY[:TAG] in kit's local store, oci:DIR[:TAG], or with "
     "--push a registry's"},
    {"file", 'f', KF_OPT_TEXT, "FILE", FIELD(file), KF_V_PACK, NULL, NULL,
     "the Kitfile, - for standard input (Kitfile, kitfile or .kitfile in DIR)"},
    {"push", 0, KF_OPT_FLAG, NULL, FIELD(push), KF_V_PACK, NULL, NULL,
     "straight into the registry, with no copy on disk"},
    {"compression", 0, KF_OPT_TEXT, "HOW", FIELD(compression), KF_V_PACK, NULL,
     "zstd|none", "of layers (zstd; none where they are raw)"},
    {"layer-format", 0, KF_OPT_TEXT, "FORM", FIELD(layer_format), KF_V_PACK, NULL,
     "tar|raw", "of layers that are one file (tar; raw with --use-model-pack)"},
    {"use-model-pack", 0, KF_OPT_FLAG, NULL, FIELD(use_model_pack), KF_V_PACK, NULL, NULL,
     "write the ModelPack form (CNCF model-spec)"},
    {"level", 0, KF_OPT_COUNT, "N", FIELD(level), KF_V_PACK, NULL, NULL,
     "of zstd, 1 to 19 (weights 1, the rest 3)"},
    {"chunk-size", 0, KF_OPT_SIZE, "SIZE", FIELD(chunk_size), KF_V_PACK, "1M", NULL,
     "what is fetched and checked at a time, 64K to 16M"},
    {"threads", 0, KF_OPT_COUNT, "N", FIELD(threads), KF_V_PACK, NULL, NULL,
     "that compress (one a processor)"},
    {"toc", 0, KF_OPT_TEXT, "WHETHER", FIELD(toc), KF_V_PACK, "auto", "auto|none",
     "tables of contents, which make reading lazy and checked"},
    {"no-seek-table", 0, KF_OPT_FLAG, NULL, FIELD(no_seek_table), KF_V_PACK, NULL, NULL,
     "leave out what other readers of seekable zstd use (for kit on one processor)"},
    {"annotation", 0, KF_OPT_TEXTS, "KEY=VALUE", FIELD(annotations), KF_V_PACK, NULL,
     NULL, "of the manifest; may be given several times"},
    {"check", 0, KF_OPT_TEXT, "WHEN", FIELD(check), KF_V_PACK, "auto",
     "auto|always|never",
     "read back and verify what was written; auto: layers up to 1 GiB in a layout "
     "folder"},
    {"metadata-file", 0, KF_OPT_TEXT, "FILE", FIELD(metadata_file), KF_V_PACK, NULL, NULL,
     "write digest, size and layers there, as JSON"},
    {"username", 'u', KF_OPT_TEXT, "USER", FIELD(username), KF_V_LOGIN, NULL, NULL,
     "who you are there (asked for)"},
    {"password-stdin", 0, KF_OPT_FLAG, NULL, FIELD(password_stdin), KF_V_LOGIN, NULL,
     NULL, "take the password from standard input"},
    {"progress", 0, KF_OPT_TEXT, "WHETHER", FIELD(progress), LONG, "auto", "auto|none",
     "how far long work has come, on standard error"},
    {"log-level", 0, KF_OPT_TEXT, "LEVEL", FIELD(log_level), ALL, "warn",
     "error|warn|info|debug|trace", "what is logged"},
    {"log-format", 0, KF_OPT_TEXT, "FORM", FIELD(log_format), ALL, "text", "text|json",
     "form of log lines"},
    {"debug", 0, KF_OPT_TEXT, "MODULES", FIELD(debug), ALL, NULL, NULL,
     "debug lines of these modules, by comma, or all"},
    {"verbose", 'v', KF_OPT_FLAG, NULL, FIELD(verbose), ALL, NULL, NULL,
     "log level info"},
    {"quiet", 'q', KF_OPT_FLAG, NULL, FIELD(quiet), ALL, NULL, NULL,
     "nothing but errors and results"},
    {"help", 'h', KF_OPT_FLAG, NULL, FIELD(help), ALL, NULL, NULL, "this help"},
};

const size_t kf_option_count = KF_ARRAY_LEN(kf_option_table);
_Static_assert(KF_ARRAY_LEN(kf_option_table) <= KF_OPTION_LIMIT, "too many options");

/* Options of mount(8) that say nothing to us: it passes them on. */
static const char *const ignored_mount_options[] = {
    "ro",     "rw",       "sync",       "dirsync",  "nosuid",      "nodev",
    "noexec", "exec",     "suid",       "dev",      "auto",        "noauto",
    "user",   "users",    "nouser",     "owner",    "group",       "_netdev",
    "nofail", "defaults", "noatime",    "relatime", "async",       "default_permissions",
    "silent", "loud",     "nodiratime", "comment",  "strictatime",
};

static const struct kf_option *find(const char *name, size_t length, unsigned verb)
{
    for (size_t i = 0; i < kf_option_count; i++) {
        const struct kf_option *option = &kf_option_table[i];

        if ((option->verbs & verb) != 0 && strlen(option->name) == length &&
            memcmp(option->name, name, length) == 0)
            return option;
    }
    return NULL;
}

static const struct kf_option *find_letter(char letter, unsigned verb)
{
    for (size_t i = 0; i < kf_option_count; i++)
        if (kf_option_table[i].letter == letter && (kf_option_table[i].verbs & verb) != 0)
            return &kf_option_table[i];
    return NULL;
}

static int unknown(const char *name, size_t length, unsigned verb, struct kf_err *err)
{
    const char *words[KF_ARRAY_LEN(kf_option_table)], *near;
    char word[64];
    size_t count = 0;

    for (size_t i = 0; i < kf_option_count; i++)
        if ((kf_option_table[i].verbs & verb) != 0)
            words[count++] = kf_option_table[i].name;
    (void)snprintf(word, sizeof(word), "%.*s", (int)length, name); /* cut is fine */
    near = kf_nearest(word, words, count);
    if (near)
        return kf_fail(err, KF_E_ARG, "no option '%s%s'; did you mean --%s?",
                       length > 1 ? "--" : "-", word, near);
    return kf_fail(err, KF_E_ARG, "no option '%s%s' (see --help)",
                   length > 1 ? "--" : "-", word);
}

static void *field_of(struct kf_options *options, const struct kf_option *option)
{
    return (char *)options + option->offset;
}

bool kf_option_takes_value(const struct kf_option *option)
{
    return option->type != KF_OPT_FLAG;
}

static int set(struct kf_options *options, const struct kf_option *option,
               const char *value, struct kf_err *err)
{
    unsigned char *source = &options->list_sources[option - kf_option_table];

    if (option->type == KF_OPT_TEXTS && *source != options->source)
        kf_strings_fini(field_of(options, option));
    *source = options->source;
    if (kf_option_parse_value(option, value, field_of(options, option), err) != 0)
        return kf_fail_wrap(err, "option --%s", option->name);
    return 0;
}

/* Defaults, then the environment. */
static int set_first(struct kf_options *options, unsigned verb, struct kf_err *err)
{
    options->uid = getuid();
    options->gid = getgid();
    options->allow_other = geteuid() == 0;
    options->length = UINT64_MAX;
    for (size_t i = 0; i < kf_option_count; i++) {
        const struct kf_option *option = &kf_option_table[i];
        char name[64] = "KITFS_";
        const char *value;

        if (option->fallback && set(options, option, option->fallback, err) != 0)
            return -1;
        for (size_t k = 0; option->name[k]; k++) {
            char c = option->name[k];

            name[6 + k] = (char)(c == '-' ? '_' : c >= 'a' ? c - 'a' + 'A' : c);
            name[7 + k] = '\0';
        }
        value = getenv(name);
        if (value && *value && (option->verbs & verb) != 0 &&
            set(options, option, value, err) != 0)
            return kf_fail_wrap(err, "%s in the environment", name);
    }
    return 0;
}

/* kit's own names for two of them. */
static int set_from_kit(struct kf_options *options, struct kf_err *err)
{
    const char *cert = getenv("KITOPS_CLIENT_CERT"), *key = getenv("KITOPS_CLIENT_KEY");

    if (cert && *cert && !options->cert && !(options->cert = strdup(cert)))
        return kf_fail(err, KF_E_NOMEM, "no memory for options");
    if (key && *key && !options->key && !(options->key = strdup(key)))
        return kf_fail(err, KF_E_NOMEM, "no memory for options");
    return 0;
}

static bool is_ignored(const char *name, size_t length)
{
    if (length > 2 && memcmp(name, "x-", 2) == 0)
        return true;
    for (size_t i = 0; i < KF_ARRAY_LEN(ignored_mount_options); i++)
        if (strlen(ignored_mount_options[i]) == length &&
            memcmp(ignored_mount_options[i], name, length) == 0)
            return true;
    return false;
}

/* One "name[=value]" of -o; '_' counts as '-' (allow_other). */
static int set_mount_option(struct kf_options *options, const char *text, size_t length,
                            unsigned verb, struct kf_err *err)
{
    const char *equals = memchr(text, '=', length);
    size_t name_length = equals ? (size_t)(equals - text) : length;
    char name[64], value[4096];
    const struct kf_option *option;

    if (length == 0 || is_ignored(text, name_length))
        return 0;
    if (name_length >= sizeof(name) || length - name_length >= sizeof(value))
        return kf_fail(err, KF_E_ARG, "an option of -o is too long");
    for (size_t i = 0; i < name_length; i++)
        name[i] = text[i] == '_' ? '-' : text[i];
    option = find(name, name_length, verb);
    if (!option)
        return unknown(text, name_length, verb, err);
    if (!equals)
        return kf_option_takes_value(option)
                   ? kf_fail(err, KF_E_ARG, "option '%s' needs a value", option->name)
                   : set(options, option, "true", err);
    memcpy(value, equals + 1, length - name_length - 1);
    value[length - name_length - 1] = '\0';
    return set(options, option, value, err);
}

static int set_mount_options(struct kf_options *options, const char *text, unsigned verb,
                             struct kf_err *err)
{
    while (*text) {
        size_t length = strcspn(text, ",");

        if (set_mount_option(options, text, length, verb, err) != 0)
            return -1;
        text += length + (text[length] == ',');
    }
    return 0;
}

struct parser {
    struct kf_options *options;
    unsigned verb;
    int argc;
    char *const *argv;
    int at;
    bool mount_options_only; /* the first pass: -o comes before the command line's own */
};

static const char *next_value(struct parser *p)
{
    return p->at + 1 < p->argc ? p->argv[++p->at] : NULL;
}

static int apply(struct parser *p, const struct kf_option *option, const char *value,
                 struct kf_err *err)
{
    if (!value && kf_option_takes_value(option)) {
        value = next_value(p);
        if (!value)
            return kf_fail(err, KF_E_ARG, "option --%s needs a value (%s)", option->name,
                           option->argument);
    }
    return p->mount_options_only ? 0
                                 : set(p->options, option, value ? value : "true", err);
}

static int parse_long(struct parser *p, const char *text, struct kf_err *err)
{
    size_t length = strcspn(text, "=");
    const struct kf_option *option = find(text, length, p->verb);

    if (!option)
        return unknown(text, length, p->verb, err);
    return apply(p, option, text[length] == '=' ? text + length + 1 : NULL, err);
}

static int parse_short(struct parser *p, const char *letters, struct kf_err *err)
{
    for (; *letters; letters++) {
        const struct kf_option *option = find_letter(*letters, p->verb);

        if (*letters == 'o' && p->verb == KF_V_MOUNT) {
            const char *value = letters[1] ? letters + 1 : next_value(p);

            if (!value)
                return kf_fail(err, KF_E_ARG, "option -o needs a value");
            return p->mount_options_only
                       ? set_mount_options(p->options, value, p->verb, err)
                       : 0;
        }
        if (!option)
            return unknown(letters, 1, p->verb, err);
        if (kf_option_takes_value(option))
            return apply(p, option, letters[1] ? letters + 1 : NULL, err);
        if (apply(p, option, NULL, err) != 0)
            return -1;
    }
    return 0;
}

static int add_argument(struct parser *p, const char *text, struct kf_err *err)
{
    if (p->mount_options_only)
        return 0;
    if (p->options->arg_count == KF_ARGS_LIMIT)
        return kf_fail(err, KF_E_ARG, "too many arguments");
    p->options->args[p->options->arg_count++] = text;
    return 0;
}

static int parse_pass(struct parser *p, struct kf_err *err)
{
    bool options_ended = false;

    for (p->at = 0; p->at < p->argc; p->at++) {
        const char *text = p->argv[p->at];
        int rc;

        if (options_ended || text[0] != '-' || text[1] == '\0')
            rc = add_argument(p, text, err);
        else if (strcmp(text, "--") == 0)
            rc = (options_ended = true, 0);
        else if (text[1] == '-')
            rc = parse_long(p, text + 2, err);
        else
            rc = parse_short(p, text + 1, err);
        if (rc != 0)
            return -1;
    }
    return 0;
}

int kf_options_parse(struct kf_options *ret, unsigned verb, int argc, char *const *argv,
                     struct kf_err *err)
{
    struct kf_options options = {0};
    struct parser parser = {.options = &options,
                            .verb = verb,
                            .argc = argc,
                            .argv = argv,
                            .mount_options_only = true};
    int rc = set_first(&options, verb, err);

    options.source++;
    if (rc == 0)
        rc = parse_pass(&parser, err);
    options.source++;
    parser.mount_options_only = false;
    if (rc == 0)
        rc = parse_pass(&parser, err);
    if (rc == 0)
        rc = set_from_kit(&options, err);
    if (rc != 0) {
        kf_options_fini(&options);
        return -1;
    }
    *ret = options;
    return 0;
}

void kf_options_fini(struct kf_options *options)
{
    for (size_t i = 0; i < kf_option_count; i++) {
        void *field = field_of(options, &kf_option_table[i]);

        if (kf_option_table[i].type == KF_OPT_TEXT)
            free(*(char **)field);
        else if (kf_option_table[i].type == KF_OPT_TEXTS)
            kf_strings_fini(field);
    }
    memset(options, 0, sizeof(*options));
}
