/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange_type.h - the contract of an exchange type: which bindings does a
 * message match?
 *
 * One folder under dataplane/broker/exchange/ and one line in its list make a
 * type.  A type keeps its own index per exchange, out of the shard's memory.
 *
 *   Runs on   owner core, inside a turn; no waiting, no heap
 */
#pragma once

#include <lepus/bytes.h>

struct lp_binding; /* dataplane/broker/topology.h */
struct lp_exchange;
struct lp_memory;

/* What a message shows to a type. */
struct lp_route_input {
    struct lp_bytes key;
    struct lp_bytes headers;   /* field table without its length; empty when there is none */
    struct lp_bytes more_keys; /* long_le each: the broker's, a type is asked for each as `key` */
};

/* Receives each match, in any order; the same destination may be given twice. */
struct lp_route_sink;
void lp_route_sink_add(struct lp_route_sink *sink, struct lp_binding *binding);

struct lp_exchange_type {
    const char *name;   /* "topic" */
    uint8_t kind;       /* enum lp_exchange_kind */
    bool reads_key;     /* does the result depend on the routing key? */
    bool reads_headers; /* ... on the headers?  (such results are not cached) */
    /* Make or drop the index; `*state` is the type's own. False: memory is short. */
    bool (*open)(struct lp_memory *memory, void **state);
    void (*close)(struct lp_memory *memory, void **state);
    /* Add or remove a binding (its key and arguments are valid while it is in). False: memory is
     * short. */
    bool (*bind)(struct lp_memory *memory, void *state, struct lp_binding *binding);
    void (*unbind)(struct lp_memory *memory, void *state, struct lp_binding *binding);
    void (*route)(void *state, const struct lp_route_input *input, struct lp_route_sink *sink);
};
