/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin.h - administrators' commands: a JSON request in, one JSON answer out.
 *
 *   {"command":"list_queues","args":["name","messages"],"options":{"vhost":"/"}}
 *   {"ok":true,"columns":["name","messages"],"rows":[["q",3]]}
 *   {"ok":true,"text":"...","data":{...}}   {"ok":true}
 *   {"ok":false,"exit":67,"error":"User \"x\" does not exist"}
 *
 * Commands, columns, texts and exit codes are rabbitmqctl's.  A command is a
 * row of the table in admin.c.
 *
 *   Memory    the answer belongs to who is called back
 *   Runs on   the control process's thread, between turns
 */
#pragma once

#include <jansson.h>

#include "control/link/control.h"

/* Called exactly once; may be before lp_admin_request() returns. */
typedef void lp_admin_done_fn(void *context, json_t *answer);

void lp_admin_request(struct lp_control *control, const json_t *request, lp_admin_done_fn *done,
                      void *context);
