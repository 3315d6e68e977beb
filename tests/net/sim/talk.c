/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_MAX 20000u
/* attach(): talk and side, plus one; or, until its first bytes came, one of these. */
#define USER_UNKNOWN (UINT64_C(1) << 40)
#define ID_BYTES     4u

static uint8_t
byte_of(uint32_t id, uint32_t side, uint32_t place)
{
    if (side == 0 && place < ID_BYTES) {
        return (uint8_t)(id >> 8 * place);
    }
    return (uint8_t)(place * 37u + (place >> 9) + id * 11u + side * 101u);
}

static uint32_t
below(struct sim_world *world, uint32_t bound)
{
    return (uint32_t)lp_sim_random_below(&world->random, bound);
}

static bool
chance(struct sim_world *world, uint32_t per_mille)
{
    return lp_sim_random_chance(&world->random, per_mille);
}

static void
broken(struct sim_world *world, const struct sim_talk *talk, const char *why)
{
    if (world->broken == NULL) {
        world->broken = why;
        world->broken_talk = talk == NULL ? UINT32_MAX : talk->id;
    }
}

void
sim_talks_make(struct sim_world *world, uint32_t count, uint32_t bytes_max)
{
    world->talk_count = count;
    world->talk = calloc(count, sizeof(*world->talk));
    LP_ASSERT(world->talk != NULL);
    for (uint32_t i = 0; i < count; i++) {
        struct sim_talk *talk = &world->talk[i];
        talk->id = i;
        talk->aborts = chance(world, 150);
        talk->server_first = chance(world, 400);
        talk->side[0].total = ID_BYTES + below(world, chance(world, 300) ? bytes_max : 2000);
        talk->side[1].total = below(world, chance(world, 300) ? bytes_max : 2000);
        for (uint32_t s = 0; s < 2; s++) {
            talk->side[s].buffer = malloc(CHUNK_MAX);
            LP_ASSERT(talk->side[s].buffer != NULL);
        }
    }
}

void
sim_talks_free(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->talk_count; i++) {
        free(world->talk[i].side[0].buffer);
        free(world->talk[i].side[1].buffer);
    }
    free(world->talk);
}

static const struct lp_transport *
transport_of(const struct sim_side *side)
{
    return &side->host->transport[side->shard];
}

static void
side_begin(struct sim_talk *talk, uint32_t which, struct sim_host *host, uint32_t shard,
           lp_handle stream)
{
    struct sim_side *side = &talk->side[which];
    side->host = host;
    side->shard = shard;
    side->stream = stream;
    side->open = true;
    const struct lp_transport *transport = transport_of(side);
    transport->ops->attach(transport->self, stream, (uint64_t)talk->id * 2u + which + 1u);
}

static void
side_close(struct sim_side *side)
{
    const struct lp_transport *transport = transport_of(side);
    side->closing = true;
    transport->ops->close(transport->self, side->stream);
}

/* --- Events. ---------------------------------------------------------------------------------- */

static bool
may_fail(const struct sim_world *world, const struct sim_talk *talk)
{
    return talk->aborts || sim_host_forgot(&world->host[1]) ||
           (world->small &&
            sim_host_evicted(&world->host[0]) + sim_host_evicted(&world->host[1]) > 0);
}

static void
received(struct sim_world *world, struct sim_talk *talk, uint32_t which,
         const struct lp_transport_event *event)
{
    struct sim_side *side = &talk->side[which];
    if (side->closing) {
        broken(world, talk, "RECEIVED after close()");
        return;
    }
    for (uint32_t i = 0; i < event->bytes; i++) {
        if (event->data[i] != byte_of(talk->id, 1 - which, side->received + i)) {
            broken(world, talk, "a byte is not what was sent");
            return;
        }
    }
    side->received += event->bytes;
    if (side->received > talk->side[1 - which].given) {
        broken(world, talk, "more was received than was sent");
    }
}

static void
ended(struct sim_world *world, struct sim_talk *talk, uint32_t which)
{
    struct sim_side *side = &talk->side[which];
    if (side->ended || side->closing) {
        broken(world, talk, "ENDED twice, or after close()");
    }
    side->ended = true;
    if (side->received < talk->side[1 - which].total && !may_fail(world, talk)) {
        broken(world, talk, "the stream ended before all was received");
    }
}

static void
closed(struct sim_world *world, struct sim_talk *talk, uint32_t which)
{
    struct sim_side *side = &talk->side[which];
    if (!side->closing || side->closed) {
        broken(world, talk, "CLOSED twice, or before close()");
    }
    side->closed = true;
    side->open = false;
    side->flying = 0;
}

static void
sent(struct sim_world *world, struct sim_talk *talk, uint32_t which,
     const struct lp_transport_event *event)
{
    struct sim_side *side = &talk->side[which];
    if (side->flying == 0 || event->bytes > side->flying || side->closing) {
        broken(world, talk, "SENT of nothing, of too much, or after close()");
    }
    if (event->bytes < side->flying && !may_fail(world, talk)) {
        broken(world, talk, "a send was cut short");
    }
    side->flying = 0;
}

/* A stranger's first bytes say which talk it is. */
static struct sim_talk *
stranger(struct sim_world *world, struct sim_host *host, uint32_t shard,
         const struct lp_transport_event *event)
{
    /* It may have told in the same poll(): then this event was made before attach(). */
    for (uint32_t i = 0; i < world->talk_count; i++) {
        const struct sim_side *side = &world->talk[i].side[1];
        if (side->host == host && side->shard == shard && side->stream == event->stream) {
            return &world->talk[i];
        }
    }
    if (event->kind != LP_TRANSPORT_RECEIVED || event->bytes < ID_BYTES) {
        /* It ended, or its first bytes came one by one: nobody we can tell. */
        host->transport[shard].ops->close(host->transport[shard].self, event->stream);
        return NULL;
    }
    const uint32_t id = (uint32_t)event->data[0] | (uint32_t)event->data[1] << 8 |
                        (uint32_t)event->data[2] << 16 | (uint32_t)event->data[3] << 24;
    if (id >= world->talk_count || world->talk[id].side[1].open || world->talk[id].side[1].closed) {
        broken(world, NULL, "a connection began with bytes that nobody sent");
        return NULL;
    }
    side_begin(&world->talk[id], 1, host, shard, event->stream);
    return &world->talk[id];
}

static void
digest_note(struct sim_world *world, const struct sim_host *host, uint32_t shard,
            const struct lp_transport_event *event)
{
    const uint64_t parts[] = {world->clock.now_ns, host->number * 8u + shard, (uint64_t)event->kind,
                              event->bytes};
    for (size_t i = 0; i < LP_COUNT_OF(parts); i++) {
        world->digest = (world->digest ^ parts[i]) * UINT64_C(0x100000001b3);
    }
}

void
sim_talk_event(struct sim_world *world, struct sim_host *host, uint32_t shard,
               const struct lp_transport_event *event)
{
    digest_note(world, host, shard, event);
    if (event->kind == LP_TRANSPORT_ACCEPTED) {
        host->transport[shard].ops->attach(host->transport[shard].self, event->stream,
                                           USER_UNKNOWN);
        return;
    }
    struct sim_talk *talk = NULL;
    uint32_t which = 1;
    if (event->user == USER_UNKNOWN) {
        talk = event->kind == LP_TRANSPORT_CLOSED ? NULL : stranger(world, host, shard, event);
    } else if (event->user == 0 || (event->user - 1u) / 2u >= world->talk_count) {
        broken(world, NULL, "an event of nobody");
    } else {
        talk = &world->talk[(event->user - 1u) / 2u];
        which = (uint32_t)(event->user - 1u) % 2u;
    }
    if (talk == NULL) {
        return;
    }
    switch (event->kind) {
    case LP_TRANSPORT_CONNECTED:
        talk->side[which].open = true;
        break;
    case LP_TRANSPORT_RECEIVED:
        received(world, talk, which, event);
        break;
    case LP_TRANSPORT_SENT:
        sent(world, talk, which, event);
        break;
    case LP_TRANSPORT_ENDED:
        ended(world, talk, which);
        break;
    case LP_TRANSPORT_CLOSED:
        closed(world, talk, which);
        break;
    case LP_TRANSPORT_ACCEPTED:
        break;
    }
}

/* --- What they do. ---------------------------------------------------------------------------- */

static void
send_some(struct sim_world *world, struct sim_talk *talk, uint32_t which)
{
    struct sim_side *side = &talk->side[which];
    const struct lp_transport *transport = transport_of(side);
    const uint32_t most = chance(world, 500) ? CHUNK_MAX : 300;
    const uint32_t wanted = 1 + below(world, most);
    uint32_t bytes = LP_MIN(wanted, side->total - side->given);
    if (which == 0 && side->given == 0) {
        bytes = LP_MAX(bytes, ID_BYTES);
    }
    for (uint32_t i = 0; i < bytes; i++) {
        side->buffer[i] = byte_of(talk->id, which, side->given + i);
    }
    const uint32_t first = which == 0 && side->given == 0 ? bytes : below(world, bytes + 1);
    const struct lp_iovec pieces[2] = {{side->buffer, first},
                                       {side->buffer + first, bytes - first}};
    if (!transport->ops->send(transport->self, side->stream, pieces, 2)) {
        broken(world, talk, "send() was refused");
    }
    side->given += bytes;
    side->flying = bytes;
}

static bool
all_said(const struct sim_talk *talk, uint32_t which)
{
    const struct sim_side *side = &talk->side[which];
    return side->given == side->total && side->flying == 0 &&
           side->received == talk->side[1 - which].total;
}

static void
receiving_step(struct sim_world *world, struct sim_side *side)
{
    const struct lp_transport *transport = transport_of(side);
    if (side->stopped && (world->calm || chance(world, 100))) {
        side->stopped = false;
        transport->ops->receive_start(transport->self, side->stream);
    } else if (!side->stopped && !world->calm && chance(world, 10)) {
        side->stopped = true;
        transport->ops->receive_stop(transport->self, side->stream);
    }
}

static void
side_step(struct sim_world *world, struct sim_talk *talk, uint32_t which)
{
    struct sim_side *side = &talk->side[which];
    const bool first = which == (talk->server_first ? 1u : 0u);
    if (!side->open || side->closing) {
        return;
    }
    receiving_step(world, side);
    if (side->ended || (first && all_said(talk, which)) ||
        (talk->aborts && chance(world, world->calm ? 200 : 3))) {
        if (side->ended || !side->stopped) {
            side_close(side);
        }
        return;
    }
    if (side->given < side->total && side->flying == 0 && chance(world, 300)) {
        send_some(world, talk, which);
    }
}

static void
talk_connect(struct sim_world *world, struct sim_talk *talk, uint8_t family)
{
    struct sim_host *host = &world->host[0];
    const uint32_t shard = below(world, host->shards);
    const struct lp_address to = sim_host_address(1, family);
    const lp_handle stream = lp_net_connect(host->net[shard], &to);
    if (stream == LP_HANDLE_NONE) {
        return; /* no room now: again later */
    }
    talk->asked = true;
    side_begin(talk, 0, host, shard, stream);
    talk->side[0].open = false; /* until CONNECTED */
}

void
sim_talks_step(struct sim_world *world, uint8_t family)
{
    for (uint32_t i = 0; i < world->talk_count; i++) {
        struct sim_talk *talk = &world->talk[i];
        if (!talk->asked) {
            if (chance(world, world->calm ? 100 : 5)) {
                talk_connect(world, talk, family);
            }
            continue;
        }
        if (talk->side[0].ended && !talk->side[0].open && !talk->side[0].closing) {
            side_close(&talk->side[0]); /* it could not connect */
        }
        side_step(world, talk, 0);
        side_step(world, talk, 1);
    }
}

bool
sim_talks_over(const struct sim_world *world)
{
    for (uint32_t i = 0; i < world->talk_count; i++) {
        const struct sim_talk *talk = &world->talk[i];
        const bool server =
            talk->side[1].open || (!talk->side[1].closed && !talk->aborts && !world->small &&
                                   !sim_host_forgot(&world->host[1]));
        if (!talk->asked || !talk->side[0].closed || server) {
            return false;
        }
    }
    return true;
}

void
sim_talks_explain(const struct sim_world *world)
{
    for (uint32_t i = 0; i < world->talk_count; i++) {
        const struct sim_talk *talk = &world->talk[i];
        for (uint32_t s = 0; s < 2; s++) {
            const struct sim_side *side = &talk->side[s];
            if (side->closed || (!side->open && s == 1)) {
                continue;
            }
            (void)printf(
                "    talk %u, %s: given %u of %u, in flight %u, received %u of %u%s%s%s%s\n", i,
                s == 0 ? "client" : "server", side->given, side->total, side->flying,
                side->received, talk->side[1 - s].total, side->open ? ", open" : "",
                side->stopped ? ", stopped" : "", side->ended ? ", ended" : "",
                side->closing ? ", closing" : "");
        }
    }
}
