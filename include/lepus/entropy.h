/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entropy.h - the contract of a source of randomness: names that nobody must
 * guess (server-named queues) and keys of hash tables.
 */
#pragma once

#include <lepus/base.h>

struct lp_entropy {
    /* Fill `bytes` bytes at `data`; never fails, never blocks (the host seeds a generator at boot).
     */
    void (*fill)(void *self, void *data, size_t bytes);
    void *self;
};
