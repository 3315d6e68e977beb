/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path.c - how many instructions does a message take, from a received segment
 * to what is handed to the transport?
 *
 *   path VARIANT
 *
 * makes a broker (tests/lib/rig.h), publishes the variant's count of messages
 * and has them consumed, so that pools, caches and buffers have their size, and
 * then as many more from path_measured(), where path_gate.py has callgrind begin
 * to count.  Only lp_shard_turn() is counted: clients and control are around it.
 *
 * The same program over the counted build of the data plane is path_counted
 * (counts.h): it says how many blocks, copied bytes and lines those took.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counts.h"
#include "dataplane/protocol/amqp091/method.h"
#include "tests/lib/rig.h"

#define MEMORY_BYTES (32u << 20)
#define SEGMENT_MAX  (128u << 10)
#define BODY_MAX     (100u << 10)
/* io_uring's receive buffers: messages are cut where one ends. */
#define PIECE_BYTES    (16u << 10)
#define ACKS_MAX       (8u << 10)
#define QUEUES_MAX     8u
#define TOPIC_BINDINGS 100u
#define DRAIN_TURNS    1000u

enum properties {
    PROPERTIES_TRANSIENT, /* delivery-mode 1, as most clients send it */
    PROPERTIES_PERSISTENT,
    PROPERTIES_RICH, /* what a framework sends: nine of them, a table of headers among them */
};

enum property_flag {
    CONTENT_TYPE = 0x8000,
    HEADERS = 0x2000,
    DELIVERY_MODE = 0x1000,
    PRIORITY = 0x0800,
    CORRELATION_ID = 0x0400,
    MESSAGE_ID = 0x0080,
    TIMESTAMP = 0x0040,
    TYPE = 0x0020,
    APP_ID = 0x0008,
};

struct variant {
    const char *name;
    uint32_t shards;    /* 2: queues live on another shard than the publisher */
    bool apart;         /* and so do consumers; else they are with the publisher */
    uint32_t burst;     /* messages in a received segment */
    uint32_t queues;    /* each message goes to all of them */
    uint16_t prefetch;  /* 0: consumers do not acknowledge */
    uint32_t ack_every; /* one ack, multiple, for so many deliveries */
    bool confirms;
    const char *exchange; /* "", "fanout" or "topic" */
    uint32_t idle;        /* queues that nothing is in, and a channel for every fourth */
    uint32_t body_bytes;
    enum properties properties;
    bool cut; /* a segment comes in pieces of PIECE_BYTES, one a turn */
    uint32_t count;
};

/* What a row is if it does not say otherwise. */
#define ORDINARY \
    .shards = 1, .burst = 16, .queues = 1, .exchange = "", .body_bytes = 100, .count = 3200

/* A row that overrides what is ordinary is meant. */
#pragma GCC diagnostic ignored "-Woverride-init"

static const struct variant variants[] = {
    {ORDINARY, .name = "plain"},
    {ORDINARY, .name = "plain_far", .shards = 2},
    {ORDINARY, .name = "plain_apart", .shards = 2, .apart = true},
    {ORDINARY, .name = "single", .burst = 1},
    {ORDINARY, .name = "confirms", .confirms = true},
    {ORDINARY, .name = "confirms_far", .shards = 2, .confirms = true},
    {ORDINARY, .name = "acks", .prefetch = 100, .ack_every = 50},
    {ORDINARY, .name = "acks_far", .shards = 2, .prefetch = 100, .ack_every = 50},
    {ORDINARY, .name = "ack_each", .prefetch = 100, .ack_every = 1},
    {ORDINARY, .name = "fanout_8", .queues = 8, .exchange = "fanout"},
    {ORDINARY, .name = "fanout_8_far", .shards = 2, .queues = 8, .exchange = "fanout"},
    {ORDINARY, .name = "topic_100", .exchange = "topic"},
    {ORDINARY, .name = "topic_100_far", .shards = 2, .exchange = "topic"},
    {ORDINARY, .name = "persistent", .properties = PROPERTIES_PERSISTENT},
    {ORDINARY, .name = "properties", .properties = PROPERTIES_RICH},
    {ORDINARY, .name = "body_16", .body_bytes = 16},
    {ORDINARY, .name = "body_1k", .body_bytes = 1024},
    {ORDINARY, .name = "body_1k_far", .body_bytes = 1024, .shards = 2},
    {ORDINARY, .name = "body_1k_apart", .body_bytes = 1024, .shards = 2, .apart = true},
    {ORDINARY, .name = "body_1k_cut", .body_bytes = 1024, .burst = 64, .cut = true},
    {ORDINARY, .name = "body_100k", .body_bytes = BODY_MAX, .burst = 1, .cut = true, .count = 320},
    {ORDINARY, .name = "plain_crowd", .idle = 4096},
    {ORDINARY, .name = "acks_crowd", .prefetch = 100, .ack_every = 50, .idle = 4096},
};

struct path {
    const struct variant *variant;
    struct rig *rig;
    struct rig_client *publisher;
    struct rig_client *consumer[QUEUES_MAX];
    const struct lp_stats_page *publishing; /* of the publisher's shard */
    const struct lp_stats_page *consuming;  /* of the consumers' */
    uint32_t segment_bytes;
    uint64_t published;
    uint64_t acked; /* by each consumer: all have had the same */
    uint8_t body[BODY_MAX];
    uint8_t segment[SEGMENT_MAX];
    uint8_t ack[QUEUES_MAX][ACKS_MAX];
};

void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: %s\n", file, line, expr);
    abort();
}

/* ---- set-up ---- */

static void
name_queue(char *name, size_t bytes, uint32_t index)
{
    (void)snprintf(name, bytes, "queue-%u", index);
}

/* Sixteen different keys a segment, each of which one of the bindings matches. */
static void
name_key(const struct variant *variant, char *key, size_t bytes, uint32_t index)
{
    if (strcmp(variant->exchange, "topic") == 0) {
        (void)snprintf(key, bytes, "stock.eur.%u", index % 16 * 6);
    } else {
        name_queue(key, bytes, 0);
    }
}

static void
topology_make(struct path *path, struct rig_client *declarer)
{
    const struct variant *variant = path->variant;
    char queue[32];
    char pattern[32];
    if (variant->exchange[0] != '\0') {
        rig_declare_exchange(declarer, variant->exchange, variant->exchange);
    }
    for (uint32_t i = 0; i < variant->queues; i++) {
        name_queue(queue, sizeof(queue), i);
        rig_declare_queue(declarer, queue);
        if (strcmp(variant->exchange, "fanout") == 0) {
            rig_bind_queue(declarer, queue, variant->exchange, "");
        }
    }
    for (uint32_t i = 0; i < TOPIC_BINDINGS && strcmp(variant->exchange, "topic") == 0; i++) {
        (void)snprintf(pattern, sizeof(pattern), "stock.*.%u", i);
        rig_bind_queue(declarer, queue, variant->exchange, pattern);
    }
}

/* What is there and takes no part. */
static void
crowd_make(struct path *path)
{
    char queue[32];
    if (path->variant->idle == 0) {
        return;
    }
    struct rig_client *declarer = rig_connect(path->rig, path->variant->shards - 1);
    rig_open_channel(declarer);
    for (uint32_t i = 0; i < path->variant->idle; i++) {
        (void)snprintf(queue, sizeof(queue), "idle-%u", i);
        rig_declare_queue(declarer, queue);
        if (i % 4 == 3) {
            struct rig_method method;
            rig_method_begin(&method, (uint16_t)(2 + i / 4), AMQP091_CHANNEL_OPEN);
            lp_writer_short(&method.writer, lp_bytes_of(NULL, 0));
            const bool open = rig_method_say(declarer, &method);
            LP_ASSERT(open);
        }
    }
}

/* A header frame's flags and list. */
static void
properties_write(struct lp_writer *writer, enum properties properties)
{
    if (properties != PROPERTIES_RICH) {
        lp_writer_u16be(writer, DELIVERY_MODE);
        lp_writer_u8(writer, properties == PROPERTIES_PERSISTENT ? 2 : 1);
        return;
    }
    lp_writer_u16be(writer, CONTENT_TYPE | HEADERS | DELIVERY_MODE | PRIORITY | CORRELATION_ID |
                                MESSAGE_ID | TIMESTAMP | TYPE | APP_ID);
    lp_writer_short(writer, lp_bytes_of_text("application/json"));
    const size_t table = lp_writer_size(writer);
    lp_writer_u32be(writer, 0);
    for (uint32_t i = 0; i < 4; i++) {
        static const char *const names[] = {"x-trace-id", "x-attempt", "source", "tenant"};
        lp_writer_short(writer, lp_bytes_of_text(names[i]));
        lp_writer_u8(writer, 'S');
        lp_writer_long_be(writer, lp_bytes_of_text("00-4bf92f3577b34da6-01"));
    }
    lp_writer_patch_u32be(writer, table, (uint32_t)(lp_writer_size(writer) - table - 4));
    lp_writer_u8(writer, 1); /* delivery-mode */
    lp_writer_u8(writer, 0); /* priority */
    lp_writer_short(writer, lp_bytes_of_text("b5c9c1f0-0a4e-4a52-9d53-2f6f0a3c6e11"));
    lp_writer_short(writer, lp_bytes_of_text("0d8f2b34-7f2e-4d06-8a4e-93a2cf2b7a55"));
    lp_writer_u64be(writer, 1700000000);
    lp_writer_short(writer, lp_bytes_of_text("order.created"));
    lp_writer_short(writer, lp_bytes_of_text("shop"));
}

static void
segment_make(struct path *path)
{
    const struct variant *variant = path->variant;
    struct lp_writer writer = lp_writer_of(path->segment, sizeof(path->segment));
    uint8_t properties[512];
    struct lp_writer list = lp_writer_of(properties, sizeof(properties));
    char key[32];
    properties_write(&list, variant->properties);
    memset(path->body, 'x', sizeof(path->body));
    for (uint32_t i = 0; i < variant->burst; i++) {
        name_key(variant, key, sizeof(key), i);
        rig_publish_with(&writer, variant->exchange, key, lp_writer_bytes(&list),
                         lp_bytes_of(path->body, variant->body_bytes));
    }
    LP_ASSERT(!writer.failed);
    path->segment_bytes = (uint32_t)lp_writer_size(&writer);
}

static void
set_up(struct path *path)
{
    const struct variant *variant = path->variant;
    const struct rig_options options = {variant->shards, MEMORY_BYTES};
    char queue[32];
    path->rig = rig_open(&options);
    const uint32_t consumers = variant->apart ? variant->shards - 1 : 0;
    path->publishing = rig_stats(path->rig, 0);
    path->consuming = rig_stats(path->rig, consumers);
    struct rig_client *declarer = rig_connect(path->rig, variant->shards - 1);
    rig_open_channel(declarer);
    topology_make(path, declarer);
    crowd_make(path);
    path->publisher = rig_connect(path->rig, 0);
    rig_open_channel(path->publisher);
    if (variant->confirms) {
        rig_confirm_select(path->publisher);
    }
    for (uint32_t i = 0; i < variant->queues; i++) {
        name_queue(queue, sizeof(queue), i);
        path->consumer[i] = rig_connect(path->rig, consumers);
        rig_open_channel(path->consumer[i]);
        rig_consume(path->consumer[i], queue, variant->prefetch);
    }
    segment_make(path);
}

/* ---- the path ---- */

/* Consumers acknowledge what they have had, as clients do: in the turns after its delivery. */
static void
acknowledge(struct path *path)
{
    const struct variant *variant = path->variant;
    if (variant->ack_every == 0) {
        return;
    }
    const uint64_t delivered = path->consuming->messages_delivered / variant->queues;
    const uint64_t count = (delivered - path->acked) / variant->ack_every;
    for (uint32_t i = 0; i < variant->queues && count > 0; i++) {
        struct lp_writer writer = lp_writer_of(path->ack[i], sizeof(path->ack[i]));
        for (uint64_t n = 1; n <= count; n++) {
            rig_ack(&writer, path->acked + n * variant->ack_every, variant->ack_every > 1);
        }
        LP_ASSERT(!writer.failed);
        rig_feed(path->consumer[i], lp_writer_bytes(&writer));
    }
    path->acked += count * variant->ack_every;
}

static void
publish_segment(struct path *path)
{
    const uint32_t piece_max = path->variant->cut ? PIECE_BYTES : SEGMENT_MAX;
    for (uint32_t at = 0; at < path->segment_bytes; at += piece_max) {
        LP_ASSERT(path->publisher->input.size == 0); /* nothing held it back */
        const uint32_t bytes = LP_MIN(piece_max, path->segment_bytes - at);
        rig_feed(path->publisher, lp_bytes_of(path->segment + at, bytes));
        acknowledge(path);
        (void)rig_shards_turn(path->rig); /* there is work: just fed */
    }
    path->published += path->variant->burst;
}

static void
publish(struct path *path)
{
    for (uint32_t done = 0; done < path->variant->count; done += path->variant->burst) {
        publish_segment(path);
    }
}

static bool
all_arrived(const struct path *path)
{
    const struct variant *variant = path->variant;
    const uint64_t confirmed = variant->confirms ? path->published : 0;
    const uint64_t kept = path->acked + variant->ack_every > path->published ? 1 : 0;
    return path->consuming->messages_delivered == path->published * variant->queues &&
           path->publishing->messages_confirmed == confirmed && (variant->ack_every == 0 || kept);
}

static void
drain(struct path *path)
{
    for (uint32_t turn = 0; !all_arrived(path); turn++) {
        LP_ASSERT(turn < DRAIN_TURNS); /* else messages are lost */
        acknowledge(path);
        (void)rig_shards_turn(path->rig);
    }
}

/* Named: path_gate.py has callgrind start afresh here. */
static void __attribute__((noinline)) path_measured(struct path *path)
{
    publish(path);
    drain(path);
}

static void
print_counts(const struct gate_counts *counts)
{
    (void)printf("taken %llu given %llu copied %llu stored %llu lines %llu\n",
                 (unsigned long long)counts->taken, (unsigned long long)counts->given,
                 (unsigned long long)counts->copied, (unsigned long long)counts->stored,
                 (unsigned long long)counts->lines);
    gate_counts_print_sites();
}

static int
usage(void)
{
    (void)fprintf(stderr, "usage: path VARIANT, path --list\n");
    return 2;
}

int
main(int argc, char **argv)
{
    static struct path path;
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < LP_COUNT_OF(variants); i++) {
            (void)printf("%s %u\n", variants[i].name, variants[i].count);
        }
        return 0;
    }
    for (size_t i = 0; argc == 2 && i < LP_COUNT_OF(variants); i++) {
        if (strcmp(variants[i].name, argv[1]) == 0) {
            path.variant = &variants[i];
        }
    }
    if (!path.variant) {
        return usage();
    }
    set_up(&path);
    publish(&path);
    drain(&path);
    const bool counting = gate_counts_begin();
    path_measured(&path);
    if (counting) {
        print_counts(gate_counts_end());
    }
    rig_check(path.rig);
    (void)printf("%llu published, %llu delivered\n", (unsigned long long)path.published,
                 (unsigned long long)path.consuming->messages_delivered);
    rig_close(&path.rig);
    return 0;
}
