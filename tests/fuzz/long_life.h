/* SPDX-License-Identifier: Apache-2.0 */
/*
 * long_life.h - for targets that keep a broker over many inputs.
 *
 * Its tables grow, which looks like a leak to libFuzzer after each input, so
 * that it looks at the whole heap each time.  The sanitizer's own look at the
 * end of the process stays.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static char option[] = "-detect_leaks=0";
    const size_t count = (size_t)*argc;
    char **more = calloc(count + 2, sizeof(*more)); /* for good: it is the process's arguments */
    if (more == NULL) {
        abort();
    }
    more[0] = (*argv)[0];
    more[1] = option;
    memcpy(more + 2, *argv + 1, (count - 1) * sizeof(*more));
    *argv = more;
    *argc += 1;
    return 0;
}
