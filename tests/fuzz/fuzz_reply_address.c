/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is every routing key that passes for a reply address one that we could have
 * written?
 */
#include <string.h>

#include "dataplane/broker/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0) {
        return 0;
    }
    const uint32_t shards = data[0];
    const struct lp_bytes name = lp_bytes_of(data + 1, (uint32_t)LP_MIN(bytes - 1, (size_t)255));
    struct lp_reply_address address;
    if (lp_reply_address_read(name, shards, &address)) {
        uint8_t again[LP_REPLY_ADDRESS_BYTES];
        LP_ASSERT(address.shard < shards);
        LP_ASSERT((address.queue_id & LP_REPLY_QUEUE) != 0);
        lp_reply_address_write(&address, again);
        LP_ASSERT(lp_bytes_equal(name, lp_bytes_of(again, sizeof(again))));
    }
    return 0;
}
