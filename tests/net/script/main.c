/* SPDX-License-Identifier: Apache-2.0 */
#include "script.h"

#include <string.h>

static int
usage(void)
{
    (void)fprintf(stderr,
                  "netscript [-v] FILE...\n"
                  "Plays scripts of packets against the TCP/IP of dataplane/net: see README.md "
                  "beside its source.\n"
                  "  -v   print each line before it is done\n");
    return 2;
}

int
main(int argc, char **argv)
{
    bool verbose = false;
    int failed = 0;
    int played = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0) {
            verbose = true;
            continue;
        }
        char why[2 * SCRIPT_WHY_BYTES];
        FILE *file = argv[i][0] == '-' ? NULL : fopen(argv[i], "r");
        if (file == NULL) {
            return usage();
        }
        played++;
        if (!script_run(argv[i], file, verbose, why)) {
            (void)printf("%s\n", why);
            failed++;
        }
        (void)fclose(file);
    }
    if (played == 0) {
        return usage();
    }
    (void)printf("%d scripts, %d failed\n", played, failed);
    return failed == 0 ? 0 : 1;
}
