/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_cli.c - can arguments of lepusctl trip the parser, or the messages
 * about them?  Input: the arguments, a line each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/cli.h"
#include "tests/fuzz/text_copy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define INPUT_MAX 4096u
#define WORDS_MAX 200

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static char program[] = "rabbitmqctl";
    static FILE *nowhere; /* for the life of the fuzzer */
    char *words[WORDS_MAX + 2] = {program};
    int count = 1;
    if (bytes == 0 || bytes > INPUT_MAX || memchr(data, 0, bytes)) {
        return 0;
    }
    nowhere = nowhere ? nowhere : fopen("/dev/null", "w");
    LP_ASSERT(nowhere);
    char *text = text_copy(data, bytes);
    for (char *rest = text, *word; count < WORDS_MAX && (word = strsep(&rest, "\n")) != NULL;) {
        words[count++] = word;
    }
    const struct cli_io io = {.in = nowhere, .out = nowhere, .err = nowhere};
    struct cli_request request;
    if (cli_request_parse(&request, &io, count, words) == CLI_EXIT_OK) {
        if (request.command) {
            cli_banner_print(nowhere, &request);
            cli_command_help_print(nowhere, &request, request.command);
        }
        cli_help_print(nowhere, &request);
        LP_ASSERT(request.argument_count <= CLI_ARGUMENTS_MAX);
    }
    free(text);
    return 0;
}
