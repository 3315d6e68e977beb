/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mesh's promise: credits are conserved, a reply always fits, and news and
 * requests leave the room that replies need.
 *
 * Method: two shards that fill the rings as far as they may; then a walk of
 * random traffic in which each side answers when it likes.
 */
#include "dataplane/mesh/mesh.h"

#include "tests/unit/base/base_test.h"

enum { REQUEST = 1, REPLY, NEWS };

struct pair {
    void *memory;
    struct lp_mesh mesh[2];
    uint64_t told[2];  /* news sent by */
    uint64_t heard[2]; /* ... and taken from */
};

static void
pair_open(struct pair *pair)
{
    const size_t bytes = (lp_fabric_bytes(2) + 127) & ~(size_t)127;
    memset(pair, 0, sizeof(*pair));
    pair->memory = aligned_alloc(LP_PAIR_BYTES, bytes);
    assert_non_null(pair->memory);
    memset(pair->memory, 0, bytes);
    struct lp_fabric *fabric = lp_fabric_init_boot(pair->memory, 2);
    lp_mesh_init(&pair->mesh[0], fabric, 0);
    lp_mesh_init(&pair->mesh[1], fabric, 1);
}

static void
pair_close(struct pair *pair)
{
    free(pair->memory);
}

static bool
request(struct pair *pair, uint32_t from)
{
    const struct lp_mesh_record record = {.op = REQUEST};
    return lp_mesh_request(&pair->mesh[from], 1 - from, &record);
}

static bool
news(struct pair *pair, uint32_t from)
{
    const struct lp_mesh_record record = {.op = NEWS, .w = {pair->told[from]}};
    if (!lp_mesh_news(&pair->mesh[from], 1 - from, &record)) {
        return false;
    }
    pair->told[from]++;
    return true;
}

static void
reply(struct pair *pair, uint32_t from, uint16_t credits)
{
    const struct lp_mesh_record record = {.op = REPLY, .credits = credits};
    lp_mesh_reply(&pair->mesh[from], 1 - from, &record);
}

/* Take everything; requests are remembered as owed. */
static void
drain(struct pair *pair, uint32_t self)
{
    const uint32_t peer = 1 - self;
    const struct lp_mesh_record *record;
    while ((record = lp_mesh_take(&pair->mesh[self], peer)) != NULL) {
        if (record->op == REQUEST) {
            lp_mesh_owe(&pair->mesh[self], peer);
        } else if (record->op == NEWS) {
            assert_int_equal(record->w[0], pair->heard[peer]); /* in order */
            pair->heard[peer]++;
        }
    }
    lp_mesh_give_back(&pair->mesh[self], peer);
}

static uint32_t
owed(const struct pair *pair, uint32_t self)
{
    return pair->mesh[self].port[1 - self].owed;
}

static uint32_t
credits(const struct pair *pair, uint32_t self)
{
    return pair->mesh[self].port[1 - self].credits;
}

static void
replies_fit_a_ring_that_is_full_of_everything_else(void **unused)
{
    (void)unused;
    struct pair pair;
    pair_open(&pair);
    uint32_t asked = 0;
    while (request(&pair, 0)) {
        asked++;
    }
    assert_int_equal(asked, LP_MESH_CREDITS);
    assert_int_equal(credits(&pair, 0), 0);
    assert_true(lp_mesh_publish(&pair.mesh[0], 1));
    drain(&pair, 1);
    /* The other side fills its ring with news and requests first, then answers one by one. */
    while (request(&pair, 1) || news(&pair, 1)) {
    }
    assert_int_equal(lp_mesh_news_room(&pair.mesh[1], 0), 0);
    assert_int_equal(lp_mesh_request_room(&pair.mesh[1], 0), 0);
    for (uint32_t i = 0; i < asked; i++) {
        reply(&pair, 1, 1);
    }
    assert_true(lp_mesh_publish(&pair.mesh[1], 0));
    assert_false(lp_mesh_publish(&pair.mesh[1], 0));
    assert_true(lp_mesh_waiting(&pair.mesh[0]));
    drain(&pair, 0);
    assert_false(lp_mesh_waiting(&pair.mesh[0]));
    assert_int_equal(credits(&pair, 0), LP_MESH_CREDITS);
    assert_int_equal(owed(&pair, 0), LP_MESH_CREDITS);
    pair_close(&pair);
}

static void
news_leaves_the_reserve_and_gets_its_room_back(void **unused)
{
    (void)unused;
    struct pair pair;
    pair_open(&pair);
    uint32_t sent = 0;
    while (news(&pair, 0)) {
        sent++;
    }
    assert_int_equal(sent, LP_MESH_RING_SLOTS - LP_MESH_CREDITS);
    assert_false(request(&pair, 0)); /* with all its credits, but no room */
    assert_int_equal(credits(&pair, 0), LP_MESH_CREDITS);
    assert_true(lp_mesh_staged(&pair.mesh[0], 1));
    assert_true(lp_mesh_publish(&pair.mesh[0], 1));
    assert_false(lp_mesh_staged(&pair.mesh[0], 1));
    assert_false(news(&pair, 0));
    drain(&pair, 1);
    assert_true(news(&pair, 0));
    assert_true(request(&pair, 0));
    pair_close(&pair);
}

/* Credits held + in requests under way + owed + in replies under way: always as many. */
static void
credits_are_conserved_in_random_traffic(void **unused)
{
    (void)unused;
    struct pair pair;
    struct random random = {11};
    pair_open(&pair);
    uint32_t asking[2] = {0, 0};  /* requests not taken yet */
    uint32_t answers[2] = {0, 0}; /* credits in replies not taken yet */
    for (uint32_t step = 0; step < 20000; step++) {
        const uint32_t self = random_below(&random, 2);
        const uint32_t peer = 1 - self;
        for (uint32_t i = random_below(&random, 200); i > 0; i--) {
            asking[self] += request(&pair, self);
            (void)news(&pair, self);
        }
        while (owed(&pair, self) > 0 && random_below(&random, 8) != 0) {
            const uint32_t back = 1 + random_below(&random, LP_MIN(owed(&pair, self), 64u));
            reply(&pair, self, (uint16_t)back);
            answers[self] += back;
        }
        (void)lp_mesh_publish(&pair.mesh[self], peer);
        if (random_below(&random, 3) == 0) {
            (void)lp_mesh_publish(&pair.mesh[peer], self);
            drain(&pair, self);
            asking[peer] = 0;
            answers[peer] = 0;
        }
        for (uint32_t i = 0; i < 2; i++) {
            const uint32_t sum =
                credits(&pair, i) + asking[i] + owed(&pair, 1 - i) + answers[1 - i];
            assert_int_equal(sum, LP_MESH_CREDITS);
        }
    }
    assert_true(pair.heard[0] > 1000 && pair.heard[1] > 1000);
    pair_close(&pair);
}

/* A shard's ring to itself: answers are staged while what they answer is still borrowed. */
static void
a_shard_can_answer_itself_with_all_credits_out(void **unused)
{
    (void)unused;
    struct pair pair;
    pair_open(&pair);
    struct lp_mesh *mesh = &pair.mesh[0];
    const struct lp_mesh_record asks = {.op = REQUEST};
    const struct lp_mesh_record answer = {.op = REPLY, .credits = 1};
    uint32_t again = 0;
    for (uint32_t round = 0; round < 5; round++) {
        const struct lp_mesh_record *record;
        while (mesh->port[0].credits > LP_MESH_CREDITS / 2 && lp_mesh_request(mesh, 0, &asks)) {
        }
        (void)lp_mesh_publish(mesh, 0);
        while ((record = lp_mesh_take(mesh, 0)) != NULL) {
            if (record->op == REQUEST) {
                lp_mesh_owe(mesh, 0);
                lp_mesh_reply(mesh, 0, &answer);
            }
            again += lp_mesh_request(mesh, 0, &asks);
        }
        lp_mesh_give_back(mesh, 0);
    }
    assert_true(again > 0);
    pair_close(&pair);
}

/* A commit that waited for 513 of them waited for ever: its view of the ring was old. */
static void
a_stale_view_of_the_ring_does_not_refuse_what_fits(void **unused)
{
    (void)unused;
    struct pair pair;
    pair_open(&pair);
    for (uint32_t i = 0; i < 3 * LP_MESH_RING_SLOTS; i++) {
        assert_true(request(&pair, 0));
        (void)lp_mesh_publish(&pair.mesh[0], 1);
        drain(&pair, 1);
        reply(&pair, 1, 1);
        (void)lp_mesh_publish(&pair.mesh[1], 0);
        drain(&pair, 0);
        assert_true(lp_mesh_request_room(&pair.mesh[0], 1) > LP_MESH_CREDITS_KEPT);
        if (i % 7 == 0) {
            assert_true(lp_mesh_request_fits(&pair.mesh[0], 1, LP_MESH_CREDITS));
        }
    }
    assert_false(lp_mesh_request_fits(&pair.mesh[0], 1, LP_MESH_CREDITS + 1));
    pair_close(&pair);
}

static void
answer_twice(void *context)
{
    struct pair *pair = context;
    reply(pair, 1, 1);
    reply(pair, 1, 1);
}

static void
an_answer_that_nobody_asked_for_is_our_bug(void **unused)
{
    (void)unused;
    struct pair pair;
    pair_open(&pair);
    assert_true(request(&pair, 0));
    (void)lp_mesh_publish(&pair.mesh[0], 1);
    drain(&pair, 1);
    assert_true(lp_test_panics(answer_twice, &pair));
    pair_close(&pair);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_fit_a_ring_that_is_full_of_everything_else),
        cmocka_unit_test(news_leaves_the_reserve_and_gets_its_room_back),
        cmocka_unit_test(credits_are_conserved_in_random_traffic),
        cmocka_unit_test(a_shard_can_answer_itself_with_all_credits_out),
        cmocka_unit_test(a_stale_view_of_the_ring_does_not_refuse_what_fits),
        cmocka_unit_test(an_answer_that_nobody_asked_for_is_our_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
