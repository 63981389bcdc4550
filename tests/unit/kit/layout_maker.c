#include "layout_maker.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "oci/media.h"

#define TEXT_SIZE 4096

/* A result that lives long enough for a test to put it into the next one. */
static char *next_text(void)
{
    static char texts[16][TEXT_SIZE];
    static unsigned next;

    return texts[next++ % 16];
}

static void write_file(const struct layout *layout, const char *name, const void *data,
                       size_t length)
{
    char path[256];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", layout->dir, name);
    file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, length, file), length);
    cr_assert_eq(fclose(file), 0);
}

void layout_begin(struct layout *layout)
{
    static const char marker[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    char path[128];

    (void)snprintf(layout->dir, sizeof(layout->dir), "/tmp/kf-kit-XXXXXX");
    cr_assert_not_null(mkdtemp(layout->dir));
    (void)snprintf(layout->ref, sizeof(layout->ref), "oci:%s:v1", layout->dir);
    (void)snprintf(path, sizeof(path), "%s/blobs", layout->dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/blobs/sha256", layout->dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    write_file(layout, "oci-layout", marker, sizeof(marker) - 1);
}

static int remove_one(const char *path, const struct stat *status, int type,
                      struct FTW *place)
{
    return remove(path);
}

void remove_folder(const char *path)
{
    (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS); /* what is left is in /tmp */
}

void layout_end(struct layout *layout)
{
    remove_folder(layout->dir);
}

const char *layout_blob(struct layout *layout, const char *media_type, const void *data,
                        size_t length, const char *extra)
{
    char name[128], hex[65], *text = next_text();
    struct kf_digest digest;

    cr_assert_eq(kf_digest_of(&digest, data, length, NULL), 0);
    (void)kf_digest_hex(&digest, hex);
    (void)snprintf(name, sizeof(name), "blobs/sha256/%s", hex);
    write_file(layout, name, data, length);
    (void)snprintf(text, TEXT_SIZE,
                   "{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\",\"size\":%zu%s}",
                   media_type, hex, length, extra);
    return text;
}

const char *layout_text(struct layout *layout, const char *media_type, const char *text)
{
    return layout_blob(layout, media_type, text, strlen(text), "");
}

const char *layout_manifest(struct layout *layout, const char *artifact_type,
                            const char *config, const char *layers, const char *extra)
{
    char *text = next_text(), type[256] = "";

    if (artifact_type)
        (void)snprintf(type, sizeof(type), ",\"artifactType\":\"%s\"", artifact_type);
    cr_assert_lt(snprintf(text, TEXT_SIZE,
                          "{\"schemaVersion\":2%s,\"config\":%s,\"layers\":%s%s}", type,
                          config, layers, extra),
                 TEXT_SIZE);
    return layout_blob(layout, KF_MEDIA_OCI_MANIFEST, text, strlen(text), type);
}

const char *layout_index(struct layout *layout, const char *entries)
{
    char *text = next_text();

    cr_assert_lt(
        snprintf(text, TEXT_SIZE, "{\"schemaVersion\":2,\"manifests\":[%s]}", entries),
        TEXT_SIZE);
    return layout_text(layout, KF_MEDIA_OCI_INDEX, text);
}

void layout_tag(struct layout *layout, const char *descriptor)
{
    char text[TEXT_SIZE];

    /* The annotation goes in before the last brace. */
    cr_assert_lt(snprintf(text, sizeof(text),
                          "{\"schemaVersion\":2,\"manifests\":[%.*s,\"annotations\":{"
                          "\"org.opencontainers.image.ref.name\":\"v1\"}}]}",
                          (int)strlen(descriptor) - 1, descriptor),
                 TEXT_SIZE);
    write_file(layout, "index.json", text, strlen(text));
}

struct kf_digest digest_in(const char *descriptor)
{
    const char *text = strstr(descriptor, "sha256:");
    struct kf_digest digest;

    cr_assert_not_null(text);
    cr_assert_eq(kf_digest_parse(&digest, text, KF_DIGEST_TEXT_SIZE - 1, NULL), 0);
    return digest;
}
