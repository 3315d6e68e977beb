/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topology_rig.h - a topology over a reservation of its own, and short ways
 * to fill it and to ask where messages go.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/broker/topology.h"

#define RIG_VHOST        1u
#define RIG_MEMORY_BYTES (4u << 20)

struct rig {
    void *reservation;
    struct lp_memory *memory;
    uint64_t used_at_start;
    struct lp_topology topology;
    char names[4096]; /* what rig_route gave last */
};

static inline void
rig_open_sized(struct rig *rig, uint64_t bytes, uint64_t seed)
{
    memset(rig, 0, sizeof(*rig));
    rig->reservation = aligned_alloc(LP_SPAN_BYTES, bytes);
    assert_non_null(rig->reservation);
    memset(rig->reservation, 0, bytes);
    assert_int_equal(lp_memory_init_boot(rig->reservation, bytes, bytes, &rig->memory), LP_OK);
    rig->used_at_start = lp_memory_used_bytes(rig->memory);
    const struct lp_hash_key key = {{seed, ~seed}};
    assert_int_equal(lp_topology_init_boot(&rig->topology, rig->memory, &key, NULL), LP_OK);
    assert_int_equal(lp_topology_vhost_up(&rig->topology, RIG_VHOST, lp_bytes_of_text("/"), false),
                     LP_OK);
}

static inline void
rig_open(struct rig *rig)
{
    rig_open_sized(rig, RIG_MEMORY_BYTES, 1);
}

/* Everything goes, and the memory is as it was before. */
static inline void
rig_close(struct rig *rig)
{
    lp_topology_check(&rig->topology);
    lp_topology_fini(&rig->topology);
    lp_memory_check(rig->memory);
    assert_int_equal(lp_memory_used_bytes(rig->memory), rig->used_at_start);
    free(rig->reservation);
}

static inline void
rig_exchange_alternate(struct rig *rig, uint32_t id, uint8_t kind, const char *name,
                       const char *alternate)
{
    const struct lp_exchange_parts parts = {
        .id = id,
        .vhost_id = RIG_VHOST,
        .name = lp_bytes_of_text(name),
        .alternate = lp_bytes_of_text(alternate),
        .kind = kind,
    };
    assert_int_equal(lp_topology_exchange_up(&rig->topology, &parts), LP_OK);
}

static inline void
rig_exchange(struct rig *rig, uint32_t id, uint8_t kind, const char *name)
{
    rig_exchange_alternate(rig, id, kind, name, "");
}

static inline void
rig_queue(struct rig *rig, uint32_t id, const char *name)
{
    const struct lp_queue_parts parts = {
        .id = id,
        .vhost_id = RIG_VHOST,
        .name = lp_bytes_of_text(name),
    };
    assert_int_equal(lp_topology_queue_up(&rig->topology, &parts), LP_OK);
}

static inline enum lp_err
rig_bind_parts(struct rig *rig, uint64_t id, uint32_t source, uint32_t queue, struct lp_bytes key,
               struct lp_bytes arguments)
{
    const struct lp_binding_parts parts = {
        .id = id,
        .source = source,
        .destination_resource = LP_RESOURCE_QUEUE,
        .destination = queue,
        .key = key,
        .arguments = arguments,
    };
    return lp_topology_bind_up(&rig->topology, &parts);
}

static inline void
rig_bind(struct rig *rig, uint64_t id, uint32_t source, uint32_t queue, const char *key)
{
    assert_int_equal(
        rig_bind_parts(rig, id, source, queue, lp_bytes_of_text(key), lp_bytes_of(NULL, 0)), LP_OK);
}

static inline void
rig_bind_exchange(struct rig *rig, uint64_t id, uint32_t source, uint32_t to, const char *key)
{
    const struct lp_binding_parts parts = {
        .id = id,
        .source = source,
        .destination_resource = LP_RESOURCE_EXCHANGE,
        .destination = to,
        .key = lp_bytes_of_text(key),
    };
    assert_int_equal(lp_topology_bind_up(&rig->topology, &parts), LP_OK);
}

/* The names of the queues that were found, in their order, with blanks between. */
static inline const char *
rig_names(struct rig *rig)
{
    size_t at = 0;
    for (uint32_t i = 0; i < rig->topology.route_count; i++) {
        const struct lp_bytes name = lp_queue_ref_name(rig->topology.route[i]);
        assert_true(at + name.size + 2 < sizeof(rig->names));
        if (i > 0) {
            rig->names[at++] = ' ';
        }
        memcpy(rig->names + at, name.data, name.size);
        at += name.size;
    }
    rig->names[at] = '\0';
    return rig->names;
}

static inline const char *
rig_route_headers(struct rig *rig, const char *exchange, const char *key, struct lp_bytes headers)
{
    struct lp_exchange *found =
        lp_topology_exchange(&rig->topology, RIG_VHOST, lp_bytes_of_text(exchange));
    assert_non_null(found);
    const struct lp_route_input input = {.key = lp_bytes_of_text(key), .headers = headers};
    assert_true(lp_topology_route(&rig->topology, found, &input));
    return rig_names(rig);
}

static inline const char *
rig_route(struct rig *rig, const char *exchange, const char *key)
{
    return rig_route_headers(rig, exchange, key, lp_bytes_of(NULL, 0));
}

/* A seeded generator for property tests (xorshift64*). */
static inline uint32_t
rig_random(uint64_t *state, uint32_t below)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * 0x2545f4914f6cdd1du) >> 33) % below;
}
