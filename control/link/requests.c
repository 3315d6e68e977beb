/* SPDX-License-Identifier: Apache-2.0 */
/* requests.c - what shards ask and tell. */
#include <stdio.h>
#include <stdlib.h>

#include "control/auth/auth.h"
#include "control/link/control_internal.h"

/* One request while it is handled. */
struct request {
    struct lp_control *control;
    uint32_t shard;
    uint64_t sequence;
    struct lp_reader fields;
    struct lp_fault fault;
    struct lp_writer reply; /* over reply_room */
    uint8_t reply_room[512];
};

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

/* What depends on no change need not wait for one. */
static void
answer_now(struct request *request, bool good)
{
    struct control_answer *answer =
        answer_make(request->shard, request->sequence, good ? NULL : &request->fault,
                    good ? lp_writer_bytes(&request->reply) : lp_bytes_of(NULL, 0));
    control_send(request->control, request->shard, LP_CONTROL_REPLY, request->sequence,
                 lp_bytes_of(answer->payload, answer->payload_bytes));
    free(answer);
}

static void
answer_committed(struct request *request, bool good)
{
    control_answer_put(request->control, request->shard, request->sequence,
                       good ? NULL : &request->fault,
                       good ? lp_writer_bytes(&request->reply) : lp_bytes_of(NULL, 0));
}

static bool
malformed(struct request *request)
{
    control_log(request->control, LP_CONTROL_LOG_ERROR, "malformed request from shard %u",
                request->shard);
    return lp_fault_set(&request->fault, LP_FAULT_INTERNAL_ERROR, "malformed request");
}

/* Who asks: a connection that is open. */
static bool
actor_find(struct request *request, uint64_t id, uint32_t vhost_id,
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

/* ---- connections ---- */

static void
on_login(struct request *request)
{
    struct lp_control *control = request->control;
    struct lp_auth_login login = {
        .loopback_users = control->options.settings.loopback_users,
        .loopback_user_count = control->options.settings.loopback_user_count,
    };
    const char *why = "malformed";
    (void)lp_reader_u64le(&request->fields); /* the connection: not in the table before OPEN */
    login.mechanism = lp_reader_short(&request->fields);
    login.user = lp_reader_short(&request->fields);
    login.password = lp_reader_long_le(&request->fields);
    (void)lp_reader_take(&request->fields, 1 + 2 + 16); /* the peer's address */
    login.loopback = lp_reader_u8(&request->fields) != 0;
    bool good = !request->fields.failed || malformed(request);
    if (good) {
        good = lp_auth_login(control->catalog, &login, &why, &request->fault);
        lp_writer_short(&request->reply, login.user);
    }
    if (!good) {
        control_log(control, LP_CONTROL_LOG_ERROR, "%.*s login refused: user '%.*s' - %s",
                    (int)login.mechanism.size, (const char *)login.mechanism.data,
                    (int)login.user.size, (const char *)login.user.data, why);
    }
    answer_now(request, good);
}

static void
on_open(struct request *request)
{
    struct lp_control *control = request->control;
    struct control_connection *connection = NULL;
    struct lp_catalog_vhost *vhost = NULL;
    bool good =
        control_connection_put(control, request->shard, &request->fields, false, &connection) ||
        malformed(request);
    good = good && lp_auth_vhost(control->catalog, connection->user, connection->vhost, &vhost,
                                 &request->fault);
    if (good) {
        connection->vhost_id = vhost->id;
        lp_writer_u32le(&request->reply, vhost->id);
        lp_writer_u8(&request->reply,
                     lp_auth_unrestricted(control->catalog, connection->user, vhost));
        lp_writer_u32le(&request->reply, control->catalog->permission_epoch);
        lp_writer_u8(&request->reply, 0); /* enum lp_rights */
    }
    answer_committed(request, good);
}

static void
on_closed(struct request *request)
{
    const uint64_t id = lp_reader_u64le(&request->fields);
    const bool good = !request->fields.failed || malformed(request);
    if (good) {
        control_connection_gone(request->control, id);
    }
    answer_committed(request, good);
}

static void
on_permit(struct request *request)
{
    struct lp_control *control = request->control;
    struct lp_catalog_actor actor;
    struct lp_auth_question question;
    const uint64_t id = lp_reader_u64le(&request->fields);
    question.right = lp_reader_u8(&request->fields);
    question.resource = lp_reader_u8(&request->fields);
    question.name = lp_reader_short(&request->fields);
    const bool known = question.right == LP_PERMISSION_CONFIGURE ||
                       question.right == LP_PERMISSION_WRITE ||
                       question.right == LP_PERMISSION_READ;
    bool good = (!request->fields.failed && known && question.resource <= LP_RESOURCE_QUEUE) ||
                malformed(request);
    const struct control_connection *connection = control_connection(control, id);
    good = good && actor_find(request, id, connection ? connection->vhost_id : 0, &actor) &&
           lp_auth_check(control->catalog, &actor, &question, &request->fault);
    lp_writer_u32le(&request->reply, control->catalog->permission_epoch);
    answer_now(request, good);
}

static void
on_update_secret(struct request *request)
{
    (void)lp_reader_u64le(&request->fields); /* the connection */
    (void)lp_reader_short(&request->fields); /* the user */
    (void)lp_reader_long_le(&request->fields);
    /* Passwords of the internal back end do not expire: any secret is fine (C30). */
    answer_now(request, !request->fields.failed || malformed(request));
}

/* ---- declare, bind, delete ---- */

static void
on_exchange_declare(struct request *request)
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
    bool good = !request->fields.failed || malformed(request);
    good = good && actor_find(request, id, vhost_id, &actor) &&
           lp_catalog_exchange_declare(request->control->catalog, &actor, &declare, &exchange,
                                       &request->fault);
    if (good) {
        lp_writer_u32le(&request->reply, exchange->id);
    }
    answer_committed(request, good);
}

static void
on_exchange_delete(struct request *request)
{
    struct lp_catalog_actor actor;
    const uint64_t id = lp_reader_u64le(&request->fields);
    const uint32_t vhost_id = lp_reader_u32le(&request->fields);
    const struct lp_bytes name = lp_reader_short(&request->fields);
    const bool if_unused = lp_reader_u8(&request->fields) != 0;
    bool good = !request->fields.failed || malformed(request);
    good = good && actor_find(request, id, vhost_id, &actor) &&
           lp_catalog_exchange_delete(request->control->catalog, &actor, name, if_unused,
                                      &request->fault);
    answer_committed(request, good);
}

static void
on_queue_declare(struct request *request)
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
    bool good = !request->fields.failed || malformed(request);
    good = good && actor_find(request, id, vhost_id, &actor) &&
           lp_catalog_queue_declare(request->control->catalog, &actor, &declare, &declared,
                                    &request->fault);
    if (good) {
        lp_writer_u32le(&request->reply, declared.queue->id);
        lp_writer_u8(&request->reply, declared.created);
    }
    answer_committed(request, good);
}

static void
on_queue_delete(struct request *request)
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
    bool good = !request->fields.failed || malformed(request);
    good = good && actor_find(request, id, vhost_id, &actor) &&
           lp_catalog_queue_deletable(request->control->catalog, &actor, &asked, &queue,
                                      &request->fault);
    if (good && queue) {
        deletion.home = queue->home_shard;
        deletion.queue_id = queue->id;
        control_deletion_add(request->control, &deletion);
        return; /* answered when the home shard has looked */
    }
    lp_writer_u32le(&request->reply, 0);
    answer_committed(request, good);
}

static void
bind_or_unbind(struct request *request, bool unbind)
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
    bool good = (!request->fields.failed && bind.destination_resource <= LP_RESOURCE_QUEUE) ||
                malformed(request);
    good = good && actor_find(request, id, vhost_id, &actor);
    if (good) {
        good = unbind ? lp_catalog_unbind(catalog, &actor, &bind, &request->fault)
                      : lp_catalog_bind(catalog, &actor, &bind, &request->fault);
    }
    answer_committed(request, good);
}

static void
on_bind(struct request *request)
{
    bind_or_unbind(request, false);
}

static void
on_unbind(struct request *request)
{
    bind_or_unbind(request, true);
}

static void
on_queue_unused(struct request *request)
{
    struct lp_catalog *catalog = request->control->catalog;
    struct lp_catalog_queue *queue =
        lp_catalog_queue_by_id(catalog, lp_reader_u32le(&request->fields));
    const bool good = !request->fields.failed || malformed(request);
    if (good && queue && (queue->flags & LP_OBJECT_AUTO_DELETE)) {
        lp_catalog_queue_drop(catalog, queue);
    }
    answer_committed(request, good);
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
    } else if ((record->type == LP_CONTROL_ROW_QUEUE) == (query->type == LP_CONTROL_LIST_QUEUES)) {
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
    case LP_CONTROL_ROW_QUEUE:
    case LP_CONTROL_ROW_CONNECTION:
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
    default:
        return; /* of a later version */
    }
}

/* ---- dispatch ---- */

typedef void request_fn(struct request *request);

static request_fn *
request_handler(uint16_t type)
{
    static request_fn *const handlers[] = {
        [LP_CONTROL_LOGIN] = on_login,
        [LP_CONTROL_OPEN] = on_open,
        [LP_CONTROL_CLOSED] = on_closed,
        [LP_CONTROL_PERMIT] = on_permit,
        [LP_CONTROL_EXCHANGE_DECLARE] = on_exchange_declare,
        [LP_CONTROL_EXCHANGE_DELETE] = on_exchange_delete,
        [LP_CONTROL_QUEUE_DECLARE] = on_queue_declare,
        [LP_CONTROL_QUEUE_DELETE] = on_queue_delete,
        [LP_CONTROL_BIND] = on_bind,
        [LP_CONTROL_UNBIND] = on_unbind,
        [LP_CONTROL_QUEUE_UNUSED] = on_queue_unused,
        [LP_CONTROL_UPDATE_SECRET] = on_update_secret,
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

void
control_record(struct lp_control *control, uint32_t shard, const struct lp_control_record *record)
{
    if (greeting(control, shard, record)) {
        return;
    }
    request_fn *handler = request_handler(record->type);
    if (!handler) {
        news(control, shard, record);
        return;
    }
    if (control->shards[shard].state != CONTROL_SHARD_READY) {
        return; /* sent before the shard saw us; it will be sent again */
    }
    struct request request = {.control = control,
                              .shard = shard,
                              .sequence = record->sequence,
                              .fields = lp_reader_of_bytes(record->payload)};
    request.reply = lp_writer_of(request.reply_room, sizeof(request.reply_room));
    handler(&request);
}
