/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the launcher makes of the machine: cgroup limits, and memory planned
 * from whatever the operator gave.
 *
 * Method: a temporary folder stands for / and holds proc/ and sys/ files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ftw.h>
#include <sys/stat.h>

#include "control/launcher/launcher.h"

struct root {
    char path[32];
};

static void
root_file(const struct root *root, const char *name, const char *text)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", root->path, name);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700); /* may be there already */
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void
root_init(struct root *root)
{
    (void)snprintf(root->path, sizeof(root->path), "/tmp/lepus-root-XXXXXX");
    assert_non_null(mkdtemp(root->path));
    root_file(root, "proc/meminfo", "MemTotal:       16384000 kB\nMemFree: 1 kB\n");
}

static int
entry_remove(const char *path, const struct stat *unused_stat, int unused_type,
             struct FTW *unused_walk)
{
    (void)unused_stat;
    (void)unused_type;
    (void)unused_walk;
    return remove(path);
}

static void
root_fini(struct root *root)
{
    assert_int_equal(nftw(root->path, entry_remove, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void
a_plain_machine_counts_whole(void **unused)
{
    struct root root;
    struct launcher_machine machine;

    (void)unused;
    root_init(&root);
    launcher_machine_read(&machine, root.path);
    assert_int_equal(machine.memory_bytes, 16384000ull * 1024);
    assert_true(machine.processors >= 1);
    assert_false(machine.ipv6);
    root_file(&root, "proc/net/if_inet6", "0000 lo\n");
    launcher_machine_read(&machine, root.path);
    assert_true(machine.ipv6);
    root_fini(&root);
}

static void
the_least_limit_on_the_way_up_counts(void **unused)
{
    struct root root;
    struct launcher_machine machine;

    (void)unused;
    root_init(&root);
    root_file(&root, "proc/self/cgroup", "1:name=systemd:/x\n0::/a/b\n");
    root_file(&root, "sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    root_file(&root, "sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    root_file(&root, "sys/fs/cgroup/a/memory.max", "2147483648\n");
    root_file(&root, "sys/fs/cgroup/a/b/memory.max", "max\n");
    launcher_machine_read(&machine, root.path);
    assert_int_equal(machine.processors, 1); /* one and a half */
    assert_int_equal(machine.memory_bytes, 2147483648u);
    root_fini(&root);
}

static void
less_than_one_processor_is_one_shard(void **unused)
{
    struct root root;
    struct launcher_machine machine;

    (void)unused;
    root_init(&root);
    root_file(&root, "proc/self/cgroup", "0::/\n");
    root_file(&root, "sys/fs/cgroup/cpu.max", "20000 100000\n");
    launcher_machine_read(&machine, root.path);
    assert_int_equal(machine.processors, 1);
    root_fini(&root);
}

static void
version_one_groups_are_read_too(void **unused)
{
    struct root root;
    struct launcher_machine machine;

    (void)unused;
    root_init(&root);
    root_file(&root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    root_file(&root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    root_file(&root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n");
    launcher_machine_read(&machine, root.path);
    assert_int_equal(machine.processors, 1);
    assert_int_equal(machine.memory_bytes, 536870912);
    root_fini(&root);
}

#define MIB ((uint64_t)1 << 20)

static void
memory_and_watermark_follow_from_what_was_given(void **unused)
{
    static const struct {
        const char *setting[2];
        uint64_t memory_mib;
        uint64_t watermark_mib; /* of a machine with 1000 MiB */
    } cases[] = {
        {{NULL, NULL}, 400, 320},
        {{"lepus.memory=100MiB", NULL}, 100, 80},
        {{"vm_memory_high_watermark.absolute=80MiB", NULL}, 100, 80},
        {{"vm_memory_high_watermark.absolute=80MiB", "lepus.memory=200MiB"}, 200, 80},
        {{"total_memory_available_override_value=500MiB", NULL}, 200, 160},
    };

    (void)unused;
    for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
        const struct launcher_machine machine = {3, 1000 * MIB, true};
        struct launcher_options options = {.data = "/data"};
        struct launcher_plan plan;
        char why[LAUNCHER_WHY_BYTES] = "";

        for (size_t k = 0; k < 2 && cases[i].setting[k] != NULL; k++) {
            options.setting[options.setting_count++] = cases[i].setting[k];
        }
        assert_int_equal(launcher_plan_make(&plan, &options, &machine, why, sizeof(why)), LP_OK);
        assert_int_equal(plan.memory_bytes / MIB, cases[i].memory_mib);
        assert_int_equal(plan.watermark_bytes / MIB, cases[i].watermark_mib);
        assert_int_equal(plan.shard_count, 3);
        assert_string_equal(plan.data, "/data");
        assert_int_equal(plan.listener_count, 2);
        assert_string_equal(plan.listener[1], "tcp:[::]:5672");
        launcher_plan_fini(&plan);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_machine_counts_whole),
        cmocka_unit_test(the_least_limit_on_the_way_up_counts),
        cmocka_unit_test(less_than_one_processor_is_one_shard),
        cmocka_unit_test(version_one_groups_are_read_too),
        cmocka_unit_test(memory_and_watermark_follow_from_what_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
