/* SPDX-License-Identifier: Apache-2.0 */
/*
 * actor_say.h - the methods that actors send.
 */
#pragma once

#include "tests/sim/actor.h"

void say_channel_open(struct sim_client *client);
void say_channel_close(struct sim_client *client);
void say_confirm_select(struct sim_client *client);
void say_exchange_declare(struct sim_client *client, const char *name, const char *type);
void say_exchange_delete(struct sim_client *client, const char *name);
/* flags: passive 1, durable 2, exclusive 4, auto-delete 8 */
void say_queue_declare(struct sim_client *client, const char *name, uint8_t flags);
void say_queue_bind(struct sim_client *client, const char *queue, const char *exchange,
                    const char *key);
void say_queue_delete(struct sim_client *client, const char *name);
void say_qos(struct sim_client *client, uint16_t count, bool global);
void say_consume(struct sim_client *client, const char *queue, const char *tag, bool no_ack);
void say_cancel(struct sim_client *client, const char *tag);
void say_get(struct sim_client *client, const char *queue, bool no_ack);
void say_ack(struct sim_client *client, uint64_t tag, bool multiple);
void say_nack(struct sim_client *client, uint64_t tag, bool multiple, bool requeue);
void say_recover(struct sim_client *client);
