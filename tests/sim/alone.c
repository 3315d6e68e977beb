/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alone.c - one client to a queue, one thing at a time: what comes out can be
 * said exactly, since nobody else is there.
 *
 * The model is a list by priority and position.  What is given back goes to
 * its old place and says that it comes again (C130, C131); over the limit the
 * oldest goes, or the new one is refused (C146 to C148); counts are exact
 * (C69, C81, C137).
 */
#include <lepus/queue_settings.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/crew.h"
#include "tests/sim/ledger.h"
#include "tests/sim/say.h"
#include "tests/sim/scenario_list.h"

#define LONERS_MAX   4u
#define MESSAGES_MAX 400u

struct piece {
    uint64_t number; /* its position as well */
    uint64_t tag;    /* unacknowledged: of this delivery */
    uint8_t level;
    bool again;
};

struct pieces {
    struct piece list[MESSAGES_MAX];
    uint32_t count;
};

struct loner {
    struct pilot pilot;
    struct alone *alone;
    uint32_t number;
    uint32_t todo;
    int64_t max_length; /* -1: none */
    bool refuses;
    uint8_t max_priority;
    uint64_t published;
    uint64_t base; /* messages of earlier channels: confirms begin anew */
    uint64_t confirmed;
    uint64_t told;                /* all up to this one */
    bool taken[MESSAGES_MAX + 2]; /* what is to be said of each */
    bool heard[MESSAGES_MAX + 2];
    struct pieces ready;
    struct pieces unacked;
    uint32_t prefetch;
    bool settled; /* and nothing was answered since */
    bool consuming;
    uint32_t wanted; /* deliveries that the consumer will get */
};

struct alone {
    struct scene *scene;
    struct crew crew;
    struct loner loner[LONERS_MAX];
    uint32_t loners;
    uint32_t deleted;
};

static const char *
queue_name(uint32_t queue, char *scratch)
{
    (void)snprintf(scratch, 24, "l%u", queue);
    return scratch;
}

/* ---- the model ---- */

static void
pieces_remove(struct pieces *pieces, uint32_t at)
{
    pieces->count--;
    memmove(&pieces->list[at], &pieces->list[at + 1],
            (pieces->count - at) * sizeof(pieces->list[0]));
}

/* In the order in which they will come. */
static void
ready_insert(struct loner *loner, struct piece piece)
{
    struct pieces *ready = &loner->ready;
    uint32_t at = 0;
    LP_ASSERT(ready->count < MESSAGES_MAX);
    while (at < ready->count &&
           (ready->list[at].level > piece.level ||
            (ready->list[at].level == piece.level && ready->list[at].number < piece.number))) {
        at++;
    }
    memmove(&ready->list[at + 1], &ready->list[at], (ready->count - at) * sizeof(piece));
    ready->list[at] = piece;
    ready->count++;
}

static void
ready_trim(struct loner *loner)
{
    while (!loner->refuses && loner->max_length >= 0 &&
           loner->ready.count > (uint64_t)loner->max_length) {
        pieces_remove(&loner->ready, 0);
    }
}

static void
requeue(struct loner *loner, uint32_t at)
{
    struct piece piece = loner->unacked.list[at];
    piece.again = true;
    pieces_remove(&loner->unacked, at);
    ready_insert(loner, piece);
}

static void
requeue_all(struct loner *loner)
{
    while (loner->unacked.count > 0) {
        requeue(loner, 0);
    }
    ready_trim(loner);
}

/* ---- what it does ---- */

static void
publish(struct loner *loner)
{
    struct scene *scene = loner->pilot.scene;
    uint8_t body[300];
    char name[24];
    struct piece piece = {.number = ++loner->published};
    const uint8_t priority = (uint8_t)scene_below(scene, 12);
    const bool has = scene_below(scene, 4) > 0;
    piece.level = has ? (uint8_t)LP_MIN(priority, loner->max_priority) : 0;
    const bool full = loner->max_length >= 0 && loner->ready.count >= (uint64_t)loner->max_length;
    loner->taken[piece.number] = !(loner->refuses && full);
    if (loner->taken[piece.number]) {
        ready_insert(loner, piece);
        ready_trim(loner);
    }
    const uint32_t bytes = LEDGER_BODY_BYTES_MIN + scene_below(scene, 280);
    ledger_body_write(body, bytes, loner->number, piece.number);
    const struct sim_message message = {
        .exchange = "",
        .key = queue_name(loner->number, name),
        .body = lp_bytes_of(body, bytes),
        .properties = {.has_priority = has, .priority = priority},
    };
    sim_publish_message(&loner->pilot.client, 1, &message);
    scene->published++;
}

static void
settle(struct loner *loner)
{
    struct scene *scene = loner->pilot.scene;
    const uint32_t any = scene_below(scene, loner->unacked.count);
    const uint64_t tag = loner->unacked.list[any].tag;
    const bool multiple = scene_below(scene, 2) == 0;
    const bool back = scene_below(scene, 3) > 0;
    if (back) {
        say_nack(&loner->pilot.client, tag, multiple, true);
    } else {
        say_ack(&loner->pilot.client, tag, multiple);
    }
    for (uint32_t i = 0; i < loner->unacked.count;) {
        const uint64_t its = loner->unacked.list[i].tag;
        if (its != tag && (!multiple || its > tag)) {
            i++;
        } else if (back) {
            requeue(loner, i);
        } else {
            pieces_remove(&loner->unacked, i);
        }
    }
    ready_trim(loner);
    loner->settled = true;
}

static void
consume(struct loner *loner)
{
    char name[24];
    const uint32_t prefetch = loner->prefetch;
    if (loner->ready.count == 0 || loner->unacked.count > 0) {
        return;
    }
    loner->consuming = true;
    loner->wanted = LP_MIN(prefetch, loner->ready.count);
    pilot_wait(&loner->pilot);
    say_consume(&loner->pilot.client, queue_name(loner->number, name), "c", false);
}

static void
look(struct loner *loner)
{
    char name[24];
    loner->settled = false;
    pilot_wait(&loner->pilot);
    say_queue_declare(&loner->pilot.client, queue_name(loner->number, name), 1);
}

/* What a channel settles and what it publishes meet in any order at the queue: limits would show
 * it, so it looks in between. */
static void
publish_some(struct loner *loner)
{
    if (loner->settled && loner->max_length >= 0) {
        look(loner);
        return;
    }
    for (uint32_t n = 1 + scene_below(loner->pilot.scene, 6);
         n > 0 && loner->published < MESSAGES_MAX; n--) {
        publish(loner);
    }
}

static void
loner_act(struct loner *loner)
{
    struct sim_client *client = &loner->pilot.client;
    char name[24];
    queue_name(loner->number, name);
    switch (scene_below(loner->pilot.scene, 16)) {
    case 0:
        look(loner);
        return;
    case 1:
        if (scene_below(loner->pilot.scene, 4) == 0) {
            pilot_wait(&loner->pilot);
            say_queue_purge(client, name);
        }
        return;
    case 2:
        pilot_wait(&loner->pilot);
        requeue_all(loner);
        say_recover(client);
        return;
    case 3:
        pilot_wait(&loner->pilot);
        requeue_all(loner);
        loner->base = loner->published;
        say_channel_close(client);
        return;
    case 4:
    case 5:
        consume(loner);
        return;
    case 6:
    case 7:
    case 8:
    case 9:
        pilot_wait(&loner->pilot);
        say_get(client, name, false);
        return;
    case 10:
    case 11:
    case 12:
        if (loner->unacked.count > 0) {
            settle(loner);
        }
        return;
    default:
        publish_some(loner);
        return;
    }
}

static bool
loner_work(struct pilot *pilot)
{
    struct loner *loner = LP_CONTAINER_OF(pilot, struct loner, pilot);
    char tag[] = "c";
    if (loner->confirmed < loner->published) {
        return false; /* its messages are on their way */
    }
    if (loner->consuming) {
        if (loner->wanted > 0) {
            return false;
        }
        pilot_wait(pilot);
        say_cancel(&pilot->client, tag);
        return true;
    }
    if (loner->todo == 0 || pilot->scene->calm) {
        pilot_close(pilot);
        return true;
    }
    loner->todo--;
    loner_act(loner);
    return true;
}

/* ---- what it hears ---- */

static bool
loner_script(struct pilot *pilot, uint32_t step)
{
    struct loner *loner = LP_CONTAINER_OF(pilot, struct loner, pilot);
    if (step == 0) {
        say_confirm_select(&pilot->client);
        return true;
    }
    if (step == 1) {
        loner->prefetch = 1 + scene_below(pilot->scene, 6);
        say_qos(&pilot->client, (uint16_t)loner->prefetch, false);
        return true;
    }
    return false;
}

static void
loner_told(struct loner *loner, struct lp_reader *args, bool taken)
{
    const uint64_t number = loner->base + lp_reader_u64be(args);
    const bool multiple = lp_reader_u8(args) & 1;
    LP_ASSERT(number <= loner->published);
    for (uint64_t n = multiple ? loner->told + 1 : number; n <= number; n++) {
        if (!loner->heard[n]) {
            LP_ASSERT(loner->taken[n] == taken);
            loner->heard[n] = true;
            loner->confirmed++;
            loner->pilot.scene->confirmed += taken;
        }
    }
    while (loner->told < loner->published && loner->heard[loner->told + 1]) {
        loner->told++;
    }
}

static bool
loner_method(struct pilot *pilot, uint32_t id, struct lp_reader *args)
{
    struct loner *loner = LP_CONTAINER_OF(pilot, struct loner, pilot);
    switch (id) {
    case SIM_METHOD(60, 80):
    case SIM_METHOD(60, 120):
        loner_told(loner, args, id == SIM_METHOD(60, 80));
        return true;
    case SIM_METHOD(60, 31):
        loner->consuming = false;
        return false;
    case SIM_METHOD(60, 72): /* get-empty */
        LP_ASSERT(loner->ready.count == 0);
        return false;
    case SIM_METHOD(50, 11):
        (void)lp_reader_short(args);
        LP_ASSERT(lp_reader_u32be(args) == loner->ready.count);
        return false;
    case SIM_METHOD(50, 31):
        LP_ASSERT(lp_reader_u32be(args) == loner->ready.count);
        loner->ready.count = 0;
        return false;
    default:
        return false;
    }
}

static void
loner_content(struct pilot *pilot, const struct sim_content *content)
{
    struct loner *loner = LP_CONTAINER_OF(pilot, struct loner, pilot);
    uint32_t who;
    uint64_t number;
    ledger_body_read(content->body, &who, &number);
    LP_ASSERT(who == loner->number);
    LP_ASSERT(loner->ready.count > 0);
    struct piece piece = loner->ready.list[0];
    LP_ASSERT(number == piece.number); /* the next one, and no other */
    LP_ASSERT(content->redelivered == piece.again);
    pieces_remove(&loner->ready, 0);
    if (content->method == 71) {
        LP_ASSERT(content->left == loner->ready.count);
    } else {
        LP_ASSERT(loner->consuming && loner->wanted > 0);
        loner->wanted--;
    }
    piece.tag = content->delivery_tag;
    LP_ASSERT(loner->unacked.count < MESSAGES_MAX);
    loner->unacked.list[loner->unacked.count++] = piece;
    pilot->scene->delivered++;
    pilot->scene->redelivered += content->redelivered;
    scene_note(pilot->scene, 1 + loner->number, number, content->redelivered);
}

static const struct pilot_ops loner_ops = {
    .script = loner_script,
    .work = loner_work,
    .method = loner_method,
    .content = loner_content,
};

/* ---- who makes the queues ---- */

static bool
maker_script(struct pilot *pilot, uint32_t step)
{
    struct alone *alone = LP_CONTAINER_OF(pilot, struct alone, crew.maker);
    uint8_t scratch[200];
    char name[24];
    if (step >= alone->loners) {
        return false;
    }
    const struct loner *loner = &alone->loner[step];
    struct lp_writer table = lp_writer_of(scratch, sizeof(scratch));
    if (loner->max_length >= 0) {
        table_integer(&table, "x-max-length", loner->max_length);
        table_text(&table, "x-overflow", loner->refuses ? "reject-publish" : "drop-head");
    }
    if (loner->max_priority > 0) {
        table_integer(&table, "x-max-priority", loner->max_priority);
    }
    say_queue_declare_with(&pilot->client, queue_name(step, name), 2, lp_writer_bytes(&table));
    return true;
}

static bool
maker_work(struct pilot *pilot)
{
    struct alone *alone = LP_CONTAINER_OF(pilot, struct alone, crew.maker);
    char name[24];
    pilot->scene->set_up = true;
    if (!pilot->scene->calm || !crew_away(&alone->crew)) {
        return false;
    }
    if (alone->deleted < alone->loners) {
        pilot_wait(pilot);
        say_queue_delete(&pilot->client, queue_name(alone->deleted++, name));
    } else {
        pilot_close(pilot);
    }
    return true;
}

static const struct pilot_ops maker_ops = {
    .script = maker_script,
    .work = maker_work,
};

/* ---- the scenario ---- */

static void *
alone_open(struct scene *scene, uint32_t flavour)
{
    struct alone *alone = calloc(1, sizeof(*alone));
    LP_ASSERT(alone);
    (void)flavour;
    alone->scene = scene;
    alone->loners = 1 + scene_below(scene, LONERS_MAX);
    crew_init(&alone->crew, scene, &maker_ops, 1);
    for (uint32_t i = 0; i < alone->loners; i++) {
        struct loner *loner = &alone->loner[i];
        loner->alone = alone;
        loner->number = i;
        loner->todo = 50 + scene_below(scene, 400);
        loner->max_length = scene_below(scene, 2) ? -1 : (int64_t)scene_below(scene, 12);
        loner->refuses = loner->max_length >= 0 && scene_below(scene, 2) == 0;
        loner->max_priority = scene_below(scene, 2) ? (uint8_t)scene_below(scene, 10) : 0;
        crew_add(&alone->crew, &loner->pilot, &loner_ops, 1);
        loner->pilot.accident = UINT32_MAX; /* it reads slowly, but does not vanish */
    }
    return alone;
}

static bool
alone_step(void *self)
{
    struct alone *alone = self;
    if (!alone->scene->set_up) { /* it draws all the same: seeds keep their stories */
        (void)scene_below(alone->scene, 1 + alone->loners);
    }
    return pilot_act(crew_pick(&alone->crew));
}

static bool
alone_done(const void *self)
{
    const struct alone *alone = self;
    return crew_finished(&alone->crew, 0, alone->loners);
}

static void
alone_drain(void *self)
{
    struct alone *alone = self;
    crew_dismiss(&alone->crew);
}

static bool
alone_drained(const void *self)
{
    const struct alone *alone = self;
    return pilot_away(&alone->crew.maker) && alone->deleted == alone->loners;
}

static void
alone_close(void *self)
{
    struct alone *alone = self;
    crew_fini(&alone->crew);
    free(alone);
}

const struct scenario scenario_alone = {
    .name = "alone",
    .weight = 2,
    .open = alone_open,
    .step = alone_step,
    .done = alone_done,
    .drain = alone_drain,
    .drained = alone_drained,
    .close = alone_close,
};
