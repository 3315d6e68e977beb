/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pilot.h - a client that lives through several connections: it connects,
 * goes through a script of synchronous methods, works, meets accidents.
 *
 * What it says and does is its ops'.  One synchronous thing is outstanding at
 * a time: whoever says one during work sets `waiting`.
 */
#pragma once

#include "tests/sim/amqp_client.h"
#include "tests/sim/scene.h"

struct pilot;

struct pilot_ops {
    /* Say the step-th synchronous method of the set-up; false: there is none, it is ready.
     * Step 0 comes after channel 1 was opened.  NULL: there is no set-up. */
    bool (*script)(struct pilot *pilot, uint32_t step);
    /* Ready, and nothing is outstanding; true when it did something. */
    bool (*work)(struct pilot *pilot);
    /* A method; true: it was news.  False, or NULL: it is the answer that is waited for. */
    bool (*method)(struct pilot *pilot, uint32_t id, struct lp_reader *args);
    /* NULL: nobody sends it anything. */
    void (*content)(struct pilot *pilot, const struct sim_content *content);
    /* The connection is gone (client.closed_in_order, client.close_code), or NULL. */
    void (*gone)(struct pilot *pilot);
};

struct pilot {
    struct sim_client client;
    struct scene *scene;
    const struct pilot_ops *ops;
    uint32_t lives;    /* connections that it may still make */
    uint32_t accident; /* it vanishes once in so many of its turns; 0: never */
    uint32_t shard;    /* where it connects; UINT32_MAX: anywhere */
    uint32_t step;
    bool opened; /* connection.open-ok came */
    bool ready;
    bool waiting;
    bool vanishing;  /* it goes without a word */
    bool tolerant;   /* a close by the broker is no failure: gone() looks at it */
    uint32_t deaths; /* of the node, when it connected */
    uint64_t waiting_since_ns;
    uint64_t connected_ns;
    uint64_t stall_until_ns;
    uint64_t pause_until_ns;   /* it does not work before */
    uint64_t refused_until_ns; /* it does not connect before */
};

void pilot_init(struct pilot *pilot, struct scene *scene, const struct pilot_ops *ops);
void pilot_fini(struct pilot *pilot);
/* Its turn; true when anything happened. */
bool pilot_act(struct pilot *pilot);
/* Closed, or never connected? */
bool pilot_away(const struct pilot *pilot);
/* The script begins again at `step` (after a channel was closed: 0, with channel.open before). */
void pilot_restart(struct pilot *pilot);
/* A synchronous method was just said. */
void pilot_wait(struct pilot *pilot);
void pilot_close(struct pilot *pilot);
/* Close, and do not come back. */
void pilot_leave(struct pilot *pilot);
/* Vanish without a word. */
void pilot_vanish(struct pilot *pilot);
