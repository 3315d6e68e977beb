/* SPDX-License-Identifier: Apache-2.0 */
/*
 * actor_role.c - what publishers, consumers, passers-by and the drainer do.
 *
 * Each life starts with a script of synchronous methods (setup_next), one
 * answer at a time; then the actor is ready and works at random.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/actor.h"
#include "tests/sim/say.h"

#define BODY_BYTES_MAX (40u * 1024u)
#define WINDOW_MAX     200u

static uint32_t
below(struct actor *actor, uint32_t bound)
{
    return (uint32_t)lp_sim_random_below(&actor->load->random, bound);
}

static const char *
queue_name(uint32_t queue, char *scratch)
{
    (void)snprintf(scratch, 16, "q%u", queue);
    return scratch;
}

/* ---- scripts ---- */

/* The topology, one life on each shard for its share of the queues, a last one for the rest. */
static bool
setup_topology(struct actor *actor, uint32_t step)
{
    struct workload *load = actor->load;
    char name[16];
    char key[32];
    if (actor->lives > 0) {
        const uint32_t queue = actor->client.shard + step * load->shard_count;
        if (queue >= load->queue_count) {
            return false;
        }
        say_queue_declare(&actor->client, queue_name(queue, name), 2);
        return true;
    }
    if (step < 3) {
        static const char *const exchange[][2] = {
            {"x.direct", "direct"}, {"x.fanout", "fanout"}, {"x.topic", "topic"}};
        say_exchange_declare(&actor->client, exchange[step][0], exchange[step][1]);
        return true;
    }
    step -= 3;
    const uint32_t queue = step / 5;
    if (queue >= load->queue_count) {
        load->set_up = true;
        return false;
    }
    queue_name(queue, name);
    switch (step % 5) {
    case 0:
        (void)snprintf(key, sizeof(key), "k%u", queue);
        say_queue_bind(&actor->client, name, "x.direct", key);
        return true;
    case 1:
        say_queue_bind(&actor->client, name, "x.direct", queue % 2 == 0 ? "even" : "odd");
        return true;
    case 2:
        say_queue_bind(&actor->client, name, "x.fanout", "");
        return true;
    case 3:
        (void)snprintf(key, sizeof(key), "a.%u.#", queue);
        say_queue_bind(&actor->client, name, "x.topic", key);
        return true;
    default:
        say_queue_bind(&actor->client, name, "x.topic",
                       queue % 3 == 0 ? "*.third.*" : "never.matches");
        return true;
    }
}

static bool
setup_consumer(struct actor *actor, uint32_t step)
{
    struct workload *load = actor->load;
    char name[16];
    if (step == 0) {
        static const uint16_t prefetch[] = {0, 1, 3, 20};
        actor->no_ack = below(actor, 6) == 0;
        actor->queues = 0;
        say_qos(&actor->client, prefetch[below(actor, 4)], below(actor, 3) == 0);
        return true;
    }
    if (step > 1 + below(actor, 3)) {
        return false;
    }
    const uint32_t queue = below(actor, load->queue_count);
    if (actor->queues & (1u << queue)) {
        return false;
    }
    actor->queues |= 1u << queue;
    queue_name(queue, name);
    say_consume(&actor->client, name, name, actor->no_ack);
    return true;
}

static bool
setup_passer(struct actor *actor, uint32_t step)
{
    switch (step) {
    case 0:
        /* Exclusive, so that it goes with the connection; every other one auto-delete as well. */
        say_queue_declare(&actor->client, "", below(actor, 2) ? 4 : 12);
        return true;
    case 1:
        say_queue_bind(&actor->client, "", "x.fanout", "");
        return true;
    case 2:
        say_qos(&actor->client, 10, false);
        return true;
    case 3:
        say_consume(&actor->client, "", "passer", false);
        return true;
    default:
        return false;
    }
}

static bool
setup_drainer(struct actor *actor, uint32_t step)
{
    char name[16];
    if (step == 0) {
        say_qos(&actor->client, 50, false);
        return true;
    }
    if (step - 1 < actor->load->queue_count) {
        queue_name(step - 1, name);
        actor->queues |= 1u << (step - 1);
        say_consume(&actor->client, name, name, false);
        return true;
    }
    return false;
}

/* The next method of the script; false: there is none, the actor is ready. */
static bool
setup_next(struct actor *actor)
{
    const uint32_t step = actor->setup_step++;
    if (step == 0) {
        say_channel_open(&actor->client);
        return true;
    }
    switch (actor->role) {
    case ACTOR_PUBLISHER:
        if (step == 1) {
            actor->publisher = ledger_publisher_add(&actor->load->ledger);
            say_confirm_select(&actor->client);
            return true;
        }
        return false;
    case ACTOR_CONSUMER:
        return setup_consumer(actor, step - 1);
    case ACTOR_PASSER:
        return setup_passer(actor, step - 1);
    case ACTOR_DRAINER:
        return actor->load->calm ? setup_drainer(actor, step - 1) : setup_topology(actor, step - 1);
    }
    return false;
}

static void
setup_step(struct actor *actor)
{
    if (!setup_next(actor)) {
        actor->ready = true;
    }
}

void
actor_opened(struct sim_client *client)
{
    setup_step(client->user);
}

/* ---- what arrives ---- */

static void
actor_confirm(struct actor *actor, struct lp_reader *args)
{
    const uint64_t tag = lp_reader_u64be(args);
    const bool multiple = lp_reader_u8(args) & 1;
    struct ledger *ledger = &actor->load->ledger;
    const uint64_t first = multiple ? actor->confirmed_upto + 1 : tag;
    LP_ASSERT(tag <= actor->published);
    for (uint64_t number = first; number <= tag; number++) {
        ledger_confirm(ledger, actor->publisher, number);
    }
    if (multiple) {
        actor->confirmed_upto = tag;
    }
    const struct ledger_message *message = ledger->publisher[actor->publisher].message;
    while (actor->confirmed_upto < actor->published && message[actor->confirmed_upto].confirmed) {
        actor->confirmed_upto++;
    }
}

void
actor_method(struct sim_client *client, uint16_t channel, uint32_t id, struct lp_reader *args)
{
    struct actor *actor = client->user;
    (void)channel;
    switch (id) {
    case SIM_METHOD(60, 80):
        actor_confirm(actor, args);
        return;
    case SIM_METHOD(20, 40): {
        const uint16_t code = lp_reader_u16be(args);
        const struct lp_bytes text = lp_reader_short(args);
        (void)fprintf(stderr, "channel.close %u %.*s\n", code, (int)text.size,
                      (const char *)text.data);
        LP_ASSERT(!"the broker closed a channel of a client that did nothing wrong");
        return;
    }
    case SIM_METHOD(20, 41): /* channel.close-ok: everything was requeued; begin again */
        actor->open_count = 0;
        actor->setup_step = 0;
        actor->ready = false;
        actor->waiting = false;
        if (actor->last_first) {
            memset(actor->last_first, 0,
                   (size_t)actor->last_room * LEDGER_QUEUES_MAX * sizeof(*actor->last_first));
        }
        setup_step(actor);
        return;
    case SIM_METHOD(60, 111): /* recover-ok: what came before it comes again */
        actor->open_count = 0;
        actor->waiting = false;
        return;
    case SIM_METHOD(50, 41): /* queue.delete-ok */
    case SIM_METHOD(40, 21): /* exchange.delete-ok */
        actor->waiting = false;
        return;
    default:
        /* An answer: to the script, or to the one operation that waits. */
        if (actor->ready) {
            actor->waiting = false;
        } else {
            setup_step(actor);
        }
        return;
    }
}

static void
deliveries_add(struct actor_delivery **list, uint32_t *count, uint32_t *room,
               const struct actor_delivery *one)
{
    if (*count == *room) {
        *room = *room * 2 + 32;
        *list = realloc(*list, *room * sizeof(**list));
        LP_ASSERT(*list);
    }
    (*list)[(*count)++] = *one;
}

static uint64_t *
actor_last_first(struct actor *actor, uint32_t publisher, uint32_t queue)
{
    if (publisher >= actor->last_room) {
        const uint32_t room = publisher * 2 + 8;
        actor->last_first =
            realloc(actor->last_first, (size_t)room * LEDGER_QUEUES_MAX * sizeof(uint64_t));
        LP_ASSERT(actor->last_first);
        memset(actor->last_first + (size_t)actor->last_room * LEDGER_QUEUES_MAX, 0,
               (size_t)(room - actor->last_room) * LEDGER_QUEUES_MAX * sizeof(uint64_t));
        actor->last_room = room;
    }
    return &actor->last_first[(size_t)publisher * LEDGER_QUEUES_MAX + queue];
}

void
actor_content(struct sim_client *client, uint16_t channel, const struct sim_content *content)
{
    struct actor *actor = client->user;
    struct ledger *ledger = &actor->load->ledger;
    struct actor_delivery one = {.tag = content->delivery_tag};
    (void)channel;
    ledger_body_read(content->body, &one.publisher, &one.sequence);
    if (content->method == 50) {
        LP_ASSERT(one.publisher == actor->publisher);
        ledger_return(ledger, one.publisher, one.sequence);
        return;
    }
    const bool got = content->method == 71;
    if (got) {
        actor->waiting = false;
    }
    if (actor->role == ACTOR_PASSER) {
        deliveries_add(&actor->open, &actor->open_count, &actor->open_room, &one);
        return;
    }
    one.queue = got ? actor->get_queue : (uint32_t)(content->tag.data[1] - '0');
    const struct ledger_delivery delivery = {one.queue, one.publisher, one.sequence,
                                             content->redelivered, actor->connected_ns};
    ledger_deliver(ledger, &delivery, actor_last_first(actor, one.publisher, one.queue));
    if (!actor->no_ack || got) {
        deliveries_add(&actor->open, &actor->open_count, &actor->open_room, &one);
    }
}

/* ---- work ---- */

/* Which queues a message goes to: the model of the topology above. */
static uint32_t
targets_of(const struct workload *load, uint32_t kind, uint32_t queue)
{
    const uint32_t all = (1u << load->queue_count) - 1;
    uint32_t targets = 0;
    switch (kind) {
    case 0: /* default exchange, and x.direct by key, and x.topic a.<i> */
    case 1:
    case 4:
        return 1u << queue;
    case 2: /* x.direct "even" */
        for (uint32_t i = 0; i < load->queue_count; i += 2) {
            targets |= 1u << i;
        }
        return targets;
    case 3: /* x.fanout */
        return all;
    case 5: /* x.topic "x.third.y" */
        for (uint32_t i = 0; i < load->queue_count; i += 3) {
            targets |= 1u << i;
        }
        return targets;
    default: /* nowhere */
        return 0;
    }
}

static void
publish_one(struct actor *actor)
{
    struct workload *load = actor->load;
    static uint8_t body[BODY_BYTES_MAX]; /* filled before each use */
    static const char *const exchange[] = {"",        "x.direct", "x.direct", "x.fanout",
                                           "x.topic", "x.topic",  "x.direct"};
    char key[32];
    const uint32_t kind = below(actor, 7);
    const uint32_t queue = below(actor, load->queue_count);
    const bool mandatory = below(actor, 2) == 0;
    const uint32_t sizes[] = {0, 100, 3000, BODY_BYTES_MAX - LEDGER_BODY_BYTES_MIN};
    const uint32_t bytes = LEDGER_BODY_BYTES_MIN + below(actor, sizes[below(actor, 4)] + 1);
    const uint32_t targets = targets_of(load, kind, queue);
    const uint64_t sequence = ledger_publish(&load->ledger, actor->publisher, targets, mandatory);

    switch (kind) {
    case 0:
        queue_name(queue, key);
        break;
    case 1:
        (void)snprintf(key, sizeof(key), "k%u", queue);
        break;
    case 2:
        (void)snprintf(key, sizeof(key), "even");
        break;
    case 4:
        (void)snprintf(key, sizeof(key), below(actor, 2) ? "a.%u" : "a.%u.b.c", queue);
        break;
    case 5:
        (void)snprintf(key, sizeof(key), "x.third.y");
        break;
    default:
        (void)snprintf(key, sizeof(key), "no.such.key");
        break;
    }
    ledger_body_write(body, bytes, actor->publisher, sequence);
    sim_publish(&actor->client, 1, exchange[kind], key, mandatory, lp_bytes_of(body, bytes));
    actor->published++;
}

static bool
work_publisher(struct actor *actor)
{
    if (sim_client_backlog(&actor->client) > 256u * 1024u) {
        return false;
    }
    if (actor->published < actor->todo) {
        if (actor->published - actor->confirmed_upto >= WINDOW_MAX) {
            return false;
        }
        for (uint32_t n = 1 + below(actor, 8); n > 0 && actor->published < actor->todo; n--) {
            publish_one(actor);
        }
        return true;
    }
    if (actor->confirmed_upto < actor->published) {
        return false;
    }
    actor->load->closes++;
    sim_client_close(&actor->client);
    return true;
}

/* Settle the delivery at `at` of the open ones, or all up to it. */
static void
settle(struct actor *actor, uint32_t at, bool multiple, bool acknowledge)
{
    const uint32_t first = multiple ? 0 : at;
    if (acknowledge) {
        say_ack(&actor->client, actor->open[at].tag, multiple);
        for (uint32_t i = first; i <= at; i++) {
            deliveries_add(&actor->acked, &actor->acked_count, &actor->acked_room, &actor->open[i]);
        }
    } else {
        say_nack(&actor->client, actor->open[at].tag, multiple, true);
    }
    memmove(&actor->open[first], &actor->open[at + 1],
            (actor->open_count - at - 1) * sizeof(*actor->open));
    actor->open_count -= at + 1 - first;
}

static void
settle_some(struct actor *actor)
{
    if (actor->open_count == 0) {
        return;
    }
    const uint32_t kind = below(actor, 10);
    if (kind < 5) {
        settle(actor, 0, false, true);
    } else if (kind < 8) {
        settle(actor, below(actor, actor->open_count), true, true);
    } else if (kind == 8) {
        settle(actor, below(actor, actor->open_count), false, true);
    } else {
        settle(actor, below(actor, actor->open_count), below(actor, 2) == 0, false);
    }
}

static void
work_consumer_odd(struct actor *actor)
{
    char name[16];
    struct workload *load = actor->load;
    switch (below(actor, 5)) {
    case 0:
        actor->get_queue = below(actor, load->queue_count);
        actor->waiting = true;
        say_get(&actor->client, queue_name(actor->get_queue, name), false);
        return;
    case 1:
        if (actor->queues != 0 && !actor->no_ack) {
            const uint32_t queue = (uint32_t)__builtin_ctz(actor->queues);
            actor->queues &= ~(1u << queue);
            actor->waiting = true;
            say_cancel(&actor->client, queue_name(queue, name));
        }
        return;
    case 2:
        actor->waiting = true;
        say_recover(&actor->client);
        return;
    case 3:
        if (!actor->no_ack) {
            actor->waiting = true;
            say_channel_close(&actor->client);
        }
        return;
    default:
        return;
    }
}

static bool
work_consumer(struct actor *actor)
{
    struct workload *load = actor->load;
    if (load->calm || actor->todo == 0) {
        load->closes++;
        sim_client_close(&actor->client);
        return true;
    }
    actor->todo--;
    if (below(actor, 20) == 0) {
        work_consumer_odd(actor);
    } else {
        settle_some(actor);
    }
    return true;
}

static bool
work_passer(struct actor *actor)
{
    if (actor->load->calm || actor->todo == 0) {
        sim_client_close(&actor->client);
        actor->load->closes++;
        return true;
    }
    actor->todo--;
    if (below(actor, 100) == 0) {
        actor->waiting = true; /* an auto-delete queue is gone when cancel-ok comes */
        say_cancel(&actor->client, "passer");
        return true;
    }
    if (actor->open_count > 0) {
        say_ack(&actor->client, actor->open[actor->open_count - 1].tag, true);
        actor->open_count = 0;
    }
    return true;
}

/* The end: acknowledge everything; when a queue stays empty, delete it. */
static bool
work_drainer(struct actor *actor)
{
    struct workload *load = actor->load;
    char name[16];
    if (!load->calm) {
        sim_client_close(&actor->client); /* its share of the set-up is done */
        return true;
    }
    if (actor->open_count > 0) {
        say_ack(&actor->client, actor->open[actor->open_count - 1].tag, true);
        actor->open_count = 0;
        actor->stall_until_ns = load->now_ns + 2000000000u;
        return true;
    }
    if (actor->stall_until_ns == 0) {
        actor->stall_until_ns = load->now_ns + 2000000000u;
    }
    if (load->now_ns < actor->stall_until_ns) {
        return false; /* quiet for two seconds: nothing more will come */
    }
    for (uint32_t i = 1; i < load->actor_count; i++) {
        if (load->actor[i].client.far != LP_HANDLE_NONE) {
            return false; /* others may still give messages back */
        }
    }
    if (actor->drained < load->queue_count) {
        say_queue_delete(&actor->client, queue_name(actor->drained++, name));
        actor->waiting = true;
        return true;
    }
    sim_client_close(&actor->client);
    return true;
}

bool
actor_work(struct actor *actor)
{
    switch (actor->role) {
    case ACTOR_PUBLISHER:
        return work_publisher(actor);
    case ACTOR_CONSUMER:
        return work_consumer(actor);
    case ACTOR_PASSER:
        return work_passer(actor);
    case ACTOR_DRAINER:
        return work_drainer(actor);
    }
    return false;
}
