/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of connections, as RabbitMQ makes them of two addresses.
 *
 * Method: addresses written by hand, and all sixteen-bit patterns of which
 * groups of an IPv6 address are zero, compared with inet_ntop().
 */
#include "dataplane/broker/connection_name.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct lp_address
address(const char *ip, uint16_t port)
{
    struct lp_address made = {.port = port};
    made.family = strchr(ip, ':') ? LP_ADDRESS_IPV6 : LP_ADDRESS_IPV4;
    assert_int_equal(inet_pton(made.family == LP_ADDRESS_IPV6 ? AF_INET6 : AF_INET, ip, made.ip),
                     1);
    return made;
}

static const char *
name(const struct lp_address *peer, const struct lp_address *local)
{
    static char text[LP_CONNECTION_NAME_BYTES_MAX + 1];
    struct lp_writer writer = lp_writer_of(text, LP_CONNECTION_NAME_BYTES_MAX);
    lp_connection_name(&writer, peer, local);
    assert_false(writer.failed);
    text[lp_writer_size(&writer)] = '\0';
    return text;
}

static void
a_connection_is_named_by_its_ends(void **unused)
{
    (void)unused;
    struct lp_address peer = address("10.0.0.255", 40000);
    struct lp_address local = address("127.0.0.1", 5672);
    assert_string_equal(name(&peer, &local), "10.0.0.255:40000 -> 127.0.0.1:5672");
    peer = address("::1", 1);
    local = address("2001:db8::a:0:0:1", 65535);
    assert_string_equal(name(&peer, &local), "[::1]:1 -> [2001:db8::a:0:0:1]:65535");
    peer = address("::ffff:192.168.1.2", 3);
    assert_string_equal(name(&peer, &peer), "192.168.1.2:3 -> 192.168.1.2:3");
    peer = (struct lp_address){.family = LP_ADDRESS_UNIX};
    assert_string_equal(name(&peer, &peer), "unix:0 -> unix:0");
    peer = address("1111:1111:1111:1111:1111:1111:1111:1111", 65535);
    assert_int_equal(strlen(name(&peer, &peer)), 2 * 47 + 4);
}

static void
zeroes_are_left_out_where_everybody_leaves_them_out(void **unused)
{
    (void)unused;
    for (uint32_t pattern = 0; pattern < 256; pattern++) {
        struct lp_address one = {.family = LP_ADDRESS_IPV6, .port = 7};
        for (uint32_t i = 0; i < 8; i++) {
            one.ip[2 * i] = (pattern >> i & 1u) ? (uint8_t)(i * 16) : 0;
            one.ip[2 * i + 1] = (pattern >> i & 1u) ? 0xab : 0;
        }
        char text[INET6_ADDRSTRLEN];
        char wanted[128];
        assert_non_null(inet_ntop(AF_INET6, one.ip, text, sizeof(text)));
        if (strchr(text, '.')) {
            continue; /* an IPv4 address in old clothes, which libc undresses */
        }
        (void)snprintf(wanted, sizeof(wanted), "[%s]:7 -> [%s]:7", text, text);
        assert_string_equal(name(&one, &one), wanted);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_named_by_its_ends),
        cmocka_unit_test(zeroes_are_left_out_where_everybody_leaves_them_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
