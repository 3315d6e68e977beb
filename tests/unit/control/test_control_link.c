/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control process over real rings: what shards ask, and that its death at
 * any step costs nothing but time.
 *
 * Method: fake shards in the same process keep a picture of what the deltas
 * say and send unanswered requests again after ATTACH.  The last test runs one
 * script with the process killed after n turns, for every n.
 */
#include "fake_requests.h"

static struct world *
world_new(uint32_t shards, struct lp_store_memory **ret_store)
{
    *ret_store = lp_store_memory_open();
    struct world *world = world_open(shards, lp_store_memory_store(*ret_store));
    world_control_start(world);
    world_settle(world);
    return world;
}

static void
world_end(struct world *world, struct lp_store_memory *store)
{
    world_close(world);
    lp_store_memory_close(&store);
}

static void
expect_fault(const struct fake_request *request, uint16_t code, const char *text)
{
    assert_true(request->answered);
    assert_string_equal(request->text, text);
    assert_int_equal(request->code, code);
}

static void
expect_done(const struct fake_request *request)
{
    expect_fault(request, 0, "");
}

static void
a_new_broker_has_the_predeclared_exchanges_on_every_shard(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(3, &store);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(fake_object_count(&world->shard[i], LP_CONTROL_VHOST_UP), 1);
        assert_int_equal(fake_object_count(&world->shard[i], LP_CONTROL_EXCHANGE_UP), 7);
        assert_non_null(fake_object_named(&world->shard[i], LP_CONTROL_EXCHANGE_UP, ""));
        assert_non_null(fake_object_named(&world->shard[i], LP_CONTROL_EXCHANGE_UP, "amq.match"));
    }
    world_end(world, store);
}

static void
logins_are_checked_and_the_answer_does_not_tell_why(void **unused)
{
    (void)unused;
    static const struct {
        const char *user;
        const char *password;
        bool loopback;
        bool good;
    } cases[] = {
        {"guest", "guest", true, true},   {"guest", "guess", true, false},
        {"guest", "", true, false},       {"nobody", "guest", true, false},
        {"guest", "guest", false, false}, /* guest comes from this machine only */
    };
    struct lp_store_memory *store;
    struct world *world = world_new(1, &store);
    for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
        const struct fake_request *login =
            fake_login(&world->shard[0], cases[i].user, cases[i].password, cases[i].loopback);
        world_settle(world);
        if (cases[i].good) {
            expect_done(login);
        } else {
            expect_fault(login, 403,
                         "Login was refused using authentication mechanism PLAIN. For details see "
                         "the broker logfile.");
        }
    }
    assert_non_null(strstr(world->log, "user can only connect via localhost"));
    world_end(world, store);
}

static void
opening_a_vhost_needs_one_and_a_right_to_it(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(1, &store);
    const struct fake_request *good = fake_open(&world->shard[0], 1, "guest", "/");
    const struct fake_request *missing = fake_open(&world->shard[0], 2, "guest", "x");
    const struct fake_request *refused = fake_open(&world->shard[0], 3, "other", "/");
    world_settle(world);
    expect_done(good);
    struct lp_reader r = lp_reader_of(good->reply, good->reply_bytes);
    assert_int_not_equal(lp_reader_u32le(&r), 0);
    assert_int_equal(lp_reader_u8(&r), 7);
    expect_fault(missing, 530, "vhost x not found");
    expect_fault(refused, 530, "access to vhost '/' refused for user 'other'");
    world_end(world, store);
}

static void
a_declare_is_answered_only_when_every_shard_has_applied_it(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(2, &store);
    const uint32_t vhost = world_connect(world, 0, 1);
    world->shard[1].deaf = true;
    const struct fake_request *declare =
        fake_queue_declare(&world->shard[0], 1, vhost, "q", LP_OBJECT_DURABLE);
    world_settle(world);
    assert_false(declare->answered);
    assert_non_null(fake_object_named(&world->shard[1], LP_CONTROL_QUEUE_UP, "q"));
    fake_shard_send(&world->shard[1], LP_CONTROL_APPLIED, world->shard[1].applied,
                    lp_bytes_of(NULL, 0));
    world_settle(world);
    expect_done(declare);
    world_end(world, store);
}

static void
requests_of_one_turn_share_one_transaction_and_transient_ones_cost_no_sync(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(2, &store);
    const uint32_t vhost = world_connect(world, 0, 1);
    const uint64_t before = lp_store_memory_syncs(store);
    for (uint32_t i = 0; i < 20; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "d%u", i);
        (void)fake_queue_declare(&world->shard[0], 1, vhost, name, LP_OBJECT_DURABLE);
    }
    world_settle(world);
    assert_int_equal(lp_store_memory_syncs(store), before + 1);
    const uint32_t ids[2] = {1, vhost};
    (void)fake_queue_declare(&world->shard[0], 1, vhost, "x",
                             LP_OBJECT_EXCLUSIVE | LP_OBJECT_DURABLE);
    (void)fake_queue_declare(&world->shard[0], 1, vhost, "amq.gen-1",
                             LP_OBJECT_SERVER_NAMED | LP_OBJECT_AUTO_DELETE);
    world_settle(world);
    const struct fake_request *bind =
        fake_bind(&world->shard[0], LP_CONTROL_BIND, ids, "amq.direct", "x");
    world_settle(world);
    expect_done(bind);
    assert_int_equal(lp_store_memory_syncs(store), before + 1);
    world_end(world, store);
}

static void
exclusive_queues_go_with_their_connection(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(2, &store);
    const uint32_t vhost = world_connect(world, 0, 1);
    (void)world_connect(world, 1, 1);
    (void)fake_queue_declare(&world->shard[0], 1, vhost, "mine", LP_OBJECT_EXCLUSIVE);
    world_settle(world);
    const struct fake_request *theirs =
        fake_queue_declare(&world->shard[1], 1, vhost, "mine", LP_OBJECT_PASSIVE);
    world_settle(world);
    expect_fault(theirs, 405,
                 "cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be "
                 "originally declared on another connection or the exclusive property value does "
                 "not match that of the original declaration.");
    const struct fake_request *closed = fake_closed(&world->shard[0], 1);
    world_settle(world);
    expect_done(closed);
    assert_null(fake_object_named(&world->shard[0], LP_CONTROL_QUEUE_UP, "mine"));
    assert_null(fake_object_named(&world->shard[1], LP_CONTROL_QUEUE_UP, "mine"));
    world_end(world, store);
}

static void
a_queue_is_deleted_after_its_home_shard_agreed(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(2, &store);
    const uint32_t vhost = world_connect(world, 0, 1);
    (void)world_connect(world, 1, 1);
    (void)fake_queue_declare(&world->shard[1], 1, vhost, "q", 0);
    world_settle(world);
    world->shard[1].verdict = LP_DELETE_IN_USE;
    const struct fake_request *used = fake_queue_delete(&world->shard[0], 1, vhost, "q");
    world_settle(world);
    expect_fault(used, 406, "queue 'q' in vhost '/' in use");
    world->shard[1].verdict = LP_DELETE_NOT_EMPTY;
    const struct fake_request *full = fake_queue_delete(&world->shard[0], 1, vhost, "q");
    world_settle(world);
    expect_fault(full, 406, "queue 'q' in vhost '/' not empty");
    world->shard[1].verdict = LP_DELETE_ALLOWED;
    world->shard[1].count = 42;
    const struct fake_request *gone = fake_queue_delete(&world->shard[0], 1, vhost, "q");
    world_settle(world);
    expect_done(gone);
    struct lp_reader r = lp_reader_of(gone->reply, gone->reply_bytes);
    assert_int_equal(lp_reader_u32le(&r), 42);
    const struct fake_request *again = fake_queue_delete(&world->shard[0], 1, vhost, "q");
    world_settle(world);
    expect_done(again);
    assert_int_equal(world->shard[1].checks, 3);
    assert_int_equal(world->shard[0].checks, 0);
    world_end(world, store);
}

static void
malformed_requests_are_refused_and_the_ring_goes_on(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(1, &store);
    struct fake_shard *shard = &world->shard[0];
    uint8_t noise[64];
    for (uint16_t type = LP_CONTROL_LOGIN; type <= LP_CONTROL_UPDATE_SECRET; type++) {
        for (uint32_t bytes = 0; bytes < sizeof(noise); bytes += 3) {
            fake_fill(NULL, noise, sizeof(noise));
            fake_shard_send(shard, type, 1000, lp_bytes_of(noise, bytes));
        }
    }
    fake_shard_send(shard, LP_CONTROL_ROW_QUEUE, 5, lp_bytes_of(noise, 3));
    fake_shard_send(shard, LP_CONTROL_LISTENERS, 5, lp_bytes_of(noise, 30));
    fake_shard_send(shard, LP_CONTROL_DELETE_CHECKED, 5, lp_bytes_of(noise, 1));
    fake_shard_send(shard, 60000, 5, lp_bytes_of(noise, 1));
    world_settle(world);
    const struct fake_request *login = fake_login(shard, "guest", "guest", true);
    world_settle(world);
    expect_done(login);
    assert_false(lp_control_failed(world->control));
    world_end(world, store);
}

static void
a_broken_ring_is_reported_not_followed(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(1, &store);
    world->shard[0].out.ring->tail += 12345;
    (void)lp_control_turn(world->control); /* what matters is how it ends */
    assert_true(lp_control_failed(world->control));
    world_end(world, store);
}

static void
a_failing_store_answers_nobody_and_the_request_is_asked_again(void **unused)
{
    (void)unused;
    for (uint32_t after = 0; after < 2; after++) {
        struct lp_store_memory *store;
        struct world *world = world_new(2, &store);
        const uint32_t vhost = world_connect(world, 0, 1);
        lp_store_memory_fail(store, 1, after != 0);
        const struct fake_request *declare =
            fake_queue_declare(&world->shard[0], 1, vhost, "q", LP_OBJECT_DURABLE);
        world_settle(world);
        expect_done(declare);
        assert_non_null(fake_object_named(&world->shard[1], LP_CONTROL_QUEUE_UP, "q"));
        assert_int_equal(fake_object_count(&world->shard[1], LP_CONTROL_QUEUE_UP), 1);
        world_end(world, store);
    }
}

static void
a_store_that_goes_on_failing_ends_the_process(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(1, &store);
    const uint32_t vhost = world_connect(world, 0, 1);
    const struct fake_request *declare =
        fake_queue_declare(&world->shard[0], 1, vhost, "q", LP_OBJECT_DURABLE);
    for (uint32_t i = 0; i < 100 && !lp_control_failed(world->control); i++) {
        lp_store_memory_fail(store, 1, false);
        (void)lp_control_turn(world->control); /* what matters is how it ends */
        (void)fake_shard_turn(world, &world->shard[0], 1000);
    }
    assert_true(lp_control_failed(world->control));
    assert_false(declare->answered);
    lp_store_memory_fail(store, 0, false);
    world_control_kill(world);
    world_control_start(world);
    world_settle(world);
    expect_done(declare);
    world_end(world, store);
}

static void
a_full_disk_refuses_what_clients_want_changed_and_nothing_else(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(2, &store);
    const uint32_t vhost = world_connect(world, 0, 1);
    const struct fake_request *kept =
        fake_queue_declare(&world->shard[0], 1, vhost, "kept", LP_OBJECT_DURABLE);
    world_settle(world);
    expect_done(kept);
    lp_store_memory_fill(store, true);
    const struct fake_request *declare =
        fake_queue_declare(&world->shard[0], 1, vhost, "q", LP_OBJECT_DURABLE);
    const struct fake_request *login = fake_login(&world->shard[1], "guest", "guest", true);
    const struct fake_request *again =
        fake_queue_declare(&world->shard[0], 1, vhost, "kept", LP_OBJECT_DURABLE);
    world_settle(world);
    expect_fault(declare, 506, "what exists cannot be changed: there is no room on the disk");
    expect_done(login);
    expect_done(again);
    assert_null(fake_object_named(&world->shard[1], LP_CONTROL_QUEUE_UP, "q"));
    /* However often. */
    for (uint32_t i = 0; i < 10; i++) {
        declare = fake_queue_declare(&world->shard[0], 1, vhost, "q", LP_OBJECT_DURABLE);
        world_settle(world);
        expect_fault(declare, 506, "what exists cannot be changed: there is no room on the disk");
    }
    lp_store_memory_fill(store, false);
    declare = fake_queue_declare(&world->shard[0], 1, vhost, "q", LP_OBJECT_DURABLE);
    world_settle(world);
    expect_done(declare);
    world_end(world, store);
}

static void
a_queue_whose_removal_is_not_stored_is_dropped_nowhere(void **unused)
{
    (void)unused;
    for (uint32_t full = 0; full < 2; full++) {
        struct lp_store_memory *store;
        struct world *world = world_new(2, &store);
        const uint32_t vhost = world_connect(world, 0, 1);
        (void)fake_queue_declare(&world->shard[0], 1, vhost, "q", LP_OBJECT_DURABLE);
        world_settle(world);
        const uint64_t syncs = lp_store_memory_syncs(store);
        lp_store_memory_fail(store, full ? 0 : 1, false);
        lp_store_memory_fill(store, full != 0);
        const struct fake_request *gone = fake_queue_delete(&world->shard[0], 1, vhost, "q");
        for (uint32_t i = 0; i < 100 && !gone->answered; i++) {
            (void)lp_control_turn(world->control); /* what matters is what shards hear */
            (void)fake_shard_turn(world, &world->shard[0], 1);
            (void)fake_shard_turn(world, &world->shard[1], 1);
            assert_true(fake_object_named(&world->shard[0], LP_CONTROL_QUEUE_UP, "q") ||
                        lp_store_memory_syncs(store) > syncs);
        }
        if (full) {
            expect_fault(gone, 506, "what exists cannot be changed: there is no room on the disk");
            assert_non_null(fake_object_named(&world->shard[1], LP_CONTROL_QUEUE_UP, "q"));
            lp_store_memory_fill(store, false);
        } else {
            expect_done(gone);
            assert_null(fake_object_named(&world->shard[1], LP_CONTROL_QUEUE_UP, "q"));
        }
        world_end(world, store);
    }
}

static void
a_store_of_another_data_directory_or_of_more_shards_is_refused(void **unused)
{
    (void)unused;
    struct lp_store_memory *store = lp_store_memory_open();
    struct world *world = world_open(2, lp_store_memory_store(store));
    world_control_start(world); /* one that knows of no directory */
    world_control_kill(world);
    world->data_id = "00112233445566778899aabbccddeeff";
    world_control_start(world);
    world_settle(world);
    const uint32_t vhost = world_connect(world, 1, 1);
    (void)fake_queue_declare(&world->shard[1], 1, vhost, "q", LP_OBJECT_DURABLE);
    world_settle(world);
    world_control_kill(world);
    world_control_start(world);
    world_settle(world);
    world_control_kill(world);
    world->opens = LP_ERR_BAD_CONFIG;
    world->data_id = "00112233445566778899aabbccddeef0";
    world_control_start(world);
    assert_non_null(strstr(world->log, "topology.db is of the data directory "
                                       "00112233445566778899aabbccddeeff, and this is "
                                       "00112233445566778899aabbccddeef0"));
    world_close(world);
    world = world_open(1, lp_store_memory_store(store));
    world->opens = LP_ERR_BAD_CONFIG;
    world_control_start(world);
    assert_string_equal(world->log, "there are queues on 2 shards, and 1 shards to run: set "
                                    "lepus.shards to 2");
    world_close(world);
    lp_store_memory_close(&store);
}

static void
a_sleeping_shard_is_woken(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(1, &store);
    world->shard[0].wakes = 0;
    (void)fake_login(&world->shard[0], "guest", "guest", true);
    world_settle(world);
    assert_int_equal(world->shard[0].wakes, 0);
    ((struct lp_control_region *)world->region)->shard_sleeping[0] = 1;
    (void)fake_login(&world->shard[0], "guest", "guest", true);
    world_settle(world);
    assert_int_equal(world->shard[0].wakes, 1);
    world_end(world, store);
}

static void
a_full_ring_keeps_records_until_there_is_room(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(2, &store);
    const uint32_t vhost = world_connect(world, 0, 1);
    /* Shard 1 reads nothing for a long while; shard 0 declares and deletes without end. */
    uint32_t answered = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        char name[128];
        (void)snprintf(name, sizeof(name), "queue-with-a-name-that-takes-its-room-%060u", i);
        const struct fake_request *declare =
            fake_queue_declare(&world->shard[0], 1, vhost, name, LP_OBJECT_EXCLUSIVE);
        (void)lp_control_turn(world->control); /* the loop below settles */
        (void)fake_shard_turn(world, &world->shard[0], 1000);
        world->shard[0].objects[20] = (struct fake_object){0}; /* the picture is not the point */
        for (uint32_t k = 10; k < FAKE_OBJECTS_MAX; k++) {
            world->shard[0].objects[k] = (struct fake_object){0};
        }
        answered += declare->answered;
        if (declare->answered || i % FAKE_REQUESTS_MAX == FAKE_REQUESTS_MAX - 1) {
            for (uint32_t k = 0; k < FAKE_REQUESTS_MAX; k++) {
                world->shard[0].requests[k].answered = true;
            }
        }
    }
    assert_int_equal(answered, 0); /* shard 1 has applied nothing */
    struct lp_control_record record;
    uint32_t ups = 0;
    while (lp_control_turn(world->control) || ups < 3000) {
        while (lp_control_pop(&world->shard[1].in, world->scratch, &record) ==
               LP_CONTROL_POP_RECORD) {
            ups += record.type == LP_CONTROL_QUEUE_UP;
        }
    }
    assert_int_equal(ups, 3000);
    world_end(world, store);
}

static void
stopping_asks_every_shard_and_adds_up(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(2, &store);
    struct lp_control_stopped totals;
    (void)world_connect(world, 0, 1);
    assert_false(lp_control_stopped(world->control, &totals));
    lp_control_stop(world->control, 1000);
    world_settle(world);
    assert_true(lp_control_stopped(world->control, &totals));
    assert_int_equal(totals.connections_closed, 1);
    assert_int_equal(totals.messages_held, 14);
    world_end(world, store);
}

/* ---- death at every step ---- */

/* One turn of everyone, with control killed and started anew when `*fuse` runs out. */
static void
turn_with_death(struct world *world, uint32_t *fuse)
{
    for (uint32_t turns = 0; turns < 2000; turns++) {
        if (*fuse > 0 && --*fuse == 0) {
            world_control_kill(world);
            world_control_start(world);
        }
        bool work = lp_control_turn(world->control);
        for (uint32_t i = 0; i < world->shard_count; i++) {
            /* Few at a time: death finds rings half full. */
            work = fake_shard_turn(world, &world->shard[i], 1) > 0 || work;
        }
        if (!work) {
            return;
        }
    }
}

static void
script(struct world *world, uint32_t *fuse)
{
    struct fake_shard *a = &world->shard[0];
    struct fake_shard *b = &world->shard[1];
    const uint32_t vhost = a->connection_vhosts[0];
    const uint32_t ids[2] = {1, vhost};
    const struct fake_request *requests[8];
    requests[0] = fake_queue_declare(a, 1, vhost, "kept", LP_OBJECT_DURABLE);
    requests[1] = fake_queue_declare(b, 1, vhost, "mine", LP_OBJECT_EXCLUSIVE);
    requests[2] = fake_exchange_declare(a, 1, vhost, "auto", LP_OBJECT_AUTO_DELETE);
    turn_with_death(world, fuse);
    requests[3] = fake_bind(a, LP_CONTROL_BIND, ids, "auto", "kept");
    requests[4] = fake_bind(a, LP_CONTROL_BIND, ids, "amq.direct", "kept");
    turn_with_death(world, fuse);
    requests[5] = fake_bind(a, LP_CONTROL_UNBIND, ids, "auto", "kept");
    requests[6] = fake_queue_declare(a, 1, vhost, "gone", LP_OBJECT_DURABLE);
    turn_with_death(world, fuse);
    requests[7] = fake_queue_delete(b, 1, vhost, "gone");
    turn_with_death(world, fuse);
    for (size_t i = 0; i < LP_COUNT_OF(requests); i++) {
        expect_done(requests[i]);
    }
    const struct fake_request *closed = fake_closed(b, 1);
    turn_with_death(world, fuse);
    expect_done(closed);
}

static void
death_at_any_step_costs_nothing_but_time(void **unused)
{
    (void)unused;
    uint32_t deaths = 0;
    for (uint32_t n = 1; n < 1000; n++) {
        struct lp_store_memory *store;
        struct world *world = world_new(2, &store);
        (void)world_connect(world, 0, 1);
        (void)world_connect(world, 1, 1);
        uint32_t fuse = n;
        script(world, &fuse);
        world_settle(world);
        for (uint32_t i = 0; i < 2; i++) {
            struct fake_shard *shard = &world->shard[i];
            assert_int_equal(fake_object_count(shard, LP_CONTROL_QUEUE_UP), 1);
            assert_non_null(fake_object_named(shard, LP_CONTROL_QUEUE_UP, "kept"));
            assert_int_equal(fake_object_count(shard, LP_CONTROL_EXCHANGE_UP), 7);
            assert_int_equal(fake_object_count(shard, LP_CONTROL_BIND_UP), 1);
        }
        const bool died = fuse == 0;
        deaths += died;
        world_end(world, store);
        if (!died) {
            break;
        }
    }
    assert_in_range(deaths, 20, 998);
}

static void
queues_of_connections_that_closed_meanwhile_are_deleted(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(2, &store);
    const uint32_t vhost = world_connect(world, 0, 1);
    (void)world_connect(world, 1, 1);
    (void)fake_queue_declare(&world->shard[0], 1, vhost, "mine", LP_OBJECT_EXCLUSIVE);
    (void)fake_queue_declare(&world->shard[1], 1, vhost, "theirs", LP_OBJECT_EXCLUSIVE);
    world_settle(world);
    world_control_kill(world);
    /* The shard forgets the connection, and its CLOSED was lost with a data plane of old. */
    world->shard[0].connection_count = 0;
    world_control_start(world);
    world_settle(world);
    assert_null(fake_object_named(&world->shard[1], LP_CONTROL_QUEUE_UP, "mine"));
    assert_non_null(fake_object_named(&world->shard[1], LP_CONTROL_QUEUE_UP, "theirs"));
    world_end(world, store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_broker_has_the_predeclared_exchanges_on_every_shard),
        cmocka_unit_test(logins_are_checked_and_the_answer_does_not_tell_why),
        cmocka_unit_test(opening_a_vhost_needs_one_and_a_right_to_it),
        cmocka_unit_test(a_declare_is_answered_only_when_every_shard_has_applied_it),
        cmocka_unit_test(
            requests_of_one_turn_share_one_transaction_and_transient_ones_cost_no_sync),
        cmocka_unit_test(exclusive_queues_go_with_their_connection),
        cmocka_unit_test(a_queue_is_deleted_after_its_home_shard_agreed),
        cmocka_unit_test(malformed_requests_are_refused_and_the_ring_goes_on),
        cmocka_unit_test(a_broken_ring_is_reported_not_followed),
        cmocka_unit_test(a_failing_store_answers_nobody_and_the_request_is_asked_again),
        cmocka_unit_test(a_store_that_goes_on_failing_ends_the_process),
        cmocka_unit_test(a_full_disk_refuses_what_clients_want_changed_and_nothing_else),
        cmocka_unit_test(a_queue_whose_removal_is_not_stored_is_dropped_nowhere),
        cmocka_unit_test(a_store_of_another_data_directory_or_of_more_shards_is_refused),
        cmocka_unit_test(a_sleeping_shard_is_woken),
        cmocka_unit_test(a_full_ring_keeps_records_until_there_is_room),
        cmocka_unit_test(stopping_asks_every_shard_and_adds_up),
        cmocka_unit_test(death_at_any_step_costs_nothing_but_time),
        cmocka_unit_test(queues_of_connections_that_closed_meanwhile_are_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
