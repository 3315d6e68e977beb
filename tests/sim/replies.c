/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replies.c - direct reply-to: askers, and servers that answer them.
 *
 * An asker consumes from amq.rabbitmq.reply-to and sends requests to the
 * servers' queues; a server answers to the address in the request, then
 * acknowledges it.  Both vanish now and then.
 *
 *   R1  a reply comes to the connection that asked, whole, with a number that it asked
 *   R2  no reply twice; those of one server's life in order
 *   R3  an asker that stays is answered (a request whose server died is another's)
 *   R4  a mandatory reply comes back to its server (312), as RabbitMQ does whoever takes it (C161)
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/crew.h"
#include "tests/sim/ledger.h"
#include "tests/sim/say.h"
#include "tests/sim/scenario_list.h"

#define SERVERS_MAX  3u
#define ASKERS_MAX   6u
#define LIVES_MAX    64u
#define REQUESTS_MAX 120u
#define ADDRESS      "amq.rabbitmq.reply-to"

struct request {
    uint64_t tag;
    uint32_t asker;
    uint64_t number;
    char address[256];
};

struct server {
    struct pilot pilot;
    struct replies *replies;
    uint32_t number;
    uint32_t life; /* replies of one life come in order */
    struct request open[REQUESTS_MAX];
    uint32_t open_count;
    uint32_t returns; /* mandatory replies that have not come back yet */
};

struct asker {
    struct pilot pilot;
    struct replies *replies;
    uint32_t life;
    uint32_t todo;
    uint32_t asked;
    bool answered[REQUESTS_MAX + 1];
    uint32_t answers;
    uint64_t last[LIVES_MAX]; /* number of the last reply of each server's life */
};

struct replies {
    struct scene *scene;
    struct crew crew;
    uint32_t deleted;
    struct server server[SERVERS_MAX];
    struct asker asker[ASKERS_MAX];
    uint32_t servers, askers;
    uint32_t server_lives;
    uint32_t asker_lives;
    uint64_t numbers; /* replies so far */
};

static const char *
queue_name(uint32_t queue, char *scratch)
{
    (void)snprintf(scratch, 24, "rpc%u", queue);
    return scratch;
}

/* ---- servers ---- */

static bool
server_script(struct pilot *pilot, uint32_t step)
{
    struct server *server = LP_CONTAINER_OF(pilot, struct server, pilot);
    char name[24];
    if (step == 0) {
        server->open_count = 0;
        server->life = server->replies->server_lives++;
        LP_ASSERT(server->life < LIVES_MAX);
        say_qos(&pilot->client, (uint16_t)(1 + scene_below(pilot->scene, 20)), false);
        return true;
    }
    if (step == 1) {
        say_consume(&pilot->client, queue_name(server->number, name), "serve", false);
        return true;
    }
    return false;
}

/* A request, or a reply that came back. */
static void
server_content(struct pilot *pilot, const struct sim_content *content)
{
    struct server *server = LP_CONTAINER_OF(pilot, struct server, pilot);
    struct replies *replies = server->replies;
    uint32_t asker;
    uint64_t number;
    ledger_body_read(content->body, &asker, &number);
    LP_ASSERT(asker < replies->asker_lives);
    if (content->method == 50) {
        LP_ASSERT(content->code == 312);
        LP_ASSERT(server->returns-- > 0); /* R4 */
        return;
    }
    LP_ASSERT(server->open_count < REQUESTS_MAX);
    struct request *request = &server->open[server->open_count++];
    const struct lp_bytes address = content->properties.reply_to;
    LP_ASSERT(lp_bytes_start_with(address, ADDRESS ".")); /* C161: it was rewritten */
    LP_ASSERT(address.size < sizeof(request->address));
    *request = (struct request){.tag = content->delivery_tag, .asker = asker, .number = number};
    memcpy(request->address, address.data, address.size);
    replies->scene->delivered++;
}

static bool
server_work(struct pilot *pilot)
{
    struct server *server = LP_CONTAINER_OF(pilot, struct server, pilot);
    struct replies *replies = server->replies;
    uint8_t body[2000];
    if (pilot->scene->calm && server->open_count == 0 && server->returns == 0) {
        pilot_close(pilot);
        return true;
    }
    if (server->open_count == 0 || sim_client_backlog(&pilot->client) > 65536) {
        return false;
    }
    const struct request request = server->open[0];
    memmove(server->open, server->open + 1, --server->open_count * sizeof(server->open[0]));
    const uint64_t number =
        ++replies->numbers << 24 | (uint64_t)server->life << 16 | request.number;
    const uint32_t bytes = LEDGER_BODY_BYTES_MIN + scene_below(pilot->scene, 1900);
    ledger_body_write(body, bytes, request.asker, number);
    const bool mandatory = scene_below(pilot->scene, 2) == 0;
    server->returns += mandatory;
    sim_publish(&pilot->client, 1, "", request.address, mandatory, lp_bytes_of(body, bytes));
    say_ack(&pilot->client, request.tag, false);
    return true;
}

static void
server_gone(struct pilot *pilot)
{
    struct server *server = LP_CONTAINER_OF(pilot, struct server, pilot);
    server->open_count = 0;
    server->returns = 0;
}

static const struct pilot_ops server_ops = {
    .script = server_script,
    .work = server_work,
    .content = server_content,
    .gone = server_gone,
};

/* ---- askers ---- */

static bool
asker_script(struct pilot *pilot, uint32_t step)
{
    struct asker *asker = LP_CONTAINER_OF(pilot, struct asker, pilot);
    if (step > 0) {
        return false;
    }
    asker->life = asker->replies->asker_lives++;
    LP_ASSERT(asker->life < LIVES_MAX);
    asker->asked = 0;
    asker->answers = 0;
    asker->todo = 1 + scene_below(pilot->scene, REQUESTS_MAX);
    memset(asker->answered, 0, sizeof(asker->answered));
    memset(asker->last, 0, sizeof(asker->last));
    say_consume(&pilot->client, ADDRESS, "replies", true);
    return true;
}

static void
asker_content(struct pilot *pilot, const struct sim_content *content)
{
    struct asker *asker = LP_CONTAINER_OF(pilot, struct asker, pilot);
    uint32_t life;
    uint64_t number;
    LP_ASSERT(content->method == 60 && lp_bytes_equal_text(content->tag, "replies"));
    LP_ASSERT(!content->redelivered);
    ledger_body_read(content->body, &life, &number);
    const uint32_t server = number >> 16 & 0xff;
    const uint32_t request = number & 0xffff;
    LP_ASSERT(life == asker->life);                     /* R1 */
    LP_ASSERT(request >= 1 && request <= asker->asked); /* R1 */
    LP_ASSERT(number >> 24 > asker->last[server]);      /* R2 */
    asker->last[server] = number >> 24;
    asker->answers += !asker->answered[request];
    asker->answered[request] = true;
    pilot->scene->delivered++;
    scene_note(pilot->scene, 1, life, number);
}

static bool
asker_work(struct pilot *pilot)
{
    struct asker *asker = LP_CONTAINER_OF(pilot, struct asker, pilot);
    struct replies *replies = asker->replies;
    uint8_t body[600];
    char name[24];
    if (pilot->scene->calm) {
        asker->todo = asker->asked;
    }
    if (asker->asked == asker->todo) {
        if (asker->answers < asker->asked) {
            return false; /* R3: it waits until all have come */
        }
        pilot_close(pilot);
        return true;
    }
    asker->asked++;
    const uint32_t bytes = LEDGER_BODY_BYTES_MIN + scene_below(pilot->scene, 500);
    ledger_body_write(body, bytes, asker->life, asker->asked);
    const struct sim_message message = {
        .exchange = "",
        .key = queue_name(scene_below(pilot->scene, replies->servers), name),
        .body = lp_bytes_of(body, bytes),
        .properties = {.has_reply_to = true, .reply_to = lp_bytes_of_text(ADDRESS)},
    };
    sim_publish_message(&pilot->client, 1, &message);
    pilot->scene->published++;
    if (scene_below(pilot->scene, 8) == 0) {
        pilot->pause_until_ns = pilot->scene->now_ns + scene_below(pilot->scene, 50000000);
    }
    return true;
}

static const struct pilot_ops asker_ops = {
    .script = asker_script,
    .work = asker_work,
    .content = asker_content,
};

/* ---- who makes the queues ---- */

static bool
maker_script(struct pilot *pilot, uint32_t step)
{
    struct replies *replies = LP_CONTAINER_OF(pilot, struct replies, crew.maker);
    char name[24];
    if (step < replies->servers) {
        say_queue_declare(&pilot->client, queue_name(step, name), 2);
        return true;
    }
    return false;
}

static bool
maker_work(struct pilot *pilot)
{
    struct replies *replies = LP_CONTAINER_OF(pilot, struct replies, crew.maker);
    char name[24];
    pilot->scene->set_up = true;
    if (!pilot->scene->calm || !crew_away(&replies->crew)) {
        return false;
    }
    if (replies->deleted < replies->servers) {
        pilot_wait(pilot);
        say_queue_delete(&pilot->client, queue_name(replies->deleted++, name));
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
replies_open(struct scene *scene, uint32_t flavour)
{
    struct replies *replies = calloc(1, sizeof(*replies));
    LP_ASSERT(replies);
    (void)flavour;
    replies->scene = scene;
    replies->servers = 1 + scene_below(scene, SERVERS_MAX);
    replies->askers = 1 + scene_below(scene, ASKERS_MAX);
    crew_init(&replies->crew, scene, &maker_ops, 1);
    for (uint32_t i = 0; i < replies->servers; i++) {
        struct server *server = &replies->server[i];
        server->replies = replies;
        server->number = i;
        crew_add(&replies->crew, &server->pilot, &server_ops, LIVES_MAX / SERVERS_MAX - 1);
    }
    for (uint32_t i = 0; i < replies->askers; i++) {
        struct asker *asker = &replies->asker[i];
        asker->replies = replies;
        crew_add(&replies->crew, &asker->pilot, &asker_ops,
                 1 + scene_below(scene, LIVES_MAX / ASKERS_MAX - 1));
    }
    return replies;
}

static bool
replies_step(void *self)
{
    struct replies *replies = self;
    return pilot_act(crew_pick(&replies->crew));
}

static bool
replies_done(const void *self)
{
    const struct replies *replies = self;
    return crew_finished(&replies->crew, replies->servers, replies->askers);
}

static void
replies_drain(void *self)
{
    struct replies *replies = self;
    crew_dismiss(&replies->crew);
    for (uint32_t i = 0; i < replies->servers; i++) {
        /* Whoever is needed for requests that are still there comes once more. */
        replies->server[i].pilot.lives = pilot_away(&replies->server[i].pilot) ? 1 : 0;
    }
}

static bool
replies_drained(const void *self)
{
    const struct replies *replies = self;
    return pilot_away(&replies->crew.maker) && replies->deleted == replies->servers;
}

static void
replies_close(void *self)
{
    struct replies *replies = self;
    crew_fini(&replies->crew);
    free(replies);
}

const struct scenario scenario_replies = {
    .name = "replies",
    .weight = 1,
    .open = replies_open,
    .step = replies_step,
    .done = replies_done,
    .drain = replies_drain,
    .drained = replies_drained,
    .close = replies_close,
};
