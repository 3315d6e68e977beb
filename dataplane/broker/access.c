/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/access.h"

#include <string.h>

#define TOPICS_BYTES (LP_ACCESS_TOPIC_SLOTS * sizeof(uint64_t))

uint64_t
lp_access_hash(const struct lp_hash_key *key, const struct lp_access_right *right)
{
    const uint64_t what = ((uint64_t)right->permission << 8) | (uint64_t)right->resource;
    const uint64_t hash = lp_hash_mix(lp_hash_bytes(key, right->name.data, right->name.size), what);
    return hash ? hash : 1;
}

/* A newer epoch: whatever was known may have been revoked. */
static void
access_refresh(struct lp_access *access, uint32_t epoch)
{
    if (access->epoch != epoch) {
        uint64_t *topics = access->topics;
        memset(access, 0, sizeof(*access));
        access->epoch = epoch;
        access->rights = LP_ACCESS_UNKNOWN;
        access->topics = topics;
        if (topics) {
            memset(topics, 0, TOPICS_BYTES);
        }
    }
}

uint8_t
lp_access_rights(struct lp_access *access, uint32_t epoch)
{
    access_refresh(access, epoch);
    return access->rights;
}

void
lp_access_take(struct lp_access *access, uint32_t epoch, uint8_t unrestricted, uint8_t rights)
{
    access_refresh(access, epoch);
    access->unrestricted = unrestricted;
    access->rights = rights & (uint8_t)~LP_ACCESS_UNKNOWN;
}

/* ---- routing keys ---- */

uint64_t
lp_access_topic_hash(const struct lp_hash_key *key, struct lp_bytes exchange,
                     struct lp_bytes routing_key)
{
    const uint64_t hash = lp_hash_mix(lp_hash_bytes(key, exchange.data, exchange.size),
                                      lp_hash_bytes(key, routing_key.data, routing_key.size));
    return hash ? hash : 1;
}

bool
lp_access_topic_allowed(struct lp_access *access, uint32_t epoch, uint64_t hash)
{
    access_refresh(access, epoch);
    return access->topics && access->topics[hash % LP_ACCESS_TOPIC_SLOTS] == hash;
}

void
lp_access_topic_remember(struct lp_access *access, struct lp_memory *memory, uint32_t epoch,
                         uint64_t hash)
{
    access_refresh(access, epoch);
    if (!access->topics) {
        access->topics = lp_memory_alloc(memory, TOPICS_BYTES);
        if (!access->topics) {
            return;
        }
        memset(access->topics, 0, TOPICS_BYTES);
    }
    access->topics[hash % LP_ACCESS_TOPIC_SLOTS] = hash;
}

void
lp_access_fini(struct lp_access *access, struct lp_memory *memory)
{
    void *topics = access->topics;
    if (topics) {
        lp_memory_release(memory, &topics);
    }
    access->topics = NULL;
}

/* ---- names ---- */

bool
lp_access_allowed(struct lp_access *access, uint32_t epoch, const struct lp_hash_key *key,
                  const struct lp_access_right *right)
{
    access_refresh(access, epoch);
    if (access->unrestricted & right->permission) {
        return true;
    }
    const uint64_t hash = lp_access_hash(key, right);
    for (uint32_t i = 0; i < LP_ACCESS_SLOTS; i++) {
        if (access->slot[i] == hash) {
            return true;
        }
    }
    return false;
}

void
lp_access_remember(struct lp_access *access, uint32_t epoch, const struct lp_hash_key *key,
                   const struct lp_access_right *right)
{
    access_refresh(access, epoch);
    access->slot[access->next] = lp_access_hash(key, right);
    access->next = (uint8_t)((access->next + 1u) % LP_ACCESS_SLOTS);
}
