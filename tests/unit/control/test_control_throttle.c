/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peers whose logins fail too often.
 *
 * Method: the table alone, with time as a number; then logins over real rings
 * from a fake shard, as in test_control_link.c.
 */
#include "fake_requests.h"

#include <lepus/transport.h>

#include "control/auth/password.h"
#include "control/link/control_internal.h"

#define SECOND 1000000000ull

static const struct throttle_limits limits = {10, 60 * SECOND, 30 * SECOND};
static const struct lp_map_key hash_key = {{1, 2}};

static struct throttle_key
ipv4(uint32_t number)
{
    uint8_t ip[16] = {0};
    memcpy(ip, &number, sizeof(number));
    return throttle_key_of(LP_ADDRESS_IPV4, ip);
}

/* `times` failures; did a penalty begin with the last, and not before? */
static bool
fails(struct throttle *throttle, struct throttle_key key, uint32_t times, uint64_t now_ns)
{
    for (uint32_t i = 1; i < times; i++) {
        assert_false(throttle_failed(throttle, &hash_key, &limits, key, now_ns));
    }
    return throttle_failed(throttle, &hash_key, &limits, key, now_ns);
}

static enum throttle_verdict
admit(struct throttle *throttle, struct throttle_key key, uint64_t now_ns)
{
    uint64_t refused;
    return throttle_admit(throttle, &hash_key, key, now_ns, &refused);
}

static void
a_peer_serves_its_penalty_and_no_other_does(void **unused)
{
    (void)unused;
    struct throttle throttle = {0};
    uint64_t refused;
    assert_int_equal(admit(&throttle, ipv4(1), SECOND), THROTTLE_ADMITTED);
    assert_true(fails(&throttle, ipv4(1), 10, SECOND));
    assert_int_equal(admit(&throttle, ipv4(1), 2 * SECOND), THROTTLE_REFUSED);
    assert_int_equal(admit(&throttle, ipv4(1), 31 * SECOND - 1), THROTTLE_REFUSED);
    assert_int_equal(admit(&throttle, ipv4(2), 2 * SECOND), THROTTLE_ADMITTED);
    assert_int_equal(throttle_admit(&throttle, &hash_key, ipv4(1), 31 * SECOND, &refused),
                     THROTTLE_ADMITTED_AGAIN);
    assert_int_equal(refused, 2);
    assert_int_equal(admit(&throttle, ipv4(1), 31 * SECOND), THROTTLE_ADMITTED);
    assert_true(fails(&throttle, ipv4(1), 10, 31 * SECOND)); /* counted from none */
    throttle_fini(&throttle);
}

static void
failures_are_counted_within_a_window(void **unused)
{
    (void)unused;
    struct throttle throttle = {0};
    assert_false(fails(&throttle, ipv4(1), 9, SECOND));
    assert_false(fails(&throttle, ipv4(1), 9, 61 * SECOND));
    assert_true(fails(&throttle, ipv4(1), 1, 121 * SECOND - 1));
    throttle_fini(&throttle);
}

static void
nobody_is_throttled_when_it_is_off(void **unused)
{
    (void)unused;
    const struct throttle_limits off = {0, SECOND, SECOND};
    struct throttle throttle = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        assert_false(throttle_failed(&throttle, &hash_key, &off, ipv4(1), 0));
    }
    assert_null(throttle.peers);
}

static void
a_peer_is_a_64_of_ipv6_and_an_address_of_ipv4_however_written(void **unused)
{
    (void)unused;
    struct throttle throttle = {0};
    uint8_t a[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2, 1};
    uint8_t b[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2, 9, 9};
    uint8_t c[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 3, 1};
    uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1};
    uint8_t plain[16] = {192, 0, 2, 1};
    assert_true(fails(&throttle, throttle_key_of(LP_ADDRESS_IPV6, a), 10, 0));
    assert_int_equal(admit(&throttle, throttle_key_of(LP_ADDRESS_IPV6, b), 1), THROTTLE_REFUSED);
    assert_int_equal(admit(&throttle, throttle_key_of(LP_ADDRESS_IPV6, c), 1), THROTTLE_ADMITTED);
    assert_true(fails(&throttle, throttle_key_of(LP_ADDRESS_IPV6, mapped), 10, 0));
    assert_int_equal(admit(&throttle, throttle_key_of(LP_ADDRESS_IPV4, plain), 1),
                     THROTTLE_REFUSED);
    throttle_fini(&throttle);
}

/* Anybody with many addresses: they fail once less than he did, or a little more rarely. */
static void
nobody_is_forgotten_for_less_than_he_did(void **unused)
{
    (void)unused;
    struct throttle throttle = {0};
    assert_false(fails(&throttle, ipv4(0), 6, SECOND));
    assert_true(fails(&throttle, ipv4(1), 10, SECOND));
    for (uint32_t i = 2; i < 20 * THROTTLE_PEERS; i++) {
        (void)fails(&throttle, ipv4(i), 5, SECOND);
    }
    assert_int_equal(admit(&throttle, ipv4(1), 2 * SECOND), THROTTLE_REFUSED);
    assert_true(fails(&throttle, ipv4(0), 4, 2 * SECOND));
    throttle_fini(&throttle);
}

static void
penalties_are_served_however_many_come_and_then_make_room(void **unused)
{
    (void)unused;
    struct throttle throttle = {0};
    uint32_t begun = 0;
    for (uint32_t i = 0; i < 4 * THROTTLE_PEERS; i++) {
        for (uint32_t times = 0; times < limits.failures; times++) {
            begun += throttle_failed(&throttle, &hash_key, &limits, ipv4(i), SECOND);
        }
    }
    uint32_t refused = 0;
    for (uint32_t i = 0; i < 4 * THROTTLE_PEERS; i++) {
        refused += admit(&throttle, ipv4(i), 2 * SECOND) == THROTTLE_REFUSED;
    }
    assert_int_equal(begun, refused);
    assert_true(refused > THROTTLE_PEERS / 2 && refused <= THROTTLE_PEERS);
    assert_true(fails(&throttle, ipv4(UINT32_MAX), 10, 62 * SECOND));
    throttle_fini(&throttle);
}

/* ---- over the rings ---- */

static const struct fake_request *
login_from(struct world *world, uint32_t shard, uint8_t last, const char *password, bool loopback)
{
    uint8_t room[512];
    const uint8_t ip[16] = {192, 0, 2, last};
    static uint16_t port;
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u64le(&w, fake_connection_id(shard, 1));
    lp_writer_short(&w, lp_bytes_of_text("PLAIN"));
    lp_writer_short(&w, lp_bytes_of_text("remote"));
    lp_writer_long_le(&w, lp_bytes_of_text(password));
    lp_writer_u8(&w, LP_ADDRESS_IPV4);
    lp_writer_u16le(&w, port++);
    lp_writer_copy(&w, ip, sizeof(ip));
    lp_writer_u8(&w, loopback);
    const struct fake_request *request = fake_ask(&world->shard[shard], LP_CONTROL_LOGIN, &w);
    world_settle(world);
    assert_true(request->answered);
    return request;
}

static void
user_add(struct world *world)
{
    struct lp_catalog *catalog = world->control->catalog;
    struct lp_password_hash hash;
    lp_password_hash(&catalog->entropy, LP_PASSWORD_SHA256, lp_bytes_of_text("right"), &hash);
    const struct lp_catalog_user user = {.name = lp_bytes_of_text("remote"),
                                         .hash = lp_bytes_of(hash.data, hash.bytes),
                                         .algorithm = LP_PASSWORD_SHA256};
    lp_catalog_user_put(catalog, &user);
    world_settle(world);
}

static void
a_peer_that_failed_too_often_is_told_what_a_wrong_password_is(void **unused)
{
    (void)unused;
    struct lp_store_memory *store = lp_store_memory_open();
    struct world *world = world_open(2, lp_store_memory_store(store));
    world_control_start(world);
    world_settle(world);
    user_add(world);
    world->control->options.settings.login = limits;
    char wrong[256];
    assert_int_equal(login_from(world, 0, 1, "right", false)->code, 0);
    for (uint32_t i = 0; i < limits.failures; i++) {
        const struct fake_request *request = login_from(world, i % 2, 1, "wrong", false);
        assert_int_equal(request->code, LP_FAULT_ACCESS_REFUSED);
        (void)snprintf(wrong, sizeof(wrong), "%s", request->text);
    }
    (void)snprintf(world->log, sizeof(world->log), "nothing");
    const struct fake_request *request = login_from(world, 1, 1, "right", false);
    assert_int_equal(request->code, LP_FAULT_ACCESS_REFUSED);
    assert_string_equal(request->text, wrong);
    assert_string_equal(world->log, "nothing"); /* not a line each */
    assert_int_equal(login_from(world, 1, 2, "right", false)->code, 0);
    fake_now_ns += limits.penalty_ns;
    assert_int_equal(login_from(world, 1, 1, "right", false)->code, 0);
    assert_string_equal(world->log, "logins from 192.0.2.1 are looked at again; 1 were refused");
    world_close(world);
    lp_store_memory_close(&store);
}

static void
this_machine_is_throttled_only_where_that_is_asked_for(void **unused)
{
    (void)unused;
    struct lp_store_memory *store = lp_store_memory_open();
    struct world *world = world_open(1, lp_store_memory_store(store));
    world_control_start(world);
    world_settle(world);
    user_add(world);
    world->control->options.settings.login = limits;
    for (uint32_t i = 0; i < 2 * limits.failures; i++) {
        assert_int_equal(login_from(world, 0, 1, "wrong", true)->code, LP_FAULT_ACCESS_REFUSED);
    }
    assert_int_equal(login_from(world, 0, 1, "right", true)->code, 0);
    world->control->options.settings.login_loopback = true;
    for (uint32_t i = 0; i < limits.failures; i++) {
        assert_int_equal(login_from(world, 0, 1, "wrong", true)->code, LP_FAULT_ACCESS_REFUSED);
    }
    assert_int_equal(login_from(world, 0, 1, "right", true)->code, LP_FAULT_ACCESS_REFUSED);
    world_close(world);
    lp_store_memory_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_serves_its_penalty_and_no_other_does),
        cmocka_unit_test(failures_are_counted_within_a_window),
        cmocka_unit_test(nobody_is_throttled_when_it_is_off),
        cmocka_unit_test(a_peer_is_a_64_of_ipv6_and_an_address_of_ipv4_however_written),
        cmocka_unit_test(nobody_is_forgotten_for_less_than_he_did),
        cmocka_unit_test(penalties_are_served_however_many_come_and_then_make_room),
        cmocka_unit_test(a_peer_that_failed_too_often_is_told_what_a_wrong_password_is),
        cmocka_unit_test(this_machine_is_throttled_only_where_that_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
