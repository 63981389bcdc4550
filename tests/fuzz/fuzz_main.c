/*
 * Runs a fuzz target over files: each corpus is an ordinary test. With -Dfuzz=true
 * libFuzzer takes this file's place.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t size = 0, got;
    uint8_t chunk[4096];

    if (!file) {
        perror(path);
        return -1;
    }
    while ((got = fread(chunk, 1, sizeof(chunk), file)) > 0) {
        uint8_t *grown = realloc(data, size + got);

        if (!grown)
            abort();
        data = grown;
        memcpy(data + size, chunk, got);
        size += got;
    }
    (void)fclose(file); /* read only */
    /* An exact allocation, so that the sanitizer sees a read one byte too far. */
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact)
        abort();
    if (size)
        memcpy(exact, data, size);
    free(data);
    (void)LLVMFuzzerTestOneInput(exact, size); /* its value is libFuzzer's business */
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned files = 0;

    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        struct dirent *entry;

        if (!folder) {
            perror(argv[i]);
            return 1;
        }
        while ((entry = readdir(folder))) {
            char path[4096];

            if (entry->d_name[0] == '.')
                continue;
            (void)snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
            if (run_file(path) != 0)
                return 1;
            files++;
        }
        (void)closedir(folder);
    }
    if (files == 0) {
        fprintf(stderr, "no corpus files\n");
        return 1;
    }
    printf("%u files\n", files);
    return 0;
}
