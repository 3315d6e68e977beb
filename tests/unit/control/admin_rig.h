/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin_rig.h - administrators' commands in tests: a request and its answer in
 * JSON, against a control process with two fake shards.
 */
#pragma once

#include "fake_requests.h"

#include "control/admin/admin.h"
#include "control/link/control_internal.h"

static inline void
rig_answered(void *context, json_t *answer)
{
    json_t **slot = context;
    assert_null(*slot);
    *slot = answer;
}

/* Say it; the answer comes to `ret_answer` whenever it does. */
static inline void
rig_tell(struct world *world, const char *text, json_t **ret_answer)
{
    json_t *request = json_loads(text, 0, NULL);
    *ret_answer = NULL;
    lp_admin_request(world->control, request, rig_answered, ret_answer);
    json_decref(request);
}

/* Say it and wait. */
static inline json_t *
rig_ask(struct world *world, const char *text)
{
    json_t *answer;
    rig_tell(world, text, &answer);
    world_settle(world);
    assert_non_null(answer);
    return answer;
}

/* The answer, as a line. */
static inline void
rig_expect(struct world *world, const char *request, const char *expected)
{
    json_t *answer = rig_ask(world, request);
    char *text = json_dumps(answer, JSON_COMPACT);
    assert_string_equal(text, expected);
    free(text);
    json_decref(answer);
}

static inline struct world *
rig_open(struct lp_store_memory **ret_store)
{
    *ret_store = lp_store_memory_open();
    struct world *world = world_open(2, lp_store_memory_store(*ret_store));
    world_control_start(world);
    world_settle(world);
    return world;
}

static inline void
rig_close(struct world *world, struct lp_store_memory *store)
{
    world_close(world);
    lp_store_memory_close(&store);
}
