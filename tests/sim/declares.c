/* SPDX-License-Identifier: Apache-2.0 */
/*
 * declares.c - clients that send many declares, binds and deletes at once,
 * some of which fail, while the control process dies and comes back.
 *
 * Each speaker has names of its own, new ones in each of its lives: what a
 * connection that vanished had sent may be done at any later time.
 *
 *   D1  answers come in order, each its own
 *   D2  what was answered is there (or gone) from then on
 *   D3  what was sent behind one that failed is not done
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/crew.h"
#include "tests/sim/say.h"
#include "tests/sim/scenario_list.h"

#define SPEAKERS_MAX 4u
#define QUEUES       12u
#define BURST_MAX    160u
#define LIVES_MAX    4u
/* How long after its connection vanished something may still be done. */
#define LATE_NS 100000000000u

enum act {
    ACT_DECLARE,
    ACT_BAD, /* a declare that is not equivalent */
    ACT_BIND,
    ACT_DELETE,
    ACT_LOOK, /* passively, alone: is it as it should be? */
};

struct item {
    enum act act;
    uint32_t queue;
};

struct speaker {
    struct pilot pilot;
    struct declares *declares;
    uint32_t number;
    uint32_t life;
    uint32_t todo; /* bursts */
    struct item item[BURST_MAX];
    uint32_t count, answered;
    bool there[QUEUES];
    bool look; /* the last burst failed: look at a queue */
};

struct declares {
    struct scene *scene;
    struct crew crew; /* the maker deletes everything at the end */
    struct speaker speaker[SPEAKERS_MAX];
    uint32_t speakers;
    uint32_t ending;
};

struct name {
    char text[32];
};

static struct name
name_of(uint32_t speaker, uint32_t life, uint32_t queue)
{
    struct name name;
    (void)snprintf(name.text, sizeof(name.text), "d%u.%u.%u", speaker, life, queue);
    return name;
}

/* ---- what it says ---- */

static void
item_say(struct speaker *speaker, const struct item *item)
{
    struct sim_client *client = &speaker->pilot.client;
    const struct name name = name_of(speaker->number, speaker->life, item->queue);
    const uint8_t durable = item->queue % 2 == 0 ? 2 : 0;
    switch (item->act) {
    case ACT_DECLARE:
        say_queue_declare(client, name.text, durable);
        return;
    case ACT_BAD:
        say_queue_declare(client, name.text, durable ^ 2u);
        return;
    case ACT_BIND:
        say_queue_bind(client, name.text, "amq.direct", name.text);
        return;
    case ACT_DELETE:
        say_queue_delete(client, name.text);
        return;
    case ACT_LOOK:
        say_queue_declare(client, name.text, 1);
        return;
    }
}

static void
item_done(bool there[QUEUES], const struct item *item)
{
    if (item->act == ACT_DECLARE) {
        there[item->queue] = true;
    } else if (item->act == ACT_DELETE) {
        there[item->queue] = false;
    }
}

static enum act
act_draw(struct scene *scene, bool there)
{
    const uint32_t pick = scene_below(scene, 60);
    if (!there || pick < 30) {
        return ACT_DECLARE;
    }
    return pick < 50 ? ACT_BIND : pick < 58 ? ACT_DELETE : ACT_BAD;
}

static void
burst_draw(struct speaker *speaker)
{
    struct scene *scene = speaker->pilot.scene;
    bool there[QUEUES];
    memcpy(there, speaker->there, sizeof(there));
    speaker->count = 1 + scene_below(scene, scene_below(scene, 4) == 0 ? BURST_MAX : 12);
    for (uint32_t i = 0; i < speaker->count; i++) {
        struct item *item = &speaker->item[i];
        item->queue = scene_below(scene, QUEUES);
        item->act = act_draw(scene, there[item->queue]);
        item_done(there, item);
    }
}

static bool
speaker_work(struct pilot *pilot)
{
    struct speaker *speaker = LP_CONTAINER_OF(pilot, struct speaker, pilot);
    struct scene *scene = pilot->scene;
    if (speaker->look) {
        speaker->look = false;
        speaker->count = 1;
        speaker->item[0] = (struct item){ACT_LOOK, scene_below(scene, QUEUES)};
    } else if (speaker->todo == 0 || scene->calm) {
        speaker->todo = 0;
        pilot_close(pilot);
        return true;
    } else {
        speaker->todo--;
        burst_draw(speaker);
    }
    speaker->answered = 0;
    for (uint32_t i = 0; i < speaker->count; i++) {
        item_say(speaker, &speaker->item[i]);
    }
    pilot_wait(pilot);
    if (!scene->calm && scene_below(scene, 20) == 0) {
        pilot_vanish(pilot);
    }
    return true;
}

/* ---- what it hears ---- */

static void
failed(struct speaker *speaker, const struct item *item, uint16_t code)
{
    if (item->act == ACT_LOOK) {
        LP_ASSERT(code == 404 && !speaker->there[item->queue]); /* D2, D3 */
        return;
    }
    LP_ASSERT(item->act == ACT_BAD && code == 406); /* D1 */
    speaker->look = true;
}

static void
answered(const struct item *item, const struct speaker *speaker, uint32_t id,
         struct lp_reader *args)
{
    if (item->act == ACT_BIND || item->act == ACT_DELETE) {
        LP_ASSERT(id == (item->act == ACT_BIND ? SIM_METHOD(50, 21) : SIM_METHOD(50, 41))); /* D1 */
        return;
    }
    const struct name name = name_of(speaker->number, speaker->life, item->queue);
    LP_ASSERT(item->act != ACT_BAD);
    LP_ASSERT(id == SIM_METHOD(50, 11));
    LP_ASSERT(lp_bytes_equal_text(lp_reader_short(args), name.text)); /* D1 */
    LP_ASSERT(item->act != ACT_LOOK || speaker->there[item->queue]);  /* D2, D3 */
}

static bool
speaker_method(struct pilot *pilot, uint32_t id, struct lp_reader *args)
{
    struct speaker *speaker = LP_CONTAINER_OF(pilot, struct speaker, pilot);
    if (!pilot->ready || id == SIM_METHOD(20, 41)) {
        return false;
    }
    LP_ASSERT(speaker->answered < speaker->count);
    const struct item *item = &speaker->item[speaker->answered++];
    scene_note(pilot->scene, id, item->act, item->queue);
    if (id == SIM_METHOD(20, 40)) {
        failed(speaker, item, lp_reader_u16be(args));
        say_channel_close_ok(&pilot->client);
        pilot_restart(pilot);
        return true;
    }
    answered(item, speaker, id, args);
    item_done(speaker->there, item);
    return speaker->answered < speaker->count;
}

static void
speaker_gone(struct pilot *pilot)
{
    struct speaker *speaker = LP_CONTAINER_OF(pilot, struct speaker, pilot);
    speaker->life++;
    speaker->look = false;
    memset(speaker->there, 0, sizeof(speaker->there));
}

static const struct pilot_ops speaker_ops = {
    .work = speaker_work,
    .method = speaker_method,
    .gone = speaker_gone,
};

/* ---- the end ---- */

/* The n-th of all names that there can be is deleted, be it there or not. */
static bool
maker_work(struct pilot *pilot)
{
    struct declares *declares = LP_CONTAINER_OF(pilot, struct declares, crew.maker);
    pilot->scene->set_up = true;
    if (!pilot->scene->calm || !crew_away(&declares->crew)) {
        return false;
    }
    const uint32_t n = declares->ending++;
    if (n == 0) {
        pilot->pause_until_ns = pilot->scene->now_ns + LATE_NS;
        return true;
    }
    const uint32_t each = (LIVES_MAX + 1) * QUEUES;
    if (n > declares->speakers * each) {
        pilot_close(pilot);
        return true;
    }
    const uint32_t rest = (n - 1) % each;
    const struct name name = name_of((n - 1) / each, rest / QUEUES, rest % QUEUES);
    pilot_wait(pilot);
    say_queue_delete(&pilot->client, name.text);
    return true;
}

static const struct pilot_ops maker_ops = {
    .work = maker_work,
};

/* ---- the scenario ---- */

static void *
declares_open(struct scene *scene, uint32_t flavour)
{
    struct declares *declares = calloc(1, sizeof(*declares));
    LP_ASSERT(declares);
    (void)flavour;
    declares->scene = scene;
    declares->speakers = 1 + scene_below(scene, SPEAKERS_MAX);
    crew_init(&declares->crew, scene, &maker_ops, 1);
    for (uint32_t i = 0; i < declares->speakers; i++) {
        struct speaker *speaker = &declares->speaker[i];
        speaker->declares = declares;
        speaker->number = i;
        speaker->todo = 5 + scene_below(scene, 30);
        crew_add(&declares->crew, &speaker->pilot, &speaker_ops, LIVES_MAX);
    }
    return declares;
}

static bool
declares_step(void *self)
{
    struct declares *declares = self;
    struct pilot *pilot = crew_pick(&declares->crew);
    if (pilot != &declares->crew.maker &&
        LP_CONTAINER_OF(pilot, struct speaker, pilot)->todo == 0) {
        pilot->lives = 0;
    }
    return pilot_act(pilot);
}

static bool
declares_done(const void *self)
{
    const struct declares *declares = self;
    for (uint32_t i = 0; i < declares->speakers; i++) {
        const struct speaker *speaker = &declares->speaker[i];
        if (speaker->todo > 0 && speaker->pilot.lives > 0) {
            return false;
        }
    }
    return crew_away(&declares->crew);
}

static void
declares_drain(void *self)
{
    struct declares *declares = self;
    crew_dismiss(&declares->crew);
}

static bool
declares_drained(const void *self)
{
    const struct declares *declares = self;
    return pilot_away(&declares->crew.maker) && declares->ending > 1;
}

static void
declares_close(void *self)
{
    struct declares *declares = self;
    crew_fini(&declares->crew);
    free(declares);
}

const struct scenario scenario_declares = {
    .name = "declares",
    .weight = 0, /* seeds play what they played before; a test of its own plays this */
    .open = declares_open,
    .step = declares_step,
    .done = declares_done,
    .drain = declares_drain,
    .drained = declares_drained,
    .close = declares_close,
};
