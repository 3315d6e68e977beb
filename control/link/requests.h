/* SPDX-License-Identifier: Apache-2.0 */
/*
 * requests.h - one request of a shard while it is handled, and its handlers:
 * what connections may do (requests_access.c) and what they declare
 * (requests_topology.c).
 */
#pragma once

#include "control/auth/auth.h"
#include "control/link/control_internal.h"

struct control_request {
    struct lp_control *control;
    uint32_t shard;
    uint64_t sequence;
    uint64_t connection; /* and the next two: of declares and binds, chains.c */
    uint16_t channel;
    bool follows;
    struct lp_reader fields;
    struct lp_fault fault;
    struct lp_writer reply; /* over reply_room */
    uint8_t reply_room[512];
};

/* What depends on no change need not wait for one. */
void control_answer_now(struct control_request *request, bool good);
/* With the fault when it is not good; when this turn's changes are applied everywhere. */
void control_answer_committed(struct control_request *request, bool good);
/* Always false. */
bool control_malformed(struct control_request *request);
/* Who asks: a connection that is open.  False: with the fault set. */
bool control_actor_find(struct control_request *request, uint64_t id, uint32_t vhost_id,
                        struct lp_catalog_actor *ret_actor);

/* ---- chains.c: declares and binds ---- */

/* The fields that end them: whose it is, and whether it follows another. */
void control_chain_read(struct control_request *request, uint64_t connection);
/* False, with the fault set: it follows one that failed. */
bool control_chain_goes_on(struct control_request *request);
/* control_answer_committed(), and what follows a fault is void. */
void control_chain_answer(struct control_request *request, bool good);

typedef void control_request_fn(struct control_request *request);

control_request_fn control_on_login;
control_request_fn control_on_open;
control_request_fn control_on_closed;
control_request_fn control_on_permit;
control_request_fn control_on_update_secret;
control_request_fn control_on_exchange_declare;
control_request_fn control_on_exchange_delete;
control_request_fn control_on_queue_declare;
control_request_fn control_on_queue_delete;
control_request_fn control_on_bind;
control_request_fn control_on_unbind;
control_request_fn control_on_queue_unused;
control_request_fn control_on_rights;
control_request_fn control_on_permit_topic;
control_request_fn control_on_channel_open;
control_request_fn control_on_queue_expired;
