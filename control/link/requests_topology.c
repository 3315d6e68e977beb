/* SPDX-License-Identifier: Apache-2.0 */
/* requests_topology.c - what connections declare, bind and delete. */
#include "control/link/requests.h"

void
control_on_exchange_declare(struct control_request *request)
{
    struct lp_catalog_actor actor;
    struct lp_catalog_exchange *exchange = NULL;
    struct lp_exchange_declare declare;
    const uint64_t id = lp_reader_u64le(&request->fields);
    const uint32_t vhost_id = lp_reader_u32le(&request->fields);
    declare.name = lp_reader_short(&request->fields);
    declare.kind_name = lp_reader_short(&request->fields);
    declare.flags = lp_reader_u8(&request->fields);
    declare.arguments = lp_reader_long_le(&request->fields);
    control_chain_read(request, id);
    bool good = !request->fields.failed || control_malformed(request);
    good = good && control_chain_goes_on(request) &&
           control_actor_find(request, id, vhost_id, &actor) &&
           lp_catalog_exchange_declare(request->control->catalog, &actor, &declare, &exchange,
                                       &request->fault);
    if (good) {
        lp_writer_u32le(&request->reply, exchange->id);
    }
    control_chain_answer(request, good);
}

void
control_on_exchange_delete(struct control_request *request)
{
    struct lp_catalog_actor actor;
    const uint64_t id = lp_reader_u64le(&request->fields);
    const uint32_t vhost_id = lp_reader_u32le(&request->fields);
    const struct lp_bytes name = lp_reader_short(&request->fields);
    const bool if_unused = lp_reader_u8(&request->fields) != 0;
    bool good = !request->fields.failed || control_malformed(request);
    good = good && control_actor_find(request, id, vhost_id, &actor) &&
           lp_catalog_exchange_delete(request->control->catalog, &actor, name, if_unused,
                                      &request->fault);
    control_answer_committed(request, good);
}

void
control_on_queue_declare(struct control_request *request)
{
    struct lp_catalog_actor actor;
    struct lp_queue_declare declare;
    struct lp_queue_declared declared = {0};
    const uint64_t id = lp_reader_u64le(&request->fields);
    const uint32_t vhost_id = lp_reader_u32le(&request->fields);
    declare.name = lp_reader_short(&request->fields);
    declare.flags = lp_reader_u8(&request->fields);
    declare.arguments = lp_reader_long_le(&request->fields);
    declare.home_shard = lp_reader_u16le(&request->fields);
    control_chain_read(request, id);
    bool good = (!request->fields.failed && declare.home_shard < request->control->shard_count) ||
                control_malformed(request);
    good = good && control_chain_goes_on(request) &&
           control_actor_find(request, id, vhost_id, &actor) &&
           lp_catalog_queue_declare(request->control->catalog, &actor, &declare, &declared,
                                    &request->fault);
    if (good) {
        lp_writer_u32le(&request->reply, declared.queue->id);
        lp_writer_u8(&request->reply, declared.created);
    }
    control_chain_answer(request, good);
}

void
control_on_queue_delete(struct control_request *request)
{
    struct lp_catalog_actor actor;
    struct lp_catalog_queue *queue = NULL;
    struct control_deletion deletion = {.shard = request->shard, .sequence = request->sequence};
    const uint64_t id = lp_reader_u64le(&request->fields);
    const uint32_t vhost_id = lp_reader_u32le(&request->fields);
    struct lp_queue_delete asked = {.name = lp_reader_short(&request->fields)};
    asked.if_unused = lp_reader_u8(&request->fields) != 0;
    asked.if_empty = lp_reader_u8(&request->fields) != 0;
    deletion.if_unused = asked.if_unused;
    deletion.if_empty = asked.if_empty;
    bool good = !request->fields.failed || control_malformed(request);
    good = good && control_actor_find(request, id, vhost_id, &actor) &&
           lp_catalog_queue_deletable(request->control->catalog, &actor, &asked, &queue,
                                      &request->fault);
    if (good && queue) {
        deletion.home = queue->home_shard;
        deletion.queue_id = queue->id;
        control_deletion_add(request->control, &deletion);
        return; /* answered when the home shard has looked */
    }
    lp_writer_u32le(&request->reply, 0);
    control_answer_committed(request, good);
}

static void
bind_or_unbind(struct control_request *request, bool unbind)
{
    struct lp_catalog_actor actor;
    struct lp_bind bind;
    struct lp_catalog *catalog = request->control->catalog;
    const uint64_t id = lp_reader_u64le(&request->fields);
    const uint32_t vhost_id = lp_reader_u32le(&request->fields);
    bind.source = lp_reader_short(&request->fields);
    bind.destination_resource = lp_reader_u8(&request->fields);
    bind.destination = lp_reader_short(&request->fields);
    bind.key = lp_reader_short(&request->fields);
    bind.arguments = lp_reader_long_le(&request->fields);
    control_chain_read(request, id);
    bool good = (!request->fields.failed && bind.destination_resource <= LP_RESOURCE_QUEUE) ||
                control_malformed(request);
    good =
        good && control_chain_goes_on(request) && control_actor_find(request, id, vhost_id, &actor);
    if (good) {
        good = unbind ? lp_catalog_unbind(catalog, &actor, &bind, &request->fault)
                      : lp_catalog_bind(catalog, &actor, &bind, &request->fault);
    }
    control_chain_answer(request, good);
}

void
control_on_bind(struct control_request *request)
{
    bind_or_unbind(request, false);
}

void
control_on_unbind(struct control_request *request)
{
    bind_or_unbind(request, true);
}

void
control_on_queue_unused(struct control_request *request)
{
    struct lp_catalog *catalog = request->control->catalog;
    struct lp_catalog_queue *queue =
        lp_catalog_queue_by_id(catalog, lp_reader_u32le(&request->fields));
    const bool good = !request->fields.failed || control_malformed(request);
    if (good && queue && (queue->flags & LP_OBJECT_AUTO_DELETE)) {
        lp_catalog_queue_drop(catalog, queue);
    }
    control_answer_committed(request, good);
}

/* Nobody used it for x-expires; unless it does not expire any more, or somebody was faster. */
void
control_on_queue_expired(struct control_request *request)
{
    struct lp_catalog *catalog = request->control->catalog;
    struct lp_catalog_queue *queue =
        lp_catalog_queue_by_id(catalog, lp_reader_u32le(&request->fields));
    bool good = !request->fields.failed || control_malformed(request);
    if (good && queue && lp_catalog_queue_settings(catalog, queue).expires_ms == LP_SETTING_UNSET) {
        good = lp_fault_set(&request->fault, LP_FAULT_PRECONDITION_FAILED,
                            "the queue does not expire");
    }
    if (good && queue) {
        lp_catalog_queue_drop(catalog, queue);
    }
    control_answer_committed(request, good);
}
