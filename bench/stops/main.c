/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - lepus-stops: how often does this machine stop a thread that wants
 * nothing but to run?  A thread on each processor reads the clock without pause;
 * where two readings are far apart, something else ran there: an interrupt,
 * another thread, or the hypervisor's other guests.
 *
 * No program on these processors has a better tail than that.  A message that
 * needs all of them for next to no time, and is due at a random moment, waits for
 * more than x with probability
 *
 *     sum over all stops longer than x of (stop - x) / time measured
 *
 * (of a stop of length g, moments of its first g - x are too early by more than
 * x), and the p-th percentile is the x at which that is 1 - p.
 */
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <lepus/base.h>

static const char help[] =
    "lepus-stops [--seconds S] [--cpus N,N...] [--json]\n"
    "\n"
    "Spins on each processor (0,1) for S seconds (3), and tells for how long something else\n"
    "ran there: other programs, interrupts, other guests of this machine's host. A latency\n"
    "below what it says as `at best` cannot be measured here, whatever is measured.\n"
    "SIGINT or SIGTERM ends it before that, with what it has seen.\n"
    "\n"
    "  --seconds S    how long to look, up to 600\n"
    "  --cpus N,...   up to 16 of the processors that broker and generator will use\n"
    "  --json         the figures as JSON\n";

#define CPUS_MAX    16u
#define STOPS_MAX   (1u << 20) /* of one processor */
#define STOP_MIN_NS 1000u      /* reading the clock takes 20 to 50 ns */

struct spinner {
    pthread_t thread;
    uint32_t cpu;
    uint64_t ns; /* asked for, then measured */
    uint32_t count;
    uint64_t *stops;
    const atomic_bool *over; /* main's word to all of them */
};

static uint64_t
now_ns(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *
spin(void *arg)
{
    struct spinner *spinner = arg;
    const uint64_t began = now_ns();
    const uint64_t until = began + spinner->ns;
    uint64_t before = began;
    /* relaxed: it orders nothing, what was seen is read after the join. */
    while (before < until && !atomic_load_explicit(spinner->over, memory_order_relaxed)) {
        const uint64_t now = now_ns();
        if (now - before >= STOP_MIN_NS && spinner->count < STOPS_MAX) {
            spinner->stops[spinner->count++] = now - before;
        }
        before = now;
    }
    spinner->ns = before - began;
    return NULL;
}

static int
longest_first(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;
    return left < right ? 1 : left > right ? -1 : 0;
}

/* The x with sum(stop - x, of those longer than x) == share_ns; stops are sorted. */
static uint64_t
at_best(const uint64_t *stops, uint32_t count, uint64_t share_ns)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += stops[i];
        const uint64_t next = i + 1 < count ? stops[i + 1] : 0;
        if (sum > share_ns && (sum - share_ns) / (i + 1) >= next) {
            return (sum - share_ns) / (i + 1);
        }
    }
    return 0;
}

static uint64_t
longer_than(const uint64_t *stops, uint32_t count, uint64_t ns)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count && stops[i] >= ns; i++) {
        sum += stops[i];
    }
    return sum;
}

static void
report(uint64_t *stops, uint32_t count, uint64_t ns, bool json)
{
    static const uint64_t steps[] = {1000, 4000, 16000, 64000, 256000, 1000000};
    qsort(stops, count, sizeof(stops[0]), longest_first);
    const double p50 = (double)at_best(stops, count, ns / 2) / 1e3;
    const double p99 = (double)at_best(stops, count, ns / 100) / 1e3;
    const double p999 = (double)at_best(stops, count, ns / 1000) / 1e3;
    const double longest = count == 0 ? 0 : (double)stops[0] / 1e3;
    if (json) {
        (void)printf("{\"seconds\": %.3f, \"stops\": %u, \"p50_us\": %.3f, \"p99_us\": %.3f, "
                     "\"p999_us\": %.3f, \"max_us\": %.3f}\n",
                     (double)ns / 1e9, count, p50, p99, p999, longest);
        return;
    }
    (void)printf("stopped for longer than      of the time\n");
    for (size_t i = 0; i < LP_COUNT_OF(steps); i++) {
        (void)printf("%17.0f us %14.3f %%\n", (double)steps[i] / 1e3,
                     100.0 * (double)longer_than(stops, count, steps[i]) / (double)ns);
    }
    (void)printf("longest %.0f us; a latency at best: p50 %.1f us, p99 %.1f us, p99.9 %.1f us\n",
                 longest, p50, p99, p999);
}

static int
refused(const char *what)
{
    (void)fprintf(stderr, "lepus-stops: %s\n", what);
    return 2;
}

/* A thread that is on its processor from its first instruction on. */
static bool
spinner_start(struct spinner *spinner)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(spinner->cpu, &set);
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    const bool started = pthread_attr_setaffinity_np(&attributes, sizeof(set), &set) == 0 &&
                         pthread_create(&spinner->thread, &attributes, spin, spinner) == 0;
    (void)pthread_attr_destroy(&attributes);
    return started;
}

/* Until the time is over, or somebody asks for the figures. */
static void
wait_over(const sigset_t *signals, double seconds)
{
    const uint64_t until = now_ns() + (uint64_t)(seconds * 1e9);
    for (uint64_t now = now_ns(); now < until; now = now_ns()) {
        const struct timespec left = {.tv_sec = (time_t)((until - now) / 1000000000u),
                                      .tv_nsec = (long)((until - now) % 1000000000u)};
        if (sigtimedwait(signals, NULL, &left) > 0) { /* -1: a SIGCONT ends it, too */
            return;
        }
    }
}

static int
measure(const uint32_t *cpus, uint32_t count, double seconds, bool json)
{
    struct spinner spinners[CPUS_MAX] = {0};
    uint64_t *stops = calloc((size_t)count * STOPS_MAX, sizeof(stops[0]));
    if (stops == NULL) {
        return refused("no memory");
    }
    sigset_t signals; /* blocked in all threads, for wait_over() */
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    atomic_bool over = false;
    uint32_t started = 0;
    for (; started < count; started++) {
        struct spinner *one = &spinners[started];
        *one = (struct spinner){.cpu = cpus[started],
                                .ns = (uint64_t)(seconds * 1e9),
                                .stops = stops + (size_t)started * STOPS_MAX,
                                .over = &over};
        if (!spinner_start(one)) {
            break;
        }
    }
    const bool all = started == count;
    if (all) {
        wait_over(&signals, seconds);
    }
    /* relaxed, as in spin() */
    atomic_store_explicit(&over, true, memory_order_relaxed);
    uint32_t total = 0;
    for (uint32_t i = 0; i < started; i++) {
        (void)pthread_join(spinners[i].thread, NULL);
        memmove(stops + total, spinners[i].stops, spinners[i].count * sizeof(stops[0]));
        total += spinners[i].count;
    }
    if (all) {
        report(stops, total, spinners[0].ns, json);
    }
    free(stops);
    return all ? 0 : refused("a thread cannot be had on one of these processors (--cpus)");
}

/* "0,1": how many; 0: not that. */
static uint32_t
cpus_of(const char *text, uint32_t *cpus)
{
    for (uint32_t count = 0; count < CPUS_MAX;) {
        char *end = NULL;
        const unsigned long cpu = strtoul(text, &end, 10);
        if (end == text || *text == '-' || cpu >= CPU_SETSIZE) {
            return 0;
        }
        cpus[count++] = (uint32_t)cpu;
        if (*end == '\0') {
            return count;
        }
        text = end + (*end == ',');
    }
    return 0;
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {{"seconds", required_argument, NULL, 's'},
                                            {"cpus", required_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    uint32_t cpus[CPUS_MAX] = {0, 1};
    uint32_t count = 2;
    double seconds = 3;
    bool json = false;
    int option = 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread */
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 's') {
            char *end = NULL;
            seconds = strtod(optarg, &end);
            seconds = *end == '\0' ? seconds : 0;
        } else if (option == 'c') {
            count = cpus_of(optarg, cpus);
        } else if (option == 'j') {
            json = true;
        } else {
            (void)fputs(help, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    if (optind != argc || count == 0 || !(seconds >= 0.01 && seconds <= 600)) {
        return refused("--seconds is 0.01 to 600, --cpus numbers of processors; see --help");
    }
    return measure(cpus, count, seconds, json);
}
