/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where does a message go?  Small topologies written out, and a random one
 * whose cached answers are compared with fresh ones.
 */
#include "dataplane/broker/exchange/exchange.h"
#include "topology_rig.h"

static void
the_default_exchange_reaches_a_queue_by_its_name(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    rig_exchange_alternate(&rig, 1, LP_EXCHANGE_DIRECT, "", "");
    rig_queue(&rig, 1, "hello");
    assert_string_equal(rig_route(&rig, "", "hello"), "hello");
    assert_string_equal(rig_route(&rig, "", "hell"), "");
    assert_string_equal(rig_route(&rig, "", ""), "");
    rig_queue(&rig, 2, "hell");
    assert_string_equal(rig_route(&rig, "", "hell"), "hell");
    lp_topology_queue_down(&rig.topology, 1);
    assert_string_equal(rig_route(&rig, "", "hello"), "");
    rig_close(&rig);
}

static void
direct_compares_whole_keys(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    rig_exchange(&rig, 1, LP_EXCHANGE_DIRECT, "x");
    rig_queue(&rig, 1, "thumbnail");
    rig_queue(&rig, 2, "faces");
    rig_queue(&rig, 3, "log");
    rig_bind(&rig, 1, 1, 1, "image.uploaded");
    rig_bind(&rig, 2, 1, 2, "image.uploaded");
    rig_bind(&rig, 3, 1, 3, "info");
    rig_bind(&rig, 4, 1, 3, "warning");
    rig_bind(&rig, 5, 1, 3, "");
    assert_string_equal(rig_route(&rig, "x", "image.uploaded"), "thumbnail faces");
    assert_string_equal(rig_route(&rig, "x", "info"), "log");
    assert_string_equal(rig_route(&rig, "x", "warning"), "log");
    assert_string_equal(rig_route(&rig, "x", ""), "log");
    assert_string_equal(rig_route(&rig, "x", "Info"), "");
    assert_string_equal(rig_route(&rig, "x", "image.*"), "");
    rig_close(&rig);
}

static void
fanout_gives_one_copy_to_each_queue(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    rig_exchange(&rig, 1, LP_EXCHANGE_FANOUT, "x");
    assert_string_equal(rig_route(&rig, "x", "k"), "");
    rig_queue(&rig, 1, "a");
    rig_queue(&rig, 2, "b");
    rig_bind(&rig, 1, 1, 1, "k");
    rig_bind(&rig, 2, 1, 2, "other");
    rig_bind(&rig, 3, 1, 1, "third");
    assert_string_equal(rig_route(&rig, "x", "k"), "a b");
    assert_string_equal(rig_route(&rig, "x", ""), "a b");
    lp_topology_bind_down(&rig.topology, 1);
    assert_string_equal(rig_route(&rig, "x", ""), "b a");
    rig_close(&rig);
}

/* C98 */
static void
exchanges_in_a_circle_are_each_walked_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    rig_exchange(&rig, 1, LP_EXCHANGE_FANOUT, "one");
    rig_exchange(&rig, 2, LP_EXCHANGE_TOPIC, "two");
    rig_exchange(&rig, 3, LP_EXCHANGE_DIRECT, "three");
    rig_queue(&rig, 1, "a");
    rig_queue(&rig, 2, "b");
    rig_bind_exchange(&rig, 1, 1, 2, "");
    rig_bind_exchange(&rig, 2, 2, 3, "k.*");
    rig_bind_exchange(&rig, 3, 3, 1, "k.1");
    rig_bind_exchange(&rig, 4, 1, 1, "self");
    rig_bind(&rig, 5, 1, 1, "");
    rig_bind(&rig, 6, 3, 1, "k.1");
    rig_bind(&rig, 7, 3, 2, "k.1");
    assert_string_equal(rig_route(&rig, "one", "k.1"), "a b");
    assert_string_equal(rig_route(&rig, "one", "k.2"), "a");
    assert_string_equal(rig_route(&rig, "two", "k.1"), "a b");
    assert_string_equal(rig_route(&rig, "two", "x"), "");
    assert_string_equal(rig_route(&rig, "three", "k.1"), "a b");
    rig_close(&rig);
}

/* C97 */
static void
the_alternate_is_taken_when_the_exchange_itself_matched_nothing(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    rig_exchange_alternate(&rig, 1, LP_EXCHANGE_DIRECT, "x", "second");
    rig_exchange_alternate(&rig, 2, LP_EXCHANGE_DIRECT, "second", "third");
    rig_exchange_alternate(&rig, 3, LP_EXCHANGE_FANOUT, "third", "x");
    rig_exchange(&rig, 4, LP_EXCHANGE_DIRECT, "empty");
    rig_exchange_alternate(&rig, 5, LP_EXCHANGE_DIRECT, "lost", "no such exchange");
    rig_queue(&rig, 1, "q1");
    rig_queue(&rig, 2, "q2");
    rig_bind(&rig, 1, 1, 1, "k");
    rig_bind(&rig, 2, 2, 2, "k2");
    rig_bind_exchange(&rig, 3, 1, 4, "nowhere");
    assert_string_equal(rig_route(&rig, "x", "k"), "q1");
    assert_string_equal(rig_route(&rig, "x", "k2"), "q2");
    /* All the way round and back to x, which was seen. */
    assert_string_equal(rig_route(&rig, "x", "k3"), "");
    /* From the second on, the circle reaches x, which knows the key. */
    assert_string_equal(rig_route(&rig, "second", "k"), "q1");
    /* A binding to an exchange counts as a match, wherever that leads. */
    rig_bind(&rig, 4, 2, 2, "nowhere");
    assert_string_equal(rig_route(&rig, "x", "nowhere"), "");
    assert_string_equal(rig_route(&rig, "lost", "k"), "");
    rig_close(&rig);
}

static void
an_exchange_reached_by_a_binding_has_its_own_alternate(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    rig_exchange(&rig, 1, LP_EXCHANGE_FANOUT, "x");
    rig_exchange_alternate(&rig, 2, LP_EXCHANGE_DIRECT, "inner", "unrouted");
    rig_exchange(&rig, 3, LP_EXCHANGE_FANOUT, "unrouted");
    rig_queue(&rig, 1, "all");
    rig_queue(&rig, 2, "rest");
    rig_bind(&rig, 1, 1, 1, "");
    rig_bind_exchange(&rig, 2, 1, 2, "");
    rig_bind(&rig, 3, 3, 2, "");
    assert_string_equal(rig_route(&rig, "x", "k"), "all rest");
    rig_bind(&rig, 4, 2, 1, "k");
    assert_string_equal(rig_route(&rig, "x", "k"), "all");
    rig_close(&rig);
}

static void
more_exchanges_than_the_list_has_room_for(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    rig_exchange(&rig, 1, LP_EXCHANGE_FANOUT, "start");
    rig_queue(&rig, 1, "end");
    for (uint32_t i = 2; i < 500; i++) {
        char name[8] = {'x', (char)('0' + i / 100), (char)('0' + i / 10 % 10),
                        (char)('0' + i % 10)};
        rig_exchange(&rig, i, LP_EXCHANGE_FANOUT, name);
        rig_bind_exchange(&rig, i, i % 2 ? i - 1 : 1, i, "");
    }
    rig_bind(&rig, 1000, 499, 1, "");
    const uint64_t used = lp_memory_used_bytes(rig.memory);
    assert_string_equal(rig_route(&rig, "start", "k"), "end");
    const uint64_t after = lp_memory_used_bytes(rig.memory);
    rig.topology.epoch++;
    assert_string_equal(rig_route(&rig, "start", "k"), "end");
    assert_int_equal(lp_memory_used_bytes(rig.memory), after);
    assert_true(after - used <= 2048); /* the result and one entry of the cache */
    rig_close(&rig);
}

static void
a_cached_answer_is_void_after_any_change(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    rig_exchange(&rig, 1, LP_EXCHANGE_TOPIC, "x");
    rig_queue(&rig, 1, "a");
    rig_queue(&rig, 2, "b");
    assert_string_equal(rig_route(&rig, "x", "k"), "");
    rig_bind(&rig, 1, 1, 1, "k");
    assert_string_equal(rig_route(&rig, "x", "k"), "a");
    const uint64_t routing = rig.topology.routing;
    assert_string_equal(rig_route(&rig, "x", "k"), "a");
    assert_int_equal(rig.topology.routing, routing); /* it was the cache that answered */
    rig_bind(&rig, 2, 1, 2, "#");
    assert_string_equal(rig_route(&rig, "x", "k"), "b a");
    lp_topology_bind_down(&rig.topology, 1);
    assert_string_equal(rig_route(&rig, "x", "k"), "b");
    lp_topology_queue_down(&rig.topology, 2);
    assert_string_equal(rig_route(&rig, "x", "k"), "");
    /* A new exchange of the same name has another identity. */
    lp_topology_exchange_down(&rig.topology, 1);
    rig_exchange(&rig, 2, LP_EXCHANGE_FANOUT, "x");
    rig_bind(&rig, 3, 2, 1, "");
    assert_string_equal(rig_route(&rig, "x", "k"), "a");
    rig_close(&rig);
}

static void
a_fanout_is_remembered_whatever_the_key(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    rig_exchange(&rig, 1, LP_EXCHANGE_FANOUT, "x");
    rig_exchange(&rig, 2, LP_EXCHANGE_DIRECT, "keyed");
    rig_queue(&rig, 1, "a");
    rig_queue(&rig, 2, "b");
    rig_bind(&rig, 1, 1, 1, "");
    assert_string_equal(rig_route(&rig, "x", "k1"), "a");
    const uint64_t routing = rig.topology.routing;
    assert_string_equal(rig_route(&rig, "x", "k2"), "a");
    assert_string_equal(rig_route(&rig, "x", ""), "a");
    assert_int_equal(rig.topology.routing, routing);
    /* Once something behind it reads the key, the key counts. */
    rig_bind_exchange(&rig, 2, 1, 2, "");
    rig_bind(&rig, 3, 2, 2, "k2");
    assert_string_equal(rig_route(&rig, "x", "k1"), "a");
    assert_string_equal(rig_route(&rig, "x", "k2"), "a b");
    assert_string_equal(rig_route(&rig, "x", ""), "a");
    assert_string_equal(rig_route(&rig, "x", "k2"), "a b");
    rig_close(&rig);
}

static void
results_that_depend_on_headers_are_not_cached(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    rig_exchange(&rig, 1, LP_EXCHANGE_FANOUT, "x");
    rig_exchange(&rig, 2, LP_EXCHANGE_HEADERS, "h");
    rig_queue(&rig, 1, "q");
    const uint8_t one[] = {1, 'a', 'b', 1};
    const uint8_t two[] = {1, 'a', 'b', 2};
    rig_bind_exchange(&rig, 1, 1, 2, "");
    assert_int_equal(rig_bind_parts(&rig, 2, 2, 1, lp_bytes_of_text(""), lp_bytes_of(one, 4)),
                     LP_OK);
    for (uint32_t i = 0; i < 2; i++) {
        assert_string_equal(rig_route_headers(&rig, "x", "k", lp_bytes_of(one, 4)), "q");
        assert_string_equal(rig_route_headers(&rig, "x", "k", lp_bytes_of(two, 4)), "");
        assert_string_equal(rig_route_headers(&rig, "h", "k", lp_bytes_of(one, 4)), "q");
        assert_string_equal(rig_route_headers(&rig, "h", "k", lp_bytes_of(two, 4)), "");
    }
    rig_close(&rig);
}

static void
a_wide_fanout_is_whole_every_time(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    rig_exchange(&rig, 1, LP_EXCHANGE_FANOUT, "x");
    for (uint32_t i = 1; i <= 300; i++) {
        char name[8] = {'q', (char)('0' + i / 100), (char)('0' + i / 10 % 10),
                        (char)('0' + i % 10)};
        rig_queue(&rig, i, name);
        rig_bind(&rig, i, 1, i, "");
        /* At 64 the cache stops keeping; either way the answer is the same. */
        for (uint32_t again = 0; again < 2; again++) {
            (void)rig_route(&rig, "x", "k");
            assert_int_equal(rig.topology.route_count, i);
            assert_int_equal(rig.topology.route[i - 1]->id, i);
        }
    }
    rig_close(&rig);
}

static void
no_memory_for_the_result_is_said(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_sized(&rig, 1u << 20, 3);
    rig_exchange(&rig, 1, LP_EXCHANGE_FANOUT, "x");
    rig_queue(&rig, 1, "q");
    rig_bind(&rig, 1, 1, 1, "");
    void *taken[4096];
    uint32_t count = 0;
    while (count < LP_COUNT_OF(taken) && (taken[count] = lp_memory_alloc(rig.memory, 512))) {
        count++;
    }
    struct lp_exchange *exchange =
        lp_topology_exchange(&rig.topology, RIG_VHOST, lp_bytes_of_text("x"));
    const struct lp_route_input input = {.key = lp_bytes_of_text("k")};
    assert_false(lp_topology_route(&rig.topology, exchange, &input));
    assert_int_equal(rig.topology.route_count, 0);
    while (count > 0) {
        lp_memory_release(rig.memory, &taken[--count]);
    }
    assert_string_equal(rig_route(&rig, "x", "k"), "q");
    rig_close(&rig);
}

/* The same deltas, applied under different hash keys, in a random order given by the seed. */
static void
random_topology(struct rig *rig, uint64_t seed)
{
    static const char *const keys[] = {"a", "b", "a.b", "#", "*", "a.*", "#.b", "", "*.*", "a.#"};
    for (uint32_t i = 1; i <= 30; i++) {
        char name[8] = {'q', (char)('0' + i / 10), (char)('0' + i % 10)};
        rig_queue(rig, i, name);
    }
    for (uint32_t i = 1; i <= 9; i++) {
        char name[8] = {'x', (char)('0' + i)};
        char alternate[8] = {'x', (char)('0' + rig_random(&seed, 12))};
        rig_exchange_alternate(rig, i, (uint8_t)rig_random(&seed, 3), name, alternate);
    }
    for (uint32_t i = 1; i <= 120; i++) {
        const char *key = keys[rig_random(&seed, LP_COUNT_OF(keys))];
        const uint32_t source = 1 + rig_random(&seed, 9);
        if (rig_random(&seed, 4) == 0) {
            rig_bind_exchange(rig, i, source, 1 + rig_random(&seed, 9), key);
        } else {
            rig_bind(rig, i, source, 1 + rig_random(&seed, 30), key);
        }
        if (rig_random(&seed, 3) == 0) {
            lp_topology_bind_down(&rig->topology, 1 + rig_random(&seed, i));
        }
    }
}

static void
two_nodes_give_the_same_order_and_the_cache_the_same_answer(void **state)
{
    (void)state;
    static const char *const keys[] = {"a", "b", "a.b", "", "c", "a.a", "b.b", "a.b.b"};
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct rig one;
        struct rig two;
        rig_open_sized(&one, RIG_MEMORY_BYTES, seed);
        rig_open_sized(&two, RIG_MEMORY_BYTES, seed * 977);
        random_topology(&one, seed);
        random_topology(&two, seed);
        for (uint32_t i = 0; i < 9 * LP_COUNT_OF(keys); i++) {
            const char exchange[] = {'x', (char)('1' + i / LP_COUNT_OF(keys)), 0};
            const char *key = keys[i % LP_COUNT_OF(keys)];
            (void)rig_route(&one, exchange, key);
            assert_string_equal(rig_route(&one, exchange, key), rig_route(&two, exchange, key));
            two.topology.epoch++;
            assert_string_equal(one.names, rig_route(&two, exchange, key));
        }
        rig_close(&one);
        rig_close(&two);
    }
}

static void
the_list_of_types_has_each_kind_once(void **state)
{
    (void)state;
    static const char *const names[] = {"direct", "fanout", "topic", "headers"};
    for (uint8_t kind = 0; kind < LP_COUNT_OF(names); kind++) {
        const struct lp_exchange_type *type = exchange_type_of(kind);
        assert_non_null(type);
        assert_int_equal(type->kind, kind);
        assert_string_equal(type->name, names[kind]);
        assert_true(type->open && type->close && type->bind && type->unbind && type->route);
    }
    assert_null(exchange_type_of(LP_EXCHANGE_DELAYED)); /* it is one of the others */
    assert_string_equal(exchange_type_of(LP_EXCHANGE_LOCAL_RANDOM)->name, "x-local-random");
    assert_null(exchange_type_of(LP_EXCHANGE_KINDS));
}

/* Route by a key and others, which are separated by blanks; the names of the queues. */
static const char *
route_keys(struct rig *rig, const char *exchange, const char *key, const char *more)
{
    uint8_t room[256];
    struct lp_writer keys = lp_writer_of(room, sizeof(room));
    while (*more) {
        const uint32_t size = (uint32_t)strcspn(more, " ");
        lp_writer_long_le(&keys, lp_bytes_of(more, size));
        more += size + (more[size] == ' ');
    }
    assert_false(keys.failed);
    struct lp_exchange *found =
        lp_topology_exchange(&rig->topology, RIG_VHOST, lp_bytes_of_text(exchange));
    const struct lp_route_input input = {.key = lp_bytes_of_text(key),
                                         .more_keys = lp_writer_bytes(&keys)};
    assert_true(lp_topology_route(&rig->topology, found, &input));
    return rig_names(rig);
}

/* C99 */
static void
several_keys_lead_where_any_of_them_leads_once(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig);
    rig_exchange(&rig, 1, LP_EXCHANGE_DIRECT, "direct");
    rig_exchange(&rig, 2, LP_EXCHANGE_TOPIC, "topic");
    rig_exchange(&rig, 3, LP_EXCHANGE_FANOUT, "fan");
    rig_exchange(&rig, 4, LP_EXCHANGE_DIRECT, "");
    rig_exchange_alternate(&rig, 5, LP_EXCHANGE_DIRECT, "other", "fan");
    rig_queue(&rig, 1, "a");
    rig_queue(&rig, 2, "b");
    rig_queue(&rig, 3, "c");
    rig_bind(&rig, 1, 1, 1, "one");
    rig_bind(&rig, 2, 1, 2, "two");
    rig_bind(&rig, 3, 1, 1, "two");
    rig_bind(&rig, 4, 2, 3, "x.#");
    rig_bind(&rig, 5, 2, 2, "*.y");
    rig_bind(&rig, 6, 3, 3, "");
    rig_bind(&rig, 7, 5, 1, "here");
    assert_string_equal(route_keys(&rig, "direct", "one", "none"), "a");
    assert_string_equal(route_keys(&rig, "direct", "none", "two one"), "b a");
    assert_string_equal(route_keys(&rig, "direct", "one", "two"), "a b");
    assert_string_equal(route_keys(&rig, "topic", "x.y", "x z.y"), "c b");
    assert_string_equal(route_keys(&rig, "fan", "one", "two three"), "c");
    assert_string_equal(route_keys(&rig, "", "c", "a nobody c"), "c a");
    /* The alternate exchange is for what no key matched. */
    assert_string_equal(route_keys(&rig, "other", "no", "nor"), "c");
    assert_string_equal(route_keys(&rig, "other", "no", "here"), "a");
    /* Nothing of that is remembered for the same key alone, nor the other way round. */
    assert_string_equal(rig_route(&rig, "direct", "one"), "a");
    assert_string_equal(route_keys(&rig, "direct", "one", "two"), "a b");
    assert_string_equal(rig_route(&rig, "direct", "one"), "a");
    rig_close(&rig);
}

static void
a_queue_that_is_struck_out_is_back_in_the_next_route(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig);
    rig_exchange(&rig, 1, LP_EXCHANGE_FANOUT, "fan");
    rig_queue(&rig, 1, "a");
    rig_queue(&rig, 2, "b");
    rig_queue(&rig, 3, "c");
    rig_bind(&rig, 1, 1, 1, "");
    rig_bind(&rig, 2, 1, 2, "");
    rig_bind(&rig, 3, 1, 3, "");
    const char *all = rig_route(&rig, "fan", "k");
    char before[64];
    (void)strcpy(before, all);
    const struct lp_queue_ref *b =
        lp_topology_queue(&rig.topology, RIG_VHOST, lp_bytes_of_text("b"));
    assert_true(lp_topology_route_strike(&rig.topology, b));
    assert_false(lp_topology_route_strike(&rig.topology, b));
    assert_string_equal(rig_names(&rig), "a c");
    assert_string_equal(rig_route(&rig, "fan", "k"), before);
    lp_topology_route_none(&rig.topology);
    assert_string_equal(rig_names(&rig), "");
    assert_string_equal(rig_route(&rig, "fan", "k"), before);
    rig_close(&rig);
}

static struct lp_bytes
table_text(uint8_t *room, size_t bytes, const char *name, const char *text)
{
    struct lp_writer writer = lp_writer_of(room, bytes);
    lp_writer_short(&writer, lp_bytes_of_text(name));
    lp_writer_u8(&writer, 'S');
    lp_writer_long_be(&writer, lp_bytes_of_text(text));
    assert_false(writer.failed);
    return lp_writer_bytes(&writer);
}

/* C164 */
static void
routing_stops_where_the_message_is_delayed(void **unused)
{
    (void)unused;
    struct rig rig;
    uint8_t arguments[64];
    uint8_t room[64];
    rig_open(&rig);
    struct lp_exchange_parts parts = {
        .id = 1,
        .vhost_id = RIG_VHOST,
        .name = lp_bytes_of_text("late"),
        .kind = LP_EXCHANGE_DELAYED,
        .arguments = table_text(arguments, sizeof(arguments), "x-delayed-type", "direct"),
    };
    assert_int_equal(lp_topology_exchange_up(&rig.topology, &parts), LP_OK);
    parts.id = 9;
    parts.arguments = table_text(room, sizeof(room), "x-delayed-type", "nonsense");
    assert_int_equal(lp_topology_exchange_up(&rig.topology, &parts), LP_ERR_BAD_RECORD);
    rig_exchange(&rig, 2, LP_EXCHANGE_FANOUT, "fan");
    rig_queue(&rig, 1, "a");
    rig_queue(&rig, 2, "b");
    rig_bind(&rig, 1, 1, 1, "k");
    rig_bind(&rig, 2, 2, 2, "");
    rig_bind_exchange(&rig, 3, 2, 1, "");
    const struct lp_bytes delay = table_text(room, sizeof(room), "x-delay", "30");
    for (uint32_t round = 0; round < 2; round++) {
        assert_string_equal(rig_route_headers(&rig, "late", "k", delay), "");
        assert_int_equal(rig.topology.delayed_count, 1);
        assert_int_equal(rig.topology.delay_ms, 30);
        assert_string_equal(rig_route_headers(&rig, "fan", "k", delay), "b");
        assert_int_equal(rig.topology.delayed_count, 1);
        assert_int_equal(rig.topology.delayed[0]->id, 1);
        /* The same key without the header is another matter, and both stay so. */
        assert_string_equal(rig_route(&rig, "late", "k"), "a");
        assert_int_equal(rig.topology.delayed_count, 0);
        assert_string_equal(rig_route(&rig, "fan", "k"), "b a");
        assert_int_equal(rig.topology.delayed_count, 0);
    }
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_exchange_reaches_a_queue_by_its_name),
        cmocka_unit_test(direct_compares_whole_keys),
        cmocka_unit_test(fanout_gives_one_copy_to_each_queue),
        cmocka_unit_test(exchanges_in_a_circle_are_each_walked_once),
        cmocka_unit_test(the_alternate_is_taken_when_the_exchange_itself_matched_nothing),
        cmocka_unit_test(an_exchange_reached_by_a_binding_has_its_own_alternate),
        cmocka_unit_test(more_exchanges_than_the_list_has_room_for),
        cmocka_unit_test(a_cached_answer_is_void_after_any_change),
        cmocka_unit_test(a_fanout_is_remembered_whatever_the_key),
        cmocka_unit_test(results_that_depend_on_headers_are_not_cached),
        cmocka_unit_test(a_wide_fanout_is_whole_every_time),
        cmocka_unit_test(no_memory_for_the_result_is_said),
        cmocka_unit_test(two_nodes_give_the_same_order_and_the_cache_the_same_answer),
        cmocka_unit_test(the_list_of_types_has_each_kind_once),
        cmocka_unit_test(several_keys_lead_where_any_of_them_leads_once),
        cmocka_unit_test(a_queue_that_is_struck_out_is_back_in_the_next_route),
        cmocka_unit_test(routing_stops_where_the_message_is_delayed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
