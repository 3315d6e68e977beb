/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin.h - administrators' commands: a JSON request in, one JSON answer out.
 *
 *   {"command":"list_queues","args":["name","messages"],"options":{"vhost":"/"},
 *    "node":"lepus@host","check":true}
 *
 * `options` are the command's own and vhost; `node` is how texts name the
 * node; with `check` it is only asked whether the command may run.
 *
 *   {"ok":true}                                     done, or may run
 *   {"ok":true,"text":"...","data":{...}}           data: the same for --formatter json
 *   {"ok":true,"columns":["name","messages"],"rows":[["q",3]]}
 *   {"ok":false,"exit":67,"error":"User \"x\" does not exist","data":{...}}
 *   {"ok":false,"exit":65,"error":"...","bare":true}     printed without "Error:"
 *   {"ok":false,"exit":64,"validation":"not enough arguments."}
 *   {"ok":false,"exit":64,"environment":"this command requires ..."}
 *
 * Values in rows are text, numbers, booleans, lists and objects; an argument
 * table is a list of [name, type, value].
 *
 * Commands, columns, texts and exit codes are rabbitmqctl's; the list of
 * commands is control/command's.
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
