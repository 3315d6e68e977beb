/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Are the types of RabbitMQ's field tables read with their widths and signs,
 * and is everything else called malformed?
 */
#include "tests/unit/base/base_test.h"

#include <lepus/field_table.h>

/* SPEC amqp091 4.2.5.5, as RabbitMQ reads it */
static const struct {
    char type;
    const char *name;
    uint32_t width; /* 0xff: four octets of length first */
    bool integer;
} types[] = {
    {'t', "bool", 1, false},       {'b', "byte", 1, true},          {'B', "unsignedbyte", 1, true},
    {'s', "short", 2, true},       {'u', "unsignedshort", 2, true}, {'I', "signedint", 4, true},
    {'i', "unsignedint", 4, true}, {'l', "long", 8, true},          {'L', "long", 8, true},
    {'f', "float", 4, false},      {'d', "double", 8, false},       {'D', "decimal", 5, false},
    {'S', "longstr", 0xff, false}, {'A', "array", 0xff, false},     {'T', "timestamp", 8, true},
    {'F', "table", 0xff, false},   {'V', "void", 0, false},         {'x', "binary", 0xff, false},
};

static int32_t
type_find(char type)
{
    for (uint32_t i = 0; i < LP_COUNT_OF(types); i++) {
        if (types[i].type == type) {
            return (int32_t)i;
        }
    }
    return -1;
}

static void
every_type_octet_is_known_or_refused(void **unused)
{
    (void)unused;
    for (uint32_t octet = 0; octet < 256; octet++) {
        const char type = (char)octet;
        const int32_t known = type_find(type);
        const uint8_t data[16] = {(uint8_t)octet};
        struct lp_reader reader = lp_reader_of(data, sizeof(data));
        struct lp_field field = {0};
        assert_int_equal(lp_field_value_read(&reader, &field), known >= 0);
        assert_int_equal(reader.failed, known < 0);
        assert_int_equal(lp_field_is_integer(type), known >= 0 && types[known].integer);
        assert_string_equal(lp_field_type_name(type), known >= 0 ? types[known].name : "unknown");
        if (known >= 0) {
            const uint32_t width = types[known].width;
            assert_int_equal(field.type, type);
            assert_int_equal(field.raw.size, width == 0xff ? 0 : width);
            assert_int_equal(lp_reader_left(&reader), 15 - (width == 0xff ? 4 : width));
        }
    }
}

static void
a_value_cut_short_is_malformed(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < LP_COUNT_OF(types); i++) {
        const uint32_t whole = 1 + (types[i].width == 0xff ? 4 + 3 : types[i].width);
        for (uint32_t size = 0; size <= whole; size++) {
            uint8_t *data = calloc(1, size + 1);
            assert_non_null(data);
            if (size > 0) {
                data[0] = (uint8_t)types[i].type;
            }
            if (types[i].width == 0xff && size > 4) {
                data[4] = 3;
            }
            struct lp_reader reader = lp_reader_of(data, size);
            struct lp_field field = {.type = '?'};
            assert_int_equal(lp_field_value_read(&reader, &field), size == whole);
            assert_int_equal(field.type, size == whole ? types[i].type : '?');
            free(data);
        }
    }
}

static int64_t
integer_of(const char *data, uint32_t size)
{
    struct lp_reader reader = lp_reader_of(data, size);
    struct lp_field field = {0};
    assert_true(lp_field_value_read(&reader, &field));
    assert_true(lp_field_is_integer(field.type));
    return lp_field_integer(&field);
}

static void
integers_keep_their_signs(void **unused)
{
    (void)unused;
    assert_true(integer_of("b\xff", 2) == -1);
    assert_true(integer_of("B\xff", 2) == 255);
    assert_true(integer_of("s\x80\x00", 3) == -32768);
    assert_true(integer_of("u\x80\x00", 3) == 32768);
    assert_true(integer_of("I\xff\xff\xff\xfe", 5) == -2);
    assert_true(integer_of("i\xff\xff\xff\xfe", 5) == 4294967294);
    assert_true(integer_of("l\xff\xff\xff\xff\xff\xff\xff\xfd", 9) == -3);
    assert_true(integer_of("L\x80\x00\x00\x00\x00\x00\x00\x00", 9) == INT64_MIN);
    assert_true(integer_of("T\x00\x00\x00\x00\x00\x00\x01\x00", 9) == 256);
}

static const char table[] = "\x01"
                            "aI\x00\x00\x00\x07"
                            "\x03"
                            "subF\x00\x00\x00\x05"
                            "\x01"
                            "ab\x05"
                            "x"
                            "\x01"
                            "zV"
                            "\x01"
                            "aS\x00\x00\x00\x02hi";

static void
fields_are_met_in_order_and_found_by_name(void **unused)
{
    (void)unused;
    /* The nested table's last octet is junk: it is skipped by length, not looked into. */
    const struct lp_bytes bytes = lp_bytes_of(table, sizeof(table) - 1);
    struct lp_reader reader = lp_reader_of_bytes(bytes);
    struct lp_field field;
    static const char expected[] = {'I', 'F', 'V', 'S'};
    for (size_t i = 0; i < sizeof(expected); i++) {
        assert_true(lp_field_next(&reader, &field));
        assert_int_equal(field.type, expected[i]);
    }
    assert_false(lp_field_next(&reader, &field));
    assert_false(reader.failed);

    assert_true(lp_field_find(bytes, "a", &field)); /* the first of two */
    assert_int_equal(lp_field_integer(&field), 7);
    assert_true(lp_field_find(bytes, "z", &field));
    assert_int_equal(field.raw.size, 0);
    assert_false(lp_field_find(bytes, "ab", &field));
    assert_false(lp_field_find(bytes, "", &field));
    assert_false(lp_field_find(lp_bytes_of(NULL, 0), "a", &field));
}

static void
a_table_cut_anywhere_is_malformed_or_ends_between_fields(void **unused)
{
    (void)unused;
    for (uint32_t size = 0; size < sizeof(table) - 1; size++) {
        uint8_t *data = malloc(size + 1);
        assert_non_null(data);
        memcpy(data, table, size);
        struct lp_reader reader = lp_reader_of(data, size);
        struct lp_field field;
        uint32_t fields = 0;
        while (lp_field_next(&reader, &field)) {
            fields++;
        }
        /* Fields end after 7, 21 and 24 octets. */
        const bool between = size == 0 || size == 7 || size == 21 || size == 24;
        assert_int_equal(reader.failed, !between);
        assert_int_equal(fields, (size >= 7) + (size >= 21) + (size >= 24));
        free(data);
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_octet_is_known_or_refused),
        cmocka_unit_test(a_value_cut_short_is_malformed),
        cmocka_unit_test(integers_keep_their_signs),
        cmocka_unit_test(fields_are_met_in_order_and_found_by_name),
        cmocka_unit_test(a_table_cut_anywhere_is_malformed_or_ends_between_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
