/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Declares that a channel sends without waiting for answers: one commit for
 * all that wait, one delta and one answer each, and nothing done behind one
 * that failed; also when the control process dies between any two turns.
 */
#include "fake_requests.h"

enum {
    MANY = 64,
};

struct chain {
    struct world *world;
    struct lp_store_memory *store;
    uint32_t vhost;
};

static void
chain_open(struct chain *chain)
{
    chain->store = lp_store_memory_open();
    chain->world = world_open(2, lp_store_memory_store(chain->store));
    world_control_start(chain->world);
    world_settle(chain->world);
    chain->vhost = world_connect(chain->world, 0, 1);
    (void)world_connect(chain->world, 0, 2);
}

static void
chain_close(struct chain *chain)
{
    world_close(chain->world);
    lp_store_memory_close(&chain->store);
}

struct declare {
    const char *name;
    uint32_t connection;
    uint16_t channel;
    bool follows;
    bool durable;
};

static struct fake_request *
chain_declare(struct chain *chain, const struct declare *declare)
{
    struct fake_shard *shard = &chain->world->shard[0];
    uint8_t room[512];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u64le(&w, fake_connection_id(0, declare->connection));
    lp_writer_u32le(&w, chain->vhost);
    lp_writer_short(&w, lp_bytes_of_text(declare->name));
    lp_writer_u8(&w, declare->durable ? LP_OBJECT_DURABLE : 0);
    lp_writer_long_le(&w, lp_bytes_of(NULL, 0));
    lp_writer_u16le(&w, 0);
    lp_writer_u16le(&w, declare->channel);
    lp_writer_u8(&w, declare->follows);
    return fake_ask(shard, LP_CONTROL_QUEUE_DECLARE, &w);
}

static bool
exists(struct chain *chain, const char *name)
{
    const bool here = fake_object_named(&chain->world->shard[0], LP_CONTROL_QUEUE_UP, name) != NULL;
    const bool there =
        fake_object_named(&chain->world->shard[1], LP_CONTROL_QUEUE_UP, name) != NULL;
    assert_int_equal(here, there);
    return here;
}

static uint32_t
records_until_quiet(struct chain *chain, uint32_t index)
{
    uint32_t count = 0;
    for (uint32_t turns = 0; turns < 200; turns++) {
        bool work = lp_control_turn(chain->world->control);
        for (uint32_t i = 0; i < 2; i++) {
            const uint32_t taken = fake_shard_turn(chain->world, &chain->world->shard[i], 1000);
            count += i == index ? taken : 0;
            work = work || taken > 0;
        }
        if (!work) {
            return count;
        }
    }
    fail_msg("it goes on and on");
    return 0;
}

static void
declares_that_wait_are_one_commit_and_one_record_each(void **unused)
{
    (void)unused;
    for (uint32_t index = 0; index < 2; index++) {
        struct chain chain;
        const struct fake_request *request[MANY];
        chain_open(&chain);
        const uint64_t syncs = lp_store_memory_syncs(chain.store);
        for (uint32_t i = 0; i < MANY; i++) {
            char name[16];
            (void)snprintf(name, sizeof(name), "q%u", i);
            request[i] = chain_declare(&chain, &(struct declare){name, 1, 1, i > 0, true});
        }
        const uint32_t records = records_until_quiet(&chain, index);
        assert_int_equal(lp_store_memory_syncs(chain.store), syncs + 1);
        /* Each shard hears of each queue, and of the revision; the asker its answers, too. */
        assert_int_equal(records, MANY + 1 + (index == 0 ? MANY : 0));
        for (uint32_t i = 0; i < MANY; i++) {
            assert_true(request[i]->answered);
            assert_int_equal(request[i]->code, 0);
        }
        chain_close(&chain);
    }
}

static void
what_follows_one_that_failed_is_not_done(void **unused)
{
    (void)unused;
    struct chain chain;
    chain_open(&chain);
    (void)chain_declare(&chain, &(struct declare){"a", 1, 1, false, false});
    const struct fake_request *bad =
        chain_declare(&chain, &(struct declare){"a", 1, 1, true, true});
    const struct fake_request *void1 =
        chain_declare(&chain, &(struct declare){"b", 1, 1, true, false});
    /* Other channels, and other connections' channels of that number, are not concerned. */
    (void)chain_declare(&chain, &(struct declare){"c", 1, 2, true, false});
    (void)chain_declare(&chain, &(struct declare){"d", 2, 1, true, false});
    world_settle(chain.world);
    /* Also when it comes later. */
    const struct fake_request *void2 =
        chain_declare(&chain, &(struct declare){"e", 1, 1, true, false});
    world_settle(chain.world);
    assert_int_equal(bad->code, LP_FAULT_PRECONDITION_FAILED);
    assert_int_equal(void1->code, LP_FAULT_INTERNAL_ERROR);
    assert_int_equal(void2->code, LP_FAULT_INTERNAL_ERROR);
    assert_true(exists(&chain, "a") && exists(&chain, "c") && exists(&chain, "d"));
    assert_false(exists(&chain, "b") || exists(&chain, "e"));
    /* What follows nothing is of a channel that was opened anew. */
    (void)chain_declare(&chain, &(struct declare){"f", 1, 1, false, false});
    (void)chain_declare(&chain, &(struct declare){"g", 1, 1, true, false});
    world_settle(chain.world);
    assert_true(exists(&chain, "f") && exists(&chain, "g"));
    chain_close(&chain);
}

static void
a_store_that_fails_takes_nothing_and_then_all_of_it(void **unused)
{
    (void)unused;
    struct chain chain;
    chain_open(&chain);
    (void)chain_declare(&chain, &(struct declare){"a", 1, 1, false, true});
    const struct fake_request *bad =
        chain_declare(&chain, &(struct declare){"a", 1, 1, true, false});
    const struct fake_request *behind =
        chain_declare(&chain, &(struct declare){"b", 1, 1, true, false});
    lp_store_memory_fail(chain.store, 1, false);
    world_settle(chain.world);
    assert_true(bad->answered);
    assert_int_equal(bad->code, LP_FAULT_PRECONDITION_FAILED);
    assert_int_equal(behind->code, LP_FAULT_INTERNAL_ERROR);
    assert_true(exists(&chain, "a"));
    assert_false(exists(&chain, "b"));
    chain_close(&chain);
}

static void
death_at_any_step_loses_nothing_that_was_answered(void **unused)
{
    (void)unused;
    bool died = true;
    for (uint32_t n = 1; died; n++) {
        struct chain chain;
        chain_open(&chain);
        assert_true(n < 500);
        died = false;
        const struct fake_request *first =
            chain_declare(&chain, &(struct declare){"a", 1, 1, false, true});
        const struct fake_request *second =
            chain_declare(&chain, &(struct declare){"b", 1, 1, true, true});
        const struct fake_request *third =
            chain_declare(&chain, &(struct declare){"a", 1, 1, true, false});
        for (uint32_t turn = 1; turn < 200; turn++) {
            if (turn == n) {
                const bool answered[] = {first->answered, second->answered};
                world_control_kill(chain.world);
                world_control_start(chain.world);
                world_settle(chain.world);
                assert_true(!answered[0] || exists(&chain, "a"));
                assert_true(!answered[1] || exists(&chain, "b"));
                died = true;
            }
            bool work = lp_control_turn(chain.world->control);
            for (uint32_t i = 0; i < 2; i++) {
                work = fake_shard_turn(chain.world, &chain.world->shard[i], 1) > 0 || work;
            }
            if (!work) {
                break;
            }
        }
        world_settle(chain.world);
        assert_true(first->answered && first->code == 0);
        assert_true(second->answered && second->code == 0);
        assert_int_equal(third->code, LP_FAULT_PRECONDITION_FAILED);
        assert_true(exists(&chain, "a") && exists(&chain, "b"));
        chain_close(&chain);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(declares_that_wait_are_one_commit_and_one_record_each),
        cmocka_unit_test(what_follows_one_that_failed_is_not_done),
        cmocka_unit_test(a_store_that_fails_takes_nothing_and_then_all_of_it),
        cmocka_unit_test(death_at_any_step_loses_nothing_that_was_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
