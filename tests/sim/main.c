/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - the simulator: run seeds, each twice, and compare.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/world.h"

static uint64_t current_seed;
static const char *program;

/* A broken invariant: say which, and how to see it again. */
void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "%s:%d: %s does not hold\nreplay: %s --seed %" PRIu64 "\n", file, line,
                  expr, program, current_seed);
    abort();
}

static int
help(void)
{
    (void)printf(
        "usage: sim [--seed N] [--from N] [--count N] [--fresh N] [--once]\n"
        "\n"
        "Runs simulated brokers from seeds: nodes of several shards and a control process, in one\n"
        "thread and virtual time, with publishers, consumers, accidents and checkers. Each seed\n"
        "runs twice and must leave the same trace.\n"
        "\n"
        "  --seed N    one seed, and say what it did (replay a failure)\n"
        "  --from N    first of a row of seeds (default 1)\n"
        "  --count N   how many (default 20)\n"
        "  --fresh N   N more seeds from the clock; they are printed\n"
        "  --once      do not run each twice\n"
        "\n"
        "example: sim --from 100 --count 50\n");
    return 0;
}

static bool
run(uint64_t seed, bool twice)
{
    struct world_result first;
    struct world_result second;
    current_seed = seed;
    world_run(seed, &first);
    (void)printf("seed %" PRIu64 ": %" PRIu64 " steps, %" PRIu64 " ms; published %" PRIu64
                 ", confirmed %" PRIu64 ", delivered %" PRIu64 " (%" PRIu64
                 " again); %u connections, %u resets, %u control deaths; trace %016" PRIx64 "\n",
                 seed, first.steps, first.virtual_ms, first.published, first.confirmed,
                 first.delivered, first.redelivered, first.connects, first.resets,
                 first.control_kills, first.digest);
    (void)fflush(stdout);
    if (!twice) {
        return true;
    }
    world_run(seed, &second);
    if (memcmp(&first, &second, sizeof(first)) != 0) {
        (void)fprintf(stderr,
                      "seed %" PRIu64 " left another trace the second time: %016" PRIx64
                      "\nreplay: %s --seed %" PRIu64 "\n",
                      seed, second.digest, program, seed);
        return false;
    }
    return true;
}

static uint64_t
number(const char *text)
{
    errno = 0;
    char *end;
    const uint64_t value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text) {
        (void)fprintf(stderr, "sim: '%s' is not a number; try sim --help\n", text);
        exit(64);
    }
    return value;
}

int
main(int argc, char **argv)
{
    uint64_t from = 1;
    uint64_t count = 20;
    uint64_t fresh = 0;
    bool twice = true;
    program = argv[0];
    for (int i = 1; i < argc; i++) {
        const bool more = i + 1 < argc;
        if (strcmp(argv[i], "--help") == 0) {
            return help();
        } else if (strcmp(argv[i], "--once") == 0) {
            twice = false;
        } else if (strcmp(argv[i], "--seed") == 0 && more) {
            from = number(argv[++i]);
            count = 1;
        } else if (strcmp(argv[i], "--from") == 0 && more) {
            from = number(argv[++i]);
        } else if (strcmp(argv[i], "--count") == 0 && more) {
            count = number(argv[++i]);
        } else if (strcmp(argv[i], "--fresh") == 0 && more) {
            fresh = number(argv[++i]);
        } else {
            (void)fprintf(stderr, "sim: I do not know '%s'; try sim --help\n", argv[i]);
            return 64;
        }
    }
    bool good = true;
    for (uint64_t i = 0; i < count; i++) {
        good = run(from + i, twice) && good;
    }
    uint64_t seed = (uint64_t)time(NULL) * 1000;
    for (uint64_t i = 0; i < fresh; i++) {
        good = run(seed + i, twice) && good;
    }
    return good ? 0 : 1;
}
