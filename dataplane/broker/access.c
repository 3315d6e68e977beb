/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/access.h"

#include <string.h>

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
        memset(access, 0, sizeof(*access));
        access->epoch = epoch;
        access->rights = LP_ACCESS_UNKNOWN;
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
    for (uint32_t i = 0; i < LP_ACCESS_TOPIC_SLOTS; i++) {
        if (access->topic_slot[i] == hash) {
            return true;
        }
    }
    return false;
}

void
lp_access_topic_remember(struct lp_access *access, uint32_t epoch, uint64_t hash)
{
    access_refresh(access, epoch);
    access->topic_slot[access->next_topic] = hash;
    access->next_topic = (uint8_t)((access->next_topic + 1u) % LP_ACCESS_TOPIC_SLOTS);
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
