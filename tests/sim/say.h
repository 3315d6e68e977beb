/* SPDX-License-Identifier: Apache-2.0 */
/*
 * say.h - the methods that clients of the simulator send, on channel 1.
 */
#pragma once

#include "tests/sim/amqp_client.h"

void say_channel_open(struct sim_client *client);
void say_channel_close(struct sim_client *client);
void say_channel_close_ok(struct sim_client *client);
void say_confirm_select(struct sim_client *client);
void say_exchange_declare(struct sim_client *client, const char *name, const char *type);
/* The same with arguments (a table without its length). */
void say_exchange_declare_with(struct sim_client *client, const char *name, const char *type,
                               struct lp_bytes arguments);
void say_exchange_delete(struct sim_client *client, const char *name);
/* flags: passive 1, durable 2, exclusive 4, auto-delete 8 */
void say_queue_declare(struct sim_client *client, const char *name, uint8_t flags);
/* The same with arguments (a table without its length). */
void say_queue_declare_with(struct sim_client *client, const char *name, uint8_t flags,
                            struct lp_bytes arguments);
void say_queue_purge(struct sim_client *client, const char *name);
void say_queue_bind(struct sim_client *client, const char *queue, const char *exchange,
                    const char *key);
void say_queue_delete(struct sim_client *client, const char *name);
void say_qos(struct sim_client *client, uint16_t count, bool global);
void say_consume(struct sim_client *client, const char *queue, const char *tag, bool no_ack);
struct say_consume {
    const char *queue;
    const char *tag;
    bool no_ack;
    bool exclusive;
    struct lp_bytes arguments;
};
void say_consume_with(struct sim_client *client, const struct say_consume *consume);
void say_cancel(struct sim_client *client, const char *tag);
void say_get(struct sim_client *client, const char *queue, bool no_ack);
void say_ack(struct sim_client *client, uint64_t tag, bool multiple);
void say_nack(struct sim_client *client, uint64_t tag, bool multiple, bool requeue);
void say_reject(struct sim_client *client, uint64_t tag, bool requeue);
void say_recover(struct sim_client *client);
void say_tx_select(struct sim_client *client);
void say_tx_commit(struct sim_client *client);
void say_tx_rollback(struct sim_client *client);

/* ---- fields of tables ---- */
void table_text(struct lp_writer *table, const char *name, const char *text);
void table_integer(struct lp_writer *table, const char *name, int64_t value);
void table_bool(struct lp_writer *table, const char *name, bool value);
/* An array of `count` texts. */
void table_texts(struct lp_writer *table, const char *name, const char *const *texts,
                 uint32_t count);
