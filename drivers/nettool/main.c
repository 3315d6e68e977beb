/* SPDX-License-Identifier: Apache-2.0 */
#include "nettool.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <lepus/base.h>

void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "lepus-net: %s:%d: %s\n", file, line, expr);
    abort();
}

/* The launcher passes on its own words: "lepus capture ..." comes as "capture ...". */
int
main(int argc, char **argv)
{
    const char *verb = argv[0];
    if (argc > 0 && strcmp(verb, "capture") == 0) {
        return capture_run(argc, argv);
    }
    if (argc > 0 && strcmp(verb, "nic") == 0) {
        return nics_run(argc, argv);
    }
    if (argc > 1 && (strcmp(argv[1], "capture") == 0 || strcmp(argv[1], "nic") == 0)) {
        return strcmp(argv[1], "nic") == 0 ? nics_run(argc - 1, argv + 1)
                                           : capture_run(argc - 1, argv + 1);
    }
    (void)fprintf(stderr,
                  "lepus-net capture|nic: see `lepus capture --help` and `lepus nic --help`\n");
    return EX_USAGE;
}
