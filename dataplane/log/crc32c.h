/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c.h - the checksum of everything in the log: CRC-32C (Castagnoli).
 *
 *   Runs on   any
 *
 * The processor's own instruction where the build may use it (x86-64-v2,
 * ARMv8 with CRC), three streams at a time from 240 bytes on; else a table.
 */
#pragma once

#include <lepus/base.h>

/*
 * Of `bytes` bytes; `seed` is 0, or the checksum of what came before:
 * crc(crc(0, a), b) == crc(0, ab).
 */
uint32_t lp_crc32c(uint32_t seed, const void *data, size_t bytes);

/* The same by table, byte by byte. */
uint32_t lp_crc32c_by_table(uint32_t seed, const void *data, size_t bytes);
