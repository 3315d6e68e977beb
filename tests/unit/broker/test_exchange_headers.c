/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do a binding's arguments and a message's headers match as in RabbitMQ?
 * Tables are written as text, one field after the other with blanks between:
 * name=T:value, T being the wire's type octet.
 */
#include "dataplane/broker/exchange/headers/value.h"
#include "topology_rig.h"

#define HEADERS 1u

/* ---- tables from text ---- */

static void
put_float(struct lp_writer *writer, char type, double value)
{
    if (type == 'f') {
        const float narrow = (float)value;
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof(bits));
        lp_writer_u32be(writer, bits);
    } else {
        uint64_t bits;
        memcpy(&bits, &value, sizeof(bits));
        lp_writer_u64be(writer, bits);
    }
}

static void
put_value(struct lp_writer *writer, char type, const char *text)
{
    const int64_t number = strtoll(text, NULL, 0);
    switch (type) {
    case 'V':
        break;
    case 't':
    case 'b':
    case 'B':
        lp_writer_u8(writer, (uint8_t)number);
        break;
    case 's':
    case 'u':
        lp_writer_u16be(writer, (uint16_t)number);
        break;
    case 'i':
    case 'I':
        lp_writer_u32be(writer, (uint32_t)number);
        break;
    case 'l':
    case 'L':
    case 'T':
        lp_writer_u64be(writer, (uint64_t)number);
        break;
    case 'f':
    case 'd':
        put_float(writer, type, strtod(text, NULL));
        break;
    case 'D':
        lp_writer_u8(writer, 2);
        lp_writer_u32be(writer, (uint32_t)number);
        break;
    default: /* S x, and A F with the text for content: it is compared, never read */
        lp_writer_long_be(writer, lp_bytes_of_text(text));
        break;
    }
}

/* "a=S:text b=l:5 c=V:" */
static struct lp_bytes
table(const char *text, uint8_t *room, size_t room_bytes)
{
    struct lp_writer writer = lp_writer_of(room, room_bytes);
    while (*text != '\0') {
        char name[64];
        char value[64];
        const size_t name_bytes = strcspn(text, "=");
        memcpy(name, text, name_bytes);
        name[name_bytes] = '\0';
        text += name_bytes + 1;
        const char type = *text;
        text += 2;
        const size_t value_bytes = strcspn(text, " ");
        memcpy(value, text, value_bytes);
        value[value_bytes] = '\0';
        text += value_bytes;
        text += *text == ' ';
        lp_writer_short(&writer, lp_bytes_of_text(name));
        lp_writer_u8(&writer, (uint8_t)type);
        put_value(&writer, type, value);
    }
    assert_false(writer.failed);
    return lp_writer_bytes(&writer);
}

static void
rig_open_headers(struct rig *rig)
{
    rig_open(rig);
    rig_exchange(rig, HEADERS, LP_EXCHANGE_HEADERS, "x");
    rig_queue(rig, 1, "q");
}

static bool
matches(struct rig *rig, struct lp_bytes arguments, struct lp_bytes headers)
{
    const uint64_t used = lp_memory_used_bytes(rig->memory);
    assert_int_equal(rig_bind_parts(rig, 1, HEADERS, 1, lp_bytes_of(NULL, 0), arguments), LP_OK);
    const bool match = rig_route_headers(rig, "x", "ignored", headers)[0] != '\0';
    lp_topology_bind_down(&rig->topology, 1);
    /* The first result is kept for the next one. */
    assert_true(lp_memory_used_bytes(rig->memory) - used <= 512);
    return match;
}

static const struct {
    const char *arguments;
    const char *headers;
    bool match;
} cases[] = {
    /* all is the default */
    {"format=S:pdf type=S:report", "format=S:pdf type=S:report", true},
    {"format=S:pdf type=S:report", "type=S:report format=S:pdf other=l:1", true},
    {"format=S:pdf type=S:report", "format=S:pdf", false},
    {"format=S:pdf type=S:report", "format=S:pdf type=S:log", false},
    {"x-match=S:all format=S:pdf type=S:log", "format=S:pdf type=S:log", true},
    {"x-match=S:all format=S:pdf type=S:log", "format=S:pdf type=S:report", false},
    {"x-match=S:all format=S:pdf", "", false},
    {"a=S:1", "A=S:1", false},
    {"a=S:b", "a=S:B", false},
    /* any */
    {"x-match=S:any format=S:pdf type=S:log", "format=S:zip type=S:log", true},
    {"x-match=S:any format=S:pdf type=S:log", "format=S:pdf", true},
    {"x-match=S:any format=S:pdf type=S:log", "format=S:zip type=S:report", false},
    {"x-match=S:any format=S:pdf type=S:log", "", false},
    /* nothing to compare */
    {"", "", true},
    {"", "a=l:1", true},
    {"x-match=S:all", "", true},
    {"x-match=S:all", "a=l:1", true},
    {"x-match=S:any", "", false},
    {"x-match=S:any", "a=l:1", false},
    {"x-match=S:any-with-x", "x-match=S:any-with-x", false},
    {"x-match=S:all-with-x", "", true},
    /* names that begin with x- */
    {"x-a=l:1", "", true},
    {"x-match=S:all x-a=l:1 b=l:2", "b=l:2", true},
    {"x-match=S:any x-a=l:1", "x-a=l:1", false},
    {"x-match=S:all-with-x x-a=l:1", "x-a=l:1", true},
    {"x-match=S:all-with-x x-a=l:1", "x-a=l:2", false},
    {"x-match=S:all-with-x x-a=l:1", "", false},
    {"x-match=S:any-with-x x-a=l:1 b=l:2", "x-a=l:1", true},
    {"x-match=S:any-with-x x-a=l:1 b=l:2", "b=l:2", true},
    {"x-match=S:any-with-x x-a=l:1", "x-a=l:2", false},
    {"x=l:1", "x=l:2", false},
    {"X-a=l:1", "", false},
    /* an x-match that the control process would refuse */
    {"x-match=S:some a=l:1", "", false},
    {"x-match=l:1 a=l:1", "a=l:1", true},
    /* void asks for presence */
    {"a=V:", "a=S:anything", true},
    {"a=V:", "a=V:", true},
    {"a=V:", "b=S:anything", false},
    {"x-match=S:any a=V: b=V:", "b=l:7", true},
    {"a=S:", "a=V:", false},
    /* integers by value, whatever their width */
    {"a=b:5", "a=l:5", true},
    {"a=I:5", "a=s:5", true},
    {"a=i:5", "a=B:5", true},
    {"a=u:5", "a=T:5", true},
    {"a=L:5", "a=l:6", false},
    {"a=b:-1", "a=l:-1", true},
    {"a=b:-1", "a=B:255", false},
    {"a=I:-1", "a=i:0xffffffff", false},
    {"a=i:0xffffffff", "a=l:0xffffffff", true},
    /* floats by value, also against integers, exactly */
    {"a=d:1.5", "a=f:1.5", true},
    {"a=d:0.1", "a=f:0.1", false},
    {"a=d:0", "a=d:-0", true},
    {"a=d:nan", "a=d:nan", false},
    {"a=d:inf", "a=f:inf", true},
    {"a=l:5", "a=d:5.0", true},
    {"a=f:5", "a=b:5", true},
    {"a=l:5", "a=d:5.5", false},
    {"a=l:9007199254740993", "a=d:9007199254740992", false},
    {"a=l:9007199254740992", "a=d:9007199254740992", true},
    {"a=l:0x7fffffffffffffff", "a=d:9223372036854775808", false},
    {"a=l:-9223372036854775808", "a=d:-9223372036854775808", true},
    {"a=l:5", "a=d:nan", false},
    {"a=l:5", "a=d:inf", false},
    {"a=l:5", "a=d:-1e300", false},
    /* texts by their bytes */
    {"a=S:b", "a=x:b", true},
    {"a=S:5", "a=l:5", false},
    {"a=S:true", "a=t:1", false},
    {"a=S:", "a=S:", true},
    {"a=S:a", "a=S:ab", false},
    /* others only with their like */
    {"a=t:1", "a=t:1", true},
    {"a=t:1", "a=t:2", true},
    {"a=t:1", "a=t:0", false},
    {"a=t:1", "a=l:1", false},
    {"a=D:5", "a=D:5", true},
    {"a=D:5", "a=D:6", false},
    {"a=D:5", "a=l:5", false},
    {"a=F:bytes", "a=F:bytes", true},
    {"a=F:bytes", "a=A:bytes", false},
    {"a=A:bytes", "a=A:other", false},
    /* the first of a repeated name counts */
    {"a=l:1", "a=l:1 a=l:2", true},
    {"a=l:2", "a=l:1 a=l:2", false},
};

static void
each_case_matches_as_written(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_headers(&rig);
    for (uint32_t i = 0; i < LP_COUNT_OF(cases); i++) {
        uint8_t arguments[256];
        uint8_t headers[256];
        const bool match = matches(&rig, table(cases[i].arguments, arguments, sizeof(arguments)),
                                   table(cases[i].headers, headers, sizeof(headers)));
        if (match != cases[i].match) {
            print_error("arguments \"%s\" and headers \"%s\"\n", cases[i].arguments,
                        cases[i].headers);
        }
        assert_int_equal(match, cases[i].match);
    }
    rig_close(&rig);
}

/* All at once, a queue each: names are shared, values are not. */
static void
bindings_do_not_disturb_each_other(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t room[256];
    rig_open_headers(&rig);
    for (uint32_t i = 0; i < LP_COUNT_OF(cases); i++) {
        char name[8] = {'q', (char)('0' + i / 10), (char)('0' + i % 10)};
        rig_queue(&rig, i + 100, name);
        assert_int_equal(rig_bind_parts(&rig, i + 1, HEADERS, i + 100, lp_bytes_of(NULL, 0),
                                        table(cases[i].arguments, room, sizeof(room))),
                         LP_OK);
    }
    for (uint32_t i = 0; i < LP_COUNT_OF(cases); i++) {
        (void)rig_route_headers(&rig, "x", "", table(cases[i].headers, room, sizeof(room)));
        bool match = false;
        for (uint32_t found = 0; found < rig.topology.route_count; found++) {
            match |= rig.topology.route[found]->id == i + 100;
        }
        assert_int_equal(match, cases[i].match);
    }
    rig_close(&rig);
}

static void
equality_is_symmetric(void **state)
{
    (void)state;
    static const char *const values[] = {
        "a=b:5", "a=B:5",  "a=s:5",   "a=l:5",   "a=T:5", "a=f:5",   "a=d:5",  "a=d:nan",
        "a=V:",  "a=S:5",  "a=x:5",   "a=t:1",   "a=t:0", "a=D:5",   "a=F:",   "a=A:",
        "a=S:",  "a=l:-5", "a=d:1e9", "a=d:inf", "a=d:0", "a=d:-0.", "a=b:-5", "a=i:1000000000",
    };
    for (uint32_t i = 0; i < LP_COUNT_OF(values); i++) {
        for (uint32_t j = 0; j < LP_COUNT_OF(values); j++) {
            uint8_t one[64];
            uint8_t two[64];
            struct lp_field a;
            struct lp_field b;
            assert_true(lp_field_find(table(values[i], one, sizeof(one)), "a", &a));
            assert_true(lp_field_find(table(values[j], two, sizeof(two)), "a", &b));
            assert_int_equal(headers_value_equal(&a, &b), headers_value_equal(&b, &a));
            if (i == j) {
                assert_int_equal(headers_value_equal(&a, &b), strcmp(values[i], "a=d:nan") != 0);
            }
        }
    }
}

/* Cut a good table anywhere: nothing is read beyond it, and what is whole still counts. */
static void
a_table_cut_short_is_read_up_to_the_fault(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t room[256];
    rig_open_headers(&rig);
    const struct lp_bytes whole =
        table("x-match=S:any first=l:1 second=S:two third=d:3 fourth=F:x", room, sizeof(room));
    const uint32_t first_ends = 1 + 7 + 1 + 4 + 3 + 1 + 5 + 1 + 8;
    for (uint32_t size = 0; size <= whole.size; size++) {
        uint8_t *exact = malloc(size + 1u);
        assert_non_null(exact);
        memcpy(exact, whole.data, size);
        const struct lp_bytes cut = lp_bytes_of(exact, size);
        assert_int_equal(matches(&rig, whole, cut), size >= first_ends);
        (void)matches(&rig, cut, whole);
        free(exact);
    }
    rig_close(&rig);
}

static void
an_argument_table_of_many_fields(void **state)
{
    (void)state;
    struct rig rig;
    static uint8_t room[64 * 1024];
    rig_open_headers(&rig);
    struct lp_writer writer = lp_writer_of(room, sizeof(room));
    for (uint32_t i = 0; i < 3000; i++) {
        char name[8] = {'n', (char)('a' + i % 20), (char)('a' + i / 20 % 20),
                        (char)('a' + i / 400)};
        lp_writer_short(&writer, lp_bytes_of_text(name));
        lp_writer_u8(&writer, 's');
        lp_writer_u16be(&writer, (uint16_t)i);
    }
    const struct lp_bytes all = lp_writer_bytes(&writer);
    assert_int_equal(rig_bind_parts(&rig, 1, HEADERS, 1, lp_bytes_of(NULL, 0), all), LP_OK);
    assert_string_equal(rig_route_headers(&rig, "x", "", all), "q");
    const struct lp_bytes less = lp_bytes_of(all.data, all.size - 8);
    assert_string_equal(rig_route_headers(&rig, "x", "", less), "");
    lp_topology_bind_down(&rig.topology, 1);
    assert_string_equal(rig_route_headers(&rig, "x", "", all), "");
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_case_matches_as_written),
        cmocka_unit_test(bindings_do_not_disturb_each_other),
        cmocka_unit_test(equality_is_symmetric),
        cmocka_unit_test(a_table_cut_short_is_read_up_to_the_fault),
        cmocka_unit_test(an_argument_table_of_many_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
