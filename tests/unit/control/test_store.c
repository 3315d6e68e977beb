/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of a store, over each implementation; and what SQLite's keeps
 * when its process is killed.
 *
 * Method: every contract test is run with each row of `kinds`.  The crash test
 * kills a child that writes as fast as it can, with a pipe telling how far it
 * got, and looks at what is left: a prefix of its transactions, each whole.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/topology/store.h"

struct kind {
    const char *name;
    void (*open)(struct kind *kind);
    void (*close)(struct kind *kind);
    /* The process dies (fresh: and the broker with it) and another one opens the store. */
    void (*reopen)(struct kind *kind, bool fresh);
    struct lp_store store;
    struct lp_store_memory *memory;
    struct lp_store_sqlite *sqlite;
    char folder[64];
};

/* ---- implementations ---- */

static void
memory_open(struct kind *kind)
{
    kind->memory = lp_store_memory_open();
    kind->store = lp_store_memory_store(kind->memory);
}

static void
memory_close(struct kind *kind)
{
    lp_store_memory_close(&kind->memory);
}

static void
memory_reopen(struct kind *kind, bool fresh)
{
    if (fresh) {
        lp_store_memory_crash(kind->memory);
    }
}

static void
sqlite_again(struct kind *kind, bool fresh)
{
    char why[256];
    assert_int_equal(lp_store_sqlite_open(kind->folder, fresh, &kind->sqlite, why, sizeof(why)),
                     LP_OK);
    kind->store = lp_store_sqlite_store(kind->sqlite);
}

static void
sqlite_open_new(struct kind *kind)
{
    (void)snprintf(kind->folder, sizeof(kind->folder), "/tmp/lepus-store-XXXXXX");
    assert_non_null(mkdtemp(kind->folder));
    sqlite_again(kind, true);
}

static void
sqlite_close_all(struct kind *kind)
{
    static const char *const names[] = {"topology.db",  "topology.db-wal",  "topology.db-shm",
                                        "transient.db", "transient.db-wal", "transient.db-shm"};
    char path[128];
    lp_store_sqlite_close(&kind->sqlite);
    for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", kind->folder, names[i]);
        (void)unlink(path); /* not all of them exist */
    }
    assert_int_equal(rmdir(kind->folder), 0);
}

static void
sqlite_reopen(struct kind *kind, bool fresh)
{
    lp_store_sqlite_close(&kind->sqlite);
    sqlite_again(kind, fresh);
}

static const struct kind kinds[] = {
    {.name = "memory", .open = memory_open, .close = memory_close, .reopen = memory_reopen},
    {.name = "sqlite", .open = sqlite_open_new, .close = sqlite_close_all, .reopen = sqlite_reopen},
};

/* ---- helpers ---- */

static struct lp_store_op
put(const char *key, const char *value, bool durable)
{
    const struct lp_store_op op = {
        .key = lp_bytes_of_text(key), .value = lp_bytes_of_text(value), .durable = durable};
    return op;
}

static struct lp_store_op
drop(const char *key, bool durable)
{
    const struct lp_store_op op = {
        .key = lp_bytes_of_text(key), .remove = true, .durable = durable};
    return op;
}

static uint64_t
transact(struct kind *kind, uint64_t expected, const struct lp_store_op *ops, size_t count)
{
    uint64_t revision = 0;
    assert_int_equal(kind->store.transact(kind->store.self, expected, ops, count, &revision),
                     LP_OK);
    assert_int_equal(revision, expected + 1);
    return revision;
}

/* Everything the watch has to say now, as text: "+key=value -key @ " */
static void
watch_text(struct kind *kind, char *text, size_t bytes)
{
    struct lp_store_event event;
    size_t used = 0;
    text[0] = '\0';
    while (kind->store.next(kind->store.self, &event) == LP_OK) {
        int written = 0;
        if (event.kind == LP_STORE_REVISION) {
            written = snprintf(text + used, bytes - used, "@");
        } else if (event.kind == LP_STORE_DELETE) {
            written = snprintf(text + used, bytes - used, "-%.*s ", (int)event.key.size,
                               (const char *)event.key.data);
        } else {
            written = snprintf(text + used, bytes - used, "+%.*s=%.*s ", (int)event.key.size,
                               (const char *)event.key.data, (int)event.value.size,
                               (const char *)event.value.data);
        }
        assert_true(written > 0 && (size_t)written < bytes - used);
        used += (size_t)written;
    }
}

static void
expect_watch(struct kind *kind, const char *expected)
{
    char text[1024];
    watch_text(kind, text, sizeof(text));
    assert_string_equal(text, expected);
}

static void
expect_content(struct kind *kind, const char *expected)
{
    assert_int_equal(kind->store.watch(kind->store.self, 0), LP_OK);
    expect_watch(kind, expected);
}

static uint64_t
revision_now(struct kind *kind)
{
    struct lp_store_event event = {0};
    assert_int_equal(kind->store.watch(kind->store.self, 0), LP_OK);
    while (kind->store.next(kind->store.self, &event) == LP_OK) {
    }
    assert_int_equal(event.kind, LP_STORE_REVISION);
    return event.revision;
}

/* ---- the contract ---- */

static void
a_new_store_is_empty_at_revision_0(struct kind *kind)
{
    expect_content(kind, "@");
    assert_int_equal(revision_now(kind), 0);
}

static void
a_transaction_is_whole_and_the_snapshot_is_in_order_of_keys(struct kind *kind)
{
    const struct lp_store_op ops[] = {put("b", "2", true),  put("a", "1", false),
                                      put("c", "3", true),  put("b", "4", true),
                                      put("x", "9", false), drop("x", false)};
    (void)transact(kind, 0, ops, LP_COUNT_OF(ops));
    expect_content(kind, "+a=1 +b=4 +c=3 @");
}

static void
a_wrong_revision_is_a_conflict_and_changes_nothing(struct kind *kind)
{
    const struct lp_store_op op = put("a", "1", true);
    uint64_t revision = 77;
    (void)transact(kind, 0, &op, 1);
    assert_int_equal(kind->store.transact(kind->store.self, 0, &op, 1, &revision), LP_ERR_CONFLICT);
    assert_int_equal(kind->store.transact(kind->store.self, 2, &op, 1, &revision), LP_ERR_CONFLICT);
    assert_int_equal(revision, 77);
    assert_int_equal(revision_now(kind), 1);
}

static void
deleting_what_is_not_there_is_nothing(struct kind *kind)
{
    const struct lp_store_op ops[] = {drop("a", true), drop("b", false)};
    (void)transact(kind, 0, ops, 2);
    expect_content(kind, "@");
}

static void
the_watch_gives_each_change_once_in_order(struct kind *kind)
{
    const struct lp_store_op one[] = {put("a", "1", true), put("b", "2", false)};
    const struct lp_store_op two[] = {drop("a", true)};
    (void)transact(kind, 0, one, 2);
    expect_content(kind, "+a=1 +b=2 @");
    expect_watch(kind, "");
    (void)transact(kind, 1, two, 1);
    expect_watch(kind, "-a @");
    expect_watch(kind, "");
}

static void
a_watch_may_begin_at_an_earlier_revision(struct kind *kind)
{
    const struct lp_store_op one = put("a", "1", true);
    const struct lp_store_op two = put("b", "2", false);
    (void)transact(kind, 0, &one, 1);
    (void)transact(kind, 1, &two, 1);
    assert_int_equal(kind->store.watch(kind->store.self, 1), LP_OK);
    expect_watch(kind, "+b=2 @");
    assert_int_equal(kind->store.watch(kind->store.self, 2), LP_OK);
    expect_watch(kind, "");
    assert_int_equal(kind->store.watch(kind->store.self, 3), LP_ERR_NOT_FOUND);
}

static void
keys_and_values_are_bytes(struct kind *kind)
{
    static const uint8_t raw[] = {0, 255, 0, 10};
    const struct lp_store_op op = {
        .key = lp_bytes_of(raw, 4), .value = lp_bytes_of(raw, 3), .durable = true};
    struct lp_store_event event;
    (void)transact(kind, 0, &op, 1);
    assert_int_equal(kind->store.watch(kind->store.self, 0), LP_OK);
    assert_int_equal(kind->store.next(kind->store.self, &event), LP_OK);
    assert_true(lp_bytes_equal(event.key, lp_bytes_of(raw, 4)));
    assert_true(lp_bytes_equal(event.value, lp_bytes_of(raw, 3)));
}

static void
transient_keys_survive_the_process_but_not_the_broker(struct kind *kind)
{
    const struct lp_store_op ops[] = {put("d", "1", true), put("t", "2", false)};
    const struct lp_store_op more = put("u", "3", false);
    (void)transact(kind, 0, ops, 2);
    (void)transact(kind, 1, &more, 1);
    kind->reopen(kind, false);
    expect_content(kind, "+d=1 +t=2 +u=3 @");
    assert_int_equal(revision_now(kind), 2);
    kind->reopen(kind, true);
    expect_content(kind, "+d=1 @");
    const struct lp_store_op after = put("e", "4", true);
    (void)transact(kind, revision_now(kind), &after, 1);
    kind->reopen(kind, false);
    expect_content(kind, "+d=1 +e=4 @");
}

static void
run_over_all(void (*test)(struct kind *kind))
{
    for (size_t i = 0; i < LP_COUNT_OF(kinds); i++) {
        struct kind kind = kinds[i];
        kind.open(&kind);
        test(&kind);
        kind.close(&kind);
    }
}

#define CONTRACT(name)                         \
    static void contract_##name(void **unused) \
    {                                          \
        (void)unused;                          \
        run_over_all(name);                    \
    }

CONTRACT(a_new_store_is_empty_at_revision_0)
CONTRACT(a_transaction_is_whole_and_the_snapshot_is_in_order_of_keys)
CONTRACT(a_wrong_revision_is_a_conflict_and_changes_nothing)
CONTRACT(deleting_what_is_not_there_is_nothing)
CONTRACT(the_watch_gives_each_change_once_in_order)
CONTRACT(a_watch_may_begin_at_an_earlier_revision)
CONTRACT(keys_and_values_are_bytes)
CONTRACT(transient_keys_survive_the_process_but_not_the_broker)

/* ---- SQLite alone ---- */

/* Transaction n puts n under "d" and under "t", and reports it when it is done. */
static void
crash_child(const char *folder, int pipe_fd)
{
    struct lp_store_sqlite *sqlite;
    char why[256];
    if (lp_store_sqlite_open(folder, false, &sqlite, why, sizeof(why)) != LP_OK) {
        _exit(2);
    }
    const struct lp_store store = lp_store_sqlite_store(sqlite);
    struct lp_store_event event = {0};
    if (store.watch(store.self, 0) != LP_OK) {
        _exit(3);
    }
    while (store.next(store.self, &event) == LP_OK) {
    }
    uint64_t revision = event.revision;
    for (;;) {
        char number[24];
        (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)revision + 1);
        const struct lp_store_op ops[] = {put("d", number, true), put("t", number, false)};
        if (store.transact(store.self, revision, ops, 2, &revision) != LP_OK ||
            write(pipe_fd, &revision, sizeof(revision)) != sizeof(revision)) {
            _exit(4);
        }
    }
}

static void
what_was_committed_survives_kill_9_whole(void **unused)
{
    (void)unused;
    struct kind kind = kinds[1];
    kind.open(&kind);
    lp_store_sqlite_close(&kind.sqlite);
    uint64_t told = 0;
    for (unsigned round = 0; round < 12; round++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)close(ends[0]);
            crash_child(kind.folder, ends[1]);
        }
        (void)close(ends[1]);
        /* A different number of transactions each time, then death wherever it stands. */
        for (unsigned i = 0; i < 1 + round * 3; i++) {
            assert_int_equal(read(ends[0], &told, sizeof(told)), sizeof(told));
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(ends[0], &told, sizeof(told)) == sizeof(told)) {
        }
        (void)close(ends[0]);
        sqlite_again(&kind, false);
        const uint64_t revision = revision_now(&kind);
        assert_true(revision == told || revision == told + 1);
        char expected[128];
        (void)snprintf(expected, sizeof(expected), "+d=%llu +t=%llu @",
                       (unsigned long long)revision, (unsigned long long)revision);
        expect_content(&kind, expected);
        lp_store_sqlite_close(&kind.sqlite);
    }
    sqlite_again(&kind, false);
    kind.close(&kind);
}

static void
a_folder_that_is_not_there_is_told(void **unused)
{
    (void)unused;
    struct lp_store_sqlite *store = NULL;
    char why[256] = "";
    assert_int_equal(lp_store_sqlite_open("/nonexistent/folder", true, &store, why, sizeof(why)),
                     LP_ERR_IO);
    assert_non_null(strstr(why, "/nonexistent/folder/topology.db"));
    assert_null(store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contract_a_new_store_is_empty_at_revision_0),
        cmocka_unit_test(contract_a_transaction_is_whole_and_the_snapshot_is_in_order_of_keys),
        cmocka_unit_test(contract_a_wrong_revision_is_a_conflict_and_changes_nothing),
        cmocka_unit_test(contract_deleting_what_is_not_there_is_nothing),
        cmocka_unit_test(contract_the_watch_gives_each_change_once_in_order),
        cmocka_unit_test(contract_a_watch_may_begin_at_an_earlier_revision),
        cmocka_unit_test(contract_keys_and_values_are_bytes),
        cmocka_unit_test(contract_transient_keys_survive_the_process_but_not_the_broker),
        cmocka_unit_test(what_was_committed_survives_kill_9_whole),
        cmocka_unit_test(a_folder_that_is_not_there_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
