/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_shard.h - shard.h with nothing behind it but an echo: for tests of the
 * host alone.  Every byte goes back; a stream that begins with '!' stops its
 * shard.  Included by one file of a program.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include <dataplane/shard/shard.h>
#include <lepus/atomic.h>

#define FAKE_EVENTS 64
#define FAKE_BYTES  65536

struct lp_shard {
    struct lp_shard_config config;
    struct lp_shard_env env;
    bool stopped;
    bool sleeping;
    uint32_t sleeps; /* the test looks while the shard runs */
    uint32_t measured;
    uint32_t echo_bytes;
    uint8_t echo[FAKE_BYTES];
    struct lp_transport_event events[FAKE_EVENTS];
};

enum lp_err
lp_shard_init_boot(const struct lp_shard_config *config, const struct lp_shard_env *env,
                   uint64_t now_ns, uint64_t wall_ns, struct lp_shard **ret_shard)
{
    LP_ASSERT(now_ns > 0 && wall_ns > 0);
    if (env->memory_bytes < sizeof(struct lp_shard)) {
        return LP_ERR_NO_MEMORY;
    }
    *ret_shard = env->memory;
    memset(*ret_shard, 0, sizeof(**ret_shard));
    (*ret_shard)->config = *config;
    (*ret_shard)->env = *env;
    return LP_OK;
}

static void
fake_event(struct lp_shard *shard, const struct lp_transport_event *event)
{
    const struct lp_transport *transport = &shard->env.transport;
    if (event->kind == LP_TRANSPORT_ENDED) {
        transport->ops->close(transport->self, event->stream);
    }
    if (event->kind != LP_TRANSPORT_RECEIVED) {
        return;
    }
    shard->stopped = shard->stopped || event->data[0] == '!';
    /* One echo at a time: enough for a ping-pong. */
    shard->echo_bytes = LP_MIN(event->bytes, (uint32_t)FAKE_BYTES);
    memcpy(shard->echo, event->data, shard->echo_bytes);
    const struct lp_iovec piece = {.data = shard->echo, .bytes = shard->echo_bytes};
    (void)transport->ops->send(transport->self, event->stream, &piece, 1);
}

struct lp_turn_result
lp_shard_turn(struct lp_shard *shard, uint64_t now_ns, uint64_t wall_ns)
{
    LP_ASSERT(now_ns > 0 && wall_ns > 0);
    LP_ASSERT(!shard->sleeping);
    const struct lp_transport *transport = &shard->env.transport;
    const uint32_t count = transport->ops->poll(transport->self, shard->events, FAKE_EVENTS);
    for (uint32_t i = 0; i < count; i++) {
        fake_event(shard, &shard->events[i]);
    }
    transport->ops->flush(transport->self);
    return (struct lp_turn_result){
        .work = count, .next_ns = UINT64_MAX, .stopped = shard->stopped && count == 0};
}

bool
lp_shard_sleep_begin(struct lp_shard *shard)
{
    shard->sleeping = true;
    lp_store_release(&shard->sleeps, lp_load_acquire(&shard->sleeps) + 1);
    return true;
}

void
lp_shard_sleep_end(struct lp_shard *shard)
{
    shard->sleeping = false;
}

void
lp_shard_turn_measured(struct lp_shard *shard, uint64_t turn_ns)
{
    (void)turn_ns;
    shard->measured++;
}

/* It keeps nothing. */
void
lp_shard_recovery(const struct lp_shard *shard, struct lp_shard_recovery *ret_recovery)
{
    (void)shard;
    *ret_recovery = (struct lp_shard_recovery){.state = LP_SHARD_RECOVERED};
}

void
lp_shard_close_begin(struct lp_shard *shard)
{
    (void)shard;
}

bool
lp_shard_closed(const struct lp_shard *shard)
{
    return shard->stopped;
}
