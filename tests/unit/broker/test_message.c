/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message is the bytes that came, however they came, and goes with its last
 * loan.
 *
 * Method: bodies appended at every split and compared byte by byte; sizes
 * around a chunk's; and a reservation that runs out at every step.
 */
#include "dataplane/broker/message.h"

#include "tests/unit/base/base_test.h"

#define ARENA_BYTES (8u << 20)
#define BODY_MAX    (5u * LP_CHUNK_BYTES_MAX)

struct bench {
    struct arena arena;
    struct lp_messages messages;
    uint64_t used_at_start;
};

static uint8_t content[BODY_MAX];

static void
bench_open(struct bench *bench)
{
    for (uint32_t i = 0; i < sizeof(content); i++) {
        content[i] = (uint8_t)(i * 31 + i / 257);
    }
    arena_init(&bench->arena, ARENA_BYTES);
    lp_messages_init(&bench->messages, bench->arena.memory);
    bench->used_at_start = lp_memory_used_bytes(bench->arena.memory);
}

static void
bench_close(struct bench *bench)
{
    assert_int_equal(bench->messages.used, 0);
    assert_int_equal(lp_memory_used_bytes(bench->arena.memory), bench->used_at_start);
    arena_fini(&bench->arena);
}

static struct lp_message *
make(struct bench *bench, uint32_t properties, uint64_t body, lp_handle *ret_handle)
{
    const struct lp_message_parts parts = {
        .exchange = lp_bytes_of_text("an exchange"),
        .key = lp_bytes_of_text("a.key"),
        .properties = lp_bytes_of(content, properties),
        .body_bytes = body,
        .protocol = LP_PROTOCOL_AMQP091,
        .flags = LP_MESSAGE_PERSISTENT,
        .priority = 7,
    };
    return lp_message_make(&bench->messages, &parts, ret_handle);
}

/* The message says what was put in; the body is read in pieces of at most `piece`. */
static void
compare(const struct lp_message *message, uint32_t properties, uint64_t body_bytes, uint32_t piece)
{
    assert_true(lp_bytes_equal_text(lp_message_exchange(message), "an exchange"));
    assert_true(lp_bytes_equal_text(lp_message_key(message), "a.key"));
    assert_true(lp_bytes_equal(lp_message_properties(message), lp_bytes_of(content, properties)));
    assert_int_equal(message->body_bytes, body_bytes);
    assert_int_equal(lp_message_body_have(message), body_bytes);
    assert_int_equal(message->priority, 7);
    struct lp_message_body body = lp_message_body(message);
    uint64_t at = 0;
    struct lp_bytes bytes;
    while ((bytes = lp_message_body_next(&body, piece)).size > 0) {
        assert_true(bytes.size <= piece);
        assert_true(at + bytes.size <= body_bytes);
        assert_memory_equal(bytes.data, content + at, bytes.size);
        at += bytes.size;
    }
    assert_int_equal(at, body_bytes);
    assert_int_equal(lp_message_body_next(&body, piece).size, 0);
}

static void
append(struct bench *bench, struct lp_message *message, uint64_t from, uint64_t to)
{
    assert_true(lp_message_append(&bench->messages, message,
                                  lp_bytes_of(content + from, (uint32_t)(to - from))));
}

static void
a_body_is_the_same_at_every_split(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    for (uint32_t body = 0; body <= 150; body += 50) {
        for (uint32_t split = 0; split <= body; split++) {
            lp_handle handle;
            struct lp_message *message = make(&bench, 20, body, &handle);
            assert_non_null(message);
            append(&bench, message, 0, split);
            append(&bench, message, split, body);
            compare(message, 20, body, 7);
            lp_message_free(&bench.messages, handle);
        }
    }
    bench_close(&bench);
}

/* Around the sizes at which a chunk is full, with splits around them too. */
static void
large_bodies_run_over_chunks(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    const uint32_t first = LP_CHUNK_BYTES_MAX - (uint32_t)sizeof(struct lp_message) - (18 + 20);
    const uint32_t room = LP_CHUNK_BYTES_MAX - (uint32_t)sizeof(struct lp_chunk);
    const uint32_t edges[] = {first, first + room, first + 3 * room};
    for (uint32_t i = 0; i < LP_COUNT_OF(edges); i++) {
        for (uint32_t body = edges[i] - 2; body <= edges[i] + 2; body++) {
            for (uint32_t split = edges[0] - 2; split <= edges[0] + 2 && split <= body; split++) {
                lp_handle handle;
                struct lp_message *message = make(&bench, 20, body, &handle);
                assert_non_null(message);
                append(&bench, message, 0, split);
                append(&bench, message, split, body);
                compare(message, 20, body, 4096);
                lp_message_free(&bench.messages, handle);
            }
        }
    }
    bench_close(&bench);
}

static void
a_body_in_random_frames_is_whole(void **unused)
{
    (void)unused;
    struct bench bench;
    struct random random = {3};
    bench_open(&bench);
    for (uint32_t round = 0; round < 200; round++) {
        const uint32_t body = random_below(&random, BODY_MAX);
        const uint32_t frame = 1 + random_below(&random, round % 2 ? 200000 : 3000);
        lp_handle handle;
        struct lp_message *message = make(&bench, 20, body, &handle);
        assert_non_null(message);
        uint64_t at = 0;
        while (at < body) {
            const uint64_t next = at + 1 + random_below(&random, frame);
            const uint64_t to = LP_MIN(next, (uint64_t)body);
            append(&bench, message, at, to);
            at = to;
        }
        compare(message, 20, body, 1 + random_below(&random, 50000));
        lp_message_free(&bench.messages, handle);
    }
    bench_close(&bench);
}

static void
properties_larger_than_a_chunk_stay_in_one_piece(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    const uint32_t room = LP_CHUNK_BYTES_MAX - (uint32_t)sizeof(struct lp_message) - 18;
    const uint32_t sizes[] = {room - 1, room, room + 1, 128u * 1024u};
    for (uint32_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        for (uint32_t body = 0; body <= 40000; body += 20000) {
            lp_handle handle;
            struct lp_message *message = make(&bench, sizes[i], body, &handle);
            assert_non_null(message);
            append(&bench, message, 0, body);
            compare(message, sizes[i], body, UINT32_MAX);
            lp_message_free(&bench.messages, handle);
        }
    }
    bench_close(&bench);
}

static void
the_last_loan_frees(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    lp_handle handle;
    struct lp_message *message = make(&bench, 20, 100000, &handle);
    assert_non_null(message);
    append(&bench, message, 0, 100000);
    message->loans = 5;
    lp_message_unlend(&bench.messages, handle, 2);
    lp_message_unlend(&bench.messages, handle, 2);
    compare(message, 20, 100000, 1000);
    lp_message_unlend(&bench.messages, handle, 1);
    bench_close(&bench);
}

struct loan {
    struct bench *bench;
    lp_handle handle;
};

static void
unlend_two(void *context)
{
    const struct loan *loan = context;
    lp_message_unlend(&loan->bench->messages, loan->handle, 2);
}

static void
free_lent(void *context)
{
    const struct loan *loan = context;
    lp_message_free(&loan->bench->messages, loan->handle);
}

static void
a_loan_cannot_come_back_twice(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    struct loan loan = {.bench = &bench};
    struct lp_message *message = make(&bench, 0, 0, &loan.handle);
    assert_non_null(message);
    message->loans = 1;
    assert_true(lp_test_panics(unlend_two, &loan));
    assert_true(lp_test_panics(free_lent, &loan));
    lp_message_unlend(&bench.messages, loan.handle, 1);
    bench_close(&bench);
}

/* Blocks chained through their first word, until `left` bytes are left. */
static void *
hog(struct lp_memory *memory, uint64_t left)
{
    void *chain = NULL;
    while (lp_memory_limit_bytes(memory) - lp_memory_used_bytes(memory) >= left + LP_SPAN_BYTES) {
        void **block = lp_memory_alloc(memory, LP_SPAN_BYTES);
        if (!block) {
            break;
        }
        *block = chain;
        chain = block;
    }
    return chain;
}

static void
hog_free(struct lp_memory *memory, void *chain)
{
    while (chain) {
        void *block = chain;
        chain = *(void **)block;
        lp_memory_release(memory, &block);
    }
}

static void
an_append_without_memory_appends_nothing(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    struct lp_memory *memory = bench.arena.memory;
    for (uint64_t spans = 0; spans < 6; spans++) {
        lp_handle handle;
        struct lp_message *message = make(&bench, 20, BODY_MAX, &handle);
        assert_non_null(message);
        append(&bench, message, 0, 1000);
        void *chain = hog(memory, spans * LP_SPAN_BYTES);
        const uint64_t used = lp_memory_used_bytes(memory);
        /* The rest of the body at once: it needs several chunks, and gets all of them or none. */
        if (!lp_message_append(&bench.messages, message,
                               lp_bytes_of(content + 1000, BODY_MAX - 1000))) {
            assert_int_equal(lp_memory_used_bytes(memory), used);
            assert_int_equal(lp_message_body_have(message), 1000);
            assert_null(lp_message_chunks(message));
            hog_free(memory, chain);
            chain = NULL;
            append(&bench, message, 1000, BODY_MAX);
        } else {
            assert_true(spans > 0);
        }
        compare(message, 20, BODY_MAX, 5000);
        hog_free(memory, chain);
        lp_message_free(&bench.messages, handle);
    }
    bench_close(&bench);
}

static void
annotations_are_found_by_their_tag(void **unused)
{
    (void)unused;
    struct bench bench;
    uint8_t room[64];
    struct lp_writer notes = lp_writer_of(room, sizeof(room));
    bench_open(&bench);
    lp_writer_u8(&notes, LP_ANNOTATION_DEATHS);
    lp_writer_long_le(&notes, lp_bytes_of_text("deaths"));
    lp_writer_u8(&notes, LP_ANNOTATION_HIDDEN);
    lp_writer_long_le(&notes, lp_bytes_of_text("hidden"));
    const struct lp_message_parts parts = {
        .properties = lp_bytes_of(content, 20),
        .annotations = lp_writer_bytes(&notes),
    };
    lp_handle handle;
    const struct lp_message *message = lp_message_make(&bench.messages, &parts, &handle);
    assert_non_null(message);
    assert_true(
        lp_bytes_equal_text(lp_message_annotation(message, LP_ANNOTATION_DEATHS), "deaths"));
    assert_true(
        lp_bytes_equal_text(lp_message_annotation(message, LP_ANNOTATION_HIDDEN), "hidden"));
    assert_int_equal(lp_message_annotation(message, LP_ANNOTATION_KEYS).size, 0);
    lp_message_free(&bench.messages, handle);
    message = make(&bench, 20, 0, &handle);
    assert_int_equal(lp_message_annotation(message, LP_ANNOTATION_DEATHS).size, 0);
    lp_message_free(&bench.messages, handle);
    bench_close(&bench);
}

static void
a_body_that_moves_is_the_same_behind_other_names(void **unused)
{
    (void)unused;
    static const uint32_t bodies[] = {1, 100, 32700, 32736, 32768, BODY_MAX};
    static const uint32_t properties[] = {2, 20, 40000};
    struct bench bench;
    bench_open(&bench);
    for (uint32_t i = 0; i < LP_COUNT_OF(bodies) * LP_COUNT_OF(properties); i++) {
        const uint32_t body = bodies[i % LP_COUNT_OF(bodies)];
        lp_handle handle;
        lp_handle old_handle;
        struct lp_message *old =
            make(&bench, properties[i / LP_COUNT_OF(bodies)], body, &old_handle);
        assert_non_null(old);
        append(&bench, old, 0, body);
        old->loans = 1;
        const struct lp_message_parts parts = {
            .exchange = lp_bytes_of_text("an exchange"),
            .key = lp_bytes_of_text("a.key"),
            .properties = lp_bytes_of(content, 333),
            .body_bytes = body,
            .flags = LP_MESSAGE_OWN,
            .priority = 7,
            .body_from = old,
        };
        struct lp_message *message = lp_message_make(&bench.messages, &parts, &handle);
        assert_non_null(message);
        lp_message_move_body(message, old);
        lp_message_unlend(&bench.messages, old_handle, 1);
        compare(message, 333, body, 5000);
        message->loans = 1;
        lp_message_unlend(&bench.messages, handle, 1);
    }
    bench_close(&bench);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_is_the_same_at_every_split),
        cmocka_unit_test(large_bodies_run_over_chunks),
        cmocka_unit_test(a_body_in_random_frames_is_whole),
        cmocka_unit_test(properties_larger_than_a_chunk_stay_in_one_piece),
        cmocka_unit_test(the_last_loan_frees),
        cmocka_unit_test(a_loan_cannot_come_back_twice),
        cmocka_unit_test(an_append_without_memory_appends_nothing),
        cmocka_unit_test(annotations_are_found_by_their_tag),
        cmocka_unit_test(a_body_that_moves_is_the_same_behind_other_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
