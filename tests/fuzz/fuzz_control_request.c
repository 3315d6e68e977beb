/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_control_request.c - can a shard that says anything at all break the
 * control process, or its catalog?
 *
 * Input: an octet (1: connection 1 is guest's, in "/"); then {kind u8,
 * sequence u8, size u16 little-endian, payload} each.
 */
#include "tests/fuzz/hostile_shard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define REQUEST_LOGGED_IN 1u
#define INPUT_MAX         (32u << 10)

static void
log_in(struct hostile_shard *shard)
{
    uint8_t room[256];
    struct lp_writer login = lp_writer_of(room, sizeof(room));
    lp_writer_u64le(&login, 1);
    lp_writer_short(&login, lp_bytes_of_text("PLAIN"));
    lp_writer_short(&login, lp_bytes_of_text("guest"));
    lp_writer_long_le(&login, lp_bytes_of_text("guest"));
    lp_writer_u8(&login, 0);
    lp_writer_u16le(&login, 1);
    lp_writer_copy(&login, "\177\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    lp_writer_u8(&login, 1);
    bool said = hostile_say(shard, LP_CONTROL_LOGIN, 1, lp_writer_bytes(&login));
    hostile_turns(shard);
    struct lp_writer open = lp_writer_of(room, sizeof(room));
    lp_writer_u64le(&open, 1);
    lp_writer_short(&open, lp_bytes_of_text("/"));
    lp_writer_short(&open, lp_bytes_of_text("AMQP 0-9-1"));
    for (int i = 0; i < 2; i++) {
        lp_writer_u8(&open, 0);
        lp_writer_u16le(&open, 1);
        lp_writer_copy(&open, "\177\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    }
    lp_writer_long_le(&open, lp_bytes_of(NULL, 0));
    lp_writer_u16le(&open, 60);
    lp_writer_u32le(&open, 131072);
    lp_writer_u16le(&open, 2047);
    lp_writer_u64le(&open, 1700000000000u);
    lp_writer_short(&open, lp_bytes_of_text("guest"));
    lp_writer_short(&open, lp_bytes_of_text("PLAIN"));
    lp_writer_u8(&open, 0);
    said = said && hostile_say(shard, LP_CONTROL_OPEN, 2, lp_writer_bytes(&open));
    LP_ASSERT(said && !open.failed && !login.failed);
    hostile_turns(shard);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 1 || bytes > INPUT_MAX) {
        return 0;
    }
    struct hostile_shard shard;
    struct lp_reader reader = lp_reader_of(data + 1, bytes - 1);
    hostile_open(&shard);
    if (data[0] & REQUEST_LOGGED_IN) {
        log_in(&shard);
    }
    while (lp_reader_left(&reader) > 0) {
        const uint8_t kind = lp_reader_u8(&reader);
        const uint8_t sequence = lp_reader_u8(&reader);
        const uint32_t size = lp_reader_u16le(&reader);
        const uint32_t left = (uint32_t)lp_reader_left(&reader);
        const struct lp_bytes payload = lp_reader_bytes(&reader, LP_MIN(size, left));
        if (reader.failed) {
            break;
        }
        (void)hostile_say(&shard, kind, sequence, payload); /* full: it is not heard */
        hostile_turns(&shard);
    }
    hostile_close(&shard);
    return 0;
}
