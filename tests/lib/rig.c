/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/rig.h"

#include <stdlib.h>

#include "control/link/control.h"
#include "dataplane/shard/shard.h"
#include "drivers/sim/sim.h"

#define TURN_NS       20000u
#define SETTLE_ROUNDS 100000u
/* What is due within this is waited for by rig_settle(): retries, not time-outs... */
#define SOON_NS 5000000u
/* ...and so often, because some retries wait for what does not come (a publisher for memory). */
#define IDLE_ROUNDS   8u
#define STREAMS_FIRST 1u /* handles' indexes; 0 would be LP_HANDLE_NONE */

struct rig_port {
    struct rig *rig;
    uint32_t shard;
};

struct rig {
    uint32_t shard_count;
    struct lp_sim_clock clock;
    uint64_t tick_ns;
    uint64_t looks; /* at the clock, in this turn */
    struct lp_sim_random random;
    void *region;
    void *fabric_memory;
    struct lp_fabric *fabric;
    void *memory[RIG_SHARDS_MAX];
    struct lp_shard *shard[RIG_SHARDS_MAX];
    uint64_t next_ns[RIG_SHARDS_MAX];
    struct rig_port port[RIG_SHARDS_MAX];
    struct lp_store_memory *store;
    struct lp_control *control;
    uint32_t control_generation;
    struct rig_client client[RIG_CLIENTS_MAX];
};

/* ---- the transport ---- */

static lp_handle
client_handle(const struct rig_client *client)
{
    const uint32_t index = (uint32_t)(client - client->rig->client);
    return lp_handle_make(index + STREAMS_FIRST, client->generation);
}

/* NULL: stale, as the contract allows. */
static struct rig_client *
client_of(void *self, lp_handle stream)
{
    const struct rig_port *port = self;
    const uint32_t index = lp_handle_index(stream) - STREAMS_FIRST;
    if (index >= RIG_CLIENTS_MAX) {
        return NULL;
    }
    struct rig_client *client = &port->rig->client[index];
    const bool live = client->state == RIG_CLIENT_OPEN || client->state == RIG_CLIENT_NEW;
    return live && client->generation == lp_handle_generation(stream) ? client : NULL;
}

static void
port_attach(void *self, lp_handle stream, uint64_t user)
{
    struct rig_client *client = client_of(self, stream);
    if (client) {
        client->user = user;
    }
}

static struct lp_transport_event *
event_add(struct rig_client *client, struct lp_transport_event *event,
          enum lp_transport_event_kind kind)
{
    event->kind = kind;
    event->stream = client_handle(client);
    event->user = client->user;
    event->data = NULL;
    event->bytes = 0;
    return event;
}

static void
event_accepted(struct rig_client *client, struct lp_transport_event *event)
{
    static const struct lp_address peer = {
        .family = LP_ADDRESS_IPV4, .port = 40000, .ip = {127, 0, 0, 1}};
    static const struct lp_address local = {
        .family = LP_ADDRESS_IPV4, .port = 5672, .ip = {127, 0, 0, 1}};
    client->state = RIG_CLIENT_OPEN;
    (void)event_add(client, event, LP_TRANSPORT_ACCEPTED);
    event->listener = 0;
    event->peer = peer;
    event->local = local;
}

/* What one client has for its shard: at most three events. */
static uint32_t
client_poll(struct rig_client *client, struct lp_transport_event *events)
{
    uint32_t count = 0;
    if (client->state == RIG_CLIENT_CLOSED) {
        (void)event_add(client, &events[count++], LP_TRANSPORT_CLOSED);
        client->state = RIG_CLIENT_FREE;
        return count;
    }
    if (client->state == RIG_CLIENT_NEW) {
        event_accepted(client, &events[count++]);
        return count;
    }
    if (client->sending > 0 && !client->slow) {
        event_add(client, &events[count++], LP_TRANSPORT_SENT)->bytes = (uint32_t)client->sending;
        client->sending = 0;
    }
    if (client->stopped) {
        return count;
    }
    if (client->input.size > 0) {
        struct lp_transport_event *event =
            event_add(client, &events[count++], LP_TRANSPORT_RECEIVED);
        event->data = client->input.data;
        event->bytes = client->input.size;
        client->input = lp_bytes_of(NULL, 0);
    } else if (client->ended && !client->ended_told) {
        (void)event_add(client, &events[count++], LP_TRANSPORT_ENDED);
        client->ended_told = true;
    }
    return count;
}

static uint32_t
port_poll(void *self, struct lp_transport_event *events, uint32_t events_max)
{
    const struct rig_port *port = self;
    uint32_t count = 0;
    for (uint32_t i = 0; i < RIG_CLIENTS_MAX; i++) {
        struct rig_client *client = &port->rig->client[i];
        if (client->state != RIG_CLIENT_FREE && client->shard == port->shard) {
            LP_ASSERT(events_max - count >= 3);
            count += client_poll(client, events + count);
        }
    }
    return count;
}

static bool
port_send(void *self, lp_handle stream, const struct lp_iovec *pieces, uint32_t count)
{
    struct rig_client *client = client_of(self, stream);
    if (!client || client->sending > 0) {
        return false;
    }
    LP_ASSERT(count > 0 && count <= LP_TRANSPORT_IOV_MAX);
    for (uint32_t i = 0; i < count; i++) {
        LP_ASSERT(pieces[i].bytes > 0);
        client->sending += pieces[i].bytes;
        if (client->sink) {
            client->sink(client->sink_context,
                         lp_bytes_of(pieces[i].data, (uint32_t)pieces[i].bytes));
        }
    }
    client->sent += client->sending;
    return true;
}

static void
port_receive_stop(void *self, lp_handle stream)
{
    struct rig_client *client = client_of(self, stream);
    if (client) {
        client->stopped = true;
    }
}

static void
port_receive_start(void *self, lp_handle stream)
{
    struct rig_client *client = client_of(self, stream);
    if (client) {
        client->stopped = false;
    }
}

static void
port_close(void *self, lp_handle stream)
{
    struct rig_client *client = client_of(self, stream);
    if (client) {
        client->state = RIG_CLIENT_CLOSED;
        client->input = lp_bytes_of(NULL, 0);
    }
}

static void
port_accept_pause(void *self, bool paused)
{
    (void)self;
    (void)paused;
}

static void
port_nothing(void *self)
{
    (void)self; /* no kernel to push to, nobody who waits */
}

static void
port_wait(void *self, uint64_t timeout_ns)
{
    (void)self;
    (void)timeout_ns; /* the rig never lets a shard sleep */
}

static const struct lp_transport_ops port_ops = {
    .name = "rig",
    .attach = port_attach,
    .poll = port_poll,
    .send = port_send,
    .receive_stop = port_receive_stop,
    .receive_start = port_receive_start,
    .close = port_close,
    .flush = port_nothing,
    .accept_stop = port_nothing,
    .accept_pause = port_accept_pause,
    .wait = port_wait,
    .wake_any = port_nothing,
};

/* ---- making ---- */

static void *
memory_get(size_t bytes)
{
    const size_t whole = (bytes + LP_SPAN_BYTES - 1) & ~(size_t)(LP_SPAN_BYTES - 1);
    void *memory = aligned_alloc(LP_SPAN_BYTES, whole);
    LP_ASSERT(memory);
    memset(memory, 0, whole);
    return memory;
}

static void
ignore_wake_shard(void *context, uint32_t shard)
{
    (void)context;
    (void)shard; /* every shard has its turn anyway */
}

static void
ignore_wake_control(void *context)
{
    (void)context;
}

static uint64_t
turn_clock_ns(void *self)
{
    struct rig *rig = self;
    return rig->clock.now_ns + rig->tick_ns * ++rig->looks;
}

static void
shard_start(struct rig *rig, uint32_t index, uint64_t memory_bytes,
            const struct lp_transport *transport)
{
    static const struct lp_address listener = {.family = LP_ADDRESS_IPV4, .port = 5672};
    const struct lp_shard_config config = {
        .index = index,
        .count = rig->shard_count,
        .frame_max_bytes = 131072,
        .channel_max = 2047,
        .heartbeat_s = 60,
        .handshake_timeout_ms = 10000,
        .control_timeout_ms = 30000,
        .message_bytes_max = 16u << 20,
        .connections_max = RIG_CLIENTS_MAX,
        .cluster_name = "rig",
    };
    rig->memory[index] = memory_get(memory_bytes);
    rig->port[index] = (struct rig_port){rig, index};
    const struct lp_shard_env env = {
        .memory = rig->memory[index],
        .memory_bytes = memory_bytes,
        .watermark_bytes = memory_bytes / 10 * 8,
        .transport = *transport,
        .entropy = lp_sim_random_entropy(&rig->random),
        .clock = {turn_clock_ns, turn_clock_ns, rig},
        .fabric = rig->fabric,
        .region = rig->region,
        .listeners = &listener,
        .listener_count = 1,
        .wake_shard = ignore_wake_shard,
        .wake_control = ignore_wake_control,
        .wake_context = rig,
    };
    const enum lp_err err =
        lp_shard_init_boot(&config, &env, rig->clock.now_ns,
                           rig->clock.now_ns + rig->clock.wall_offset_ns, &rig->shard[index]);
    LP_ASSERT(err == LP_OK);
}

/* All but shards. */
static struct rig *
rig_make(uint32_t shard_count)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    LP_ASSERT(rig);
    LP_ASSERT(shard_count > 0 && shard_count <= RIG_SHARDS_MAX);
    rig->shard_count = shard_count;
    lp_sim_clock_init(&rig->clock, 1000000000u, 1700000000000000000u);
    lp_sim_random_seed(&rig->random, 1);
    rig->region = memory_get(lp_control_region_bytes(rig->shard_count));
    lp_control_region_init_boot(rig->region, rig->shard_count);
    rig->fabric_memory = memory_get(lp_fabric_bytes(rig->shard_count));
    rig->fabric = lp_fabric_init_boot(rig->fabric_memory, rig->shard_count);
    rig->store = lp_store_memory_open();
    for (uint32_t i = 0; i < RIG_CLIENTS_MAX; i++) {
        rig->client[i].rig = rig;
    }
    return rig;
}

struct rig *
rig_open(const struct rig_options *options)
{
    struct rig *rig = rig_make(options->shard_count);
    for (uint32_t i = 0; i < rig->shard_count; i++) {
        const struct lp_transport own = {&port_ops, &rig->port[i]};
        shard_start(rig, i, options->memory_bytes, &own);
    }
    rig_control_start(rig);
    rig_settle(rig);
    return rig;
}

struct rig *
rig_open_over(const struct lp_transport *transport, uint64_t memory_bytes)
{
    struct rig *rig = rig_make(1);
    shard_start(rig, 0, memory_bytes, transport);
    rig_control_start(rig);
    rig_settle(rig);
    return rig;
}

void
rig_close(struct rig **rig)
{
    struct rig *gone = *rig;
    *rig = NULL;
    rig_control_stop(gone);
    lp_store_memory_close(&gone->store);
    for (uint32_t i = 0; i < gone->shard_count; i++) {
        free(gone->memory[i]);
    }
    free(gone->fabric_memory);
    free(gone->region);
    free(gone);
}

void
rig_control_stop(struct rig *rig)
{
    if (rig->control) {
        lp_control_close(&rig->control);
    }
}

void
rig_control_start(struct rig *rig)
{
    struct lp_control_options options = {
        .region = rig->region,
        .shard_count = rig->shard_count,
        .generation = ++rig->control_generation,
        .store = lp_store_memory_store(rig->store),
        .clock = lp_sim_clock_contract(&rig->clock),
        .entropy = lp_sim_random_entropy(&rig->random),
        .wake_shard = ignore_wake_shard,
        .context = rig,
    };
    LP_ASSERT(!rig->control);
    lp_control_settings_default(&options.settings);
    const enum lp_err err = lp_control_open_boot(&options, &rig->control);
    LP_ASSERT(err == LP_OK);
}

bool
rig_control_runs(const struct rig *rig)
{
    return rig->control != NULL;
}

struct lp_control *
rig_control(struct rig *rig)
{
    return rig->control;
}

void
rig_clock_tick(struct rig *rig, uint64_t tick_ns)
{
    rig->tick_ns = tick_ns;
}

/* ---- turning ---- */

uint32_t
rig_shards_turn(struct rig *rig)
{
    uint32_t work = 0;
    for (uint32_t i = 0; i < rig->shard_count; i++) {
        lp_sim_clock_advance(&rig->clock, TURN_NS);
        const uint64_t now_ns = rig->clock.now_ns;
        rig->looks = 0;
        const struct lp_turn_result result =
            lp_shard_turn(rig->shard[i], now_ns, now_ns + rig->clock.wall_offset_ns);
        rig->next_ns[i] = result.next_ns;
        work += result.work;
    }
    return work;
}

uint32_t
rig_turn(struct rig *rig)
{
    uint32_t work = rig_shards_turn(rig);
    if (rig->control) {
        work += lp_control_turn(rig->control);
    }
    return work;
}

/* When a shard or control has something to do without input. */
static uint64_t
rig_next_ns(const struct rig *rig)
{
    const uint64_t now_ns = rig->clock.now_ns;
    const uint64_t wait_ns = rig->control ? lp_control_wait_ns(rig->control) : UINT64_MAX;
    uint64_t next_ns = wait_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + wait_ns;
    for (uint32_t i = 0; i < rig->shard_count; i++) {
        next_ns = LP_MIN(next_ns, rig->next_ns[i]);
    }
    return next_ns;
}

void
rig_settle(struct rig *rig)
{
    uint32_t idle = 0;
    for (uint32_t round = 0; idle < IDLE_ROUNDS; round++) {
        LP_ASSERT(round < SETTLE_ROUNDS); /* it works for ever: a hang */
        idle = rig_turn(rig) == 0 ? idle + 1 : 0;
        const uint64_t next_ns = rig_next_ns(rig);
        if (idle > 1 && next_ns > rig->clock.now_ns + SOON_NS) {
            return;
        }
        if (idle > 1 && next_ns > rig->clock.now_ns) {
            lp_sim_clock_set(&rig->clock, next_ns);
        }
    }
}

void
rig_time_pass(struct rig *rig, uint64_t by_ns)
{
    lp_sim_clock_advance(&rig->clock, by_ns);
}

struct lp_shard *
rig_shard(struct rig *rig, uint32_t index)
{
    return rig->shard[index];
}

struct lp_stats_page *
rig_stats(struct rig *rig, uint32_t index)
{
    return lp_control_region_stats(rig->region, index);
}

void *
rig_region(struct rig *rig)
{
    return rig->region;
}

void
rig_check(const struct rig *rig)
{
    for (uint32_t i = 0; i < rig->shard_count; i++) {
        lp_shard_check(rig->shard[i]);
    }
}

const char *
rig_at_rest(const struct rig *rig)
{
    const char *why = NULL;
    for (uint32_t i = 0; i < rig->shard_count; i++) {
        if (!lp_shard_at_rest(rig->shard[i], &why)) {
            return why;
        }
    }
    return NULL;
}

/* ---- clients ---- */

struct rig_client *
rig_connect(struct rig *rig, uint32_t shard)
{
    LP_ASSERT(shard < rig->shard_count);
    for (uint32_t i = 0; i < RIG_CLIENTS_MAX; i++) {
        struct rig_client *client = &rig->client[i];
        if (client->state == RIG_CLIENT_FREE) {
            *client = (struct rig_client){
                .rig = rig,
                .shard = shard,
                .generation = client->generation + 1,
                .state = RIG_CLIENT_NEW,
            };
            return client;
        }
    }
    LP_ASSERT(!"more clients than RIG_CLIENTS_MAX");
    return NULL;
}

void
rig_feed(struct rig_client *client, struct lp_bytes bytes)
{
    LP_ASSERT(client->input.size == 0);
    LP_ASSERT(!client->ended);
    client->input = bytes;
}

bool
rig_say(struct rig_client *client, struct lp_bytes bytes)
{
    if (client->say) {
        return client->say(client->say_context, bytes);
    }
    rig_feed(client, bytes);
    rig_settle(client->rig);
    return client->state == RIG_CLIENT_OPEN && client->input.size == 0;
}

void
rig_hang_up(struct rig_client *client)
{
    client->input = lp_bytes_of(NULL, 0);
    client->slow = false; /* a send to a peer that is gone fails, and so is over */
    client->stopped = false;
    client->ended = true;
}

bool
rig_client_gone(const struct rig_client *client)
{
    return client->state == RIG_CLIENT_FREE;
}
