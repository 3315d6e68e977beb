/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <ctype.h>
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

uint64_t
load_now_ns(void)
{
    struct timespec now;
    const int code = clock_gettime(CLOCK_MONOTONIC, &now);
    LP_ASSERT(code == 0);
    return (uint64_t)now.tv_sec * LOAD_NS_PER_S + (uint64_t)now.tv_nsec;
}

bool
load_machine_pin(uint32_t cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0;
}

/* A small file of /proc as text; false: it is not there (any more). */
static bool
slurp(const char *path, char *text, size_t room)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return false;
    }
    const size_t bytes = fread(text, 1, room - 1, file);
    (void)fclose(file); /* read only */
    text[bytes] = '\0';
    return bytes > 0;
}

/* The fourth field of /proc/PID/stat, behind the name, which may hold anything; 0: gone. */
static int
parent_of(int pid)
{
    char path[64];
    char text[1024];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    if (!slurp(path, text, sizeof(text)) || strrchr(text, ')') == NULL) {
        return 0;
    }
    const char *at = strrchr(text, ')') + 1; /* " S 123 ..." */
    return strlen(at) > 3 ? (int)strtol(at + 3, NULL, 10) : 0;
}

static bool
holds(const struct load_tree *tree, int pid)
{
    for (uint32_t i = 0; i < tree->count; i++) {
        if (tree->pids[i] == pid) {
            return true;
        }
    }
    return false;
}

static void
add(struct load_tree *tree, int pid)
{
    if (tree->count < LOAD_TREE_MAX && !holds(tree, pid)) {
        tree->pids[tree->count++] = pid;
    }
}

static int
is_process(const struct dirent *entry)
{
    return isdigit((unsigned char)entry->d_name[0]) ? 1 : 0;
}

static void
add_children(struct load_tree *tree)
{
    struct dirent **entries = NULL;
    const int count = scandir("/proc", &entries, is_process, NULL);
    for (int i = 0; i < count; i++) {
        const int pid = (int)strtol(entries[i]->d_name, NULL, 10);
        if (holds(tree, parent_of(pid))) {
            add(tree, pid);
        }
        free(entries[i]);
    }
    free(entries);
}

void
load_tree_find(struct load_tree *tree, const struct load_options *options)
{
    *tree = (struct load_tree){0};
    for (uint32_t i = 0; i < options->broker_pid_count; i++) {
        add(tree, options->broker_pids[i]);
    }
    for (uint32_t before = 0; before != tree->count;) { /* at most LOAD_TREE_MAX times */
        before = tree->count;
        add_children(tree);
    }
}

static uint64_t
clock_ns(clockid_t clock)
{
    struct timespec now;
    return clock_gettime(clock, &now) == 0
               ? (uint64_t)now.tv_sec * LOAD_NS_PER_S + (uint64_t)now.tv_nsec
               : 0;
}

/* Kilobytes behind a word of a file of /proc. */
static uint64_t
kilobytes(const char *path, const char *word)
{
    char text[4096];
    const char *at = slurp(path, text, sizeof(text)) ? strstr(text, word) : NULL;
    return at == NULL ? 0 : strtoull(at + strlen(word), NULL, 10);
}

static uint64_t
status_bytes(int pid)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
    return kilobytes(path, "\nVmRSS:") * 1024u;
}

uint64_t
load_tree_bytes(const struct load_tree *tree)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < tree->count; i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", tree->pids[i]);
        const uint64_t kb = kilobytes(path, "\nPss:");
        sum += kb != 0 ? kb * 1024u : status_bytes(tree->pids[i]);
    }
    return sum;
}

uint64_t
load_tree_bytes_quick(const struct load_tree *tree)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < tree->count; i++) {
        sum += status_bytes(tree->pids[i]);
    }
    return sum;
}

/* The first line of /proc/stat: user nice system idle iowait irq softirq steal ... */
static void
all_processors(struct load_usage *usage)
{
    enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, FIELDS };
    char text[512];
    uint64_t ticks[FIELDS] = {0};
    if (!slurp("/proc/stat", text, sizeof(text))) {
        return;
    }
    char *at = text + strlen("cpu");
    for (int i = 0; i < FIELDS; i++) {
        ticks[i] = strtoull(at, &at, 10);
    }
    const uint64_t tick_ns = LOAD_NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
    usage->busy_ns =
        (ticks[USER] + ticks[NICE] + ticks[SYSTEM] + ticks[IRQ] + ticks[SOFTIRQ]) * tick_ns;
    usage->steal_ns = ticks[STEAL] * tick_ns;
}

void
load_usage_take(struct load_usage *ret_usage, const struct load_tree *tree)
{
    struct load_usage usage = {0};
    for (uint32_t i = 0; i < tree->count; i++) {
        clockid_t clock;
        if (clock_getcpuclockid(tree->pids[i], &clock) == 0) {
            usage.broker_cpu_ns += clock_ns(clock);
        }
    }
    all_processors(&usage);
    usage.own_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    usage.wall_ns = load_now_ns();
    *ret_usage = usage;
}
