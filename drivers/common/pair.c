/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/pair.h>

#include <stdio.h>

/* Neither has so many streams: io_uring's tags have 24 bits for them, a net's pool fewer. */
#define SECOND ((lp_handle)1 << 31)

/* Whose a handle is, and what they call it. */
static const struct lp_transport *
whose(const struct lp_pair *pair, lp_handle *stream)
{
    if ((*stream & SECOND) == 0) {
        return &pair->options.first;
    }
    *stream &= ~SECOND;
    return &pair->options.second;
}

static void
pair_attach(void *self, lp_handle stream, uint64_t user)
{
    const struct lp_transport *transport = whose(self, &stream);
    transport->ops->attach(transport->self, stream, user);
}

static uint32_t
first_poll(struct lp_pair *pair, struct lp_transport_event *events, uint32_t events_max)
{
    const struct lp_transport *first = &pair->options.first;
    const uint32_t count = first->ops->poll(first->self, events, events_max);
    for (uint32_t i = 0; i < count; i++) {
        LP_ASSERT((events[i].stream & SECOND) == 0);
        if (events[i].kind == LP_TRANSPORT_ACCEPTED) {
            events[i].listener = pair->options.first_listener[events[i].listener];
        }
    }
    return count;
}

static uint32_t
second_poll(struct lp_pair *pair, struct lp_transport_event *events, uint32_t events_max)
{
    const struct lp_transport *second = &pair->options.second;
    const uint32_t count = second->ops->poll(second->self, events, events_max);
    for (uint32_t i = 0; i < count; i++) {
        LP_ASSERT((events[i].stream & SECOND) == 0);
        events[i].stream |= SECOND;
        if (events[i].kind == LP_TRANSPORT_ACCEPTED) {
            events[i].listener = pair->options.second_listener[events[i].listener];
        }
    }
    return count;
}

/* In turns: whoever begins cannot leave the other without room. */
static uint32_t
pair_poll(void *self, struct lp_transport_event *events, uint32_t events_max)
{
    struct lp_pair *pair = self;
    const bool second_begins = pair->second_begins;
    const uint32_t most = events_max - events_max / 4;
    pair->second_begins = !second_begins;
    if (second_begins) {
        const uint32_t count = second_poll(pair, events, most);
        return count + first_poll(pair, events + count, events_max - count);
    }
    const uint32_t count = first_poll(pair, events, most);
    return count + second_poll(pair, events + count, events_max - count);
}

static bool
pair_send(void *self, lp_handle stream, const struct lp_iovec *pieces, uint32_t count)
{
    const struct lp_transport *transport = whose(self, &stream);
    return transport->ops->send(transport->self, stream, pieces, count);
}

static void
pair_receive_stop(void *self, lp_handle stream)
{
    const struct lp_transport *transport = whose(self, &stream);
    transport->ops->receive_stop(transport->self, stream);
}

static void
pair_receive_start(void *self, lp_handle stream)
{
    const struct lp_transport *transport = whose(self, &stream);
    transport->ops->receive_start(transport->self, stream);
}

static void
pair_close(void *self, lp_handle stream)
{
    const struct lp_transport *transport = whose(self, &stream);
    transport->ops->close(transport->self, stream);
}

static void
pair_flush(void *self)
{
    const struct lp_pair_options *options = &((struct lp_pair *)self)->options;
    options->first.ops->flush(options->first.self);
    options->second.ops->flush(options->second.self);
}

static void
pair_accept_stop(void *self)
{
    const struct lp_pair_options *options = &((struct lp_pair *)self)->options;
    options->first.ops->accept_stop(options->first.self);
    options->second.ops->accept_stop(options->second.self);
}

static void
pair_accept_pause(void *self, bool paused)
{
    const struct lp_pair_options *options = &((struct lp_pair *)self)->options;
    options->first.ops->accept_pause(options->first.self, paused);
    options->second.ops->accept_pause(options->second.self, paused);
}

static void
pair_wait(void *self, uint64_t timeout_ns)
{
    const struct lp_pair_options *options = &((struct lp_pair *)self)->options;
    const struct lp_pair_sleep *sleep = &options->sleep;
    uint64_t next_ns = UINT64_MAX;
    if (!sleep->begin(sleep->context, &next_ns)) {
        return;
    }
    if (next_ns != UINT64_MAX) {
        const uint64_t now_ns = options->clock.monotonic_ns(options->clock.self);
        timeout_ns = LP_MIN(timeout_ns, next_ns > now_ns ? next_ns - now_ns : 0);
    }
    options->first.ops->wait(options->first.self, timeout_ns);
    sleep->end(sleep->context);
}

static void
pair_wake_any(void *self)
{
    const struct lp_pair_options *options = &((struct lp_pair *)self)->options;
    options->first.ops->wake_any(options->first.self);
}

struct lp_transport
lp_pair_init(struct lp_pair *pair, const struct lp_pair_options *options)
{
    *pair = (struct lp_pair){
        .options = *options,
        .ops =
            {
                .name = pair->name,
                .attach = pair_attach,
                .poll = pair_poll,
                .send = pair_send,
                .receive_stop = pair_receive_stop,
                .receive_start = pair_receive_start,
                .close = pair_close,
                .flush = pair_flush,
                .accept_stop = pair_accept_stop,
                .accept_pause = pair_accept_pause,
                .wait = pair_wait,
                .wake_any = pair_wake_any,
            },
    };
    (void)snprintf(pair->name, sizeof(pair->name), "%s+%s", options->first.ops->name,
                   options->second.ops->name);
    return (struct lp_transport){.ops = &pair->ops, .self = pair};
}
