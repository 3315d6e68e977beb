/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.c - runs a fuzz target over files, for builds without libFuzzer.
 *
 * Each input is copied to a heap block of exactly its size, so that a
 * sanitizer or valgrind sees one byte read too far.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define INPUT_BYTES_MAX (16u << 20)

static int
replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    uint8_t *scratch = malloc(INPUT_BYTES_MAX);
    const size_t bytes = scratch == NULL ? 0 : fread(scratch, 1, INPUT_BYTES_MAX, file);
    (void)fclose(file); /* read only: nothing to lose */
    if (scratch == NULL) {
        return 1;
    }

    uint8_t *exact = realloc(scratch, bytes == 0 ? 1 : bytes);
    if (exact == NULL) {
        free(scratch);
        return 1;
    }
    (void)LLVMFuzzerTestOneInput(exact, bytes);
    free(exact);
    return 0;
}

int
main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        failed |= replay_file(argv[i]);
    }
    if (failed == 0) {
        printf("%d inputs replayed\n", argc - 1);
    }
    return failed;
}
