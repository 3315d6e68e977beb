/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange.h - what the exchange types share, and the list of them.
 *
 * A type's `open` finds in `*state` the shard's hash key (const struct
 * lp_hash_key *): a type that hashes peers' bytes keeps a copy of it, so that
 * peers cannot choose collisions.
 *
 *   Runs on   owner core
 */
#pragma once

#include <lepus/exchange_type.h>

#include "dataplane/base/hash.h"
#include "dataplane/base/list.h"
#include "dataplane/base/memory.h"

/* A binding in a type's list of those with equal keys; kept in the binding's `state`. */
struct exchange_entry {
    struct lp_list in_node;
    struct lp_binding *binding;
    void *node; /* the type's: where the list is */
};

/* The type of an enum lp_exchange_kind, or NULL. */
const struct lp_exchange_type *exchange_type_of(uint8_t kind);
/* The type of a name ("direct"), or NULL. */
const struct lp_exchange_type *exchange_type_named(struct lp_bytes name);

/* A new binding's entry goes into a node's list; gives what the binding's `state` is then. */
static inline void *
exchange_entry_add(struct exchange_entry *entry, struct lp_binding *binding, void *node,
                   struct lp_list *entries)
{
    *entry = (struct exchange_entry){.binding = binding, .node = node};
    lp_list_push_back(entries, &entry->in_node);
    return entry;
}

/* Give a block back when the pointer to it is on its way out as well. */
static inline void
exchange_release(struct lp_memory *memory, void *block)
{
    lp_memory_release(memory, &block);
}
