/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publisher.c - sends what is due, as many messages at once as there are.
 *
 * All frames of a block of messages are written once, when the connection is
 * open; sending writes stamps (and keys' digits) into the block and gives it
 * to the socket in one call. What the socket does not take stays where it is.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "mqtt.h"
#include "schedule.h"

#define BLOCK_BYTES (128u << 10)
#define BLOCKS_MAX  (8u << 20) /* of all publishers together */
/* What a publisher may send before the others and the consumers get their turn. */
#define TURN_BYTES (256u << 10)
#define SETTLED    UINT64_MAX

/* An ack as a broker sends it, up to the tag. */
static const uint8_t ack_head[] = {
    AMQP091_FRAME_METHOD, 0, LOAD_CHANNEL, 0, 0, 0, 13, 0, 60, 0, 80};
#define ACK_BYTES (sizeof(ack_head) + 10u) /* tag, bits, end */

void
load_publisher_init(struct load_publisher *p, uint32_t index, const struct load_options *options,
                    struct load_tally *tally)
{
    p->conn = (struct load_conn){.fd = -1, .role = LOAD_ROLE_PUBLISHER};
    p->options = options;
    p->tally = tally;
    p->index = index;
    p->size = load_size_of(options, index);
    p->queue = index % options->queues;
    p->place = LOAD_PLACE_NONE;
    if (options->backlog != 0 && options->consumers != 0) {
        p->backlog = LP_MAX(options->backlog / options->publishers, 1u);
    }
    p->limit = UINT32_MAX; /* sequence numbers have 32 bits */
    if (options->messages != 0) {
        const uint64_t spare = options->messages % options->publishers;
        p->limit = options->messages / options->publishers + (index < spare ? 1 : 0);
    }
}

void
load_publisher_fini(struct load_publisher *p)
{
    load_conn_close(&p->conn);
    free(p->block);
    free(p->due_of);
    p->block = NULL;
    p->due_of = NULL;
}

void
load_publisher_begin(struct load_publisher *p)
{
    if (!p->conn.mqtt && p->options->place == LOAD_PLACE_PUBLISHER &&
        p->index < p->options->queues) {
        load_topology_queue(p->options, &p->conn, p->index);
    }
    if (p->options->confirm) {
        load_conn_method(&p->conn, AMQP091_CONFIRM_SELECT, lp_bytes_of("", 1));
        p->conn.owed++;
    }
}

/* --- The block. ------------------------------------------------------------------------------- */

/* Payload of a body frame; the last frame of a body has room for the tail. */
static uint32_t
piece_bytes(const struct load_publisher *p)
{
    const uint32_t most = p->conn.frame_max - AMQP091_FRAME_EXTRA_BYTES;
    const uint32_t rest = p->size % most;
    return rest != 0 && rest < LOAD_TAIL_BYTES ? most - LOAD_TAIL_BYTES : most;
}

static void
frame_body(struct load_publisher *p, struct lp_writer *w)
{
    const uint32_t size = p->size;
    if (p->conn.mqtt) {
        p->body_at = (uint32_t)lp_writer_size(w);
        p->tail_at = size >= LOAD_TAILED_BYTES ? p->body_at + size - LOAD_TAIL_BYTES : 0;
        lp_writer_copy(w, p->tally->filler, size);
        return;
    }
    const uint32_t most = piece_bytes(p);
    for (uint32_t at = 0; at < size;) {
        const uint32_t piece = LP_MIN(size - at, most);
        lp_writer_u8(w, AMQP091_FRAME_BODY);
        lp_writer_u16be(w, LOAD_CHANNEL);
        lp_writer_u32be(w, piece);
        if (at == 0) {
            p->body_at = (uint32_t)lp_writer_size(w);
        }
        lp_writer_copy(w, p->tally->filler + at, piece);
        at += piece;
        if (at == size && size >= LOAD_TAILED_BYTES) {
            p->tail_at = (uint32_t)lp_writer_size(w) - LOAD_TAIL_BYTES;
        }
        lp_writer_u8(w, AMQP091_FRAME_END);
    }
}

bool
load_publisher_ready(struct load_publisher *p)
{
    uint8_t head[1500];
    struct lp_writer h = lp_writer_of(head, sizeof(head));
    uint32_t framing = 0;
    if (p->conn.mqtt) {
        load_mqtt_head(p->options, p->queue, p->size, &h);
    } else {
        p->key_at = load_topology_head(p->options, p->queue, p->size, &h);
        framing = (p->size + piece_bytes(p) - 1) / piece_bytes(p) * AMQP091_FRAME_EXTRA_BYTES;
    }
    const uint32_t head_bytes = (uint32_t)lp_writer_size(&h);
    p->slot_bytes = head_bytes + p->size + framing;

    const uint32_t share = LP_MIN(BLOCK_BYTES, BLOCKS_MAX / p->options->publishers);
    p->slots = LP_MAX(share / p->slot_bytes, 1u);
    p->block = malloc((size_t)p->slots * p->slot_bytes);
    if (h.failed || p->block == NULL) {
        return load_conn_broke(&p->conn, "out of memory", "");
    }
    struct lp_writer w = lp_writer_of(p->block, p->slot_bytes);
    lp_writer_copy(&w, head, head_bytes);
    frame_body(p, &w);
    LP_ASSERT(!w.failed && lp_writer_room(&w) == 0);
    for (uint32_t i = 1; i < p->slots; i++) {
        memcpy(p->block + (size_t)i * p->slot_bytes, p->block, p->slot_bytes);
    }
    return true;
}

/* --- When. ------------------------------------------------------------------------------------ */

/* A number from 0 to 1, never 0: a hash of seed, publisher and sequence, so that runs repeat. */
static double
draw(const struct load_publisher *p)
{
    uint64_t x = p->options->seed * 0x9e3779b97f4a7c15ull + ((uint64_t)p->index << 32) + p->sent;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    x ^= x >> 31;
    return ((double)(x >> 11) + 0.5) * 0x1p-53;
}

void
load_publisher_start(struct load_publisher *p, uint64_t start_ns)
{
    if (p->options->rate > 0) {
        /* Their first messages are spread over one interval. */
        const double interval = 1e9 * p->options->publishers / p->options->rate;
        p->due_exact = (double)start_ns + interval * p->index / p->options->publishers;
        p->due_ns = (uint64_t)p->due_exact;
    }
    load_schedule_add(p->schedule, p);
}

static void
due_advance(struct load_publisher *p)
{
    const double interval = 1e9 * p->options->publishers / p->options->rate;
    p->due_exact += p->options->poisson ? -log(draw(p)) * interval : interval;
    p->due_ns = (uint64_t)p->due_exact;
}

/* Messages of this publisher that somebody has yet to consume. */
static uint64_t
unconsumed(const struct load_publisher *p)
{
    return p->sent - (p->options->to_all ? p->delivered / p->options->queues : p->delivered);
}

bool
load_publisher_open(const struct load_publisher *p)
{
    const struct load_options *o = p->options;
    if (p->conn.broken || p->sent >= p->limit || p->pending_start != p->pending_end) {
        return false;
    }
    if (o->confirm && o->window != 0 && p->sent - p->settled >= o->window) {
        return false;
    }
    return p->backlog == 0 || unconsumed(p) < p->backlog;
}

/* --- Confirms. -------------------------------------------------------------------------------- */

/* Room for one more unconfirmed message. */
static bool
remember(struct load_publisher *p, uint64_t due_ns)
{
    if (p->sent - p->settled >= p->ring) {
        const uint64_t ring = LP_MAX(p->ring * 2, 64u);
        uint64_t *larger = malloc(ring * sizeof(*larger));
        if (larger == NULL) {
            return load_conn_broke(&p->conn, "out of memory", "");
        }
        for (uint64_t tag = p->settled; tag < p->sent; tag++) {
            larger[tag & (ring - 1)] = p->due_of[tag & (p->ring - 1)];
        }
        free(p->due_of);
        p->due_of = larger;
        p->ring = ring;
    }
    p->due_of[p->sent & (p->ring - 1)] = due_ns;
    return true;
}

static void
settle_one(struct load_publisher *p, uint64_t index, bool good, uint64_t now_ns)
{
    uint64_t *due_ns = &p->due_of[index & (p->ring - 1)];
    if (*due_ns != SETTLED) {
        *(good ? &p->tally->confirmed : &p->tally->nacked) += 1;
        load_hdr_add(p->tally->confirm, now_ns - LP_MIN(now_ns, *due_ns), 1);
        *due_ns = SETTLED;
    }
}

/* Tags count from 1; `multiple` means all up to this one, and 0 then all there are. */
static void
settle(struct load_publisher *p, uint64_t tag, bool multiple, bool good, uint64_t now_ns)
{
    const uint64_t last = multiple && tag == 0 ? p->sent : tag;
    const bool again = last <= p->settled || p->due_of[(last - 1) & (p->ring - 1)] == SETTLED;
    if (last > p->sent || (!multiple && again)) {
        p->tally->corrupt++; /* a confirm for what was never sent, or twice */
        return;
    }
    for (uint64_t i = multiple ? p->settled : last - 1; i < last; i++) {
        settle_one(p, i, good, now_ns);
    }
    while (p->settled < p->sent && p->due_of[p->settled & (p->ring - 1)] == SETTLED) {
        p->settled++;
    }
}

static void
take_frame(struct load_publisher *p, const struct load_frame *frame, uint64_t now_ns)
{
    if (frame->method == AMQP091_BASIC_RETURN) {
        p->tally->returned++;
    } else if (p->options->confirm &&
               (frame->method == AMQP091_BASIC_ACK || frame->method == AMQP091_BASIC_NACK)) {
        struct lp_reader r = lp_reader_of_bytes(frame->bytes);
        const uint64_t tag = lp_reader_u64be(&r);
        const bool multiple = (lp_reader_u8(&r) & 1) != 0;
        settle(p, tag, multiple, frame->method == AMQP091_BASIC_ACK, now_ns);
    }
}

/* Acks that look as always, without looking at what frames are made of. */
static void
take_acks(struct load_publisher *p, struct lp_reader *input, uint64_t now_ns)
{
    while (lp_reader_left(input) >= ACK_BYTES &&
           memcmp(input->at, ack_head, sizeof(ack_head)) == 0) {
        struct lp_reader r = *input;
        (void)lp_reader_take(&r, sizeof(ack_head));
        const uint64_t tag = lp_reader_u64be(&r);
        const bool multiple = (lp_reader_u8(&r) & 1) != 0;
        if (lp_reader_u8(&r) != AMQP091_FRAME_END) {
            return; /* the slower way says what is wrong with it */
        }
        settle(p, tag, multiple, true, now_ns);
        *input = r;
    }
}

void
load_publisher_read(struct load_publisher *p, uint8_t *arena)
{
    struct lp_reader input = load_conn_receive(&p->conn, arena);
    struct load_frame frame;
    const uint64_t now_ns = load_now_ns();
    const uint64_t settled = p->settled;
    do {
        if (p->options->confirm) {
            take_acks(p, &input, now_ns);
        }
        if (!load_conn_take(&p->conn, &input, &frame)) {
            break;
        }
        take_frame(p, &frame, now_ns);
    } while (!p->conn.broken);
    load_conn_keep(&p->conn, &input);
    if (p->settled != settled) {
        if (p->held && load_publisher_open(p)) {
            load_schedule_add(p->schedule, p);
        }
    }
}

void
load_publisher_consumed(struct load_publisher *p)
{
    p->delivered++;
    if (p->held && p->backlog != 0 && load_publisher_open(p)) {
        load_schedule_add(p->schedule, p);
    }
}

/* --- Sending. --------------------------------------------------------------------------------- */

static void
write_slot(struct load_publisher *p, uint32_t slot, uint64_t due_ns)
{
    uint8_t *at = p->block + (size_t)slot * p->slot_bytes;
    const struct load_stamp stamp = {
        .due_ns = due_ns,
        .sequence = (uint32_t)p->sent,
        .publisher = (uint16_t)p->index,
        .run = p->tally->run,
    };
    load_stamp_write(stamp, p->size, at + p->body_at, p->tail_at != 0 ? at + p->tail_at : NULL);
    if (p->key_at != 0) {
        load_topology_key_write(at + p->key_at, p->sent % p->options->keys);
    }
}

/* As many messages as are due, fit the window and fit the block. */
static uint32_t
fill(struct load_publisher *p, bool held, uint64_t now_ns)
{
    const bool paced = p->options->rate > 0;
    struct load_tally *tally = p->tally;
    uint32_t count = 0;
    while (count < p->slots && load_publisher_open(p) && (!paced || p->due_ns <= now_ns)) {
        const uint64_t due_ns = paced ? p->due_ns : now_ns;
        if (p->options->confirm && !remember(p, due_ns)) {
            break;
        }
        write_slot(p, count, due_ns);
        count++;
        p->sent++;
        if (!paced) {
            continue;
        }
        due_advance(p);
        if (held) {
            tally->held++;
        } else {
            load_hdr_add(tally->start, now_ns - due_ns, 1);
            tally->late += now_ns - due_ns > LOAD_LATE_NS ? 1 : 0;
        }
    }
    tally->sent += count;
    return count;
}

/* What was left of the block; true when nothing is. */
static bool
send_pending(struct load_publisher *p)
{
    if (p->pending_start < p->pending_end) {
        p->pending_start += (uint32_t)load_conn_send(&p->conn, p->block + p->pending_start,
                                                     p->pending_end - p->pending_start);
    }
    return p->pending_start == p->pending_end;
}

enum load_pump
load_publisher_pump(struct load_publisher *p, uint64_t now_ns)
{
    const bool held = p->held;
    if (!send_pending(p)) {
        p->held = true;
        return LOAD_PUMP_WAIT;
    }
    p->held = false;
    if (p->tally->first_send_ns == 0) {
        p->tally->first_send_ns = now_ns;
    }
    for (size_t turn = 0; turn < TURN_BYTES; turn += p->pending_end) {
        const uint32_t count = fill(p, held, now_ns);
        if (count == 0) {
            break;
        }
        p->pending_start = 0;
        p->pending_end = count * p->slot_bytes;
        if (!send_pending(p)) {
            p->held = true;
            return LOAD_PUMP_WAIT;
        }
    }
    p->held = !load_publisher_open(p) && p->sent < p->limit;
    return load_publisher_open(p) ? LOAD_PUMP_MORE : LOAD_PUMP_WAIT;
}

bool
load_publisher_done(const struct load_publisher *p)
{
    return p->sent >= p->limit && p->pending_start == p->pending_end &&
           (!p->options->confirm || p->settled == p->sent);
}
