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
static const struct scenario *only; /* NULL: the seed chooses */
static uint32_t refused_count;
/* Of all seeds: messages that queues had by a call, and records of the mesh. */
static uint64_t handed;
static uint64_t far;
#define WAYS_COUNT_MIN 10u

/* The command that does it again. */
static void
say_replay(void)
{
    (void)fprintf(stderr, "replay: %s --seed %" PRIu64 "%s%s\n", program, current_seed,
                  only ? " --scenario " : "", only ? only->name : "");
}

/* Messages went both ways; of few seeds, or one scenario, nothing is said. */
static bool
both_ways(uint64_t count)
{
    if (count < WAYS_COUNT_MIN || only || (handed > 0 && far > 0)) {
        return true;
    }
    (void)fprintf(stderr,
                  "%" PRIu64 " messages were handed, %" PRIu64 " records sent: of 0 nothing"
                  " is shown\n",
                  handed, far);
    return false;
}

/* A broken invariant: say which, and how to see it again. */
void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "%s:%d: %s does not hold\n", file, line, expr);
    say_replay();
    abort();
}

static int
help(void)
{
    (void)printf(
        "usage: sim [--seed N] [--from N] [--count N] [--fresh N] [--once]\n"
        "           [--seeds FILE] [--scenario NAME] [--list]\n"
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
        "  --seeds F   those of a file: a line has a scenario (any: the seed chooses), a seed, "
        "and\n"
        "              what it once found\n"
        "  --scenario  play this on every node; otherwise the seed chooses\n"
        "  --list      names of the scenarios\n"
        "\n"
        "example: sim --from 100 --count 50\n");
    return 0;
}

static void
say_seed(uint64_t seed, const struct world_result *it)
{
    if (it->said[0] != '\0') {
        (void)printf("seed %" PRIu64 ": %s: %s; trace %016" PRIx64 "\n", seed, only->name, it->said,
                     it->digest);
        return;
    }
    (void)printf(
        "seed %" PRIu64 ": %s: %" PRIu64 " steps, %" PRIu64 " ms; published %" PRIu64
        ", confirmed %" PRIu64 ", delivered %" PRIu64 " (%" PRIu64 " again), %" PRIu64
        " handed; %u connections, %u resets, %u control deaths, %u node deaths; trace %016" PRIx64
        "\n",
        seed, it->scenarios, it->steps, it->virtual_ms, it->published, it->confirmed, it->delivered,
        it->redelivered, it->handed, it->connects, it->resets, it->control_kills, it->deaths,
        it->digest);
}

static bool
run(uint64_t seed, bool twice)
{
    struct world_result first;
    struct world_result second;
    current_seed = seed;
    world_run(seed, only, &first);
    if (first.refused[0] != '\0') {
        refused_count++;
        (void)printf("seed %" PRIu64 ": %s: not run: %s\n", seed, first.scenarios, first.refused);
        return true;
    }
    say_seed(seed, &first);
    (void)fflush(stdout);
    handed += first.handed;
    far += first.far;
    if (!twice) {
        return true;
    }
    world_run(seed, only, &second);
    if (memcmp(&first, &second, sizeof(first)) != 0) {
        (void)fprintf(stderr,
                      "seed %" PRIu64 " left another trace the second time: %016" PRIx64 "\n", seed,
                      second.digest);
        say_replay();
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

static int
list(void)
{
    for (uint32_t i = 0; scenario_at(i); i++) {
        (void)printf("%s\n", scenario_at(i)->name);
    }
    return 0;
}

static const struct scenario *
scenario_named(const char *name)
{
    const struct scenario *scenario = scenario_find(name);
    if (!scenario) {
        (void)fprintf(stderr, "sim: no scenario '%s'; try sim --list\n", name);
        exit(64);
    }
    return scenario;
}

/* Seeds that found something once. */
static bool
run_file(const char *path, bool twice)
{
    char line[256];
    char name[32];
    bool good = true;
    FILE *file = fopen(path, "r");
    if (!file) {
        (void)fprintf(stderr, "sim: %s: %s\n", path, strerror(errno));
        exit(66);
    }
    while (fgets(line, sizeof(line), file)) {
        uint64_t seed;
        if (line[0] != '#' && sscanf(line, "%31s %" SCNu64, name, &seed) == 2) {
            only = strcmp(name, "any") == 0 ? NULL : scenario_named(name);
            good = run(seed, twice) && good;
        }
    }
    (void)fclose(file);
    only = NULL;
    return good;
}

int
main(int argc, char **argv)
{
    uint64_t from = 1;
    uint64_t count = 20;
    uint64_t fresh = 0;
    const char *file = NULL;
    bool twice = true;
    program = argv[0];
    for (int i = 1; i < argc; i++) {
        const bool more = i + 1 < argc;
        if (strcmp(argv[i], "--help") == 0) {
            return help();
        } else if (strcmp(argv[i], "--once") == 0) {
            twice = false;
        } else if (strcmp(argv[i], "--list") == 0) {
            return list();
        } else if (strcmp(argv[i], "--seeds") == 0 && more) {
            file = argv[++i];
        } else if (strcmp(argv[i], "--scenario") == 0 && more) {
            only = scenario_named(argv[++i]);
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
    bool good = !file || run_file(file, twice);
    for (uint64_t i = 0; i < count && !file; i++) {
        good = run(from + i, twice) && good;
    }
    uint64_t seed = (uint64_t)time(NULL) * 1000;
    for (uint64_t i = 0; i < fresh; i++) {
        good = run(seed + i, twice) && good;
    }
    if (refused_count > 0) {
        (void)printf("%u seeds were not run: the broker refused what they need\n", refused_count);
    }
    return good && both_ways(count) ? 0 : 1;
}
