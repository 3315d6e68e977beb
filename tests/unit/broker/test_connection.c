/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that wait, and contents that may begin.
 *
 * Method: connections of a broker that has memory and nothing else, over a
 * transport that only remembers whether it may receive, with a protocol that
 * takes records of length and body.  Input: random records in random pieces,
 * with random pauses and budgets.  Contents: the watermark by hand.
 */
#include <lepus/protocol.h>

#include "dataplane/broker/broker.h"
#include "dataplane/broker/connection_turn.h"
#include "tests/unit/base/base_test.h"

#define ARENA_BYTES (64u << 20)
#define MARK_BYTES  (ARENA_BYTES / 2)
#define RECORD_MAX  140000u /* a frame of the largest size, and more */
#define CONNECTIONS 8u

struct bench {
    struct arena arena;
    struct lp_broker broker;
    struct lp_stats_page stats;
    struct lp_connection *connection[CONNECTIONS];
    bool receiving[CONNECTIONS];
    uint32_t held;    /* told that they wait, and not yet that they go on */
    uint32_t records; /* taken by the protocol */
    uint32_t budget;  /* records an input; then it asks for another go */
    void *hog;
};

/* ---- a transport, a protocol ---- */

static void
stream_attach(void *self, lp_handle stream, uint64_t user)
{
    (void)self;
    (void)stream;
    (void)user;
}

static void
stream_stop(void *self, lp_handle stream)
{
    struct bench *bench = self;
    assert_true(bench->receiving[stream]);
    bench->receiving[stream] = false;
}

static void
stream_start(void *self, lp_handle stream)
{
    struct bench *bench = self;
    assert_false(bench->receiving[stream]);
    bench->receiving[stream] = true;
}

static void
stream_close(void *self, lp_handle stream)
{
    (void)self;
    (void)stream;
    fail_msg("a connection was dropped");
}

static const struct lp_transport_ops transport_ops = {
    .name = "none",
    .attach = stream_attach,
    .receive_stop = stream_stop,
    .receive_start = stream_start,
    .close = stream_close,
};

static bool
protocol_open(struct lp_connection *connection)
{
    (void)connection;
    return true;
}

/* A record: its size, its number, and bytes that follow from both. */
static uint8_t
record_byte(uint32_t number, uint32_t at)
{
    return (uint8_t)(number * 131u + at * 7u + at / 251u);
}

static uint32_t
protocol_input(struct lp_connection *connection, const uint8_t *data, uint32_t bytes)
{
    struct bench *bench = connection->broker->transport.self;
    uint32_t used = 0;
    for (uint32_t n = 0; n < bench->budget && connection->pauses == 0; n++) {
        struct lp_reader reader = lp_reader_of(data + used, bytes - used);
        const uint32_t size = lp_reader_u32be(&reader);
        const struct lp_bytes body = lp_reader_bytes(&reader, size);
        if (reader.failed) {
            return used;
        }
        for (uint32_t i = 0; i < size; i++) {
            assert_int_equal(body.data[i], record_byte(bench->records, i));
        }
        bench->records++;
        used += size + 4;
    }
    if (connection->pauses == 0 && used < bytes) {
        lp_connection_again(connection);
    }
    return used;
}

static void
protocol_held(struct lp_connection *connection, bool held)
{
    struct bench *bench = connection->broker->transport.self;
    bench->held += held ? 1 : UINT32_MAX;
}

static void
protocol_gone(struct lp_connection *connection)
{
    (void)connection;
}

static const struct lp_protocol protocol = {
    .name = "records",
    .connection_bytes = 64,
    .open = protocol_open,
    .input = protocol_input,
    .held = protocol_held,
    .gone = protocol_gone,
};

/* ---- the bench ---- */

static void
bench_open(struct bench *bench)
{
    *bench = (struct bench){.budget = UINT32_MAX};
    struct lp_broker *broker = &bench->broker;
    arena_init(&bench->arena, ARENA_BYTES);
    broker->memory = bench->arena.memory;
    broker->transport = (struct lp_transport){&transport_ops, bench};
    broker->stats = &bench->stats;
    broker->now_ns = 1;
    lp_list_init(&broker->connections_flush);
    lp_list_init(&broker->connections_resume);
    lp_list_init(&broker->connections_paused);
    assert_int_equal(lp_pool_init_boot(&broker->connections, "connections", broker->memory,
                                       sizeof(struct lp_connection), CONNECTIONS),
                     LP_OK);
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        const struct lp_transport_event event = {.kind = LP_TRANSPORT_ACCEPTED, .stream = i + 1};
        bench->receiving[i] = true;
        assert_true(lp_connection_open(broker, &protocol, &event));
    }
    uint32_t cursor = 0;
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        lp_handle handle;
        bench->connection[i] = lp_pool_next(&broker->connections, &cursor, &handle);
        bench->connection[i]->stream = i; /* which end is whose */
    }
}

/* Use memory up to `bytes` in all, as queues do. */
static void
hog_set(struct bench *bench, uint64_t bytes)
{
    struct lp_memory *memory = bench->broker.memory;
    while (lp_memory_used_bytes(memory) > bytes && bench->hog) {
        void *block = bench->hog;
        memcpy(&bench->hog, block, sizeof(bench->hog));
        lp_memory_release(memory, &block);
    }
    while (lp_memory_used_bytes(memory) + LP_SPAN_BYTES <= bytes) {
        void *block = lp_memory_alloc(memory, LP_SPAN_BYTES);
        assert_non_null(block);
        memcpy(block, &bench->hog, sizeof(bench->hog));
        bench->hog = block;
    }
}

static void
bench_close(struct bench *bench)
{
    hog_set(bench, 0);
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        lp_connection_closed(bench->connection[i]);
        lp_connection_release(bench->connection[i]);
    }
    assert_int_equal(bench->broker.contents_promised_bytes, 0);
    assert_int_equal(bench->broker.contents_arrived_bytes, 0);
    assert_int_equal(lp_memory_aside_bytes(bench->broker.memory), 0);
    lp_pool_fini(&bench->broker.connections);
    arena_fini(&bench->arena);
}

/* What the shard's turn does with those that asked for another go. */
static void
turn(struct bench *bench)
{
    struct lp_list *link = lp_list_pop_front(&bench->broker.connections_resume);
    if (link) {
        lp_connection_input_kept(LP_LIST_ITEM(link, struct lp_connection, in_resume));
    }
}

/* ---- input ---- */

struct feed {
    struct random random;
    uint8_t bytes[RECORD_MAX + 4];
    uint32_t size;
    uint32_t given;
    uint32_t number;
};

static void
feed_next(struct feed *feed)
{
    const uint32_t most = random_below(&feed->random, 4) == 0 ? RECORD_MAX : 300;
    const uint32_t size = random_below(&feed->random, most);
    struct lp_writer writer = lp_writer_of(feed->bytes, sizeof(feed->bytes));
    lp_writer_u32be(&writer, size);
    for (uint32_t i = 0; i < size; i++) {
        feed->bytes[4 + i] = record_byte(feed->number, i);
    }
    feed->size = size + 4;
    feed->given = 0;
    feed->number++;
}

static void
feed_some(struct feed *feed, struct lp_connection *connection)
{
    if (feed->given == feed->size) {
        feed_next(feed);
    }
    const uint32_t most = random_below(&feed->random, 3) == 0 ? 70000 : 40;
    const uint32_t some = 1 + random_below(&feed->random, most);
    const uint32_t piece = LP_MIN(some, feed->size - feed->given);
    lp_connection_received(connection, feed->bytes + feed->given, piece);
    feed->given += piece;
}

/* In any pieces, with any pauses, every record arrives, and nobody is left waiting. */
static void
input_arrives_whole_however_it_comes(void **unused)
{
    (void)unused;
    static struct feed feed;
    for (uint32_t seed = 0; seed < 40; seed++) {
        struct bench bench;
        bench_open(&bench);
        struct lp_connection *connection = bench.connection[0];
        feed = (struct feed){.random = {seed}};
        for (uint32_t step = 0; step < 1500; step++) {
            const uint32_t what = random_below(&feed.random, 20);
            bench.budget = what % 5 == 0 ? 1 : 3;
            if (what == 0 && connection->input_bytes < LP_INPUT_MAX_BYTES / 2) {
                lp_connection_pause(connection, LP_PAUSE_PARKED);
            } else if (what < 3) {
                lp_connection_resume(connection, LP_PAUSE_PARKED);
            } else if (what < 9 || connection->input_bytes > LP_INPUT_MAX_BYTES / 2) {
                turn(&bench);
            } else {
                feed_some(&feed, connection); /* also when it should stop: it was on its way */
            }
        }
        lp_connection_resume(connection, LP_PAUSE_PARKED);
        bench.budget = 1;
        while (!lp_list_empty(&bench.broker.connections_resume)) {
            turn(&bench);
        }
        assert_int_equal(bench.records, feed.number - (feed.given < feed.size));
        assert_true(bench.receiving[0]); /* what is left of a record waits for its rest */
        bench_close(&bench);
    }
}

static void
input_that_waits_stops_the_socket_and_presses_nobody(void **unused)
{
    (void)unused;
    static struct feed feed;
    struct bench bench;
    bench_open(&bench);
    feed = (struct feed){.random = {1}};
    hog_set(&bench, MARK_BYTES - LP_SPAN_BYTES);
    assert_false(lp_memory_pressed(bench.broker.memory));
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        lp_connection_pause(bench.connection[i], LP_PAUSE_PARKED);
        assert_false(bench.receiving[i]);
    }
    while (bench.connection[0]->input_bytes < 3 * LP_INPUT_FULL_BYTES) {
        feed_some(&feed, bench.connection[0]);
    }
    assert_true(lp_memory_aside_bytes(bench.broker.memory) >= 3 * LP_INPUT_FULL_BYTES);
    assert_false(lp_memory_pressed(bench.broker.memory));
    /* It may go on, and is still behind: the socket waits until that is better. */
    bench.budget = 1;
    lp_connection_resume(bench.connection[0], LP_PAUSE_PARKED);
    assert_false(bench.receiving[0]);
    while (!bench.receiving[0]) {
        assert_false(lp_list_empty(&bench.broker.connections_resume));
        turn(&bench);
    }
    assert_true(bench.connection[0]->input_bytes < LP_INPUT_FULL_BYTES);
    bench_close(&bench);
}

/* ---- contents ---- */

static enum lp_content
begin(struct bench *bench, uint32_t index, uint64_t bytes)
{
    return lp_connection_content_begin(bench->connection[index], bytes);
}

static void
arrive(struct bench *bench, uint32_t index, uint64_t bytes)
{
    bench->connection[index]->received_bytes += bytes;
    lp_connection_content_arrived(bench->connection[index], bytes);
}

/* So much of one had arrived, and more does not come. */
static void
end(struct bench *bench, uint32_t index, uint64_t arrived)
{
    lp_connection_content_end(bench->connection[index], arrived, UINT64_MAX);
}

static void
above_the_watermark_no_content_begins_but_one_may_be_finished(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    assert_int_equal(begin(&bench, 0, 5000), LP_CONTENT_BEGUN);
    hog_set(&bench, MARK_BYTES + 2 * LP_SPAN_BYTES);
    assert_int_equal(begin(&bench, 1, 10), LP_CONTENT_HELD);
    assert_false(bench.receiving[1]);
    assert_int_equal(bench.held, 1);
    assert_true(bench.receiving[0]);
    arrive(&bench, 0, 5000);
    end(&bench, 0, 5000);
    assert_int_equal(begin(&bench, 0, 0), LP_CONTENT_HELD); /* an empty one is one */
    hog_set(&bench, MARK_BYTES / 2);
    lp_connection_resume(bench.connection[1], LP_PAUSE_MEMORY); /* as the turn does */
    assert_true(bench.receiving[1]);
    assert_int_equal(begin(&bench, 1, 10), LP_CONTENT_BEGUN);
    end(&bench, 1, 0);
    bench_close(&bench);
}

static void
contents_begin_when_those_before_leave_room_for_them(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    hog_set(&bench, MARK_BYTES - 40 * LP_SPAN_BYTES);
    const uint64_t half = 20u * LP_SPAN_BYTES;
    assert_int_equal(begin(&bench, 0, half), LP_CONTENT_BEGUN);
    assert_int_equal(begin(&bench, 1, half), LP_CONTENT_BEGUN);
    assert_int_equal(begin(&bench, 2, half), LP_CONTENT_LATER);
    end(&bench, 0, 0);
    assert_int_equal(begin(&bench, 2, half), LP_CONTENT_BEGUN);
    end(&bench, 1, 0);
    end(&bench, 2, 0);
    /* One that is larger than all there is begins alone. */
    assert_int_equal(begin(&bench, 3, MARK_BYTES), LP_CONTENT_BEGUN);
    assert_int_equal(begin(&bench, 4, 1), LP_CONTENT_LATER);
    end(&bench, 3, 0);
    bench_close(&bench);
}

static void
who_was_promised_much_and_sends_little_holds_nobody_up(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(begin(&bench, i, MARK_BYTES / 5), LP_CONTENT_BEGUN);
    }
    assert_int_equal(begin(&bench, 5, MARK_BYTES / 4), LP_CONTENT_LATER);
    bench.broker.now_ns += 6000000000u;
    for (uint32_t i = 0; i < 4; i++) {
        arrive(&bench, i, i == 2 ? 100 : 2u << 20);
    }
    assert_int_equal(begin(&bench, 5, MARK_BYTES / 2), LP_CONTENT_BEGUN);
    assert_int_equal(bench.connection[2]->promised_bytes, 0);
    assert_true(bench.connection[3]->promised_bytes > 0);
    arrive(&bench, 2, 1000); /* it goes on all the same */
    for (uint32_t i = 0; i < 4; i++) {
        end(&bench, i, i == 2 ? 1100 : 2u << 20);
    }
    end(&bench, 5, 0);
    bench_close(&bench);
}

static void
a_content_behind_another_of_its_connection_always_begins(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    assert_int_equal(begin(&bench, 0, MARK_BYTES / 2), LP_CONTENT_BEGUN);
    assert_int_equal(begin(&bench, 0, MARK_BYTES), LP_CONTENT_BEGUN);
    /* Its pieces alone are above the watermark: nobody could make room for it by consuming. */
    arrive(&bench, 0, MARK_BYTES - 10 * LP_SPAN_BYTES);
    hog_set(&bench, MARK_BYTES + LP_SPAN_BYTES);
    assert_int_equal(begin(&bench, 0, 10), LP_CONTENT_BEGUN);
    end(&bench, 0, 0);
    /* What is whole can be consumed: then it waits for that. */
    end(&bench, 0, MARK_BYTES - 10 * LP_SPAN_BYTES);
    assert_int_equal(begin(&bench, 0, 10), LP_CONTENT_LATER);
    assert_int_equal(bench.held, 0);
    end(&bench, 0, 0);
    bench_close(&bench);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_arrives_whole_however_it_comes),
        cmocka_unit_test(input_that_waits_stops_the_socket_and_presses_nobody),
        cmocka_unit_test(above_the_watermark_no_content_begins_but_one_may_be_finished),
        cmocka_unit_test(contents_begin_when_those_before_leave_room_for_them),
        cmocka_unit_test(who_was_promised_much_and_sends_little_holds_nobody_up),
        cmocka_unit_test(a_content_behind_another_of_its_connection_always_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
