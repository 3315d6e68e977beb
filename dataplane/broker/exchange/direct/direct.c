/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct.c - a binding matches when its key is the message's, byte for byte.
 *
 * A hash from key to the list of bindings with that key.  The list keeps the
 * order of binding, which a chain of equal hashes would not.  The hash exists
 * only while there are bindings: an idle exchange costs one small block.
 */
#include <string.h>

#include <lepus/control_records.h>

#include "dataplane/broker/exchange/exchange.h"
#include "dataplane/broker/topology.h"

extern const struct lp_exchange_type lp_exchange_type_direct;

struct direct_key {
    struct lp_hash_node by_key;
    struct lp_list entries; /* exchange_entry.in_node, never empty */
    uint32_t key_bytes;
    uint8_t key[];
};

struct direct_state {
    struct lp_hash_key hash_key;
    struct lp_hash keys; /* direct_key.by_key; initialised while key_count > 0 */
    uint32_t key_count;
};

static bool
direct_open(struct lp_memory *memory, void **state)
{
    const struct lp_hash_key *hash_key = *state;
    struct direct_state *direct = lp_memory_alloc(memory, sizeof(*direct));
    if (direct == NULL) {
        return false;
    }
    direct->hash_key = *hash_key;
    direct->key_count = 0;
    *state = direct;
    return true;
}

static void
direct_close(struct lp_memory *memory, void **state)
{
    const struct direct_state *direct = *state;
    LP_ASSERT(direct->key_count == 0);
    lp_memory_release(memory, state);
}

static struct direct_key *
direct_find(const struct direct_state *direct, struct lp_bytes key, uint64_t hash)
{
    if (direct->key_count == 0) {
        return NULL;
    }
    struct lp_hash_node *node = lp_hash_first(&direct->keys, hash);
    for (; node != NULL; node = lp_hash_next(node)) {
        struct direct_key *found = LP_CONTAINER_OF(node, struct direct_key, by_key);
        if (lp_bytes_equal(lp_bytes_of(found->key, found->key_bytes), key)) {
            return found;
        }
    }
    return NULL;
}

/* A key with no entries yet, or NULL. */
static struct direct_key *
direct_key_add(struct lp_memory *memory, struct direct_state *direct, struct lp_bytes key,
               uint64_t hash)
{
    struct direct_key *added = lp_memory_alloc(memory, sizeof(*added) + key.size);
    if (added == NULL) {
        return NULL;
    }
    if (direct->key_count == 0 && lp_hash_init(&direct->keys, memory) != LP_OK) {
        exchange_release(memory, added);
        return NULL;
    }
    memset(added, 0, sizeof(*added));
    lp_list_init(&added->entries);
    added->key_bytes = key.size;
    if (key.size > 0) {
        memcpy(added->key, key.data, key.size);
    }
    lp_hash_insert(&direct->keys, &added->by_key, hash);
    direct->key_count++;
    return added;
}

static bool
direct_bind(struct lp_memory *memory, void *state, struct lp_binding *binding)
{
    struct direct_state *direct = state;
    const struct lp_bytes key = lp_binding_key(binding);
    const uint64_t hash = lp_hash_bytes(&direct->hash_key, key.data, key.size);

    struct exchange_entry *entry = lp_memory_alloc(memory, sizeof(*entry));
    if (entry == NULL) {
        return false;
    }
    struct direct_key *node = direct_find(direct, key, hash);
    if (node == NULL) {
        node = direct_key_add(memory, direct, key, hash);
    }
    if (node == NULL) {
        exchange_release(memory, entry);
        return false;
    }
    binding->state = exchange_entry_add(entry, binding, node, &node->entries);
    return true;
}

static void
direct_unbind(struct lp_memory *memory, void *state, struct lp_binding *binding)
{
    struct direct_state *direct = state;
    struct exchange_entry *entry = binding->state;
    struct direct_key *node = entry->node;
    LP_ASSERT(entry->binding == binding);
    LP_ASSERT(direct->key_count > 0);

    lp_list_remove(&entry->in_node);
    lp_memory_release(memory, &binding->state);
    if (!lp_list_empty(&node->entries)) {
        return;
    }
    lp_hash_remove(&direct->keys, &node->by_key);
    exchange_release(memory, node);
    direct->key_count--;
    if (direct->key_count == 0) {
        lp_hash_fini(&direct->keys);
    }
}

static void
direct_route(void *state, const struct lp_route_input *input, struct lp_route_sink *sink)
{
    const struct direct_state *direct = state;
    if (direct->key_count == 0) {
        return;
    }
    const uint64_t hash = lp_hash_bytes(&direct->hash_key, input->key.data, input->key.size);
    const struct direct_key *node = direct_find(direct, input->key, hash);
    if (node == NULL) {
        return;
    }
    const struct lp_list *head = &node->entries;
    for (struct lp_list *link = head->next; link != head; link = link->next) {
        lp_route_sink_add(sink, LP_LIST_ITEM(link, struct exchange_entry, in_node)->binding);
    }
}

const struct lp_exchange_type lp_exchange_type_direct = {
    .name = "direct",
    .kind = LP_EXCHANGE_DIRECT,
    .reads_key = true,
    .reads_headers = false,
    .open = direct_open,
    .close = direct_close,
    .bind = direct_bind,
    .unbind = direct_unbind,
    .route = direct_route,
};
