/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a network card does to frames: checksums, cutting, joining, hashing.
 * Written for being obviously right and not for speed, and apart from
 * dataplane/net, whose judge it is.
 */
#include "wire_internal.h"

#include <stdlib.h>
#include <string.h>

#include <lepus/bytes.h>

enum {
    ETHERNET_BYTES = 14,
    TAG_BYTES = 4,
    IPV4_BYTES = 20,
    IPV6_BYTES = 40,
    TCP_BYTES = 20,
    TCP_CHECKSUM = 16, /* in TCP's header */
    TCP_FLAGS = 13,
    IPV4_CHECKSUM = 10,
    PROTOCOL_ICMP = 1,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_ICMP6 = 58,
    FIN = 1 << 0,
    PSH = 1 << 3,
    CWR = 1 << 7,
};

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

static void
store16(uint8_t *at, uint32_t value)
{
    (void)lp_put_u16be(at, (uint16_t)value);
}

struct wire_frame *
wire_frame_make(uint32_t bytes)
{
    struct wire_frame *frame = calloc(1, sizeof(*frame));
    LP_ASSERT(frame != NULL);
    /* No zeros: whoever forgets a byte of a header is found out. */
    frame->data = malloc(bytes == 0 ? 1 : bytes);
    LP_ASSERT(frame->data != NULL);
    memset(frame->data, 0xa5, bytes);
    frame->bytes = bytes;
    return frame;
}

struct wire_frame *
wire_frame_copy(const struct wire_frame *frame)
{
    struct wire_frame *copy = wire_frame_make(frame->bytes);
    memcpy(copy->data, frame->data, frame->bytes);
    copy->partial = frame->partial;
    return copy;
}

void
wire_frame_free(struct wire_frame *frame)
{
    free(frame->data);
    free(frame);
}

static bool
headers_ipv4(const uint8_t *data, uint32_t room, struct wire_headers *headers)
{
    const uint32_t header_bytes = room >= IPV4_BYTES ? (data[0] & 15u) * 4u : 0;
    const uint32_t total = room >= IPV4_BYTES ? load16(data + 2) : 0;
    if (header_bytes < IPV4_BYTES || total < header_bytes || total > room) {
        return false;
    }
    headers->family = 4;
    headers->l4 = headers->l3 + header_bytes;
    headers->l4_bytes = total - header_bytes;
    const bool fragment = (load16(data + 6) & 0x3fff) != 0;
    headers->protocol = fragment ? 0 : data[9];
    return true;
}

/* Extension headers are not looked behind, as with most cards. */
static bool
headers_ipv6(const uint8_t *data, uint32_t room, struct wire_headers *headers)
{
    if (room < IPV6_BYTES || load16(data + 4) > room - IPV6_BYTES) {
        return false;
    }
    headers->family = 6;
    headers->l4 = headers->l3 + IPV6_BYTES;
    headers->l4_bytes = load16(data + 4);
    headers->protocol = data[6];
    return true;
}

struct wire_headers
wire_headers_of(const uint8_t *data, uint32_t bytes)
{
    struct wire_headers headers = {.l3 = ETHERNET_BYTES};
    if (bytes >= ETHERNET_BYTES + TAG_BYTES && load16(data + 12) == 0x8100) {
        headers.l3 += TAG_BYTES;
    }
    if (bytes <= headers.l3) {
        return headers;
    }
    const uint8_t version = data[headers.l3] >> 4;
    const uint16_t type = load16(data + headers.l3 - 2);
    const uint32_t room = bytes - headers.l3;
    const bool known =
        (version == 4 && type == 0x0800 && headers_ipv4(data + headers.l3, room, &headers)) ||
        (version == 6 && type == 0x86dd && headers_ipv6(data + headers.l3, room, &headers));
    if (!known) {
        return (struct wire_headers){0};
    }
    if (headers.protocol == PROTOCOL_TCP && headers.l4_bytes >= TCP_BYTES) {
        headers.l4_header_bytes = (uint32_t)(data[headers.l4 + 12] >> 4) * 4;
        if (headers.l4_header_bytes < TCP_BYTES || headers.l4_header_bytes > headers.l4_bytes) {
            headers.l4_header_bytes = 0;
        }
    }
    return headers;
}

/* --- Hashes. --------------------------------------------------------------------------------- */

/* Addresses, then ports, as received. */
static uint32_t
flow_tuple(const struct wire_frame *frame, uint8_t tuple[36])
{
    const struct wire_headers headers = wire_headers_of(frame->data, frame->bytes);
    if (headers.l4_header_bytes == 0) {
        return 0;
    }
    const uint32_t address_bytes = headers.family == 4 ? 8 : 32;
    const uint32_t at = headers.family == 4 ? 12 : 8;
    memcpy(tuple, frame->data + headers.l3 + at, address_bytes);
    memcpy(tuple + address_bytes, frame->data + headers.l4, 4);
    return address_bytes + 4;
}

uint32_t
wire_flow_hash(const struct wire_frame *frame, const uint8_t *rss_key)
{
    uint8_t tuple[36];
    const uint32_t bytes = flow_tuple(frame, tuple);
    uint32_t hash = 0;
    for (uint32_t bit = 0; bit < bytes * 8; bit++) {
        if ((tuple[bit / 8] >> (7 - bit % 8) & 1) == 0) {
            continue;
        }
        /* 32 bits of the key, from this bit on. */
        const uint64_t five = (uint64_t)load32(rss_key + bit / 8) << 8 | rss_key[bit / 8 + 4];
        hash ^= (uint32_t)(five >> (8 - bit % 8));
    }
    return hash;
}

uint32_t
wire_flow_name(const struct wire_frame *frame)
{
    uint8_t tuple[36];
    const uint32_t bytes = flow_tuple(frame, tuple);
    uint32_t name = 0;
    for (uint32_t i = 0; i + 2 <= bytes; i += 2) {
        /* A sum does not care which end is first. */
        name += load16(tuple + i) * 0x9e3779b1u;
    }
    return name ^ name >> 16;
}

/* --- Checksums. ------------------------------------------------------------------------------ */

static uint32_t
sum_of(const uint8_t *data, uint32_t bytes, uint32_t sum)
{
    for (uint32_t i = 0; i < bytes; i++) {
        sum += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint32_t
sum_pseudo(const uint8_t *data, const struct wire_headers *headers, uint32_t l4_bytes)
{
    const uint32_t at = headers->l3 + (headers->family == 4 ? 12 : 8);
    uint32_t sum = sum_of(data + at, headers->family == 4 ? 8 : 32, headers->protocol);
    sum += l4_bytes & 0xffff;
    sum += l4_bytes >> 16;
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

static bool
l4_right(const uint8_t *data, const struct wire_headers *headers)
{
    const bool plain = headers->protocol == PROTOCOL_ICMP;
    const uint32_t pseudo = plain ? 0 : sum_pseudo(data, headers, headers->l4_bytes);
    return sum_of(data + headers->l4, headers->l4_bytes, pseudo) == 0xffff;
}

uint16_t
wire_verify(const struct wire_frame *frame)
{
    const struct wire_headers headers = wire_headers_of(frame->data, frame->bytes);
    uint16_t flags = 0;
    if (headers.family == 4) {
        const uint32_t bytes = headers.l4 - headers.l3;
        const bool right = sum_of(frame->data + headers.l3, bytes, 0) == 0xffff;
        flags |= right ? LP_NIC_IP_GOOD : LP_NIC_IP_BAD;
    }
    if (headers.protocol == PROTOCOL_TCP || headers.protocol == PROTOCOL_ICMP ||
        headers.protocol == PROTOCOL_ICMP6) {
        flags |= l4_right(frame->data, &headers) ? LP_NIC_L4_GOOD : LP_NIC_L4_BAD;
    }
    return flags;
}

void
wire_checksum_fill(struct wire_frame *frame, bool partial)
{
    const struct wire_headers headers = wire_headers_of(frame->data, frame->bytes);
    uint8_t *field = frame->data + headers.l4 + TCP_CHECKSUM;
    const uint32_t pseudo = sum_pseudo(frame->data, &headers, headers.l4_bytes);
    store16(field, partial ? pseudo : 0);
    if (!partial) {
        store16(field, ~sum_of(frame->data + headers.l4, headers.l4_bytes, pseudo));
    }
}

bool
wire_pseudo_right(const uint8_t *data, const struct wire_headers *headers, bool with_length)
{
    const uint32_t sum = sum_pseudo(data, headers, with_length ? headers->l4_bytes : 0);
    return load16(data + headers->l4 + TCP_CHECKSUM) == sum;
}

static void
ip_bytes_set(uint8_t *data, const struct wire_headers *headers, uint32_t l4_bytes)
{
    uint8_t *ip = data + headers->l3;
    if (headers->family == 6) {
        store16(ip + 4, l4_bytes);
        return;
    }
    const uint32_t header_bytes = headers->l4 - headers->l3;
    store16(ip + 2, header_bytes + l4_bytes);
    store16(ip + IPV4_CHECKSUM, 0);
    store16(ip + IPV4_CHECKSUM, ~sum_of(ip, header_bytes, 0));
}

/* --- Cutting and joining. -------------------------------------------------------------------- */

static struct wire_frame *
segment_cut(const struct wire_frame *whole, const struct wire_headers *headers, uint32_t at,
            uint32_t bytes)
{
    const uint32_t start = headers->l4 + headers->l4_header_bytes;
    const bool last = start + at + bytes == whole->bytes;
    struct wire_frame *piece = wire_frame_make(start + bytes);
    memcpy(piece->data, whole->data, start);
    memcpy(piece->data + start, whole->data + start + at, bytes);
    uint8_t *tcp = piece->data + headers->l4;
    (void)lp_put_u32be(tcp + 4, load32(tcp + 4) + at);
    tcp[TCP_FLAGS] &= (uint8_t) ~((last ? 0 : FIN | PSH) | (at == 0 ? 0 : CWR));
    if (headers->family == 4) {
        uint8_t *id = piece->data + headers->l3 + 4;
        store16(id, load16(id) + at / whole->segment_bytes);
    }
    ip_bytes_set(piece->data, headers, headers->l4_header_bytes + bytes);
    wire_checksum_fill(piece, false);
    piece->partial = true;
    return piece;
}

struct wire_frame *
wire_segments_cut(struct wire_frame *frame)
{
    const struct wire_headers headers = wire_headers_of(frame->data, frame->bytes);
    const uint32_t start = headers.l4 + headers.l4_header_bytes;
    struct wire_frame *first = NULL;
    struct wire_frame **link = &first;
    for (uint32_t at = 0; start + at < frame->bytes; at += frame->segment_bytes) {
        const uint32_t bytes = LP_MIN((uint32_t)frame->segment_bytes, frame->bytes - start - at);
        *link = segment_cut(frame, &headers, at, bytes);
        link = &(*link)->next;
    }
    wire_frame_free(frame);
    return first;
}

/* All headers but lengths, checksums, the number of the packet and of its bytes. */
static bool
segments_alike(const uint8_t *a, const uint8_t *b, const struct wire_headers *headers)
{
    const uint8_t *ip_a = a + headers->l3;
    const uint8_t *ip_b = b + headers->l3;
    const uint32_t ip_bytes = headers->l4 - headers->l3;
    const uint8_t *tcp_a = a + headers->l4;
    const uint8_t *tcp_b = b + headers->l4;
    const bool ip_same =
        headers->family == 6
            ? memcmp(ip_a, ip_b, 4) == 0 && memcmp(ip_a + 6, ip_b + 6, ip_bytes - 6) == 0
            : memcmp(ip_a, ip_b, 2) == 0 && memcmp(ip_a + 6, ip_b + 6, 4) == 0 &&
                  memcmp(ip_a + 12, ip_b + 12, ip_bytes - 12) == 0;
    return memcmp(a, b, headers->l3) == 0 && ip_same && memcmp(tcp_a, tcp_b, 4) == 0 &&
           memcmp(tcp_a + 8, tcp_b + 8, 5) == 0 && memcmp(tcp_a + 14, tcp_b + 14, 2) == 0 &&
           memcmp(tcp_a + 18, tcp_b + 18, headers->l4_header_bytes - 18) == 0;
}

bool
wire_segments_join(struct wire_frame *head, struct wire_frame *next)
{
    const struct wire_headers a = wire_headers_of(head->data, head->bytes);
    const struct wire_headers b = wire_headers_of(next->data, next->bytes);
    const bool tcp = a.l4_header_bytes > 0 && a.l4 == b.l4 && a.family == b.family &&
                     a.l4_header_bytes == b.l4_header_bytes;
    if (!tcp || !segments_alike(head->data, next->data, &a)) {
        return false;
    }
    uint8_t *head_tcp = head->data + a.l4;
    const uint8_t *next_tcp = next->data + b.l4;
    const uint32_t have = a.l4_bytes - a.l4_header_bytes;
    const uint32_t more = b.l4_bytes - b.l4_header_bytes;
    const uint32_t segment = head->segment_bytes > 0 ? head->segment_bytes : have;
    const uint8_t plain = 0x10; /* ACK and nothing else, but PSH of the last */
    const bool fits = have > 0 && more > 0 && more <= segment && have % segment == 0 &&
                      head_tcp[TCP_FLAGS] == plain && (next_tcp[TCP_FLAGS] & ~PSH) == plain &&
                      load32(head_tcp + 4) + have == load32(next_tcp + 4) &&
                      (a.l4 - a.l3) + a.l4_bytes + more <= 65535;
    if (!fits) {
        return false;
    }
    const uint32_t end = a.l4 + a.l4_bytes; /* padding goes */
    uint8_t *data = malloc(end + more);
    LP_ASSERT(data != NULL);
    memcpy(data, head->data, end);
    memcpy(data + end, next->data + b.l4 + b.l4_header_bytes, more);
    data[a.l4 + TCP_FLAGS] |= next_tcp[TCP_FLAGS];
    ip_bytes_set(data, &a, a.l4_bytes + more);
    free(head->data);
    head->data = data;
    head->bytes = end + more;
    head->segment_bytes = (uint16_t)segment;
    wire_frame_free(next);
    return true;
}
