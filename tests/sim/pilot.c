/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/pilot.h"

#include <stdio.h>

#include "tests/sim/say.h"

/* An answer that takes longer than this is a liveness failure. */
#define ANSWER_NS_MAX (900ull * 1000000000ull)

static void pilot_dead(struct sim_client *client);

/* ---- what arrives ---- */

static void
pilot_script(struct pilot *pilot)
{
    if (!pilot->ops->script || !pilot->ops->script(pilot, pilot->step++)) {
        pilot->ready = true;
    }
}

static void
pilot_opened(struct sim_client *client)
{
    struct pilot *pilot = client->user;
    pilot->opened = true;
    say_channel_open(client);
}

/* The broker closed the channel: who gives it a reason looks at that in its own method(). */
static void
pilot_channel_closed(struct lp_reader *args)
{
    const uint16_t code = lp_reader_u16be(args);
    const struct lp_bytes text = lp_reader_short(args);
    (void)fprintf(stderr, "channel.close %u %.*s\n", code, (int)text.size, (const char *)text.data);
    LP_ASSERT(!"the broker closed a channel of a client that did nothing wrong");
}

static void
pilot_method(struct sim_client *client, uint16_t channel, uint32_t id, struct lp_reader *args)
{
    struct pilot *pilot = client->user;
    (void)channel;
    if (pilot->ops->method && pilot->ops->method(pilot, id, args)) {
        return;
    }
    if (id == SIM_METHOD(20, 40)) {
        pilot_channel_closed(args);
    } else if (id == SIM_METHOD(20, 41)) {
        pilot_restart(pilot);
    } else if (pilot->ready) {
        LP_ASSERT(pilot->waiting);
        pilot->waiting = false;
    } else {
        pilot_script(pilot);
    }
}

static void
pilot_content(struct sim_client *client, uint16_t channel, const struct sim_content *content)
{
    struct pilot *pilot = client->user;
    (void)channel;
    if (content->method == 71) {
        LP_ASSERT(pilot->waiting);
        pilot->waiting = false;
    }
    LP_ASSERT(pilot->ops->content); /* else nobody sends it anything */
    pilot->ops->content(pilot, content);
}

static const struct sim_client_ops pilot_client_ops = {
    .opened = pilot_opened,
    .method = pilot_method,
    .content = pilot_content,
    .dead = pilot_dead,
};

/* Its node died, or has begun again and takes nobody yet; that costs no life. */
static bool
pilot_bereft(struct pilot *pilot)
{
    struct scene *scene = pilot->scene;
    const bool refused = scene->deaths > 0 && !pilot->opened && pilot->client.close_code == 0;
    if (pilot->deaths == scene->deaths && !refused) {
        return false;
    }
    pilot->lives += scene->calm ? 0 : 1;
    pilot->refused_until_ns = scene->now_ns + scene_below(scene, 20000000);
    return true;
}

static void
pilot_dead(struct sim_client *client)
{
    struct pilot *pilot = client->user;
    struct scene *scene = pilot->scene;
    if (client->close_code == 540) {
        (void)snprintf(scene->refused, sizeof(scene->refused), "%s", client->close_text);
    } else if (!client->closed_in_order && !pilot->vanishing && !pilot->tolerant &&
               !pilot_bereft(pilot)) {
        (void)fprintf(stderr, "connection.close %u %s\n", client->close_code, client->close_text);
        LP_ASSERT(!"the broker closed a connection of a client that did nothing wrong");
    }
    pilot->vanishing = false;
    if (pilot->ops->gone) {
        pilot->ops->gone(pilot);
    }
    pilot->ready = false;
    pilot->waiting = false;
}

/* ---- life ---- */

void
pilot_init(struct pilot *pilot, struct scene *scene, const struct pilot_ops *ops)
{
    memset(pilot, 0, sizeof(*pilot));
    pilot->scene = scene;
    pilot->ops = ops;
    pilot->shard = UINT32_MAX;
    pilot->accident = 4000;
    sim_client_init(&pilot->client, &pilot_client_ops, pilot);
}

void
pilot_fini(struct pilot *pilot)
{
    sim_client_fini(&pilot->client);
}

bool
pilot_away(const struct pilot *pilot)
{
    return pilot->client.far == LP_HANDLE_NONE;
}

void
pilot_restart(struct pilot *pilot)
{
    pilot->step = 0;
    pilot->ready = false;
    pilot->waiting = false;
    say_channel_open(&pilot->client);
}

void
pilot_wait(struct pilot *pilot)
{
    LP_ASSERT(!pilot->waiting);
    pilot->waiting = true;
    pilot->waiting_since_ns = pilot->scene->now_ns;
}

void
pilot_close(struct pilot *pilot)
{
    pilot->scene->closes++;
    sim_client_close(&pilot->client);
}

void
pilot_leave(struct pilot *pilot)
{
    pilot->lives = 0;
    pilot_close(pilot);
}

void
pilot_vanish(struct pilot *pilot)
{
    pilot->scene->resets++;
    pilot->vanishing = true;
    sim_client_reset(&pilot->client);
}

static void
pilot_connect(struct pilot *pilot)
{
    static const uint32_t frame_sizes[] = {4096, 4096, 8192, 131072};
    struct scene *scene = pilot->scene;
    const uint32_t any = scene_below(scene, scene->shard_count);
    const uint32_t frame_max = frame_sizes[scene_below(scene, 4)];
    pilot->lives--;
    pilot->ready = false;
    pilot->waiting = false;
    pilot->step = 0;
    pilot->opened = false;
    pilot->deaths = scene->deaths;
    pilot->connected_ns = scene->now_ns;
    pilot->pause_until_ns = 0;
    scene->connects++;
    sim_client_connect(&pilot->client, scene->net, pilot->shard < UINT32_MAX ? pilot->shard : any,
                       frame_max);
}

/* Now and then the world is unkind. */
static bool
pilot_accident(struct pilot *pilot)
{
    struct scene *scene = pilot->scene;
    if (scene->calm || !scene->set_up || pilot->accident == 0) {
        return false;
    }
    if (scene_below(scene, pilot->accident) == 0) {
        pilot_vanish(pilot);
        return true;
    }
    if (pilot->client.state == SIM_CLIENT_OPEN && scene_below(scene, 500) == 0) {
        pilot->client.stalled = true; /* a slow reader */
        pilot->stall_until_ns =
            scene->now_ns + lp_sim_random_between(&scene->random, 1000000, 200000000);
    }
    return false;
}

bool
pilot_act(struct pilot *pilot)
{
    struct scene *scene = pilot->scene;
    struct sim_client *client = &pilot->client;
    if (pilot_away(pilot)) {
        if (pilot->lives == 0 || scene->down || scene->now_ns < pilot->refused_until_ns) {
            return false;
        }
        pilot_connect(pilot);
        return true;
    }
    if (client->stalled && (scene->calm || scene->now_ns >= pilot->stall_until_ns)) {
        client->stalled = false;
    }
    if (pilot_accident(pilot)) {
        return true;
    }
    bool any = sim_client_step(client);
    if (pilot_away(pilot) || client->state != SIM_CLIENT_OPEN || !pilot->ready) {
        return any;
    }
    if (pilot->waiting) {
        LP_ASSERT(scene->now_ns - pilot->waiting_since_ns < ANSWER_NS_MAX);
        return any;
    }
    if (scene->now_ns >= pilot->pause_until_ns) {
        any |= pilot->ops->work(pilot);
    }
    return any;
}
