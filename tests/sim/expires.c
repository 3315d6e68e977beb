/* SPDX-License-Identifier: Apache-2.0 */
/*
 * expires.c - queues with x-expires: gone when nobody used them for so long,
 * and not before (C73).
 *
 * Each tenant has one queue for itself and uses it, or does not.  A use is a
 * declare, a get, or a consumer; publishing is none.
 *
 *   E1  it is not gone while it is used, nor before its time has passed since
 *   E2  unused for longer, it goes, also when the control process dies meanwhile
 *   E3  what was in it is not dead-lettered (C157)
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/crew.h"
#include "tests/sim/ledger.h"
#include "tests/sim/say.h"
#include "tests/sim/scenario_list.h"

#define TENANTS_MAX 6u
#define NS_PER_MS   1000000u
/* How late a queue may go: its shard's timer, and a control process that has to come back first. */
#define LATE_NS 5000000000u

enum doing {
    DOING_NOTHING,
    DOING_DECLARE,
    DOING_LOOK, /* passively */
    DOING_GET,
    DOING_CONSUME,
    DOING_CANCEL,
};

struct tenant {
    struct pilot pilot;
    struct expires *expires;
    uint32_t number;
    uint64_t expires_ns;
    uint32_t todo;
    enum doing doing;
    bool there;           /* it was when last heard of */
    bool consuming;       /* since, and until, an answer */
    uint64_t said_ns;     /* of what is under way */
    uint64_t earliest_ns; /* the last use was not before this */
    uint64_t latest_ns;   /* nor after this; UINT64_MAX: it is used now */
    uint64_t seen;        /* how often it was gone */
};

struct expires {
    struct scene *scene;
    struct crew crew;
    struct tenant tenant[TENANTS_MAX];
    uint32_t tenants;
    uint32_t ending; /* steps of the end that were taken */
};

static const char *
queue_name(uint32_t queue, char *scratch)
{
    (void)snprintf(scratch, 24, "e%u", queue);
    return scratch;
}

/* ---- what is known of a queue ---- */

static void
tenant_used(struct tenant *tenant)
{
    tenant->there = true;
    tenant->earliest_ns = tenant->said_ns;
    tenant->latest_ns = tenant->pilot.scene->now_ns;
}

static void
tenant_found(const struct tenant *tenant)
{
    const bool used = tenant->latest_ns == UINT64_MAX;
    LP_ASSERT(tenant->there);
    LP_ASSERT(used || tenant->said_ns < tenant->latest_ns + tenant->expires_ns + LATE_NS); /* E2 */
}

static void
tenant_missed(struct tenant *tenant)
{
    const uint64_t now_ns = tenant->pilot.scene->now_ns;
    if (tenant->there) {
        LP_ASSERT(tenant->latest_ns != UINT64_MAX);                    /* E1 */
        LP_ASSERT(now_ns - tenant->earliest_ns >= tenant->expires_ns); /* E1 */
        tenant->seen++;
        scene_note(tenant->pilot.scene, 2, tenant->number, tenant->seen);
    }
    tenant->there = false;
    tenant->consuming = false;
}

/* ---- what it says ---- */

static void
tenant_declare(struct tenant *tenant, bool passive)
{
    uint8_t scratch[256];
    char name[24];
    struct lp_writer table = lp_writer_of(scratch, sizeof(scratch));
    table_integer(&table, "x-expires", (int64_t)(tenant->expires_ns / NS_PER_MS));
    table_text(&table, "x-dead-letter-exchange", "");
    table_text(&table, "x-dead-letter-routing-key", "sink");
    say_queue_declare_with(&tenant->pilot.client, queue_name(tenant->number, name), passive ? 1 : 2,
                           lp_writer_bytes(&table));
}

static void
tenant_publish(struct tenant *tenant)
{
    uint8_t body[64];
    char name[24];
    ledger_body_write(body, sizeof(body), tenant->number, 1);
    sim_publish(&tenant->pilot.client, 1, "", queue_name(tenant->number, name), false,
                lp_bytes_of(body, sizeof(body)));
}

static void
tenant_begin(struct tenant *tenant, enum doing doing)
{
    char name[24];
    struct sim_client *client = &tenant->pilot.client;
    tenant->doing = doing;
    tenant->said_ns = tenant->pilot.scene->now_ns;
    pilot_wait(&tenant->pilot);
    queue_name(tenant->number, name);
    switch (doing) {
    case DOING_NOTHING:
        return;
    case DOING_DECLARE:
        tenant_declare(tenant, false);
        return;
    case DOING_LOOK:
        tenant_declare(tenant, true);
        return;
    case DOING_GET:
        say_get(client, name, true);
        return;
    case DOING_CONSUME:
        say_consume(client, name, "c", true);
        return;
    case DOING_CANCEL:
        say_cancel(client, "c");
        return;
    }
}

static bool
tenant_script(struct pilot *pilot, uint32_t step)
{
    struct tenant *tenant = LP_CONTAINER_OF(pilot, struct tenant, pilot);
    (void)step;
    tenant->consuming = false; /* its channel is new */
    return false;
}

/* Shorter than its time, about that, or much longer. */
static uint64_t
tenant_pause(struct tenant *tenant)
{
    struct scene *scene = tenant->pilot.scene;
    switch (scene_below(scene, 4)) {
    case 0:
        return tenant->expires_ns * 2 + LATE_NS + 1;
    case 1:
        return lp_sim_random_below(&scene->random, 2 * tenant->expires_ns);
    default:
        return lp_sim_random_below(&scene->random, tenant->expires_ns);
    }
}

static bool
tenant_work(struct pilot *pilot)
{
    struct tenant *tenant = LP_CONTAINER_OF(pilot, struct tenant, pilot);
    struct scene *scene = pilot->scene;
    if (tenant->todo == 0 || scene->calm) {
        if (tenant->consuming) {
            tenant_begin(tenant, DOING_CANCEL);
        } else {
            pilot_close(pilot);
        }
        return true;
    }
    tenant->todo--;
    if (scene_below(scene, 12) == 0) {
        pilot_vanish(pilot);
        return true;
    }
    pilot->pause_until_ns = scene->now_ns + tenant_pause(tenant);
    if (tenant->consuming) {
        tenant_publish(tenant);
        if (scene_below(scene, 3) == 0) {
            tenant_begin(tenant, DOING_CANCEL);
        }
        return true;
    }
    switch (scene_below(scene, 6)) {
    case 0:
        tenant_begin(tenant, DOING_DECLARE);
        return true;
    case 1:
        tenant_begin(tenant, tenant->there ? DOING_GET : DOING_DECLARE);
        return true;
    case 2:
        tenant_begin(tenant, tenant->there ? DOING_CONSUME : DOING_DECLARE);
        return true;
    case 3:
        tenant_publish(tenant);
        return true;
    default:
        tenant_begin(tenant, DOING_LOOK);
        return true;
    }
}

/* ---- what it hears ---- */

static void
tenant_answered(struct tenant *tenant)
{
    switch (tenant->doing) {
    case DOING_DECLARE: /* as before, or anew */
        tenant_used(tenant);
        return;
    case DOING_LOOK:
    case DOING_GET:
        tenant_found(tenant);
        tenant_used(tenant); /* a passive declare is a use, too */
        return;
    case DOING_CONSUME:
        tenant_found(tenant);
        tenant_used(tenant);
        tenant->latest_ns = UINT64_MAX;
        tenant->consuming = true;
        return;
    case DOING_CANCEL:
        tenant_used(tenant);
        tenant->consuming = false;
        return;
    case DOING_NOTHING:
        return;
    }
}

static bool
tenant_method(struct pilot *pilot, uint32_t id, struct lp_reader *args)
{
    struct tenant *tenant = LP_CONTAINER_OF(pilot, struct tenant, pilot);
    if (id == SIM_METHOD(20, 40)) { /* 404: it is gone */
        LP_ASSERT(lp_reader_u16be(args) == 404);
        LP_ASSERT(tenant->doing != DOING_NOTHING && tenant->doing != DOING_DECLARE);
        tenant_missed(tenant);
        say_channel_close_ok(&pilot->client);
        pilot_restart(pilot);
        return true;
    }
    if (pilot->ready && id != SIM_METHOD(20, 41)) {
        tenant_answered(tenant);
    }
    return false;
}

static void
tenant_content(struct pilot *pilot, const struct sim_content *content)
{
    struct tenant *tenant = LP_CONTAINER_OF(pilot, struct tenant, pilot);
    uint32_t number;
    uint64_t sequence;
    ledger_body_read(content->body, &number, &sequence);
    LP_ASSERT(number == tenant->number);
    pilot->scene->delivered++;
    if (content->method == 71) {
        tenant_answered(tenant);
    }
}

/* Its consumer ends about now. */
static void
tenant_gone(struct pilot *pilot)
{
    struct tenant *tenant = LP_CONTAINER_OF(pilot, struct tenant, pilot);
    if (tenant->consuming) {
        tenant->earliest_ns = pilot->scene->now_ns;
        tenant->latest_ns = pilot->scene->now_ns;
    }
    tenant->consuming = false;
}

static const struct pilot_ops tenant_ops = {
    .script = tenant_script,
    .work = tenant_work,
    .method = tenant_method,
    .content = tenant_content,
    .gone = tenant_gone,
};

/* ---- who makes the sink, and looks into it at the end ---- */

static bool
maker_script(struct pilot *pilot, uint32_t step)
{
    if (step == 0) {
        say_queue_declare(&pilot->client, "sink", 2);
        return true;
    }
    return false;
}

/* When all are away: wait until everything has expired, look, delete. */
static bool
maker_work(struct pilot *pilot)
{
    struct expires *expires = LP_CONTAINER_OF(pilot, struct expires, crew.maker);
    pilot->scene->set_up = true;
    if (!pilot->scene->calm || !crew_away(&expires->crew)) {
        return false;
    }
    switch (expires->ending++) {
    case 0:
        pilot->pause_until_ns = pilot->scene->now_ns + 3 * LATE_NS;
        return true;
    case 1:
        pilot_wait(pilot);
        say_queue_declare(&pilot->client, "sink", 1);
        return true;
    case 2:
        pilot_wait(pilot);
        say_queue_delete(&pilot->client, "sink");
        return true;
    default:
        pilot_close(pilot);
        return true;
    }
}

static bool
maker_method(struct pilot *pilot, uint32_t id, struct lp_reader *args)
{
    if (id == SIM_METHOD(50, 11) && pilot->ready) {
        (void)lp_reader_short(args);
        LP_ASSERT(lp_reader_u32be(args) == 0); /* E3 */
    }
    return false;
}

static const struct pilot_ops maker_ops = {
    .script = maker_script,
    .work = maker_work,
    .method = maker_method,
};

/* ---- the scenario ---- */

static void *
expires_open(struct scene *scene, uint32_t flavour)
{
    static const uint64_t times_ms[] = {1, 30, 200, 1000, 1000};
    struct expires *expires = calloc(1, sizeof(*expires));
    LP_ASSERT(expires);
    (void)flavour;
    expires->scene = scene;
    expires->tenants = 1 + scene_below(scene, TENANTS_MAX);
    crew_init(&expires->crew, scene, &maker_ops, 1);
    for (uint32_t i = 0; i < expires->tenants; i++) {
        struct tenant *tenant = &expires->tenant[i];
        tenant->expires = expires;
        tenant->number = i;
        tenant->expires_ns = times_ms[scene_below(scene, LP_COUNT_OF(times_ms))] * NS_PER_MS;
        tenant->todo = 5 + scene_below(scene, 40);
        crew_add(&expires->crew, &tenant->pilot, &tenant_ops, 100);
        tenant->pilot.accident = 0; /* it knows itself when it vanishes */
    }
    return expires;
}

static bool
expires_step(void *self)
{
    struct expires *expires = self;
    struct pilot *pilot = crew_pick(&expires->crew);
    if (pilot != &expires->crew.maker && LP_CONTAINER_OF(pilot, struct tenant, pilot)->todo == 0) {
        pilot->lives = 0;
    }
    return pilot_act(pilot);
}

static bool
expires_done(const void *self)
{
    const struct expires *expires = self;
    for (uint32_t i = 0; i < expires->tenants; i++) {
        if (expires->tenant[i].todo > 0) {
            return false;
        }
    }
    return crew_away(&expires->crew);
}

static void
expires_drain(void *self)
{
    struct expires *expires = self;
    for (uint32_t i = 0; i < expires->tenants; i++) {
        expires->tenant[i].pilot.lives = 0;
        expires->tenant[i].pilot.pause_until_ns = 0;
    }
}

static bool
expires_drained(const void *self)
{
    const struct expires *expires = self;
    return pilot_away(&expires->crew.maker) && expires->ending > 3;
}

static void
expires_close(void *self)
{
    struct expires *expires = self;
    crew_fini(&expires->crew);
    free(expires);
}

const struct scenario scenario_expires = {
    .name = "expires",
    .weight = 1,
    .open = expires_open,
    .step = expires_step,
    .done = expires_done,
    .drain = expires_drain,
    .drained = expires_drained,
    .close = expires_close,
};
