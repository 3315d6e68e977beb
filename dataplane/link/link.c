/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/link/link.h"

#include <string.h>

#include "dataplane/base/memory.h"

enum lp_err
lp_link_init_boot(struct lp_link *link, const struct lp_link_options *options)
{
    memset(link, 0, sizeof(*link));
    link->memory = options->memory;
    link->wheel = options->wheel;
    link->timeout_ns = options->timeout_ns;
    link->context = options->context;
    link->record = options->record;
    link->next_sequence = 1;
    lp_list_init(&link->waiting);
    if (!lp_control_end_init(
            &link->to_control,
            lp_control_region_to_control(options->region, options->shard_count, options->shard),
            LP_CONTROL_RING_CAPACITY_BYTES, true) ||
        !lp_control_end_init(
            &link->to_shard,
            lp_control_region_to_shard(options->region, options->shard_count, options->shard),
            LP_CONTROL_RING_CAPACITY_BYTES, false)) {
        return LP_ERR_BAD_CONFIG;
    }
    link->scratch = lp_memory_alloc(options->memory, LP_CONTROL_PAYLOAD_MAX_BYTES);
    if (!link->scratch) {
        return LP_ERR_NO_MEMORY;
    }
    return lp_pool_init_boot(&link->requests, "link requests", options->memory,
                             sizeof(struct lp_link_request), LP_LINK_REQUESTS_MAX);
}

/* The request behind this one; NULL: it is the last. */
static struct lp_link_request *
link_request_next(const struct lp_link *link, const struct lp_link_request *request)
{
    struct lp_list *next = request->link.next;
    return next == &link->waiting ? NULL : LP_LIST_ITEM(next, struct lp_link_request, link);
}

static void
link_request_free(struct lp_link *link, struct lp_link_request *request)
{
    if (link->next_unsent == request) {
        link->next_unsent = link_request_next(link, request);
    }
    lp_list_remove(&request->link);
    lp_timer_disarm(link->wheel, &request->timer);
    if (!request->sent) {
        link->unsent--;
    }
    if (request->payload) {
        void *block = request->payload;
        lp_memory_release(link->memory, &block);
    }
    lp_pool_release(&link->requests, request->self);
}

/* The control process did not answer in time: the requester hears of it and goes on. */
static void
link_request_expire(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    (void)context;
    (void)now_ns;
    struct lp_link_request *request = LP_CONTAINER_OF(timer, struct lp_link_request, timer);
    struct lp_link *link = request->owner_link;
    const lp_handle owner = request->owner;
    lp_link_reply_fn *reply = request->reply;
    link_request_free(link, request);
    const struct lp_link_reply late = {
        .code = LP_FAULT_INTERNAL_ERROR,
        .text = lp_bytes_of_text("the control process did not answer in time"),
    };
    reply(link->context, owner, &late);
}

static void
link_request_push(struct lp_link *link, struct lp_link_request *request)
{
    if (lp_control_push(&link->to_control, request->type, request->sequence,
                        lp_bytes_of(request->payload, request->payload_bytes))) {
        request->sent = true;
        link->unsent--;
        link->next_unsent = link_request_next(link, request);
        link->pushed = true;
    }
}

bool
lp_link_request(struct lp_link *link, uint16_t type, struct lp_bytes payload, lp_handle owner,
                lp_link_reply_fn *reply)
{
    LP_ASSERT(payload.size <= LP_CONTROL_PAYLOAD_MAX_BYTES);
    lp_handle handle;
    struct lp_link_request *request = lp_pool_alloc(&link->requests, &handle);
    if (!request) {
        return false;
    }
    if (payload.size > 0) {
        request->payload = lp_memory_alloc(link->memory, payload.size);
        if (!request->payload) {
            lp_pool_release(&link->requests, handle);
            return false;
        }
        memcpy(request->payload, payload.data, payload.size);
    }
    request->payload_bytes = payload.size;
    request->owner_link = link;
    request->self = handle;
    request->sequence = link->next_sequence++;
    request->owner = owner;
    request->reply = reply;
    request->type = type;
    const bool in_turn = link->unsent == 0;
    lp_list_push_back(&link->waiting, &request->link);
    link->next_unsent = in_turn ? request : link->next_unsent;
    link->unsent++;
    lp_timer_arm(link->wheel, &request->timer, link_request_expire,
                 link->now_ns + link->timeout_ns);
    if (in_turn) {
        /* Nobody before us is still unsent: FIFO holds. */
        link_request_push(link, request);
    }
    return true;
}

lp_handle
lp_link_last(const struct lp_link *link)
{
    LP_ASSERT(!lp_list_empty(&link->waiting));
    return LP_LIST_ITEM(link->waiting.prev, struct lp_link_request, link)->self;
}

void
lp_link_forget(struct lp_link *link, lp_handle handle)
{
    struct lp_link_request *request = lp_pool_get(&link->requests, handle);
    if (request) {
        link_request_free(link, request);
    }
}

bool
lp_link_is_busy(const struct lp_link *link)
{
    return link->requests.used >= LP_LINK_REQUESTS_MAX / 2;
}

bool
lp_link_tell(struct lp_link *link, uint16_t type, uint64_t sequence, struct lp_bytes payload)
{
    if (!lp_control_push(&link->to_control, type, sequence, payload)) {
        return false;
    }
    link->pushed = true;
    return true;
}

static void
link_reply(struct lp_link *link, const struct lp_control_record *record)
{
    struct lp_link_reply reply = {.more = lp_reader_of_bytes(record->payload)};
    reply.code = lp_reader_u16le(&reply.more);
    reply.text = lp_reader_short(&reply.more);
    if (reply.more.failed) {
        return; /* malformed: the request runs into its time-out */
    }
    /* Answers come roughly in order of asking, so the search is short. */
    for (struct lp_list *at = link->waiting.next; at != &link->waiting; at = at->next) {
        struct lp_link_request *request = LP_LIST_ITEM(at, struct lp_link_request, link);
        if (request->sequence > record->sequence) {
            return; /* timed out, or forgotten */
        }
        if (request->sequence == record->sequence) {
            const lp_handle owner = request->owner;
            lp_link_reply_fn *fn = request->reply;
            link_request_free(link, request);
            fn(link->context, owner, &reply);
            return;
        }
    }
}

uint32_t
lp_link_poll(struct lp_link *link, uint64_t now_ns, uint32_t budget)
{
    uint32_t taken = 0;
    link->now_ns = now_ns;
    while (taken < budget && !link->broken) {
        struct lp_control_record record;
        const enum lp_control_pop pop = lp_control_pop(&link->to_shard, link->scratch, &record);
        if (pop == LP_CONTROL_POP_EMPTY) {
            break;
        }
        if (pop == LP_CONTROL_POP_BROKEN) {
            link->broken = true;
            break;
        }
        taken++;
        if (record.type == LP_CONTROL_REPLY) {
            link_reply(link, &record);
        } else {
            link->record(link->context, &record);
        }
    }
    return taken;
}

void
lp_link_flush(struct lp_link *link)
{
    while (link->next_unsent) {
        const struct lp_link_request *request = link->next_unsent;
        link_request_push(link, link->next_unsent);
        if (!request->sent) {
            return;
        }
    }
}

void
lp_link_resend(struct lp_link *link)
{
    link->unsent = 0;
    for (struct lp_list *at = link->waiting.next; at != &link->waiting; at = at->next) {
        LP_LIST_ITEM(at, struct lp_link_request, link)->sent = false;
        link->unsent++;
    }
    link->next_unsent = lp_list_empty(&link->waiting)
                            ? NULL
                            : LP_LIST_ITEM(link->waiting.next, struct lp_link_request, link);
    lp_link_flush(link);
}
