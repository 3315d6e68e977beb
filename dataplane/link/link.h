/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.h - the shard's end of the control rings: requests that wait for an
 * answer, and the deltas that come down.
 *
 * A request is kept, encoded, until it is answered, and sent again when a new
 * control process attaches; one that is not answered in time fails with 541.
 *
 *   Memory    requests from the shard's memory
 *   Runs on   owner core
 *   Limits    LP_LINK_REQUESTS_MAX waiting at once
 *   Overload  request() says no; the caller waits for the reply of another
 *             (LP_LINK_REQUESTS_MAX of them) and tries again next turn
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/control_records.h>
#include <lepus/control_region.h>
#include <lepus/fault.h>

#include "dataplane/base/list.h"
#include "dataplane/base/pool.h"
#include "dataplane/base/wheel.h"

#define LP_LINK_REQUESTS_MAX 8192u

struct lp_link_reply {
    uint16_t code;         /* 0, or enum lp_fault_code */
    struct lp_bytes text;  /* explanation when code is not 0 */
    struct lp_reader more; /* the reply's fields when it is */
};

/* Called once per request; `owner` is what the request named (resolve it: it may be gone). */
typedef void lp_link_reply_fn(void *context, lp_handle owner, const struct lp_link_reply *reply);

/* Called for every record that is not a reply. */
typedef void lp_link_record_fn(void *context, const struct lp_control_record *record);

struct lp_link_request {
    struct lp_list link; /* in order of sequence, until answered */
    struct lp_timer timer;
    struct lp_link *owner_link;
    lp_handle self;
    uint64_t sequence;
    lp_handle owner;
    lp_link_reply_fn *reply;
    uint16_t type;
    bool sent; /* pushed to the process that is attached now */
    uint32_t payload_bytes;
    uint8_t *payload; /* a block of the shard's memory */
};

struct lp_link {
    struct lp_control_end to_control;
    struct lp_control_end to_shard;
    struct lp_memory *memory;
    struct lp_wheel *wheel;
    struct lp_pool requests;
    struct lp_list waiting;              /* lp_link_request.link */
    uint32_t unsent;                     /* of them, at the end of the list */
    struct lp_link_request *next_unsent; /* the first of those; NULL: none */
    uint64_t next_sequence;
    uint64_t timeout_ns;
    uint64_t now_ns; /* this turn */
    bool broken;
    bool pushed;               /* something was pushed this turn: wake the control process */
    void *context;             /* of reply functions */
    lp_link_record_fn *record; /* the shard's */
    uint8_t *scratch;          /* LP_CONTROL_PAYLOAD_MAX_BYTES */
};

struct lp_link_options {
    void *region;
    uint32_t shard;
    uint32_t shard_count;
    struct lp_memory *memory;
    struct lp_wheel *wheel;
    uint64_t timeout_ns;
    void *context;
    lp_link_record_fn *record;
};

LP_MUST_CHECK enum lp_err lp_link_init_boot(struct lp_link *link,
                                            const struct lp_link_options *options);

/*
 * Ask the control process; `payload` is copied.  False: no room to keep it.
 * The reply comes in a later step, or a 541 after the time-out.
 */
LP_MUST_CHECK bool lp_link_request(struct lp_link *link, uint16_t type, struct lp_bytes payload,
                                   lp_handle owner, lp_link_reply_fn *reply);

/* The request that was made last, for lp_link_forget(). */
lp_handle lp_link_last(const struct lp_link *link);
/* Nobody waits for it any more: it is not answered, and not sent again.  What the control process
 * has of it may be carried out all the same. */
void lp_link_forget(struct lp_link *link, lp_handle request);
/* So many wait for answers that who could do without asking now had better. */
bool lp_link_is_busy(const struct lp_link *link);

/* Tell it something; false: the ring is full. */
LP_MUST_CHECK bool lp_link_tell(struct lp_link *link, uint16_t type, uint64_t sequence,
                                struct lp_bytes payload);

/* Take up to `budget` records; gives how many. */
uint32_t lp_link_poll(struct lp_link *link, uint64_t now_ns, uint32_t budget);
/* Push requests that found no room. */
void lp_link_flush(struct lp_link *link);
/* After ATTACH: every waiting request counts as unsent. */
void lp_link_resend(struct lp_link *link);
