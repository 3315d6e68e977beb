/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph_keeper.c - makes the queues, meddles while others work, and at the
 * end counts, empties and deletes.
 */
#include <lepus/queue_settings.h>
#include <stdio.h>

#include "tests/sim/graph.h"
#include "tests/sim/say.h"

/* Long enough for every chain of TTLs: 8 queues of at most 2 s. */
#define EXPIRY_NS  20000000000u
#define SETTLED_NS 3000000000u /* nothing came for so long: nothing will */

static uint32_t
below(struct graph_keeper *keeper, uint32_t bound)
{
    return scene_below(keeper->graph->scene, bound);
}

static struct graph_keeper *
keeper_of(struct pilot *pilot)
{
    return LP_CONTAINER_OF(pilot, struct graph_keeper, pilot);
}

/* ---- making ---- */

static bool
say_queue(struct graph_keeper *keeper, uint32_t number)
{
    const struct book *book = &keeper->graph->book;
    uint8_t scratch[512];
    char name[24];
    if (number >= book->queues) {
        return false;
    }
    const struct lp_bytes arguments =
        graph_arguments(&book->queue[number], scratch, sizeof(scratch));
    say_queue_declare_with(&keeper->pilot.client, graph_queue_name(number, name), 2, arguments);
    return true;
}

/* The n-th exchange and binding of a queue's dead letters: each variant has its own fanout. */
static bool
say_dead(struct graph_keeper *keeper, uint32_t number, uint32_t n)
{
    const struct book *book = &keeper->graph->book;
    char name[24];
    for (uint32_t v = 0; v < book->queue[number].variants; v++) {
        const struct book_settings *it = &book->queue[number].variant[v];
        if (strncmp(it->exchange, "x.fan", 5) != 0) {
            continue;
        }
        if (n == 0) {
            say_exchange_declare(&keeper->pilot.client, it->exchange, "fanout");
            return true;
        }
        n--;
        for (uint32_t to = 0; to < book->queues; to++) {
            if ((it->targets >> to & 1) && n-- == 0) {
                say_queue_bind(&keeper->pilot.client, graph_queue_name(to, name), it->exchange, "");
                return true;
            }
        }
    }
    return false;
}

static bool
say_rest(struct graph_keeper *keeper, uint32_t step)
{
    const struct book *book = &keeper->graph->book;
    struct sim_client *client = &keeper->pilot.client;
    char name[24];
    if (step < 2) {
        say_exchange_declare(client, step == 0 ? "x.all" : "x.direct",
                             step == 0 ? "fanout" : "direct");
        return true;
    }
    step -= 2;
    if (step < 2 * book->queues) {
        graph_queue_name(step / 2, name);
        say_queue_bind(client, name, step % 2 ? "x.direct" : "x.all", step % 2 ? name : "");
        return true;
    }
    /* `at` is the queue whose dead letters' exchanges are being made, since step `looking`. */
    while (keeper->at < book->queues) {
        if (say_dead(keeper, keeper->at, step - 2 * book->queues - keeper->looking)) {
            return true;
        }
        keeper->at++;
        keeper->looking = step - 2 * book->queues;
    }
    return false;
}

static bool
keeper_script(struct pilot *pilot, uint32_t step)
{
    struct graph_keeper *keeper = keeper_of(pilot);
    const uint32_t shards = keeper->graph->scene->shard_count;
    if (keeper->state != KEEPER_MAKES) {
        return false; /* the node died: everything is there again */
    }
    if (pilot->lives > 0) {
        return say_queue(keeper, pilot->client.shard + step * shards);
    }
    if (step == 0) {
        keeper->at = 0;
        keeper->looking = 0;
    }
    return say_rest(keeper, step);
}

/* ---- policies ---- */

static void
policy_answered(void *context, bool ok, const char *answer)
{
    struct graph_keeper *keeper = context;
    struct scene *scene = keeper->graph->scene;
    book_variant_answered(&keeper->graph->book, keeper->asked, ok);
    /* Nothing to clear: it was cleared before, and shards may not know yet. */
    ok = ok || strstr(answer, "does not exist") != NULL;
    keeper->asking = false;
    keeper->answered = ok;
    if (!ok && strstr(answer, "not found") != NULL) {
        (void)snprintf(scene->refused, sizeof(scene->refused), "%s", answer);
    } else if (!ok && strstr(answer, "could not be stored") == NULL) {
        (void)fprintf(stderr, "policy: %s\n", answer);
        LP_ASSERT(!"a policy that is right was refused");
    }
}

/* Ask for the queue's current variant; false: nobody to ask now. */
static bool
policy_ask(struct graph_keeper *keeper, uint32_t number)
{
    const struct book_queue *queue = &keeper->graph->book.queue[number];
    char definition[400];
    char request[600];
    graph_policy(&queue->variant[queue->current], definition, sizeof(definition));
    if (definition[0] == '\0') {
        (void)snprintf(request, sizeof(request),
                       "{\"command\":\"clear_policy\",\"args\":[\"p%u\"],\"options\":{"
                       "\"vhost\":\"/\"}}",
                       number);
    } else {
        (void)snprintf(request, sizeof(request),
                       "{\"command\":\"set_policy\",\"args\":[\"p%u\",\"^g%u$\",\"%s\"],"
                       "\"options\":{\"vhost\":\"/\",\"apply-to\":\"queues\"}}",
                       number, number, definition);
    }
    keeper->asking = true;
    keeper->answered = false;
    keeper->asked = number;
    book_variant_asked(&keeper->graph->book, number);
    if (!scene_admin(keeper->graph->scene, request, policy_answered, keeper)) {
        keeper->asking = false;
        return false;
    }
    return true;
}

/* One after the other, each until it is done. */
static bool
work_rules(struct graph_keeper *keeper)
{
    const struct book *book = &keeper->graph->book;
    if (keeper->asking) {
        return false;
    }
    if (keeper->answered) {
        keeper->at++;
    }
    keeper->answered = false;
    while (keeper->at < book->queues && !book->queue[keeper->at].by_policy) {
        keeper->at++;
    }
    if (keeper->at < book->queues) {
        return policy_ask(keeper, keeper->at);
    }
    keeper->state = KEEPER_MEDDLES;
    keeper->graph->scene->set_up = true;
    return true;
}

/* ---- while others work ---- */

static void
say_look(struct graph_keeper *keeper, uint32_t queue)
{
    char name[24];
    keeper->looking = queue;
    pilot_wait(&keeper->pilot);
    say_queue_declare(&keeper->pilot.client, graph_queue_name(queue, name), 1);
}

static bool
work_meddles(struct graph_keeper *keeper)
{
    struct graph *graph = keeper->graph;
    struct scene *scene = graph->scene;
    char name[24];
    const uint32_t number = below(keeper, graph->book.queues);
    struct book_queue *queue = &graph->book.queue[number];
    if (graph->draining) {
        keeper->state = KEEPER_WAITS;
        keeper->quiet_ns = 0;
        return true;
    }
    keeper->pilot.pause_until_ns =
        scene->now_ns + lp_sim_random_between(&scene->random, 1000000, 100000000);
    if ((graph->features & GRAPH_PURGE) && below(keeper, 10) == 0) {
        keeper->looking = number;
        keeper->purging = true;
        pilot_wait(&keeper->pilot);
        say_queue_purge(&keeper->pilot.client, graph_queue_name(number, name));
    } else if (queue->by_policy && queue->variants > 1 && !keeper->asking) {
        queue->current = below(keeper, queue->variants);
        (void)policy_ask(keeper, number); /* dead now: it keeps what it has */
    } else {
        say_look(keeper, number);
    }
    return true;
}

/* No more ready messages than its limit, where that is certain. */
static void
check_count(const struct graph_keeper *keeper, uint64_t count)
{
    const struct book_queue *queue = &keeper->graph->book.queue[keeper->looking];
    const struct book_settings *it = &queue->variant[queue->current];
    if (!queue->certain || it->max_length == BOOK_NONE) {
        return;
    }
    /* What must be read first to become a dead letter is dropped a little later, page by page. */
    const bool late = keeper->graph->book.kept;
    if (it->overflow == LP_OVERFLOW_DROP_HEAD) {
        LP_ASSERT(count <= (uint64_t)it->max_length || late);
    } else if (!queue->requeued && queue->variants == 1) {
        LP_ASSERT(count <= (uint64_t)it->max_length + queue->quorum);
    }
}

/* Everybody has been gone for long. */
static void
check_audit(const struct graph_keeper *keeper, uint64_t count)
{
    const struct book_queue *queue = &keeper->graph->book.queue[keeper->looking];
    if (book_ttl_most(queue) != INT64_MAX) {
        LP_ASSERT(count == 0); /* all have expired */
    }
    check_count(keeper, count);
}

/* ---- the end ---- */

static bool
others_away(const struct graph *graph)
{
    for (uint32_t i = 0; i < graph->publishers; i++) {
        if (!pilot_away(&graph->publisher[i].pilot)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < graph->consumers; i++) {
        if (!pilot_away(&graph->consumer[i].pilot)) {
            return false;
        }
    }
    return true;
}

static bool
work_waits(struct graph_keeper *keeper)
{
    const uint64_t now_ns = keeper->graph->scene->now_ns;
    if (!others_away(keeper->graph) || keeper->asking) {
        return false;
    }
    if (keeper->quiet_ns == 0) {
        keeper->quiet_ns = now_ns;
    }
    if (now_ns - keeper->quiet_ns < EXPIRY_NS) {
        return false;
    }
    keeper->state = KEEPER_AUDITS;
    keeper->at = 0;
    return true;
}

static bool
work_audits(struct graph_keeper *keeper)
{
    if (keeper->at < keeper->graph->book.queues) {
        say_look(keeper, keeper->at++);
        return true;
    }
    keeper->state = KEEPER_CONSUMES;
    keeper->order.all = true;
    keeper->at = 0;
    keeper->last_tag = 0;
    keeper->quiet_ns = keeper->graph->scene->now_ns;
    return true;
}

static bool
work_consumes(struct graph_keeper *keeper)
{
    struct graph *graph = keeper->graph;
    char name[24];
    if (keeper->at < graph->book.queues) {
        const uint32_t queue = keeper->at++;
        keeper->subscription[queue] = book_subscribe(&graph->book, queue, 0, false);
        pilot_wait(&keeper->pilot);
        say_consume(&keeper->pilot.client, graph_queue_name(queue, name), name, false);
        return true;
    }
    if (keeper->last_tag > 0) {
        say_ack(&keeper->pilot.client, keeper->last_tag, true);
        keeper->last_tag = 0;
        keeper->quiet_ns = graph->scene->now_ns;
        return true;
    }
    if (graph->scene->now_ns - keeper->quiet_ns < SETTLED_NS) {
        return false;
    }
    keeper->state = KEEPER_DELETES;
    keeper->at = 0;
    return true;
}

static bool
work_deletes(struct graph_keeper *keeper)
{
    char name[24];
    if (keeper->at < keeper->graph->book.queues) {
        pilot_wait(&keeper->pilot);
        say_queue_delete(&keeper->pilot.client, graph_queue_name(keeper->at++, name));
        return true;
    }
    keeper->state = KEEPER_DONE;
    pilot_close(&keeper->pilot);
    return true;
}

static bool
keeper_work(struct pilot *pilot)
{
    struct graph_keeper *keeper = keeper_of(pilot);
    switch (keeper->state) {
    case KEEPER_MAKES:
        if (pilot->lives > 0) {
            pilot->shard = pilot->lives > 1 ? pilot->lives - 2 : UINT32_MAX;
            pilot_close(pilot);
        } else {
            keeper->state = KEEPER_RULES;
            keeper->at = 0;
        }
        return true;
    case KEEPER_RULES:
        return work_rules(keeper);
    case KEEPER_MEDDLES:
        return work_meddles(keeper);
    case KEEPER_WAITS:
        return work_waits(keeper);
    case KEEPER_AUDITS:
        return work_audits(keeper);
    case KEEPER_CONSUMES:
        return work_consumes(keeper);
    case KEEPER_DELETES:
        return work_deletes(keeper);
    case KEEPER_DONE:
        return false;
    }
    return false;
}

/* ---- what arrives ---- */

static bool
keeper_method(struct pilot *pilot, uint32_t id, struct lp_reader *args)
{
    struct graph_keeper *keeper = keeper_of(pilot);
    struct book *book = &keeper->graph->book;
    if (id == SIM_METHOD(50, 11) && pilot->ready) {
        (void)lp_reader_short(args);
        const uint32_t count = lp_reader_u32be(args);
        check_count(keeper, count);
        if (keeper->state == KEEPER_AUDITS) {
            check_audit(keeper, count);
        }
        scene_note(keeper->graph->scene, 3, keeper->looking, count);
    }
    if (id == SIM_METHOD(50, 31)) {
        keeper->purging = false;
        book->queue[keeper->looking].purged_ns = book->now_ns;
    }
    if (id == SIM_METHOD(60, 21)) {
        book_subscribed(book, keeper->subscription[keeper->at - 1]);
    }
    return false;
}

static void
keeper_content(struct pilot *pilot, const struct sim_content *content)
{
    struct graph_keeper *keeper = keeper_of(pilot);
    struct graph *graph = keeper->graph;
    const uint32_t queue = graph_queue_of(content->tag);
    LP_ASSERT(content->method == 60 && queue < graph->book.queues);
    const struct book_delivery delivery =
        book_deliver(&graph->book, keeper->subscription[queue], content, 0, &keeper->order);
    book_acked(&graph->book, &delivery); /* it will be, in a moment */
    keeper->last_tag = content->delivery_tag;
    scene_note(graph->scene, 4 + queue, delivery.publisher,
               delivery.sequence * 2 + content->redelivered);
}

/* Without an answer a purge was done or not. */
static void
keeper_gone(struct pilot *pilot)
{
    struct graph_keeper *keeper = keeper_of(pilot);
    struct book *book = &keeper->graph->book;
    if (keeper->purging) {
        book->queue[keeper->looking].purged_ns = book->now_ns;
        keeper->purging = false;
    }
    if (keeper->graph->scene->set_up && keeper->state != KEEPER_DONE) {
        pilot->lives = 1;
    }
}

static const struct pilot_ops keeper_ops = {
    .script = keeper_script,
    .work = keeper_work,
    .method = keeper_method,
    .content = keeper_content,
    .gone = keeper_gone,
};

void
graph_keeper_init(struct graph_keeper *keeper, struct graph *graph)
{
    keeper->graph = graph;
    pilot_init(&keeper->pilot, graph->scene, &keeper_ops);
    keeper->pilot.accident = 0;
    keeper->pilot.lives = graph->scene->shard_count + 1;
    keeper->pilot.shard = graph->scene->shard_count - 1;
}

bool
graph_keeper_drained(const struct graph_keeper *keeper)
{
    return keeper->state == KEEPER_DONE && pilot_away(&keeper->pilot);
}
