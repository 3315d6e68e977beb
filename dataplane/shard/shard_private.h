/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_private.h - the shard's own struct, for the files of this folder.
 */
#pragma once

#include "dataplane/broker/broker.h"
#include "dataplane/broker/store/store.h"
#include "dataplane/shard/shard.h"

#define SHARD_EVENTS_MAX   256u
#define SHARD_LISTINGS_MAX 16u
/* As many as one turn can take from the ring. */
#define SHARD_ANSWERS_MAX 512u
/* Connections announced, or rows listed, in one turn. */
#define SHARD_ROWS_BUDGET 128u
#define SHARD_MAGIC       0x5348ad01u

/* A listing that the control process asked for and we have not finished. */
struct shard_listing {
    uint64_t sequence;
    uint32_t cursor;
    uint16_t type; /* LP_CONTROL_LIST_... */
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
    bool fence_told;

    /* The first sync, after which messages of queues that nobody named go: what of it could not be
     * applied, so that none may. */
    enum lp_err sync_err;
    enum lp_err failed; /* and so it was not the last word */
    struct lp_store_dropped dropped_owed;

    struct shard_listing listing[SHARD_LISTINGS_MAX];
    uint32_t listing_count;

    /* Deltas that were answered with REVISION while the ring was full. */
    uint64_t applied_owed; /* 0: none */
    /* Answers to the control process's orders that the ring had no room for. */
    struct shard_answer {
        uint64_t sequence;
        uint16_t type; /* LP_CONTROL_DELETE_CHECKED, LP_CONTROL_QUEUE_PURGED */
        uint16_t code; /* verdict, or fault */
        uint32_t count;
    } answers[SHARD_ANSWERS_MAX];
    uint32_t answer_count;

    /* Graceful stop. */
    uint64_t stop_deadline_ns;
    uint32_t stop_closed;
    bool stop_told;

    /* The application is stopped: who has not taken its leave by then is dropped. */
    uint64_t close_deadline_ns; /* 0: nobody is waited for */

    struct lp_transport_event events[SHARD_EVENTS_MAX];
};

/* Records of the control ring that are not replies; context is the shard's broker. */
void shard_control_record(void *context, const struct lp_control_record *record);
/* Announcements, listings and answers that are owed; gives how many records went out. */
uint32_t shard_control_step(struct lp_shard *shard);
/* Is any of that left over?  Nobody tells us when the ring has room again. */
bool shard_control_owes(const struct lp_shard *shard);

/* ---- shard_list.c ---- */

/* LIST_*: rows follow. */
void shard_list_begin(struct lp_shard *shard, const struct lp_control_record *record);
/* Rows of the oldest listing, as many as a turn and the ring allow; gives how many. */
uint32_t shard_list_step(struct lp_shard *shard);

/* ---- shard_admin.c: orders of administrators ---- */

void shard_admin_record(struct lp_shard *shard, const struct lp_control_record *record);
/* Answers that are owed, and what time brings; gives how much was done. */
uint32_t shard_admin_step(struct lp_shard *shard);
