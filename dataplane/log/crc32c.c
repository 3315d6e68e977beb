/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instruction gives a result every cycle, but each takes three: so long
 * inputs are cut into three streams, whose remainders are put together by
 * tables that say what a remainder becomes when the other streams' bytes
 * follow it.  Streams of 80, 320 and 1024 bytes: a message of 1 KiB is one
 * round of 960 bytes and eight instructions.
 */
#include <string.h>

#include "dataplane/log/crc32c.h"

#include "dataplane/log/crc32c_tables.inc"

static uint32_t
by_table(uint32_t state, const uint8_t *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        state = (state >> 8) ^ crc_byte[(state ^ at[i]) & 0xff];
    }
    return state;
}

uint32_t
lp_crc32c_by_table(uint32_t seed, const void *data, size_t bytes)
{
    return ~by_table(~seed, data, bytes);
}

#if defined(__SSE4_2__) && defined(__x86_64__)
#define CRC_BY_INSTRUCTION 1
#include <nmmintrin.h>

static inline uint32_t
take_8(uint32_t state, uint64_t word)
{
    return (uint32_t)_mm_crc32_u64(state, word);
}

static inline uint32_t
take_1(uint32_t state, uint8_t byte)
{
    return _mm_crc32_u8(state, byte);
}
#elif defined(__ARM_FEATURE_CRC32)
#define CRC_BY_INSTRUCTION 1
#include <arm_acle.h>

static inline uint32_t
take_8(uint32_t state, uint64_t word)
{
    return __crc32cd(state, word);
}

static inline uint32_t
take_1(uint32_t state, uint8_t byte)
{
    return __crc32cb(state, byte);
}
#endif

#ifdef CRC_BY_INSTRUCTION

static inline uint64_t
word_at(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

/* `state`, when as many zeros follow it as the table is for. */
static inline uint32_t
behind(const uint32_t table[8][16], uint32_t state)
{
    uint32_t result = 0;
    for (unsigned i = 0; i < 8; i++) {
        result ^= table[i][(state >> (4 * i)) & 15];
    }
    return result;
}

/* Three streams of `stream` bytes each, one behind the other. */
static LP_HOT_INLINE uint32_t
take_three(uint32_t state, const uint8_t *at, size_t stream, const uint32_t table[8][16])
{
    uint32_t second = 0;
    uint32_t third = 0;
    for (const uint8_t *end = at + stream; at != end; at += 8) {
        state = take_8(state, word_at(at));
        second = take_8(second, word_at(at + stream));
        third = take_8(third, word_at(at + 2 * stream));
    }
    return behind(table, behind(table, state) ^ second) ^ third;
}

uint32_t
lp_crc32c(uint32_t seed, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint32_t state = ~seed;
    for (; bytes >= 3 * 1024u; bytes -= 3 * 1024u, at += 3 * 1024u) {
        state = take_three(state, at, 1024, crc_behind_1024);
    }
    for (; bytes >= 3 * 320u; bytes -= 3 * 320u, at += 3 * 320u) {
        state = take_three(state, at, 320, crc_behind_320);
    }
    for (; bytes >= 3 * 80u; bytes -= 3 * 80u, at += 3 * 80u) {
        state = take_three(state, at, 80, crc_behind_80);
    }
    for (; bytes >= 8; bytes -= 8, at += 8) {
        state = take_8(state, word_at(at));
    }
    for (; bytes > 0; bytes--, at++) {
        state = take_1(state, *at);
    }
    return ~state;
}

#else

uint32_t
lp_crc32c(uint32_t seed, const void *data, size_t bytes)
{
    return lp_crc32c_by_table(seed, data, bytes);
}

#endif
