/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CC and BCC: which keys they come to, what is left of the headers, and what
 * is no list of keys (C99).
 */
#include "dataplane/protocol/amqp091/copies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <lepus/field_table.h>

#define MEMORY_BYTES (4u << 20)

struct bench {
    void *reservation;
    struct lp_memory *memory;
    uint64_t used_at_start;
    uint8_t room[1024];
    struct lp_writer writer;
    size_t table;
    struct lp_bytes raw;
    struct amqp091_properties properties;
    struct lp_message_parts parts;
    void *block;
};

static void
bench_open(struct bench *bench)
{
    bench->reservation = aligned_alloc(LP_SPAN_BYTES, MEMORY_BYTES);
    assert_non_null(bench->reservation);
    memset(bench->reservation, 0, MEMORY_BYTES);
    assert_int_equal(
        lp_memory_init_boot(bench->reservation, MEMORY_BYTES, MEMORY_BYTES, &bench->memory), LP_OK);
    bench->used_at_start = lp_memory_used_bytes(bench->memory);
}

static void
bench_close(struct bench *bench)
{
    assert_int_equal(lp_memory_used_bytes(bench->memory), bench->used_at_start);
    lp_memory_fini(&bench->memory);
    free(bench->reservation);
}

/* Properties: a content type, headers, a message id. */
static void
headers_begin(struct bench *bench)
{
    bench->writer = lp_writer_of(bench->room, sizeof(bench->room));
    lp_writer_u16be(&bench->writer, AMQP091_CONTENT_TYPE | AMQP091_HEADERS | AMQP091_MESSAGE_ID);
    lp_writer_short(&bench->writer, lp_bytes_of_text("text"));
    bench->table = lp_writer_size(&bench->writer);
    lp_writer_u32be(&bench->writer, 0);
}

static void
header_text(struct bench *bench, const char *name, const char *text)
{
    lp_writer_short(&bench->writer, lp_bytes_of_text(name));
    lp_writer_u8(&bench->writer, 'S');
    lp_writer_long_be(&bench->writer, lp_bytes_of_text(text));
}

/* An array of texts; "#" is an element of another type. */
static void
header_keys(struct bench *bench, const char *name, const char *const *keys, uint32_t count)
{
    lp_writer_short(&bench->writer, lp_bytes_of_text(name));
    lp_writer_u8(&bench->writer, 'A');
    const size_t at = lp_writer_size(&bench->writer);
    lp_writer_u32be(&bench->writer, 0);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(keys[i], "#") == 0) {
            lp_writer_u8(&bench->writer, 'I');
            lp_writer_u32be(&bench->writer, 5);
        } else {
            lp_writer_u8(&bench->writer, 'S');
            lp_writer_long_be(&bench->writer, lp_bytes_of_text(keys[i]));
        }
    }
    lp_writer_patch_u32be(&bench->writer, at, (uint32_t)(lp_writer_size(&bench->writer) - at - 4));
}

static void
headers_end(struct bench *bench)
{
    lp_writer_patch_u32be(&bench->writer, bench->table,
                          (uint32_t)(lp_writer_size(&bench->writer) - bench->table - 4));
    lp_writer_short(&bench->writer, lp_bytes_of_text("id"));
    assert_false(bench->writer.failed);
    bench->raw = lp_writer_bytes(&bench->writer);
}

static void
take(struct bench *bench)
{
    assert_true(amqp091_properties_read(bench->raw, &bench->properties));
    memset(&bench->parts, 0, sizeof(bench->parts));
    bench->parts.properties = bench->raw;
    assert_true(
        amqp091_copies_take(bench->memory, &bench->properties, &bench->parts, &bench->block));
}

static void
give_back(struct bench *bench)
{
    if (bench->block) {
        lp_memory_release(bench->memory, &bench->block);
    }
}

/* The keys of a section, with blanks between. */
static const char *
section(const struct bench *bench, enum lp_annotation which)
{
    static char text[256];
    struct lp_reader reader = lp_reader_of_bytes(bench->parts.annotations);
    size_t at = 0;
    while (lp_reader_left(&reader) > 0) {
        const uint8_t tag = lp_reader_u8(&reader);
        const struct lp_bytes content = lp_reader_long_le(&reader);
        struct lp_reader keys = lp_reader_of_bytes(tag == which ? content : lp_bytes_of("", 0));
        while (lp_reader_left(&keys) > 0) {
            const struct lp_bytes key = lp_reader_long_le(&keys);
            memcpy(text + at, key.data, key.size);
            at += key.size;
            text[at++] = ' ';
        }
        assert_false(keys.failed);
    }
    assert_false(reader.failed);
    text[at > 0 ? at - 1 : 0] = '\0';
    return text;
}

static void
keys_are_found_and_bcc_goes(void **unused)
{
    (void)unused;
    static const char *const to[] = {"a", "#", "bb"};
    static const char *const blind[] = {"c", "dd"};
    struct bench bench;
    bench_open(&bench);
    for (uint32_t order = 0; order < 4; order++) { /* BCC first, between, last, alone */
        headers_begin(&bench);
        if (order == 0) {
            header_keys(&bench, "BCC", blind, 2);
        }
        header_text(&bench, "before", "1");
        if (order == 1) {
            header_keys(&bench, "BCC", blind, 2);
        }
        if (order != 3) {
            header_keys(&bench, "CC", to, 3);
            header_text(&bench, "after", "2");
        }
        if (order >= 2) {
            header_keys(&bench, "BCC", blind, 2);
        }
        headers_end(&bench);
        take(&bench);
        assert_non_null(bench.block);
        assert_string_equal(section(&bench, LP_ANNOTATION_KEYS), order == 3 ? "c dd" : "a bb c dd");
        assert_string_equal(section(&bench, LP_ANNOTATION_HIDDEN), "c dd");
        struct amqp091_properties stored;
        struct lp_field field;
        assert_true(amqp091_properties_read(bench.parts.properties, &stored));
        assert_int_equal(stored.headers.size, bench.properties.headers.size);
        assert_int_equal(stored.headers.data - bench.parts.properties.data,
                         bench.properties.headers.data - bench.raw.data);
        assert_false(lp_field_find(stored.headers, "BCC", &field));
        assert_true(lp_field_find(stored.headers, "before", &field));
        assert_true(order == 3 || lp_field_find(stored.headers, "after", &field));
        assert_true(order == 3 || lp_field_find(stored.headers, "CC", &field));
        give_back(&bench);
    }
    bench_close(&bench);
}

static void
without_bcc_the_properties_stay_where_they_are(void **unused)
{
    (void)unused;
    static const char *const to[] = {"a"};
    struct bench bench;
    bench_open(&bench);
    headers_begin(&bench);
    header_keys(&bench, "CC", to, 1);
    header_keys(&bench, "CC", to, 0); /* a second one is just a header */
    headers_end(&bench);
    take(&bench);
    assert_true(bench.parts.properties.data == bench.raw.data);
    assert_string_equal(section(&bench, LP_ANNOTATION_KEYS), "a");
    assert_string_equal(section(&bench, LP_ANNOTATION_HIDDEN), "");
    give_back(&bench);
    headers_begin(&bench);
    header_keys(&bench, "CC", to, 0);
    headers_end(&bench);
    take(&bench);
    assert_int_equal(bench.parts.annotations.size, 0);
    give_back(&bench);
    bench_close(&bench);
}

static void
what_is_no_array_is_a_fault(void **unused)
{
    (void)unused;
    static const char *const keys[] = {"a"};
    static const char bcc[] = "invalid message: {unacceptable_type_in_header,\"BCC\",longstr}";
    static const char cc[] = "invalid message: {unacceptable_type_in_header,\"CC\",longstr}";
    struct bench bench;
    bench_open(&bench);
    for (uint32_t which = 0; which < 4; which++) {
        headers_begin(&bench);
        if (which & 1u) {
            header_text(&bench, "BCC", "text");
        } else {
            header_keys(&bench, "BCC", keys, 1);
        }
        if (which & 2u) {
            header_text(&bench, "CC", "text");
        } else {
            header_keys(&bench, "CC", keys, 1);
        }
        headers_end(&bench);
        take(&bench);
        if (which == 0) {
            assert_non_null(bench.block);
            give_back(&bench);
            continue;
        }
        assert_null(bench.block);
        assert_true(bench.parts.properties.data == bench.raw.data);
        struct lp_fault fault;
        amqp091_copies_fault(bench.properties.headers, &fault);
        assert_int_equal(fault.code, LP_FAULT_PRECONDITION_FAILED);
        assert_true(lp_bytes_equal_text(lp_bytes_of(fault.text, fault.text_bytes),
                                        (which & 2u) ? cc : bcc));
    }
    bench_close(&bench);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_found_and_bcc_goes),
        cmocka_unit_test(without_bcc_the_properties_stay_where_they_are),
        cmocka_unit_test(what_is_no_array_is_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
