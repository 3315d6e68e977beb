/* SPDX-License-Identifier: Apache-2.0 */
/* requests.c - records of shards: their answers, news, and who handles a request. */
#include "control/link/requests.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- answers ---- */

static struct control_answer *
answer_make(uint32_t shard, uint64_t sequence, const struct lp_fault *fault, struct lp_bytes fields)
{
    struct control_answer *answer = lp_heap_alloc(sizeof(*answer) + 3 + UINT8_MAX + fields.size);
    struct lp_writer w = lp_writer_of(answer->payload, 3u + UINT8_MAX + fields.size);
    lp_writer_u16le(&w, fault ? fault->code : 0);
    lp_writer_short(&w, fault ? lp_bytes_of(fault->text, LP_MIN(fault->text_bytes, UINT8_MAX))
                              : lp_bytes_of(NULL, 0));
    lp_writer_copy(&w, fields.data, fields.size);
    LP_ASSERT(!w.failed);
    answer->shard = shard;
    answer->sequence = sequence;
    answer->payload_bytes = (uint32_t)lp_writer_size(&w);
    return answer;
}

void
control_answer_put(struct lp_control *control, uint32_t shard, uint64_t sequence,
                   const struct lp_fault *fault, struct lp_bytes fields)
{
    struct control_answer *answer = answer_make(shard, sequence, fault, fields);
    lp_chain_append(&control->turn_answers, &answer->link);
}

void
control_answer_now(struct control_request *request, bool good)
{
    struct control_answer *answer =
        answer_make(request->shard, request->sequence, good ? NULL : &request->fault,
                    good ? lp_writer_bytes(&request->reply) : lp_bytes_of(NULL, 0));
    control_send(request->control, request->shard, LP_CONTROL_REPLY, request->sequence,
                 lp_bytes_of(answer->payload, answer->payload_bytes));
    free(answer);
}

void
control_answer_committed(struct control_request *request, bool good)
{
    control_answer_put(request->control, request->shard, request->sequence,
                       good ? NULL : &request->fault,
                       good ? lp_writer_bytes(&request->reply) : lp_bytes_of(NULL, 0));
}

uint32_t
control_changes_refuse(struct lp_control *control, const char *why)
{
    struct lp_fault fault = {0};
    uint32_t count = 0;
    (void)lp_fault_set(&fault, LP_FAULT_RESOURCE_ERROR, "what exists cannot be changed: %s", why);
    LP_CHAIN_EACH(link, &control->turn_answers)
    {
        struct control_answer *answer = LP_CONTAINER_OF(link, struct control_answer, link);
        if (!answer->changes) {
            continue;
        }
        struct control_answer *refusal =
            answer_make(answer->shard, answer->sequence, &fault, lp_bytes_of(NULL, 0));
        control_send(control, refusal->shard, LP_CONTROL_REPLY, refusal->sequence,
                     lp_bytes_of(refusal->payload, refusal->payload_bytes));
        lp_chain_remove(&answer->link);
        free(refusal);
        free(answer);
        count++;
    }
    return count;
}

/*
 * The answers since `before`, when something was changed along with them and
 * the shard has no other way than to ask: a client hears of a refusal.  What
 * a shard asks for itself it would ask for again at once.
 */
static void
changes_mark(struct lp_control *control, uint16_t type, const struct lp_chain *before)
{
    const bool clients = type == LP_CONTROL_EXCHANGE_DECLARE ||
                         type == LP_CONTROL_EXCHANGE_DELETE || type == LP_CONTROL_QUEUE_DECLARE ||
                         type == LP_CONTROL_BIND || type == LP_CONTROL_UNBIND ||
                         type == LP_CONTROL_DELETE_CHECKED;
    for (struct lp_chain *link = before->next; clients && link != &control->turn_answers;
         link = link->next) {
        struct control_answer *answer = LP_CONTAINER_OF(link, struct control_answer, link);
        answer->changes = answer->done == NULL;
    }
}

bool
control_malformed(struct control_request *request)
{
    control_log(request->control, LP_CONTROL_LOG_ERROR, "malformed request from shard %u",
                request->shard);
    return lp_fault_set(&request->fault, LP_FAULT_INTERNAL_ERROR, "malformed request");
}

bool
control_actor_find(struct control_request *request, uint64_t id, uint32_t vhost_id,
                   struct lp_catalog_actor *ret_actor)
{
    const struct control_connection *connection = control_connection(request->control, id);
    if (!connection || connection->vhost_id == 0) {
        return lp_fault_set(&request->fault, LP_FAULT_INTERNAL_ERROR, "the connection is not open");
    }
    struct lp_catalog_vhost *vhost =
        vhost_id == connection->vhost_id
            ? lp_catalog_vhost_by_id(request->control->catalog, vhost_id)
            : NULL;
    if (!vhost) {
        return lp_fault_set(&request->fault, LP_FAULT_CONNECTION_FORCED, "vhost '%.*s' is down",
                            (int)connection->vhost.size, (const char *)connection->vhost.data);
    }
    *ret_actor =
        (struct lp_catalog_actor){.user = connection->user, .connection = id, .vhost = vhost};
    return true;
}

/* ---- news ---- */

static void
on_listeners(struct control_shard *shard, struct lp_reader *r)
{
    const uint16_t count = lp_reader_u16le(r);
    struct control_listener *listeners = lp_heap_alloc(count * sizeof(*listeners));
    for (uint16_t i = 0; i < count && !r->failed; i++) {
        struct control_listener *listener = &listeners[i];
        listener->family = lp_reader_u8(r);
        listener->port = lp_reader_u16le(r);
        const struct lp_bytes ip = lp_reader_bytes(r, sizeof(listener->ip));
        const struct lp_bytes path =
            listener->family == 1 ? lp_reader_short(r) : lp_bytes_of(NULL, 0);
        const struct lp_bytes protocol = lp_reader_short(r);
        if (!r->failed) {
            memcpy(listener->ip, ip.data, sizeof(listener->ip));
            (void)snprintf(listener->path, sizeof(listener->path), "%.*s", (int)path.size,
                           (const char *)path.data); /* both fit */
            (void)snprintf(listener->protocol, sizeof(listener->protocol), "%.*s",
                           (int)protocol.size, (const char *)protocol.data);
        }
    }
    free(shard->listeners);
    shard->listeners = listeners;
    shard->listener_count = r->failed ? 0 : count;
}

static void
on_channels(struct lp_control *control, struct lp_reader *r)
{
    struct control_connection *connection = control_connection(control, lp_reader_u64le(r));
    const uint16_t channels = lp_reader_u16le(r);
    if (!r->failed && connection) {
        control_channels_set(control, connection, channels);
    }
}

static void
on_log(struct lp_control *control, uint32_t shard, struct lp_reader *r)
{
    const uint8_t level = lp_reader_u8(r);
    const struct lp_bytes text = lp_reader_long_le(r);
    if (!r->failed) {
        control_log(control, (enum lp_control_log_level)LP_MIN(level, 3), "shard %u: %.*s", shard,
                    (int)LP_MIN(text.size, 900u), (const char *)text.data);
    }
}

static void
on_fenced(struct lp_control *control, uint32_t index, struct lp_reader *r)
{
    struct control_fence fence = {.up = true};
    struct control_fence *known = &control->shards[index].fence;
    fence.segment = lp_reader_u32le(r);
    fence.offset = lp_reader_u64le(r);
    fence.err = lp_reader_u8(r);
    const struct lp_bytes what = lp_reader_short(r);
    if (r->failed) {
        return;
    }
    (void)snprintf(fence.what, sizeof(fence.what), "%.*s", (int)what.size,
                   (const char *)what.data); /* fits */
    if (!known->up) {
        control_log(control, LP_CONTROL_LOG_ERROR,
                    "the log of shard %u takes no more: %s (segment %u, offset %llu: %s). "
                    "Publishers to its durable queues get errors, what was confirmed is safe; see "
                    "to the disk, then start the broker again",
                    index, fence.what, fence.segment, (unsigned long long)fence.offset,
                    lp_err_text((enum lp_err)fence.err));
    }
    *known = fence;
}

/* What a listing consists of. */
static uint16_t
row_of(uint16_t listing)
{
    switch (listing) {
    case LP_CONTROL_LIST_QUEUES:
        return LP_CONTROL_ROW_QUEUE;
    case LP_CONTROL_LIST_CHANNELS:
        return LP_CONTROL_ROW_CHANNEL;
    case LP_CONTROL_LIST_CONSUMERS:
        return LP_CONTROL_ROW_CONSUMER;
    case LP_CONTROL_LIST_LATENCY:
        return LP_CONTROL_ROW_LATENCY;
    default:
        return LP_CONTROL_ROW_CONNECTION;
    }
}

static void
on_row(struct lp_control *control, uint32_t shard, const struct lp_control_record *record)
{
    struct lp_reader r = lp_reader_of_bytes(record->payload);
    struct control_query *query =
        lp_chain_is_empty(&control->queries)
            ? NULL
            : LP_CONTAINER_OF(control->queries.next, struct control_query, link);
    if (!query || query->number == 0 || query->number != record->sequence) {
        return; /* of a listing that nobody waits for any more */
    }
    if (record->type == LP_CONTROL_ROWS_END) {
        query->answered |= (uint64_t)1 << shard;
    } else if (record->type == row_of(query->type)) {
        query->row(control, query->context, &r);
    }
}

static void
on_stopped(struct control_shard *shard, struct lp_reader *r)
{
    const uint32_t connections = lp_reader_u32le(r);
    const uint64_t messages = lp_reader_u64le(r);
    shard->stopped = true;
    if (!r->failed) {
        shard->totals.connections_closed = connections;
        shard->totals.messages_held = messages;
    }
}

static void
on_hello_connection(struct lp_control *control, uint32_t shard, struct lp_reader *r)
{
    struct control_connection *connection = NULL;
    if (!control_connection_put(control, shard, r, true, &connection)) {
        control_log(control, LP_CONTROL_LOG_ERROR, "malformed connection from shard %u", shard);
    }
}

static void
news(struct lp_control *control, uint32_t index, const struct lp_control_record *record)
{
    struct control_shard *shard = &control->shards[index];
    struct lp_reader r = lp_reader_of_bytes(record->payload);
    switch (record->type) {
    case LP_CONTROL_APPLIED:
        /* True whoever sent it that revision: the store gives each number to one change only. */
        if (record->sequence <= control->catalog->revision) {
            shard->applied = LP_MAX(shard->applied, record->sequence);
        }
        return;
    case LP_CONTROL_DELETE_CHECKED:
        control_deletion_checked(control, index, record->sequence, &r);
        return;
    case LP_CONTROL_QUEUE_PURGED:
        control_queue_purged(control, index, record->sequence, &r);
        return;
    case LP_CONTROL_ROW_QUEUE:
    case LP_CONTROL_ROW_CONNECTION:
    case LP_CONTROL_ROW_CHANNEL:
    case LP_CONTROL_ROW_CONSUMER:
    case LP_CONTROL_ROW_LATENCY:
    case LP_CONTROL_ROWS_END:
        on_row(control, index, record);
        return;
    case LP_CONTROL_STOPPED:
        on_stopped(shard, &r);
        return;
    case LP_CONTROL_LISTENERS:
        on_listeners(shard, &r);
        return;
    case LP_CONTROL_LOG:
        on_log(control, index, &r);
        return;
    case LP_CONTROL_CHANNELS:
        on_channels(control, &r);
        return;
    case LP_CONTROL_LOG_FENCED:
        on_fenced(control, index, &r);
        return;
    default:
        return; /* of a later version */
    }
}

/* ---- dispatch ---- */

static control_request_fn *
request_handler(uint16_t type)
{
    static control_request_fn *const handlers[] = {
        [LP_CONTROL_LOGIN] = control_on_login,
        [LP_CONTROL_OPEN] = control_on_open,
        [LP_CONTROL_CLOSED] = control_on_closed,
        [LP_CONTROL_PERMIT] = control_on_permit,
        [LP_CONTROL_EXCHANGE_DECLARE] = control_on_exchange_declare,
        [LP_CONTROL_EXCHANGE_DELETE] = control_on_exchange_delete,
        [LP_CONTROL_QUEUE_DECLARE] = control_on_queue_declare,
        [LP_CONTROL_QUEUE_DELETE] = control_on_queue_delete,
        [LP_CONTROL_BIND] = control_on_bind,
        [LP_CONTROL_UNBIND] = control_on_unbind,
        [LP_CONTROL_QUEUE_UNUSED] = control_on_queue_unused,
        [LP_CONTROL_UPDATE_SECRET] = control_on_update_secret,
        [LP_CONTROL_QUEUE_EXPIRED] = control_on_queue_expired,
        [LP_CONTROL_CHANNEL_OPEN] = control_on_channel_open,
        [LP_CONTROL_PERMIT_TOPIC] = control_on_permit_topic,
        [LP_CONTROL_RIGHTS] = control_on_rights,
    };
    return type < LP_COUNT_OF(handlers) ? handlers[type] : NULL;
}

/* The greeting of a shard; true when the record was part of it. */
static bool
greeting(struct lp_control *control, uint32_t index, const struct lp_control_record *record)
{
    struct control_shard *shard = &control->shards[index];
    struct lp_reader r = lp_reader_of_bytes(record->payload);
    if (record->type == LP_CONTROL_HELLO) {
        /* One that answers an earlier attach, or an earlier process, is not for us. */
        if (shard->state == CONTROL_SHARD_ATTACHING && lp_reader_u32le(&r) == control->attach) {
            shard->state = CONTROL_SHARD_HELLO;
            control_hello_begin(control, index);
        }
        return true;
    }
    if (record->type == LP_CONTROL_HELLO_CONNECTION) {
        if (shard->state == CONTROL_SHARD_HELLO) {
            on_hello_connection(control, index, &r);
        }
        return true;
    }
    if (record->type == LP_CONTROL_HELLO_END) {
        if (shard->state == CONTROL_SHARD_HELLO) {
            shard->state = CONTROL_SHARD_READY;
            control_hello_end(control, index);
        }
        return true;
    }
    return false;
}

static void
request_handle(struct lp_control *control, uint32_t shard, const struct lp_control_record *record,
               control_request_fn *handler)
{
    struct control_request request = {.control = control,
                                      .shard = shard,
                                      .sequence = record->sequence,
                                      .fields = lp_reader_of_bytes(record->payload)};
    request.reply = lp_writer_of(request.reply_room, sizeof(request.reply_room));
    handler(&request);
}

void
control_record(struct lp_control *control, uint32_t shard, const struct lp_control_record *record)
{
    if (greeting(control, shard, record)) {
        return;
    }
    control_request_fn *handler = request_handler(record->type);
    if (handler && control->shards[shard].state != CONTROL_SHARD_READY) {
        return; /* sent before the shard saw us; it will be sent again */
    }
    const struct lp_chain *before = control->turn_answers.previous;
    const size_t changes = control->catalog->op_count;
    if (handler) {
        request_handle(control, shard, record, handler);
    } else {
        news(control, shard, record);
    }
    if (control->catalog->op_count != changes) {
        changes_mark(control, record->type, before);
    }
}
