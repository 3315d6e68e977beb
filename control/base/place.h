/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place.h - texts behind the struct that has them, in one block of memory.
 *
 *   Memory    the block's; the caller has counted it
 *   Runs on   control
 */
#pragma once

#include <string.h>

#include <lepus/bytes.h>

/* Copy bytes to `*at`, behind a struct, and go on behind them. */
static inline struct lp_bytes
lp_place(uint8_t **at, struct lp_bytes bytes)
{
    const struct lp_bytes placed = lp_bytes_of(*at, bytes.size);
    if (bytes.size > 0) {
        memcpy(*at, bytes.data, bytes.size);
    }
    *at += bytes.size;
    return placed;
}
