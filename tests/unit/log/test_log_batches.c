/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing: what is sealed becomes durable in order, comes back after a restart,
 * and can be read one by one.
 */
#include "tests/unit/log/log_rig.h"

#define SEGMENT_BYTES (1024u * 1024)

static void
a_new_folder_becomes_a_log(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, SEGMENT_BYTES);
    assert_int_equal(lp_log_state(rig.log), LP_LOG_RECOVERING);
    assert_false(lp_log_begin(rig.log, 100));
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    assert_int_equal(lp_log_sealed(rig.log), 0);
    assert_int_equal(lp_log_durable(rig.log), 0);
    rig_settle(&rig);
    assert_non_null(lp_mem_disk_file(&rig.disk, 0));
    assert_non_null(lp_mem_disk_file(&rig.disk, 1));
    assert_int_equal(rig.disk.file_count, 2);
    lp_log_fini(&rig.log);
    assert_int_equal(lp_memory_used_bytes(rig.arena.memory), 0);
    rig_kill(&rig);
    rig_fini(&rig);
}

static void
records_come_back_in_the_order_of_writing(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, SEGMENT_BYTES);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    struct random random = {7};
    struct rig_heard said[1000];
    for (uint32_t i = 0; i < 1000; i++) {
        const uint32_t bytes = 8 + random_below(&random, 3000);
        if (i % 10 == 0) {
            rig_begin(&rig, 40000);
        }
        said[i].place = rig_add(&rig, bytes, i);
        said[i].bytes = bytes;
        if (i % 10 == 9) {
            assert_int_equal(lp_log_seal(rig.log, false), i / 10 + 1);
        }
    }
    rig_settle(&rig);
    assert_int_equal(lp_log_durable(rig.log), 100);
    rig_kill(&rig);
    rig_start(&rig);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    assert_int_equal(rig.heard_count, 1000);
    assert_int_equal(rig.committed, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(rig.heard[i].value, i);
        assert_int_equal(rig.heard[i].bytes, said[i].bytes);
        assert_memory_equal(&rig.heard[i].place, &said[i].place, sizeof(said[i].place));
    }
    /* Numbers go on. */
    assert_int_equal(lp_log_sealed(rig.log), 100);
    (void)rig_write(&rig, 100, 1000);
    assert_int_equal(lp_log_sealed(rig.log), 101);
    rig_settle(&rig);
    rig_kill(&rig);
    rig_start(&rig);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    assert_int_equal(rig.heard_count, 1001);
    rig_fini(&rig);
}

static void
the_largest_record_and_an_empty_one_come_back(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, SEGMENT_BYTES);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    rig_begin(&rig, LP_LOG_RECORD_BYTES_MAX + 4096);
    (void)rig_add(&rig, LP_LOG_RECORD_BYTES_MAX, 0x0102030405060708u);
    (void)rig_add(&rig, 0, 0);
    (void)rig_add(&rig, 1, 9);
    (void)lp_log_seal(rig.log, false);
    rig_settle(&rig);
    rig_kill(&rig);
    rig_start(&rig);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    assert_int_equal(rig.heard_count, 3);
    assert_int_equal(rig.heard[0].bytes, LP_LOG_RECORD_BYTES_MAX);
    assert_int_equal(rig.heard[1].bytes, 0);
    assert_int_equal(rig.heard[2].value, 9);
    rig_fini(&rig);
}

static void
a_batch_is_durable_only_with_all_before_it(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, SEGMENT_BYTES);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    rig_settle(&rig);
    for (uint32_t i = 1; i <= LP_LOG_BATCHES; i++) {
        (void)rig_write(&rig, 100, i);
    }
    assert_false(lp_log_begin(rig.log, 100)); /* no buffer is free */
    lp_log_flush(rig.log);
    assert_true(rig.disk.flight_count >= LP_LOG_BATCHES); /* in the order of their numbers */
    for (uint32_t i = LP_LOG_BATCHES; i > 1; i--) {
        lp_mem_disk_complete(&rig.disk, i - 1, LP_OK);
        (void)lp_log_step(rig.log);
        lp_log_check(rig.log);
        assert_int_equal(lp_log_durable(rig.log), 0);
        assert_false(lp_log_begin(rig.log, 100));
    }
    lp_mem_disk_complete(&rig.disk, 0, LP_OK);
    (void)lp_log_step(rig.log);
    assert_int_equal(lp_log_durable(rig.log), LP_LOG_BATCHES);
    assert_true(lp_log_begin(rig.log, 100));
    rig_fini(&rig);
}

static void
an_empty_batch_is_not_written(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, SEGMENT_BYTES);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    (void)rig_write(&rig, 10, 1);
    rig_settle(&rig);
    const uint64_t writes = rig.disk.writes;
    rig_begin(&rig, 0);
    assert_int_equal(lp_log_seal(rig.log, false), 1);
    rig_settle(&rig);
    assert_int_equal(rig.disk.writes, writes);
    rig_fini(&rig);
}

static void
a_full_segment_is_followed_by_one_made_before(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 64 * 1024);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    rig_settle(&rig);
    uint32_t last = 0;
    uint32_t changes = 0;
    for (uint32_t i = 0; i < 200; i++) {
        /* One turn each: never has it to wait for a segment. */
        assert_true(lp_log_begin(rig.log, 3000));
        const struct lp_log_place place = rig_add(&rig, 3000, i);
        (void)lp_log_seal(rig.log, false);
        changes += place.segment != last;
        last = place.segment;
        rig_turn(&rig);
        rig_turn(&rig);
    }
    assert_true(changes >= 12);
    rig_settle(&rig);
    rig_kill(&rig);
    rig_start(&rig);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    assert_int_equal(rig.heard_count, 200);
    rig_fini(&rig);
}

static void
segments_double_up_to_their_size(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 256 * 1024);
    rig_kill(&rig);
    rig.options.segment_bytes_first = 64 * 1024;
    rig_start(&rig);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    for (uint32_t i = 0; i < 200; i++) {
        (void)rig_write(&rig, 5000, i);
    }
    rig_settle(&rig);
    assert_int_equal(lp_mem_disk_file(&rig.disk, 1)->bytes, 64 * 1024);
    assert_int_equal(lp_mem_disk_file(&rig.disk, 2)->bytes, 128 * 1024);
    assert_int_equal(lp_mem_disk_file(&rig.disk, 3)->bytes, 256 * 1024);
    assert_int_equal(lp_mem_disk_file(&rig.disk, 4)->bytes, 256 * 1024);
    rig_fini(&rig);
}

static void
a_chain_lies_in_one_segment_and_counts_as_a_whole(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 4 * SEGMENT_BYTES);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    (void)rig_write(&rig, 8, 1);
    rig_begin(&rig, 2 * SEGMENT_BYTES);
    uint32_t segment = 0;
    for (uint32_t i = 0; i < 15; i++) {
        if (lp_log_room(rig.log) < LP_LOG_RECORD_BYTES_MAX) {
            (void)lp_log_seal(rig.log, true);
            rig_begin(&rig, 0);
        }
        const struct lp_log_place place = rig_add(&rig, LP_LOG_RECORD_BYTES_MAX, 2);
        assert_true(segment == 0 || segment == place.segment);
        segment = place.segment;
    }
    (void)lp_log_seal(rig.log, true);
    rig_settle(&rig);
    rig_kill(&rig);
    /* The chain has no end: nothing of it counts. */
    rig_start(&rig);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    assert_int_equal(rig.heard_count, 16);
    assert_int_equal(rig.committed, 1);
    assert_int_equal(lp_log_sealed(rig.log), 1);
    (void)rig_write(&rig, 8, 3);
    rig_settle(&rig);
    rig_kill(&rig);
    rig_start(&rig);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    assert_int_equal(rig.heard_count, 2);
    assert_int_equal(rig.heard[1].value, 3);
    rig_fini(&rig);
}

static void
a_chain_may_end_with_an_empty_batch(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, SEGMENT_BYTES);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    rig_begin(&rig, 100);
    (void)rig_add(&rig, 50, 1);
    assert_int_equal(lp_log_seal(rig.log, true), 1);
    rig_begin(&rig, 0);
    assert_int_equal(lp_log_seal(rig.log, false), 2);
    rig_settle(&rig);
    rig_kill(&rig);
    rig_start(&rig);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    assert_int_equal(rig.committed, 1);
    rig_fini(&rig);
}

static void
a_chain_that_is_larger_than_segments_has_one_of_its_own(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 64 * 1024);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    for (uint32_t round = 0; round < 2; round++) {
        (void)rig_write(&rig, 8, 1);
        rig_begin(&rig, 12 * LP_LOG_RECORD_BYTES_MAX);
        struct lp_log_place place = {0, 0};
        for (uint32_t i = 0; i < 11; i++) {
            if (lp_log_room(rig.log) < LP_LOG_RECORD_BYTES_MAX) {
                (void)lp_log_seal(rig.log, true);
                rig_begin(&rig, LP_LOG_RECORD_BYTES_MAX);
            }
            /* Where the next one is can be told from the one before. */
            struct lp_log_place behind = lp_log_place_behind(place, LP_LOG_RECORD_BYTES_MAX);
            if (i % 2 == 0) {
                behind = lp_log_place_next_batch(behind);
            }
            const struct lp_log_place last = place;
            place = rig_add(&rig, LP_LOG_RECORD_BYTES_MAX, 2);
            assert_true(i == 0 || place.segment == last.segment);
            assert_true(i == 0 || place.unit == behind.unit);
        }
        (void)lp_log_seal(rig.log, false);
    }
    (void)rig_write(&rig, 8, 3);
    rig_settle(&rig);
    rig_kill(&rig);
    rig_start(&rig);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    assert_int_equal(rig.committed, 25);
    assert_int_equal(rig.heard[24].value, 3);
    rig_fini(&rig);
}

static void
a_durable_record_can_be_read(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, SEGMENT_BYTES);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    struct lp_log_place places[40];
    for (uint32_t i = 0; i < 40; i++) {
        places[i] = rig_write(&rig, 100 + i * 997, i);
    }
    rig_settle(&rig);
    for (uint32_t i = 0; i < 40; i++) {
        rig.read_place = places[i];
        const uint32_t bytes = (uint32_t)lp_log_record_bytes(100 + i * 997);
        assert_true(lp_log_read(rig.log, places[i], bytes, 77 + i));
        assert_int_equal(rig.read_count, i);
        rig_settle(&rig);
        assert_int_equal(rig.read_count, i + 1);
        assert_int_equal(rig.read_user, 77 + i);
        assert_int_equal(rig.read_bytes, bytes);
        assert_true(rig.read_whole);
        assert_int_equal(rig.read_value, i);
    }
    /* A record that is somewhere else is not taken for it. */
    rig.read_place.unit++;
    assert_true(lp_log_read(rig.log, places[39], (uint32_t)lp_log_record_bytes(100 + 39 * 997), 0));
    rig_settle(&rig);
    assert_false(rig.read_whole);
    rig_fini(&rig);
}

static void
only_so_many_reads_are_under_way_and_writes_pass_them(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, SEGMENT_BYTES);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    rig.read_place = rig_write(&rig, 100, 5);
    rig_settle(&rig);
    for (uint32_t i = 0; i < LP_LOG_READS; i++) {
        assert_true(lp_log_read(rig.log, rig.read_place, 108, i));
    }
    assert_false(lp_log_read(rig.log, rig.read_place, 108, 9));
    lp_log_flush(rig.log);
    (void)rig_write(&rig, 100, 6);
    lp_log_flush(rig.log);
    const uint32_t write = lp_mem_disk_find(&rig.disk, LP_DISK_WRITE, 0);
    lp_mem_disk_complete(&rig.disk, write, LP_OK);
    (void)lp_log_step(rig.log);
    assert_int_equal(lp_log_durable(rig.log), 2);
    assert_int_equal(rig.read_count, 0);
    lp_mem_disk_complete(&rig.disk, 3, LP_ERR_IO);
    (void)lp_log_step(rig.log);
    assert_int_equal(rig.read_count, 1);
    assert_int_equal(rig.read_bytes, 0);
    assert_int_equal(lp_log_state(rig.log), LP_LOG_OPEN);
    assert_true(lp_log_read(rig.log, rig.read_place, 108, 9));
    rig_settle(&rig);
    assert_int_equal(rig.read_count, LP_LOG_READS + 1);
    rig_fini(&rig);
}

static void
the_first_failed_write_ends_it(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, SEGMENT_BYTES);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    const struct lp_log_place place = rig_write(&rig, 100, 1);
    rig_settle(&rig);
    (void)rig_write(&rig, 100, 2);
    (void)rig_write(&rig, 100, 3);
    lp_log_flush(rig.log);
    lp_mem_disk_complete(&rig.disk, 0, LP_ERR_IO);
    (void)lp_log_step(rig.log);
    assert_int_equal(lp_log_state(rig.log), LP_LOG_FENCED);
    assert_int_equal(lp_log_fault(rig.log)->err, LP_ERR_IO);
    assert_int_equal(lp_log_fault(rig.log)->segment, place.segment);
    assert_int_equal(lp_log_fault(rig.log)->offset, 4096);
    rig_settle(&rig);
    assert_int_equal(lp_log_durable(rig.log), 1);
    assert_false(lp_log_begin(rig.log, 10));
    lp_log_close_begin(rig.log);
    assert_true(lp_log_closed(rig.log));
    /* What is there can still be read. */
    rig.read_place = place;
    assert_true(lp_log_read(rig.log, place, 108, 1));
    rig_settle(&rig);
    assert_true(rig.read_whole);
    rig_fini(&rig);
}

static void
a_segment_that_cannot_be_made_ends_it(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, SEGMENT_BYTES);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    lp_log_flush(rig.log);
    lp_mem_disk_complete(&rig.disk, lp_mem_disk_find(&rig.disk, LP_DISK_CREATE, 0),
                         LP_ERR_NO_SPACE);
    (void)lp_log_step(rig.log);
    assert_int_equal(lp_log_state(rig.log), LP_LOG_FENCED);
    assert_int_equal(lp_log_fault(rig.log)->err, LP_ERR_NO_SPACE);
    rig_fini(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_folder_becomes_a_log),
        cmocka_unit_test(records_come_back_in_the_order_of_writing),
        cmocka_unit_test(the_largest_record_and_an_empty_one_come_back),
        cmocka_unit_test(a_batch_is_durable_only_with_all_before_it),
        cmocka_unit_test(an_empty_batch_is_not_written),
        cmocka_unit_test(a_full_segment_is_followed_by_one_made_before),
        cmocka_unit_test(segments_double_up_to_their_size),
        cmocka_unit_test(a_chain_lies_in_one_segment_and_counts_as_a_whole),
        cmocka_unit_test(a_chain_may_end_with_an_empty_batch),
        cmocka_unit_test(a_chain_that_is_larger_than_segments_has_one_of_its_own),
        cmocka_unit_test(a_durable_record_can_be_read),
        cmocka_unit_test(only_so_many_reads_are_under_way_and_writes_pass_them),
        cmocka_unit_test(the_first_failed_write_ends_it),
        cmocka_unit_test(a_segment_that_cannot_be_made_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
