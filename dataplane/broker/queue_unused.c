/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_unused.c - queues that nobody uses any more: auto-delete ones whose
 * last consumer left (C71), and those whose time is over (C73).
 *
 * The control process deletes them.  From the moment that it is asked the queue
 * takes nothing more; its answer changes nothing here, QUEUE_DOWN does.
 */
#include "dataplane/broker/queue_private.h"

/* As RabbitMQ: ten years.  More is no time that a timer could wait for. */
#define EXPIRES_MS_MAX 315360000000ull

/* It stays: things go on as if nobody had asked. */
static void
queue_stays(struct lp_queue *queue)
{
    queue_cancel_answer(queue);
    queue->deleting = false;
    queue->expired = false;
    lp_queue_dirty(queue);
    lp_queue_used(queue);
}

static void
queue_unused_reply(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct lp_broker *broker = context;
    struct lp_queue *queue = lp_pool_get(&broker->queues, owner);
    if (!queue) {
        return; /* gone, as it should be */
    }
    queue->asking = false;
    if (reply->code != 0 && !queue->expired) {
        lp_queue_unused_again(queue);
    } else {
        queue_stays(queue); /* the control process knew better, or cannot */
    }
}

void
lp_queue_unused_again(struct lp_queue *queue)
{
    if (!queue->asking && !lp_list_linked(&queue->in_unused)) {
        lp_list_push_back(&queue->broker->queues_unused, &queue->in_unused);
    }
}

static bool
queue_unused_ask(struct lp_queue *queue)
{
    const uint16_t type = queue->expired ? LP_CONTROL_QUEUE_EXPIRED : LP_CONTROL_QUEUE_UNUSED;
    uint8_t payload[4];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, queue->id);
    queue->asking = lp_link_request(&queue->broker->link, type, lp_writer_bytes(&writer),
                                    queue->self, queue_unused_reply);
    return queue->asking;
}

static void
queue_unused(struct lp_queue *queue)
{
    struct lp_queue_counts counts;
    queue->type->counts(queue, &counts);
    queue->deleting = true;
    queue->deleted_ready = (uint32_t)LP_MIN(counts.ready, (uint64_t)UINT32_MAX);
    if (!queue_unused_ask(queue)) {
        lp_queue_unused_again(queue);
    }
}

bool
lp_queue_consumer_left(struct lp_queue *queue)
{
    LP_ASSERT(queue->consumers > 0);
    queue->consumers--;
    if (queue->consumers > 0 || queue->deleting) {
        return false;
    }
    if (!(queue->ref->flags & LP_OBJECT_AUTO_DELETE)) {
        lp_queue_used(queue);
        return false;
    }
    queue_unused(queue);
    return true;
}

/* Retry what the link had no room for. */
void
lp_queue_unused_retry(struct lp_broker *broker)
{
    struct lp_list *at = broker->queues_unused.next;
    while (at != &broker->queues_unused) {
        struct lp_queue *queue = LP_LIST_ITEM(at, struct lp_queue, in_unused);
        at = at->next;
        if (!queue_unused_ask(queue)) {
            return;
        }
        lp_list_remove(&queue->in_unused);
    }
}

void
lp_queue_synced(struct lp_queue *queue)
{
    const bool unused =
        (queue->ref->flags & LP_OBJECT_AUTO_DELETE) && queue->had_consumer && queue->consumers == 0;
    if (!queue->deleting) {
        return;
    }
    if (queue->expired || unused) {
        lp_queue_unused_again(queue); /* whoever else wanted it deleted may have given up */
        return;
    }
    queue->deleting = false;
    lp_queue_dirty(queue);
}

/* ---- x-expires ---- */

static void
queue_expiry_due(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct lp_queue *queue = LP_CONTAINER_OF(timer, struct lp_queue, expiry);
    (void)context;
    (void)now_ns;
    if (queue->consumers > 0 || queue->deleting) {
        return; /* it counts again when the last of them leaves */
    }
    queue->broker->stats->queues_expired++;
    queue->expired = true;
    queue_unused(queue);
}

void
lp_queue_used(struct lp_queue *queue)
{
    const uint64_t expires_ms = queue->settings.expires_ms;
    if (expires_ms == LP_SETTING_UNSET) {
        return;
    }
    lp_timer_arm(&queue->broker->wheel, &queue->expiry, queue_expiry_due,
                 queue->broker->now_ns + LP_MIN(expires_ms, EXPIRES_MS_MAX) * 1000000u);
}

void
queue_expiry_anew(struct lp_queue *queue)
{
    lp_timer_disarm(&queue->broker->wheel, &queue->expiry);
    lp_queue_used(queue);
}
