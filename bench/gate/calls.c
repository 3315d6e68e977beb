/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.c - how many system calls does a message take?
 *
 *   calls VARIANT
 *
 * A whole broker (tests/lib/rig.h), but over a real driver and real sockets,
 * in one thread and in lock-step with its clients: a burst is written, the
 * shard wakes and turns until a turn finds nothing, and the clients read.  That
 * is a broker that sleeps between bursts: waking and the turn that finds
 * nothing are in the figure, as is each call of the burst.
 *
 * The drivers count themselves where they enter the kernel.  That they are
 * right, strace says (bench/README.md); clients use read() and write(), which
 * drivers do not.
 *
 * Unix sockets, because there what is written can be read at once: over TCP, a
 * busy machine delivers some of it later, and the count would depend on when.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "dataplane/shard/shard.h"
#include "drivers/epoll/epoll.h"
#include "drivers/uring/uring.h"
#include "tests/lib/rig.h"

#define BODY_BYTES   100u
#define MEMORY_BYTES (32u << 20)
#define SEGMENT_MAX  (256u << 10)
#define QUEUE        "queue-0"
#define MESSAGES     16000u /* warming up, and again measured */
#define PREFETCH     100u
#define STEPS_MAX    100000u
#define WAIT_NS      1000000000u

struct variant {
    const char *name;
    bool uring;
    bool acks;      /* every delivery, and confirms for the publisher */
    uint32_t burst; /* messages written before the shard has its turns */
};

static const struct variant variants[] = {
    {"uring_1", true, false, 1},        {"uring_16", true, false, 16},
    {"uring_1000", true, false, 1000},  {"uring_acks_16", true, true, 16},
    {"epoll_1", false, false, 1},       {"epoll_16", false, false, 16},
    {"epoll_1000", false, false, 1000}, {"epoll_acks_16", false, true, 16},
};

/* A client's end. */
struct wire {
    struct bed *bed;
    int fd;
    struct rig_client client; /* for what rig_say.c says; rig does not know it */
    uint64_t received;
};

struct bed {
    const struct variant *variant;
    struct lp_listeners listeners;
    struct lp_transport transport;
    struct rig *rig;
    struct wire publisher;
    struct wire consumer;
    const struct lp_stats_page *stats;
    uint64_t published;
    uint64_t acked;
    uint32_t segment_bytes;
    uint8_t segment[SEGMENT_MAX];
    uint8_t ack[SEGMENT_MAX];
};

void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: %s\n", file, line, expr);
    abort();
}

/* ---- sockets ---- */

static uint64_t
wire_drain(struct wire *wire)
{
    static uint8_t bytes[64u << 10];
    uint64_t count = 0;
    ssize_t done;
    while ((done = read(wire->fd, bytes, sizeof(bytes))) > 0) {
        count += (uint64_t)done;
    }
    LP_ASSERT(done < 0 && errno == EAGAIN); /* nobody closes */
    wire->received += count;
    return count;
}

/* Turns until neither the shard nor its clients find anything. */
static void
turns(struct bed *bed)
{
    uint64_t found = 1;
    for (uint32_t step = 0; found > 0; step++) {
        LP_ASSERT(step < STEPS_MAX);
        found = rig_shards_turn(bed->rig);
        found += wire_drain(&bed->publisher) + wire_drain(&bed->consumer);
    }
}

/* What the socket does not take at once, it does when the shard has read some. */
static void
wire_write(struct wire *wire, struct lp_bytes bytes)
{
    for (uint32_t step = 0; bytes.size > 0; step++) {
        LP_ASSERT(step < STEPS_MAX);
        const ssize_t done = write(wire->fd, bytes.data, bytes.size);
        if (done < 0) {
            LP_ASSERT(errno == EAGAIN);
            turns(wire->bed);
            continue;
        }
        bytes = lp_bytes_of(bytes.data + done, bytes.size - (uint32_t)done);
    }
}

static bool
wire_say(void *context, struct lp_bytes bytes)
{
    struct wire *wire = context;
    wire_write(wire, bytes);
    rig_settle(wire->bed->rig);
    (void)wire_drain(wire);
    return true;
}

static void
wire_open(struct bed *bed, struct wire *wire)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, bed->listeners.address[0].path, sizeof(address.sun_path));
    *wire = (struct wire){.bed = bed, .client = {.say = wire_say, .say_context = wire}};
    wire->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    LP_ASSERT(wire->fd >= 0);
    const int connected = connect(wire->fd, (struct sockaddr *)&address, sizeof(address));
    LP_ASSERT(connected == 0);
    rig_settle(bed->rig);
    rig_open_channel(&wire->client);
}

/* ---- set-up ---- */

static uint64_t
kernel_enters(const struct bed *bed)
{
    struct lp_socket_counters counters;
    if (bed->variant->uring) {
        lp_uring_counters(&bed->transport, &counters);
    } else {
        lp_epoll_counters(&bed->transport, &counters);
    }
    return counters.kernel_enters;
}

static void
driver_open(struct bed *bed, const char *folder)
{
    char why[LP_LISTENERS_WHY_BYTES];
    struct lp_address address = {.family = LP_ADDRESS_UNIX};
    (void)snprintf(address.path, sizeof(address.path), "%s/socket", folder);
    enum lp_err err = lp_listeners_open_boot(&bed->listeners, &address, 1, 1, why);
    LP_ASSERT(err == LP_OK);
    const struct lp_socket_options options = {
        .listeners = &bed->listeners, .streams_max = 16, .wake_fd = -1};
    err = bed->variant->uring ? lp_uring_open_boot(&options, &bed->transport)
                              : lp_epoll_open_boot(&options, &bed->transport);
    LP_ASSERT(err == LP_OK);
}

static void
set_up(struct bed *bed, const char *folder)
{
    driver_open(bed, folder);
    bed->rig = rig_open_over(&bed->transport, MEMORY_BYTES);
    bed->stats = rig_stats(bed->rig, 0);
    wire_open(bed, &bed->publisher);
    wire_open(bed, &bed->consumer);
    rig_declare_queue(&bed->publisher.client, QUEUE);
    rig_consume(&bed->consumer.client, QUEUE, bed->variant->acks ? PREFETCH : 0);
    if (bed->variant->acks) {
        rig_confirm_select(&bed->publisher.client);
    }
    uint8_t body[BODY_BYTES];
    memset(body, 'x', sizeof(body));
    struct lp_writer writer = lp_writer_of(bed->segment, sizeof(bed->segment));
    for (uint32_t i = 0; i < bed->variant->burst; i++) {
        rig_publish(&writer, "", QUEUE, lp_bytes_of(body, sizeof(body)));
    }
    LP_ASSERT(!writer.failed);
    bed->segment_bytes = (uint32_t)lp_writer_size(&writer);
}

static void
tear_down(struct bed *bed)
{
    if (bed->variant->uring) {
        lp_uring_close(&bed->transport);
    } else {
        lp_epoll_close(&bed->transport);
    }
    (void)close(bed->publisher.fd);
    (void)close(bed->consumer.fd);
    rig_close(&bed->rig);
    lp_listeners_close(&bed->listeners);
}

/* ---- the trace ---- */

static void
acknowledge(struct bed *bed)
{
    struct lp_writer writer = lp_writer_of(bed->ack, sizeof(bed->ack));
    while (bed->acked < bed->stats->messages_delivered) {
        rig_ack(&writer, ++bed->acked, false);
    }
    LP_ASSERT(!writer.failed);
    wire_write(&bed->consumer, lp_writer_bytes(&writer));
}

static void
burst(struct bed *bed)
{
    wire_write(&bed->publisher, lp_bytes_of(bed->segment, bed->segment_bytes));
    if (bed->variant->acks) {
        acknowledge(bed);
    }
    bed->transport.ops->wait(bed->transport.self, WAIT_NS); /* asleep until now */
    turns(bed);
    bed->published += bed->variant->burst;
    LP_ASSERT(bed->stats->messages_delivered == bed->published);
    LP_ASSERT(!bed->variant->acks || bed->stats->messages_confirmed == bed->published);
}

static void
trace(struct bed *bed)
{
    for (uint32_t done = 0; done < MESSAGES; done += bed->variant->burst) {
        burst(bed);
    }
}

static int
measure(struct bed *bed)
{
    char why[LP_URING_WHY_BYTES];
    char folder[] = "/tmp/lepus-calls-XXXXXX";
    if (bed->variant->uring && !lp_uring_usable(why)) {
        (void)printf("none: %s\n", why);
        return 0;
    }
    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    set_up(bed, folder);
    trace(bed);
    const uint64_t before = kernel_enters(bed);
    trace(bed);
    const uint64_t after = kernel_enters(bed);
    (void)printf("calls %llu of %llu messages %llu\n", (unsigned long long)(after - before),
                 (unsigned long long)after, (unsigned long long)bed->published / 2);
    tear_down(bed);
    (void)rmdir(folder);
    return 0;
}

int
main(int argc, char **argv)
{
    static struct bed bed;
    const bool list = argc == 2 && strcmp(argv[1], "--list") == 0;
    for (size_t i = 0; argc == 2 && i < LP_COUNT_OF(variants); i++) {
        if (list) {
            (void)printf("%s\n", variants[i].name);
        } else if (strcmp(variants[i].name, argv[1]) == 0) {
            bed.variant = &variants[i];
        }
    }
    if (list) {
        return 0;
    }
    if (!bed.variant) {
        (void)fprintf(stderr, "usage: calls VARIANT, calls --list\n");
        return 2;
    }
    return measure(&bed);
}
