/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena.hh - a reservation for a benchmark's life, its pages touched beforehand
 * so that page faults are not what is measured.
 */
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "dataplane/base/memory.h"

class Arena
{
  public:
    explicit Arena(uint64_t bytes) : base(std::aligned_alloc(LP_SPAN_BYTES, bytes))
    {
        if (base == nullptr) {
            std::abort();
        }
        std::memset(base, 0, bytes);
        if (lp_memory_init_boot(base, bytes, bytes, &memory) != LP_OK) {
            std::abort();
        }
    }
    ~Arena()
    {
        lp_memory_fini(&memory);
        std::free(base);
    }
    Arena(const Arena &) = delete;
    Arena &operator=(const Arena &) = delete;

    lp_memory *memory = nullptr;

  private:
    void *base;
};
