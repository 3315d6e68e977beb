/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.h - one run: its connections, its loop, and the marks at which figures
 * were taken.
 *
 *   open    connections, queues; consumers before publishers
 *   warm-up messages that the figures leave out
 *   measure until --seconds are over or --messages are through
 *   drain   what is still on its way counts for latency and checks, not for rates
 */
#pragma once

#include "load.h"
#include "machine.h"
#include "schedule.h"
#include "watch.h"

/* Counters and costs at one moment. */
struct load_mark {
    struct load_usage usage;
    uint64_t sent;
    uint64_t received;
    uint64_t confirmed;
    uint64_t held;
    uint64_t late;
};

struct load_run {
    struct load_options options;
    struct load_tally tally;
    struct load_tree tree;
    struct load_schedule schedule;
    struct load_conn admin;
    struct load_conn *idle;
    struct load_publisher *publishers;
    struct load_consumer *consumers;
    uint8_t *arena;
    uint8_t *filler;
    struct load_hdr *second; /* the delivery histogram as it was a second ago */
    struct load_watch watch;
    int signals;
    bool interrupted;
    bool measuring;
    bool measured;
    const char *broken;    /* a connection's reason */
    uint64_t stop_ns;      /* of sending; UINT64_MAX: the limit decides */
    uint64_t warm_ns;      /* end of the warm-up */
    double open_s;         /* what opening took */
    uint64_t bytes_before; /* of the broker, before anything was opened */
    uint64_t bytes_after;  /* when all had arrived */
    struct load_mark begin;
    struct load_mark end;
    struct load_mark tick; /* of the progress line */
    uint64_t ticks;
};

/* Connect everything and declare; false: said why. */
LP_MUST_CHECK bool load_run_open(struct load_run *run);
/* Delete what was declared, close, free. */
void load_run_close(struct load_run *run);
/* NULL when the run came to its end, otherwise why it did not. */
const char *load_run_loop(struct load_run *run);

void load_mark_take(struct load_mark *mark, struct load_run *run);
/* A line on standard error, once a second. */
void load_progress(struct load_run *run, uint64_t now_ns);

/*
 * Connect, log in and open a channel on connections `first` to `end` - 1, many
 * at a time; `begin` is asked to append what each one's role needs.
 */
typedef struct load_conn *load_pick_fn(struct load_run *run, uint32_t index);
typedef void load_begin_fn(struct load_run *run, struct load_conn *conn, uint32_t index);
struct load_many {
    uint32_t first;
    uint32_t end;
    load_pick_fn *pick;
    load_begin_fn *begin; /* NULL: the channel is all */
};
LP_MUST_CHECK bool load_opening_run(struct load_run *run, const struct load_many *many);
/* Wait until everything that an open connection asked for has been answered. */
LP_MUST_CHECK bool load_opening_settle(struct load_run *run, struct load_conn *conn);
