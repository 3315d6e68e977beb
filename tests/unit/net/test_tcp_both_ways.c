/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do two of our own stacks agree, over a wire that does what wires do?
 *
 * Method: two instances of lp_net, a simulated Ethernet segment between them,
 * virtual time.  One opens a connection, both send a pattern in pieces of any
 * size, sometimes stop reading, and close; every byte is compared, every
 * invariant is walked after each turn, and at the end nothing is left: no
 * stream, no frame, no memory.
 */
#include "tests/unit/base/base_test.h"

#include <drivers/sim/sim.h>
#include <drivers/sim/wire.h>

#include "dataplane/net/net.h"
#include "dataplane/net/net_private.h"

#define TALK_SECOND_NS    1000000000ull
#define TALK_MEMORY_BYTES (32u << 20)
#define TALK_PORT         5672u
#define TALK_SEND_MAX     (256u << 10)

struct talk_side {
    struct lp_net *net;
    struct lp_transport transport;
    void *memory;
    lp_handle stream;
    bool open;
    bool stopped;
    bool stops;
    bool sending; /* a send() is not answered yet */
    bool closing;
    bool ended;
    bool closed;
    uint32_t to_send;
    uint32_t sent;
    uint32_t received;
    uint32_t asked; /* bytes of the send() under way */
    uint8_t *data;
};

struct talk {
    struct lp_sim_clock clock;
    struct lp_sim_random entropy;
    struct random random;
    struct lp_sim_wire *wire;
    struct talk_side side[2];
};

static uint8_t
talk_byte(uint32_t side, uint32_t offset)
{
    return (uint8_t)(offset * 13u + (offset >> 9) * 5u + side * 101u);
}

static void
side_open(struct talk *talk, uint32_t index, enum lp_net_congestion congestion)
{
    struct talk_side *side = &talk->side[index];
    side->memory = aligned_alloc(LP_SPAN_BYTES, TALK_MEMORY_BYTES);
    side->data = malloc(TALK_SEND_MAX);
    assert_true(side->memory != NULL && side->data != NULL);
    memset(side->memory, 0, TALK_MEMORY_BYTES);
    struct lp_net_config config = {
        .shard_count = 1,
        .port_count = 1,
        .listener_count = 1,
        .streams_max = 64,
        .congestion = congestion,
    };
    config.port[0].nic = lp_sim_wire_nic(talk->wire, index, 0);
    config.port[0].address_count = 1;
    config.port[0].address[0] =
        (struct lp_net_prefix){LP_ADDRESS_IPV4, 24, {10, 0, 0, (uint8_t)(index + 1)}};
    config.listener[0] = (struct lp_address){.family = LP_ADDRESS_IPV4, .port = TALK_PORT};
    const struct lp_net_env env = {.memory = side->memory,
                                   .memory_bytes = TALK_MEMORY_BYTES,
                                   .clock = lp_sim_clock_contract(&talk->clock),
                                   .entropy = lp_sim_random_entropy(&talk->entropy)};
    assert_int_equal(lp_net_open_boot(&config, &env, &side->net), LP_OK);
    side->transport = lp_net_transport(side->net);
}

static struct talk *
talk_make(const struct lp_sim_wire_config *wire, enum lp_net_congestion congestion, uint64_t seed)
{
    struct talk *talk = calloc(1, sizeof(*talk));
    assert_non_null(talk);
    lp_sim_clock_init(&talk->clock, 1000000000u, 0);
    lp_sim_random_seed(&talk->entropy, seed);
    talk->random.state = seed;
    talk->wire = lp_sim_wire_create(wire);
    side_open(talk, 0, congestion);
    side_open(talk, 1, congestion);
    return talk;
}

static void
talk_free(struct talk **talk)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct talk_side *side = &(*talk)->side[i];
        lp_net_close(&side->net);
        assert_int_equal(lp_sim_wire_lent((*talk)->wire, i, 0), 0);
        free(side->memory);
        free(side->data);
    }
    lp_sim_wire_destroy((*talk)->wire);
    free(*talk);
    *talk = NULL;
}

static void
side_event(struct talk *talk, uint32_t index, const struct lp_transport_event *event)
{
    struct talk_side *side = &talk->side[index];
    switch (event->kind) {
    case LP_TRANSPORT_ACCEPTED:
    case LP_TRANSPORT_CONNECTED:
        side->stream = event->stream;
        side->open = true;
        break;
    case LP_TRANSPORT_RECEIVED:
        for (uint32_t i = 0; i < event->bytes; i++) {
            assert_int_equal(event->data[i], talk_byte(1 - index, side->received + i));
        }
        side->received += event->bytes;
        break;
    case LP_TRANSPORT_SENT:
        assert_true(side->sending);
        assert_int_equal(event->bytes, side->asked);
        side->sending = false;
        side->sent += event->bytes;
        break;
    case LP_TRANSPORT_ENDED:
        side->ended = true;
        break;
    case LP_TRANSPORT_CLOSED:
        side->closed = true;
        side->open = false;
        break;
    }
}

/* Send some more, in pieces; stop reading, or begin again. */
static void
side_act(struct talk *talk, uint32_t index)
{
    struct talk_side *side = &talk->side[index];
    const struct lp_transport *transport = &side->transport;
    if (!side->open || side->closing) {
        return;
    }
    if (side->stops && random_below(&talk->random, 50) == 0) {
        side->stopped = !side->stopped;
        if (side->stopped) {
            transport->ops->receive_stop(transport->self, side->stream);
        } else {
            transport->ops->receive_start(transport->self, side->stream);
        }
    }
    if (side->sending || side->sent >= side->to_send) {
        return;
    }
    const uint32_t most = LP_MIN(side->to_send - side->sent, TALK_SEND_MAX);
    const uint32_t bytes = 1 + random_below(&talk->random, most);
    for (uint32_t i = 0; i < bytes; i++) {
        side->data[i] = talk_byte(index, side->sent + i);
    }
    const uint32_t cut = random_below(&talk->random, bytes);
    const struct lp_iovec pieces[2] = {{side->data, cut}, {side->data + cut, bytes - cut}};
    side->sending = true;
    side->asked = bytes;
    if (!transport->ops->send(transport->self, side->stream, pieces, 2)) {
        side->sending = false;
    }
}

static uint32_t
side_turn(struct talk *talk, uint32_t index)
{
    struct lp_transport_event events[32];
    struct talk_side *side = &talk->side[index];
    const uint32_t count = side->transport.ops->poll(side->transport.self, events, 32);
    for (uint32_t i = 0; i < count; i++) {
        side_event(talk, index, &events[i]);
    }
    side_act(talk, index);
    side->transport.ops->flush(side->transport.self);
    lp_net_check(side->net);
    return count;
}

static bool
talk_delivered(struct talk *talk)
{
    return talk->side[0].received == talk->side[1].to_send &&
           talk->side[1].received == talk->side[0].to_send;
}

static bool
talk_at_rest(struct talk *talk)
{
    const char *why = NULL;
    return lp_net_at_rest(talk->side[0].net, &why) && lp_net_at_rest(talk->side[1].net, &why);
}

static bool
talk_open(struct talk *talk)
{
    return talk->side[0].open && talk->side[1].open;
}

/* Turns until `done`; false: it did not come true in so much time. */
static bool
talk_run(struct talk *talk, bool (*done)(struct talk *), uint64_t limit_ns)
{
    const uint64_t end_ns = talk->clock.now_ns + limit_ns;
    uint32_t busy = 0;
    while (!done(talk)) {
        uint64_t next_ns = lp_sim_wire_next_ns(talk->wire);
        uint32_t events = 0;
        for (uint32_t i = 0; i < 2; i++) {
            events += side_turn(talk, i);
            uint64_t timer_ns = UINT64_MAX;
            const bool idle = lp_net_sleep_begin(talk->side[i].net, &timer_ns);
            if (idle) {
                lp_net_sleep_end(talk->side[i].net);
            }
            const bool acts = talk->side[i].stopped;
            next_ns = LP_MIN(next_ns, idle && !acts ? timer_ns : talk->clock.now_ns + 20000);
        }
        next_ns = LP_MIN(next_ns, lp_sim_wire_next_ns(talk->wire));
        busy = events > 0 ? busy : busy + 1;
        assert_true(busy < 20000000);
        if (next_ns >= end_ns) {
            return false;
        }
        lp_sim_clock_set(&talk->clock, LP_MAX(next_ns, talk->clock.now_ns + 1000));
        lp_sim_wire_advance(talk->wire, talk->clock.now_ns);
    }
    return true;
}

/* Side 1 opens a connection to side 0. */
static void
talk_connect(struct talk *talk)
{
    const struct lp_address to = {
        .family = LP_ADDRESS_IPV4, .port = TALK_PORT, .ip = {10, 0, 0, 1}};
    assert_int_not_equal(lp_net_connect(talk->side[1].net, &to), LP_HANDLE_NONE);
    assert_true(talk_run(talk, talk_open, 200 * TALK_SECOND_NS));
}

static void
talk_close(struct talk *talk)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct talk_side *side = &talk->side[i];
        side->closing = true;
        if (side->open) {
            side->transport.ops->close(side->transport.self, side->stream);
        }
    }
}

struct story {
    const char *name;
    struct lp_sim_wire_faults faults;
    uint64_t delay_ns;
    uint64_t bits_per_second;
    uint32_t bytes[2];
    bool tso;
    bool gro;
    bool stops; /* readers stop now and then */
    bool newreno;
    uint16_t mtu[2];
    uint64_t limit_s;
};

static const struct story stories[] = {
    {.name = "a clean wire", .bytes = {4u << 20, 4u << 20}, .limit_s = 60},
    {.name = "a clean wire with offloads",
     .bytes = {8u << 20, 1u << 20},
     .tso = true,
     .gro = true,
     .limit_s = 60},
    {.name = "readers that stop",
     .bytes = {2u << 20, 2u << 20},
     .stops = true,
     .tso = true,
     .limit_s = 300},
    {.name = "one in a hundred lost",
     .faults = {.lose = 10},
     .delay_ns = 2000000,
     .bytes = {2u << 20, 2u << 20},
     .limit_s = 300},
    {.name = "one in twenty lost, with offloads",
     .faults = {.lose = 50},
     .delay_ns = 500000,
     .bytes = {1u << 20, 1u << 20},
     .tso = true,
     .newreno = true,
     .limit_s = 600},
    {.name = "everything at once",
     .faults = {.lose = 20,
                .duplicate = 20,
                .reorder = 50,
                .corrupt = 10,
                .truncate = 5,
                .dry = 20,
                .refuse = 20,
                .reorder_ns_max = 3000000,
                .jitter_ns_max = 1000000},
     .delay_ns = 1000000,
     .bytes = {512u << 10, 512u << 10},
     .stops = true,
     .limit_s = 900},
    {.name = "different MTUs",
     .faults = {.lose = 5},
     .bytes = {1u << 20, 1u << 20},
     .mtu = {1500, 600},
     .limit_s = 300},
    {.name = "a slow and narrow link",
     .delay_ns = 20000000,
     .bits_per_second = 10000000,
     .bytes = {2u << 20, 100u << 10},
     .limit_s = 300},
};

static void
story_tell(const struct story *story, uint64_t seed)
{
    struct lp_sim_wire_config wire = lp_sim_wire_config_default(seed);
    wire.faults = story->faults;
    wire.delay_ns = story->delay_ns != 0 ? story->delay_ns : wire.delay_ns;
    wire.bits_per_second = story->bits_per_second;
    for (uint32_t i = 0; i < 2; i++) {
        wire.end[i].l4_fill = story->tso;
        wire.end[i].tso = story->tso;
        wire.end[i].gro = story->gro;
        wire.end[i].mtu_bytes = story->mtu[i];
    }
    struct talk *talk = talk_make(&wire, story->newreno ? LP_NET_NEWRENO : LP_NET_CUBIC, seed);
    talk_connect(talk);
    for (uint32_t i = 0; i < 2; i++) {
        talk->side[i].to_send = story->bytes[i];
        talk->side[i].stops = story->stops;
    }
    const uint64_t began_ns = talk->clock.now_ns;
    const bool done = talk_run(talk, talk_delivered, story->limit_s * TALK_SECOND_NS);
    if (!done) {
        print_message("%s, seed %u: %u of %u, %u of %u after %u ms\n", story->name, (unsigned)seed,
                      talk->side[1].received, story->bytes[0], talk->side[0].received,
                      story->bytes[1], (unsigned)((talk->clock.now_ns - began_ns) / 1000000u));
    }
    assert_true(done);
    talk_close(talk);
    assert_true(talk_run(talk, talk_at_rest, 1200 * TALK_SECOND_NS));
    talk_free(&talk);
}

static void
every_byte_arrives_once_and_nothing_is_left(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < LP_COUNT_OF(stories); i++) {
        for (uint64_t seed = 1; seed <= 3; seed++) {
            story_tell(&stories[i], seed);
        }
    }
}

/* --- ECN. ------------------------------------------------------------------------------------ */

struct router {
    struct random random;
    uint32_t marked;
};

/* One of fifty packets that may be marked is (RFC 3168 5); IPv4's checksum with it. */
static bool
router_pass(void *context, uint32_t from, uint8_t *data, uint32_t bytes)
{
    struct router *router = context;
    (void)from;
    if (bytes < 34 || data[12] != 0x08 || data[13] != 0 || (data[15] & 3) == 0 ||
        random_below(&router->random, 50) != 0) {
        return true;
    }
    assert_int_equal(data[15] & 3, 2); /* ECT(0), of a segment with data */
    assert_true(bytes > 14u + 20u + (data[46] >> 4) * 4u);
    router->marked++;
    data[15] |= 3;
    data[24] = data[25] = 0;
    const uint32_t sum = net_sum(data + 14, 20, 0);
    data[24] = (uint8_t)(~sum >> 8);
    data[25] = (uint8_t)~sum;
    return true;
}

/* RFC 3168 6.1: marks instead of losses: the window shrinks, and nothing has to be sent again. */
static void
marks_shrink_windows_and_cost_nothing_else(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < 8; i++) {
        const bool wanted = (i & 4) == 0;
        struct router router = {.random = {.state = i}};
        struct lp_sim_wire_config wire = lp_sim_wire_config_default(i);
        for (uint32_t end = 0; end < 2; end++) {
            wire.end[end].l4_fill = wire.end[end].tso = (i & 1) != 0;
            wire.end[end].gro = (i & 2) != 0;
        }
        struct talk *talk = talk_make(&wire, LP_NET_CUBIC, i);
        talk->side[0].net->config.ecn = wanted ? LP_NET_ECN_PASSIVE : LP_NET_ECN_OFF;
        talk->side[1].net->config.ecn = LP_NET_ECN_ACTIVE;
        lp_sim_wire_filter_set(talk->wire, router_pass, &router);
        talk_connect(talk);
        talk->side[0].to_send = talk->side[1].to_send = 1u << 20;
        assert_true(talk_run(talk, talk_delivered, 60 * TALK_SECOND_NS));
        talk_close(talk);
        assert_true(talk_run(talk, talk_at_rest, 1200 * TALK_SECOND_NS));
        uint64_t told = 0;
        for (uint32_t side = 0; side < 2; side++) {
            const struct lp_net_counters *counters = lp_net_counters_of(talk->side[side].net);
            told += counters->tcp_ecn_ce_received;
            assert_int_equal(counters->tcp_retransmitted, 0);
            assert_int_equal(counters->tcp_ecn_reductions > 0, wanted);
        }
        assert_true(told == router.marked || (i & 2) != 0); /* a card joins marked ones, too */
        assert_int_equal(told > 0, wanted);
        talk_free(&talk);
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_arrives_once_and_nothing_is_left),
        cmocka_unit_test(marks_shrink_windows_and_cost_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
