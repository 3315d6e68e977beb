/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>

#define NO_SHARD UINT32_MAX

/* The one thing a report needs that its caller cannot pass. */
static _Thread_local uint32_t panic_shard = NO_SHARD;

void
host_panic_shard_set(uint32_t shard)
{
    panic_shard = shard;
}

void
lp_panic(const char *expr, const char *file, int line)
{
    /* Straight to the descriptor: the heap and stdio may be what is broken. */
    if (panic_shard == NO_SHARD) {
        (void)dprintf(2, "lepus-dataplane: panic at %s:%d: %s\n", file, line, expr);
    } else {
        (void)dprintf(2, "lepus-dataplane: panic in shard %u at %s:%d: %s\n", panic_shard, file,
                      line, expr);
    }
    abort();
}
