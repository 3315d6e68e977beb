/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/access.h"

#include <string.h>

static uint64_t
access_hash(const struct lp_hash_key *key, const struct lp_access_right *right)
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
    }
}

bool
lp_access_allowed(struct lp_access *access, uint32_t epoch, const struct lp_hash_key *key,
                  const struct lp_access_right *right)
{
    access_refresh(access, epoch);
    if (access->unrestricted & right->permission) {
        return true;
    }
    const uint64_t hash = access_hash(key, right);
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
    access->slot[access->next] = access_hash(key, right);
    access->next = (uint8_t)((access->next + 1u) % LP_ACCESS_SLOTS);
}
