/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root: the list of runs, its two slots, and what is said when it is not
 * what it was.
 */
#include "tests/unit/log/blocks_rig.h"

/* --- runs ---------------------------------------------------------------- */

static void
runs_that_write_nothing_leave_nothing_in_the_root(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 1);
    for (uint32_t i = 0; i < 400; i++) {
        assert_int_equal(restart(&rig), LP_LOG_OPEN);
        rig_settle(&rig); /* what the last run made ahead is removed */
        assert_true(rig.disk.file_count <= 4);
    }
    assert_false(lp_log_checkpoint_due(rig.log));
    write_blocks(&rig, 1, 1);
    assert_int_equal(restart(&rig), LP_LOG_OPEN);
    expect_values(&rig, 0, 2);
    rig_fini(&rig);
}

static void
many_runs_make_a_checkpoint_due(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    for (uint32_t i = 0; i < 20; i++) {
        write_blocks(&rig, i, 1);
        assert_int_equal(restart(&rig), LP_LOG_OPEN);
        expect_values(&rig, 0, i + 1);
    }
    assert_true(lp_log_checkpoint_due(rig.log));
    lp_log_checkpoint_begin(rig.log);
    lp_log_checkpoint_end(rig.log, lp_log_sealed(rig.log));
    rig_settle(&rig);
    rig_settle(&rig);
    assert_false(lp_log_checkpointing(rig.log));
    assert_false(lp_log_checkpoint_due(rig.log));
    rig_fini(&rig);
}

static void
more_runs_than_the_root_has_room_for_are_said(void **state)
{
    (void)state;
    struct log_root root = {.generation_count = 0, .checkpoint = {.lsn = 1}};
    for (uint32_t i = 1; i <= LOG_GENERATIONS_MAX; i++) {
        assert_true(log_root_advance(&root, i));
    }
    assert_false(log_root_advance(&root, LOG_GENERATIONS_MAX + 1));
    /* One that begins where the last one did takes its place. */
    assert_true(log_root_advance(&root, LOG_GENERATIONS_MAX));
    assert_int_equal(log_root_generation_of(&root, 3), 3);
    root.checkpoint.lsn = 100;
    assert_true(log_root_advance(&root, LOG_GENERATIONS_MAX + 1));
    assert_int_equal(log_root_generation_of(&root, 99), 0);
    assert_int_equal(log_root_generation_of(&root, 101), 101);
}

/* --- slots --------------------------------------------------------------- */

static void
a_torn_root_leaves_the_other_one(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 3);
    rig_kill(&rig);
    /* The next run's root is torn: it has written nothing. */
    rig_start(&rig);
    while (lp_mem_disk_find(&rig.disk, LP_DISK_WRITE, 0) == UINT32_MAX) {
        lp_mem_disk_complete_all(&rig.disk);
        (void)lp_log_step(rig.log);
        lp_log_flush(rig.log);
    }
    power_off(&rig, 1);
    memset(at(&rig, 0, 0), 0x5a, LP_DISK_SECTOR_BYTES); /* slot 0: number 2 */
    assert_int_equal(restart(&rig), LP_LOG_OPEN);
    expect_values(&rig, 0, 3);
    rig_fini(&rig);
}

static void
a_root_that_is_lost_when_batches_were_written_is_missed(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 3);
    assert_int_equal(restart(&rig), LP_LOG_OPEN); /* root number 2, generation 2 */
    write_blocks(&rig, 3, 1);
    rig_kill(&rig);
    at(&rig, 0, 0)[100] ^= 1;
    expect_damage(&rig, 0, 0);
    rig_kill(&rig);
    /* And both of them. */
    at(&rig, 0, BLOCK)[100] ^= 1;
    expect_damage(&rig, 0, 0);
    rig_fini(&rig);
}

static void
a_root_that_is_missing_is_said(void **state)
{
    (void)state;
    struct rig rig;
    memset(&rig, 0, sizeof(rig));
    rig.options.segment_bytes = BLOCKS_SEGMENT_BYTES;
    rig.options.segment_bytes_first = BLOCKS_SEGMENT_BYTES;
    lp_mem_disk_init(&rig.disk);
    (void)lp_mem_disk_put(&rig.disk, 5, BLOCKS_SEGMENT_BYTES);
    expect_damage(&rig, 0, 0);
    rig_fini(&rig);
}

static void
a_folder_whose_first_run_died_at_once_is_new(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, BLOCKS_SEGMENT_BYTES);
    lp_log_flush(rig.log);
    lp_mem_disk_complete_all(&rig.disk); /* the root's file is there, and empty */
    rig_kill(&rig);
    assert_int_equal(restart(&rig), LP_LOG_OPEN);
    write_blocks(&rig, 0, 1);
    assert_int_equal(restart(&rig), LP_LOG_OPEN);
    expect_values(&rig, 0, 1);
    rig_fini(&rig);
}

static void
a_root_that_cannot_be_written_ends_it(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 1);
    rig_kill(&rig);
    rig_start(&rig);
    while (lp_mem_disk_find(&rig.disk, LP_DISK_WRITE, 0) == UINT32_MAX) {
        lp_mem_disk_complete_all(&rig.disk);
        (void)lp_log_step(rig.log);
        lp_log_flush(rig.log);
    }
    lp_mem_disk_complete(&rig.disk, 0, LP_ERR_IO);
    (void)lp_log_step(rig.log);
    assert_int_equal(lp_log_state(rig.log), LP_LOG_FENCED);
    rig_fini(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_that_write_nothing_leave_nothing_in_the_root),
        cmocka_unit_test(many_runs_make_a_checkpoint_due),
        cmocka_unit_test(more_runs_than_the_root_has_room_for_are_said),
        cmocka_unit_test(a_torn_root_leaves_the_other_one),
        cmocka_unit_test(a_root_that_is_lost_when_batches_were_written_is_missed),
        cmocka_unit_test(a_root_that_is_missing_is_said),
        cmocka_unit_test(a_folder_whose_first_run_died_at_once_is_new),
        cmocka_unit_test(a_root_that_cannot_be_written_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
