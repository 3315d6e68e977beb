/* SPDX-License-Identifier: Apache-2.0 */
/* What this process may use: the affinity mask, the cgroup's quota and limit, the memory. */
#include "launcher.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MACHINE_TEXT_BYTES 8192u

/* The file's beginning as text; false when there is none. */
static bool
file_read(const char *path, char *ret_text, size_t text_bytes)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    const size_t bytes = fread(ret_text, 1, text_bytes - 1, file);
    ret_text[bytes] = '\0';
    (void)fclose(file); /* only read from */
    return bytes > 0;
}

static uint32_t
affinity_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        const long online = sysconf(_SC_NPROCESSORS_ONLN);
        return online > 0 ? (uint32_t)online : 1;
    }
    return (uint32_t)LP_MAX(CPU_COUNT(&set), 1);
}

static uint64_t
memory_total(const char *root)
{
    char path[PATH_MAX];
    char text[MACHINE_TEXT_BYTES];

    (void)snprintf(path, sizeof(path), "%s/proc/meminfo", root);
    if (file_read(path, text, sizeof(text))) {
        const char *line = strstr(text, "MemTotal:");
        const unsigned long long kib = line != NULL ? strtoull(line + 9, NULL, 10) : 0;
        if (kib > 0) {
            return (uint64_t)kib * 1024;
        }
    }
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : (uint64_t)1 << 30;
}

/* This process's cgroup (version 2) as a path below the mount, without a slash at its end. */
static void
cgroup_path(const char *root, char *ret_path, size_t path_bytes)
{
    char path[PATH_MAX];
    char text[MACHINE_TEXT_BYTES];
    const char *line = NULL;

    (void)snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    if (file_read(path, text, sizeof(text))) {
        line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    }
    ret_path[0] = '\0';
    if (line != NULL) {
        line = strchr(line, '/');
    }
    if (line != NULL) {
        (void)snprintf(ret_path, path_bytes, "%.*s", (int)strcspn(line, "\n"), line);
    }
    const size_t bytes = strlen(ret_path);
    if (bytes > 0 && ret_path[bytes - 1] == '/') {
        ret_path[bytes - 1] = '\0';
    }
}

static void
quota_apply(struct launcher_machine *machine, const char *text)
{
    char *end;
    const long long quota = strtoll(text, &end, 10); /* "max 100000": no number, 0 */
    const long long period = strtoll(end, NULL, 10);
    if (quota > 0 && period > 0) {
        const uint32_t whole = (uint32_t)LP_MAX(quota / period, 1);
        machine->processors = LP_MIN(machine->processors, whole);
    }
}

static void
memory_apply(struct launcher_machine *machine, const char *text)
{
    const unsigned long long limit = strtoull(text, NULL, 10);
    if (limit > 0) {
        machine->memory_bytes = LP_MIN(machine->memory_bytes, (uint64_t)limit);
    }
}

/* Every group up to the root may set a limit; the least one counts. */
static void
cgroup_apply(struct launcher_machine *machine, const char *root)
{
    char group[PATH_MAX / 2];
    char path[PATH_MAX];
    char text[256];

    cgroup_path(root, group, sizeof(group));
    for (unsigned depth = 0; depth < 64; depth++) {
        (void)snprintf(path, sizeof(path), "%s/sys/fs/cgroup%s/cpu.max", root, group);
        if (file_read(path, text, sizeof(text))) {
            quota_apply(machine, text);
        }
        (void)snprintf(path, sizeof(path), "%s/sys/fs/cgroup%s/memory.max", root, group);
        if (file_read(path, text, sizeof(text))) {
            memory_apply(machine, text);
        }
        char *slash = strrchr(group, '/');
        if (slash == NULL) {
            break;
        }
        *slash = '\0';
    }
    /* Version 1 keeps the two in trees of their own; inside a container the tree begins at the top.
     */
    char period[128];
    (void)snprintf(path, sizeof(path), "%s/sys/fs/cgroup/cpu/cpu.cfs_quota_us", root);
    if (file_read(path, text, sizeof(text) / 2)) {
        (void)snprintf(path, sizeof(path), "%s/sys/fs/cgroup/cpu/cpu.cfs_period_us", root);
        char both[256];
        if (file_read(path, period, sizeof(period))) {
            (void)snprintf(both, sizeof(both), "%.100s %.100s", text, period);
            quota_apply(machine, both);
        }
    }
    (void)snprintf(path, sizeof(path), "%s/sys/fs/cgroup/memory/memory.limit_in_bytes", root);
    if (file_read(path, text, sizeof(text))) {
        memory_apply(machine, text);
    }
}

void
launcher_machine_read(struct launcher_machine *ret_machine, const char *root)
{
    char path[PATH_MAX];
    char text[64];

    ret_machine->processors = affinity_count();
    ret_machine->memory_bytes = memory_total(root);
    (void)snprintf(path, sizeof(path), "%s/proc/net/if_inet6", root);
    ret_machine->ipv6 = file_read(path, text, sizeof(text));
    cgroup_apply(ret_machine, root);
    LP_ASSERT(ret_machine->processors >= 1);
}
