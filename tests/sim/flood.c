/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flood.c - publishers of transient messages who are faster than the disk that
 * these are to leave memory for, and than the consumers: nothing but memory
 * itself holds them back.
 *
 *   F1  memory is bounded: above the watermark a shard takes no more than what was under way
 *   F2  publishers wait, and go on: all that they had to say is said, and confirmed
 *   F3  consumers do not starve: while messages wait, some come
 *   F4  nothing is lost, nothing comes twice without the redelivered mark, and what a publisher
 * sent to a queue comes in that order
 */
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/shard/shard_private.h"
#include "tests/sim/crew.h"
#include "tests/sim/ledger.h"
#include "tests/sim/say.h"
#include "tests/sim/scenario_list.h"
#include "tests/sim/world.h"

#define QUEUES         2u
#define PUBLISHERS     4u
#define LETTERS        800u /* of each publisher */
#define BODY_BYTES_MAX 16000u
#define MEMORY_BYTES   (6u << 20)
#define BACKLOG_BYTES  (64u * 1024u)
/* Client to broker, unsent. */
#define UNSENT_MAX (128u * 1024u)
/* Virtual time in which a consumer who asks gets something that waits: its own pauses, and some
 * operations of a slow disk. */
#define STARVED_NS   120000000000u
#define PREFETCH     20u
#define ACK_PAUSE_NS 20000000u
/* Of a shard's memory, above its watermark: what connections had sent when they were held back,
 * and what is read back for consumers. */
#define ABOVE_PERCENT 75u

struct flood_letter {
    uint8_t queue;
    bool came;
    bool fresh; /* without the mark */
};

struct flood_publisher {
    struct pilot pilot;
    struct flood *flood;
    bool confirms;
    uint32_t published;
    uint32_t confirmed;
    struct flood_letter letter[LETTERS];
};

struct flood_consumer {
    struct pilot pilot;
    struct flood *flood;
    uint32_t queue;
    uint64_t fed_ns;           /* something came, or nothing waited */
    uint32_t last[PUBLISHERS]; /* first deliveries: sequence + 1 */
    uint64_t tag;              /* not acknowledged up to it */
};

struct flood {
    struct scene *scene;
    struct crew crew;
    struct flood_publisher publisher[PUBLISHERS];
    struct flood_consumer consumer[QUEUES]; /* one a queue */
    uint32_t waiting[QUEUES];               /* published, never delivered */
    uint32_t deleted;
    uint64_t pressed; /* looks at a shard that was above its watermark */
};

static const char *
flood_queue(uint32_t queue, char *scratch)
{
    (void)snprintf(scratch, 24, "flood%u", queue);
    return scratch;
}

/* ---- publishers ---- */

static struct flood_publisher *
publisher_of(struct pilot *pilot)
{
    return LP_CONTAINER_OF(pilot, struct flood_publisher, pilot);
}

static bool
publisher_script(struct pilot *pilot, uint32_t step)
{
    if (step > 0 || !publisher_of(pilot)->confirms) {
        return false;
    }
    say_confirm_select(&pilot->client);
    return true;
}

static void
publish_one(struct flood_publisher *publisher)
{
    struct flood *flood = publisher->flood;
    struct scene *scene = flood->scene;
    uint8_t body[BODY_BYTES_MAX];
    char name[24];
    const uint32_t number = publisher->published++;
    struct flood_letter *letter = &publisher->letter[number];
    letter->queue = (uint8_t)scene_below(scene, QUEUES);
    const uint32_t bytes =
        LEDGER_BODY_BYTES_MIN + scene_below(scene, BODY_BYTES_MAX - LEDGER_BODY_BYTES_MIN);
    ledger_body_write(body, bytes, (uint32_t)(publisher - flood->publisher), number);
    const struct sim_message said = {
        .exchange = "",
        .key = flood_queue(letter->queue, name),
        .body = lp_bytes_of(body, bytes),
        .properties = {.transient = true},
    };
    sim_publish_message(&publisher->pilot.client, 1, &said);
    flood->waiting[letter->queue]++;
    scene->published++;
}

static bool
publisher_work(struct pilot *pilot)
{
    struct flood_publisher *publisher = publisher_of(pilot);
    if (sim_client_backlog(&pilot->client) > UNSENT_MAX) {
        return false; /* F2: the broker does not read */
    }
    if (publisher->published < LETTERS) {
        publish_one(publisher);
        return true;
    }
    if (publisher->confirms && publisher->confirmed < LETTERS) {
        return false;
    }
    pilot_close(pilot); /* its answer is behind all that was published */
    return true;
}

static bool
publisher_method(struct pilot *pilot, uint32_t id, struct lp_reader *args)
{
    struct flood_publisher *publisher = publisher_of(pilot);
    LP_ASSERT(id != SIM_METHOD(60, 120)); /* F2: nothing is refused */
    if (id != SIM_METHOD(60, 80)) {
        return false;
    }
    const uint64_t tag = lp_reader_u64be(args);
    const bool multiple = lp_reader_u8(args) & 1;
    LP_ASSERT(tag >= 1 && tag <= publisher->published);
    const uint32_t before = publisher->confirmed;
    publisher->confirmed += multiple ? (uint32_t)tag - before : 1;
    LP_ASSERT(publisher->confirmed <= publisher->published);
    publisher->flood->scene->confirmed += publisher->confirmed - before;
    return true;
}

static const struct pilot_ops publisher_ops = {
    .script = publisher_script,
    .work = publisher_work,
    .method = publisher_method,
};

/* ---- consumers ---- */

static struct flood_consumer *
consumer_of(struct pilot *pilot)
{
    return LP_CONTAINER_OF(pilot, struct flood_consumer, pilot);
}

static bool
consumer_script(struct pilot *pilot, uint32_t step)
{
    struct flood_consumer *consumer = consumer_of(pilot);
    char name[24];
    if (step == 0) {
        consumer->tag = 0;
        consumer->fed_ns = pilot->scene->now_ns;
        say_qos(&pilot->client, PREFETCH, false);
    } else if (step == 1) {
        say_consume(&pilot->client, flood_queue(consumer->queue, name), "c", false);
    }
    return step < 2;
}

static void
consumer_content(struct pilot *pilot, const struct sim_content *content)
{
    struct flood_consumer *consumer = consumer_of(pilot);
    struct flood *flood = consumer->flood;
    struct scene *scene = flood->scene;
    uint32_t who;
    uint64_t number;
    ledger_body_read(content->body, &who, &number);
    LP_ASSERT(who < PUBLISHERS && number < flood->publisher[who].published);
    struct flood_letter *letter = &flood->publisher[who].letter[number];
    LP_ASSERT(letter->queue == consumer->queue);
    if (!content->redelivered) {
        LP_ASSERT(!letter->fresh && number >= consumer->last[who]); /* F4 */
        consumer->last[who] = (uint32_t)number + 1;
        letter->fresh = true;
    }
    flood->waiting[letter->queue] -= !letter->came;
    letter->came = true;
    consumer->fed_ns = scene->now_ns;
    consumer->tag = content->delivery_tag;
    scene->delivered++;
    scene->redelivered += content->redelivered;
    scene_note(scene, 1 + who, number, content->redelivered);
}

static bool
publishers_finished(const struct flood *flood)
{
    return crew_finished(&flood->crew, 0, PUBLISHERS);
}

/* It acknowledges what it has, slowly. */
static bool
consumer_work(struct pilot *pilot)
{
    struct flood_consumer *consumer = consumer_of(pilot);
    struct flood *flood = consumer->flood;
    struct scene *scene = flood->scene;
    if (flood->waiting[consumer->queue] == 0) {
        consumer->fed_ns = scene->now_ns;
    }
    LP_ASSERT(scene->now_ns - consumer->fed_ns < STARVED_NS); /* F3 */
    if (consumer->tag > 0) {
        say_ack(&pilot->client, consumer->tag, true);
        consumer->tag = 0;
        pilot->pause_until_ns = scene->calm ? 0 : scene->now_ns + scene_below(scene, ACK_PAUSE_NS);
        return true;
    }
    if (!publishers_finished(flood) || flood->waiting[consumer->queue] > 0) {
        return false;
    }
    pilot_leave(pilot);
    return true;
}

static const struct pilot_ops consumer_ops = {
    .script = consumer_script,
    .work = consumer_work,
    .content = consumer_content,
};

/* ---- who makes what there is ---- */

static bool
maker_script(struct pilot *pilot, uint32_t step)
{
    char name[24];
    if (step < QUEUES) { /* one that is durable, and one that is not */
        say_queue_declare(&pilot->client, flood_queue(step, name), step == 0 ? 2 : 0);
    }
    return step < QUEUES;
}

static bool
maker_work(struct pilot *pilot)
{
    struct flood *flood = LP_CONTAINER_OF(pilot, struct flood, crew.maker);
    char name[24];
    pilot->scene->set_up = true;
    if (!pilot->scene->calm || !crew_finished(&flood->crew, 0, PUBLISHERS + QUEUES)) {
        return false;
    }
    if (flood->deleted < QUEUES) {
        pilot_wait(pilot);
        say_queue_delete(&pilot->client, flood_queue(flood->deleted++, name));
    } else {
        pilot_leave(pilot);
    }
    return true;
}

static const struct pilot_ops maker_ops = {
    .script = maker_script,
    .work = maker_work,
};

/* ---- the scenario ---- */

static void *
flood_open(struct scene *scene, uint32_t flavour)
{
    struct flood *flood = calloc(1, sizeof(*flood));
    LP_ASSERT(flood);
    (void)flavour;
    flood->scene = scene;
    crew_init(&flood->crew, scene, &maker_ops, LIVES_ENOUGH);
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        struct flood_publisher *publisher = &flood->publisher[i];
        publisher->flood = flood;
        publisher->confirms = i % 2 == 0;
        crew_add(&flood->crew, &publisher->pilot, &publisher_ops, 1);
        publisher->pilot.accident = 0;
    }
    for (uint32_t i = 0; i < QUEUES; i++) {
        flood->consumer[i].flood = flood;
        flood->consumer[i].queue = i;
        crew_add(&flood->crew, &flood->consumer[i].pilot, &consumer_ops, LIVES_ENOUGH);
    }
    return flood;
}

/* F1, of any one shard. */
static void
memory_look(struct flood *flood)
{
    const struct world_node *node = flood->scene->node;
    const uint32_t index = scene_below(flood->scene, node->shard_count);
    const struct lp_memory *memory = node->shard[index]->broker.memory;
    flood->pressed += lp_memory_pressed(memory);
    LP_ASSERT(lp_memory_used_bytes(memory) <= node->memory_bytes * ABOVE_PERCENT / 100); /* F1 */
}

static bool
flood_step(void *self)
{
    struct flood *flood = self;
    if (flood->scene->set_up) {
        memory_look(flood);
    }
    return pilot_act(crew_pick(&flood->crew));
}

static bool
flood_done(const void *self)
{
    return publishers_finished(self);
}

static bool
flood_drained(const void *self)
{
    const struct flood *flood = self;
    return pilot_away(&flood->crew.maker) && flood->deleted == QUEUES;
}

static void
flood_finish(void *self)
{
    const struct flood *flood = self;
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        LP_ASSERT(flood->publisher[i].published == LETTERS); /* F2 */
        for (uint32_t n = 0; n < LETTERS; n++) {
            LP_ASSERT(flood->publisher[i].letter[n].came); /* F4 */
        }
    }
    /* What was published is more than memory: somebody had to wait. */
    LP_ASSERT(flood->pressed > 0);
    scene_note(flood->scene, 9, flood->pressed, 0);
}

static void
flood_close(void *self)
{
    struct flood *flood = self;
    crew_fini(&flood->crew);
    free(flood);
}

const struct scenario scenario_flood = {
    .name = "flood",
    .disk = true,
    .disk_slow = true,
    .memory_bytes = MEMORY_BYTES,
    .backlog_bytes = BACKLOG_BYTES,
    .open = flood_open,
    .step = flood_step,
    .done = flood_done,
    .drained = flood_drained,
    .finish = flood_finish,
    .close = flood_close,
};
