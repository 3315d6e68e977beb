/* SPDX-License-Identifier: Apache-2.0 */
/* store_memory.c - a store that lives as long as its owner keeps it: the simulator's. */
#include <stdlib.h>

#include "control/base/chain.h"
#include "control/base/map.h"
#include "control/topology/store_feed.h"

struct entry {
    struct lp_map_node by_key;
    struct lp_chain in_store;
    bool durable;
    struct lp_bytes key;   /* behind the struct */
    struct lp_bytes value; /* a block of its own */
};

struct lp_store_memory {
    struct lp_map by_key;
    struct lp_chain entries;
    struct lp_map_key key;
    uint64_t revision;
    uint64_t syncs;
    uint32_t fail_countdown; /* 0: never */
    bool fail_after;
    bool full;
    struct store_feed feed;
};

struct lp_store_memory *
lp_store_memory_open(void)
{
    struct lp_store_memory *store = lp_heap_alloc(sizeof(*store));
    lp_chain_init(&store->entries);
    return store;
}

static void
entry_drop(struct lp_store_memory *store, struct entry *entry)
{
    lp_map_remove(&store->by_key, &entry->by_key);
    lp_chain_remove(&entry->in_store);
    free((void *)(uintptr_t)entry->value.data);
    free(entry);
}

void
lp_store_memory_close(struct lp_store_memory **store)
{
    struct lp_store_memory *self = *store;
    *store = NULL;
    if (!self) {
        return;
    }
    LP_CHAIN_EACH(link, &self->entries)
    {
        entry_drop(self, LP_CONTAINER_OF(link, struct entry, in_store));
    }
    lp_map_fini(&self->by_key);
    store_feed_fini(&self->feed);
    free(self);
}

void
lp_store_memory_crash(struct lp_store_memory *store)
{
    LP_CHAIN_EACH(link, &store->entries)
    {
        struct entry *entry = LP_CONTAINER_OF(link, struct entry, in_store);
        if (!entry->durable) {
            entry_drop(store, entry);
        }
    }
    store_feed_fini(&store->feed);
}

void
lp_store_memory_fail(struct lp_store_memory *store, uint32_t countdown, bool after)
{
    store->fail_countdown = countdown;
    store->fail_after = after;
}

void
lp_store_memory_fill(struct lp_store_memory *store, bool full)
{
    store->full = full;
}

uint64_t
lp_store_memory_syncs(const struct lp_store_memory *store)
{
    return store->syncs;
}

static struct entry *
entry_find(const struct lp_store_memory *store, struct lp_bytes key, uint64_t hash)
{
    for (struct lp_map_node *node = lp_map_first(&store->by_key, hash); node;
         node = lp_map_next(node)) {
        struct entry *entry = LP_CONTAINER_OF(node, struct entry, by_key);
        if (lp_bytes_equal(entry->key, key)) {
            return entry;
        }
    }
    return NULL;
}

static void
op_apply(struct lp_store_memory *store, const struct lp_store_op *op)
{
    const uint64_t hash = lp_map_hash(&store->key, 0, op->key);
    struct entry *entry = entry_find(store, op->key, hash);
    if (op->remove) {
        if (entry) {
            entry_drop(store, entry);
        }
        return;
    }
    if (!entry) {
        entry = lp_heap_alloc(sizeof(*entry) + op->key.size);
        memcpy(entry + 1, op->key.data, op->key.size);
        entry->key = lp_bytes_of(entry + 1, op->key.size);
        entry->durable = op->durable;
        lp_map_insert(&store->by_key, &entry->by_key, hash);
        lp_chain_append(&store->entries, &entry->in_store);
    }
    LP_ASSERT(entry->durable == op->durable);
    free((void *)(uintptr_t)entry->value.data);
    entry->value = lp_bytes_of(lp_heap_text(op->value), op->value.size);
}

static enum lp_err
memory_transact(void *self, uint64_t expected, const struct lp_store_op *ops, size_t count,
                uint64_t *ret_revision)
{
    struct lp_store_memory *store = self;
    if (expected != store->revision) {
        return LP_ERR_CONFLICT;
    }
    if (store->full) {
        return LP_ERR_NO_SPACE;
    }
    const bool fails = store->fail_countdown > 0 && --store->fail_countdown == 0;
    if (fails && !store->fail_after) {
        return LP_ERR_IO;
    }
    bool durable = false;
    for (size_t i = 0; i < count; i++) {
        op_apply(store, &ops[i]);
        durable = durable || ops[i].durable;
    }
    store->syncs += durable ? 1 : 0;
    store->revision++;
    store_feed_committed(&store->feed, store->revision, ops, count);
    if (fails) {
        return LP_ERR_IO;
    }
    *ret_revision = store->revision;
    return LP_OK;
}

static int
entry_compare(const void *a, const void *b)
{
    const struct lp_bytes x = (*(struct entry *const *)a)->key;
    const struct lp_bytes y = (*(struct entry *const *)b)->key;
    const int order = memcmp(x.data, y.data, LP_MIN(x.size, y.size));
    return order != 0 ? order : (x.size > y.size) - (x.size < y.size);
}

static enum lp_err
memory_watch(void *self, uint64_t revision)
{
    struct lp_store_memory *store = self;
    if (revision > 0) {
        return store_feed_watch(&store->feed, revision, store->revision);
    }
    const enum lp_err err = store_feed_watch(&store->feed, store->revision, store->revision);
    LP_ASSERT(!err);
    struct entry **sorted = lp_heap_alloc(store->by_key.count * sizeof(struct entry *));
    size_t count = 0;
    LP_CHAIN_EACH(link, &store->entries)
    {
        sorted[count++] = LP_CONTAINER_OF(link, struct entry, in_store);
    }
    qsort(sorted, count, sizeof(struct entry *), entry_compare);
    for (size_t i = 0; i < count; i++) {
        const struct lp_store_event event = {.kind = LP_STORE_PUT,
                                             .revision = store->revision,
                                             .key = sorted[i]->key,
                                             .value = sorted[i]->value};
        store_feed_push(&store->feed, &event);
    }
    free(sorted);
    const struct lp_store_event end = {.kind = LP_STORE_REVISION, .revision = store->revision};
    store_feed_push(&store->feed, &end);
    return LP_OK;
}

static enum lp_err
memory_next(void *self, struct lp_store_event *ret_event)
{
    struct lp_store_memory *store = self;
    return store_feed_next(&store->feed, ret_event);
}

struct lp_store
lp_store_memory_store(struct lp_store_memory *store)
{
    const struct lp_store contract = {memory_transact, memory_watch, memory_next, store};
    return contract;
}
