/* SPDX-License-Identifier: Apache-2.0 */
/*
 * throttle.h - peers that guess passwords: after too many failed logins from one address within a
 * window, its logins are refused for a while without a look at them.
 *
 * A peer is an IPv4 address, a /64 of IPv6, or "this machine".  What it tries during its penalty
 * neither counts nor makes the penalty longer.
 *
 *   Memory    a fixed table, made at the first failure
 *   Runs on   control; the time is the caller's
 *   Overload  the table is of sets, chosen by a keyed hash, so that nobody can aim at one.  In a
 * full set the peer with the fewest failures makes room: whoever wants to be forgotten needs as
 *             many failures from other addresses as he has, times THROTTLE_PEERS.  Penalties are
 *             served to the end: in a set of nothing else, a new peer's failures are not counted.
 */
#pragma once

#include <lepus/base.h>

#include "control/base/map.h"

#define THROTTLE_WAYS  8u
#define THROTTLE_SETS  512u
#define THROTTLE_PEERS (THROTTLE_WAYS * THROTTLE_SETS)

struct throttle_limits {
    uint32_t failures; /* 0: nobody is throttled */
    uint64_t window_ns, penalty_ns;
};

/* Zeroes are an empty one. */
struct throttle {
    struct throttle_peer *peers; /* THROTTLE_PEERS, or NULL */
};

struct throttle_key {
    uint8_t family; /* enum lp_address_family; never 0 */
    uint64_t prefix;
};

void throttle_fini(struct throttle *throttle);

/* An IPv4 address that is written as one of IPv6 is itself. */
struct throttle_key throttle_key_of(uint8_t family, const uint8_t ip[16]);

enum throttle_verdict {
    THROTTLE_ADMITTED,
    THROTTLE_ADMITTED_AGAIN, /* its first after a penalty; `ret_refused` of it were not looked at */
    THROTTLE_REFUSED,
};
enum throttle_verdict throttle_admit(struct throttle *throttle, const struct lp_map_key *hash_key,
                                     struct throttle_key key, uint64_t now_ns,
                                     uint64_t *ret_refused);

/* One that was admitted has failed; true: its penalty begins. */
LP_MUST_CHECK bool throttle_failed(struct throttle *throttle, const struct lp_map_key *hash_key,
                                   const struct throttle_limits *limits, struct throttle_key key,
                                   uint64_t now_ns);
