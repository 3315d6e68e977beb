/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: nobody's input or publish waits for ever while others keep a shard busy.
 *
 * Method: a whole broker of one shard; one client publishes to 128
 * queues as fast as it is let, which uses up what a turn hands out, again and
 * again.  Turns are counted until others are answered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/shard/shard_private.h"
#include "tests/lib/rig.h"

#define QUEUES \
    128u /* a part of LP_NEAR_PER_TURN: what is left of it does not make the flood wait */
#define MEMORY_BYTES (128u << 20)
#define FLOOD_BYTES  (48u * 1024u)
/* Turns that somebody may have to wait: the flood has one, and the answer takes one. */
#define TURNS_MAX 4u
#define FLOODS    5u

struct crowd {
    struct rig *rig;
    struct rig_client *flood;
    struct rig_client *other;
    uint8_t bytes[FLOOD_BYTES];
    uint32_t said; /* of them */
};

static void
crowd_open(struct crowd *crowd)
{
    const struct rig_options options = {1, MEMORY_BYTES};
    crowd->rig = rig_open(&options);
    crowd->flood = rig_connect(crowd->rig, 0); /* it is polled first */
    crowd->other = rig_connect(crowd->rig, 0);
    rig_open_channel(crowd->flood);
    rig_open_channel(crowd->other);
    rig_confirm_select(crowd->other);
    rig_declare_exchange(crowd->flood, "fan", "fanout");
    for (uint32_t i = 0; i < QUEUES; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "q%u", i);
        rig_declare_queue(crowd->flood, name);
        rig_bind_queue(crowd->flood, name, "fan", "");
    }
    struct lp_writer writer = lp_writer_of(crowd->bytes, sizeof(crowd->bytes));
    for (;;) {
        const size_t before = lp_writer_size(&writer);
        rig_publish(&writer, "fan", "", lp_bytes_of_text("flood"));
        if (writer.failed) {
            break;
        }
        crowd->said = (uint32_t)lp_writer_size(&writer);
        assert_true(crowd->said > before);
    }
}

static void
crowd_close(struct crowd *crowd)
{
    rig_hang_up(crowd->flood);
    rig_hang_up(crowd->other);
    rig_settle(crowd->rig);
    rig_close(&crowd->rig);
}

/* A turn in which the flood has more to say than the turn hands out. */
static void
flood_turn(struct crowd *crowd)
{
    if (crowd->flood->input.size == 0 && !crowd->flood->stopped) {
        rig_feed(crowd->flood, lp_bytes_of(crowd->bytes, crowd->said));
    }
    (void)rig_turn(crowd->rig);
}

static uint32_t
turns_until_answered(struct crowd *crowd, struct lp_bytes said)
{
    const uint64_t before = crowd->other->sent;
    uint32_t turns = 0;
    rig_feed(crowd->other, said);
    while (crowd->other->sent == before && turns < 100) {
        flood_turn(crowd);
        turns++;
    }
    return turns;
}

static void
a_publisher_to_many_queues_does_not_keep_others_waiting(void **unused)
{
    (void)unused;
    static struct crowd crowd;
    uint8_t bytes[256];
    crowd_open(&crowd);
    for (uint32_t round = 0; round < 8; round++) {
        flood_turn(&crowd);
        assert_int_equal(rig_shard(crowd.rig, 0)->broker.near_left, 0);
        struct lp_writer writer = lp_writer_of(bytes, sizeof(bytes));
        rig_publish(&writer, "", "q0", lp_bytes_of_text("one"));
        assert_in_range(turns_until_answered(&crowd, lp_writer_bytes(&writer)), 1, TURNS_MAX);
    }
    crowd_close(&crowd);
}

/* It may not fit what a turn has left when others had theirs before. */
static void
who_publishes_to_many_queues_has_its_turn_too(void **unused)
{
    (void)unused;
    static struct crowd crowd;
    uint8_t bytes[256];
    crowd_open(&crowd);
    for (uint32_t round = 0; round < 8; round++) {
        flood_turn(&crowd);
        struct lp_writer writer = lp_writer_of(bytes, sizeof(bytes));
        rig_publish(&writer, "fan", "", lp_bytes_of_text("many"));
        assert_in_range(turns_until_answered(&crowd, lp_writer_bytes(&writer)), 1, TURNS_MAX);
    }
    crowd_close(&crowd);
}

/* A handshake calls no queue: it does not stand in line behind those who use up every turn. */
static void
a_newcomer_is_greeted_at_once_however_many_publish(void **unused)
{
    (void)unused;
    static const uint8_t header[] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};
    static struct crowd crowd;
    struct rig_client *floods[FLOODS];
    crowd_open(&crowd);
    for (uint32_t i = 0; i < FLOODS; i++) {
        floods[i] = rig_connect(crowd.rig, 0);
        rig_open_channel(floods[i]);
    }
    for (uint32_t i = 0; i < FLOODS; i++) {
        rig_feed(floods[i], lp_bytes_of(crowd.bytes, crowd.said));
    }
    struct rig_client *newcomer = rig_connect(crowd.rig, 0);
    (void)rig_turn(crowd.rig);
    rig_feed(newcomer, lp_bytes_of(header, sizeof(header)));
    (void)rig_turn(crowd.rig);
    assert_int_equal(rig_shard(crowd.rig, 0)->broker.near_left, 0);
    assert_true(newcomer->sent > 0);
    for (uint32_t i = 0; i < FLOODS; i++) {
        rig_hang_up(floods[i]);
    }
    rig_hang_up(newcomer);
    crowd_close(&crowd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_publisher_to_many_queues_does_not_keep_others_waiting),
        cmocka_unit_test(who_publishes_to_many_queues_has_its_turn_too),
        cmocka_unit_test(a_newcomer_is_greeted_at_once_however_many_publish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
