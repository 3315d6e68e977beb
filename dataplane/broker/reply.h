/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.h - direct reply-to (C160, C161): the queue behind a session that
 * waits for answers, and the address that finds it.
 *
 * Such a queue is on its session's shard and in no topology, so control never
 * hears of it.  Its id has a bit of its own and is an index in
 * lp_broker.queues; whoever sends to it must know its key.  An address is all
 * three and the shard, as text: `amq.rabbitmq.reply-to.<who>.<key>`, with the
 * dot and the padding that RabbitMQ's have.  To everyone
 * else it is a queue like others, so confirms, credits, memory and order are
 * as with those.
 *
 *   Memory    the broker's pool of queues, and one block
 *   Runs on   owner core; addresses are read anywhere
 */
#pragma once

#include <lepus/bytes.h>

struct lp_broker;
struct lp_mesh_record;
struct lp_queue;

#define LP_REPLY_NAME          "amq.rabbitmq.reply-to"
#define LP_REPLY_PREFIX        LP_REPLY_NAME "."
#define LP_REPLY_TOKEN_BYTES   33u
#define LP_REPLY_ADDRESS_BYTES (sizeof(LP_REPLY_PREFIX) - 1 + LP_REPLY_TOKEN_BYTES)

/* In a queue's id: not one of control's. */
#define LP_REPLY_QUEUE 0x80000000u

struct lp_reply_address {
    uint64_t key;
    uint32_t queue_id;
    uint32_t shard;
};

/* False: it is none of a broker with so many shards. */
bool lp_reply_address_read(struct lp_bytes name, uint32_t shards,
                           struct lp_reply_address *ret_address);
void lp_reply_address_write(const struct lp_reply_address *address,
                            uint8_t ret_name[static LP_REPLY_ADDRESS_BYTES]);

/* ---- at home ---- */

/* NULL: no memory. */
struct lp_queue *lp_reply_queue_open(struct lp_broker *broker);
/* What is in it is dropped; its consumer is told. */
void lp_reply_queue_close(struct lp_queue *queue);
struct lp_reply_address lp_reply_queue_address(const struct lp_queue *queue);
/* The queue that a request is for, when it is a reply queue and the request may be made; or NULL.
 */
struct lp_queue *lp_reply_queue_find(struct lp_broker *broker, const struct lp_mesh_record *record);
