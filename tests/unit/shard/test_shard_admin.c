/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders of administrators, and what a shard lists: rows of channels and
 * consumers, purges, the application's stop, alarms, the watermark.
 *
 * Method: as in test_shard_session.c; the test reads what the shard says.
 */
#include "tests/unit/shard/queue_rig.h"

/* The records of one kind, as they came. */
struct heard {
    uint16_t type;
    uint32_t count;
    uint32_t ends;
    uint32_t shard[8];
    uint64_t sequence[8];
    uint8_t payload[8][256];
    struct lp_reader fields[8];
};

static void
hear(void *context, uint32_t shard, const struct lp_control_record *record)
{
    struct heard *heard = context;
    heard->ends += record->type == LP_CONTROL_ROWS_END;
    if (record->type != heard->type) {
        return;
    }
    assert_true(heard->count < 8 && record->payload.size <= 256);
    const uint32_t at = heard->count++;
    memcpy(heard->payload[at], record->payload.data, record->payload.size);
    heard->shard[at] = shard;
    heard->sequence[at] = record->sequence;
    heard->fields[at] = lp_reader_of(heard->payload[at], record->payload.size);
}

static void
order(struct rig *rig, struct heard *heard, uint32_t shard, uint16_t type,
      const struct lp_writer *writer)
{
    rig->on_record = hear;
    rig->record_context = heard;
    rig_say(rig, shard, type, 4711, writer);
    rig_settle(rig);
    rig->on_record = NULL;
}

static struct lp_writer
queue_order(uint8_t *room, size_t room_bytes, bool transient)
{
    struct lp_writer writer = lp_writer_of(room, room_bytes);
    lp_writer_u32le(&writer, RIG_QUEUE_ID);
    lp_writer_u8(&writer, transient);
    return writer;
}

static void
send_persistent(struct queue_rig *rig, uint64_t value)
{
    const struct rig_extras extras = {.flags = LP_MESSAGE_PERSISTENT};
    client_send_with(rig->publisher, "q", value, &extras);
    rig_settle(&rig->rig);
}

static void
a_purge_drops_what_is_ready_and_says_how_much(void **unused)
{
    (void)unused;
    uint8_t room[8];
    struct queue_rig rig;
    struct heard heard = {.type = LP_CONTROL_QUEUE_PURGED};
    queue_rig_open(&rig);
    queue_rig_start(&rig);
    queue_rig_send(&rig, 1, 5);
    assert_int_equal(queue_rig_get(&rig, false), 1);
    struct lp_writer writer = queue_order(room, sizeof(room), false);
    order(&rig.rig, &heard, 1, LP_CONTROL_QUEUE_PURGE, &writer);
    assert_int_equal(heard.count, 1);
    assert_int_equal(heard.sequence[0], 4711);
    assert_int_equal(lp_reader_u16le(&heard.fields[0]), 0);
    assert_int_equal(lp_reader_u32le(&heard.fields[0]), 4);
    assert_int_equal(queue_rig_counts(&rig).ready, 0);
    assert_int_equal(queue_rig_counts(&rig).unacked, 1);
    /* What was out comes back, and is still the first. */
    queue_rig_send(&rig, 6, 1);
    assert_int_equal(lp_session_settle(rig.reader->session, 1, false, LP_SETTLE_REQUEUE), LP_DONE);
    rig_settle(&rig.rig);
    assert_int_equal(queue_rig_get(&rig, true), 1);
    assert_int_equal(queue_rig_get(&rig, true), 6);
    queue_rig_close(&rig);
}

static void
a_purge_of_transient_messages_leaves_the_others_in_their_places(void **unused)
{
    (void)unused;
    uint8_t room[8];
    struct queue_rig rig;
    struct heard heard = {.type = LP_CONTROL_QUEUE_PURGED};
    queue_rig_open(&rig);
    queue_rig_start(&rig);
    queue_rig_send(&rig, 1, 2);
    send_persistent(&rig, 3);
    queue_rig_send(&rig, 4, 1);
    send_persistent(&rig, 5);
    struct lp_writer writer = queue_order(room, sizeof(room), true);
    order(&rig.rig, &heard, 1, LP_CONTROL_QUEUE_PURGE, &writer);
    assert_int_equal(lp_reader_u16le(&heard.fields[0]), 0);
    assert_int_equal(lp_reader_u32le(&heard.fields[0]), 3);
    const struct lp_queue_counts counts = queue_rig_counts(&rig);
    assert_int_equal(counts.ready, 2);
    assert_int_equal(counts.persistent, 2);
    assert_int_equal(counts.bytes, 16);
    queue_rig_send(&rig, 6, 1);
    assert_int_equal(queue_rig_get(&rig, true), 3);
    assert_int_equal(queue_rig_get(&rig, true), 5);
    assert_int_equal(queue_rig_get(&rig, true), 6);
    queue_rig_close(&rig);
}

static void
a_purge_of_a_queue_that_is_not_there_says_so(void **unused)
{
    (void)unused;
    uint8_t room[8];
    struct rig rig;
    struct heard heard = {.type = LP_CONTROL_QUEUE_PURGED};
    rig_open(&rig, 1, RIG_MEMORY_BYTES);
    struct lp_writer writer = queue_order(room, sizeof(room), false);
    order(&rig, &heard, 0, LP_CONTROL_QUEUE_PURGE, &writer);
    assert_int_equal(heard.count, 1);
    assert_int_equal(lp_reader_u16le(&heard.fields[0]), LP_FAULT_NOT_FOUND);
    rig_close(&rig);
}

static void
channels_are_listed_with_what_they_hold(void **unused)
{
    (void)unused;
    uint8_t room[8];
    struct queue_rig rig;
    struct heard heard = {.type = LP_CONTROL_ROW_CHANNEL};
    struct lp_writer empty = lp_writer_of(room, sizeof(room));
    queue_rig_open(&rig);
    queue_rig_start(&rig);
    queue_rig_send(&rig, 1, 3);
    assert_int_equal(queue_rig_get(&rig, false), 1);
    assert_int_equal(queue_rig_get(&rig, false), 2);
    order(&rig.rig, &heard, 2, LP_CONTROL_LIST_CHANNELS, &empty);
    assert_int_equal(heard.count, 1);
    assert_int_equal(heard.ends, 1);
    struct lp_reader *fields = &heard.fields[0];
    assert_int_equal(lp_reader_u64le(fields), (uint64_t)2 << 48 | 1);
    assert_int_equal(lp_reader_u16le(fields), 7); /* number, as the protocol says it */
    assert_int_equal(lp_reader_u32le(fields), 2); /* consumers */
    assert_int_equal(lp_reader_u64le(fields), 2); /* unacknowledged */
    assert_int_equal(lp_reader_u64le(fields), 0);
    assert_int_equal(lp_reader_u64le(fields), 0);
    assert_int_equal(lp_reader_u64le(fields), 0);
    assert_int_equal(lp_reader_u32le(fields), 9); /* prefetch */
    assert_int_equal(lp_reader_u32le(fields), 0);
    assert_int_equal(lp_reader_u8(fields), 0);
    assert_int_equal(lp_reader_u8(fields), 0);
    assert_int_equal(lp_reader_u8(fields), 0);
    assert_false(fields->failed);
    assert_int_equal(lp_reader_left(fields), 0);
    queue_rig_close(&rig);
}

static void
consumers_are_listed_and_getters_are_not(void **unused)
{
    (void)unused;
    uint8_t room[8];
    struct queue_rig rig;
    struct heard heard = {.type = LP_CONTROL_ROW_CONSUMER};
    struct lp_writer empty = lp_writer_of(room, sizeof(room));
    queue_rig_open(&rig);
    queue_rig_start(&rig);
    assert_int_equal(queue_rig_get(&rig, false), 0);
    const struct lp_consumer *consumer = client_consume(rig.reader, "q", 3);
    order(&rig.rig, &heard, 2, LP_CONTROL_LIST_CONSUMERS, &empty);
    assert_int_equal(heard.count, 1);
    assert_int_equal(heard.ends, 1);
    struct lp_reader *fields = &heard.fields[0];
    assert_int_equal(lp_reader_u32le(fields), RIG_QUEUE_ID);
    assert_int_equal(lp_reader_u64le(fields), (uint64_t)2 << 48 | 1);
    assert_int_equal(lp_reader_u16le(fields), 7);
    assert_true(lp_bytes_equal_text(lp_reader_short(fields), "tag"));
    assert_int_equal(lp_reader_u8(fields), 1); /* to be acknowledged */
    assert_int_equal(lp_reader_u32le(fields), 5);
    assert_int_equal(lp_reader_u8(fields), 0);
    assert_true(lp_bytes_equal_text(lp_reader_long_le(fields), "table"));
    assert_int_equal(lp_reader_u64le(fields), consumer->self);
    assert_false(fields->failed);
    queue_rig_close(&rig);
}

static void
an_alarm_holds_contents_back_until_it_is_over(void **unused)
{
    (void)unused;
    uint8_t room[8];
    struct rig rig;
    rig_open(&rig, 1, RIG_MEMORY_BYTES);
    struct lp_writer writer = lp_writer_of(room, sizeof(room));
    lp_writer_u8(&writer, LP_ALARM_DISK);
    rig_say(&rig, 0, LP_CONTROL_ALARMS, 0, &writer);
    rig_settle(&rig);
    assert_true(rig.shard[0]->broker.held);
    assert_false(rig.shard[0]->broker.pressed);
    writer = lp_writer_of(room, sizeof(room));
    lp_writer_u8(&writer, 0);
    rig_say(&rig, 0, LP_CONTROL_ALARMS, 0, &writer);
    rig_settle(&rig);
    assert_false(rig.shard[0]->broker.held);
    rig_close(&rig);
}

static void
watermark_set(struct rig *rig, uint64_t bytes)
{
    uint8_t room[8];
    struct lp_writer writer = lp_writer_of(room, sizeof(room));
    lp_writer_u64le(&writer, bytes);
    rig_say(rig, 0, LP_CONTROL_WATERMARK, 0, &writer);
    rig_settle(rig);
}

static void
the_watermark_moves_and_leaves_room_for_a_message(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, 1, RIG_MEMORY_BYTES);
    struct lp_shard *shard = rig.shard[0];
    const struct lp_memory *memory = shard->broker.memory;
    watermark_set(&rig, 0);
    assert_int_equal(lp_memory_watermark_bytes(memory), 0);
    assert_true(shard->broker.pressed);
    watermark_set(&rig, UINT64_MAX);
    assert_false(shard->broker.pressed);
    const uint64_t most = LP_MAX((uint64_t)RIG_MEMORY_BYTES / 5 * 4, shard->env.watermark_bytes);
    assert_int_equal(lp_memory_watermark_bytes(memory), most);
    assert_int_equal(
        shard->broker.limits.message_bytes_max,
        lp_shard_message_bytes_max(shard->config.message_bytes_max, RIG_MEMORY_BYTES, most));
    rig_close(&rig);
}

static void
a_stopped_application_takes_no_connections_until_it_is_started(void **unused)
{
    (void)unused;
    uint8_t room[8];
    struct rig rig;
    rig_open(&rig, 1, RIG_MEMORY_BYTES);
    struct lp_writer writer = lp_writer_of(room, sizeof(room));
    lp_writer_u8(&writer, 0);
    rig_say(&rig, 0, LP_CONTROL_RUNNING, 0, &writer);
    rig_settle(&rig);
    assert_true(rig.shard[0]->broker.refusing);
    assert_int_equal(rig.shard[0]->close_deadline_ns, 0); /* nobody is waited for */
    writer = lp_writer_of(room, sizeof(room));
    lp_writer_u8(&writer, 1);
    rig_say(&rig, 0, LP_CONTROL_RUNNING, 0, &writer);
    rig_settle(&rig);
    assert_false(rig.shard[0]->broker.refusing);
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_purge_drops_what_is_ready_and_says_how_much),
        cmocka_unit_test(a_purge_of_transient_messages_leaves_the_others_in_their_places),
        cmocka_unit_test(a_purge_of_a_queue_that_is_not_there_says_so),
        cmocka_unit_test(channels_are_listed_with_what_they_hold),
        cmocka_unit_test(consumers_are_listed_and_getters_are_not),
        cmocka_unit_test(an_alarm_holds_contents_back_until_it_is_over),
        cmocka_unit_test(the_watermark_moves_and_leaves_room_for_a_message),
        cmocka_unit_test(a_stopped_application_takes_no_connections_until_it_is_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
