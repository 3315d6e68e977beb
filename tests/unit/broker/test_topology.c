/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a shard's copy follow the control process's deltas, in order, twice,
 * out of memory, and through a resync?  Each test ends with rig_close(), which
 * checks the indexes and that every byte came back.
 */
#include "topology_rig.h"

/* What the broker is told. */
struct heard {
    uint32_t up, down, last;
    enum lp_err answer;
};

static enum lp_err
heard_up(void *context, struct lp_queue_ref *queue)
{
    struct heard *heard = context;
    heard->up++;
    heard->last = queue->id;
    return heard->answer;
}

static void
heard_down(void *context, struct lp_queue_ref *queue)
{
    struct heard *heard = context;
    heard->down++;
    heard->last = queue->id;
}

static void
rig_hear(struct rig *rig, struct heard *heard)
{
    memset(heard, 0, sizeof(*heard));
    const struct lp_topology_hooks hooks = {heard_up, NULL, heard_down, heard};
    rig->topology.hooks = hooks;
}

static bool
rig_has_queue(struct rig *rig, const char *name)
{
    return lp_topology_queue(&rig->topology, RIG_VHOST, lp_bytes_of_text(name)) != NULL;
}

static bool
rig_has_exchange(struct rig *rig, const char *name)
{
    return lp_topology_exchange(&rig->topology, RIG_VHOST, lp_bytes_of_text(name)) != NULL;
}

static void
an_object_named_again_is_left_alone(void **state)
{
    (void)state;
    struct rig rig;
    struct heard heard;
    rig_open(&rig);
    rig_hear(&rig, &heard);
    rig_exchange(&rig, 1, LP_EXCHANGE_TOPIC, "x");
    rig_queue(&rig, 1, "q");
    rig_bind(&rig, 1, 1, 1, "a.#");
    const uint64_t used = lp_memory_used_bytes(rig.memory);
    const uint64_t epoch = rig.topology.epoch;

    rig_exchange(&rig, 1, LP_EXCHANGE_TOPIC, "x");
    rig_queue(&rig, 1, "q");
    rig_bind(&rig, 1, 1, 1, "a.#");
    assert_int_equal(lp_topology_vhost_up(&rig.topology, RIG_VHOST, lp_bytes_of_text("/"), false),
                     LP_OK);

    assert_int_equal(lp_memory_used_bytes(rig.memory), used);
    assert_int_equal(rig.topology.epoch, epoch);
    assert_int_equal(heard.up, 1);
    assert_string_equal(rig_route(&rig, "x", "a.b"), "q");
    rig_close(&rig);
}

static void
lookups_find_what_is_there_and_nothing_else(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    assert_int_equal(lp_topology_vhost_up(&rig.topology, 2, lp_bytes_of_text("other"), false),
                     LP_OK);
    const uint8_t arguments[] = {1, 'a', 't', 1};
    const struct lp_queue_parts parts = {
        .id = 7,
        .vhost_id = 2,
        .name = lp_bytes_of_text("q"),
        .arguments = lp_bytes_of(arguments, sizeof(arguments)),
        .home_shard = 3,
        .flags = LP_OBJECT_DURABLE,
        .owner = 9,
    };
    assert_int_equal(lp_topology_queue_up(&rig.topology, &parts), LP_OK);

    struct lp_queue_ref *queue = lp_topology_queue(&rig.topology, 2, lp_bytes_of_text("q"));
    assert_non_null(queue);
    assert_ptr_equal(queue, lp_topology_queue_by_id(&rig.topology, 7));
    assert_int_equal(queue->home_shard, 3);
    assert_int_equal(queue->flags, LP_OBJECT_DURABLE);
    assert_int_equal(queue->owner, 9);
    assert_true(lp_bytes_equal(lp_queue_ref_arguments(queue), parts.arguments));
    assert_null(lp_topology_queue(&rig.topology, RIG_VHOST, lp_bytes_of_text("q")));
    assert_null(lp_topology_queue(&rig.topology, 2, lp_bytes_of_text("Q")));
    assert_null(lp_topology_queue_by_id(&rig.topology, 8));
    assert_null(lp_topology_exchange(&rig.topology, 2, lp_bytes_of_text("q")));
    assert_null(lp_topology_vhost(&rig.topology, 3));
    assert_int_equal(lp_topology_vhost(&rig.topology, 2)->name_bytes, 5);
    rig_close(&rig);
}

static void
a_reference_to_nothing_is_not_found(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    rig_exchange(&rig, 1, LP_EXCHANGE_DIRECT, "x");
    rig_queue(&rig, 1, "q");
    const struct lp_bytes none = lp_bytes_of(NULL, 0);
    assert_int_equal(rig_bind_parts(&rig, 1, 2, 1, none, none), LP_ERR_NOT_FOUND);
    assert_int_equal(rig_bind_parts(&rig, 1, 1, 2, none, none), LP_ERR_NOT_FOUND);
    const struct lp_queue_parts queue = {.id = 5, .vhost_id = 9};
    assert_int_equal(lp_topology_queue_up(&rig.topology, &queue), LP_ERR_NOT_FOUND);
    const struct lp_exchange_parts exchange = {.id = 5, .vhost_id = 9};
    assert_int_equal(lp_topology_exchange_up(&rig.topology, &exchange), LP_ERR_NOT_FOUND);
    lp_topology_vhost_down(&rig.topology, 9);
    lp_topology_exchange_down(&rig.topology, 9);
    lp_topology_queue_down(&rig.topology, 9);
    lp_topology_bind_down(&rig.topology, 9);
    rig_close(&rig);
}

static void
an_impossible_record_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    uint8_t text[256] = {0};
    const struct lp_bytes over = lp_bytes_of(text, sizeof(text));
    struct lp_exchange_parts exchange = {.id = 5, .vhost_id = RIG_VHOST, .kind = 99};
    assert_int_equal(lp_topology_exchange_up(&rig.topology, &exchange), LP_ERR_BAD_RECORD);
    exchange.kind = LP_EXCHANGE_DIRECT;
    exchange.alternate = over;
    assert_int_equal(lp_topology_exchange_up(&rig.topology, &exchange), LP_ERR_BAD_RECORD);
    const struct lp_queue_parts queue = {.id = 5, .vhost_id = RIG_VHOST, .name = over};
    assert_int_equal(lp_topology_queue_up(&rig.topology, &queue), LP_ERR_BAD_RECORD);
    assert_int_equal(lp_topology_vhost_up(&rig.topology, 5, over, false), LP_ERR_BAD_RECORD);
    rig_exchange(&rig, 1, LP_EXCHANGE_DIRECT, "x");
    rig_queue(&rig, 1, "q");
    assert_int_equal(rig_bind_parts(&rig, 1, 1, 1, over, lp_bytes_of(NULL, 0)), LP_ERR_BAD_RECORD);
    const struct lp_binding_parts binding = {
        .id = 1, .source = 1, .destination_resource = 2, .destination = 1};
    assert_int_equal(lp_topology_bind_up(&rig.topology, &binding), LP_ERR_BAD_RECORD);
    rig_close(&rig);
}

static void
fill_every_kind(struct rig *rig)
{
    static const char *const names[] = {"direct", "fanout", "topic", "headers"};
    for (uint32_t i = 0; i < 40; i++) {
        char name[16] = {'q', (char)('0' + i / 10), (char)('0' + i % 10)};
        rig_queue(rig, i + 1, name);
    }
    for (uint8_t kind = 0; kind < 4; kind++) {
        rig_exchange(rig, kind + 1u, kind, names[kind]);
    }
    for (uint8_t kind = 0; kind < 4; kind++) {
        for (uint32_t i = 0; i < 40; i++) {
            char key[16] = {(char)('a' + i % 5), '.', i % 3 == 0 ? '#' : 'b', '.', '*'};
            rig_bind(rig, kind * 100u + i + 1, kind + 1u, i + 1, key);
        }
        rig_bind_exchange(rig, kind * 100u + 90, kind + 1u, (kind + 1u) % 4 + 1, "a.b.c");
    }
    lp_topology_check(&rig->topology);
}

static void
unbinding_gives_every_byte_back(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    rig_exchange(&rig, 1, LP_EXCHANGE_DIRECT, "direct");
    rig_exchange(&rig, 2, LP_EXCHANGE_FANOUT, "fanout");
    rig_exchange(&rig, 3, LP_EXCHANGE_TOPIC, "topic");
    rig_exchange(&rig, 4, LP_EXCHANGE_HEADERS, "headers");
    rig_queue(&rig, 1, "q");
    const uint8_t arguments[] = {1, 'a', 't', 1, 1, 'b', 'V'};
    const uint64_t used = lp_memory_used_bytes(rig.memory);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 300; i++) {
            char key[16] = {(char)('a' + i % 7), '.', (char)('a' + i / 7 % 7), '.', '*', '.', '#'};
            assert_int_equal(rig_bind_parts(&rig, i + 1, i % 4 + 1, 1, lp_bytes_of_text(key),
                                            lp_bytes_of(arguments, sizeof(arguments))),
                             LP_OK);
        }
        lp_topology_check(&rig.topology);
        /* Every second one first, so that lists and tries are cut in the middle. */
        for (uint32_t i = 0; i < 600; i += 2) {
            lp_topology_bind_down(&rig.topology, i % 300 + (i >= 300) + 1);
        }
        lp_topology_check(&rig.topology);
        assert_int_equal(lp_memory_used_bytes(rig.memory), used);
    }
    rig_close(&rig);
}

static void
an_exchange_takes_the_bindings_left_at_it(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    fill_every_kind(&rig);
    rig_bind_exchange(&rig, 999, 3, 3, "self");
    for (uint32_t id = 1; id <= 4; id++) {
        lp_topology_exchange_down(&rig.topology, id);
        lp_topology_check(&rig.topology);
    }
    assert_int_equal(rig.topology.bindings_by_id.count, 0);
    assert_int_equal(rig.topology.queues_by_id.count, 40);
    rig_close(&rig);
}

static void
a_queue_takes_its_bindings_and_is_announced(void **state)
{
    (void)state;
    struct rig rig;
    struct heard heard;
    rig_open(&rig);
    rig_hear(&rig, &heard);
    fill_every_kind(&rig);
    assert_int_equal(heard.up, 40);
    lp_topology_queue_down(&rig.topology, 3);
    assert_int_equal(heard.down, 1);
    assert_int_equal(heard.last, 3);
    assert_int_equal(rig.topology.bindings_by_id.count, 4 * 40 + 4 - 4);
    lp_topology_vhost_down(&rig.topology, RIG_VHOST);
    assert_int_equal(heard.down, 40);
    assert_int_equal(rig.topology.exchanges_by_id.count, 0);
    rig_close(&rig);
}

static void
a_queue_that_the_broker_refuses_leaves_nothing(void **state)
{
    (void)state;
    struct rig rig;
    struct heard heard;
    rig_open(&rig);
    rig_hear(&rig, &heard);
    heard.answer = LP_ERR_NO_MEMORY;
    const uint64_t used = lp_memory_used_bytes(rig.memory);
    const struct lp_queue_parts parts = {
        .id = 1, .vhost_id = RIG_VHOST, .name = lp_bytes_of_text("q")};
    assert_int_equal(lp_topology_queue_up(&rig.topology, &parts), LP_ERR_NO_MEMORY);
    assert_false(rig_has_queue(&rig, "q"));
    assert_int_equal(lp_memory_used_bytes(rig.memory), used);
    assert_int_equal(heard.down, 0);
    rig_close(&rig);
}

static void
a_sync_sweeps_what_it_did_not_name(void **state)
{
    (void)state;
    struct rig rig;
    struct heard heard;
    rig_open(&rig);
    rig_hear(&rig, &heard);
    assert_int_equal(lp_topology_vhost_up(&rig.topology, 2, lp_bytes_of_text("gone"), false),
                     LP_OK);
    const struct lp_queue_parts parts = {.id = 50, .vhost_id = 2, .name = lp_bytes_of_text("q")};
    assert_int_equal(lp_topology_queue_up(&rig.topology, &parts), LP_OK);
    rig_exchange(&rig, 1, LP_EXCHANGE_TOPIC, "kept");
    rig_exchange(&rig, 2, LP_EXCHANGE_TOPIC, "gone");
    rig_queue(&rig, 1, "kept");
    rig_queue(&rig, 2, "gone");
    rig_bind(&rig, 1, 1, 1, "kept");
    rig_bind(&rig, 2, 1, 1, "gone");
    rig_bind(&rig, 3, 1, 2, "queue gone");
    rig_bind(&rig, 4, 2, 1, "exchange gone");

    lp_topology_sync_begin(&rig.topology);
    assert_int_equal(lp_topology_vhost_up(&rig.topology, RIG_VHOST, lp_bytes_of_text("/"), false),
                     LP_OK);
    rig_exchange(&rig, 1, LP_EXCHANGE_TOPIC, "kept");
    rig_queue(&rig, 1, "kept");
    rig_bind(&rig, 1, 1, 1, "kept");
    rig_queue(&rig, 3, "new");
    lp_topology_sync_end(&rig.topology);

    lp_topology_check(&rig.topology);
    assert_null(lp_topology_vhost(&rig.topology, 2));
    assert_true(rig_has_exchange(&rig, "kept"));
    assert_false(rig_has_exchange(&rig, "gone"));
    assert_true(rig_has_queue(&rig, "kept"));
    assert_true(rig_has_queue(&rig, "new"));
    assert_false(rig_has_queue(&rig, "gone"));
    assert_int_equal(rig.topology.bindings_by_id.count, 1);
    assert_int_equal(heard.down, 2);
    assert_string_equal(rig_route(&rig, "kept", "kept"), "kept");
    rig_close(&rig);
}

static void
a_name_taken_over_in_a_sync_is_the_newer_objects(void **state)
{
    (void)state;
    struct rig rig;
    struct heard heard;
    rig_open(&rig);
    rig_hear(&rig, &heard);
    rig_exchange(&rig, 1, LP_EXCHANGE_DIRECT, "x");
    rig_queue(&rig, 1, "q");
    rig_bind(&rig, 1, 1, 1, "k");

    lp_topology_sync_begin(&rig.topology);
    assert_int_equal(lp_topology_vhost_up(&rig.topology, RIG_VHOST, lp_bytes_of_text("/"), false),
                     LP_OK);
    rig_exchange(&rig, 2, LP_EXCHANGE_FANOUT, "x");
    rig_queue(&rig, 2, "q");
    rig_bind(&rig, 2, 2, 2, "");
    lp_topology_check(&rig.topology);
    lp_topology_sync_end(&rig.topology);

    assert_int_equal(heard.down, 1);
    assert_null(lp_topology_queue_by_id(&rig.topology, 1));
    assert_string_equal(rig_route(&rig, "x", "any"), "q");
    assert_int_equal(rig.topology.route[0]->id, 2);
    rig_close(&rig);
}

/* Fill memory with bindings of one exchange type to the brim, then take half away and fill again.
 */
static void
fill_to_the_brim(uint8_t kind)
{
    struct rig rig;
    rig_open_sized(&rig, 1u << 20, kind + 1u);
    rig_exchange(&rig, 1, kind, "x");
    rig_queue(&rig, 1, "q");
    uint64_t seed = kind + 1u;
    uint64_t id = 0;
    for (uint32_t round = 0; round < 2; round++) {
        enum lp_err err = LP_OK;
        while (err == LP_OK) {
            const uint8_t letters[] = {'a', 'b', 'c', '*', '#'};
            uint8_t key[24];
            uint8_t arguments[8] = {4, 0, 0, 0, 0, 't', 1};
            for (uint32_t i = 0; i < sizeof(key); i++) {
                key[i] = i % 2 ? '.' : letters[rig_random(&seed, sizeof(letters))];
                arguments[1 + i % 4] = (uint8_t)('a' + rig_random(&seed, 20));
            }
            const uint64_t used = lp_memory_used_bytes(rig.memory);
            err = rig_bind_parts(&rig, ++id, 1, 1,
                                 lp_bytes_of(key, 1 + rig_random(&seed, sizeof(key))),
                                 lp_bytes_of(arguments, 7));
            if (err != LP_OK) {
                assert_int_equal(err, LP_ERR_NO_MEMORY);
                assert_int_equal(lp_memory_used_bytes(rig.memory), used);
            }
            assert_true(id < 100000);
        }
        lp_topology_check(&rig.topology);
        for (uint64_t i = round + 1; i < id; i += 2) {
            lp_topology_bind_down(&rig.topology, i);
        }
        lp_topology_check(&rig.topology);
    }
    rig_close(&rig);
}

static void
running_out_of_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    for (uint8_t kind = 0; kind < 4; kind++) {
        fill_to_the_brim(kind);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_named_again_is_left_alone),
        cmocka_unit_test(lookups_find_what_is_there_and_nothing_else),
        cmocka_unit_test(a_reference_to_nothing_is_not_found),
        cmocka_unit_test(an_impossible_record_is_refused),
        cmocka_unit_test(unbinding_gives_every_byte_back),
        cmocka_unit_test(an_exchange_takes_the_bindings_left_at_it),
        cmocka_unit_test(a_queue_takes_its_bindings_and_is_announced),
        cmocka_unit_test(a_queue_that_the_broker_refuses_leaves_nothing),
        cmocka_unit_test(a_sync_sweeps_what_it_did_not_name),
        cmocka_unit_test(a_name_taken_over_in_a_sync_is_the_newer_objects),
        cmocka_unit_test(running_out_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
