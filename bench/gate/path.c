/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path.c - how many instructions does a message take, from a received segment
 * to what is handed to the transport?
 *
 *   path VARIANT COUNT
 *
 * makes a broker (tests/lib/rig.h), publishes COUNT messages and has them
 * consumed, so that pools, caches and buffers have their size, and then COUNT
 * more from path_measured(), where path_gate.py has callgrind begin to count.
 * Only lp_shard_turn() is counted: clients and control are around it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/protocol/amqp091/method.h"
#include "tests/lib/rig.h"

#define BODY_BYTES     100u
#define MEMORY_BYTES   (32u << 20)
#define SEGMENT_MAX    (8u << 10)
#define QUEUES_MAX     8u
#define TOPIC_BINDINGS 100u
#define DRAIN_TURNS    1000u

struct variant {
    const char *name;
    uint32_t shards;    /* 2: queues live on another shard than publisher and consumers */
    uint32_t burst;     /* messages in a received segment */
    uint32_t queues;    /* each message goes to all of them */
    uint16_t prefetch;  /* 0: consumers do not acknowledge */
    uint32_t ack_every; /* one ack, multiple, for so many deliveries */
    bool confirms;
    const char *exchange; /* "", "fanout" or "topic" */
    uint32_t idle;        /* queues that nothing is in, and a channel for every fourth */
};

static const struct variant variants[] = {
    {"plain", 1, 16, 1, 0, 0, false, "", 0},
    {"plain_far", 2, 16, 1, 0, 0, false, "", 0},
    {"single", 1, 1, 1, 0, 0, false, "", 0},
    {"confirms", 1, 16, 1, 0, 0, true, "", 0},
    {"confirms_far", 2, 16, 1, 0, 0, true, "", 0},
    {"acks", 1, 16, 1, 100, 50, false, "", 0},
    {"acks_far", 2, 16, 1, 100, 50, false, "", 0},
    {"ack_each", 1, 16, 1, 100, 1, false, "", 0},
    {"fanout_8", 1, 16, 8, 0, 0, false, "fanout", 0},
    {"fanout_8_far", 2, 16, 8, 0, 0, false, "fanout", 0},
    {"topic_100", 1, 16, 1, 0, 0, false, "topic", 0},
    {"topic_100_far", 2, 16, 1, 0, 0, false, "topic", 0},
    {"plain_crowd", 1, 16, 1, 0, 0, false, "", 4096},
    {"acks_crowd", 1, 16, 1, 100, 50, false, "", 4096},
};

struct path {
    const struct variant *variant;
    struct rig *rig;
    struct rig_client *publisher;
    struct rig_client *consumer[QUEUES_MAX];
    const struct lp_stats_page *stats; /* of the shard that clients are on */
    uint32_t segment_bytes;
    uint64_t published;
    uint64_t acked; /* by each consumer: all have had the same */
    uint8_t segment[SEGMENT_MAX];
    uint8_t ack[QUEUES_MAX][SEGMENT_MAX];
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

static void
segment_make(struct path *path)
{
    const struct variant *variant = path->variant;
    struct lp_writer writer = lp_writer_of(path->segment, sizeof(path->segment));
    uint8_t body[BODY_BYTES];
    char key[32];
    memset(body, 'x', sizeof(body));
    for (uint32_t i = 0; i < variant->burst; i++) {
        name_key(variant, key, sizeof(key), i);
        rig_publish(&writer, variant->exchange, key, lp_bytes_of(body, sizeof(body)));
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
    path->stats = rig_stats(path->rig, 0);
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
        path->consumer[i] = rig_connect(path->rig, 0);
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
    const uint64_t delivered = path->stats->messages_delivered / variant->queues;
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
publish(struct path *path, uint32_t count)
{
    for (uint32_t done = 0; done < count; done += path->variant->burst) {
        LP_ASSERT(path->publisher->input.size == 0); /* nothing held it back */
        rig_feed(path->publisher, lp_bytes_of(path->segment, path->segment_bytes));
        acknowledge(path);
        (void)rig_shards_turn(path->rig); /* there is work: just fed */
        path->published += path->variant->burst;
    }
}

static bool
all_arrived(const struct path *path)
{
    const struct lp_stats_page *stats = path->stats;
    const struct variant *variant = path->variant;
    const uint64_t confirmed = variant->confirms ? path->published : 0;
    const uint64_t kept = path->acked + variant->ack_every > path->published ? 1 : 0;
    return stats->messages_delivered == path->published * variant->queues &&
           stats->messages_confirmed == confirmed && (variant->ack_every == 0 || kept);
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
static void __attribute__((noinline)) path_measured(struct path *path, uint32_t count)
{
    publish(path, count);
    drain(path);
}

int
main(int argc, char **argv)
{
    static struct path path;
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < LP_COUNT_OF(variants); i++) {
            (void)printf("%s %u %u\n", variants[i].name, variants[i].queues, variants[i].burst);
        }
        return 0;
    }
    for (size_t i = 0; argc == 3 && i < LP_COUNT_OF(variants); i++) {
        if (strcmp(variants[i].name, argv[1]) == 0) {
            path.variant = &variants[i];
        }
    }
    if (!path.variant) {
        (void)fprintf(stderr, "usage: path VARIANT COUNT, path --list\n");
        return 2;
    }
    const uint32_t count = (uint32_t)strtoul(argv[2], NULL, 10);
    set_up(&path);
    publish(&path, count);
    drain(&path);
    path_measured(&path, count);
    rig_check(path.rig);
    (void)printf("%llu published, %llu delivered\n", (unsigned long long)path.published,
                 (unsigned long long)path.stats->messages_delivered);
    rig_close(&path.rig);
    return 0;
}
