/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_connection.c - can what clients say, in any order and cut anywhere,
 * break the broker, or leave something behind in it?
 *
 * A broker of two shards lives over many inputs.  An input is what one or two
 * clients say; afterwards they are gone, a well-behaved client deletes what
 * they declared, and the broker must be at rest.
 *
 * Input: an octet of FUZZ_... flags, an octet that seeds where the bytes are
 * cut, two octets (network order) that say how many bytes the first client
 * says when there are two, and those bytes.
 *
 * A mutator that knows frames (frame_mutate.h) keeps lengths and end octets
 * right most of the time, so that mutations get past the frame parser.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/protocol/amqp091/method.h"
#include "dataplane/shard/shard_private.h"
#include "tests/fuzz/frame_mutate.h"
#include "tests/fuzz/long_life.h"
#include "tests/lib/rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t bytes_max, unsigned seed);

#define FUZZ_OPEN      0x01u /* the clients have logged in and opened channel 1 */
#define FUZZ_TWO       0x02u /* two clients */
#define FUZZ_APART     0x04u /* the second one is on the other shard */
#define FUZZ_SLOW      0x08u /* the first one reads nothing until the end */
#define FUZZ_CONTROL   0x10u /* control dies halfway, and is back for the end */
#define FUZZ_LATE      0x20u /* a minute passes before the end: heartbeats, time-outs */
#define FUZZ_HURRY     0x40u /* the end comes in the same turn as the last bytes */
#define FUZZ_WHOLE     0x80u /* the bytes are not cut */
#define PREFIX_BYTES   4u
#define INPUT_MAX      (256u << 10)
#define MEMORY_BYTES   (8u << 20)
#define SHARDS         2u
#define MINUTE_NS      60000000000u
#define TIMEOUTS_NS    40000000000u
#define INPUTS_A_WORLD 1000u
/* The default one, five amq.*, and amq.rabbitmq.trace. */
#define EXCHANGES_AT_START 7u
/* Tables and caches that keep what they once needed: what a shard may hold at rest beyond its
 * start. */
#define KEPT_BYTES (3u << 20)

struct talker {
    struct rig_client *client;
    struct lp_bytes left;
    uint8_t *piece; /* what the client lends, in a block of its very size */
};

struct script {
    uint8_t flags;
    uint32_t cuts; /* a generator's state */
    uint32_t talkers;
    struct talker talker[2];
};

/* ---- saying it ---- */

static uint32_t
cut_next(struct script *script, uint32_t left)
{
    if (script->flags & FUZZ_WHOLE) {
        return left;
    }
    script->cuts = script->cuts * 1664525u + 1013904223u;
    const uint32_t most = 1u << (script->cuts >> 28); /* 1 to 32 KiB */
    return LP_MIN(left, 1 + (script->cuts >> 8) % most);
}

/* One piece, in memory that is gone when the turn is over. */
static bool
talker_step(struct script *script, struct talker *talker)
{
    if (talker->left.size == 0 || talker->client->state == RIG_CLIENT_FREE) {
        return false;
    }
    const uint32_t bytes = cut_next(script, talker->left.size);
    talker->piece = malloc(bytes);
    LP_ASSERT(talker->piece);
    memcpy(talker->piece, talker->left.data, bytes);
    talker->left = lp_bytes_of(talker->left.data + bytes, talker->left.size - bytes);
    rig_feed(talker->client, lp_bytes_of(talker->piece, bytes));
    return true;
}

/* The shard has had the piece, or will not have it: it stopped reading for good. */
static void
talker_done(struct talker *talker)
{
    if (talker->client->input.size > 0) {
        talker->client->input = lp_bytes_of(NULL, 0);
        talker->left = lp_bytes_of(NULL, 0);
    }
    free(talker->piece);
    talker->piece = NULL;
}

static void
script_say(struct rig *rig, struct script *script)
{
    bool more = true;
    while (more) {
        more = false;
        for (uint32_t i = 0; i < script->talkers; i++) {
            more = talker_step(script, &script->talker[i]) || more;
        }
        const bool hurry = (script->flags & FUZZ_HURRY) && script->talker[0].left.size == 0;
        if (hurry) {
            (void)rig_shards_turn(rig); /* whatever it starts is cut off */
        } else {
            (void)rig_turn(rig);
        }
        for (uint32_t i = 0; i < script->talkers; i++) {
            if (script->talker[i].client->input.size > 0) {
                rig_settle(rig);
            }
            talker_done(&script->talker[i]);
        }
    }
}

/* The first half with control, the second without. */
static void
script_say_all(struct rig *rig, struct script *script)
{
    if (script->flags & FUZZ_CONTROL) {
        struct script half = *script;
        for (uint32_t i = 0; i < script->talkers; i++) {
            half.talker[i].left.size /= 2;
            script->talker[i].left.data += half.talker[i].left.size;
            script->talker[i].left.size -= half.talker[i].left.size;
        }
        script_say(rig, &half);
        rig_control_stop(rig);
    }
    script_say(rig, script);
    if (!(script->flags & FUZZ_HURRY)) {
        rig_settle(rig);
    }
    if (script->flags & FUZZ_LATE) {
        rig_time_pass(rig, MINUTE_NS);
        rig_settle(rig);
    }
}

/* ---- cleaning up ---- */

static void
say_delete(struct rig_client *janitor, uint32_t method_id, struct lp_bytes name)
{
    struct rig_method method;
    rig_method_begin(&method, 1, method_id);
    lp_writer_u16be(&method.writer, 0);
    lp_writer_short(&method.writer, name);
    lp_writer_u8(&method.writer, 0);
    const bool open = rig_method_say(janitor, &method);
    LP_ASSERT(open);
}

/* What to delete next: any queue, then any exchange that is not there from the start. */
static bool
delete_one(struct rig *rig, struct rig_client *janitor)
{
    const struct lp_topology *topology = &rig_shard(rig, 0)->broker.topology;
    uint8_t name[256];
    for (struct lp_list *at = topology->vhosts.next; at != &topology->vhosts; at = at->next) {
        const struct lp_vhost *vhost = LP_LIST_ITEM(at, struct lp_vhost, in_topology);
        if (!lp_list_empty(&vhost->queues)) {
            const struct lp_queue_ref *queue =
                LP_LIST_ITEM(vhost->queues.next, struct lp_queue_ref, in_vhost);
            memcpy(name, queue->data, queue->name_bytes);
            say_delete(janitor, AMQP091_QUEUE_DELETE, lp_bytes_of(name, queue->name_bytes));
            return true;
        }
        for (struct lp_list *x = vhost->exchanges.next; x != &vhost->exchanges; x = x->next) {
            const struct lp_exchange *exchange = LP_LIST_ITEM(x, struct lp_exchange, in_vhost);
            const struct lp_bytes text = lp_exchange_name(exchange);
            if (!exchange->is_default && !lp_bytes_start_with(text, "amq.")) {
                memcpy(name, text.data, text.size);
                say_delete(janitor, AMQP091_EXCHANGE_DELETE, lp_bytes_of(name, text.size));
                return true;
            }
        }
    }
    return false;
}

static void
clean_up(struct rig *rig)
{
    struct rig_client *janitor = rig_connect(rig, 0);
    rig_open_channel(janitor);
    for (uint32_t count = 0; delete_one(rig, janitor); count++) {
        LP_ASSERT(count < INPUT_MAX); /* what is deleted is gone */
    }
    rig_hang_up(janitor);
    rig_settle(rig);
    LP_ASSERT(rig_client_gone(janitor));
}

/* Nothing but the exchanges that are there from the start. */
static bool
is_clean(struct rig *rig)
{
    const struct lp_topology *topology = &rig_shard(rig, 0)->broker.topology;
    return topology->queues_by_id.count == 0 && topology->bindings_by_id.count == 0 &&
           topology->exchanges_by_id.count == EXCHANGES_AT_START;
}

static void
expect_at_rest(struct rig *rig, const uint64_t *used_at_start)
{
    const char *why = rig_at_rest(rig);
    if (why) {
        (void)fprintf(stderr, "not at rest: %s\n", why);
        LP_ASSERT(!"everything is given back when clients are gone");
    }
    for (uint32_t i = 0; i < SHARDS; i++) {
        const uint64_t used = lp_memory_used_bytes(rig_shard(rig, i)->broker.memory);
        LP_ASSERT(used <= used_at_start[i] + KEPT_BYTES); /* else memory leaks */
    }
    rig_check(rig);
}

/* ---- one input ---- */

static void
script_read(struct rig *rig, struct script *script, const uint8_t *data, size_t bytes)
{
    const struct lp_bytes all = lp_bytes_of(data + PREFIX_BYTES, (uint32_t)(bytes - PREFIX_BYTES));
    const uint32_t said = (uint32_t)data[2] << 8 | data[3];
    script->flags = data[0];
    script->cuts = data[1] * 0x9e3779b9u;
    script->talkers = script->flags & FUZZ_TWO ? 2 : 1;
    const uint32_t first = script->talkers == 2 ? LP_MIN(said, all.size) : all.size;
    script->talker[0].left = lp_bytes_of(all.data, first);
    script->talker[1].left = lp_bytes_of(all.data + first, all.size - first);
    for (uint32_t i = 0; i < script->talkers; i++) {
        const uint32_t shard = i == 1 && (script->flags & FUZZ_APART) ? 1 : 0;
        script->talker[i].client = rig_connect(rig, shard);
        if (script->flags & FUZZ_OPEN) {
            rig_open_channel(script->talker[i].client);
        }
    }
    script->talker[0].client->slow = (script->flags & FUZZ_SLOW) != 0;
}

static void
script_end(struct rig *rig, struct script *script)
{
    for (uint32_t i = 0; i < script->talkers; i++) {
        if (!rig_client_gone(script->talker[i].client)) {
            rig_hang_up(script->talker[i].client);
        }
    }
    rig_settle(rig);
    if (!rig_control_runs(rig)) {
        rig_control_start(rig);
        rig_settle(rig);
    }
    for (uint32_t i = 0; i < script->talkers; i++) {
        LP_ASSERT(rig_client_gone(script->talker[i].client));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct rig *rig; /* lives on: making one costs more than most inputs */
    static uint64_t used[SHARDS];
    static uint32_t inputs;
    if (bytes < PREFIX_BYTES || bytes > INPUT_MAX) {
        return 0;
    }
    if (rig && ++inputs % INPUTS_A_WORLD == 0) {
        rig_close(&rig);
    }
    if (!rig) {
        const struct rig_options options = {SHARDS, MEMORY_BYTES};
        rig = rig_open(&options);
        for (uint32_t i = 0; i < SHARDS; i++) {
            used[i] = lp_memory_used_bytes(rig_shard(rig, i)->broker.memory);
        }
    }
    struct script script = {0};
    script_read(rig, &script, data, bytes);
    script_say_all(rig, &script);
    script_end(rig, &script);
    if (!is_clean(rig)) {
        clean_up(rig);
    }
    if (rig_at_rest(rig)) {
        rig_time_pass(rig, TIMEOUTS_NS); /* what waits for a time-out, and nothing longer */
        rig_settle(rig);
    }
    expect_at_rest(rig, used);
    return 0;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t bytes_max, unsigned seed)
{
    return frame_mutate(data, bytes, bytes_max, PREFIX_BYTES, seed);
}
