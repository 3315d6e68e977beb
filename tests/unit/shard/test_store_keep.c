/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a shard keeps over a kill and a stop, and when it says so.
 */
#include "tests/unit/shard/store_rig.h"

static void
what_was_confirmed_is_there_after_a_kill(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store_start(&store);
    lp_session_confirm_select(store.client->session);
    store_send(&store, "q", 1, 1000);
    assert_int_equal(store.client->confirmed, 1000);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").ready, 1000);
    store_expect(&store, "q", 1, 1000);
    assert_int_equal(store_get(&store, "q", true), 0);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").ready, 0);
    store_close(&store);
}

static void
nothing_is_confirmed_before_it_is_on_disk(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store_start(&store);
    lp_session_confirm_select(store.client->session);
    store.hold = true;
    store_send(&store, "q", 1, 10);
    assert_int_equal(store.client->confirmed, 0);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").ready, 0);
    store_close(&store);
}

/* What is dropped in the turn in which it came is confirmed though nothing is written. */
static void
what_never_has_to_be_written_is_confirmed(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store.queue[0].settings.max_length = 0;
    store_start(&store);
    rig_settle(&store.rig);
    lp_session_confirm_select(store.client->session);
    struct lp_log_stats before;
    struct lp_log_stats after;
    lp_log_stats(store_of(&store)->log, &before);
    store_send(&store, "q", 1, 3);
    lp_log_stats(store_of(&store)->log, &after);
    assert_int_equal(store.client->confirmed, 3);
    assert_int_equal(after.bytes_written, before.bytes_written);
    store_close(&store);
}

/* ---- heads of any size ---- */

struct large {
    uint32_t properties, annotations, body;
};

static uint8_t
large_byte(uint32_t salt, uint32_t at)
{
    return (uint8_t)(salt + at + at / 251u);
}

static struct lp_bytes
large_bytes(uint32_t salt, uint32_t size)
{
    uint8_t *data = malloc(size + 1u);
    assert_non_null(data);
    for (uint32_t i = 0; i < size; i++) {
        data[i] = large_byte(salt, i);
    }
    return lp_bytes_of(data, size);
}

static void
large_are(struct lp_bytes bytes, uint32_t salt, uint32_t size)
{
    assert_int_equal(bytes.size, size);
    for (uint32_t i = 0; i < size; i++) {
        assert_int_equal(bytes.data[i], large_byte(salt, i));
    }
}

/* One header of it all. */
static struct lp_bytes
large_properties(uint32_t size)
{
    const struct lp_bytes bytes = large_bytes(1, size);
    uint8_t head[13];
    struct lp_writer writer = lp_writer_of(head, sizeof(head));
    assert_true(size >= sizeof(head));
    lp_writer_u16be(&writer, 0x2000);
    lp_writer_u32be(&writer, size - 6);
    lp_writer_short(&writer, lp_bytes_of_text("p"));
    lp_writer_u8(&writer, 'S');
    lp_writer_u32be(&writer, size - (uint32_t)sizeof(head));
    memcpy((void *)(uintptr_t)bytes.data, head, sizeof(head));
    return bytes;
}

/* One key of it all. */
static struct lp_bytes
large_annotations(uint32_t size)
{
    const struct lp_bytes bytes = large_bytes(2, size);
    uint8_t head[9];
    struct lp_writer writer = lp_writer_of(head, sizeof(head));
    lp_writer_u8(&writer, LP_ANNOTATION_KEYS);
    lp_writer_u32le(&writer, size - 5);
    lp_writer_u32le(&writer, size - (uint32_t)sizeof(head));
    if (size > 0) {
        memcpy((void *)(uintptr_t)bytes.data, head, sizeof(head));
    }
    return bytes;
}

/* One whose body begins with `value`. */
static void
large_send(struct store_rig *store, const struct large *large, uint64_t value)
{
    struct lp_broker *broker = store_broker(store);
    const struct lp_bytes properties = large_properties(large->properties);
    const struct lp_bytes annotations = large_annotations(large->annotations);
    const struct lp_bytes body = large_bytes(3, large->body);
    const struct lp_message_parts parts = {.key = lp_bytes_of_text("q"),
                                           .properties = properties,
                                           .annotations = annotations,
                                           .body_bytes = sizeof(value) + body.size,
                                           .expiration_ms = 1u << 30,
                                           .flags = LP_MESSAGE_PERSISTENT | LP_MESSAGE_EXPIRES,
                                           .protocol = LP_PROTOCOL_AMQP091};
    struct lp_publish publish = {
        .exchange = lp_topology_exchange(&broker->topology, RIG_VHOST, lp_bytes_of(NULL, 0))};
    struct lp_message *message = lp_message_make(&broker->messages, &parts, &publish.message);
    assert_non_null(message);
    assert_int_equal(lp_message_to_come(message), sizeof(value) + body.size);
    assert_true(lp_message_append(&broker->messages, message, lp_bytes_of(&value, sizeof(value))));
    assert_true(lp_message_append(&broker->messages, message, body));
    assert_int_equal(lp_message_to_come(message), 0);
    assert_int_equal(lp_session_publish(store->client->session, &publish), LP_DONE);
    free((void *)(uintptr_t)properties.data);
    free((void *)(uintptr_t)annotations.data);
    free((void *)(uintptr_t)body.data);
    rig_settle(&store->rig);
}

static void
large_expect(struct store_rig *store, const struct large *large, uint64_t value)
{
    assert_int_equal(store_get(store, "q", false), value);
    const struct lp_message *message = store->client->got_last.message;
    const struct lp_bytes properties = large_properties(large->properties);
    assert_int_equal(lp_message_properties(message).size, properties.size);
    assert_memory_equal(lp_message_properties(message).data, properties.data, properties.size);
    free((void *)(uintptr_t)properties.data);
    const struct lp_bytes annotations = large_annotations(large->annotations);
    const struct lp_bytes had = lp_message_annotations(message);
    assert_int_equal(had.size, annotations.size);
    assert_memory_equal(had.data ? had.data : annotations.data, annotations.data, had.size);
    free((void *)(uintptr_t)annotations.data);
    assert_int_equal(lp_message_expiration_ms(message), 1u << 30);
    struct lp_message_body at = lp_message_body(message);
    uint8_t *body = malloc(sizeof(value) + large->body);
    assert_non_null(body);
    uint32_t have = 0;
    struct lp_bytes piece;
    while ((piece = lp_message_body_next(&at, UINT32_MAX)).size > 0) {
        memcpy(body + have, piece.data, piece.size);
        have += piece.size;
    }
    assert_int_equal(have, sizeof(value) + large->body);
    large_are(lp_bytes_of(body + sizeof(value), large->body), 3, large->body);
    free(body);
    client_ack(store->client, store->client->got_last.number);
}

/* What a frame may have is no more than a client says it is: records are cut where they must. */
static void
a_head_of_any_size_is_kept_and_read_back(void **unused)
{
    (void)unused;
    const uint32_t record = LP_LOG_RECORD_BYTES_MAX - (uint32_t)sizeof(struct store_message_head);
    const struct large larges[] = {
        {300000, 0, 10},
        {1000000, 70000, 700000},
        {13, 600000, 10},
        {13, 600000, 300000},
        {record - 2 - 1 - 8, 0, 0},      /* the body is in a second record, */
        {record - 2 - 1 - 8 - 8, 0, 0},  /* in the first, */
        {record - 2 - 1 - 8 + 1, 40, 8}, /* and its last property in a second */
        {2u * record, record, record},
    };
    static struct store_rig store;
    store_open(&store);
    store_start(&store);
    lp_session_confirm_select(store.client->session);
    for (uint32_t i = 0; i < LP_COUNT_OF(larges); i++) {
        large_send(&store, &larges[i], i + 1);
    }
    assert_int_equal(store.client->nacked, 0);
    assert_int_equal(store.client->confirmed, LP_COUNT_OF(larges));
    store_kill_and_start(&store);
    for (uint32_t i = 0; i < LP_COUNT_OF(larges); i++) {
        large_expect(&store, &larges[i], i + 1);
    }
    assert_int_equal(store_get(&store, "q", false), 0);
    store_close(&store);
}

/* ---- the first sync ---- */

static void
note_log(void *context, uint32_t shard, const struct lp_control_record *record)
{
    char *line = context;
    (void)shard;
    if (record->type == LP_CONTROL_LOG) {
        struct lp_reader reader = lp_reader_of_bytes(record->payload);
        (void)lp_reader_u8(&reader);
        const struct lp_bytes text = lp_reader_long_le(&reader);
        assert_true(text.size < 256);
        memcpy(line, text.data, text.size);
        line[text.size] = 0;
    }
}

/* All of it; or what was taken is given back. */
static void
memory_take(struct store_rig *store, bool take)
{
    static void *taken[65536];
    static uint32_t count;
    struct lp_memory *memory = store_broker(store)->memory;
    for (uint32_t bytes = 1u << 20; take && bytes >= 32; bytes /= 2) {
        void *block;
        while ((block = lp_memory_alloc(memory, bytes)) != NULL) {
            assert_true(count < LP_COUNT_OF(taken));
            taken[count++] = block;
        }
    }
    while (!take && count > 0) {
        lp_memory_release(memory, &taken[--count]);
    }
}

/* What is kept is known again, and memory is full; then the queues are named. */
static void
start_without_memory(struct store_rig *store)
{
    rig_boot(&store->rig, 1, store->memory_bytes);
    rig_settle(&store->rig);
    assert_true(lp_store_ready(store_broker(store)));
    store_control_say(store, LP_CONTROL_SYNC_BEGIN);
    rig_vhost_up(&store->rig);
    rig_exchange_up(&store->rig, 1, "", LP_EXCHANGE_DIRECT);
    rig_settle(&store->rig);
    memory_take(store, true);
    rig_exchange_up(&store->rig, 2, "fan", LP_EXCHANGE_FANOUT);
    store_queue_up(store, &store->queue[0]);
    store_control_say(store, LP_CONTROL_SYNC_END);
    rig_settle(&store->rig);
}

static void
a_start_without_memory_for_the_queues_loses_nothing(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store_start(&store);
    lp_session_confirm_select(store.client->session);
    store_send(&store, "q", 1, 100);
    assert_int_equal(store.client->confirmed, 100);
    store_kill(&store);
    start_without_memory(&store);
    assert_int_equal(store.rig.shard[0]->failed, LP_ERR_NO_MEMORY);
    assert_false(lp_store_all_known(store_broker(&store)));
    memory_take(&store, false);
    store_kill_and_start(&store);
    assert_int_equal(store.rig.shard[0]->failed, LP_OK);
    store_expect(&store, "q", 1, 100);
    store_close(&store);
}

/* It is not damage that memory is smaller than it was. */
static void
a_log_that_does_not_fit_memory_is_not_called_damaged(void **unused)
{
    (void)unused;
    static struct store_rig store;
    struct lp_shard_recovery recovery;
    store_open(&store);
    store_start(&store);
    store_send(&store, "q", 1, 60000);
    store_kill(&store);
    rig_boot(&store.rig, 1, 8u << 20);
    rig_settle(&store.rig);
    lp_shard_recovery(store.rig.shard[0], &recovery);
    assert_int_equal(recovery.state, LP_SHARD_DAMAGED);
    assert_true(recovery.no_memory);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").ready, 60000);
    store_close(&store);
}

/* Of what is free no two spans lie side by side, for the rest of this life. */
static void
memory_cut(struct store_rig *store)
{
    static void *spans[4096];
    uint32_t count = 0;
    struct lp_memory *memory = store_broker(store)->memory;
    void *span;
    while ((span = lp_memory_alloc(memory, LP_SPAN_BYTES)) != NULL) {
        assert_true(count < LP_COUNT_OF(spans));
        spans[count++] = span;
    }
    for (uint32_t i = 0; i < count; i++) {
        if ((uintptr_t)spans[i] / LP_SPAN_BYTES % 2 == 0) {
            lp_memory_release(memory, &spans[i]);
        }
    }
    assert_null(lp_memory_alloc(memory, 2 * LP_SPAN_BYTES));
}

static void
a_queue_of_any_length_is_written_down_and_found_in_memory_that_is_cut(void **unused)
{
    (void)unused;
    static struct store_rig store;
    struct lp_log_stats before;
    struct lp_log_stats after;
    store_open(&store);
    store_start(&store);
    store_send(&store, "q", 1, 30000);
    memory_cut(&store);
    lp_log_stats(store_of(&store)->log, &before);
    client_close(store.client);
    store.client = NULL;
    lp_store_close_begin(store_broker(&store));
    rig_settle(&store.rig);
    assert_true(lp_store_closed(store_broker(&store)));
    lp_log_stats(store_of(&store)->log, &after);
    assert_int_equal(after.checkpoints, before.checkpoints + 1);
    store_kill(&store);

    rig_boot(&store.rig, 1, store.memory_bytes);
    memory_cut(&store);
    rig_settle(&store.rig);
    assert_true(lp_store_ready(store_broker(&store)));
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").ready, 30000);
    store_expect(&store, "q", 1, 100);
    store_close(&store);
}

static void
messages_of_queues_that_are_no_more_are_dropped_with_a_word(void **unused)
{
    (void)unused;
    static struct store_rig store;
    static char line[256];
    store_open(&store);
    (void)store_queue_add(&store, "other");
    store_start(&store);
    store_send(&store, "q", 1, 3);
    store_send(&store, "other", 1, 4);
    store_expect(&store, "other", 1, 1);
    store.rig.on_record = note_log;
    store.rig.record_context = line;
    store_kill(&store);
    store.queue_count = 1;
    store_start(&store);
    assert_string_equal(line, "3 messages of 1 queue that does not exist any more: dropped");
    store_expect(&store, "q", 1, 3);
    line[0] = 0;
    store_kill_and_start(&store);
    assert_string_equal(line, "");
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_confirmed_is_there_after_a_kill),
        cmocka_unit_test(nothing_is_confirmed_before_it_is_on_disk),
        cmocka_unit_test(what_never_has_to_be_written_is_confirmed),
        cmocka_unit_test(a_start_without_memory_for_the_queues_loses_nothing),
        cmocka_unit_test(a_log_that_does_not_fit_memory_is_not_called_damaged),
        cmocka_unit_test(a_queue_of_any_length_is_written_down_and_found_in_memory_that_is_cut),
        cmocka_unit_test(messages_of_queues_that_are_no_more_are_dropped_with_a_word),
        cmocka_unit_test(a_head_of_any_size_is_kept_and_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
