/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shard's end of the control rings: every request is answered once, in
 * time or with a 541, whatever the control process does.
 *
 * Method: a region of one shard; the test is the control process.
 */
#include "dataplane/link/link.h"

#include "tests/unit/base/base_test.h"

#define ARENA_BYTES (4u << 20)
#define TIMEOUT_NS  30000000000u
#define ANSWERS_MAX 64u

struct bench {
    struct arena arena;
    void *region;
    struct lp_wheel wheel;
    struct lp_link link;
    struct lp_control_end out; /* to the shard */
    struct lp_control_end in;  /* from it */
    uint8_t *scratch;
    uint64_t now_ns;
    uint32_t answers;
    lp_handle owner[ANSWERS_MAX];
    uint16_t code[ANSWERS_MAX];
    uint32_t more; /* the field of the last answer */
    uint32_t records;
    uint16_t record_type;
};

static void
on_record(void *context, const struct lp_control_record *record)
{
    struct bench *bench = context;
    bench->records++;
    bench->record_type = record->type;
}

static void
on_reply(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct bench *bench = context;
    struct lp_reader more = reply->more;
    if (bench->answers < ANSWERS_MAX) {
        bench->owner[bench->answers] = owner;
        bench->code[bench->answers] = reply->code;
    }
    if (reply->code == 0) {
        bench->more = lp_reader_u32le(&more);
    } else {
        assert_true(reply->text.size > 0);
    }
    bench->answers++;
}

static void
bench_open(struct bench *bench)
{
    const size_t bytes = (lp_control_region_bytes(1) + 4095) & ~(size_t)4095;
    memset(bench, 0, sizeof(*bench));
    arena_init(&bench->arena, ARENA_BYTES);
    bench->region = aligned_alloc(4096, bytes);
    bench->scratch = malloc(LP_CONTROL_PAYLOAD_MAX_BYTES);
    assert_non_null(bench->region);
    assert_non_null(bench->scratch);
    memset(bench->region, 0, bytes);
    lp_control_region_init_boot(bench->region, 1);
    bench->now_ns = 1000000000u;
    lp_wheel_init(&bench->wheel, bench->now_ns);
    const struct lp_link_options options = {
        .region = bench->region,
        .shard_count = 1,
        .memory = bench->arena.memory,
        .wheel = &bench->wheel,
        .timeout_ns = TIMEOUT_NS,
        .context = bench,
        .record = on_record,
    };
    assert_int_equal(lp_link_init_boot(&bench->link, &options), LP_OK);
    assert_true(lp_control_end_init(&bench->out, lp_control_region_to_shard(bench->region, 1, 0),
                                    LP_CONTROL_RING_CAPACITY_BYTES, true));
    assert_true(lp_control_end_init(&bench->in, lp_control_region_to_control(bench->region, 1, 0),
                                    LP_CONTROL_RING_CAPACITY_BYTES, false));
    bench->link.now_ns = bench->now_ns;
}

static void
bench_close(struct bench *bench)
{
    assert_true(lp_list_empty(&bench->link.waiting));
    assert_int_equal(bench->link.unsent, 0);
    assert_int_equal(bench->wheel.armed, 0);
    lp_pool_fini(&bench->link.requests);
    void *block = bench->link.scratch;
    lp_memory_release(bench->arena.memory, &block);
    arena_fini(&bench->arena);
    free(bench->scratch);
    free(bench->region);
}

static bool
ask(struct bench *bench, lp_handle owner, uint32_t bytes)
{
    static const uint8_t payload[LP_CONTROL_PAYLOAD_MAX_BYTES];
    return lp_link_request(&bench->link, LP_CONTROL_PERMIT, lp_bytes_of(payload, bytes), owner,
                           on_reply);
}

/* What the control process reads next: the request's sequence, or 0. */
static uint64_t
hear(struct bench *bench)
{
    struct lp_control_record record = {0};
    const enum lp_control_pop pop = lp_control_pop(&bench->in, bench->scratch, &record);
    assert_true(pop != LP_CONTROL_POP_BROKEN);
    return pop == LP_CONTROL_POP_EMPTY ? 0 : record.sequence;
}

static void
answer(struct bench *bench, uint64_t sequence, uint16_t code)
{
    uint8_t payload[32];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u16le(&writer, code);
    lp_writer_short(&writer, lp_bytes_of_text(code ? "no" : ""));
    lp_writer_u32le(&writer, 77);
    assert_true(lp_control_push(&bench->out, LP_CONTROL_REPLY, sequence, lp_writer_bytes(&writer)));
}

static void
turn(struct bench *bench, uint64_t passed_ns)
{
    bench->now_ns += passed_ns;
    (void)lp_link_poll(&bench->link, bench->now_ns, 1000);
    (void)lp_wheel_advance(&bench->wheel, bench->now_ns, 10000, bench);
    lp_link_flush(&bench->link);
}

static void
answers_find_who_asked_in_any_order(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    uint64_t sequence[3];
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(ask(&bench, 100 + i, i * 50));
    }
    assert_true(bench.link.pushed);
    for (uint32_t i = 0; i < 3; i++) {
        sequence[i] = hear(&bench);
        assert_true(i == 0 || sequence[i] > sequence[i - 1]); /* in the order of asking */
    }
    answer(&bench, sequence[2], 0);
    answer(&bench, sequence[0], LP_FAULT_ACCESS_REFUSED);
    answer(&bench, sequence[1], 0);
    turn(&bench, 1000);
    assert_int_equal(bench.answers, 3);
    assert_int_equal(bench.owner[0], 102);
    assert_int_equal(bench.owner[1], 100);
    assert_int_equal(bench.code[1], LP_FAULT_ACCESS_REFUSED);
    assert_int_equal(bench.owner[2], 101);
    assert_int_equal(bench.more, 77);
    bench_close(&bench);
}

static void
an_answer_that_is_late_or_comes_twice_is_dropped(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    assert_true(ask(&bench, 1, 10));
    const uint64_t first = hear(&bench);
    answer(&bench, first, 0);
    answer(&bench, first, 0);
    turn(&bench, 1000);
    assert_int_equal(bench.answers, 1);

    assert_true(ask(&bench, 2, 10));
    const uint64_t second = hear(&bench);
    turn(&bench, TIMEOUT_NS - 10000000u);
    assert_int_equal(bench.answers, 1);
    turn(&bench, 20000000u);
    assert_int_equal(bench.answers, 2);
    assert_int_equal(bench.owner[1], 2);
    assert_int_equal(bench.code[1], LP_FAULT_INTERNAL_ERROR);
    answer(&bench, second, 0);
    answer(&bench, 0, 0);
    answer(&bench, UINT64_MAX, 0);
    turn(&bench, 1000);
    assert_int_equal(bench.answers, 2);
    bench_close(&bench);
}

static void
requests_are_sent_again_to_a_new_control_process(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    assert_true(ask(&bench, 1, 10));
    assert_true(ask(&bench, 2, 2000));
    assert_true(ask(&bench, 3, 0));
    const uint64_t first = hear(&bench);
    const uint64_t second = hear(&bench);
    const uint64_t third = hear(&bench);
    answer(&bench, second, 0);
    turn(&bench, 1000);
    /* It died; the next one attaches. */
    lp_link_resend(&bench.link);
    assert_int_equal(hear(&bench), first);
    assert_int_equal(hear(&bench), third);
    assert_int_equal(hear(&bench), 0);
    answer(&bench, third, 0);
    answer(&bench, first, 0);
    turn(&bench, 1000);
    assert_int_equal(bench.answers, 3);
    bench_close(&bench);
}

static void
a_full_ring_keeps_requests_and_their_order(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    const uint32_t count = 30; /* of 60 KiB each, for a ring of 1 MiB */
    for (uint32_t i = 0; i < count; i++) {
        assert_true(ask(&bench, i + 1, 60000));
    }
    assert_true(bench.link.unsent > 0);
    assert_true(ask(&bench, 99, 8)); /* would fit, but it is not its turn */
    uint64_t last = 0;
    for (uint32_t i = 0; i < count + 1; i++) {
        uint64_t sequence = hear(&bench);
        if (sequence == 0) {
            turn(&bench, 1000);
            sequence = hear(&bench);
        }
        assert_true(sequence > last);
        last = sequence;
        answer(&bench, sequence, 0);
        turn(&bench, 1000);
    }
    assert_int_equal(bench.answers, count + 1);
    assert_int_equal(bench.owner[count], 99);
    bench_close(&bench);
}

static void
what_is_forgotten_is_neither_answered_nor_sent_again(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    uint64_t sequence[3];
    lp_handle handle[3];
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(ask(&bench, i + 1, 10));
        handle[i] = lp_link_last(&bench.link);
        sequence[i] = hear(&bench);
    }
    lp_link_forget(&bench.link, handle[1]);
    lp_link_forget(&bench.link, handle[1]); /* it is gone already */
    lp_link_forget(&bench.link, LP_HANDLE_NONE);
    answer(&bench, sequence[1], 0);
    turn(&bench, 1000);
    assert_int_equal(bench.answers, 0);
    lp_link_resend(&bench.link);
    assert_int_equal(hear(&bench), sequence[0]);
    assert_int_equal(hear(&bench), sequence[2]);
    assert_int_equal(hear(&bench), 0);
    answer(&bench, sequence[0], 0);
    answer(&bench, sequence[2], 0);
    turn(&bench, 1000);
    assert_int_equal(bench.answers, 2);
    bench_close(&bench);
}

static void
what_waits_for_room_can_be_forgotten(void **unused)
{
    (void)unused;
    struct bench bench;
    lp_handle handle[30];
    bench_open(&bench);
    for (uint32_t i = 0; i < 30; i++) { /* of 60 KiB each, for a ring of 1 MiB */
        assert_true(ask(&bench, i + 1, 60000));
        handle[i] = lp_link_last(&bench.link);
    }
    const uint32_t unsent = bench.link.unsent;
    assert_true(unsent > 2);
    lp_link_forget(&bench.link, handle[30 - unsent]); /* the first one that was not sent */
    lp_link_forget(&bench.link, handle[29]);
    assert_int_equal(bench.link.unsent, unsent - 2);
    uint32_t heard = 0;
    for (uint32_t i = 0; i < 100 && heard < 28; i++) {
        const uint64_t sequence = hear(&bench);
        if (sequence != 0) {
            heard++;
            answer(&bench, sequence, 0);
        }
        turn(&bench, 1000);
    }
    assert_int_equal(heard, 28);
    assert_int_equal(bench.answers, 28);
    bench_close(&bench);
}

static void
what_never_found_room_times_out_as_well(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    for (uint32_t i = 0; i < 30; i++) {
        assert_true(ask(&bench, i + 1, 60000));
    }
    assert_false(lp_link_tell(&bench.link, LP_CONTROL_LOG, 0,
                              lp_bytes_of(bench.scratch, LP_CONTROL_PAYLOAD_MAX_BYTES)));
    turn(&bench, TIMEOUT_NS + 10000000u);
    assert_int_equal(bench.answers, 30);
    bench_close(&bench);
}

static void
too_many_requests_are_refused(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    uint32_t asked = 0;
    while (ask(&bench, 1, 0)) {
        asked++;
    }
    assert_int_equal(asked, LP_LINK_REQUESTS_MAX);
    bench.now_ns += TIMEOUT_NS + 10000000u;
    for (uint32_t i = 0; i < 10; i++) { /* more than one turn's budget of timers */
        turn(&bench, 0);
    }
    assert_int_equal(bench.answers, asked);
    assert_true(ask(&bench, 1, 0));
    turn(&bench, TIMEOUT_NS + 10000000u);
    bench_close(&bench);
}

static void
malformed_answers_answer_nothing(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    assert_true(ask(&bench, 1, 10));
    const uint64_t sequence = hear(&bench);
    static const uint8_t bad[][8] = {{0}, {1}, {0, 0}, {0, 0, 9, 'x'}, {3, 1, 255}};
    static const uint32_t bytes[] = {0, 1, 2, 4, 3};
    for (uint32_t i = 0; i < LP_COUNT_OF(bytes); i++) {
        assert_true(
            lp_control_push(&bench.out, LP_CONTROL_REPLY, sequence, lp_bytes_of(bad[i], bytes[i])));
    }
    turn(&bench, 1000);
    assert_int_equal(bench.answers, 0);
    assert_true(lp_control_push(&bench.out, 60000, sequence, lp_bytes_of(NULL, 0)));
    turn(&bench, 1000);
    assert_int_equal(bench.records, 1);
    assert_int_equal(bench.record_type, 60000);
    answer(&bench, sequence, 0);
    turn(&bench, 1000);
    assert_int_equal(bench.answers, 1);
    bench_close(&bench);
}

static void
a_broken_ring_is_left_alone_and_requests_still_time_out(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    assert_true(ask(&bench, 1, 10));
    lp_control_region_to_shard(bench.region, 1, 0)->tail = 1u << 30;
    turn(&bench, 1000);
    assert_true(bench.link.broken);
    assert_int_equal(bench.records, 0);
    turn(&bench, TIMEOUT_NS + 10000000u);
    assert_int_equal(bench.answers, 1);
    bench_close(&bench);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_find_who_asked_in_any_order),
        cmocka_unit_test(an_answer_that_is_late_or_comes_twice_is_dropped),
        cmocka_unit_test(requests_are_sent_again_to_a_new_control_process),
        cmocka_unit_test(a_full_ring_keeps_requests_and_their_order),
        cmocka_unit_test(what_is_forgotten_is_neither_answered_nor_sent_again),
        cmocka_unit_test(what_waits_for_room_can_be_forgotten),
        cmocka_unit_test(what_never_found_room_times_out_as_well),
        cmocka_unit_test(too_many_requests_are_refused),
        cmocka_unit_test(malformed_answers_answer_nothing),
        cmocka_unit_test(a_broken_ring_is_left_alone_and_requests_still_time_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
