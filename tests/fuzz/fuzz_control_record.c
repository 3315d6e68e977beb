/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_control_record.c - can a control process that says anything at all
 * break a shard?
 *
 * A shard believes what control says exists, so messages may go anywhere; but
 * no record, however malformed, out of turn or contradicting itself, may trip
 * an assertion, read beyond itself, or leave an index that disagrees with
 * another.
 *
 * Input: an octet of RECORD_... flags; then {kind u8, sequence u8, size u16
 * little-endian, payload} each: a record of type `kind`, or, when that is 0,
 * bytes that a client says.  With RECORD_RAW: how far to move the ring's tail
 * (u32 little-endian), and what is in the ring.
 */
#include <stdlib.h>
#include <string.h>

#include <lepus/control_ring.h>

#include "tests/fuzz/long_life.h"
#include "tests/lib/rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define RECORD_SET_UP 0x01u /* a client consumes from the queue "q" */
#define RECORD_RAW    0x02u
#define RECORD_TWO    0x04u /* two shards; all of them hear the same */
#define RECORD_BURST  0x08u /* no turn between records */
#define INPUT_MAX     (64u << 10)
#define MEMORY_BYTES  (6u << 20)
#define TIMEOUTS_NS   60000000000u

struct hostile {
    uint8_t flags;
    uint32_t shards;
    struct rig *rig;
    struct rig_client *client;
    struct lp_control_end end[RIG_SHARDS_MAX];
};

/* A copy in a block of its very size, gone when the turn is over. */
static void
client_says(struct hostile *hostile, struct lp_bytes bytes)
{
    if (bytes.size == 0 || hostile->client->state == RIG_CLIENT_FREE) {
        return;
    }
    uint8_t *piece = malloc(bytes.size);
    LP_ASSERT(piece);
    memcpy(piece, bytes.data, bytes.size);
    rig_feed(hostile->client, lp_bytes_of(piece, bytes.size));
    (void)rig_shards_turn(hostile->rig); /* whether there was work does not matter */
    hostile->client->input = lp_bytes_of(NULL, 0);
    free(piece);
}

static void
control_says(struct hostile *hostile, uint16_t type, uint64_t sequence, struct lp_bytes payload)
{
    for (uint32_t i = 0; i < hostile->shards; i++) {
        if (!lp_control_push(&hostile->end[i], type, sequence, payload)) {
            rig_settle(hostile->rig); /* full: the shard reads, and gives room */
        }
    }
    if (!(hostile->flags & RECORD_BURST)) {
        (void)rig_shards_turn(hostile->rig);
    }
}

static void
say_records(struct hostile *hostile, struct lp_reader *reader)
{
    while (lp_reader_left(reader) > 0) {
        const uint8_t kind = lp_reader_u8(reader);
        const uint8_t sequence = lp_reader_u8(reader);
        const uint32_t size = lp_reader_u16le(reader);
        const uint32_t left = (uint32_t)lp_reader_left(reader);
        const struct lp_bytes payload = lp_reader_bytes(reader, LP_MIN(size, left));
        if (reader->failed) {
            return;
        }
        if (kind == 0) {
            client_says(hostile, payload);
        } else {
            control_says(hostile, kind, sequence, payload);
        }
    }
}

/* The ring's memory itself: cursor and contents. */
static void
say_raw(struct hostile *hostile, struct lp_reader *reader)
{
    const uint32_t move = lp_reader_u32le(reader);
    const uint32_t size = (uint32_t)lp_reader_left(reader);
    struct lp_control_ring *ring = hostile->end[0].ring;
    const struct lp_bytes bytes = lp_reader_bytes(reader, size);
    const uint64_t at = hostile->end[0].own % hostile->end[0].capacity_bytes;
    const uint64_t room = hostile->end[0].capacity_bytes - at;
    if (bytes.size > 0) {
        memcpy(ring->data + at, bytes.data, (size_t)LP_MIN((uint64_t)bytes.size, room));
    }
    lp_store_release(&ring->tail,
                     ring->tail + move); /* X1 as a broken peer does it; pairs with E1 */
}

static void
hostile_begin(struct hostile *hostile)
{
    hostile->shards = hostile->flags & RECORD_TWO ? 2 : 1;
    const struct rig_options options = {hostile->shards, MEMORY_BYTES};
    hostile->rig = rig_open(&options);
    hostile->client = rig_connect(hostile->rig, 0);
    if (hostile->flags & RECORD_SET_UP) {
        rig_open_channel(hostile->client);
        rig_declare_queue(hostile->client, "q");
        rig_consume(hostile->client, "q", 10);
    } else {
        rig_settle(hostile->rig);
    }
    rig_control_stop(hostile->rig);
    for (uint32_t i = 0; i < hostile->shards; i++) {
        const bool good = lp_control_end_init(
            &hostile->end[i],
            lp_control_region_to_shard(rig_region(hostile->rig), hostile->shards, i),
            LP_CONTROL_RING_CAPACITY_BYTES, true);
        LP_ASSERT(good);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 1 || bytes > INPUT_MAX) {
        return 0;
    }
    struct hostile hostile = {.flags = data[0]};
    struct lp_reader reader = lp_reader_of(data + 1, bytes - 1);
    hostile_begin(&hostile);
    if (hostile.flags & RECORD_RAW) {
        say_raw(&hostile, &reader);
    } else {
        say_records(&hostile, &reader);
    }
    rig_settle(hostile.rig);
    rig_check(hostile.rig);
    rig_time_pass(hostile.rig, TIMEOUTS_NS);
    rig_settle(hostile.rig);
    if (!rig_client_gone(hostile.client)) {
        rig_hang_up(hostile.client);
    }
    rig_settle(hostile.rig);
    rig_check(hostile.rig);
    rig_close(&hostile.rig);
    return 0;
}
