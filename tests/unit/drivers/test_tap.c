/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a tap brings the kernel's packets as nic.h promises, with what the
 * kernel left undone, and sends ours, with what we leave undone.
 *
 * Method: a network namespace of the test's own.  The test answers ARP and
 * echoes by hand, and holds one TCP connection with the kernel, whose bytes
 * are compared.  Skipped without the right to make a namespace or a tap.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tap_rig.h"

static void
the_kernel_pings_us_with_one_queue_and_with_four(void **state)
{
    (void)state;
    for (uint32_t queues = 1; queues <= 4; queues += 3) {
        struct rig rig;
        RIG_OPEN(&rig, queues, false);
        assert_int_equal(rig.caps.mtu_bytes, 1500);
        assert_true(rig.caps.tso && rig.caps.l4_fill && !rig.caps.hash);
        for (uint32_t i = 0; i < 10; i++) {
            ping(&rig, 64 + i * 100);
        }
        assert_memory_not_equal(rig.caps.mac, rig.kernel_mac, 6);
        assert_int_equal(rig.caps.mac[0] & 3, 2);
        lp_tap_close(rig.nic, queues);
    }
}

static void
a_jumbo_frame_fits(void **state)
{
    (void)state;
    struct rig rig;
    char why[LP_TAP_WHY_BYTES];
    if (!namespace_make()) {
        skip();
    }
    memset(&rig, 0, sizeof(rig));
    rig.queues = 1;
    const struct lp_tap_options options = {
        .name = "lt1", .queues = 1, .mtu_bytes = 9000, .mac = {2, 9, 9, 9, 9, 9}};
    assert_int_equal(lp_tap_open_boot(&options, rig.nic, why), LP_OK);
    rig.nic[0].ops->caps(rig.nic[0].self, &rig.caps);
    assert_int_equal(rig.caps.mtu_bytes, 9000);
    assert_memory_equal(rig.caps.mac, options.mac, 6);
    interface_set("lt1", kernel_ip);
    ping(&rig, 8900);
    lp_tap_close(rig.nic, 1);
}

static void
bulk(bool plain)
{
    struct rig rig;
    static uint8_t buffer[BULK_BYTES];
    RIG_OPEN(&rig, 1, plain);
    const int fd = connect_to_kernel(&rig);
    /* To the kernel: four segments of ours in a frame, where that is allowed. */
    uint32_t got = 0;
    const uint32_t piece = plain ? 1000 : 4 * SEGMENT;
    for (uint32_t sent = 0; sent < 20 * piece; sent += piece) {
        segment_send(&rig, &rig.nic[0], ACK, piece);
        while (got < sent + piece) {
            const ssize_t n = recv(fd, buffer + got, sizeof(buffer) - got, 0);
            got += n > 0 ? (uint32_t)n : 0;
            if (n <= 0) {
                sleep_until_any(&rig, fd);
                (void)turn(&rig, 0);
            }
        }
    }
    for (uint32_t i = 0; i < got; i++) {
        assert_int_equal(buffer[i], pattern(i));
    }
    /* From the kernel. */
    for (uint32_t i = 0; i < BULK_BYTES; i++) {
        buffer[i] = pattern(i);
    }
    uint32_t sent = 0;
    while (rig.received_bytes < BULK_BYTES) {
        const ssize_t n = sent < BULK_BYTES ? send(fd, buffer + sent, BULK_BYTES - sent, 0) : -1;
        sent += n > 0 ? (uint32_t)n : 0;
        if (turn(&rig, 0) == 0) {
            sleep_until_any(&rig, -1);
        }
    }
    assert_false(rig.wrong);
    assert_int_equal(rig.partial_seen, !plain);
    assert_int_equal(rig.plain_seen, plain);
    assert_int_equal(rig.joined_max > 1514, !plain);
    struct lp_nic_counters counters;
    rig.nic[0].ops->counters(rig.nic[0].self, &counters);
    assert_int_equal(counters.refused_frames, 0);
    assert_true(counters.received_bytes >= BULK_BYTES);
    (void)close(fd);
    lp_tap_close(rig.nic, 1);
}

static void
bulk_of_tcp_crosses_both_ways_with_offloads(void **state)
{
    (void)state;
    bulk(false);
}

static void
bulk_of_tcp_crosses_both_ways_without_offloads(void **state)
{
    (void)state;
    bulk(true);
}

static void
a_flow_comes_to_the_queue_that_answered(void **state)
{
    (void)state;
    struct rig rig;
    RIG_OPEN(&rig, 4, false);
    const int fd = connect_to_kernel(&rig);
    for (uint32_t q = 0; q < 4; q++) {
        segment_send(&rig, &rig.nic[q], ACK, 1);
        while (!rig.acknowledged_all) {
            sleep_until_any(&rig, -1);
            (void)turn(&rig, q);
        }
        uint8_t byte = pattern(rig.received_bytes);
        const uint32_t before = rig.received_bytes;
        uint32_t here = 0;
        assert_int_equal(send(fd, &byte, 1, 0), 1);
        while (rig.received_bytes == before) {
            sleep_until_any(&rig, -1);
            here += turn(&rig, q);
        }
        assert_true(here > 0);
        assert_false(rig.wrong);
        rig.acknowledged_all = false;
    }
    (void)close(fd);
    lp_tap_close(rig.nic, 4);
}

static void
a_pool_that_is_dry_gives_nothing_and_loses_nothing(void **state)
{
    (void)state;
    struct rig rig;
    RIG_OPEN(&rig, 1, false);
    struct lp_nic_frame held[512];
    uint32_t count = 0;
    while (rig.nic[0].ops->get(rig.nic[0].self, 1000, &held[count])) {
        assert_int_equal(((uintptr_t)held[count].data + 14) % 4, 0);
        count++;
    }
    assert_int_equal(count, 256);
    struct lp_nic_frame got;
    assert_int_equal(rig.nic[0].ops->receive(rig.nic[0].self, &got, 1), 0);
    while (count > 0) {
        rig.nic[0].ops->put(rig.nic[0].self, &held[--count]);
    }
    ping(&rig, 64);
    lp_tap_close(rig.nic, 1);
}

static void
errors_say_what_to_do(void **state)
{
    (void)state;
    char why[LP_TAP_WHY_BYTES] = "";
    struct lp_nic nic[2];
    struct lp_tap_options options = {.name = "", .queues = 1};
    assert_int_equal(lp_tap_open_boot(&options, nic, why), LP_ERR_BAD_CONFIG);
    assert_non_null(strstr(why, "a name of"));
    if (!namespace_make()) {
        skip();
    }
    options = (struct lp_tap_options){.name = "lo", .queues = 1};
    assert_int_equal(lp_tap_open_boot(&options, nic, why), LP_ERR_BAD_CONFIG);
    assert_non_null(strstr(why, "ip tuntap add dev lo mode tap multi_queue"));
    assert_null(nic[0].self);
    options = (struct lp_tap_options){.name = "lt3", .queues = 1, .netns = "/nowhere"};
    assert_int_equal(lp_tap_open_boot(&options, nic, why), LP_ERR_REFUSED);
    assert_non_null(strstr(why, "namespace"));
}

static void
its_descriptor_is_readable_when_frames_wait(void **state)
{
    (void)state;
    struct rig rig;
    RIG_OPEN(&rig, 1, false);
    const struct lp_nic *nic = &rig.nic[0];
    struct pollfd look = {.fd = nic->ops->wait_fd(nic->self), .events = POLLIN};
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    const struct sockaddr_in to = our_address(9);
    assert_int_equal(sendto(fd, "x", 1, 0, (const struct sockaddr *)&to, sizeof(to)), 1);
    assert_int_equal(poll(&look, 1, WAIT_MS), 1); /* it asks who we are */
    assert_false(nic->ops->sleep_begin(nic->self));
    nic->ops->sleep_end(nic->self);
    while (poll(&look, 1, 0) > 0) {
        (void)turn(&rig, 0);
    }
    assert_true(rig.kernel_known);
    (void)close(fd);
    lp_tap_close(rig.nic, 1);
}

static void
a_link_whose_other_end_is_down_is_down(void **state)
{
    (void)state;
    struct rig rig;
    RIG_OPEN(&rig, 1, false);
    ping(&rig, 64);
    assert_true(rig.nic[0].ops->link_up(rig.nic[0].self));
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = {.ifr_name = "lt0"};
    assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
    request.ifr_flags = (short)(request.ifr_flags & ~IFF_UP);
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    segment_send(&rig, &rig.nic[0], ACK, 0);
    assert_false(rig.nic[0].ops->link_up(rig.nic[0].self));
    request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    segment_send(&rig, &rig.nic[0], ACK, 0);
    assert_true(rig.nic[0].ops->link_up(rig.nic[0].self));
    (void)close(fd);
    lp_tap_close(rig.nic, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kernel_pings_us_with_one_queue_and_with_four),
        cmocka_unit_test(a_jumbo_frame_fits),
        cmocka_unit_test(bulk_of_tcp_crosses_both_ways_with_offloads),
        cmocka_unit_test(bulk_of_tcp_crosses_both_ways_without_offloads),
        cmocka_unit_test(a_flow_comes_to_the_queue_that_answered),
        cmocka_unit_test(a_pool_that_is_dry_gives_nothing_and_loses_nothing),
        cmocka_unit_test(errors_say_what_to_do),
        cmocka_unit_test(its_descriptor_is_readable_when_frames_wait),
        cmocka_unit_test(a_link_whose_other_end_is_down_is_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
