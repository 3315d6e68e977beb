/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do timers fire in time, once, and in order, however they are moved?
 *
 * Method: cases by hand for each promise of wheel.h; then a random history of
 * arming, moving, disarming and advancing (steps from nothing to years)
 * against a plain array of deadlines.
 */
#include "tests/unit/base/base_test.h"

#include "dataplane/base/wheel.h"

#define TICK_NS  (1ull << LP_WHEEL_TICK_SHIFT)
#define NO_LIMIT UINT32_MAX

struct log {
    struct lp_wheel wheel;
    struct lp_timer timer[8];
    uint32_t fired[64];
    uint32_t count;
    uint64_t rearm_ns; /* what the callback arms its timer to; 0: nothing */
    uint32_t rearms;   /* how often at most */
};

static void
log_fire(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct log *log = context;
    (void)now_ns;
    assert_false(lp_timer_armed(timer));
    assert_true(log->count < LP_COUNT_OF(log->fired));
    log->fired[log->count++] = (uint32_t)(timer - log->timer);
    if (log->rearm_ns != 0 && log->rearms > 0) {
        log->rearms--;
        lp_timer_arm(&log->wheel, timer, log_fire, log->rearm_ns);
    }
}

static struct log *
log_make(uint64_t now_ns)
{
    struct log *log = calloc(1, sizeof(*log));
    assert_non_null(log);
    lp_wheel_init(&log->wheel, now_ns);
    return log;
}

static void
arm(struct log *log, uint32_t timer, uint64_t deadline_ns)
{
    lp_timer_arm(&log->wheel, &log->timer[timer], log_fire, deadline_ns);
}

static uint32_t
advance(struct log *log, uint64_t now_ns)
{
    return lp_wheel_advance(&log->wheel, now_ns, NO_LIMIT, log);
}

static void
an_empty_wheel_has_nothing_to_wait_for(void **unused)
{
    (void)unused;
    struct log *log = log_make(12345);
    assert_int_equal(lp_wheel_next_ns(&log->wheel), UINT64_MAX);
    assert_int_equal(advance(log, UINT64_MAX), 0);
    assert_int_equal(lp_wheel_next_ns(&log->wheel), UINT64_MAX);
    free(log);
}

static void
a_timer_fires_once_never_early_and_at_most_a_tick_late(void **unused)
{
    (void)unused;
    static const uint64_t delays[] = {1,
                                      TICK_NS - 1,
                                      TICK_NS,
                                      TICK_NS + 1,
                                      63 * TICK_NS,
                                      64 * TICK_NS,
                                      65 * TICK_NS,
                                      4096 * TICK_NS - 1,
                                      4096 * TICK_NS,
                                      (1ull << 36) * TICK_NS - 1,
                                      (1ull << 36) * TICK_NS,
                                      (1ull << 40) * TICK_NS + 5};
    static const uint64_t starts[] = {0, 1, TICK_NS - 1, 1000 * TICK_NS, 987654321987654321ull};
    for (size_t i = 0; i < LP_COUNT_OF(delays); i++) {
        for (size_t j = 0; j < LP_COUNT_OF(starts); j++) {
            struct log *log = log_make(starts[j]);
            const uint64_t deadline = starts[j] + delays[i];
            arm(log, 0, deadline);
            assert_true(lp_timer_armed(&log->timer[0]));
            assert_true(lp_wheel_next_ns(&log->wheel) < deadline + TICK_NS);
            (void)advance(log, deadline - 1);
            assert_int_equal(log->count, 0);
            (void)advance(log, deadline + TICK_NS - 1);
            assert_int_equal(log->count, 1);
            (void)advance(log, deadline + 100 * TICK_NS);
            assert_int_equal(log->count, 1);
            assert_int_equal(log->wheel.armed, 0);
            free(log);
        }
    }
}

static void
a_deadline_in_the_past_fires_at_the_next_advance(void **unused)
{
    (void)unused;
    struct log *log = log_make(5 * TICK_NS);
    arm(log, 0, 1);
    arm(log, 1, 5 * TICK_NS);
    arm(log, 2, 0); /* zero is a deadline like any other */
    assert_true(lp_timer_armed(&log->timer[2]));
    assert_true(lp_wheel_next_ns(&log->wheel) <= 5 * TICK_NS);
    assert_int_equal(advance(log, 5 * TICK_NS), 3);
    assert_int_equal(log->count, 3);
    free(log);
}

static void
moving_later_stores_and_moving_earlier_links_again(void **unused)
{
    (void)unused;
    struct log *log = log_make(0);
    arm(log, 0, 10 * TICK_NS);
    const uint64_t linked = log->timer[0].linked_tick;
    for (uint32_t i = 11; i < 1000; i++) {
        arm(log, 0, i * TICK_NS);
        assert_int_equal(log->timer[0].linked_tick, linked);
    }
    assert_int_equal(log->wheel.armed, 1);
    /* The old slot comes up: linked again, not fired. */
    assert_int_equal(advance(log, 10 * TICK_NS), 1);
    assert_int_equal(log->count, 0);
    assert_int_equal(log->timer[0].linked_tick, 999);

    arm(log, 0, 20 * TICK_NS);
    assert_int_equal(log->timer[0].linked_tick, 20);
    (void)advance(log, 20 * TICK_NS);
    assert_int_equal(log->count, 1);
    free(log);
}

static void
a_disarmed_timer_stays_silent(void **unused)
{
    (void)unused;
    struct log *log = log_make(0);
    lp_timer_disarm(&log->wheel, &log->timer[0]); /* never armed */
    arm(log, 0, 100 * TICK_NS);
    arm(log, 1, 100 * TICK_NS);
    arm(log, 2, 1ull << 62);
    lp_timer_disarm(&log->wheel, &log->timer[0]);
    lp_timer_disarm(&log->wheel, &log->timer[0]);
    assert_false(lp_timer_armed(&log->timer[0]));
    (void)advance(log, 200 * TICK_NS);
    assert_int_equal(log->count, 1);
    assert_int_equal(log->fired[0], 1);
    lp_timer_disarm(&log->wheel, &log->timer[2]);
    assert_int_equal(lp_wheel_next_ns(&log->wheel), UINT64_MAX);
    assert_int_equal(log->wheel.armed, 0);
    free(log);
}

static void
timers_of_one_advance_fire_by_tick_and_then_in_order_of_arming(void **unused)
{
    (void)unused;
    struct log *log = log_make(0);
    arm(log, 0, 5000 * TICK_NS);
    arm(log, 1, 70 * TICK_NS);
    arm(log, 2, 3 * TICK_NS);
    arm(log, 3, 70 * TICK_NS);
    arm(log, 4, 3 * TICK_NS);
    arm(log, 5, 4999 * TICK_NS);
    (void)advance(log, 6000 * TICK_NS);
    static const uint32_t expected[] = {2, 4, 1, 3, 5, 0};
    assert_int_equal(log->count, LP_COUNT_OF(expected));
    assert_memory_equal(log->fired, expected, sizeof(expected));
    free(log);
}

static void
a_spent_budget_leaves_the_rest_for_the_next_call(void **unused)
{
    (void)unused;
    struct log *log = log_make(0);
    for (uint32_t i = 0; i < 8; i++) {
        arm(log, i, (100 + i / 4) * TICK_NS);
    }
    assert_int_equal(lp_wheel_advance(&log->wheel, 200 * TICK_NS, 0, log), 0);
    uint32_t calls = 0;
    while (log->count < 8) {
        assert_true(lp_wheel_next_ns(&log->wheel) <= 200 * TICK_NS);
        const uint32_t before = log->count;
        assert_int_equal(lp_wheel_advance(&log->wheel, 200 * TICK_NS, 3, log), 3);
        assert_true(log->count - before <= 3);
        if (++calls == 2) {
            /* Left over, and moved meanwhile: both ways must hold. */
            lp_timer_disarm(&log->wheel, &log->timer[7]);
            arm(log, 7, 150 * TICK_NS);
        }
        assert_true(calls < 20);
        if (log->count + log->wheel.armed != 8) {
            fail_msg("a timer was lost");
        }
        if (log->wheel.armed < 3) {
            (void)advance(log, 200 * TICK_NS);
        }
    }
    for (uint32_t i = 0; i < 8; i++) {
        assert_int_equal(log->fired[i], i);
    }
    free(log);
}

static void
a_callback_that_arms_itself_in_the_past_cannot_hold_the_turn(void **unused)
{
    (void)unused;
    struct log *log = log_make(0);
    log->rearm_ns = 1;
    log->rearms = 10;
    arm(log, 0, TICK_NS);
    for (uint32_t i = 1; i <= 11; i++) {
        assert_int_equal(advance(log, 5 * TICK_NS), 1);
        assert_int_equal(log->count, i);
    }
    assert_int_equal(advance(log, 6 * TICK_NS), 0);
    free(log);
}

/* A callback that does to others what it is not expected to. */
static void
meddle(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct log *log = context;
    log->fired[log->count++] = (uint32_t)(timer - log->timer);
    lp_timer_disarm(&log->wheel, &log->timer[1]);                          /* due now as well */
    lp_timer_arm(&log->wheel, &log->timer[2], log_fire, now_ns + TICK_NS); /* due now: later */
    lp_timer_arm(&log->wheel, &log->timer[3], log_fire, now_ns);           /* far: now */
}

static void
a_callback_may_disarm_and_move_others_of_its_own_slot(void **unused)
{
    (void)unused;
    struct log *log = log_make(0);
    lp_timer_arm(&log->wheel, &log->timer[0], meddle, 9 * TICK_NS);
    arm(log, 1, 9 * TICK_NS);
    arm(log, 2, 9 * TICK_NS);
    arm(log, 3, 900 * TICK_NS);
    arm(log, 4, 9 * TICK_NS);
    (void)advance(log, 9 * TICK_NS);
    (void)advance(log, 9 * TICK_NS);
    static const uint32_t expected[] = {0, 4, 3};
    assert_int_equal(log->count, LP_COUNT_OF(expected));
    assert_memory_equal(log->fired, expected, sizeof(expected));
    (void)advance(log, 10 * TICK_NS);
    assert_int_equal(log->fired[3], 2);
    assert_int_equal(log->wheel.armed, 0);
    free(log);
}

static void
time_that_stands_still_or_steps_back_is_harmless(void **unused)
{
    (void)unused;
    struct log *log = log_make(100 * TICK_NS);
    arm(log, 0, 101 * TICK_NS);
    assert_int_equal(advance(log, 50 * TICK_NS), 0);
    assert_int_equal(advance(log, 100 * TICK_NS), 0);
    assert_int_equal(advance(log, 101 * TICK_NS), 1);
    assert_int_equal(log->count, 1);
    free(log);
}

/* --- against a model ------------------------------------------------------ */

#define MODEL_TIMERS 200u

struct model {
    struct lp_wheel wheel;
    struct lp_timer timer[MODEL_TIMERS];
    uint64_t deadline_ns[MODEL_TIMERS]; /* 0: disarmed */
    uint64_t last_tick;                 /* of the last that fired in this advance */
    uint64_t began_ns;
    struct random random;
};

static uint64_t
model_delay(struct random *random)
{
    return random_next(random) >> (4 + random_below(random, 60));
}

static void
model_arm(struct model *model, uint32_t i, lp_timer_fn *fire, uint64_t deadline_ns)
{
    model->deadline_ns[i] = LP_MAX(deadline_ns, 1);
    lp_timer_arm(&model->wheel, &model->timer[i], fire, deadline_ns);
}

static void
model_fire(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct model *model = context;
    const uint32_t i = (uint32_t)(timer - model->timer);
    assert_int_not_equal(model->deadline_ns[i], 0);
    assert_true(model->deadline_ns[i] <= now_ns);
    /* Order: by tick, except that what was late already comes first. */
    const uint64_t tick = (model->deadline_ns[i] + TICK_NS - 1) / TICK_NS;
    if (tick > model->began_ns / TICK_NS) {
        assert_true(tick >= model->last_tick);
        model->last_tick = tick;
    }
    model->deadline_ns[i] = 0;
    const uint32_t other = random_below(&model->random, MODEL_TIMERS);
    switch (random_below(&model->random, 4)) {
    case 0:
        model_arm(model, other, model_fire, now_ns + model_delay(&model->random));
        break;
    case 1:
        model->deadline_ns[other] = 0;
        lp_timer_disarm(&model->wheel, &model->timer[other]);
        break;
    default:
        break;
    }
}

static void
model_compare(const struct model *model, uint64_t now_ns)
{
    uint64_t armed = 0;
    uint64_t earliest = UINT64_MAX;
    for (uint32_t i = 0; i < MODEL_TIMERS; i++) {
        assert_int_equal(lp_timer_armed(&model->timer[i]), model->deadline_ns[i] != 0);
        armed += model->deadline_ns[i] != 0;
        if (model->deadline_ns[i] != 0) {
            earliest = LP_MIN(earliest, model->deadline_ns[i]);
        }
    }
    assert_int_equal(model->wheel.armed, armed);
    const uint64_t next = lp_wheel_next_ns(&model->wheel);
    if (armed == 0) {
        assert_int_equal(next, UINT64_MAX);
    } else {
        assert_true(next < earliest + TICK_NS || next <= now_ns);
    }
}

static void
model_step(struct model *model, uint64_t *now_ns)
{
    for (uint32_t n = random_below(&model->random, 20); n > 0; n--) {
        const uint32_t i = random_below(&model->random, MODEL_TIMERS);
        if (random_below(&model->random, 4) == 0) {
            model->deadline_ns[i] = 0;
            lp_timer_disarm(&model->wheel, &model->timer[i]);
        } else {
            const uint64_t past = random_below(&model->random, 3) * TICK_NS;
            model_arm(model, i, model_fire, *now_ns + model_delay(&model->random) - past);
        }
    }
    model_compare(model, *now_ns);
    model->began_ns = *now_ns;
    model->last_tick = 0;
    *now_ns += model_delay(&model->random) >> random_below(&model->random, 30);
    const uint32_t budget = 1 + random_below(&model->random, 50);
    while (lp_wheel_advance(&model->wheel, *now_ns, budget, model) == budget) {
        /* A budget that was spent says that more may wait. */
    }
    model_compare(model, *now_ns);
    for (uint32_t i = 0; i < MODEL_TIMERS; i++) {
        /* Armed in the past by a callback of the last call: due at the next. */
        const bool late = model->timer[i].linked_tick <= model->wheel.now_tick;
        if (model->deadline_ns[i] != 0 && !late) {
            assert_true(model->deadline_ns[i] + TICK_NS > *now_ns);
        }
    }
}

static void
a_random_history_agrees_with_an_array_of_deadlines(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct model *model = calloc(1, sizeof(*model));
        assert_non_null(model);
        model->random.state = seed;
        uint64_t now_ns = random_next(&model->random) >> (2 + random_below(&model->random, 62));
        now_ns += 3 * TICK_NS;
        lp_wheel_init(&model->wheel, now_ns);
        for (uint32_t step = 0; step < 1000 && now_ns < 1ull << 62; step++) {
            model_step(model, &now_ns);
        }
        free(model);
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_wheel_has_nothing_to_wait_for),
        cmocka_unit_test(a_timer_fires_once_never_early_and_at_most_a_tick_late),
        cmocka_unit_test(a_deadline_in_the_past_fires_at_the_next_advance),
        cmocka_unit_test(moving_later_stores_and_moving_earlier_links_again),
        cmocka_unit_test(a_disarmed_timer_stays_silent),
        cmocka_unit_test(timers_of_one_advance_fire_by_tick_and_then_in_order_of_arming),
        cmocka_unit_test(a_spent_budget_leaves_the_rest_for_the_next_call),
        cmocka_unit_test(a_callback_that_arms_itself_in_the_past_cannot_hold_the_turn),
        cmocka_unit_test(a_callback_may_disarm_and_move_others_of_its_own_slot),
        cmocka_unit_test(time_that_stands_still_or_steps_back_is_harmless),
        cmocka_unit_test(a_random_history_agrees_with_an_array_of_deadlines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
