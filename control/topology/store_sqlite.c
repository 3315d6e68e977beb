/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_sqlite.c - the store of a single node.
 *
 * topology.db keeps durable keys: write-ahead log and synchronous=FULL, so one
 * sync a transaction (and one of the folder, when SQLite makes the log).  transient.db keeps the
 * rest with synchronous=OFF: what was written survives the process (the pages are the kernel's) and
 * no more.
 *
 * A transaction with both kinds commits topology.db first, together with a
 * copy of its transient part (table carry); transient.db follows.  If the
 * process dies between the two, opening finds transient.db older than the
 * carried revision and finishes the job.  The revision is the larger of the
 * two files'.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/topology/store_feed.h"
#include "control/topology/store_settle.h"

struct file {
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *rollback;
    sqlite3_stmt *put, *remove, *set_revision, *list;
    uint64_t revision;
};

/* What came of a statement or a commit. */
enum outcome {
    OUTCOME_GOOD,
    OUTCOME_FULL, /* no room on the disk: nothing was done */
    OUTCOME_BAD,  /* a failed sync, for one: it may or may not have been done */
};

struct lp_store_sqlite {
    struct file durable;
    struct file transient;
    sqlite3_stmt *set_carry;
    uint64_t revision;
    bool broken; /* a commit failed half-way: only opening again tells what holds */
    struct store_feed feed;
};

static bool
step_done(sqlite3_stmt *statement)
{
    const int rc = sqlite3_step(statement);
    const bool good = sqlite3_reset(statement) == SQLITE_OK && rc == SQLITE_DONE;
    (void)sqlite3_clear_bindings(statement); /* cannot fail on a statement that exists */
    return good;
}

static bool
bind_blob(sqlite3_stmt *statement, int index, struct lp_bytes bytes)
{
    return sqlite3_bind_blob(statement, index, bytes.size > 0 ? (const void *)bytes.data : "",
                             (int)bytes.size, SQLITE_STATIC) == SQLITE_OK;
}

static bool
file_prepare(struct file *file, const char *sql, sqlite3_stmt **ret_statement)
{
    return sqlite3_prepare_v3(file->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_statement, NULL) ==
           SQLITE_OK;
}

static bool
file_revision(struct file *file)
{
    sqlite3_stmt *statement;
    if (!file_prepare(file, "SELECT revision FROM head", &statement)) {
        return false;
    }
    const bool good = sqlite3_step(statement) == SQLITE_ROW;
    if (good) {
        file->revision = (uint64_t)sqlite3_column_int64(statement, 0);
    }
    return sqlite3_finalize(statement) == SQLITE_OK && good;
}

static bool
file_open(struct file *file, const char *path, bool durable)
{
    if (sqlite3_open_v2(path, &file->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
        SQLITE_OK) {
        return false;
    }
    /* The predecessor may still be on its way out. */
    if (sqlite3_busy_timeout(file->db, 5000) != SQLITE_OK) {
        return false;
    }
    const char *const settings = durable ? "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
                                           "PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;"
                                         : "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
                                           "PRAGMA synchronous=OFF; PRAGMA temp_store=MEMORY;";
    static const char schema[] =
        "BEGIN IMMEDIATE;"
        "CREATE TABLE IF NOT EXISTS item (key BLOB PRIMARY KEY, value BLOB NOT NULL)"
        " WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY CHECK (one = 1),"
        " revision INTEGER NOT NULL);"
        "CREATE TABLE IF NOT EXISTS carry (one INTEGER PRIMARY KEY CHECK (one = 1),"
        " revision INTEGER NOT NULL, ops BLOB NOT NULL);"
        "INSERT OR IGNORE INTO head VALUES (1, 0);"
        "COMMIT;";
    return sqlite3_exec(file->db, settings, NULL, NULL, NULL) == SQLITE_OK &&
           sqlite3_exec(file->db, schema, NULL, NULL, NULL) == SQLITE_OK && file_revision(file) &&
           file_prepare(file, "BEGIN IMMEDIATE", &file->begin) &&
           file_prepare(file, "COMMIT", &file->commit) &&
           file_prepare(file, "ROLLBACK", &file->rollback) &&
           file_prepare(file, "INSERT OR REPLACE INTO item VALUES (?, ?)", &file->put) &&
           file_prepare(file, "DELETE FROM item WHERE key = ?", &file->remove) &&
           file_prepare(file, "UPDATE head SET revision = ?", &file->set_revision) &&
           file_prepare(file, "SELECT key, value FROM item ORDER BY key", &file->list);
}

static void
file_close(struct file *file)
{
    sqlite3_stmt *const statements[] = {file->begin,  file->commit,       file->rollback, file->put,
                                        file->remove, file->set_revision, file->list};
    for (size_t i = 0; i < LP_COUNT_OF(statements); i++) {
        (void)sqlite3_finalize(statements[i]); /* repeats the last step's error only */
    }
    (void)sqlite3_close(file->db); /* every statement is finalized: it cannot be busy */
    *file = (struct file){0};
}

static bool
file_op(struct file *file, const struct lp_store_op *op)
{
    sqlite3_stmt *statement = op->remove ? file->remove : file->put;
    return bind_blob(statement, 1, op->key) && (op->remove || bind_blob(statement, 2, op->value)) &&
           step_done(statement);
}

/* Everything of one kind, and the revision; the transaction is left open. */
static bool
file_write(struct file *file, uint64_t revision, const struct lp_store_op *ops, size_t count,
           bool durable)
{
    if (!step_done(file->begin)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (ops[i].durable == durable && !file_op(file, &ops[i])) {
            return false;
        }
    }
    return sqlite3_bind_int64(file->set_revision, 1, (sqlite3_int64)revision) == SQLITE_OK &&
           step_done(file->set_revision);
}

static void
file_rollback(struct file *file)
{
    if (!sqlite3_get_autocommit(file->db)) {
        (void)step_done(file->rollback); /* a failed rollback leaves the file to recovery */
    }
}

static void
carry_encode(struct lp_bytebuf *buf, const struct lp_store_op *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ops[i].durable) {
            continue;
        }
        const uint8_t remove = ops[i].remove;
        const uint32_t value_bytes = ops[i].remove ? 0 : ops[i].value.size;
        lp_bytebuf_append(buf, &remove, 1);
        lp_bytebuf_append(buf, &ops[i].key.size, 4);
        lp_bytebuf_append(buf, &value_bytes, 4);
        lp_bytebuf_append(buf, ops[i].key.data, ops[i].key.size);
        lp_bytebuf_append(buf, ops[i].value.data, value_bytes);
    }
}

/* Finish the transient half of the last mixed transaction. */
static bool
carry_apply(struct lp_store_sqlite *store, uint64_t revision, struct lp_bytes carried)
{
    struct lp_reader r = lp_reader_of_bytes(carried);
    if (!file_write(&store->transient, revision, NULL, 0, false)) {
        return false;
    }
    while (lp_reader_left(&r) > 0) {
        struct lp_store_op op = {.remove = lp_reader_u8(&r) != 0};
        const uint32_t key_bytes = lp_reader_u32le(&r);
        const uint32_t value_bytes = lp_reader_u32le(&r);
        op.key = lp_reader_bytes(&r, key_bytes);
        op.value = lp_reader_bytes(&r, value_bytes);
        if (r.failed || !file_op(&store->transient, &op)) {
            return false;
        }
    }
    return step_done(store->transient.commit);
}

static bool
carry_recover(struct lp_store_sqlite *store)
{
    sqlite3_stmt *statement;
    if (!file_prepare(&store->durable, "SELECT revision, ops FROM carry", &statement)) {
        return false;
    }
    bool good = true;
    if (sqlite3_step(statement) == SQLITE_ROW) {
        const uint64_t revision = (uint64_t)sqlite3_column_int64(statement, 0);
        const void *ops = sqlite3_column_blob(statement, 1);
        const struct lp_bytes carried =
            lp_bytes_of(ops, (uint32_t)sqlite3_column_bytes(statement, 1));
        if (store->transient.revision < revision) {
            good = carry_apply(store, revision, carried);
            store->transient.revision = revision;
        }
    }
    return sqlite3_finalize(statement) == SQLITE_OK && good;
}

static bool
transient_erase(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char name[4096];
    for (size_t i = 0; i < LP_COUNT_OF(suffixes); i++) {
        (void)snprintf(name, sizeof(name), "%s%s", path, suffixes[i]); /* cut: open fails below */
        (void)remove(name);                                            /* usually not there */
    }
    FILE *left = fopen(path, "rb");
    if (left) {
        (void)fclose(left); /* read only */
        return false;
    }
    return true;
}

/* A fresh run has no transient keys, so nothing carried for them counts either. */
static bool
carry_forget(struct lp_store_sqlite *store, bool fresh)
{
    return !fresh ||
           sqlite3_exec(store->durable.db, "DELETE FROM carry", NULL, NULL, NULL) == SQLITE_OK;
}

enum lp_err
lp_store_sqlite_open(const char *folder, bool fresh, struct lp_store_sqlite **ret_store,
                     char *ret_why, size_t why_bytes)
{
    struct lp_store_sqlite *store = lp_heap_alloc(sizeof(*store));
    char durable[4096];
    char transient[4096];
    (void)snprintf(durable, sizeof(durable), "%s/topology.db", folder); /* cut: open fails below */
    (void)snprintf(transient, sizeof(transient), "%s/transient.db", folder);
    const char *at = durable;
    const char *why = NULL;
    if (!file_open(&store->durable, durable, true) ||
        !file_prepare(&store->durable, "INSERT OR REPLACE INTO carry VALUES (1, ?, ?)",
                      &store->set_carry) ||
        !carry_forget(store, fresh)) {
        why = store->durable.db ? sqlite3_errmsg(store->durable.db) : "out of memory";
    } else if (!store_settle(folder, "topology.db-wal")) {
        why = "what it holds cannot be synced";
    } else if (fresh && !transient_erase(transient)) {
        at = transient;
        why = "cannot be removed";
    } else if (!file_open(&store->transient, transient, false) || !carry_recover(store)) {
        at = transient;
        why = store->transient.db ? sqlite3_errmsg(store->transient.db) : "out of memory";
    }
    if (why) {
        (void)snprintf(ret_why, why_bytes,
                       "cannot open %s: %s; check the folder's owner and free space, and that no "
                       "other broker uses it",
                       at, why);
        lp_store_sqlite_close(&store);
        return LP_ERR_IO;
    }
    store->revision = LP_MAX(store->durable.revision, store->transient.revision);
    *ret_store = store;
    return LP_OK;
}

void
lp_store_sqlite_close(struct lp_store_sqlite **store)
{
    struct lp_store_sqlite *self = *store;
    *store = NULL;
    if (!self) {
        return;
    }
    (void)sqlite3_finalize(self->set_carry); /* repeats the last step's error only */
    file_close(&self->durable);
    file_close(&self->transient);
    store_feed_fini(&self->feed);
    free(self);
}

static bool
carry_write(struct lp_store_sqlite *store, uint64_t revision, const struct lp_store_op *ops,
            size_t count)
{
    struct lp_bytebuf buf = {0};
    carry_encode(&buf, ops, count);
    const bool good =
        sqlite3_bind_int64(store->set_carry, 1, (sqlite3_int64)revision) == SQLITE_OK &&
        bind_blob(store->set_carry, 2, lp_bytes_of(buf.data, (uint32_t)buf.size)) &&
        step_done(store->set_carry);
    lp_bytebuf_fini(&buf);
    return good;
}

/* After a statement that failed; a commit that finds no room is undone as a whole. */
static enum outcome
outcome_of(const struct file *file, bool good)
{
    if (good) {
        return OUTCOME_GOOD;
    }
    return sqlite3_errcode(file->db) == SQLITE_FULL ? OUTCOME_FULL : OUTCOME_BAD;
}

static enum lp_err
transact_failed(struct lp_store_sqlite *store, enum outcome outcome)
{
    file_rollback(&store->durable);
    file_rollback(&store->transient);
    return outcome == OUTCOME_FULL ? LP_ERR_NO_SPACE : LP_ERR_IO;
}

static enum lp_err
sqlite_transact(void *self, uint64_t expected, const struct lp_store_op *ops, size_t count,
                uint64_t *ret_revision)
{
    struct lp_store_sqlite *store = self;
    if (store->broken) {
        return LP_ERR_IO;
    }
    if (expected != store->revision) {
        return LP_ERR_CONFLICT;
    }
    const uint64_t revision = store->revision + 1;
    size_t durable_count = 0;
    for (size_t i = 0; i < count; i++) {
        durable_count += ops[i].durable;
    }
    const bool durable = durable_count > 0;
    const bool transient = durable_count < count || count == 0;
    enum outcome outcome = OUTCOME_GOOD;
    if (durable) {
        outcome = outcome_of(&store->durable,
                             file_write(&store->durable, revision, ops, count, true) &&
                                 (!transient || carry_write(store, revision, ops, count)));
    }
    if (!outcome && transient) {
        outcome = outcome_of(&store->transient,
                             file_write(&store->transient, revision, ops, count, false));
    }
    if (outcome) {
        return transact_failed(store, outcome);
    }
    if (durable) {
        /* A failed sync says nothing about what is on the disk: no retry. */
        outcome = outcome_of(&store->durable, step_done(store->durable.commit));
        store->broken = outcome == OUTCOME_BAD;
    }
    if (!outcome && transient) {
        outcome = outcome_of(&store->transient, step_done(store->transient.commit));
        store->broken = outcome == OUTCOME_BAD || (outcome && durable); /* half of it is done */
    }
    if (outcome) {
        return transact_failed(store, store->broken ? OUTCOME_BAD : outcome);
    }
    store->revision = revision;
    store_feed_committed(&store->feed, revision, ops, count);
    *ret_revision = revision;
    return LP_OK;
}

static int
row_compare(sqlite3_stmt *a, sqlite3_stmt *b)
{
    const int an = sqlite3_column_bytes(a, 0);
    const int bn = sqlite3_column_bytes(b, 0);
    const int order =
        memcmp(sqlite3_column_blob(a, 0), sqlite3_column_blob(b, 0), (size_t)LP_MIN(an, bn));
    return order != 0 ? order : an - bn;
}

static struct lp_bytes
row_column(sqlite3_stmt *row, int column)
{
    const void *data = sqlite3_column_blob(row, column);
    return lp_bytes_of(data, (uint32_t)sqlite3_column_bytes(row, column));
}

/* Both files' keys, merged in order, before the watcher. */
static bool
snapshot_push(struct lp_store_sqlite *store)
{
    sqlite3_stmt *const a = store->durable.list;
    sqlite3_stmt *const b = store->transient.list;
    int left = sqlite3_step(a);
    int right = sqlite3_step(b);
    while (left == SQLITE_ROW || right == SQLITE_ROW) {
        const bool from_left =
            right != SQLITE_ROW || (left == SQLITE_ROW && row_compare(a, b) <= 0);
        sqlite3_stmt *row = from_left ? a : b;
        const struct lp_store_event event = {.kind = LP_STORE_PUT,
                                             .revision = store->revision,
                                             .key = row_column(row, 0),
                                             .value = row_column(row, 1)};
        store_feed_push(&store->feed, &event);
        if (from_left) {
            left = sqlite3_step(a);
        } else {
            right = sqlite3_step(b);
        }
    }
    const bool good = left == SQLITE_DONE && right == SQLITE_DONE;
    return sqlite3_reset(a) == SQLITE_OK && sqlite3_reset(b) == SQLITE_OK && good;
}

static enum lp_err
sqlite_watch(void *self, uint64_t revision)
{
    struct lp_store_sqlite *store = self;
    if (store->broken) {
        return LP_ERR_IO;
    }
    if (revision > 0) {
        return store_feed_watch(&store->feed, revision, store->revision);
    }
    const enum lp_err err = store_feed_watch(&store->feed, store->revision, store->revision);
    LP_ASSERT(!err);
    if (!snapshot_push(store)) {
        return LP_ERR_IO;
    }
    const struct lp_store_event end = {.kind = LP_STORE_REVISION, .revision = store->revision};
    store_feed_push(&store->feed, &end);
    return LP_OK;
}

static enum lp_err
sqlite_next(void *self, struct lp_store_event *ret_event)
{
    struct lp_store_sqlite *store = self;
    return store_feed_next(&store->feed, ret_event);
}

struct lp_store
lp_store_sqlite_store(struct lp_store_sqlite *store)
{
    const struct lp_store contract = {sqlite_transact, sqlite_watch, sqlite_next, store};
    return contract;
}
