/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checksum.c - the Internet checksum (RFC 1071): one's complement sums.
 *
 * RFC 1071 2 (B): the sum does not depend on the byte order that it is made
 * in, so words are added as the machine has them and the result is swapped.
 */
#include <string.h>

#include "net_private.h"

static inline uint32_t
sum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffffffu) + (sum >> 32);
    uint32_t folded = (uint32_t)sum;
    folded = (folded & 0xffffu) + (folded >> 16);
    folded = (folded & 0xffffu) + (folded >> 16);
    return folded;
}

static inline uint64_t
sum_word(const uint8_t *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

uint16_t
net_sum(const void *data, size_t bytes, uint32_t sum)
{
    const uint8_t *at = data;
    uint64_t lanes[4] = {0, 0, 0, 0};
    /* No lane overflows: 2^32 words would be 16 GiB. */
    for (; bytes >= 16; bytes -= 16, at += 16) {
        lanes[0] += sum_word(at);
        lanes[1] += sum_word(at + 4);
        lanes[2] += sum_word(at + 8);
        lanes[3] += sum_word(at + 12);
    }
    /* What is left is padded with zeros (RFC 1071 4.1: an odd byte is a word's first). */
    uint8_t rest[16] = {0};
    if (bytes > 0) {
        memcpy(rest, at, bytes);
    }
    for (uint32_t i = 0; i < 4; i++) {
        lanes[i] += sum_word(rest + (size_t)i * 4);
    }
    const uint32_t own = sum_fold(lanes[0] + lanes[1] + lanes[2] + lanes[3]);
    return (uint16_t)sum_fold((uint64_t)__builtin_bswap16((uint16_t)own) + sum);
}

uint32_t
net_sum_pseudo(uint8_t family, const uint8_t *from, const uint8_t *to, uint8_t protocol,
               uint32_t l4_bytes)
{
    const uint32_t bytes = net_ip_bytes(family);
    uint32_t sum = net_sum(from, bytes, 0);
    sum = net_sum(to, bytes, sum);
    return sum_fold((uint64_t)sum + protocol + (l4_bytes >> 16) + (l4_bytes & 0xffffu));
}
