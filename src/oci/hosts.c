#include "oci/hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/url.h"
#include "oci/toml.h"

struct reader {
    const char *dir;
    struct kf_err *err;
};

KF_DEFINE_AUTO(toml, struct kf_toml *, kf_toml_free)

void kf_host_fini(struct kf_host *host)
{
    for (size_t i = 0; i < host->headers.count; i++)
        explicit_bzero(host->headers.items[i], strlen(host->headers.items[i]));
    kf_strings_fini(&host->headers);
    kf_strings_fini(&host->ca_files);
    kf_buf_fini(&host->ca);
    free(host->base);
    free(host->client_cert);
    free(host->client_key);
    *host = (struct kf_host){0};
}

void kf_hosts_fini(struct kf_hosts *hosts)
{
    for (size_t i = 0; i < hosts->mirror_count; i++)
        kf_host_fini(&hosts->mirrors[i]);
    hosts->mirror_count = 0;
    kf_host_fini(&hosts->server);
}

/* ---- values ------------------------------------------------------------------------ */

static int no_memory(struct kf_err *err)
{
    return kf_fail(err, KF_E_NOMEM, "no memory for hosts");
}

static int wrong(const struct reader *reader, const struct kf_toml *node,
                 const char *what)
{
    return kf_fail(reader->err, KF_E_MALFORMED, "line %u: '%s' %s", node->line,
                   node->key ? node->key : "a value", what);
}

static int expect(const struct reader *reader, const struct kf_toml *node,
                  enum kf_toml_type type)
{
    static const char *const texts[] = {
        [KF_TOML_TABLE] = "must be a table",      [KF_TOML_STRING] = "must be a string",
        [KF_TOML_BOOL] = "must be true or false", [KF_TOML_INTEGER] = "must be a number",
        [KF_TOML_ARRAY] = "must be an array",
    };

    return node->type == type ? 0 : wrong(reader, node, texts[type]);
}

static bool is_printable(const char *text)
{
    for (; *text; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
            return false;
    return true;
}

static int take_duration_part(double *ret, const char **at)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"ns", 1},  {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"ms", 1e6},
                 {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
    double number = 0, step = 1;
    size_t digits = 0;

    for (; **at >= '0' && **at <= '9'; (*at)++, digits++)
        number = number * 10 + (**at - '0');
    if (**at == '.')
        for (++*at; **at >= '0' && **at <= '9'; (*at)++, digits++)
            number += (**at - '0') * (step /= 10);
    if (digits == 0 || digits > 18)
        return -1;
    for (size_t i = 0; i < KF_ARRAY_LEN(units); i++) {
        size_t length = strlen(units[i].name);

        /* "m" begins "ms", which stands before it. */
        if (strncmp(*at, units[i].name, length) != 0)
            continue;
        *at += length;
        *ret += number * units[i].ns;
        return 0;
    }
    return -1;
}

int kf_hosts_duration(int64_t *ret_ns, const char *text)
{
    double sum = 0;

    do {
        if (take_duration_part(&sum, &text) != 0)
            return -1;
    } while (*text);
    if (sum < 1 || sum > (double)KF_HOSTS_DIAL_LIMIT_NS)
        return -1;
    *ret_ns = (int64_t)sum;
    return 0;
}

/* ---- keys of a host ---------------------------------------------------------------- */

typedef int setter(const struct reader *reader, const struct kf_toml *node,
                   struct kf_host *host);

static int set_capability(const struct reader *reader, const struct kf_toml *node,
                          struct kf_host *host)
{
    static const char *const names[] = {"pull", "resolve", "push", "referrers"};

    if (expect(reader, node, KF_TOML_STRING) != 0)
        return -1;
    for (unsigned i = 0; i < KF_ARRAY_LEN(names); i++)
        if (strcasecmp(node->text, names[i]) == 0) {
            host->can |= 1u << i;
            return 0;
        }
    return kf_fail(reader->err, KF_E_MALFORMED,
                   "line %u: no capability is called '%s' (pull, resolve, push, "
                   "referrers)",
                   node->line, node->text);
}

static int each(const struct reader *reader, const struct kf_toml *array,
                struct kf_host *host, setter *set)
{
    for (const struct kf_toml *value = array->first; value; value = value->next)
        if (set(reader, value, host) != 0)
            return -1;
    return 0;
}

static int set_capabilities(const struct reader *reader, const struct kf_toml *node,
                            struct kf_host *host)
{
    return expect(reader, node, KF_TOML_ARRAY) == 0
               ? each(reader, node, host, set_capability)
               : -1;
}

static int set_file(const struct reader *reader, const struct kf_toml *node, char **ret)
{
    if (expect(reader, node, KF_TOML_STRING) != 0)
        return -1;
    if (!*node->text)
        return wrong(reader, node, "names no file");
    if (*node->text == '/')
        *ret = strdup(node->text);
    else if (asprintf(ret, "%s/%s", reader->dir, node->text) < 0)
        *ret = NULL;
    return *ret ? 0 : no_memory(reader->err);
}

static int add_ca(const struct reader *reader, const struct kf_toml *node,
                  struct kf_host *host)
{
    kf_auto(kf_free) char *path = NULL;

    return set_file(reader, node, &path) == 0
               ? kf_strings_add(&host->ca_files, path, reader->err)
               : -1;
}

static int set_ca(const struct reader *reader, const struct kf_toml *node,
                  struct kf_host *host)
{
    return node->type == KF_TOML_ARRAY ? each(reader, node, host, add_ca)
                                       : add_ca(reader, node, host);
}

/* A file with both, or a pair of files. */
static int add_client(const struct reader *reader, const struct kf_toml *node,
                      struct kf_host *host)
{
    const struct kf_toml *pair = node->first;

    if (host->client_cert)
        return wrong(reader, node, "names several client certificates; one is supported");
    if (node->type != KF_TOML_ARRAY)
        return set_file(reader, node, &host->client_cert);
    if (!pair || !pair->next || pair->next->next)
        return wrong(reader, node, "must be a pair, of a certificate and its key");
    return set_file(reader, pair, &host->client_cert) == 0
               ? set_file(reader, pair->next, &host->client_key)
               : -1;
}

static int set_client(const struct reader *reader, const struct kf_toml *node,
                      struct kf_host *host)
{
    return node->type == KF_TOML_ARRAY ? each(reader, node, host, add_client)
                                       : add_client(reader, node, host);
}

static int set_skip_verify(const struct reader *reader, const struct kf_toml *node,
                           struct kf_host *host)
{
    host->has_skip_verify = true;
    host->skip_verify = node->truth;
    return expect(reader, node, KF_TOML_BOOL);
}

static int set_dial_timeout(const struct reader *reader, const struct kf_toml *node,
                            struct kf_host *host)
{
    if (expect(reader, node, KF_TOML_STRING) != 0)
        return -1;
    return kf_hosts_duration(&host->dial_ns, node->text) == 0
               ? 0
               : wrong(reader, node, "is no time, as \"200ms\" or \"1m30s\", up to 1h");
}

/* ---- header lines ------------------------------------------------------------------ */

/* What the request itself says. */
static const char *const own_headers[] = {
    "Accept-Encoding", "Connection", "Content-Length",
    "Content-Range",   "Expect",     "Host",
    "If-Range",        "Range",      "Transfer-Encoding"};

static int check_header_name(const struct reader *reader, const struct kf_toml *node)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    if (!*node->key || node->key[strspn(node->key, token)])
        return wrong(reader, node, "is no name of a header");
    for (size_t i = 0; i < KF_ARRAY_LEN(own_headers); i++)
        if (strcasecmp(node->key, own_headers[i]) == 0)
            return wrong(reader, node, "is a header that cannot be set");
    return 0;
}

static int add_line(const struct reader *reader, const char *name,
                    const struct kf_toml *value, struct kf_host *host)
{
    char *line;
    int rc;

    if (expect(reader, value, KF_TOML_STRING) != 0)
        return -1;
    if (!is_printable(value->text))
        return wrong(reader, value, "has a control character");
    if (host->headers.count == KF_HOSTS_LINES_LIMIT)
        return kf_fail(reader->err, KF_E_LIMIT, "line %u: more than %u header lines",
                       value->line, KF_HOSTS_LINES_LIMIT);
    /* curl's form of a header without a value. */
    if (*value->text ? asprintf(&line, "%s: %s", name, value->text) < 0
                     : asprintf(&line, "%s;", name) < 0)
        return no_memory(reader->err);
    rc = kf_strings_add(&host->headers, line, reader->err);
    explicit_bzero(line, strlen(line));
    free(line);
    return rc;
}

static int set_header(const struct reader *reader, const struct kf_toml *node,
                      struct kf_host *host)
{
    if (check_header_name(reader, node) != 0)
        return -1;
    if (node->type != KF_TOML_ARRAY)
        return add_line(reader, node->key, node, host);
    for (const struct kf_toml *value = node->first; value; value = value->next)
        if (add_line(reader, node->key, value, host) != 0)
            return -1;
    return 0;
}

static int set_headers(const struct reader *reader, const struct kf_toml *node,
                       struct kf_host *host)
{
    return expect(reader, node, KF_TOML_TABLE) == 0 ? each(reader, node, host, set_header)
                                                    : -1;
}

/* ---- hosts ------------------------------------------------------------------------- */

/* The API's root: the path ends in /v2 unless the file says that it is complete. */
static int make_base(const struct reader *reader, const struct kf_toml *node,
                     const char *name, bool override_path, char **ret)
{
    kf_auto(kf_free) char *url = NULL;
    kf_auto(kf_free) char *origin = NULL;
    const char *path;
    size_t length;
    bool ends;

    if (asprintf(&url, "%s%s", strstr(name, "://") ? "" : "https://", name) < 0) {
        url = NULL;
        return no_memory(reader->err);
    }
    if (strstr(url, ":///") || strpbrk(url, "?# \t") || !is_printable(url) ||
        kf_url_origin(&origin, url, NULL) != 0)
        return kf_fail(reader->err, KF_E_MALFORMED,
                       "line %u: '%s' is no host, as \"https://mirror.example:5000\"",
                       node->line, name);
    path = strchr(strstr(url, "://") + 3, '/');
    length = path ? strlen(path) : 0;
    while (length > 0 && path[length - 1] == '/')
        length--;
    ends = length >= 3 && memcmp(path + length - 3, "/v2", 3) == 0;
    if (asprintf(ret, "%s%.*s%s", origin, (int)length, path ? path : "",
                 ends || override_path ? "" : "/v2") < 0) {
        *ret = NULL;
        return no_memory(reader->err);
    }
    return 0;
}

static const struct {
    const char *name;
    setter *set;
} keys[] = {
    {"capabilities", set_capabilities},
    {"ca", set_ca},
    {"client", set_client},
    {"skip_verify", set_skip_verify},
    {"header", set_headers},
    {"dial_timeout", set_dial_timeout},
};

static int set_key(const struct reader *reader, const struct kf_toml *node,
                   struct kf_host *host, bool *override_path)
{
    if (strcmp(node->key, "override_path") == 0) {
        *override_path = node->truth;
        return expect(reader, node, KF_TOML_BOOL);
    }
    for (size_t i = 0; i < KF_ARRAY_LEN(keys); i++)
        if (strcmp(node->key, keys[i].name) == 0)
            return keys[i].set(reader, node, host);
    return wrong(reader, node, "is no key that is known here");
}

static int read_mirror(const struct reader *reader, const struct kf_toml *node,
                       struct kf_host *host)
{
    bool override_path = false;

    kf_buf_init(&host->ca, KF_HOSTS_PEM_LIMIT);
    if (expect(reader, node, KF_TOML_TABLE) != 0)
        return -1;
    for (const struct kf_toml *key = node->first; key; key = key->next)
        if (set_key(reader, key, host, &override_path) != 0)
            return -1;
    if (host->can == 0)
        host->can = KF_HOST_ALL;
    return make_base(reader, node, node->key, override_path, &host->base);
}

static int read_mirrors(const struct reader *reader, const struct kf_toml *node,
                        struct kf_hosts *hosts)
{
    if (expect(reader, node, KF_TOML_TABLE) != 0)
        return -1;
    for (const struct kf_toml *mirror = node->first; mirror; mirror = mirror->next) {
        if (hosts->mirror_count == KF_HOSTS_LIMIT)
            return kf_fail(reader->err, KF_E_LIMIT, "line %u: more than %u hosts",
                           mirror->line, KF_HOSTS_LIMIT);
        if (read_mirror(reader, mirror, &hosts->mirrors[hosts->mirror_count++]) != 0)
            return -1;
    }
    return 0;
}

/* The root: keys of the last host, its name, and the table of the others. */
static int read_root(const struct reader *reader, const struct kf_toml *root,
                     struct kf_hosts *hosts)
{
    const struct kf_toml *server = NULL;
    bool override_path = false;

    for (const struct kf_toml *node = root->first; node; node = node->next) {
        if (strcmp(node->key, "host") == 0) {
            if (read_mirrors(reader, node, hosts) != 0)
                return -1;
        } else if (strcmp(node->key, "server") == 0) {
            server = node;
            if (expect(reader, node, KF_TOML_STRING) != 0)
                return -1;
        } else if (set_key(reader, node, &hosts->server, &override_path) != 0) {
            return -1;
        }
    }
    /* As containerd: what the reference names can do everything. */
    if (hosts->server.can == 0 || !server || !*server->text)
        hosts->server.can = KF_HOST_ALL;
    return server && *server->text ? make_base(reader, server, server->text,
                                               override_path, &hosts->server.base)
                                   : 0;
}

int kf_hosts_parse(struct kf_hosts *ret, const char *text, size_t length, const char *dir,
                   struct kf_err *err)
{
    const struct reader reader = {dir, err};
    kf_auto(kf_auto_toml) struct kf_toml *root = NULL;

    *ret = (struct kf_hosts){0};
    kf_buf_init(&ret->server.ca, KF_HOSTS_PEM_LIMIT);
    return kf_toml_parse(&root, text, length, err) == 0 ? read_root(&reader, root, ret)
                                                        : -1;
}
