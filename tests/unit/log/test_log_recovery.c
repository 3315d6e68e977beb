/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery: what is the end of the log, what is damage, and which of the rules
 * of dataplane/log/README.md says so.
 *
 * Method: logs of a few batches whose places are known, and one thing done to
 * the disk between two runs.
 */
#include "tests/unit/log/blocks_rig.h"

/* --- the end ------------------------------------------------------------- */

static void
any_combination_of_batches_in_flight_is_an_end(void **state)
{
    (void)state;
    for (uint32_t mask = 0; mask < 16; mask++) {
        struct rig rig;
        rig_open(&rig);
        write_blocks(&rig, 0, 3);
        fly(&rig, 3, 4);
        power_off(&rig, mask);
        assert_int_equal(restart(&rig), LP_LOG_OPEN);
        const uint32_t there = 3 + (uint32_t)__builtin_ctz(~mask);
        expect_values(&rig, 0, there);
        /* What is written now replaces what lay beyond the hole, for good. */
        write_blocks(&rig, there, 3);
        assert_int_equal(restart(&rig), LP_LOG_OPEN);
        expect_values(&rig, 0, there + 3);
        rig_fini(&rig);
    }
}

static void
a_torn_batch_is_an_end(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 3);
    (void)rig_write(&rig, 9000, 3);
    lp_log_flush(rig.log);
    power_off(&rig, 1);
    memset(at(&rig, 1, 3 * BLOCK + 8192), 0xa5, LP_DISK_SECTOR_BYTES);
    assert_int_equal(restart(&rig), LP_LOG_OPEN);
    expect_values(&rig, 0, 3);
    rig_fini(&rig);
}

static void
what_lay_beyond_a_hole_does_not_come_back_in_a_later_run(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 2);
    fly(&rig, 2, 4);
    power_off(&rig, 0xe); /* batch 3 is missing; 4, 5 and 6 are there */
    assert_int_equal(restart(&rig), LP_LOG_OPEN);
    expect_values(&rig, 0, 2);
    /* The new run writes a batch 3 and dies: 4, 5 and 6 of the old one would fit behind it. */
    write_blocks(&rig, 100, 1);
    assert_int_equal(restart(&rig), LP_LOG_OPEN);
    assert_int_equal(rig.committed, 3);
    assert_int_equal(rig.heard[2].value, 100);
    rig_fini(&rig);
}

/* --- damage -------------------------------------------------------------- */

static void
a_flipped_bit_before_later_batches_is_damage_where_it_is(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 8);
    rig_kill(&rig);
    const uint32_t content = LOG_BATCH_HEADER_BYTES + LOG_RECORD_HEADER_BYTES;
    for (uint32_t bit = 0; bit < 8 * (content + 100); bit += bit < 8 * content ? 1 : 7) {
        uint8_t *byte = at(&rig, 1, 3 * BLOCK) + bit / 8;
        *byte ^= (uint8_t)(1u << bit % 8);
        /* In a header it is the batch that is damaged; in a content, the record. */
        expect_damage(&rig, 1, 3 * BLOCK + (bit < 8 * content ? 0 : LOG_BATCH_HEADER_BYTES));
        rig_kill(&rig);
        *byte ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(restart(&rig), LP_LOG_OPEN);
    expect_values(&rig, 0, 8);
    rig_fini(&rig);
}

static void
a_flipped_bit_in_the_padding_hurts_nobody(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 8);
    rig_kill(&rig);
    at(&rig, 1, 3 * BLOCK)[2000] ^= 1;
    assert_int_equal(restart(&rig), LP_LOG_OPEN);
    expect_values(&rig, 0, 8);
    rig_fini(&rig);
}

static void
a_batch_that_was_durable_when_a_later_one_was_sealed_is_missed(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 3);
    rig_kill(&rig);
    memset(at(&rig, 1, BLOCK), 0, BLOCK); /* batch 2; batch 3 knows that it was durable */
    expect_damage(&rig, 1, BLOCK);
    rig_fini(&rig);
}

static void
the_first_batch_of_a_segment_is_missed_where_it_was(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 30); /* 14 or so in the first one */
    rig_kill(&rig);
    assert_non_null(lp_mem_disk_file(&rig.disk, 2));
    memset(at(&rig, 2, 0), 0, BLOCK);
    expect_damage(&rig, 2, 0);
    rig_fini(&rig);
}

static void
a_segment_that_is_gone_is_missed(void **state)
{
    (void)state;
    for (uint32_t number = 1; number < 4; number++) {
        struct rig rig;
        rig_open(&rig);
        write_blocks(&rig, 0, 50);
        rig_kill(&rig);
        file_lose(&rig, number);
        expect_damage(&rig, number, 0);
        rig_fini(&rig);
    }
}

static void
the_only_segment_with_batches_is_missed_when_there_is_one_ahead(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 3);
    rig_kill(&rig);
    assert_non_null(lp_mem_disk_file(&rig.disk, 2));
    file_lose(&rig, 1);
    expect_damage(&rig, 1, 0);
    rig_fini(&rig);
}

static void
after_a_clean_end_even_the_last_batch_is_missed(void **state)
{
    (void)state;
    for (uint32_t clean = 0; clean < 2; clean++) {
        struct rig rig;
        rig_open(&rig);
        write_blocks(&rig, 0, 3);
        if (clean) {
            lp_log_close_begin(rig.log);
            assert_false(lp_log_begin(rig.log, 10));
            assert_false(lp_log_closed(rig.log));
            rig_settle(&rig);
            rig_settle(&rig);
            assert_true(lp_log_closed(rig.log));
        }
        rig_kill(&rig);
        memset(at(&rig, 1, 2 * BLOCK), 0, BLOCK);
        if (clean) {
            expect_damage(&rig, 1, 2 * BLOCK);
        } else {
            /* It may have been in flight: nothing says that it was acknowledged. */
            assert_int_equal(restart(&rig), LP_LOG_OPEN);
            expect_values(&rig, 0, 2);
        }
        rig_fini(&rig);
    }
}

static void
the_very_first_batch_is_missed_where_it_was(void **state)
{
    (void)state;
    for (uint32_t gone = 0; gone < 2; gone++) {
        struct rig rig;
        rig_open(&rig);
        write_blocks(&rig, 0, 1);
        lp_log_close_begin(rig.log);
        rig_settle(&rig);
        rig_kill(&rig);
        if (gone) {
            memset(at(&rig, 1, 0), 0, BLOCK);
        } else {
            at(&rig, 1, 0)[5] ^= 1;
        }
        expect_damage(&rig, 1, 0);
        rig_fini(&rig);
    }
}

static void
what_an_earlier_run_found_is_missed_by_a_later_one(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 3);
    assert_int_equal(restart(&rig), LP_LOG_OPEN);
    rig_kill(&rig);
    memset(at(&rig, 1, 2 * BLOCK), 0, BLOCK);
    expect_damage(&rig, 1, 2 * BLOCK);
    rig_fini(&rig);
}

static void
records_that_make_no_sense_are_damage(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 3);
    rig.refuse = true;
    expect_damage(&rig, 1, 72);
    rig_fini(&rig);
}

static void
two_histories_do_not_mix(void **state)
{
    (void)state;
    /* Twice from the same beginning: same numbers, generation and places, other contents. */
    struct rig rig[2];
    for (uint32_t i = 0; i < 2; i++) {
        rig_open(&rig[i]);
        write_blocks(&rig[i], 1000 * i, 50);
        rig_kill(&rig[i]);
    }
    memcpy(at(&rig[0], 2, 0), at(&rig[1], 2, 0), BLOCKS_SEGMENT_BYTES);
    expect_damage(&rig[0], 2, 0);
    rig_fini(&rig[0]);
    rig_fini(&rig[1]);
}

static void
another_shards_files_are_not_taken_for_ours(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 3);
    rig.options.shard++;
    assert_int_equal(restart(&rig), LP_LOG_DAMAGED);
    assert_int_equal(lp_log_fault(rig.log)->segment, 0);
    rig_fini(&rig);
}

static void
a_message_that_contains_a_batch_is_not_taken_for_one(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 3);
    /* The record of batch 4 has, at the right place, what the log would write there as batch 9,
     * but for the salt, which nobody knows. */
    rig_begin(&rig, 9000);
    struct lp_log_place place;
    uint8_t *content = lp_log_record(rig.log, 1, 8000, &place);
    memset(content, 0, 8000);
    const struct log_batch_header forged = {
        .shard = rig.options.shard,
        .segment = 1,
        .generation = 1,
        .offset = 4 * BLOCK,
        .lsn = 9,
        .durable = 8,
        .bytes = 72,
        .previous_crc = 0,
    };
    (void)log_batch_header_write(content + BLOCK - 80, &forged, 0);
    (void)lp_log_seal(rig.log, false);
    lp_log_flush(rig.log);
    power_off(&rig, 1);
    memset(at(&rig, 1, 3 * BLOCK), 0, LP_DISK_SECTOR_BYTES);
    assert_int_equal(restart(&rig), LP_LOG_OPEN);
    expect_values(&rig, 0, 3);
    rig_fini(&rig);
}

/* --- reading ------------------------------------------------------------- */

static void
a_block_that_cannot_be_read_is_like_one_that_is_not_whole(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    write_blocks(&rig, 0, 8);
    rig_kill(&rig);
    rig_start(&rig);
    /* Block 3 of segment 1 fails, whatever reads it. */
    for (uint32_t i = 0; lp_log_state(rig.log) == LP_LOG_RECOVERING; i++) {
        assert_true(i < RIG_TURNS_MAX);
        while (rig.disk.flight_count > 0) {
            const struct lp_disk_op *op = &rig.disk.flights[0].op;
            const bool bad = op->kind == LP_DISK_READ && op->file == 1 && op->offset <= 3 * BLOCK &&
                             op->offset + op->bytes > 3 * BLOCK;
            lp_mem_disk_complete(&rig.disk, 0, bad ? LP_ERR_IO : LP_OK);
        }
        (void)lp_log_step(rig.log);
        lp_log_flush(rig.log);
    }
    assert_int_equal(lp_log_state(rig.log), LP_LOG_DAMAGED);
    assert_int_equal(lp_log_fault(rig.log)->err, LP_ERR_IO);
    assert_int_equal(lp_log_fault(rig.log)->segment, 1);
    assert_int_equal(lp_log_fault(rig.log)->offset, 3 * BLOCK);
    rig_fini(&rig);
}

static void
a_long_log_is_read_ahead_and_tells_how_far_it_is(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 16 * 1024 * 1024);
    assert_int_equal(rig_recover(&rig), LP_LOG_OPEN);
    for (uint32_t i = 0; i < 100; i++) {
        rig_begin(&rig, 3 * 120000);
        for (uint32_t n = 0; n < 3; n++) {
            (void)rig_add(&rig, 100000 + i * 8, 3 * i + n);
        }
        (void)lp_log_seal(rig.log, false);
    }
    rig_settle(&rig);
    rig_kill(&rig);
    rig_start(&rig);
    uint64_t last = 0;
    while (lp_log_state(rig.log) == LP_LOG_RECOVERING) {
        rig_turn(&rig);
        assert_true(rig.disk.flight_count <= 2 || lp_log_state(rig.log) == LP_LOG_OPEN);
        uint64_t done;
        uint64_t total;
        lp_log_progress(rig.log, &done, &total);
        assert_true(done >= last && done <= total);
        last = done;
    }
    assert_int_equal(lp_log_state(rig.log), LP_LOG_OPEN);
    expect_values(&rig, 0, 300);
    rig_fini(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_combination_of_batches_in_flight_is_an_end),
        cmocka_unit_test(a_torn_batch_is_an_end),
        cmocka_unit_test(what_lay_beyond_a_hole_does_not_come_back_in_a_later_run),
        cmocka_unit_test(a_flipped_bit_before_later_batches_is_damage_where_it_is),
        cmocka_unit_test(a_flipped_bit_in_the_padding_hurts_nobody),
        cmocka_unit_test(a_batch_that_was_durable_when_a_later_one_was_sealed_is_missed),
        cmocka_unit_test(the_first_batch_of_a_segment_is_missed_where_it_was),
        cmocka_unit_test(a_segment_that_is_gone_is_missed),
        cmocka_unit_test(the_only_segment_with_batches_is_missed_when_there_is_one_ahead),
        cmocka_unit_test(after_a_clean_end_even_the_last_batch_is_missed),
        cmocka_unit_test(the_very_first_batch_is_missed_where_it_was),
        cmocka_unit_test(what_an_earlier_run_found_is_missed_by_a_later_one),
        cmocka_unit_test(records_that_make_no_sense_are_damage),
        cmocka_unit_test(two_histories_do_not_mix),
        cmocka_unit_test(another_shards_files_are_not_taken_for_ours),
        cmocka_unit_test(a_message_that_contains_a_batch_is_not_taken_for_one),
        cmocka_unit_test(a_block_that_cannot_be_read_is_like_one_that_is_not_whole),
        cmocka_unit_test(a_long_log_is_read_ahead_and_tells_how_far_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
