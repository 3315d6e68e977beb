/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph_consumer.c - consumes from the graph's queues: with every prefetch,
 * acknowledging, rejecting, giving back, in transactions; gets; cancels.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/graph.h"
#include "tests/sim/say.h"

static uint32_t
below(struct graph_consumer *consumer, uint32_t bound)
{
    return scene_below(consumer->graph->scene, bound);
}

static struct graph_consumer *
consumer_of(struct pilot *pilot)
{
    return LP_CONTAINER_OF(pilot, struct graph_consumer, pilot);
}

/* ---- lists of deliveries ---- */

static void
deliveries_add(struct graph_deliveries *list, const struct graph_delivery *one)
{
    if (list->count == list->room) {
        list->room = list->room * 2 + 32;
        list->list = realloc(list->list, list->room * sizeof(*list->list));
        LP_ASSERT(list->list);
    }
    list->list[list->count++] = *one;
}

static void
deliveries_cut(struct graph_deliveries *list, uint32_t at, uint32_t count)
{
    memmove(&list->list[at], &list->list[at + count],
            (list->count - at - count) * sizeof(*list->list));
    list->count -= count;
}

/* ---- set-up ---- */

static void
consumer_begin(struct graph_consumer *consumer)
{
    static const uint32_t prefetches[] = {0, 1, 1, 3, 20};
    const bool quorum = (consumer->graph->features & GRAPH_QUORUM) != 0;
    consumer->prefetch = prefetches[below(consumer, LP_COUNT_OF(prefetches))];
    consumer->shared = below(consumer, 4) == 0 && !quorum; /* C123: quorum queues refuse it */
    consumer->transactional = (consumer->graph->features & GRAPH_TX) && below(consumer, 2) == 0;
    consumer->no_ack = below(consumer, 10) == 0;
    consumer->gentle = below(consumer, 3) == 0;
    consumer->queues = 0;
    consumer->told = 0;
    consumer->consuming = UINT32_MAX;
    consumer->cancelling = UINT32_MAX;
    consumer->committing = false;
    consumer->todo = 20 + below(consumer, 300);
    memset(consumer->getter, 0, sizeof(consumer->getter));
}

static bool
consumer_script(struct pilot *pilot, uint32_t step)
{
    struct graph_consumer *consumer = consumer_of(pilot);
    struct book *book = &consumer->graph->book;
    char name[24];
    if (step == 0) {
        consumer_begin(consumer);
        say_qos(&pilot->client, (uint16_t)consumer->prefetch, consumer->shared);
        return true;
    }
    if (step == 1 && consumer->transactional) {
        say_tx_select(&pilot->client);
        return true;
    }
    if (step > 2 + below(consumer, 4)) {
        return false;
    }
    const uint32_t queue = below(consumer, book->queues);
    if (consumer->queues >> queue & 1) {
        return false;
    }
    const bool limited = !consumer->shared && !consumer->no_ack;
    consumer->queues |= 1u << queue;
    consumer->consuming = queue;
    consumer->subscription[queue] =
        book_subscribe(book, queue, limited ? consumer->prefetch : 0, false);
    graph_queue_name(queue, name);
    say_consume(&pilot->client, name, name, consumer->no_ack);
    return true;
}

/* ---- the channel's end ---- */

/* All its consumers end with what is said next, or have; what is not settled goes back. */
static void
consumer_unsubscribes(struct graph_consumer *consumer)
{
    struct book *book = &consumer->graph->book;
    for (uint32_t i = 0; i < consumer->open.count; i++) {
        book->queue[consumer->open.list[i].it.queue].requeued = true;
    }
    for (uint32_t i = 0; i < consumer->uncommitted.count; i++) {
        book->queue[consumer->uncommitted.list[i].it.queue].requeued = true;
    }
    for (uint32_t i = 0; i < book->queues; i++) {
        if (consumer->queues >> i & 1) {
            book_unsubscribed(book, consumer->subscription[i]);
            book->queue[i].requeued = true; /* something may have been on its way here */
        }
    }
    book->queue[consumer->get_queue].requeued = true; /* an answer may have been, too */
}

static void
consumer_forget(struct graph_consumer *consumer)
{
    consumer_unsubscribes(consumer);
    consumer->queues = 0;
    consumer->told = 0;
    consumer->consuming = UINT32_MAX;
    consumer->open.count = 0;
    consumer->uncommitted.count = 0;
    book_order_forget(&consumer->order);
}

static void
consumer_gone(struct pilot *pilot)
{
    struct graph_consumer *consumer = consumer_of(pilot);
    struct book *book = &consumer->graph->book;
    const bool crashed = pilot->deaths != consumer->graph->scene->deaths;
    const bool certain = pilot->client.closed_in_order && !crashed;
    for (uint32_t i = 0; i < consumer->acked.count && certain; i++) {
        book_settled(book, &consumer->acked.list[i].it, false);
    }
    consumer->acked.count = 0;
    for (uint32_t i = 0; i < consumer->uncommitted.count && consumer->committing; i++) {
        book_acked(book, &consumer->uncommitted.list[i].it); /* maybe */
    }
    for (uint32_t i = 0; i < book->queues; i++) {
        if (consumer->no_ack && (consumer->queues >> i & 1) && !pilot->client.closed_in_order) {
            /* Nobody knows when the broker sees that; of its own end it does. */
            book->queue[i].lossy_ns =
                crashed ? LP_MAX(book->queue[i].lossy_ns, book->now_ns) : UINT64_MAX;
        }
    }
    consumer_forget(consumer);
}

/* ---- what arrives ---- */

static bool
consumer_method(struct pilot *pilot, uint32_t id, struct lp_reader *args)
{
    struct graph_consumer *consumer = consumer_of(pilot);
    struct book *book = &consumer->graph->book;
    (void)args;
    switch (id) {
    case SIM_METHOD(60, 21): /* consume-ok */
        consumer->told |= 1u << consumer->consuming;
        book_subscribed(book, consumer->subscription[consumer->consuming]);
        return false;
    case SIM_METHOD(20, 41): /* channel.close-ok */
        consumer_forget(consumer);
        return false;
    case SIM_METHOD(60, 31): /* cancel-ok */
        consumer->queues &= ~(1u << consumer->cancelling);
        consumer->told &= consumer->queues;
        return false;
    case SIM_METHOD(60, 111): /* recover-ok: what came before it comes again */
        for (uint32_t i = consumer->recovering; i < consumer->open.count; i++) {
            book_room(book, consumer->open.list[i].it.subscription, consumer->recover_ns);
        }
        consumer->open.count = 0;
        return false;
    case SIM_METHOD(90, 21): /* commit-ok: that is certain */
        consumer->committing = false;
        for (uint32_t i = 0; i < consumer->uncommitted.count; i++) {
            book_acked(book, &consumer->uncommitted.list[i].it);
            book_settled(book, &consumer->uncommitted.list[i].it, GRAPH_TX_KEPT);
        }
        consumer->uncommitted.count = 0;
        return false;
    case SIM_METHOD(90, 31): /* rollback-ok: they are unacknowledged again (C112) */
        for (uint32_t i = 0; i < consumer->uncommitted.count; i++) {
            deliveries_add(&consumer->open, &consumer->uncommitted.list[i]);
        }
        consumer->uncommitted.count = 0;
        return false;
    default:
        return false;
    }
}

static void
consumer_content(struct pilot *pilot, const struct sim_content *content)
{
    struct graph_consumer *consumer = consumer_of(pilot);
    struct graph *graph = consumer->graph;
    const bool got = content->method == 71;
    const uint32_t queue = got ? consumer->get_queue : graph_queue_of(content->tag);
    LP_ASSERT(content->method != 50 && queue < graph->book.queues);
    /* C114: nothing before consume-ok, and nothing after cancel-ok. */
    LP_ASSERT(got || (consumer->told >> queue & 1));
    const uint32_t subscription = got ? consumer->getter[queue] : consumer->subscription[queue];
    struct graph_delivery one = {.tag = content->delivery_tag};
    one.it = book_deliver(&graph->book, subscription, content, got ? consumer->get_ns : 0,
                          &consumer->order);
    scene_note(graph->scene, 4 + queue, one.it.publisher,
               one.it.sequence * 2 + content->redelivered);
    if (consumer->no_ack && !got) {
        book_acked(&graph->book, &one.it);
    } else {
        deliveries_add(&consumer->open, &one);
    }
}

/* ---- work ---- */

enum verdict {
    VERDICT_ACK,
    VERDICT_DISCARD,
    VERDICT_REQUEUE,
};

static void
settle_say(struct graph_consumer *consumer, uint64_t tag, bool multiple, enum verdict verdict)
{
    struct sim_client *client = &consumer->pilot.client;
    if (verdict == VERDICT_ACK) {
        say_ack(client, tag, multiple);
    } else if (!multiple && below(consumer, 2) == 0) {
        say_reject(client, tag, verdict == VERDICT_REQUEUE);
    } else {
        say_nack(client, tag, multiple, verdict == VERDICT_REQUEUE);
    }
}

/* Settle the delivery at `at` of the open ones, or all with lower tags, too. */
static void
settle(struct graph_consumer *consumer, uint32_t at, bool multiple, enum verdict verdict)
{
    struct book *book = &consumer->graph->book;
    const uint64_t tag = consumer->open.list[at].tag;
    settle_say(consumer, tag, multiple, verdict);
    for (uint32_t i = 0; i < consumer->open.count;) {
        const struct graph_delivery one = consumer->open.list[i];
        if (one.tag != tag && (!multiple || one.tag > tag)) {
            i++;
            continue;
        }
        deliveries_cut(&consumer->open, i, 1);
        book_room(book, one.it.subscription, book->now_ns);
        if (verdict == VERDICT_REQUEUE) {
            book->queue[one.it.queue].requeued = true;
            continue;
        }
        if (consumer->transactional) { /* nothing is said before the commit */
            deliveries_add(&consumer->uncommitted, &one);
            continue;
        }
        if (verdict == VERDICT_ACK) {
            book_acked(book, &one.it);
        } else {
            book_rejected(book, &one.it);
        }
        deliveries_add(&consumer->acked, &one);
    }
}

static void
settle_some(struct graph_consumer *consumer)
{
    if (consumer->open.count == 0) {
        return;
    }
    const uint32_t kind = below(consumer, 20);
    const uint32_t any = below(consumer, consumer->open.count);
    const bool rejects = (consumer->graph->features & (GRAPH_DEAD | GRAPH_QUORUM)) != 0;
    if (kind < 8) {
        settle(consumer, 0, false, VERDICT_ACK);
    } else if (kind < 13) {
        settle(consumer, any, true, VERDICT_ACK);
    } else if (kind < 15 || consumer->gentle) {
        settle(consumer, any, false, VERDICT_ACK);
    } else if (kind < 18 && rejects && !consumer->transactional) {
        settle(consumer, any, below(consumer, 3) == 0, VERDICT_DISCARD);
    } else if (!consumer->transactional) {
        settle(consumer, any, below(consumer, 2) == 0, VERDICT_REQUEUE);
    }
}

static void
consumer_get(struct graph_consumer *consumer)
{
    char name[24];
    const uint32_t queue = below(consumer, consumer->graph->book.queues);
    if (consumer->graph->book.queue[queue].quorum && consumer->graph->book.queue[queue].sole) {
        return; /* C120: 405 */
    }
    if (consumer->getter[queue] == 0) {
        consumer->getter[queue] = book_subscribe(&consumer->graph->book, queue, 0, true);
    }
    consumer->get_queue = queue;
    consumer->get_ns = consumer->graph->scene->now_ns;
    pilot_wait(&consumer->pilot);
    say_get(&consumer->pilot.client, graph_queue_name(queue, name), false);
}

static void
consumer_cancel(struct graph_consumer *consumer)
{
    char name[24];
    if (consumer->queues == 0 || consumer->no_ack) {
        return;
    }
    const uint32_t queue = (uint32_t)__builtin_ctz(consumer->queues);
    pilot_wait(&consumer->pilot);
    consumer->cancelling = queue;
    consumer->graph->book.queue[queue].requeued = true; /* what was on its way */
    book_unsubscribed(&consumer->graph->book, consumer->subscription[queue]);
    say_cancel(&consumer->pilot.client, graph_queue_name(queue, name));
}

static void
consumer_recover(struct graph_consumer *consumer)
{
    struct book *book = &consumer->graph->book;
    if (consumer->transactional || consumer->gentle) {
        return;
    }
    for (uint32_t i = 0; i < consumer->open.count; i++) {
        book_room(book, consumer->open.list[i].it.subscription, book->now_ns);
        book->queue[consumer->open.list[i].it.queue].requeued = true;
    }
    for (uint32_t i = 0; i < book->queues; i++) {
        if (consumer->queues >> i & 1) {
            book->queue[i].requeued = true; /* what is on its way comes back, too */
        }
    }
    consumer->recovering = consumer->open.count;
    consumer->recover_ns = book->now_ns;
    pilot_wait(&consumer->pilot);
    say_recover(&consumer->pilot.client);
}

static void
consumer_odd(struct graph_consumer *consumer)
{
    switch (below(consumer, 6)) {
    case 0:
    case 1:
    case 2:
        consumer_get(consumer);
        return;
    case 3:
        consumer_cancel(consumer);
        return;
    case 4:
        consumer_recover(consumer);
        return;
    default:
        if (!consumer->no_ack) {
            pilot_wait(&consumer->pilot);
            consumer_unsubscribes(consumer);
            say_channel_close(&consumer->pilot.client);
        }
        return;
    }
}

static void
transaction_end(struct graph_consumer *consumer)
{
    pilot_wait(&consumer->pilot);
    if (below(consumer, 4) == 0) {
        say_tx_rollback(&consumer->pilot.client);
    } else {
        consumer->committing = true;
        say_tx_commit(&consumer->pilot.client);
    }
}

static bool
consumer_work(struct pilot *pilot)
{
    struct graph_consumer *consumer = consumer_of(pilot);
    struct scene *scene = consumer->graph->scene;
    if (scene->calm || consumer->todo == 0) {
        consumer_unsubscribes(consumer);
        pilot_close(pilot);
        return true;
    }
    consumer->todo--;
    if (consumer->transactional && consumer->uncommitted.count > below(consumer, 30)) {
        transaction_end(consumer);
    } else if (below(consumer, 12) == 0) {
        consumer_odd(consumer);
    } else {
        settle_some(consumer);
    }
    if (below(consumer, 40) == 0) {
        pilot->pause_until_ns =
            scene->now_ns + lp_sim_random_between(&scene->random, 1000000, 300000000);
    }
    return true;
}

static const struct pilot_ops consumer_ops = {
    .script = consumer_script,
    .work = consumer_work,
    .method = consumer_method,
    .content = consumer_content,
    .gone = consumer_gone,
};

void
graph_consumer_init(struct graph_consumer *consumer, struct graph *graph)
{
    consumer->graph = graph;
    pilot_init(&consumer->pilot, graph->scene, &consumer_ops);
    consumer->pilot.lives = 1 + scene_below(graph->scene, 6);
}

void
graph_consumer_fini(struct graph_consumer *consumer)
{
    pilot_fini(&consumer->pilot);
    free(consumer->open.list);
    free(consumer->acked.list);
    free(consumer->uncommitted.list);
    book_order_fini(&consumer->order);
}
