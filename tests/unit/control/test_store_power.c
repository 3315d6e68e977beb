/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What SQLite's store keeps when the power goes, and what it says when the disk
 * fails: nothing is answered that is not on the disk.
 *
 * Method: SQLite writes to a disk in memory that knows what was synced
 * (power_vfs.h). At moments that a seed chooses the power goes, in the middle of
 * a transaction or between two; the store is opened on what is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/topology/store.h"
#include "power_vfs.h"

#define TRANSACTIONS 160u
#define VALUE_BYTES  12000u
#define FOLDER       "/power"

struct rig {
    struct power power;
    sqlite3_vfs vfs;
    struct lp_store_sqlite *sqlite;
    struct lp_store store;
    uint64_t revision;
    uint64_t seed;
    bool armed; /* the power goes at one of the next moments */
    struct power *after;
    uint8_t value[VALUE_BYTES];
};

static void
store_open(struct rig *rig, bool fresh)
{
    char why[256] = "";
    const enum lp_err err = lp_store_sqlite_open(FOLDER, fresh, &rig->sqlite, why, sizeof(why));
    assert_string_equal(why, "");
    assert_int_equal(err, LP_OK);
    rig->store = lp_store_sqlite_store(rig->sqlite);
}

/* The power goes right now. */
static void
lose_now(struct rig *rig)
{
    rig->after = calloc(1, sizeof(*rig->after));
    assert_non_null(rig->after);
    power_lost(&rig->power, rig->after, &rig->seed);
}

static void
moment(void *context)
{
    struct rig *rig = context;
    if (rig->armed && power_random(&rig->seed) % 32 == 0) {
        rig->armed = false;
        lose_now(rig);
    }
}

static struct rig *
rig_open(uint64_t seed)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig->seed = seed;
    rig->power.moment = moment;
    rig->power.context = rig;
    power_begin(&rig->power, &rig->vfs);
    store_open(rig, true);
    return rig;
}

static void
rig_close(struct rig *rig)
{
    lp_store_sqlite_close(&rig->sqlite);
    power_end(&rig->power, &rig->vfs);
    free(rig);
}

/* Two durable keys in one transaction, and sometimes a transient one. */
static enum lp_err
write_pair(struct rig *rig, uint32_t number)
{
    char first[32];
    char second[32];
    (void)snprintf(first, sizeof(first), "a%05u", number);
    (void)snprintf(second, sizeof(second), "b%05u", number);
    memset(rig->value, 'a' + (int)(number % 26), sizeof(rig->value));
    const struct lp_bytes value = lp_bytes_of(rig->value, VALUE_BYTES / (1 + number % 7));
    const struct lp_store_op ops[] = {
        {.key = lp_bytes_of_text(first), .value = value, .durable = true},
        {.key = lp_bytes_of_text(second), .value = value, .durable = true},
        {.key = lp_bytes_of_text("transient"), .value = value},
    };
    return rig->store.transact(rig->store.self, rig->revision, ops, number % 3 == 0 ? 3 : 2,
                               &rig->revision);
}

/* How many pairs there are: all from the first on, each whole. */
static uint32_t
pairs_count(struct lp_store *store)
{
    struct lp_store_event event;
    uint32_t firsts = 0;
    uint32_t seconds = 0;
    assert_int_equal(store->watch(store->self, 0), LP_OK);
    while (store->next(store->self, &event) == LP_OK && event.kind == LP_STORE_PUT) {
        char key[32];
        if (event.key.size != 6) {
            continue;
        }
        uint32_t *count = event.key.data[0] == 'a' ? &firsts : &seconds;
        (void)snprintf(key, sizeof(key), "%c%05u", event.key.data[0], *count);
        assert_memory_equal(event.key.data, key, 6);
        assert_int_equal(event.value.size, VALUE_BYTES / (1 + *count % 7));
        for (uint32_t i = 0; i < event.value.size; i++) {
            assert_int_equal(event.value.data[i], 'a' + *count % 26);
        }
        (*count)++;
    }
    assert_int_equal(firsts, seconds);
    return firsts;
}

/* Open what is left beside the store that goes on. */
static uint32_t
pairs_left(struct rig *rig)
{
    struct rig *other = calloc(1, sizeof(*other));
    assert_non_null(other);
    rig->vfs.pAppData = rig->after;
    store_open(other, true);
    const uint32_t count = pairs_count(&other->store);
    lp_store_sqlite_close(&other->sqlite);
    rig->vfs.pAppData = &rig->power;
    power_clear(rig->after);
    free(rig->after);
    free(other);
    rig->after = NULL;
    return count;
}

/* The process ends and another begins; the power may go meanwhile. */
static void
begin_again(struct rig *rig, uint32_t answered)
{
    rig->armed = true;
    lp_store_sqlite_close(&rig->sqlite);
    if (rig->after) {
        assert_int_equal(pairs_left(rig), answered);
    }
    store_open(rig, false);
}

/* Gives how often the power went in the middle of a transaction. */
static uint32_t
losses_run(struct rig *rig)
{
    uint32_t losses = 0;
    for (uint32_t i = 0; i < TRANSACTIONS; i++) {
        rig->armed = true;
        assert_int_equal(write_pair(rig, i), LP_OK);
        if (rig->after) { /* it went before this one was answered */
            assert_in_range(pairs_left(rig), i, i + 1);
            losses++;
        }
        if (i % 16 == 15) {
            lose_now(rig);
            assert_int_equal(pairs_left(rig), i + 1);
        }
        if (i % 50 == 49) {
            begin_again(rig, i + 1);
        }
    }
    return losses;
}

static void
a_loss_of_power_at_any_moment_keeps_what_was_answered(void **unused)
{
    (void)unused;
    uint32_t losses = 0;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct rig *rig = rig_open(seed * 0x9e3779b97f4a7c15u);
        losses += losses_run(rig);
        rig_close(rig);
    }
    assert_true(losses > 100);
}

static void
nothing_durable_is_answered_before_its_sync_and_nothing_else_waits_for_one(void **unused)
{
    (void)unused;
    struct rig *rig = rig_open(1);
    for (uint32_t i = 0; i < 20; i++) {
        const uint32_t syncs = rig->power.syncs;
        assert_int_equal(write_pair(rig, i), LP_OK);
        assert_true(rig->power.syncs > syncs);
        const struct power_file *log = power_find(&rig->power, FOLDER "/topology.db-wal");
        assert_non_null(log);
        assert_true(log->named);
        for (uint32_t s = 0; s < POWER_SECTORS; s++) {
            assert_false(log->unsynced[s]);
        }
        const struct lp_store_op transient = {.key = lp_bytes_of_text("t"),
                                              .value = lp_bytes_of_text("t")};
        const uint32_t before = rig->power.syncs;
        assert_int_equal(
            rig->store.transact(rig->store.self, rig->revision, &transient, 1, &rig->revision),
            LP_OK);
        assert_int_equal(rig->power.syncs, before);
    }
    rig_close(rig);
}

static void
a_full_disk_is_an_answer_and_nothing_is_half_done(void **unused)
{
    (void)unused;
    struct rig *rig = rig_open(1);
    uint32_t next = 0;
    for (uint32_t writes = 1; writes < 12; writes++) {
        assert_int_equal(write_pair(rig, next++), LP_OK);
        rig->power.fill_in = writes;
        const enum lp_err err = write_pair(rig, next);
        if (err == LP_OK) {
            next++; /* it was small enough */
            rig->power.fill_in = 0;
            continue;
        }
        assert_int_equal(err, LP_ERR_NO_SPACE);
        assert_int_equal(write_pair(rig, next), LP_ERR_NO_SPACE);
        assert_int_equal(pairs_count(&rig->store), next);
        rig->power.full = false;
        assert_int_equal(write_pair(rig, next++), LP_OK);
        lose_now(rig);
        assert_int_equal(pairs_left(rig), next);
    }
    rig_close(rig);
}

static void
a_failed_sync_is_never_an_answer_and_the_store_is_opened_again(void **unused)
{
    (void)unused;
    struct rig *rig = rig_open(1);
    uint32_t next = 0;
    for (uint32_t round = 0; round < 4; round++) {
        assert_int_equal(write_pair(rig, next++), LP_OK);
        rig->power.fail_sync_in = 1;
        const uint64_t revision = rig->revision;
        assert_int_equal(write_pair(rig, next), LP_ERR_IO);
        assert_int_equal(rig->revision, revision);
        assert_int_equal(write_pair(rig, next), LP_ERR_IO); /* no second try */
        assert_int_equal(rig->store.watch(rig->store.self, 0), LP_ERR_IO);
        lp_store_sqlite_close(&rig->sqlite);
        store_open(rig, false);
        const uint32_t there = pairs_count(&rig->store);
        assert_in_range(there, next, next + 1);
        rig->revision += there - next;
        next = there;
    }
    rig_close(rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_of_power_at_any_moment_keeps_what_was_answered),
        cmocka_unit_test(
            nothing_durable_is_answered_before_its_sync_and_nothing_else_waits_for_one),
        cmocka_unit_test(a_full_disk_is_an_answer_and_nothing_is_half_done),
        cmocka_unit_test(a_failed_sync_is_never_an_answer_and_the_store_is_opened_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
