/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spinning is right on processors that are ours alone, and harmful on all
 * others: it takes time from the very clients and kernel threads that we wait
 * for.  So the default is to block soon, unless the kernel says otherwise.
 */
#include "host.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <drivers/common/address.h>

#define TEXT_BYTES       4096u
#define CGROUP_DEPTH_MAX 32

/* A shared machine: what a wake-up costs (5 us) is worth waiting for, no more. */
#define SHARED_SPIN_NS 5000u
/* Our own processors: nobody else has a use for them. */
#define OWN_SPIN_NS            50000u
#define OWN_RELAX_NS           200000u
#define STEAL_SHARED_PER_MILLE 10u

static bool
file_read(const char *root, const char *path, char *ret_text)
{
    char full[PATH_MAX];
    (void)snprintf(full, sizeof(full), "%s%s", root, path);
    FILE *file = fopen(full, "re");
    if (file == NULL) {
        return false;
    }
    const size_t bytes = fread(ret_text, 1, TEXT_BYTES - 1, file);
    ret_text[bytes] = '\0';
    (void)fclose(file); /* only read from */
    return bytes > 0;
}

/* Is `processor` in a list such as "2-5,8"? */
static bool
list_contains(const char *list, unsigned long processor)
{
    while (*list >= '0' && *list <= '9') {
        char *end;
        const unsigned long low = strtoul(list, &end, 10);
        const unsigned long high = *end == '-' ? strtoul(end + 1, &end, 10) : low;
        if (processor >= low && processor <= high) {
            return true;
        }
        list = *end == ',' ? end + 1 : end;
    }
    return false;
}

static void
processors_read(struct host_machine *machine, const char *root)
{
    char isolated[TEXT_BYTES] = "";
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        CPU_SET(0, &set);
    }
    (void)file_read(root, "/sys/devices/system/cpu/isolated", isolated); /* none: nothing is */
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < CPU_SETSIZE; i++) {
            const bool alone = list_contains(isolated, i);
            if (CPU_ISSET(i, &set) && alone == (pass == 0) &&
                machine->processor_count < LP_COUNT_OF(machine->processor)) {
                machine->processor[machine->processor_count++] = (uint16_t)i;
                machine->isolated_count += alone ? 1 : 0;
            }
        }
    }
}

static void
steal_read(struct host_machine *machine, const char *root)
{
    char text[TEXT_BYTES];
    uint64_t value[8] = {0}; /* user nice system idle iowait irq softirq steal */
    uint64_t total = 0;
    if (!file_read(root, "/proc/stat", text) || strncmp(text, "cpu ", 4) != 0) {
        return;
    }
    char *at = text + 4;
    for (size_t i = 0; i < LP_COUNT_OF(value); i++) {
        value[i] = strtoull(at, &at, 10);
        total += value[i];
    }
    if (total > 0) {
        machine->steal_per_mille = (uint32_t)(value[7] * 1000 / total);
    }
}

static void
quota_apply(struct host_machine *machine, const char *text)
{
    char *end;
    const unsigned long long quota = strtoull(text, &end, 10); /* "max 100000": no number */
    const unsigned long long period = strtoull(end, NULL, 10);
    if (end == text || quota == 0 || period == 0) {
        return;
    }
    const uint64_t milli = quota * 1000 / period;
    if (machine->quota_milli == 0 || milli < machine->quota_milli) {
        machine->quota_milli = milli;
    }
}

/* cgroup version 2: every group up to the root may set a quota; the least one counts. */
static void
quota_read(struct host_machine *machine, const char *root)
{
    char text[TEXT_BYTES];
    char group[PATH_MAX / 2] = "";
    char path[PATH_MAX];
    if (file_read(root, "/proc/self/cgroup", text)) {
        const char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
        line = line == NULL ? NULL : strchr(line, '/');
        if (line != NULL) {
            (void)snprintf(group, sizeof(group), "%.*s", (int)strcspn(line, "\n"), line);
        }
    }
    for (int depth = 0; depth < CGROUP_DEPTH_MAX; depth++) {
        (void)snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.max", group);
        if (file_read(root, path, text)) {
            quota_apply(machine, text);
        }
        char *slash = strrchr(group, '/');
        if (slash == NULL) {
            return;
        }
        *slash = '\0';
    }
}

void
host_machine_read(struct host_machine *ret_machine, const char *root)
{
    memset(ret_machine, 0, sizeof(*ret_machine));
    processors_read(ret_machine, root);
    steal_read(ret_machine, root);
    quota_read(ret_machine, root);
    LP_ASSERT(ret_machine->isolated_count <= ret_machine->processor_count);
}

struct host_idle
host_idle_choose(const struct host_machine *machine, const struct host_options *options)
{
    const bool own = machine->isolated_count >= options->shard.count && machine->quota_milli == 0 &&
                     machine->steal_per_mille <= STEAL_SHARED_PER_MILLE;
    struct host_idle idle = {
        .pin = options->pin == HOST_PIN_YES || (options->pin == HOST_PIN_AUTO && own),
        .poll = options->poll,
        .spin_ns = own ? OWN_SPIN_NS : SHARED_SPIN_NS,
        .relax_ns = own ? OWN_RELAX_NS : 0,
    };
    if (options->poll == HOST_POLL_SLEEP) {
        idle.spin_ns = 0;
        idle.relax_ns = 0;
    }
    if (machine->processor_count < options->shard.count) {
        idle.pin = false; /* two shards on one processor: let the kernel sort them out */
    }
    return idle;
}

void
host_idle_print(const struct host *host)
{
    static const char *const polls[] = {"adaptive", "busy", "sleep"};
    const struct host_machine *machine = &host->machine;
    const struct host_idle *idle = &host->idle;
    char quota[48] = "no quota";
    char spin[64] = "";
    if (machine->quota_milli > 0) {
        (void)snprintf(quota, sizeof(quota), "quota %llu.%03llu processors",
                       (unsigned long long)(machine->quota_milli / 1000),
                       (unsigned long long)(machine->quota_milli % 1000));
    }
    if (idle->poll == HOST_POLL_ADAPTIVE) {
        (void)snprintf(spin, sizeof(spin), " (blocks after %llu us)",
                       (unsigned long long)(LP_MAX(idle->spin_ns, idle->relax_ns) / 1000));
    }
    (void)fprintf(stderr,
                  "lepus-dataplane: %u shards on %u processors (%u isolated, %s, steal %u.%u %%): "
                  "%s, %s, polling %s%s\n",
                  host->options.shard.count, machine->processor_count, machine->isolated_count,
                  quota, machine->steal_per_mille / 10, machine->steal_per_mille % 10,
                  host->shard[0].transport.ops->name, idle->pin ? "pinned" : "not pinned",
                  polls[idle->poll], spin);
}

bool
host_thread_pin(const struct host_machine *machine, uint32_t shard)
{
    cpu_set_t set;
    LP_ASSERT(shard < machine->processor_count);
    CPU_ZERO(&set);
    CPU_SET(machine->processor[shard], &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0; /* of the calling thread */
}
