/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can the reader be made to read, or the writer to write, one byte too far?
 *
 * Method: every accessor at every distance from the end, on heap blocks of
 * exactly the size, so that a sanitizer sees the byte.
 */
#include "tests/unit/base/base_test.h"

#include <lepus/bytes.h>

static void
integers_keep_their_order(void **unused)
{
    (void)unused;
    uint8_t data[64];
    struct lp_writer writer = lp_writer_of(data, sizeof(data));
    lp_writer_u8(&writer, 0x01);
    lp_writer_u16be(&writer, 0x0203);
    lp_writer_u32be(&writer, 0x04050607);
    lp_writer_u64be(&writer, 0x08090a0b0c0d0e0f);
    lp_writer_u16le(&writer, 0x1110);
    lp_writer_u32le(&writer, 0x15141312);
    lp_writer_u64le(&writer, 0x1d1c1b1a19181716);
    assert_false(writer.failed);
    assert_int_equal(lp_writer_size(&writer), 29);
    for (size_t i = 0; i < 15; i++) {
        assert_int_equal(data[i], i + 1);
    }
    for (size_t i = 15; i < 29; i++) {
        assert_int_equal(data[i], i + 1);
    }
    struct lp_reader reader = lp_reader_of_bytes(lp_writer_bytes(&writer));
    assert_int_equal(lp_reader_u8(&reader), 0x01);
    assert_int_equal(lp_reader_u16be(&reader), 0x0203);
    assert_int_equal(lp_reader_u32be(&reader), 0x04050607);
    assert_true(lp_reader_u64be(&reader) == 0x08090a0b0c0d0e0f);
    assert_int_equal(lp_reader_u16le(&reader), 0x1110);
    assert_int_equal(lp_reader_u32le(&reader), 0x15141312);
    assert_true(lp_reader_u64le(&reader) == 0x1d1c1b1a19181716);
    assert_int_equal(lp_reader_left(&reader), 0);
    assert_false(reader.failed);
}

/* One read of kind `kind` (0 to 9); gives the bytes that it needs when lengths in the data are
 * zero. */
static uint32_t
read_one(struct lp_reader *reader, uint32_t kind, uint64_t *ret_value)
{
    static const uint32_t need[] = {1, 2, 4, 8, 2, 4, 8, 1, 4, 4};
    switch (kind) {
    case 0:
        *ret_value = lp_reader_u8(reader);
        break;
    case 1:
        *ret_value = lp_reader_u16be(reader);
        break;
    case 2:
        *ret_value = lp_reader_u32be(reader);
        break;
    case 3:
        *ret_value = lp_reader_u64be(reader);
        break;
    case 4:
        *ret_value = lp_reader_u16le(reader);
        break;
    case 5:
        *ret_value = lp_reader_u32le(reader);
        break;
    case 6:
        *ret_value = lp_reader_u64le(reader);
        break;
    case 7:
        *ret_value = lp_reader_short(reader).size;
        break;
    case 8:
        *ret_value = lp_reader_long_be(reader).size;
        break;
    default:
        *ret_value = lp_reader_long_le(reader).size;
        break;
    }
    return need[kind];
}

static void
a_short_read_fails_for_good_and_gives_zero(void **unused)
{
    (void)unused;
    for (uint32_t kind = 0; kind < 10; kind++) {
        for (uint32_t size = 0; size <= 9; size++) {
            uint8_t *data = calloc(1, size + 1);
            assert_non_null(data);
            if (kind < 7) {
                memset(data, 0xff, size);
            }
            struct lp_reader reader = lp_reader_of(data, size);
            uint64_t value = 1;
            const uint32_t need = read_one(&reader, kind, &value);
            assert_int_equal(reader.failed, size < need);
            if (size < need) {
                assert_true(value == 0);
                const uint8_t *at = reader.at;
                assert_int_equal(lp_reader_u8(&reader), 0);
                assert_null(lp_reader_take(&reader, 0));
                assert_ptr_equal(reader.at, at);
                assert_true(reader.failed);
            } else {
                assert_int_equal(lp_reader_left(&reader), size - need);
            }
            free(data);
        }
    }
}

static void
a_length_that_lies_is_a_failure(void **unused)
{
    (void)unused;
    static const uint8_t short_lie[] = {3, 'a', 'b'};
    static const uint8_t long_lie[] = {0xff, 0xff, 0xff, 0xff, 'a'};
    struct lp_reader reader = lp_reader_of(short_lie, sizeof(short_lie));
    assert_int_equal(lp_reader_short(&reader).size, 0);
    assert_true(reader.failed);
    reader = lp_reader_of(long_lie, sizeof(long_lie));
    struct lp_bytes bytes = lp_reader_long_be(&reader);
    assert_true(bytes.data == NULL && bytes.size == 0 && reader.failed);
    reader = lp_reader_of(long_lie, sizeof(long_lie));
    bytes = lp_reader_long_le(&reader);
    assert_true(bytes.data == NULL && bytes.size == 0 && reader.failed);
    reader = lp_reader_of(long_lie, sizeof(long_lie));
    assert_null(lp_reader_take(&reader, SIZE_MAX));
    assert_true(reader.failed);
}

static void
nothing_is_a_range_too(void **unused)
{
    (void)unused;
    struct lp_reader reader = lp_reader_of(NULL, 0);
    assert_int_equal(lp_reader_left(&reader), 0);
    assert_int_equal(lp_reader_bytes(&reader, 0).size, 0);
    assert_false(reader.failed);
    assert_int_equal(lp_reader_u8(&reader), 0);
    assert_true(reader.failed);

    struct lp_reader zeros = {0};
    assert_int_equal(lp_reader_left(&zeros), 0);
    assert_int_equal(lp_reader_bytes(&zeros, 0).size, 0);
    assert_false(zeros.failed);
    assert_int_equal(lp_reader_u8(&zeros), 0);
    assert_true(zeros.failed);

    uint8_t untouched = 0x5a;
    struct lp_writer writer = lp_writer_of(&untouched, 0);
    lp_writer_copy(&writer, NULL, 0);
    assert_false(writer.failed);
    assert_int_equal(lp_writer_size(&writer), 0);
    lp_writer_u8(&writer, 1);
    assert_true(writer.failed);
    assert_int_equal(untouched, 0x5a);

    const struct lp_bytes none = {0};
    assert_true(lp_bytes_equal(none, lp_bytes_of_text("")));
    assert_true(lp_bytes_equal_text(none, ""));
    assert_true(lp_bytes_start_with(none, ""));
    assert_false(lp_bytes_start_with(none, "a"));
}

static void
comparison_is_of_length_and_bytes(void **unused)
{
    (void)unused;
    const struct lp_bytes amq = lp_bytes_of_text("amq.topic");
    assert_true(lp_bytes_equal_text(amq, "amq.topic"));
    assert_false(lp_bytes_equal_text(amq, "amq.topi"));
    assert_false(lp_bytes_equal_text(amq, "amq.topic2"));
    assert_false(lp_bytes_equal_text(amq, "amq.topiC"));
    assert_true(lp_bytes_start_with(amq, "amq."));
    assert_false(lp_bytes_start_with(amq, "amq.topic.more"));
    /* A NUL inside is a byte like any other. */
    assert_false(lp_bytes_equal_text(lp_bytes_of("a\0b", 3), "a"));
}

static void
a_writer_stops_at_its_end_and_says_so(void **unused)
{
    (void)unused;
    for (size_t size = 0; size < 12; size++) {
        uint8_t *data = malloc(size + 1);
        assert_non_null(data);
        data[size] = 0x5a;
        struct lp_writer writer = lp_writer_of(data, size);
        lp_writer_u32be(&writer, 0xffffffff);
        lp_writer_short(&writer, lp_bytes_of_text("abc"));
        assert_int_equal(writer.failed, size < 8);
        lp_writer_u64le(&writer, UINT64_MAX);
        assert_true(writer.failed);
        /* Once failed, nothing more is written, even what would fit. */
        const size_t before = lp_writer_size(&writer);
        lp_writer_u8(&writer, 1);
        assert_int_equal(lp_writer_size(&writer), before);
        assert_int_equal(data[size], 0x5a);
        free(data);
    }
}

static void
strings_come_back_as_they_were(void **unused)
{
    (void)unused;
    uint8_t text[300];
    memset(text, 'x', sizeof(text));
    for (uint32_t size = 0; size <= 300; size++) {
        uint8_t data[1000];
        struct lp_writer writer = lp_writer_of(data, sizeof(data));
        lp_writer_long_be(&writer, lp_bytes_of(text, size));
        lp_writer_long_le(&writer, lp_bytes_of(text, size));
        struct lp_reader reader = lp_reader_of_bytes(lp_writer_bytes(&writer));
        assert_true(lp_bytes_equal(lp_reader_long_be(&reader), lp_bytes_of(text, size)));
        assert_true(lp_bytes_equal(lp_reader_long_le(&reader), lp_bytes_of(text, size)));
        assert_false(reader.failed);

        writer = lp_writer_of(data, sizeof(data));
        lp_writer_short(&writer, lp_bytes_of(text, size));
        assert_int_equal(writer.failed, size > 255);
        assert_int_equal(lp_writer_size(&writer), size > 255 ? 0 : size + 1);
    }
}

static void
a_length_is_patched_only_where_something_was_written(void **unused)
{
    (void)unused;
    uint8_t data[8] = {0};
    struct lp_writer writer = lp_writer_of(data, sizeof(data));
    lp_writer_u32be(&writer, 0);
    lp_writer_u8(&writer, 9);
    lp_writer_patch_u32be(&writer, 0, 0x01020304);
    assert_false(writer.failed);
    assert_memory_equal(data, "\1\2\3\4\11\0\0\0", 8);
    lp_writer_patch_u32be(&writer, 1, 0x0a0b0c0d);
    assert_memory_equal(data, "\1\12\13\14\15\0\0\0", 8);
    lp_writer_patch_u32be(&writer, 2, 1);
    assert_true(writer.failed);
    assert_memory_equal(data, "\1\12\13\14\15\0\0\0", 8);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_keep_their_order),
        cmocka_unit_test(a_short_read_fails_for_good_and_gives_zero),
        cmocka_unit_test(a_length_that_lies_is_a_failure),
        cmocka_unit_test(nothing_is_a_range_too),
        cmocka_unit_test(comparison_is_of_length_and_bytes),
        cmocka_unit_test(a_writer_stops_at_its_end_and_says_so),
        cmocka_unit_test(strings_come_back_as_they_were),
        cmocka_unit_test(a_length_is_patched_only_where_something_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
