/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the drivers of real disks keep the contract of disk.h.
 *
 * Method: the same scripts run over each driver, direct and buffered, with
 * either way of making a write durable, in a folder of their own.  One thread:
 * a step polls and waits; nothing is waited for by time.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "disk_rig.h"

/* --- Scripts. -------------------------------------------------------------------------------- */

static void
what_is_written_is_read_back(void **state)
{
    struct disk_rig *rig = *state;
    assert_int_equal(rig_create(rig, 1, MEGABYTE), LP_OK);
    static const uint32_t sizes[] = {4096, 8192, 65536, 512 * 1024};
    uint64_t offset = 0;
    for (uint32_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        uint8_t *data = rig_data(rig, 0);
        uint8_t *back = rig_data(rig, 1);
        fill(data, sizes[i], (uint8_t)(i + 1));
        memset(back, 0, sizes[i]);
        assert_int_equal(rig_write(rig, 1, offset, data, sizes[i]), LP_OK);
        assert_int_equal(rig_read(rig, 1, offset, back, sizes[i]), LP_OK);
        assert_memory_equal(back, data, sizes[i]);
        offset += i < 3 ? sizes[i] : 0;
    }
}

static void
a_created_file_holds_zeros_and_has_its_size(void **state)
{
    struct disk_rig *rig = *state;
    uint8_t *back = rig_data(rig, 0);
    assert_int_equal(rig_create(rig, 7, MEGABYTE + 4096), LP_OK);
    for (uint64_t at = 0; at < MEGABYTE; at += 262144) {
        memset(back, 0xff, 262144);
        assert_int_equal(rig_read(rig, 7, at, back, 262144), LP_OK);
        for (uint32_t i = 0; i < 262144; i++) {
            assert_int_equal(back[i], 0);
        }
    }
    assert_int_equal(rig_file_bytes(rig, "00000007.log"), MEGABYTE + 4096);
    assert_int_equal(rig_file_mode(rig, "00000007.log"), 0600);
}

static void
many_operations_are_in_flight_and_each_ends_once(void **state)
{
    struct disk_rig *rig = *state;
    assert_int_equal(rig_create(rig, 3, LP_DISK_OPS_MAX * 4096u), LP_OK);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < LP_DISK_OPS_MAX; i++) {
            uint8_t *data = rig_page(rig, i);
            fill(data, 4096, (uint8_t)(round * 64 + i));
            rig_submit(rig, LP_DISK_WRITE, 3, i * 4096u, data, 4096);
        }
        const struct lp_disk_op more = {
            .kind = LP_DISK_READ, .file = 3, .data = rig_page(rig, 0), .bytes = 4096};
        assert_false(rig->disk.ops->submit(rig->disk.self, &more));
        assert_int_equal(rig_finish(rig), LP_DISK_OPS_MAX);
        for (uint32_t i = 0; i < LP_DISK_OPS_MAX; i++) {
            memset(rig_page(rig, i), 0, 4096);
            rig_submit(rig, LP_DISK_READ, 3, i * 4096u, rig_page(rig, i), 4096);
        }
        assert_int_equal(rig_finish(rig), LP_DISK_OPS_MAX);
        for (uint32_t i = 0; i < LP_DISK_OPS_MAX; i++) {
            assert_filled(rig_page(rig, i), 4096, (uint8_t)(round * 64 + i));
        }
    }
}

static void
what_is_not_there_is_not_found(void **state)
{
    struct disk_rig *rig = *state;
    assert_int_equal(rig_read(rig, 9, 0, rig_data(rig, 0), 4096), LP_ERR_NOT_FOUND);
    assert_int_equal(rig_write(rig, 9, 0, rig_data(rig, 0), 4096), LP_ERR_NOT_FOUND);
    assert_int_equal(rig_remove(rig, 9), LP_ERR_NOT_FOUND);
    assert_int_equal(rig_create(rig, 9, 4096), LP_OK);
    assert_int_equal(rig_create(rig, 9, 8192), LP_ERR_EXISTS);
    assert_int_equal(rig_remove(rig, 9), LP_OK);
    assert_int_equal(rig_read(rig, 9, 0, rig_data(rig, 0), 4096), LP_ERR_NOT_FOUND);
    assert_int_equal(rig_create(rig, 9, 8192), LP_OK);
    assert_int_equal(rig_file_bytes(rig, "00000009.log"), 8192);
}

static void
beyond_the_end_nothing_is_read_or_written(void **state)
{
    struct disk_rig *rig = *state;
    assert_int_equal(rig_create(rig, 2, 8192), LP_OK);
    assert_int_equal(rig_read(rig, 2, 8192, rig_data(rig, 0), 4096), LP_ERR_IO);
    assert_int_equal(rig_read(rig, 2, 4096, rig_data(rig, 0), 8192), LP_ERR_IO);
    assert_int_equal(rig_write(rig, 2, 4096, rig_data(rig, 0), 8192), LP_ERR_IO);
    assert_int_equal(rig_read(rig, 2, UINT64_MAX - 4095, rig_data(rig, 0), 4096), LP_ERR_IO);
    assert_int_equal(rig_file_bytes(rig, "00000002.log"), 8192);
    /* One that somebody cut behind our back reads short, which is a failure, too. */
    rig_truncate(rig, "00000002.log", 4096);
    assert_int_equal(rig_read(rig, 2, 0, rig_data(rig, 0), 8192), LP_ERR_IO);
}

static void
the_root_is_a_file_like_others(void **state)
{
    struct disk_rig *rig = *state;
    assert_int_equal(rig_create(rig, 0, 8192), LP_OK);
    assert_int_equal(rig_file_bytes(rig, "root.log"), 8192);
    fill(rig_data(rig, 0), 4096, 77);
    assert_int_equal(rig_write(rig, 0, 4096, rig_data(rig, 0), 4096), LP_OK);
    rig_reopen(rig);
    assert_int_equal(rig_read(rig, 0, 4096, rig_data(rig, 1), 4096), LP_OK);
    assert_filled(rig_data(rig, 1), 4096, 77);
}

static void
files_are_listed_in_order_after_a_restart(void **state)
{
    struct disk_rig *rig = *state;
    struct lp_disk_file files[8];
    static const uint32_t numbers[] = {40, 3, 100000000, 0, 4294967295u};
    assert_int_equal(rig->disk.ops->files(rig->disk.self, files, 8), 0);
    for (uint32_t i = 0; i < LP_COUNT_OF(numbers); i++) {
        assert_int_equal(rig_create(rig, numbers[i], 4096 * (i + 1)), LP_OK);
    }
    rig_foreign_files(rig);
    rig_reopen(rig);
    assert_int_equal(rig->disk.ops->files(rig->disk.self, NULL, 0), 5);
    assert_int_equal(rig->disk.ops->files(rig->disk.self, files, 8), 5);
    static const uint32_t order[] = {3, 1, 0, 2, 4};
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(files[i].number, numbers[order[i]]);
        assert_int_equal(files[i].bytes, 4096 * (order[i] + 1));
    }
    assert_int_equal(rig_count(rig, "making"), 0);
}

static void
a_removed_file_is_kept_for_the_next_of_its_size(void **state)
{
    struct disk_rig *rig = *state;
    for (uint32_t i = 1; i <= 4; i++) {
        assert_int_equal(rig_create(rig, i, 65536), LP_OK);
        fill(rig_data(rig, 0), 4096, (uint8_t)i);
        assert_int_equal(rig_write(rig, i, 0, rig_data(rig, 0), 4096), LP_OK);
    }
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(rig_remove(rig, i), LP_OK);
    }
    assert_int_equal(rig_count(rig, "spare-"), 2); /* and no more */
    assert_int_equal(rig_count(rig, "0000"), 1);
    rig_reopen(rig); /* they are found again */
    assert_int_equal(rig_create(rig, 10, 32768), LP_OK);
    assert_int_equal(rig_count(rig, "spare-"), 2); /* of another size */
    assert_int_equal(rig_create(rig, 11, 65536), LP_OK);
    assert_int_equal(rig_create(rig, 12, 65536), LP_OK);
    assert_int_equal(rig_count(rig, "spare-"), 0);
    assert_int_equal(rig_create(rig, 13, 65536), LP_OK);
    /* What an earlier file held is there, or zeros. */
    assert_int_equal(rig_read(rig, 11, 0, rig_data(rig, 0), 4096), LP_OK);
    assert_true(rig_data(rig, 0)[0] != 0);
    assert_int_equal(rig_read(rig, 13, 0, rig_data(rig, 0), 4096), LP_OK);
    assert_int_equal(rig_data(rig, 0)[0], 0);
}

static void
a_remove_waits_for_reads_of_its_file(void **state)
{
    struct disk_rig *rig = *state;
    for (uint32_t round = 1; round <= 4; round++) {
        assert_int_equal(rig_create(rig, round, MEGABYTE), LP_OK);
        if (round % 2 == 0) {
            rig_reopen(rig); /* now they wait for the file to be opened, too */
        }
        for (uint32_t i = 0; i < 8; i++) {
            rig_submit(rig, LP_DISK_READ, round, i * 65536u, rig_page(rig, i * 16), 65536);
        }
        rig_submit(rig, LP_DISK_REMOVE, round, 0, NULL, 0);
        assert_int_equal(rig_finish(rig), 9);
    }
}

/* More files than descriptors: those used long ago are closed, and opened again. */
static void
more_files_are_there_than_are_open(void **state)
{
    struct disk_rig *rig = *state;
    const uint32_t lanes = 42;
    const uint32_t count = LP_FILES_OPEN_MAX / lanes * lanes + lanes;
    rig_files_make(rig, count);
    rig_reopen(rig);
    for (uint32_t i = 0; i < count; i++) {
        fill(rig_page(rig, i % lanes), 4096, (uint8_t)i);
        rig_submit(rig, LP_DISK_WRITE, i + 1, 0, rig_page(rig, i % lanes), 4096);
        if ((i + 1) % lanes == 0) {
            assert_int_equal(rig_finish(rig), lanes);
        }
    }
    /* They are closed beside us. */
    while (rig_descriptors() >= LP_FILES_OPEN_MAX + 30) {
        assert_true(clock_now_ns() < rig->deadline_ns);
        (void)sched_yield();
    }
    for (uint32_t i = 0; i < count; i++) {
        rig_submit(rig, LP_DISK_READ, i + 1, 0, rig_page(rig, i % lanes), 4096);
        if ((i + 1) % lanes == 0) {
            assert_int_equal(rig_finish(rig), lanes);
            for (uint32_t n = 0; n < lanes; n++) {
                assert_filled(rig_page(rig, n), 4096, (uint8_t)(i + 1 - lanes + n));
            }
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        rig_submit(rig, LP_DISK_REMOVE, i + 1, 0, NULL, 0);
        if ((i + 1) % lanes == 0) {
            assert_int_equal(rig_finish(rig), lanes);
        }
    }
}

static void
operations_wait_for_a_file_that_is_being_opened(void **state)
{
    struct disk_rig *rig = *state;
    assert_int_equal(rig_create(rig, 5, 32 * 4096), LP_OK);
    for (uint32_t i = 0; i < 32; i++) {
        fill(rig_page(rig, i), 4096, (uint8_t)(i + 1));
        rig_submit(rig, LP_DISK_WRITE, 5, i * 4096u, rig_page(rig, i), 4096);
    }
    assert_int_equal(rig_finish(rig), 32);
    rig_reopen(rig);
    for (uint32_t i = 0; i < 32; i++) {
        rig_submit(rig, LP_DISK_READ, 5, i * 4096u, rig_page(rig, 32 + i), 4096);
    }
    assert_int_equal(rig_finish(rig), 32);
    for (uint32_t i = 0; i < 32; i++) {
        assert_filled(rig_page(rig, 32 + i), 4096, (uint8_t)(i + 1));
    }
}

/* Whatever runs is waited for; what was never started is not. */
static void
it_closes_with_operations_in_flight(void **state)
{
    struct disk_rig *rig = *state;
    assert_int_equal(rig_create(rig, 1, MEGABYTE), LP_OK);
    for (uint32_t i = 0; i < 16; i++) {
        rig_submit(rig, i % 2 == 0 ? LP_DISK_WRITE : LP_DISK_READ, 1, i * 65536u,
                   rig_page(rig, i * 8), 32768);
    }
    rig_submit(rig, LP_DISK_CREATE, 2, 0, NULL, 65536);
    rig_submit(rig, LP_DISK_REMOVE, 1, 0, NULL, 0);
    rig->disk.ops->flush(rig->disk.self);
    rig_close(rig);
    /* The memory is ours again: nothing writes into it any more (ASan and the kernel agree). */
    memset(rig->arena, 0x5a, ARENA_BYTES);
    rig_open(rig);
    assert_filled(rig->arena, ARENA_BYTES, 0x5a);
}

static void
it_works_without_a_registered_arena(void **state)
{
    struct disk_rig *rig = *state;
    void *elsewhere = aligned_alloc(4096, 2 * 65536);
    assert_non_null(elsewhere);
    uint8_t *data = elsewhere;
    assert_int_equal(rig_create(rig, 1, MEGABYTE), LP_OK);
    fill(data, 65536, 3);
    assert_int_equal(rig_write(rig, 1, 65536, data, 65536), LP_OK);
    assert_int_equal(rig_read(rig, 1, 65536, data + 65536, 65536), LP_OK);
    assert_filled(data + 65536, 65536, 3);
    free(elsewhere);
}

static void
free_bytes_are_those_of_the_device(void **state)
{
    struct disk_rig *rig = *state;
    const uint64_t free_bytes = rig->disk.ops->free_bytes(rig->disk.self);
    assert_true(free_bytes > 0 && free_bytes < (UINT64_C(1) << 60));
    assert_non_null(strstr(rig->disk.ops->name, rig->direct ? "direct" : "buffered"));
    assert_non_null(strstr(rig->disk.ops->name, rig->dsync ? "dsync" : "fdatasync"));
}

/* --- What goes wrong. ------------------------------------------------------------------------ */

/* The process may write files of so many bytes: a create beyond it fails, as on a full device. */
static void
a_create_that_does_not_fit_says_so_and_leaves_nothing(void **state)
{
    struct disk_rig *rig = *state;
    rig_file_limit(65536);
    const enum lp_err err = rig_create(rig, 1, MEGABYTE);
    rig_file_limit(RLIM_INFINITY);
    assert_int_equal(err, LP_ERR_NO_SPACE);
    assert_int_equal(rig_count(rig, "making"), 0);
    assert_int_equal(rig_count(rig, "0000"), 0);
    assert_int_equal(rig_create(rig, 1, MEGABYTE), LP_OK);
}

static void
a_write_that_does_not_fit_is_no_success(void **state)
{
    struct disk_rig *rig = *state;
    assert_int_equal(rig_create(rig, 1, MEGABYTE), LP_OK);
    rig_file_limit(65536);
    const enum lp_err whole = rig_write(rig, 1, 131072, rig_data(rig, 0), 65536);
    const enum lp_err part = rig_write(rig, 1, 61440, rig_data(rig, 0), 65536);
    rig_file_limit(RLIM_INFINITY);
    assert_int_equal(whole, LP_ERR_NO_SPACE);
    assert_int_not_equal(part, LP_OK); /* a short one */
    assert_int_equal(rig_write(rig, 1, 131072, rig_data(rig, 0), 65536), LP_OK);
}

static void
a_full_device_is_no_space(void **state)
{
    struct disk_rig *rig = *state;
    if (!rig_small_mount(rig)) {
        print_message("skipped: a small file system cannot be mounted here\n");
        skip();
    }
    assert_int_equal(rig_create(rig, 1, MEGABYTE), LP_OK);
    assert_int_equal(rig_create(rig, 2, 8 * MEGABYTE), LP_ERR_NO_SPACE);
    assert_int_equal(rig_count(rig, "making"), 0);
    fill(rig_data(rig, 0), 4096, 9);
    assert_int_equal(rig_write(rig, 1, 0, rig_data(rig, 0), 4096), LP_OK);
    assert_int_equal(rig_read(rig, 1, 0, rig_data(rig, 1), 4096), LP_OK);
    assert_filled(rig_data(rig, 1), 4096, 9);
}

#define SCRIPT(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
    const struct CMUnitTest scripts[] = {
        SCRIPT(what_is_written_is_read_back),
        SCRIPT(a_created_file_holds_zeros_and_has_its_size),
        SCRIPT(many_operations_are_in_flight_and_each_ends_once),
        SCRIPT(what_is_not_there_is_not_found),
        SCRIPT(beyond_the_end_nothing_is_read_or_written),
        SCRIPT(the_root_is_a_file_like_others),
        SCRIPT(files_are_listed_in_order_after_a_restart),
        SCRIPT(a_removed_file_is_kept_for_the_next_of_its_size),
        SCRIPT(a_remove_waits_for_reads_of_its_file),
        SCRIPT(more_files_are_there_than_are_open),
        SCRIPT(operations_wait_for_a_file_that_is_being_opened),
        SCRIPT(it_closes_with_operations_in_flight),
        SCRIPT(it_works_without_a_registered_arena),
        SCRIPT(free_bytes_are_those_of_the_device),
        SCRIPT(a_create_that_does_not_fit_says_so_and_leaves_nothing),
        SCRIPT(a_write_that_does_not_fit_is_no_success),
        SCRIPT(a_full_device_is_no_space),
    };
    int failed = 0;
    for (uint32_t i = 0; i < LP_COUNT_OF(rig_kinds); i++) {
        char group[64];
        rig_kind = &rig_kinds[i];
        (void)snprintf(group, sizeof(group), "%s, %s, %s", rig_kind->driver,
                       rig_kind->direct ? "direct" : "buffered",
                       rig_kind->dsync ? "dsync" : "fdatasync");
        if (!rig_possible(rig_kind)) {
            print_message("skipped: %s is refused here\n", group);
            continue;
        }
        failed += cmocka_run_group_tests_name(group, scripts, NULL, NULL);
    }
    return failed;
}
