/* SPDX-License-Identifier: Apache-2.0 */
/* lepusctl - cli.h says how it works. */
#include "cli.h"

#include <stdlib.h>

void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "lepusctl: bug: %s does not hold (%s:%d)\n", expr, file, line);
    abort();
}

int
main(int argc, char **argv)
{
    const struct cli_io io = {stdin, stdout, stderr};
    const int code = cli_run(&io, argc, argv);

    /* A full disk behind a redirection must not look like success. */
    return fflush(stdout) != 0 && code == CLI_EXIT_OK ? CLI_EXIT_SOFTWARE : code;
}
