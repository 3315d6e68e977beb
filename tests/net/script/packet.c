/* SPDX-License-Identifier: Apache-2.0 */
#include "script.h"

#include <string.h>

#include <lepus/bytes.h>

#define ETHERNET_BYTES 14u
#define ARP            0x0806u
#define IPV4           0x0800u
#define IPV6           0x86ddu
#define PROTOCOL_TCP   6u
#define PROTOCOL_ICMP  1u
#define PROTOCOL_ICMP6 58u

/* TCP options. */
enum {
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_MSS = 2,
    OPTION_SHIFT = 3,
    OPTION_SACK_PERMITTED = 4,
    OPTION_SACK = 5,
    OPTION_STAMPS = 8,
};

uint8_t
script_byte(uint32_t place)
{
    return (uint8_t)(place * 31u + (place >> 8) + 7u);
}

static uint32_t
sum_add(uint32_t sum, const uint8_t *data, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        sum += (i & 1u) != 0 ? data[i] : (uint32_t)data[i] << 8;
        sum = (sum & 0xffffu) + (sum >> 16);
    }
    return sum;
}

static uint32_t
address_bytes(const struct script_ends *ends)
{
    return ends->family == LP_ADDRESS_IPV4 ? 4 : 16;
}

static uint16_t
l4_sum(const struct script_ends *ends, const uint8_t *from, const uint8_t *to, uint8_t protocol,
       const uint8_t *l4, uint32_t bytes)
{
    const uint8_t tail[4] = {(uint8_t)(bytes >> 8), (uint8_t)bytes, 0, protocol};
    uint32_t sum = sum_add(0, from, address_bytes(ends));
    sum = sum_add(sum, to, address_bytes(ends));
    sum = sum_add(sum, tail, sizeof(tail));
    return (uint16_t)sum_add(sum, l4, bytes);
}

static void
ethernet_write(const struct script_ends *ends, struct lp_writer *writer, uint16_t type)
{
    lp_writer_copy(writer, ends->our_mac, 6);
    lp_writer_copy(writer, ends->peer_mac, 6);
    lp_writer_u16be(writer, type);
}

/* Link and network headers from the peer to us, for so many bytes behind them. */
static void
marked_headers_write(const struct script_ends *ends, struct lp_writer *writer, uint8_t protocol,
                     uint32_t l4_bytes, uint8_t codepoint)
{
    if (ends->family == LP_ADDRESS_IPV6) {
        ethernet_write(ends, writer, IPV6);
        lp_writer_u32be(writer, 0x60000000u | (uint32_t)codepoint << 20);
        lp_writer_u16be(writer, (uint16_t)l4_bytes);
        lp_writer_u8(writer, protocol);
        lp_writer_u8(writer, 255);
        lp_writer_copy(writer, ends->peer, 16);
        lp_writer_copy(writer, ends->ours, 16);
        return;
    }
    ethernet_write(ends, writer, IPV4);
    uint8_t *header = writer->at;
    lp_writer_u16be(writer, 0x4500 | codepoint);
    lp_writer_u16be(writer, (uint16_t)(20 + l4_bytes));
    lp_writer_u32be(writer, 0x00004000); /* DF */
    lp_writer_u8(writer, 64);
    lp_writer_u8(writer, protocol);
    lp_writer_u16be(writer, 0);
    lp_writer_copy(writer, ends->peer, 4);
    lp_writer_copy(writer, ends->ours, 4);
    const uint16_t sum = (uint16_t)~sum_add(0, header, 20);
    header[10] = (uint8_t)(sum >> 8);
    header[11] = (uint8_t)sum;
}

static void
headers_write(const struct script_ends *ends, struct lp_writer *writer, uint8_t protocol,
              uint32_t l4_bytes)
{
    marked_headers_write(ends, writer, protocol, l4_bytes, 0);
}

static void
options_write(const struct script_segment *segment, struct lp_writer *writer)
{
    if (segment->mss.want == SCRIPT_VALUE) {
        lp_writer_u16be(writer, OPTION_MSS << 8 | 4);
        lp_writer_u16be(writer, (uint16_t)segment->mss.value);
    }
    if (segment->sack_permitted == SCRIPT_VALUE) {
        lp_writer_u16be(writer, OPTION_SACK_PERMITTED << 8 | 2);
    }
    if (segment->stamp.want == SCRIPT_VALUE) {
        lp_writer_u16be(writer, OPTION_STAMPS << 8 | 10);
        lp_writer_u32be(writer, segment->stamp.value);
        lp_writer_u32be(writer, segment->echo.value);
    }
    if (segment->shift.want == SCRIPT_VALUE) {
        lp_writer_u16be(writer, OPTION_SHIFT << 8 | 3);
        lp_writer_u8(writer, (uint8_t)segment->shift.value);
    }
    if (segment->sack_count > 0) {
        lp_writer_u16be(writer, (uint16_t)(OPTION_SACK << 8 | (2 + 8 * segment->sack_count)));
        for (uint32_t i = 0; i < 2 * segment->sack_count; i++) {
            lp_writer_u32be(writer, segment->sack_range[i]);
        }
    }
}

uint32_t
script_frame_make(const struct script_ends *ends, const struct script_segment *segment,
                  uint32_t seq, uint32_t ack, uint8_t *ret_frame)
{
    uint8_t options[64];
    struct lp_writer option = lp_writer_of(options, 40);
    options_write(segment, &option);
    while (lp_writer_size(&option) % 4 != 0) {
        lp_writer_u8(&option, OPTION_NOP);
    }
    const uint32_t option_bytes = (uint32_t)lp_writer_size(&option);
    const uint32_t payload = segment->length.want == SCRIPT_VALUE ? segment->length.value : 0;
    const uint32_t l4_bytes = 20 + option_bytes + payload;
    struct lp_writer writer = lp_writer_of(ret_frame, LP_NIC_FRAME_BYTES_MAX);
    marked_headers_write(ends, &writer, PROTOCOL_TCP, l4_bytes,
                         segment->ecn.want == SCRIPT_VALUE ? (uint8_t)segment->ecn.value : 0);
    uint8_t *l4 = writer.at;
    lp_writer_u16be(&writer, (uint16_t)(SCRIPT_PEER_PORT + segment->flow));
    lp_writer_u16be(&writer, segment->our_port != 0 ? segment->our_port : SCRIPT_OUR_PORT);
    lp_writer_u32be(&writer, seq);
    lp_writer_u32be(&writer, ack);
    lp_writer_u8(&writer, (uint8_t)((20 + option_bytes) / 4 << 4));
    lp_writer_u8(&writer, segment->flags);
    lp_writer_u16be(
        &writer, (uint16_t)(segment->window.want == SCRIPT_VALUE ? segment->window.value : 65535));
    lp_writer_u32be(&writer, 0);
    lp_writer_copy(&writer, options, option_bytes);
    const uint32_t place = segment->seq.value - ((segment->flags & 2u) != 0 ? 0 : 1);
    for (uint32_t i = 0; i < payload; i++) {
        lp_writer_u8(&writer, script_byte(place + i));
    }
    const uint16_t sum =
        (uint16_t)(~l4_sum(ends, ends->peer, ends->ours, PROTOCOL_TCP, l4, l4_bytes) ^
                   (segment->bad_checksum ? 1 : 0));
    l4[16] = (uint8_t)(sum >> 8);
    l4[17] = (uint8_t)sum;
    const uint32_t bytes = (uint32_t)lp_writer_size(&writer);
    return bytes - LP_MIN(segment->cut, bytes);
}

static struct script_number
number_of(uint32_t value)
{
    return (struct script_number){SCRIPT_VALUE, value};
}

static bool
option_read(uint8_t kind, struct lp_reader *body, struct script_segment *segment)
{
    switch (kind) {
    case OPTION_MSS:
        segment->mss = number_of(lp_reader_u16be(body));
        break;
    case OPTION_SHIFT:
        segment->shift = number_of(lp_reader_u8(body));
        break;
    case OPTION_SACK_PERMITTED:
        segment->sack_permitted = SCRIPT_VALUE;
        break;
    case OPTION_STAMPS:
        segment->stamp = number_of(lp_reader_u32be(body));
        segment->echo = number_of(lp_reader_u32be(body));
        break;
    case OPTION_SACK:
        segment->sack = SCRIPT_VALUE;
        while (lp_reader_left(body) > 0 && segment->sack_count < SCRIPT_SACKS_MAX) {
            segment->sack_range[2 * segment->sack_count] = lp_reader_u32be(body);
            segment->sack_range[2 * segment->sack_count + 1] = lp_reader_u32be(body);
            segment->sack_count++;
        }
        break;
    default:
        return false;
    }
    return !body->failed && lp_reader_left(body) == 0;
}

static bool
options_read(struct lp_reader *reader, struct script_segment *segment)
{
    segment->mss.want = segment->shift.want = segment->stamp.want = segment->echo.want =
        SCRIPT_ABSENT;
    segment->sack_permitted = segment->sack = SCRIPT_ABSENT;
    while (lp_reader_left(reader) > 0) {
        const uint8_t kind = lp_reader_u8(reader);
        if (kind == OPTION_END) {
            return true;
        }
        if (kind == OPTION_NOP) {
            continue;
        }
        const uint8_t bytes = lp_reader_u8(reader);
        const uint8_t *body = bytes < 2 ? NULL : lp_reader_take(reader, bytes - 2u);
        if (body == NULL) {
            return false;
        }
        struct lp_reader within = lp_reader_of(body, bytes - 2u);
        if (!option_read(kind, &within, segment)) {
            return false;
        }
    }
    return true;
}

/* Ethernet and IP of a frame of ours; gives its TCP, or NULL. */
static const uint8_t *
network_read(const struct script_ends *ends, struct lp_reader *reader, uint8_t *ret_protocol,
             uint32_t *ret_bytes)
{
    const uint8_t *macs = lp_reader_take(reader, 12);
    const uint16_t type = lp_reader_u16be(reader);
    if (macs == NULL || memcmp(macs + 6, ends->our_mac, 6) != 0) {
        return NULL;
    }
    if (type == IPV6 && ends->family == LP_ADDRESS_IPV6) {
        const uint8_t *header = lp_reader_take(reader, 40);
        *ret_protocol = header == NULL ? 0 : header[6];
        *ret_bytes = header == NULL ? 0 : (uint32_t)header[4] << 8 | header[5];
    } else if (type == IPV4 && ends->family == LP_ADDRESS_IPV4) {
        const uint8_t *header = lp_reader_take(reader, 20);
        if (header == NULL || header[0] != 0x45 || sum_add(0, header, 20) != 0xffffu) {
            return NULL;
        }
        *ret_protocol = header[9];
        *ret_bytes = ((uint32_t)header[2] << 8 | header[3]) - 20;
    } else {
        return NULL;
    }
    return lp_reader_take(reader, *ret_bytes);
}

bool
script_frame_read(const struct script_ends *ends, const uint8_t *frame, uint32_t bytes,
                  bool filled_by_device, struct script_segment *ret_segment,
                  const uint8_t **ret_payload, char *ret_why)
{
    struct lp_reader reader = lp_reader_of(frame, bytes);
    uint8_t protocol = 0;
    uint32_t l4_bytes = 0;
    const uint8_t *l4 = network_read(ends, &reader, &protocol, &l4_bytes);
    ret_why[0] = '\0';
    if (l4 == NULL || protocol != PROTOCOL_TCP) {
        return false;
    }
    struct lp_reader tcp = lp_reader_of(l4, l4_bytes);
    *ret_segment = (struct script_segment){0};
    ret_segment->our_port = lp_reader_u16be(&tcp);
    ret_segment->flow = lp_reader_u16be(&tcp) - SCRIPT_PEER_PORT;
    ret_segment->seq = number_of(lp_reader_u32be(&tcp));
    ret_segment->ack = number_of(lp_reader_u32be(&tcp));
    const uint8_t offset = lp_reader_u8(&tcp) >> 4;
    ret_segment->flags = lp_reader_u8(&tcp);
    ret_segment->window = number_of(lp_reader_u16be(&tcp));
    ret_segment->ecn =
        number_of(ends->family == LP_ADDRESS_IPV6 ? frame[15] >> 4 & 3u : frame[15] & 3u);
    (void)lp_reader_u32be(&tcp);
    const uint8_t *options = offset < 5 ? NULL : lp_reader_take(&tcp, 4u * (offset - 5u));
    struct lp_reader option = lp_reader_of(options, 4u * (offset - 5u));
    if (options == NULL || !options_read(&option, ret_segment)) {
        (void)snprintf(ret_why, SCRIPT_WHY_BYTES, "a segment with broken options came out");
        return false;
    }
    if (!filled_by_device &&
        l4_sum(ends, ends->ours, ends->peer, PROTOCOL_TCP, l4, l4_bytes) != 0xffffu) {
        (void)snprintf(ret_why, SCRIPT_WHY_BYTES, "a segment with a wrong checksum came out");
        return false;
    }
    if (ret_segment->flow >= SCRIPT_FLOWS_MAX) {
        (void)snprintf(ret_why, SCRIPT_WHY_BYTES, "a segment between unknown ports came out");
        return false;
    }
    ret_segment->length = number_of((uint32_t)lp_reader_left(&tcp));
    *ret_payload = tcp.at;
    return true;
}

/* Not inlined: gcc 12 believes then that its frame has no room (-Warray-bounds). */
LP_COLD static uint32_t
arp_answer(const struct script_ends *ends, struct lp_reader *reader, uint8_t *ret_frame)
{
    (void)lp_reader_take(reader, 6);
    const uint16_t operation = lp_reader_u16be(reader);
    (void)lp_reader_take(reader, 6);
    const uint8_t *sender = lp_reader_take(reader, 4);
    (void)lp_reader_take(reader, 6);
    const uint8_t *target = lp_reader_take(reader, 4);
    if (target == NULL || operation != 1 || memcmp(target, ends->peer, 4) != 0) {
        return 0;
    }
    struct lp_writer writer = lp_writer_of(ret_frame, 64);
    ethernet_write(ends, &writer, ARP);
    lp_writer_u16be(&writer, 1);
    lp_writer_u16be(&writer, IPV4);
    lp_writer_u16be(&writer, 0x0604);
    lp_writer_u16be(&writer, 2);
    lp_writer_copy(&writer, ends->peer_mac, 6);
    lp_writer_copy(&writer, ends->peer, 4);
    lp_writer_copy(&writer, ends->our_mac, 6);
    lp_writer_copy(&writer, sender, 4);
    return (uint32_t)lp_writer_size(&writer);
}

/* RFC 4861 4.3, 4.4. */
static uint32_t
solicitation_answer(const struct script_ends *ends, const uint8_t *l4, uint32_t bytes,
                    uint8_t *ret_frame)
{
    if (bytes < 24 || l4[0] != 135 || memcmp(l4 + 8, ends->peer, 16) != 0) {
        return 0;
    }
    struct lp_writer writer = lp_writer_of(ret_frame, 128);
    headers_write(ends, &writer, PROTOCOL_ICMP6, 32);
    uint8_t *answer = writer.at;
    lp_writer_u32be(&writer, 136u << 24);
    lp_writer_u32be(&writer, 0x60000000u); /* solicited, override */
    lp_writer_copy(&writer, ends->peer, 16);
    lp_writer_u16be(&writer, 0x0201);
    lp_writer_copy(&writer, ends->peer_mac, 6);
    const uint16_t sum =
        (uint16_t)~l4_sum(ends, ends->peer, ends->ours, PROTOCOL_ICMP6, answer, 32);
    answer[2] = (uint8_t)(sum >> 8);
    answer[3] = (uint8_t)sum;
    return (uint32_t)lp_writer_size(&writer);
}

uint32_t
script_resolve_answer(const struct script_ends *ends, const uint8_t *frame, uint32_t bytes,
                      uint8_t *ret_frame)
{
    struct lp_reader reader = lp_reader_of(frame, bytes);
    (void)lp_reader_take(&reader, 12);
    if (lp_reader_u16be(&reader) == ARP) {
        return ends->family == LP_ADDRESS_IPV4 ? arp_answer(ends, &reader, ret_frame) : 0;
    }
    reader = lp_reader_of(frame, bytes);
    uint8_t protocol = 0;
    uint32_t l4_bytes = 0;
    const uint8_t *l4 = network_read(ends, &reader, &protocol, &l4_bytes);
    if (l4 == NULL || protocol != PROTOCOL_ICMP6) {
        return 0;
    }
    return solicitation_answer(ends, l4, l4_bytes, ret_frame);
}

/* What the error quotes: the packet of ours that it is about, up to its first 8 bytes of TCP. */
static void
quote_write(const struct script_ends *ends, const struct script_icmp *icmp,
            struct lp_writer *writer)
{
    if (ends->family == LP_ADDRESS_IPV6) {
        lp_writer_u32be(writer, 0x60000000u);
        lp_writer_u16be(writer, 1440);
        lp_writer_u16be(writer, PROTOCOL_TCP << 8 | 64);
        lp_writer_copy(writer, ends->ours, 16);
        lp_writer_copy(writer, ends->peer, 16);
    } else {
        lp_writer_u32be(writer, 0x45000000u + 1500u);
        lp_writer_u32be(writer, 0x00004000u);
        lp_writer_u32be(writer, 0x40000000u | PROTOCOL_TCP << 16);
        lp_writer_copy(writer, ends->ours, 4);
        lp_writer_copy(writer, ends->peer, 4);
    }
    lp_writer_u16be(writer, icmp->our_port != 0 ? icmp->our_port : SCRIPT_OUR_PORT);
    lp_writer_u16be(writer, (uint16_t)(SCRIPT_PEER_PORT + icmp->flow));
    lp_writer_u32be(writer, icmp->seq);
}

uint32_t
script_icmp_make(const struct script_ends *ends, const struct script_icmp *icmp, uint8_t *ret_frame)
{
    const bool six = ends->family == LP_ADDRESS_IPV6;
    const uint32_t bytes = 8 + (six ? 40 : 20) + 8;
    struct lp_writer writer = lp_writer_of(ret_frame, 256);
    headers_write(ends, &writer, six ? PROTOCOL_ICMP6 : PROTOCOL_ICMP, bytes);
    uint8_t *l4 = writer.at;
    if (six) {
        lp_writer_u32be(&writer, icmp->too_big ? 2u << 24 : 1u << 24 | (uint32_t)icmp->code << 16);
        lp_writer_u32be(&writer, icmp->too_big ? icmp->mtu_bytes : 0);
    } else {
        lp_writer_u32be(&writer, 3u << 24 | (icmp->too_big ? 4u : icmp->code) << 16);
        lp_writer_u32be(&writer, icmp->too_big ? icmp->mtu_bytes : 0);
    }
    quote_write(ends, icmp, &writer);
    const uint16_t sum = six ? l4_sum(ends, ends->peer, ends->ours, PROTOCOL_ICMP6, l4, bytes)
                             : (uint16_t)sum_add(0, l4, bytes);
    l4[2] = (uint8_t)((uint16_t)~sum >> 8);
    l4[3] = (uint8_t)~sum;
    return (uint32_t)lp_writer_size(&writer);
}
