/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.h - publishers, consumers, and what they share.
 *
 * One thread, one epoll loop (run.c). With a rate, a publisher's messages are
 * due by a schedule that knows nothing of the broker (schedule.c): what cannot
 * be sent when it is due keeps the time at which it was. Without one the loop
 * is closed: a publisher sends while its window and its socket have room.
 *
 *   Order     is by publisher at each consumer; with several consumers on a queue that is
 *             all that a broker promises
 *   Streams   one for each publisher and queue that its messages reach, so that fan-out is
 *             checked copy by copy
 */
#pragma once

#include "conn.h"
#include "hdr.h"
#include "message.h"
#include "options.h"
#include "stream.h"
#include "thousands.h"

#define LOAD_NS_PER_S 1000000000ull
/* A start that late is the generator's own fault, and is counted. */
#define LOAD_LATE_NS 1000000ull

struct load_tally {
    uint16_t run; /* tells this run's bodies from an earlier one's */
    uint32_t stream_count;
    struct load_stream *streams;
    const uint8_t *filler;
    uint64_t sent;
    uint64_t confirmed;
    uint64_t nacked;
    uint64_t returned;
    uint64_t received; /* once each */
    uint64_t duplicates;
    uint64_t redelivered;
    uint64_t out_of_order;
    uint64_t corrupt;
    uint64_t foreign;
    uint64_t unsent;     /* due by the schedule when time was up, and still held */
    uint64_t held;       /* due while window or socket had no room */
    uint64_t late;       /* started LOAD_LATE_NS after they were due, though nothing held them */
    uint64_t to_receive; /* without publishers: copies that are expected */
    uint64_t first_send_ns;
    struct load_hdr *delivery;
    struct load_thousands thousands; /* of deliveries */
    struct load_hdr *confirm;
    struct load_hdr *start; /* from due to sent, of what nothing held */
};

struct load_schedule;

struct load_publisher {
    struct load_conn conn; /* first: the run casts */
    const struct load_options *options;
    struct load_tally *tally;
    struct load_schedule *schedule;
    uint32_t index;
    uint32_t size;    /* of its bodies */
    uint32_t queue;   /* that it sends to, unless that is all */
    uint32_t backlog; /* its share of --backlog; 0: no bound */
    uint64_t limit;   /* messages to send */
    uint64_t sent;
    uint64_t settled;   /* confirmed or refused, all up to this delivery tag */
    uint64_t delivered; /* copies consumed */
    double due_exact;   /* of the next message, in ns of the schedule; see publisher.c */
    uint64_t due_ns;
    bool held;
    uint32_t place; /* in the schedule; see schedule.h */
    uint8_t *block; /* `slots` messages one behind the other, framed */
    uint32_t slots;
    uint32_t slot_bytes;
    uint32_t body_at;       /* in a slot, as the next two */
    uint32_t tail_at;       /* 0: none */
    uint32_t key_at;        /* of the digits that change; 0: none do */
    uint32_t pending_start; /* of the block, not sent yet */
    uint32_t pending_end;
    uint64_t *due_of; /* by tag modulo `ring`, for the confirm latency; LOAD_SETTLED when it is */
    uint64_t ring;
};

struct load_consumer {
    struct load_conn conn; /* first: the run casts */
    const struct load_options *options;
    struct load_tally *tally;
    struct load_publisher *publishers;
    struct load_stream *streams; /* of its queue */
    uint64_t *next;              /* by publisher: the lowest sequence number that is in order */
    uint32_t index;
    uint32_t queue;
    uint32_t unacked;
    uint64_t tag;
    /* Of the message that is arriving in pieces. */
    uint64_t body_bytes;
    uint64_t body_at;
    bool redelivered;
    bool in_message;
    bool spoiled; /* its filler is wrong */
    uint8_t stamp[LOAD_STAMP_BYTES];
    uint8_t tail[LOAD_TAIL_BYTES];
    /* Payload bytes of the latest message's three frames: the next one is likely to be the same. */
    uint32_t deliver_bytes;
    uint32_t header_bytes;
    uint32_t alike_bytes;                         /* of its body */
    uint8_t heads[3][AMQP091_FRAME_HEADER_BYTES]; /* the beginnings of those frames */
};

uint64_t load_now_ns(void);

/* Bindings and exchange and queue names, see topology.c. */
void load_queue_name(const struct load_options *options, uint32_t index, char name[256]);
void load_idle_name(const struct load_options *options, uint32_t index, char name[256]);
void load_exchange_name(const struct load_options *options, char name[256]);
/* Append what declares and binds a queue; conn->owed counts the answers. */
void load_topology_queue(const struct load_options *options, struct load_conn *conn,
                         uint32_t queue);
void load_topology_exchange(const struct load_options *options, struct load_conn *conn);
void load_topology_idle_queue(const struct load_options *options, struct load_conn *conn,
                              uint32_t index);
void load_topology_idle_binding(const struct load_options *options, struct load_conn *conn,
                                uint32_t index);
void load_topology_delete(const struct load_options *options, struct load_conn *conn,
                          const char *queue);
void load_topology_delete_exchange(const struct load_options *options, struct load_conn *conn);
/*
 * The frames of a publisher's message before its body; `w` takes them. With
 * --keys gives where the digits are, else 0.
 */
uint32_t load_topology_head(const struct load_options *options, uint32_t queue, uint32_t size,
                            struct lp_writer *w);
void load_topology_key_write(uint8_t *at, uint64_t number);

void load_publisher_init(struct load_publisher *publisher, uint32_t index,
                         const struct load_options *options, struct load_tally *tally);
void load_publisher_fini(struct load_publisher *publisher);
/* Append what its channel is opened with. */
void load_publisher_begin(struct load_publisher *publisher);
/* Its connection is open: frame what it will send. */
LP_MUST_CHECK bool load_publisher_ready(struct load_publisher *publisher);
/* Its schedule begins. */
void load_publisher_start(struct load_publisher *publisher, uint64_t start_ns);

enum load_pump {
    LOAD_PUMP_MORE, /* it was its turn's share that ended it */
    LOAD_PUMP_WAIT, /* nothing is due, or nothing fits, or it is done */
};
enum load_pump load_publisher_pump(struct load_publisher *publisher, uint64_t now_ns);
/* Is there room for the next message in its window, and may there be one? */
bool load_publisher_open(const struct load_publisher *publisher);
/* Read confirms and returns. */
void load_publisher_read(struct load_publisher *publisher, uint8_t *arena);
bool load_publisher_done(const struct load_publisher *publisher);

LP_MUST_CHECK bool load_consumer_init(struct load_consumer *consumer, uint32_t index,
                                      const struct load_options *options, struct load_tally *tally);
void load_consumer_fini(struct load_consumer *consumer);
/* Append what its channel is opened with. */
void load_consumer_begin(struct load_consumer *consumer);
/* All the messages in `input`, which arrived at `now_ns`. */
void load_consumer_take(struct load_consumer *consumer, struct lp_reader *input, uint64_t now_ns);
/* A whole body; no acknowledgement is due for it. */
void load_consumer_message(struct load_consumer *consumer, struct lp_bytes body, uint64_t now_ns);
/* Acknowledge what is still held back by --ack-every. */
void load_consumer_settle(struct load_consumer *consumer);

/* A copy of a message of this publisher was consumed: its window may have room. */
void load_publisher_consumed(struct load_publisher *publisher);
