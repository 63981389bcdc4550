#include "kitfile/kitfile_path.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

#define DIGITS "0123456789"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define WORD LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "_"

/* --- cleaning --- */

char *kf_path_clean(const char *path)
{
    char *out = malloc(strlen(path) + 2);
    size_t used = 0, floor; /* what lies below `floor` stays: "/", "../" */

    if (!out)
        return NULL;
    if (*path == '/')
        out[used++] = '/';
    floor = used;
    while (*path) {
        size_t length = strcspn(path, "/");
        bool is_up = length == 2 && memcmp(path, "..", 2) == 0;

        if (is_up && used > floor) {
            while (used > floor && out[--used] != '/')
                ;
        } else if (length > 0 && !(length == 1 && *path == '.') &&
                   !(is_up && used > 0 && out[0] == '/')) {
            if (used > 0 && out[used - 1] != '/')
                out[used++] = '/';
            memcpy(out + used, path, length);
            used += length;
            floor = is_up ? used : floor;
        }
        path += length + (path[length] == '/');
    }
    if (used == 0)
        out[used++] = '.';
    out[used] = '\0';
    return out;
}

/* --- references: [registry/]repository[:tag|@digest][,tag...] --- */

struct text {
    const char *start;
    size_t length;
};

/* Up to `c`, which is passed; false and untouched where there is none. */
static bool cut(struct text *rest, char c, struct text *ret)
{
    const char *found = memchr(rest->start, c, rest->length);

    if (!found)
        return false;
    *ret = (struct text){rest->start, (size_t)(found - rest->start)};
    *rest = (struct text){found + 1, rest->length - ret->length - 1};
    return true;
}

static bool is_only(struct text text, const char *characters)
{
    for (size_t i = 0; i < text.length; i++)
        if (!text.start[i] || !strchr(characters, text.start[i]))
            return false;
    return true;
}

static bool is_digest(struct text text)
{
    static const struct {
        const char *name;
        size_t digits;
    } algorithms[] = {{"sha256", 64}, {"sha384", 96}, {"sha512", 128}};
    struct text name;

    if (!cut(&text, ':', &name))
        return false;
    for (size_t i = 0; i < KF_ARRAY_LEN(algorithms); i++)
        if (name.length == 6 && memcmp(name.start, algorithms[i].name, 6) == 0)
            return text.length == algorithms[i].digits && is_only(text, DIGITS "abcdef");
    return false;
}

static bool is_tag(struct text text)
{
    return text.length > 0 && text.length <= 128 && is_only(text, WORD ".-") &&
           is_only((struct text){text.start, 1}, WORD);
}

/* Letters and digits, between them one of '.', '_', "__" or any number of '-'. */
static bool is_component(struct text text)
{
    size_t run = 0; /* of separators */

    if (!is_only(text, LOWER DIGITS "._-"))
        return false;
    for (size_t i = 0; i < text.length; i++) {
        const char *c = &text.start[i];

        if (!strchr("._-", *c)) {
            run = 0;
            continue;
        }
        if (i == 0 || (run > 0 && (*c != c[-1] || *c == '.' || (*c == '_' && run == 2))))
            return false;
        run++;
    }
    return text.length > 0 && run == 0;
}

static bool is_repository(struct text text)
{
    struct text component;

    while (cut(&text, '/', &component))
        if (!is_component(component))
            return false;
    return is_component(text);
}

static bool is_registry(struct text text)
{
    struct text host;

    if (cut(&text, ':', &host))
        return host.length > 0 && is_only(text, DIGITS) && is_only(host, WORD ".-");
    return is_only(text, WORD ".-");
}

static bool is_reference(const char *path)
{
    struct text rest = {path, strcspn(path, ",")}, whole = {path, strlen(path)};
    struct text before = rest, registry;

    if (is_digest(whole))
        return true;
    if (cut(&rest, '/', &registry) && (memchr(registry.start, ':', registry.length) ||
                                       memchr(registry.start, '.', registry.length))) {
        if (!is_registry(registry))
            return false;
    } else {
        rest = (struct text){path, strcspn(path, ",")};
    }
    if (cut(&rest, '@', &before)) {
        struct text tagged = before;

        (void)cut(&tagged, ':', &before); /* a tag beside a digest does not matter */
        return is_repository(before) && is_digest(rest);
    }
    if (cut(&rest, ':', &before))
        return is_repository(before) && is_tag(rest);
    return is_repository(rest);
}

/* --- kinds --- */

enum kf_path_kind kf_path_kind(const char *path)
{
    size_t scheme = strspn(path, WORD "+-.");

    if (!strpbrk(path, ":@"))
        return strncmp(path, "//", 2) == 0 ? KF_PATH_URL : KF_PATH_LOCAL;
    if (is_reference(path))
        return KF_PATH_REFERENCE;
    if (scheme == 0 || path[scheme] != ':' || memchr(path, '_', scheme) ||
        strchr(DIGITS "+-.", path[0]))
        return KF_PATH_LOCAL;
    return scheme == 2 && strncasecmp(path, "s3", 2) == 0 ? KF_PATH_S3 : KF_PATH_URL;
}
