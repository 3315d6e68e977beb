/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the broker find in a message's properties what it needs, whatever else
 * is in them?
 *
 * Method: every subset of the fourteen properties is encoded and read back;
 * each encoding is also cut short by a byte, and made longer by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <lepus/field_table.h>

#include "dataplane/protocol/amqp091/properties.h"

static uint8_t buffer[512];

static void
headers_write(struct lp_writer *writer, const char *name)
{
    const size_t at = lp_writer_size(writer);
    lp_writer_u32be(writer, 0);
    lp_writer_short(writer, lp_bytes_of_text(name));
    lp_writer_u8(writer, 't');
    lp_writer_u8(writer, 1);
    lp_writer_patch_u32be(writer, at, (uint32_t)(lp_writer_size(writer) - at - 4));
}

static struct lp_bytes
encode(uint16_t flags)
{
    struct lp_writer writer = lp_writer_of(buffer, sizeof(buffer) - 1);
    lp_writer_u16be(&writer, flags);
    for (uint32_t bit = 15; bit >= 2; bit--) {
        const uint32_t property = 1u << bit;
        if ((flags & property) == 0) {
            continue;
        }
        if (property == AMQP091_HEADERS) {
            headers_write(&writer, "name");
        } else if (property == AMQP091_DELIVERY_MODE) {
            lp_writer_u8(&writer, 2);
        } else if (property == AMQP091_PRIORITY) {
            lp_writer_u8(&writer, 9);
        } else if (property == AMQP091_TIMESTAMP) {
            lp_writer_u64be(&writer, 1);
        } else {
            const char text[2] = {(char)('a' + bit), 0};
            lp_writer_short(&writer, lp_bytes_of_text(text));
        }
    }
    assert_false(writer.failed);
    return lp_writer_bytes(&writer);
}

static void
check_present(uint16_t flags, const struct amqp091_properties *found)
{
    assert_int_equal(found->flags, flags);
    assert_int_equal(found->delivery_mode, (flags & AMQP091_DELIVERY_MODE) ? 2 : 0);
    assert_int_equal(found->priority, (flags & AMQP091_PRIORITY) ? 9 : 0);
    assert_int_equal(found->headers.size, (flags & AMQP091_HEADERS) ? 7 : 0);
    assert_false(found->has_copies);
    if (flags & AMQP091_USER_ID) {
        assert_true(lp_bytes_equal_text(found->user_id, "e"));
    }
    if (flags & AMQP091_REPLY_TO) {
        assert_true(lp_bytes_equal_text(found->reply_to, "j"));
    }
}

static void
every_subset_is_read_and_nothing_but_it(void **unused)
{
    (void)unused;
    for (uint32_t subset = 0; subset < 1u << 14; subset++) {
        struct amqp091_properties found;
        const uint16_t flags = (uint16_t)(subset << 2);
        const struct lp_bytes raw = encode(flags);
        assert_true(amqp091_properties_read(raw, &found));
        check_present(flags, &found);
        assert_false(amqp091_properties_read(lp_bytes_of(raw.data, raw.size - 1), &found));
        buffer[raw.size] = 0;
        assert_false(amqp091_properties_read(lp_bytes_of(raw.data, raw.size + 1), &found));
    }
}

static void
undefined_flags_are_refused(void **unused)
{
    (void)unused;
    struct amqp091_properties found;
    const uint8_t more[] = {0, 1, 0, 0};
    const uint8_t reserved[] = {0, 2};
    assert_false(amqp091_properties_read(lp_bytes_of(more, sizeof(more)), &found));
    assert_false(amqp091_properties_read(lp_bytes_of(reserved, sizeof(reserved)), &found));
}

static void
copies_are_noticed_by_their_headers_name(void **unused)
{
    (void)unused;
    static const struct {
        const char *name;
        bool copies;
    } cases[] = {{"CC", true}, {"BCC", true}, {"cc", false}, {"CCC", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct amqp091_properties found;
        struct lp_writer writer = lp_writer_of(buffer, sizeof(buffer));
        lp_writer_u16be(&writer, AMQP091_HEADERS);
        headers_write(&writer, cases[i].name);
        assert_true(amqp091_properties_read(lp_writer_bytes(&writer), &found));
        assert_int_equal(found.has_copies, cases[i].copies);
    }
}

static void
malformed_headers_are_refused(void **unused)
{
    (void)unused;
    struct amqp091_properties found;
    const uint8_t raw[] = {0x20, 0, 0, 0, 0, 3, 1, 'a', 'Z'};
    assert_false(amqp091_properties_read(lp_bytes_of(raw, sizeof(raw)), &found));
}

/* C132 */
static void
a_count_goes_before_the_other_headers_and_changes_nothing_else(void **unused)
{
    (void)unused;
    for (uint32_t bits = 0; bits < 1u << 14; bits++) {
        static struct amqp091_counted counted;
        static uint8_t joined[sizeof(buffer) + sizeof(counted.table)];
        struct amqp091_properties before;
        struct amqp091_properties after;
        struct lp_field field = {0};
        const uint16_t flags = (uint16_t)(bits << 2);
        const struct lp_bytes raw = encode(flags);
        assert_true(amqp091_properties_read(raw, &before));
        amqp091_properties_count(raw, 1000000, &counted);
        struct lp_writer writer = lp_writer_of(joined, sizeof(joined));
        for (size_t i = 0; i < LP_COUNT_OF(counted.piece); i++) {
            lp_writer_copy(&writer, counted.piece[i].data, counted.piece[i].size);
        }
        assert_int_equal(lp_writer_size(&writer), raw.size + amqp091_properties_count_bytes(raw));
        assert_true(amqp091_properties_read(lp_writer_bytes(&writer), &after));
        assert_int_equal(after.flags, flags | AMQP091_HEADERS);
        assert_int_equal(after.delivery_mode, before.delivery_mode);
        assert_int_equal(after.priority, before.priority);
        assert_true(lp_bytes_equal(after.user_id, before.user_id));
        assert_true(lp_bytes_equal(after.expiration, before.expiration));
        struct lp_reader reader = lp_reader_of_bytes(after.headers);
        assert_true(lp_field_next(&reader, &field));
        assert_true(lp_bytes_equal_text(field.name, "x-delivery-count"));
        assert_int_equal(field.type, 'l');
        assert_int_equal(lp_field_integer(&field), 1000000);
        assert_int_equal(lp_reader_left(&reader), before.headers.size);
        if (before.headers.size > 0) {
            assert_memory_equal(reader.at, before.headers.data, before.headers.size);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_subset_is_read_and_nothing_but_it),
        cmocka_unit_test(undefined_flags_are_refused),
        cmocka_unit_test(copies_are_noticed_by_their_headers_name),
        cmocka_unit_test(malformed_headers_are_refused),
        cmocka_unit_test(a_count_goes_before_the_other_headers_and_changes_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
