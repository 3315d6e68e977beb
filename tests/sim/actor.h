/* SPDX-License-Identifier: Apache-2.0 */
/*
 * actor.h - one client of the workload.
 */
#pragma once

#include "tests/sim/workload.h"

void actor_add(struct workload *load, enum actor_role role);
/* Its turn: move bytes, then maybe do something of its own; true when anything happened. */
bool actor_act(struct actor *actor);

/* actor_role.c: what each role does once the handshake is over. */
void actor_opened(struct sim_client *client);
void actor_method(struct sim_client *client, uint16_t channel, uint32_t id, struct lp_reader *args);
void actor_content(struct sim_client *client, uint16_t channel, const struct sim_content *content);
bool actor_work(struct actor *actor);
