/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mesh.h - how shards talk: one ring of 64-byte records for each ordered pair
 * (a shard's ring to itself included).
 *
 *   Memory    rings are the fabric's; a mesh is a shard's view of them
 *   Runs on   owner core
 *   Overload  Three kinds of record, so that no two shards can wait for each
 *             other (README.md has the argument):
 *               request  takes one of LP_MESH_CREDITS credits for its peer; the
 *                        sender keeps its state and tries again when there is none
 *               reply    gives credits back; always has room, because half of
 *                        each ring is kept for them
 *               news     sent when there is room beyond that half; otherwise it
 *                        stays state (a counter, an entry on a list) and is
 *                        tried again next turn
 *             Inboxes are always drained: no handler waits for room.
 *
 * Invariant: credits held + requests unanswered == LP_MESH_CREDITS, per peer.
 */
#pragma once

#include <lepus/control_region.h>

#include "dataplane/base/pool.h"
#include "dataplane/base/ring.h"

#define LP_MESH_RING_SLOTS 4096u
#define LP_MESH_CREDITS    (LP_MESH_RING_SLOTS / 2u)
/* Credits that publishers leave alone: consumers can attach and take while publishing is held back.
 */
#define LP_MESH_CREDITS_KEPT 256u

struct lp_mesh_record {
    uint8_t op;       /* enum lp_mesh_op (broker/records.h) */
    uint8_t flags;    /* the op's own */
    uint16_t credits; /* request credits that this record gives back */
    uint32_t a;
    uint64_t w[7];
};
LP_STATIC_ASSERT(sizeof(struct lp_mesh_record) == sizeof(struct lp_record), "one slot, one line");

struct lp_messages;

struct lp_fabric_flag {
    uint32_t sleeping;
    uint8_t pad[LP_PAIR_BYTES - 4];
};

/* Shared by all shards of a process; fixed after boot but for rings and flags. */
struct lp_fabric {
    uint32_t shard_count;
    /* Each shard's messages, for readers it lends to. */
    const struct lp_messages *messages[LP_SHARDS_MAX];
    struct lp_ring *ring[LP_SHARDS_MAX][LP_SHARDS_MAX]; /* [from][to] */
    struct lp_fabric_flag flag[LP_SHARDS_MAX];
};

/* Bytes the fabric for `shard_count` shards needs, aligned to LP_PAIR_BYTES. */
size_t lp_fabric_bytes(uint32_t shard_count);
/* Lay it out in zeroed memory, before the first shard is made. */
struct lp_fabric *lp_fabric_init_boot(void *memory, uint32_t shard_count);

struct lp_mesh_port {
    struct lp_ring *out;
    struct lp_ring *in;
    uint32_t credits;
    uint32_t owed; /* requests of the peer that we have not answered; for checks */
};

struct lp_mesh {
    struct lp_fabric *fabric;
    uint32_t self;
    uint32_t count;
    uint64_t sent;
    uint64_t full; /* times that something had to wait for room */
    struct lp_mesh_port port[LP_SHARDS_MAX];
};

void lp_mesh_init(struct lp_mesh *mesh, struct lp_fabric *fabric, uint32_t self);

/* Stage a request; false: no credit or no room. */
LP_MUST_CHECK bool lp_mesh_request(struct lp_mesh *mesh, uint32_t to,
                                   const struct lp_mesh_record *record);
/* Stage news, which may carry withheld credits; false: no room now. */
LP_MUST_CHECK bool lp_mesh_news(struct lp_mesh *mesh, uint32_t to,
                                const struct lp_mesh_record *record);
/* Room that is not kept for replies: a peer's credits can all come due at once. */
static inline uint32_t
lp_mesh_news_room(struct lp_mesh *mesh, uint32_t to)
{
    /* Enough for whoever asks, publishers included: a stale view must never say less than that. */
    const uint32_t room =
        lp_ring_room(mesh->port[to].out, LP_MESH_CREDITS + LP_MESH_CREDITS_KEPT + 64);
    return room > LP_MESH_CREDITS ? room - LP_MESH_CREDITS : 0;
}

/* How many requests may go to `to` now. */
static inline uint32_t
lp_mesh_request_room(struct lp_mesh *mesh, uint32_t to)
{
    const uint32_t room = lp_mesh_news_room(mesh, to);
    return LP_MIN(room, mesh->port[to].credits);
}

/* May so many requests go to `to` now?  For more than LP_MESH_CREDITS_KEPT of them: of those the
 * other two may speak from a view of the ring that is old, and say less than there is for ever. */
static inline bool
lp_mesh_request_fits(struct lp_mesh *mesh, uint32_t to, uint32_t count)
{
    const uint32_t want = LP_MESH_CREDITS + count;
    return mesh->port[to].credits >= count && lp_ring_room(mesh->port[to].out, want) >= want;
}

/*
 * Stage a reply; always fits, if a request gets one reply at most.  It gives
 * `record->credits` back: fewer than it answers when the rest is withheld and
 * follows later with news.
 */
void lp_mesh_reply(struct lp_mesh *mesh, uint32_t to, const struct lp_mesh_record *record);

/* The next record from a peer, its credits booked; NULL: none.  Borrowed until lp_mesh_give_back().
 */
const struct lp_mesh_record *lp_mesh_take(struct lp_mesh *mesh, uint32_t from);
void lp_mesh_give_back(struct lp_mesh *mesh, uint32_t from);
/* A request was taken: remember that it is owed an answer. */
static inline void
lp_mesh_owe(struct lp_mesh *mesh, uint32_t from)
{
    mesh->port[from].owed++;
}

/* Is anything staged for `to` that is not published? */
bool lp_mesh_staged(const struct lp_mesh *mesh, uint32_t to);
/* Publish what was staged for `to`; true when there was anything. */
bool lp_mesh_publish(struct lp_mesh *mesh, uint32_t to);
/* Has all been taken that was staged for ourselves? */
bool lp_mesh_own_empty(const struct lp_mesh *mesh);
/* Where our own ring ends now, and whether all up to there was taken. */
uint32_t lp_mesh_own_end(const struct lp_mesh *mesh);
bool lp_mesh_own_taken(const struct lp_mesh *mesh, uint32_t end);
/* Anything to take from any peer?  After the sleeper's fence. */
bool lp_mesh_waiting(const struct lp_mesh *mesh);
