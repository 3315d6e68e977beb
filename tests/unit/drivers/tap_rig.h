/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap_rig.h - a tap in a network namespace of the test's own, with the kernel
 * at its other end: the test answers ARP and echoes by hand, and holds one TCP
 * connection, whose bytes are a pattern.  Included by one file of a program.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <drivers/tap/tap.h>
#include <lepus/bytes.h>

#define WAIT_MS    5000
#define BULK_BYTES 200000u
#define SEGMENT    1448u

static const uint8_t our_ip[4] = {10, 99, 0, 2};
static const uint8_t kernel_ip[4] = {10, 99, 0, 1};

struct rig {
    uint32_t queues;
    struct lp_nic nic[4];
    struct lp_nic_caps caps;
    uint8_t kernel_mac[6];
    bool kernel_known;
    /* The one connection of ours, by hand. */
    uint16_t port;
    uint32_t send_next;
    uint32_t receive_next;
    bool established;
    bool acknowledged_all;
    uint32_t received_bytes;
    uint32_t joined_max; /* the longest frame of the kernel's */
    bool wrong;
    bool partial_seen;
    bool plain_seen;
};

static bool
namespace_make(void)
{
    return access("/dev/net/tun", R_OK | W_OK) == 0 && unshare(CLONE_NEWNET) == 0;
}

static void
interface_set(const char *name, const uint8_t ip[4])
{
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = {0};
    struct sockaddr_in address = {.sin_family = AF_INET};
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    memcpy(&address.sin_addr, ip, 4);
    memcpy(&request.ifr_addr, &address, sizeof(address));
    assert_int_equal(ioctl(fd, SIOCSIFADDR, &request), 0);
    address.sin_addr.s_addr = htonl(0xffffff00);
    memcpy(&request.ifr_netmask, &address, sizeof(address));
    assert_int_equal(ioctl(fd, SIOCSIFNETMASK, &request), 0);
    (void)close(fd);
}

static bool
rig_open(struct rig *rig, uint32_t queues, bool plain)
{
    char why[LP_TAP_WHY_BYTES];
    memset(rig, 0, sizeof(*rig));
    if (!namespace_make()) {
        return false;
    }
    const struct lp_tap_options options = {.name = "lt0", .queues = queues, .plain = plain};
    const enum lp_err err = lp_tap_open_boot(&options, rig->nic, why);
    if (err != LP_OK) {
        print_message("%s\n", why);
    }
    assert_int_equal(err, LP_OK);
    rig->queues = queues;
    rig->nic[0].ops->caps(rig->nic[0].self, &rig->caps);
    interface_set("lt0", kernel_ip);
    return true;
}

#define RIG_OPEN(rig, queues, plain)           \
    if (!rig_open((rig), (queues), (plain))) { \
        skip();                                \
    }

static uint16_t
load16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t
load32(const uint8_t *at)
{
    return (uint32_t)load16(at) << 16 | load16(at + 2);
}

static uint32_t
sum(const uint8_t *data, uint32_t bytes, uint32_t start)
{
    uint32_t total = start;
    for (uint32_t i = 0; i < bytes; i++) {
        total += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
        total = (total & 0xffff) + (total >> 16);
    }
    return total;
}

static void
transmit(const struct lp_nic *nic, struct lp_nic_frame *frame)
{
    assert_int_equal(nic->ops->transmit(nic->self, frame, 1), 1);
    nic->ops->flush(nic->self);
}

static uint8_t
pattern(uint32_t at)
{
    return (uint8_t)(at * 7 + at / 251);
}

/* --- The responder. -------------------------------------------------------------------------- */

static void
answer_arp(struct rig *rig, const struct lp_nic *nic, const struct lp_nic_frame *got)
{
    struct lp_nic_frame frame;
    if (load16(got->data + 20) != 1 || memcmp(got->data + 38, our_ip, 4) != 0) {
        return;
    }
    assert_true(nic->ops->get(nic->self, 42, &frame));
    memcpy(frame.data, got->data + 6, 6);
    memcpy(frame.data + 6, rig->caps.mac, 6);
    memcpy(frame.data + 12, got->data + 12, 8);
    (void)lp_put_u16be(frame.data + 20, 2);
    memcpy(frame.data + 22, rig->caps.mac, 6);
    memcpy(frame.data + 28, our_ip, 4);
    memcpy(frame.data + 32, got->data + 22, 10);
    memcpy(rig->kernel_mac, got->data + 6, 6);
    rig->kernel_known = true;
    transmit(nic, &frame);
}

static void
answer_echo(const struct lp_nic *nic, const struct lp_nic_frame *got)
{
    struct lp_nic_frame frame;
    if (got->data[34] != 8) {
        return;
    }
    assert_true(nic->ops->get(nic->self, got->bytes, &frame));
    memcpy(frame.data, got->data, got->bytes);
    memcpy(frame.data, got->data + 6, 6);
    memcpy(frame.data + 6, got->data, 6);
    memcpy(frame.data + 26, our_ip, 4);
    memcpy(frame.data + 30, kernel_ip, 4);
    const uint32_t icmp_bytes = load16(got->data + 16) - 20u;
    frame.data[34] = 0;
    (void)lp_put_u16be(frame.data + 36, 0);
    (void)lp_put_u16be(frame.data + 36, (uint16_t)~sum(frame.data + 34, icmp_bytes, 0));
    transmit(nic, &frame);
}

enum { FIN = 1, SYN = 2, ACK = 16 };

/* A segment of the one connection; the payload is the pattern from send_next on. */
static void
segment_send(struct rig *rig, const struct lp_nic *nic, uint8_t flags, uint32_t payload)
{
    struct lp_nic_frame frame;
    assert_true(nic->ops->get(nic->self, 54 + payload, &frame));
    uint8_t *at = frame.data;
    memset(at, 0, 54);
    memcpy(at, rig->kernel_mac, 6);
    memcpy(at + 6, rig->caps.mac, 6);
    (void)lp_put_u16be(at + 12, 0x0800);
    at[14] = 0x45;
    (void)lp_put_u16be(at + 16, (uint16_t)(40 + payload));
    at[22] = 64;
    at[23] = 6;
    memcpy(at + 26, our_ip, 4);
    memcpy(at + 30, kernel_ip, 4);
    (void)lp_put_u16be(at + 24, (uint16_t)~sum(at + 14, 20, 0));
    (void)lp_put_u16be(at + 34, 4000);
    (void)lp_put_u16be(at + 36, rig->port);
    (void)lp_put_u32be(at + 38, rig->send_next);
    (void)lp_put_u32be(at + 42, rig->receive_next);
    at[46] = 5 << 4;
    at[47] = flags;
    (void)lp_put_u16be(at + 48, 65535);
    for (uint32_t i = 0; i < payload; i++) {
        at[54 + i] = pattern(rig->send_next - 1 + i);
    }
    rig->send_next += payload + ((flags & (SYN | FIN)) != 0 ? 1 : 0);
    const uint32_t pseudo = sum(at + 26, 8, 6);
    if (rig->caps.l4_fill) {
        const bool cut = payload > SEGMENT;
        frame.flags = LP_NIC_L4_FILL;
        frame.segment_bytes = (uint16_t)(cut ? SEGMENT : 0);
        frame.l3_offset = 14;
        frame.l4_offset = 34;
        frame.l4_bytes = 20;
        (void)lp_put_u16be(at + 50, (uint16_t)(cut ? pseudo : sum(NULL, 0, pseudo + 20 + payload)));
    } else {
        const uint32_t total = sum(at + 34, 20 + payload, pseudo + 20 + payload);
        (void)lp_put_u16be(at + 50, (uint16_t)~total);
    }
    transmit(nic, &frame);
}

static void
take_tcp(struct rig *rig, const struct lp_nic *nic, const struct lp_nic_frame *got)
{
    const uint32_t headers = 34 + (uint32_t)(got->data[46] >> 4) * 4;
    const uint32_t end = 14 + load16(got->data + 16);
    const uint8_t flags = got->data[47];
    const uint32_t l4_bytes = end - 34;
    const bool right =
        sum(got->data + 34, l4_bytes, sum(got->data + 26, 8, 6 + l4_bytes)) == 0xffff;
    rig->partial_seen = rig->partial_seen || (!right && (got->flags & LP_NIC_L4_GOOD) != 0);
    rig->plain_seen = rig->plain_seen || (right && got->flags == 0);
    rig->wrong = rig->wrong || (!right && (got->flags & LP_NIC_L4_GOOD) == 0);
    if (got->segment_bytes > 0) {
        rig->joined_max = LP_MAX(rig->joined_max, got->bytes);
    }
    rig->acknowledged_all = load32(got->data + 42) == rig->send_next;
    if ((flags & SYN) != 0) {
        rig->receive_next = load32(got->data + 38) + 1;
        rig->established = true;
        segment_send(rig, nic, ACK, 0);
        return;
    }
    const uint32_t payload = end - headers;
    if (payload == 0 || load32(got->data + 38) != rig->receive_next) {
        return;
    }
    for (uint32_t i = 0; i < payload; i++) {
        rig->wrong = rig->wrong || got->data[headers + i] != pattern(rig->received_bytes + i);
    }
    rig->received_bytes += payload;
    rig->receive_next += payload;
    segment_send(rig, nic, ACK, 0);
}

static void
take(struct rig *rig, const struct lp_nic *nic, const struct lp_nic_frame *got)
{
    const uint16_t type = load16(got->data + 12);
    if (type == 0x0806) {
        answer_arp(rig, nic, got);
    } else if (type == 0x0800 && got->data[23] == 1) {
        answer_echo(nic, got);
    } else if (type == 0x0800 && got->data[23] == 6 && load16(got->data + 36) == 4000) {
        take_tcp(rig, nic, got);
    }
}

/* What waits on each queue is worked through; gives how many frames came on queue `counted`. */
static uint32_t
turn(struct rig *rig, uint32_t counted)
{
    uint32_t count = 0;
    for (uint32_t q = 0; q < rig->queues; q++) {
        const struct lp_nic *nic = &rig->nic[q];
        struct lp_nic_frame got[8];
        const uint32_t n = nic->ops->receive(nic->self, got, 8);
        for (uint32_t i = 0; i < n; i++) {
            take(rig, nic, &got[i]);
            nic->ops->put(nic->self, &got[i]);
        }
        count += q == counted ? n : 0;
    }
    return count;
}

/* Sleep as the contract says, until a queue or `fd` has something. */
static void
sleep_until_any(struct rig *rig, int fd)
{
    struct pollfd watch[5] = {{.fd = fd, .events = POLLIN}};
    bool quiet = true;
    for (uint32_t q = 0; q < rig->queues; q++) {
        watch[q + 1] =
            (struct pollfd){.fd = rig->nic[q].ops->wait_fd(rig->nic[q].self), .events = POLLIN};
        quiet = rig->nic[q].ops->sleep_begin(rig->nic[q].self) && quiet;
    }
    if (quiet) {
        assert_true(poll(watch, rig->queues + 1, WAIT_MS) > 0);
    }
    for (uint32_t q = 0; q < rig->queues; q++) {
        rig->nic[q].ops->sleep_end(rig->nic[q].self);
    }
}

static struct sockaddr_in
our_address(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&address.sin_addr, our_ip, 4);
    return address;
}

/* An echo of the kernel's, answered by us. */
static void
ping(struct rig *rig, uint32_t bytes)
{
    static uint8_t sent[60000];
    static uint8_t got[60100];
    const int fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMP);
    const struct sockaddr_in to = our_address(0);
    memset(sent, 0x5a, bytes);
    memset(sent, 0, 8);
    sent[0] = 8;
    (void)lp_put_u16be(sent + 2, (uint16_t)~sum(sent, bytes, 0));
    assert_int_equal(sendto(fd, sent, bytes, 0, (const struct sockaddr *)&to, sizeof(to)), bytes);
    ssize_t count = -1;
    for (uint32_t i = 0; i < 1000 && count < 0; i++) {
        (void)turn(rig, 0);
        count = recv(fd, got, sizeof(got), 0);
        if (count < 0) {
            sleep_until_any(rig, fd);
        }
    }
    assert_int_equal(count, bytes + 20);
    assert_memory_equal(got + 28, sent + 8, bytes - 8);
    (void)close(fd);
}

/* The kernel's listener, and our connection to it; gives the accepted socket. */
static int
connect_to_kernel(struct rig *rig)
{
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t bytes = sizeof(address);
    memcpy(&address.sin_addr, kernel_ip, 4);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &bytes), 0);
    ping(rig, 64); /* so that we know the kernel's MAC */
    assert_true(rig->kernel_known);
    rig->port = ntohs(address.sin_port);
    segment_send(rig, &rig->nic[0], SYN, 0);
    while (!rig->established) {
        sleep_until_any(rig, listener);
        (void)turn(rig, 0);
    }
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    assert_true(fd >= 0);
    (void)close(listener);
    return fd;
}
