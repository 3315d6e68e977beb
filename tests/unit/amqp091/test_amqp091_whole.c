/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: how bytes are cut on their way makes no difference: a publish that is
 * all here is taken in one step (whole.c), one that comes in pieces frame by
 * frame, and both do the same.
 *
 * Method: a broker and one talker, whose three channels say what a seed
 * chooses, in phases: publishes of many kinds between acknowledgements, gets
 * and other methods; now and then something that a channel or the connection is
 * closed for.  The same bytes are said again to fresh brokers, an octet a turn
 * and cut at random.  Compared are what each consumer was delivered, octet for
 * octet, what came back, what was confirmed and refused, all other answers of
 * each channel in their order, and what the broker has counted.
 *
 * Where the order may depend on the turn (of confirms among each other, of a
 * delivery and a confirm) it is not compared.
 */
#include "tests/unit/amqp091/whole_story.h"

/* ---- the world ---- */

static void
say_exchange(struct world *world, const char *name, const char *type, uint8_t bits)
{
    struct rig_method method;
    rig_method_begin(&method, 1, AMQP091_EXCHANGE_DECLARE);
    lp_writer_u16be(&method.writer, 0);
    lp_writer_short(&method.writer, lp_bytes_of_text(name));
    lp_writer_short(&method.writer, lp_bytes_of_text(type));
    lp_writer_u8(&method.writer, bits);
    lp_writer_u32be(&method.writer, 0);
    assert_true(rig_method_say(world->keeper, &method));
}

/* "turns" is sometimes a fanout to c, sometimes a direct exchange that leads to a for one key. */
static void
exchange_turns(struct world *world, uint32_t phase)
{
    struct rig_method method;
    if (phase > 0) {
        rig_method_begin(&method, 1, AMQP091_EXCHANGE_DELETE);
        lp_writer_u16be(&method.writer, 0);
        lp_writer_short(&method.writer, lp_bytes_of_text("turns"));
        lp_writer_u8(&method.writer, 0);
        assert_true(rig_method_say(world->keeper, &method));
        char other[16]; /* has the memory of the one that is gone */
        (void)snprintf(other, sizeof(other), "other%u", phase);
        say_exchange(world, other, "fanout", 0);
    }
    say_exchange(world, "turns", phase % 2 ? "direct" : "fanout", 0);
    rig_bind_queue(world->keeper, phase % 2 ? "a" : "c", "turns", "a");
}

static void
headers_bind(struct world *world)
{
    struct rig_method method;
    rig_method_begin(&method, 1, AMQP091_QUEUE_BIND);
    lp_writer_u16be(&method.writer, 0);
    lp_writer_short(&method.writer, lp_bytes_of_text("b"));
    lp_writer_short(&method.writer, lp_bytes_of_text("headers"));
    lp_writer_short(&method.writer, lp_bytes_of_text(""));
    lp_writer_u8(&method.writer, 0);
    write_headers(&method.writer, "colour", "red");
    assert_true(rig_method_say(world->keeper, &method));
}

static void
world_open(struct world *world, uint32_t shards, bool wild)
{
    static const char *const kinds[] = {"direct", "topic", "headers"};
    const struct rig_options options = {shards, MEMORY_BYTES};
    memset(world, 0, sizeof(*world));
    world->output = malloc(OUTPUT_BYTES);
    assert_non_null(world->output);
    world->rig = rig_open(&options);
    world->keeper = rig_connect(world->rig, 0);
    rig_open_channel(world->keeper);
    rig_declare_queue(world->keeper, "a");
    rig_declare_queue(world->keeper, "b");
    rig_declare_queue(world->keeper, "c");
    rig_declare_queue(world->keeper, "d");
    for (uint32_t i = 0; i < LP_COUNT_OF(kinds); i++) {
        say_exchange(world, kinds[i], kinds[i], 0);
    }
    say_exchange(world, "fan", "fanout", 0);
    say_exchange(world, "secret", "fanout", 8); /* internal */
    rig_bind_queue(world->keeper, "a", "direct", "a");
    rig_bind_queue(world->keeper, "b", "topic", "x.#");
    rig_bind_queue(world->keeper, "c", "topic", "*.y");
    for (uint32_t i = 0; i < 3; i++) {
        const char name[] = {(char)('a' + i), '\0'};
        rig_bind_queue(world->keeper, name, "fan", "");
    }
    headers_bind(world);
    exchange_turns(world, 0);

    world->talker = rig_connect(world->rig, 0);
    rig_open_channel(world->talker);
    rig_confirm_select(world->talker);
    rig_consume(world->talker, "a", 0);
    uint8_t bytes[256];
    struct lp_writer writer = lp_writer_of(bytes, sizeof(bytes));
    say_channel_open(&writer, 2, wild);
    say_channel_open(&writer, 3, wild);
    assert_true(rig_say(world->talker, lp_writer_bytes(&writer)));
    world->talker->sink = sink;
    world->talker->sink_context = world;
}

static void
world_close(struct world *world)
{
    world->outcome.gone = rig_client_gone(world->talker);
    for (uint32_t i = 0; i < 1; i++) {
        world->outcome.stats = *rig_stats(world->rig, i);
    }
    if (!world->outcome.gone) {
        rig_hang_up(world->talker);
    }
    rig_settle(world->rig);
    rig_check(world->rig);
    rig_hang_up(world->keeper);
    rig_settle(world->rig);
    rig_close(&world->rig);
    free(world->output);
}

/* ---- saying it ---- */

enum cut {
    CUT_WHOLE,
    CUT_OCTETS,
    CUT_FRAMES, /* at the ends of frames */
    CUT_RANDOM, /* ... and with any other number, as that says */
};

static uint32_t
cut_next(enum cut cut, struct dice *dice, struct lp_bytes left)
{
    if (cut == CUT_WHOLE || cut == CUT_OCTETS) {
        return cut == CUT_WHOLE ? left.size : 1;
    }
    if (cut == CUT_FRAMES) {
        struct lp_reader reader = lp_reader_of_bytes(left);
        (void)lp_reader_take(&reader, 3);
        const uint64_t bytes = 8ull + lp_reader_u32be(&reader);
        return (uint32_t)LP_MIN(bytes, (uint64_t)left.size);
    }
    const uint32_t most = 1u << (1 + roll(dice, 10));
    return 1 + roll(dice, LP_MIN(left.size, most));
}

static void
say_bytes(struct world *world, struct lp_bytes bytes, uint32_t cut)
{
    struct dice dice = {cut + 1};
    while (bytes.size > 0 && world->talker->state == RIG_CLIENT_OPEN) {
        const uint32_t piece = cut_next((enum cut)cut, &dice, bytes);
        /* In memory of its own: what is read behind it is an error. */
        uint8_t *copy = malloc(piece);
        assert_non_null(copy);
        memcpy(copy, bytes.data, piece);
        rig_feed(world->talker, lp_bytes_of(copy, piece));
        do {
            (void)rig_turn(world->rig);
        } while (world->talker->state == RIG_CLIENT_OPEN && world->talker->input.size > 0);
        free(copy);
        bytes = lp_bytes_of(bytes.data + piece, bytes.size - piece);
    }
    rig_settle(world->rig);
    hear(world);
}

/* What keeps happening between phases. */
static void
between(struct world *world, uint32_t phase)
{
    if (phase % 3 == 2) {
        exchange_turns(world, phase);
    }
}

static void
tell(struct story *story, struct world *world, uint32_t seed)
{
    struct author author = {.dice = {seed * 0x9e3779b97f4a7c15u + 1},
                            .world = world,
                            .wild = seed % 2 != 0,
                            .gives = seed % 4 == 2};
    story->phases = 0;
    while (story->phases < PHASES && !rig_client_gone(world->talker)) {
        struct phase *phase = &story->phase[story->phases];
        phase_write(&author, phase);
        say_bytes(world, lp_bytes_of(phase->data, phase->bytes), CUT_WHOLE);
        between(world, story->phases++);
    }
}

static void
tell_again(const struct story *story, struct world *world, uint32_t cut)
{
    for (uint32_t i = 0; i < story->phases; i++) {
        const struct phase *phase = &story->phase[i];
        say_bytes(world, lp_bytes_of(phase->data, phase->bytes), cut);
        between(world, i);
    }
}

/* ---- comparing ---- */

#define SAME(what)                                                                \
    if (one->what != other->what) {                                               \
        fail_msg("%s: " #what " is %llu in one piece, %llu in others", name,      \
                 (unsigned long long)one->what, (unsigned long long)other->what); \
    }

static void
expect_same(const struct outcome *one, const struct outcome *other, const char *name)
{
    SAME(gone)
    SAME(channel[0].other)
    SAME(channel[0].others)
    if (one->channel[0].closed) {
        return; /* the connection was: what was under way to it is lost, and that is a matter of
                   turns */
    }
    for (uint32_t i = 0; i < CHANNELS; i++) {
        SAME(channel[i].delivered)
        SAME(channel[i].returned)
        SAME(channel[i].other)
        SAME(channel[i].deliveries)
        SAME(channel[i].returns)
        SAME(channel[i].others)
    }
    SAME(stats.messages_published)
    SAME(stats.messages_routed)
    SAME(stats.messages_unroutable)
    SAME(stats.messages_returned)
    SAME(stats.messages_delivered)
    SAME(stats.messages_got)
    SAME(stats.messages_acknowledged)
    SAME(stats.messages_dropped)
    SAME(stats.messages_held)
    SAME(stats.channels_opened)
    SAME(stats.channels_closed)
    SAME(stats.bytes_received)
    if (!one->channel[1].refused) { /* else some were not told */
        SAME(channel[1].confirmed)
        SAME(channel[1].confirms)
        SAME(stats.messages_confirmed)
    }
}

static void
any_cut_says_the_same(void **unused)
{
    (void)unused;
    static const uint32_t cuts[] = {CUT_OCTETS, CUT_FRAMES, CUT_RANDOM, CUT_RANDOM + 1};
    static struct story story;
    static struct world world;
    uint64_t delivered = 0;
    uint64_t refused = 0;
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        /* Who is closed does not hear what comes from the other shard then: not where it is. */
        const uint32_t shards = seed % 4 == 0 ? 2 : 1;
        world_open(&world, shards, seed % 2 != 0);
        tell(&story, &world, seed);
        world_close(&world);
        const struct outcome one = world.outcome;
        delivered += one.stats.messages_delivered;
        refused += one.stats.channels_closed;
        for (uint32_t i = 0; i < LP_COUNT_OF(cuts); i++) {
            char name[64];
            (void)snprintf(name, sizeof(name), "seed %u, cut %u", seed, cuts[i]);
            world_open(&world, shards, seed % 2 != 0);
            tell_again(&story, &world, cuts[i]);
            world_close(&world);
            expect_same(&one, &world.outcome, name);
        }
    }
    /* It is about something. */
    assert_true(delivered > 500);
    assert_true(refused > 5);
}

/* ---- one octet is wrong ---- */

/* Three publishes, and an acknowledgement: the second and the last are to be wrong. */
struct plain {
    uint8_t bytes[512];
    uint32_t second, third, ack, end;
};

static uint32_t
plain_publish(struct lp_writer *writer, const char *exchange, const char *key, const char *body)
{
    rig_publish(writer, exchange, key, lp_bytes_of_text(body));
    return (uint32_t)lp_writer_size(writer);
}

static void
plain_write(struct plain *plain)
{
    struct lp_writer writer = lp_writer_of(plain->bytes, sizeof(plain->bytes));
    plain->second = plain_publish(&writer, "direct", "a", "first");
    plain->third = plain_publish(&writer, "direct", "a", "second");
    plain->ack = plain_publish(&writer, "", "b", "third");
    const size_t offset = method_open(&writer, 2, AMQP091_BASIC_ACK);
    lp_writer_u64be(&writer, 0);
    lp_writer_u8(&writer, 1);
    amqp091_frame_close(&writer, offset);
    assert_false(writer.failed);
    plain->end = (uint32_t)lp_writer_size(&writer);
}

/* The header of a body's frame: a body is taken as it comes.  Which of two faults is seen first,
 * and how much of it a text shows, is a matter of cuts, and was before there was whole.c. */
static bool
is_body_header(const struct plain *plain, uint32_t at)
{
    const uint32_t frame = plain->third - 1 - (uint32_t)strlen("second") - 7;
    return at >= frame && at < frame + 7;
}

static void
mistaken(struct world *world, struct lp_bytes bytes, uint32_t cut, struct outcome *ret_outcome)
{
    world_open(world, 1, true);
    say_bytes(world, bytes, cut);
    world_close(world);
    *ret_outcome = world->outcome;
}

static void
a_wrong_octet_is_answered_alike_however_it_comes(void **unused)
{
    (void)unused;
    static const uint8_t flips[] = {0x01, 0xff};
    static struct world world;
    struct outcome one;
    struct outcome other;
    struct plain plain;
    plain_write(&plain);
    for (uint32_t at = plain.second; at < plain.end; at++) {
        if (is_body_header(&plain, at) || (at >= plain.third && at < plain.ack)) {
            continue;
        }
        for (uint32_t i = 0; i < LP_COUNT_OF(flips); i++) {
            const struct lp_bytes all = lp_bytes_of(plain.bytes, plain.end);
            char name[64];
            (void)snprintf(name, sizeof(name), "octet %u ^ %02x", at, flips[i]);
            plain.bytes[at] ^= flips[i];
            mistaken(&world, all, CUT_WHOLE, &one);
            mistaken(&world, all, at % 4 == 0 ? CUT_RANDOM : CUT_OCTETS, &other);
            expect_same(&one, &other, name);
            plain.bytes[at] ^= flips[i];
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cut_says_the_same),
        cmocka_unit_test(a_wrong_octet_is_answered_alike_however_it_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
