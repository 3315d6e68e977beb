/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topology.h - a shard's private copy of what exists: vhosts, exchanges,
 * queues, bindings; and the routing of a message through them.
 *
 * The control process decides; lp_topology_*_up/_down apply its ordered
 * deltas.  All are idempotent: an object named again (a resync, or a change of
 * policy) is marked as seen, takes what may change (tracing, alternate,
 * settings), and is otherwise left alone.
 *
 *   Memory    the shard's lp_memory; objects live until their *_down
 *   Runs on   owner core
 *   Limits    what fits memory; an *_up that does not is LP_ERR_NO_MEMORY and
 *             leaves nothing behind
 *   Read      SEMANTICS of AMQP exchanges: README.md beside this file
 */
#pragma once

#include <lepus/control_records.h>
#include <lepus/err.h>
#include <lepus/exchange_type.h>

#include "dataplane/base/hash.h"
#include "dataplane/base/list.h"
#include "dataplane/base/memory.h"

struct lp_vhost {
    struct lp_hash_node by_id;
    uint32_t id;
    uint32_t seen;            /* the sync that named it last */
    bool tracing;             /* the firehose is on (C163) */
    struct lp_list exchanges; /* lp_exchange.in_vhost */
    struct lp_list queues;    /* lp_queue_ref.in_vhost */
    struct lp_list in_topology;
    uint8_t name_bytes;
    uint8_t name[255];
};

struct lp_exchange {
    struct lp_hash_node by_id;
    struct lp_hash_node by_name;
    struct lp_list in_vhost;
    struct lp_list sources;      /* lp_binding.in_source: bindings that start here */
    struct lp_list destinations; /* lp_binding.in_destination: bindings that end here */
    uint32_t id;
    uint32_t vhost_id;
    uint32_t seen;
    uint64_t visited; /* the routing that came through here last (each exchange once a message) */
    uint8_t flags;    /* enum lp_object_flag */
    uint8_t name_bytes;
    uint8_t alternate_bytes;
    bool is_default;
    bool delayed;                        /* keeps what has a header x-delay (delay.h) */
    const struct lp_exchange_type *type; /* of a delayed one: x-delayed-type's */
    void *state;                         /* the type's */
    uint8_t *alternate;                  /* the alternate exchange's name; NULL: none */
    uint8_t name[];
};

/* A queue as every shard knows it; the queue itself lives on its home shard. */
struct lp_queue_ref {
    struct lp_hash_node by_id;
    struct lp_hash_node by_name;
    struct lp_list in_vhost;
    struct lp_list destinations; /* bindings that end here */
    uint32_t id;
    uint32_t vhost_id;
    uint32_t seen;
    uint16_t home_shard;
    uint8_t flags; /* enum lp_object_flag */
    uint8_t name_bytes;
    uint64_t owner;   /* connection of an exclusive queue, or 0 */
    uint64_t visited; /* the routing that chose it last: one copy a message */
    void *local;      /* on the home shard: the queue (struct lp_queue) */
    uint32_t arguments_bytes;
    bool stamped;   /* stamps.h */
    uint8_t data[]; /* name, then arguments */
};

struct lp_binding {
    struct lp_hash_node by_id;
    struct lp_list in_source;
    struct lp_list in_destination;
    uint64_t id;
    struct lp_exchange *source;
    struct lp_exchange *to_exchange; /* one of these two */
    struct lp_queue_ref *to_queue;
    void *state; /* the exchange type's: its node for this binding */
    uint32_t seen;
    uint32_t arguments_bytes;
    uint8_t key_bytes;
    uint8_t data[]; /* key, then arguments */
};

static inline struct lp_bytes
lp_exchange_name(const struct lp_exchange *exchange)
{
    return lp_bytes_of(exchange->name, exchange->name_bytes);
}

static inline struct lp_bytes
lp_exchange_alternate(const struct lp_exchange *exchange)
{
    return lp_bytes_of(exchange->alternate, exchange->alternate_bytes);
}

static inline struct lp_bytes
lp_queue_ref_name(const struct lp_queue_ref *queue)
{
    return lp_bytes_of(queue->data, queue->name_bytes);
}

static inline struct lp_bytes
lp_queue_ref_arguments(const struct lp_queue_ref *queue)
{
    return lp_bytes_of(queue->data + queue->name_bytes, queue->arguments_bytes);
}

static inline struct lp_bytes
lp_binding_key(const struct lp_binding *binding)
{
    return lp_bytes_of(binding->data, binding->key_bytes);
}

static inline struct lp_bytes
lp_binding_arguments(const struct lp_binding *binding)
{
    return lp_bytes_of(binding->data + binding->key_bytes, binding->arguments_bytes);
}

/* Told when a queue appears or is about to go; set by the broker. */
struct lp_topology_hooks {
    enum lp_err (*queue_up)(void *context, struct lp_queue_ref *queue);
    /* Named (again) with these settings; right after queue_up the first time. */
    enum lp_err (*queue_configure)(void *context, struct lp_queue_ref *queue,
                                   struct lp_bytes settings);
    void (*queue_down)(void *context, struct lp_queue_ref *queue);
    void *context;
};

#define LP_ROUTE_CACHE_SLOTS 1024u

struct lp_route_cache_slot; /* route.c's own */

struct lp_topology {
    struct lp_memory *memory;
    struct lp_hash_key key;
    struct lp_topology_hooks hooks;
    struct lp_hash vhosts_by_id, exchanges_by_id, exchanges_by_name;
    struct lp_hash queues_by_id, queues_by_name, bindings_by_id;
    struct lp_list vhosts;
    uint32_t sync;  /* number of the sync under way or last done */
    uint64_t epoch; /* changes with every exchange, queue or binding: cached routes of an older one
                       are void */
    uint64_t routing;            /* number of the current routing, for `visited` */
    struct lp_queue_ref **route; /* the last result; grown as needed */
    uint32_t route_count;
    uint32_t route_room;
    uint32_t traced; /* vhosts that are */
    /* Exchanges at which that routing stopped, because they delay the message. */
    uint32_t delayed_count;
    uint32_t delayed_room;
    struct lp_exchange **delayed;
    uint64_t delay_ms;
    struct lp_route_cache_slot *cache;
    /* The exchange looked up last, and what `route` holds now; NULL: nothing to rely on. */
    struct {
        struct lp_exchange *exchange;
        uint64_t epoch;
    } last_lookup;
    struct {
        const struct lp_exchange *exchange;
        uint64_t epoch;
        uint8_t key_bytes;
        uint8_t key[64];
    } last_route;
};

LP_MUST_CHECK enum lp_err lp_topology_init_boot(struct lp_topology *topology,
                                                struct lp_memory *memory,
                                                const struct lp_hash_key *key,
                                                const struct lp_topology_hooks *hooks);
/* Drops everything (hooks are called for queues). */
void lp_topology_fini(struct lp_topology *topology);

/* ---- deltas; parts are borrowed ---- */

struct lp_exchange_parts {
    uint32_t id, vhost_id;
    struct lp_bytes name, alternate;
    struct lp_bytes arguments;
    uint8_t kind, flags;
};

struct lp_queue_parts {
    uint32_t id, vhost_id;
    struct lp_bytes name, arguments, settings;
    uint16_t home_shard;
    uint8_t flags;
    uint64_t owner;
};

struct lp_binding_parts {
    uint64_t id;
    uint32_t source;
    uint8_t destination_resource; /* enum lp_resource */
    uint32_t destination;
    struct lp_bytes key, arguments;
};

void lp_topology_sync_begin(struct lp_topology *topology);
/* What was not named since sync_begin goes: bindings, then queues, exchanges, vhosts. */
void lp_topology_sync_end(struct lp_topology *topology);

/* LP_ERR_NO_MEMORY; LP_ERR_NOT_FOUND: it refers to something that is not here; LP_ERR_BAD_RECORD:
 * an unknown kind. */
enum lp_err lp_topology_vhost_up(struct lp_topology *topology, uint32_t id, struct lp_bytes name,
                                 bool tracing);
enum lp_err lp_topology_exchange_up(struct lp_topology *topology,
                                    const struct lp_exchange_parts *parts);
enum lp_err lp_topology_queue_up(struct lp_topology *topology, const struct lp_queue_parts *parts);
enum lp_err lp_topology_bind_up(struct lp_topology *topology, const struct lp_binding_parts *parts);
/* Harmless when it is not here. */
void lp_topology_vhost_down(struct lp_topology *topology, uint32_t id);
void lp_topology_exchange_down(struct lp_topology *topology, uint32_t id);
void lp_topology_queue_down(struct lp_topology *topology, uint32_t id);
void lp_topology_bind_down(struct lp_topology *topology, uint64_t id);

/* ---- lookups; NULL when there is none ---- */

struct lp_vhost *lp_topology_vhost(const struct lp_topology *topology, uint32_t id);
struct lp_exchange *lp_topology_exchange(struct lp_topology *topology, uint32_t vhost_id,
                                         struct lp_bytes name);
struct lp_queue_ref *lp_topology_queue(const struct lp_topology *topology, uint32_t vhost_id,
                                       struct lp_bytes name);
struct lp_queue_ref *lp_topology_queue_by_id(const struct lp_topology *topology, uint32_t id);

/* ---- routing ---- */

/*
 * Where does a message go?  Follows bindings to exchanges (each exchange once,
 * iteratively), then the alternate exchange where an exchange itself matched
 * nothing (C97, C98); each queue once.  A message of several keys goes where
 * any of them leads (C99).  Gives the number of queues; they are
 * in topology->route until the next call or change, and exchanges that delay
 * the message in topology->delayed.  Cached by exchange, key and epoch when no
 * headers were looked at.
 *
 * False: memory was short for the result; nothing may be published.
 */
LP_MUST_CHECK bool lp_topology_route(struct lp_topology *topology, struct lp_exchange *exchange,
                                     const struct lp_route_input *input);

/* Take a queue out of topology->route; true: it was there. */
bool lp_topology_route_strike(struct lp_topology *topology, const struct lp_queue_ref *queue);
/* A route to nowhere. */
void lp_topology_route_none(struct lp_topology *topology);

/* Walks everything; asserts that the indexes agree. */
void lp_topology_check(const struct lp_topology *topology);
