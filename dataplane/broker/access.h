/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access.h - may this connection configure, write or read that?
 *
 * The control process decides; a connection remembers what it was told until
 * the permission epoch moves.
 *
 *   Memory    a small table in the connection
 *   Runs on   owner core
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/control_records.h>

#include "dataplane/base/hash.h"

#define LP_ACCESS_SLOTS 16u

struct lp_access {
    uint32_t epoch;                 /* of everything below */
    uint8_t unrestricted;           /* bits of enum lp_permission that admit every name */
    uint8_t next;                   /* slot to overwrite next */
    uint64_t slot[LP_ACCESS_SLOTS]; /* hash of {permission, resource, name}; 0: empty */
};

/* A right that is asked for; the name is borrowed. */
struct lp_access_right {
    enum lp_permission permission;
    enum lp_resource resource;
    struct lp_bytes name;
};

/* Known to be allowed at `epoch` (the shard's current)?  False: ask with LP_CONTROL_PERMIT. */
bool lp_access_allowed(struct lp_access *access, uint32_t epoch, const struct lp_hash_key *key,
                       const struct lp_access_right *right);
/* The control process allowed it at `epoch`. */
void lp_access_remember(struct lp_access *access, uint32_t epoch, const struct lp_hash_key *key,
                        const struct lp_access_right *right);
