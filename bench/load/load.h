/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.h - publishers, consumers and the tally that they share.
 *
 * One thread, one epoll loop (run.c). A publisher fills its connection's output
 * while its window allows; a consumer decodes what comes and tells the tally.
 *
 *   Body      run, publisher, sequence, time sent (16 bytes, little-endian), then filler;
 *             the last byte of a longer body repeats the sequence's lowest, so that a torn
 *             or mixed-up body shows
 *   Order     is by publisher at each consumer; with several consumers on a queue that is
 *             all that a broker promises
 */
#pragma once

#include "conn.h"
#include "options.h"

#define LOAD_STAMP_BYTES    16u
#define LOAD_PUBLISHERS_MAX 4096u
#define LOAD_BUCKETS        512u

struct load_latency {
    uint64_t count;
    uint64_t max_ns;
    uint64_t bucket[LOAD_BUCKETS];
};

/* What became of one publisher's messages. */
struct load_stream {
    uint64_t sent;
    uint64_t received;  /* once each */
    uint64_t seen_bits; /* room in `seen`, a multiple of 64 */
    uint64_t *seen;     /* by sequence number */
};

struct load_tally {
    uint32_t stream_count;
    uint16_t run; /* tells this run's bodies from an earlier one's */
    struct load_stream *streams;
    uint64_t sent;
    uint64_t confirmed;
    uint64_t nacked;
    uint64_t returned;
    uint64_t received; /* unique */
    uint64_t duplicates;
    uint64_t redelivered;
    uint64_t out_of_order;
    uint64_t corrupt;
    uint64_t foreign;
    uint64_t first_send_ns;
    uint64_t last_event_ns;
    struct load_latency delivery;
    struct load_latency confirm;
};

struct load_publisher {
    struct load_conn conn; /* first: the loop casts */
    const struct load_options *options;
    struct load_tally *tally;
    struct load_stream *stream;
    uint32_t index;
    uint64_t limit;         /* messages to send; UINT64_MAX: until told to stop */
    uint64_t settled;       /* confirmed or refused, all up to this delivery tag */
    uint64_t due_ns;        /* of the next message, under --rate */
    uint64_t interval_ns;   /* 0: no rate */
    uint32_t head_bytes;    /* method and header frame, the same for every message */
    uint32_t message_bytes; /* all frames of one message */
    uint8_t head[600];
    uint64_t *sent_ns; /* by tag modulo `ring`, for the confirm latency */
    uint8_t *settled_early;
    uint64_t ring;
};

struct load_consumer {
    struct load_conn conn; /* first: the loop casts */
    const struct load_options *options;
    struct load_tally *tally;
    uint64_t *next; /* by publisher: the lowest sequence number that is in order */
    uint64_t tag;
    uint64_t body_left;
    uint64_t body_bytes;
    uint32_t stamp_bytes;
    uint32_t unacked;
    bool redelivered;
    bool in_message;
    uint8_t last_byte;
    uint8_t stamp[LOAD_STAMP_BYTES];
};

uint64_t load_now_ns(void);

void load_latency_add(struct load_latency *latency, uint64_t ns);
/* The latency that `share` (0..1) of the samples do not exceed. */
uint64_t load_latency_quantile(const struct load_latency *latency, double share);

LP_MUST_CHECK bool load_tally_init(struct load_tally *tally, const struct load_options *options);
void load_tally_fini(struct load_tally *tally);
/* True when it is the first time. */
LP_MUST_CHECK bool load_stream_mark(struct load_stream *stream, uint64_t sequence);

LP_MUST_CHECK bool load_publisher_open(struct load_publisher *publisher, uint32_t index,
                                       const struct load_options *options,
                                       struct load_tally *tally);
void load_publisher_close(struct load_publisher *publisher);
/*
 * Send as many messages as window, rate, limit and socket allow, up to a
 * turn's share; true when that share was what ended it.
 */
bool load_publisher_pump(struct load_publisher *publisher, uint64_t now_ns);
/* Read confirms and returns. */
void load_publisher_read(struct load_publisher *publisher);
bool load_publisher_done(const struct load_publisher *publisher);

LP_MUST_CHECK bool load_consumer_open(struct load_consumer *consumer, uint32_t index,
                                      const struct load_options *options, struct load_tally *tally);
void load_consumer_close(struct load_consumer *consumer);
/* What has arrived already: deliveries may come together with the answer to consume. */
void load_consumer_take(struct load_consumer *consumer);
void load_consumer_read(struct load_consumer *consumer);
/* Acknowledge what is still held back by --ack-every. */
void load_consumer_settle(struct load_consumer *consumer);

/* The name of queue `index` into `name`. */
void load_queue_name(const struct load_options *options, uint32_t index, char name[256]);

/* CPU time of a process in nanoseconds, or 0 when it is gone. */
uint64_t load_cpu_ns(int pid);

/* Prints the outcome; true when every message that was sent arrived whole, once and in order. */
bool load_report(const struct load_options *options, const struct load_tally *tally,
                 uint64_t broker_cpu_ns, uint64_t own_cpu_ns);
