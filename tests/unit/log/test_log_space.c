/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Space: what is held, checkpoints, and which segments go when.
 */
#include "tests/unit/log/log_rig.h"

#define SEGMENT_BYTES (64u * 1024)
#define HELD_BYTES    3008u

static void
rig_open(struct rig *rig)
{
    rig_init(rig, SEGMENT_BYTES);
    assert_int_equal(rig_recover(rig), LP_LOG_OPEN);
    rig_settle(rig);
}

/* Batches of 4 KiB, whose records are held. */
static void
write_held(struct rig *rig, struct lp_log_place *places, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        places[i] = rig_write(rig, 3000, i);
        lp_log_hold(rig->log, places[i], HELD_BYTES);
        rig_settle(rig);
    }
}

static void
checkpoint(struct rig *rig)
{
    lp_log_checkpoint_begin(rig->log);
    assert_true(lp_log_checkpointing(rig->log));
    const struct lp_log_place place = rig_write(rig, 64, 7);
    (void)place;
    lp_log_checkpoint_end(rig->log, lp_log_sealed(rig->log));
    for (uint32_t i = 0; lp_log_checkpointing(rig->log); i++) {
        assert_true(i < 1000);
        rig_turn(rig);
    }
    rig_settle(rig);
}

static void
recovery_begins_at_the_checkpoint(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct lp_log_place places[5];
    write_held(&rig, places, 5);
    checkpoint(&rig);
    (void)rig_write(&rig, 8, 99);
    rig_settle(&rig);
    rig_kill(&rig);
    rig_start(&rig);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    assert_int_equal(rig.committed, 2);
    assert_int_equal(rig.heard[0].value, 7);
    assert_int_equal(rig.heard[1].value, 99);
    assert_int_equal(lp_log_sealed(rig.log), 7);
    rig_fini(&rig);
}

static void
a_checkpoint_frees_segments_in_which_nothing_is_held(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct lp_log_place places[60];
    write_held(&rig, places, 60);
    const uint32_t last = places[59].segment;
    assert_true(last >= 4);
    for (uint32_t i = 0; i < 60; i++) {
        if (places[i].segment != 2) {
            lp_log_let_go(rig.log, places[i], HELD_BYTES);
        }
    }
    rig_settle(&rig);
    for (uint32_t number = 1; number <= last; number++) {
        assert_non_null(lp_mem_disk_file(&rig.disk, number)); /* a checkpoint first */
    }
    checkpoint(&rig);
    for (uint32_t number = 1; number < last; number++) {
        const bool there = lp_mem_disk_file(&rig.disk, number) != NULL;
        assert_int_equal(there, number == 2);
    }
    assert_non_null(lp_mem_disk_file(&rig.disk, last));
    /* It can still be read, also by the next run, which is told that it is needed. */
    rig.read_place = places[20];
    assert_int_equal(places[20].segment, 2);
    rig_kill(&rig);
    rig_start(&rig);
    lp_log_hold(rig.log, places[20], HELD_BYTES);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    assert_true(lp_log_read(rig.log, places[20], HELD_BYTES, 1));
    rig_settle(&rig);
    assert_true(rig.read_whole);
    assert_int_equal(rig.read_value, 20);
    rig_fini(&rig);
}

static void
nothing_is_removed_before_the_root_is_on_disk(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct lp_log_place places[60];
    write_held(&rig, places, 60);
    for (uint32_t i = 0; i < 60; i++) {
        lp_log_let_go(rig.log, places[i], HELD_BYTES);
    }
    lp_log_checkpoint_begin(rig.log);
    (void)rig_write(&rig, 64, 7);
    lp_log_checkpoint_end(rig.log, lp_log_sealed(rig.log));
    lp_log_flush(rig.log);
    assert_int_equal(rig.disk.flight_count, 1); /* its last batch */
    (void)lp_log_step(rig.log);
    lp_log_flush(rig.log);
    assert_int_equal(rig.disk.flight_count, 1);
    lp_mem_disk_complete(&rig.disk, 0, LP_OK);
    (void)lp_log_step(rig.log);
    lp_log_flush(rig.log);
    assert_int_equal(rig.disk.flight_count, 1); /* the root */
    assert_int_equal(rig.disk.flights[0].op.kind, LP_DISK_WRITE);
    assert_int_equal(rig.disk.flights[0].op.file, 0);
    lp_mem_disk_complete(&rig.disk, 0, LP_OK);
    (void)lp_log_step(rig.log);
    lp_log_flush(rig.log);
    assert_true(rig.disk.flight_count > 1);
    assert_int_equal(rig.disk.flights[0].op.kind, LP_DISK_REMOVE);
    assert_false(lp_log_checkpointing(rig.log));
    rig_fini(&rig);
}

static void
what_is_let_go_after_a_checkpoint_began_waits_for_the_next(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct lp_log_place places[60];
    write_held(&rig, places, 60);
    lp_log_checkpoint_begin(rig.log);
    for (uint32_t i = 0; i < 60; i++) {
        lp_log_let_go(rig.log, places[i], HELD_BYTES);
    }
    lp_log_checkpoint_end(rig.log, lp_log_sealed(rig.log));
    rig_settle(&rig);
    rig_settle(&rig);
    assert_false(lp_log_checkpointing(rig.log));
    assert_non_null(lp_mem_disk_file(&rig.disk, 1)); /* the checkpoint speaks of it */
    checkpoint(&rig);
    assert_null(lp_mem_disk_file(&rig.disk, 1));
    rig_fini(&rig);
}

static void
a_segment_that_is_being_read_is_removed_later(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct lp_log_place places[60];
    write_held(&rig, places, 60);
    for (uint32_t i = 0; i < 60; i++) {
        lp_log_let_go(rig.log, places[i], HELD_BYTES);
    }
    rig.read_place = places[3];
    assert_true(lp_log_read(rig.log, places[3], HELD_BYTES, 1));
    lp_log_flush(rig.log);
    const uint32_t read = lp_mem_disk_find(&rig.disk, LP_DISK_READ, 0);
    const struct lp_mem_disk_flight kept = rig.disk.flights[read];
    lp_log_checkpoint_begin(rig.log);
    (void)rig_write(&rig, 64, 7);
    lp_log_checkpoint_end(rig.log, lp_log_sealed(rig.log));
    for (uint32_t i = 0; i < 20; i++) {
        /* Everything but the read. */
        uint32_t first = rig.disk.flights[0].op.user == kept.op.user;
        while (rig.disk.flight_count > first) {
            lp_mem_disk_complete(&rig.disk, first, LP_OK);
            first = rig.disk.flights[0].op.user == kept.op.user;
        }
        (void)lp_log_step(rig.log);
        lp_log_flush(rig.log);
    }
    assert_null(lp_mem_disk_file(&rig.disk, 2));
    assert_non_null(lp_mem_disk_file(&rig.disk, 1));
    rig_settle(&rig);
    assert_true(rig.read_whole);
    rig_settle(&rig);
    assert_null(lp_mem_disk_file(&rig.disk, 1));
    rig_fini(&rig);
}

static void
the_victim_is_the_one_with_least_held_below_a_quarter(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct lp_log_place places[80];
    write_held(&rig, places, 80);
    assert_int_equal(lp_log_victim(rig.log), 0);
    const uint32_t kept[] = {0, 3, 1, 2, 6}; /* records held in segments 1 to 4 */
    uint32_t count[8] = {0};
    for (uint32_t i = 0; i < 80; i++) {
        const uint32_t segment = places[i].segment;
        if (segment <= 4 && count[segment]++ >= kept[segment]) {
            lp_log_let_go(rig.log, places[i], HELD_BYTES);
        }
    }
    assert_int_equal(lp_log_victim(rig.log), 2);
    for (uint32_t i = 0; i < 80; i++) {
        if (places[i].segment == 2) {
            lp_log_let_go(rig.log, places[i], HELD_BYTES); /* as if it had been written anew */
            break;
        }
    }
    assert_int_equal(lp_log_victim(rig.log), 3);
    lp_log_check(rig.log);
    rig_fini(&rig);
}

static void
a_checkpoint_is_due_by_what_was_written_and_by_what_could_go(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct lp_log_place places[120];
    uint32_t count = 0;
    assert_false(lp_log_checkpoint_due(rig.log));
    while (!lp_log_checkpoint_due(rig.log)) {
        write_held(&rig, &places[count++], 1);
        assert_true(count < 120);
    }
    assert_int_equal(count, 4 * SEGMENT_BYTES / 4096);
    checkpoint(&rig);
    assert_false(lp_log_checkpoint_due(rig.log));
    uint32_t gone = 0;
    while (!lp_log_checkpoint_due(rig.log)) {
        lp_log_let_go(rig.log, places[gone++], HELD_BYTES);
    }
    assert_int_equal(places[gone - 1].segment, 4);
    const struct lp_log_stats empty = {0};
    struct lp_log_stats stats = empty;
    lp_log_stats(rig.log, &stats);
    assert_int_equal(stats.held_bytes, (uint64_t)(count - gone) * HELD_BYTES);
    assert_int_equal(stats.checkpoints, 1);
    rig_fini(&rig);
}

static void
a_crash_before_the_root_keeps_the_old_checkpoint(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct lp_log_place places[30];
    write_held(&rig, places, 30);
    lp_log_checkpoint_begin(rig.log);
    (void)rig_write(&rig, 64, 7);
    rig_settle(&rig);
    rig_kill(&rig);
    rig_start(&rig);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    assert_int_equal(rig.committed, 31);
    rig_fini(&rig);
}

static void
a_checkpoint_that_waits_for_no_batch_needs_no_other_turn(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    (void)rig_write(&rig, 8, 1);
    rig_settle(&rig);
    lp_log_checkpoint_begin(rig.log);
    lp_log_checkpoint_end(rig.log, lp_log_sealed(rig.log));
    lp_log_flush(rig.log);
    assert_int_equal(rig.disk.flight_count, 1); /* the root */
    rig_settle(&rig);
    lp_log_close_begin(rig.log);
    lp_log_flush(rig.log);
    assert_int_equal(rig.disk.flight_count, 1);
    rig_settle(&rig);
    assert_true(lp_log_closed(rig.log));
    rig_fini(&rig);
}

static void
without_memory_for_the_table_writing_waits(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    /* 64 segments fill the table: the next one needs a larger one. */
    void *chain = arena_exhaust(&rig.arena);
    uint32_t written = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        if (lp_log_begin(rig.log, 3000)) {
            const struct lp_log_place place = rig_add(&rig, 3000, i);
            lp_log_hold(rig.log, place, HELD_BYTES);
            (void)lp_log_seal(rig.log, false);
            written++;
        }
        rig_turn(&rig);
    }
    assert_true(written < 1100);
    assert_int_equal(lp_log_state(rig.log), LP_LOG_OPEN);
    assert_false(lp_log_begin(rig.log, 3000));
    arena_relax(&rig.arena, chain);
    (void)rig_write(&rig, 3000, 1);
    rig_settle(&rig);
    assert_int_equal(lp_log_durable(rig.log), written + 1);
    rig_fini(&rig);
}

static void
recovery_that_speaks_of_a_segment_that_is_gone_is_damage(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    (void)rig_write(&rig, 10, 1);
    rig_settle(&rig);
    rig_kill(&rig);
    rig_start(&rig);
    const struct lp_log_place nowhere = {77, 9};
    lp_log_hold(rig.log, nowhere, 1000);
    assert_int_equal(lp_log_state(rig.log), LP_LOG_DAMAGED);
    assert_int_equal(lp_log_fault(rig.log)->segment, 77);
    rig_fini(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recovery_begins_at_the_checkpoint),
        cmocka_unit_test(a_checkpoint_frees_segments_in_which_nothing_is_held),
        cmocka_unit_test(nothing_is_removed_before_the_root_is_on_disk),
        cmocka_unit_test(what_is_let_go_after_a_checkpoint_began_waits_for_the_next),
        cmocka_unit_test(a_segment_that_is_being_read_is_removed_later),
        cmocka_unit_test(the_victim_is_the_one_with_least_held_below_a_quarter),
        cmocka_unit_test(a_checkpoint_is_due_by_what_was_written_and_by_what_could_go),
        cmocka_unit_test(a_crash_before_the_root_keeps_the_old_checkpoint),
        cmocka_unit_test(a_checkpoint_that_waits_for_no_batch_needs_no_other_turn),
        cmocka_unit_test(without_memory_for_the_table_writing_waits),
        cmocka_unit_test(recovery_that_speaks_of_a_segment_that_is_gone_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
