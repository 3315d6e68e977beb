/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access.h - may this connection configure, write or read that?
 *
 * The control process decides; a connection remembers what it was told until
 * the permission epoch moves.
 *
 *   Memory    a small table in the connection; one for topics when there are rights on them
 *   Runs on   owner core
 *   Limits    LP_ACCESS_SLOTS names and LP_ACCESS_TOPIC_SLOTS topics are remembered
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/control_records.h>

#include "dataplane/base/hash.h"
#include "dataplane/base/memory.h"

#define LP_ACCESS_SLOTS       16u
#define LP_ACCESS_TOPIC_SLOTS 256u

/* In `rights`, beside enum lp_rights: they are of an older epoch, ask with LP_CONTROL_RIGHTS. */
#define LP_ACCESS_UNKNOWN 128u

struct lp_access {
    uint32_t epoch;                 /* of everything below */
    uint8_t unrestricted;           /* bits of enum lp_permission that admit every name */
    uint8_t rights;                 /* enum lp_rights, or LP_ACCESS_UNKNOWN */
    uint8_t next;                   /* slot to overwrite next */
    uint64_t slot[LP_ACCESS_SLOTS]; /* hash of {permission, resource, name}; 0: empty */
    uint64_t *topics; /* hashes of {exchange, routing key} to write to, each in the place that it
                         says; NULL: none yet */
};

/* A right that is asked for; the name is borrowed. */
struct lp_access_right {
    enum lp_permission permission;
    enum lp_resource resource;
    struct lp_bytes name;
};

/* What it may do beyond patterns at `epoch`: enum lp_rights, or LP_ACCESS_UNKNOWN. */
uint8_t lp_access_rights(struct lp_access *access, uint32_t epoch);
/* The control process's answer to OPEN and RIGHTS. */
void lp_access_take(struct lp_access *access, uint32_t epoch, uint8_t unrestricted, uint8_t rights);

/* A number for the right, never 0: by it a question's answer is known to be its own. */
uint64_t lp_access_hash(const struct lp_hash_key *key, const struct lp_access_right *right);
uint64_t lp_access_topic_hash(const struct lp_hash_key *key, struct lp_bytes exchange,
                              struct lp_bytes routing_key);
bool lp_access_topic_allowed(struct lp_access *access, uint32_t epoch, uint64_t hash);
/* Without memory for the table nothing is remembered, and asked again. */
void lp_access_topic_remember(struct lp_access *access, struct lp_memory *memory, uint32_t epoch,
                              uint64_t hash);
void lp_access_fini(struct lp_access *access, struct lp_memory *memory);

/* Known to be allowed at `epoch` (the shard's current)?  False: ask with LP_CONTROL_PERMIT. */
bool lp_access_allowed(struct lp_access *access, uint32_t epoch, const struct lp_hash_key *key,
                       const struct lp_access_right *right);
/* The control process allowed it at `epoch`. */
void lp_access_remember(struct lp_access *access, uint32_t epoch, const struct lp_hash_key *key,
                        const struct lp_access_right *right);
