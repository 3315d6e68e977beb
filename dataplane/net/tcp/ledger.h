/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger.h - which connections there are, in memory that outlives the data
 * plane: ledger.c keeps it, orphans.c reads what the last life left.
 *
 *   [ header | room entries: who is connected | 2 * room entries: who was, and has not been told ]
 *
 * An entry's place among the first is its stream's in the pool.  A life begins
 * by moving the first to the second, so nothing is lost when it dies meanwhile.
 *
 * Invariant: `family` is written last and cleared first: an entry that a death
 * cut in two is none.
 */
#pragma once

#include "inbound.h"

#define TCP_ORPHAN_PASSES 4u

struct tcp_ledger_entry {
    uint8_t local[16];
    uint8_t remote[16];
    uint16_t local_port;
    uint16_t remote_port;
    uint32_t send_next; /* at most what they were, by as much as refresh() is behind */
    uint32_t receive_next;
    uint32_t timestamp_offset; /* its clock goes on: an old time stamp is not always answered */
    uint8_t timestamps;
    uint8_t unused[2];
    uint8_t family; /* 0: nobody */
};
LP_STATIC_ASSERT(sizeof(struct tcp_ledger_entry) == 52, "a connection is 52 bytes there");

struct tcp_ledger_header {
    uint32_t magic;
    uint32_t room; /* of the first */
    uint32_t high; /* none of the first is in use from here on */
    uint32_t left; /* of the second */
};

/* What one instance knows of its ledger. */
struct tcp_ledger {
    struct tcp_ledger_header *header; /* NULL: there is none */
    struct tcp_ledger_entry *entry;
    struct tcp_ledger_entry *orphan;
    uint32_t refresh_at; /* the stream that is looked at next */
    /* orphans.c */
    struct lp_net *net;
    struct lp_timer timer;
    uint32_t orphan_at;
    uint32_t pass;
};

/* ---- ledger.c ---- */
LP_MUST_CHECK enum lp_err tcp_ledger_init_boot(struct lp_net *net);
void tcp_ledger_fini(struct lp_net *net);

/* ---- orphans.c ---- */
void tcp_orphans_begin(struct lp_net *net);
