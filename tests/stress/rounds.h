/*
 * What stress programs are told: --rounds N, --seed N (the time).
 */
#ifndef KF_STRESS_ROUNDS_H
#define KF_STRESS_ROUNDS_H

#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline void take_rounds(int argc, char **argv, unsigned *rounds, unsigned *seed)
{
    *seed = (unsigned)time(NULL);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--rounds") == 0)
            *rounds = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            *seed = (unsigned)strtoul(argv[i + 1], NULL, 10);
    }
}

#endif
