/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_private.h - the shard's own struct, for the files of this folder.
 */
#pragma once

#include "dataplane/broker/broker.h"
#include "dataplane/shard/shard.h"

#define SHARD_EVENTS_MAX   256u
#define SHARD_LISTINGS_MAX 16u
/* As many as one turn can take from the ring. */
#define SHARD_CHECKS_MAX 512u
#define SHARD_MAGIC      0x5348ad01u

/* A listing that the control process asked for and we have not finished. */
struct shard_listing {
    uint64_t sequence;
    uint32_t cursor;
    bool connections; /* else queues */
};

struct lp_shard {
    uint32_t magic;
    struct lp_shard_config config;
    struct lp_shard_env env;
    struct lp_control_region *region;
    struct lp_broker broker;
    struct lp_protocol_limits limits;
    uint64_t turn_count;

    /* After ATTACH: connections still to be announced, then HELLO_END. */
    bool hello;
    bool hello_begun;
    uint32_t hello_generation;
    uint32_t hello_cursor;
    bool listeners_owed;

    struct shard_listing listing[SHARD_LISTINGS_MAX];
    uint32_t listing_count;

    /* Deltas that were answered with REVISION while the ring was full. */
    uint64_t applied_owed; /* 0: none */
    struct {
        uint64_t sequence;
        uint8_t verdict;
        uint32_t count;
    } checked[SHARD_CHECKS_MAX];
    uint32_t checked_count;

    /* Graceful stop. */
    uint64_t stop_deadline_ns;
    uint32_t stop_closed;
    bool stop_told;

    struct lp_transport_event events[SHARD_EVENTS_MAX];
};

/* Records of the control ring that are not replies; context is the shard's broker. */
void shard_control_record(void *context, const struct lp_control_record *record);
/* Announcements, listings and answers that are owed; gives how many records went out. */
uint32_t shard_control_step(struct lp_shard *shard);
/* Is any of that left over?  Nobody tells us when the ring has room again. */
bool shard_control_owes(const struct lp_shard *shard);
/* Close politely everything that is open, with this fault. */
void shard_close_all(struct lp_shard *shard);
