/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counted.h - in front of every file of the data plane in its counted build
 * (bench/gate/meson.build): copies and block operations say how long they are.
 *
 * The compiler reports all other loads and stores, as it would to
 * ThreadSanitizer; what these report goes to counted.c.
 *
 * A copy is a memcpy(), a memmove() or an lp_put_bytes() whose length is not
 * known when it is compiled: bodies, properties, names.  Numbers that are put
 * into frames and records that are assigned are stores like any other.
 */
#pragma once

#include <string.h>

void counted_copy(size_t bytes);
void counted_load(const void *from, size_t bytes);
void counted_store(void *to, size_t bytes);

/* One of these the compiler does by loads and stores of its own, which it reports. */
#define COUNTED_IS_PLAIN(bytes) (__builtin_constant_p(bytes) && (bytes) <= 8)
#define COUNTED_INLINE          static inline __attribute__((always_inline, unused))

COUNTED_INLINE void *
counted_memcpy(void *to, const void *from, size_t bytes)
{
    if (!__builtin_constant_p(bytes)) {
        counted_copy(bytes);
    }
    if (!COUNTED_IS_PLAIN(bytes)) {
        counted_load(from, bytes);
        counted_store(to, bytes);
    }
    return __builtin_memcpy(to, from, bytes);
}

COUNTED_INLINE void *
counted_memmove(void *to, const void *from, size_t bytes)
{
    counted_copy(bytes);
    counted_load(from, bytes);
    counted_store(to, bytes);
    return __builtin_memmove(to, from, bytes);
}

COUNTED_INLINE void *
counted_memset(void *to, int value, size_t bytes)
{
    counted_store(to, bytes);
    return __builtin_memset(to, value, bytes);
}

COUNTED_INLINE int
counted_memcmp(const void *a, const void *b, size_t bytes)
{
    counted_load(a, bytes);
    counted_load(b, bytes);
    return __builtin_memcmp(a, b, bytes);
}

#define memcpy(to, from, bytes)  counted_memcpy(to, from, bytes)
#define memmove(to, from, bytes) counted_memmove(to, from, bytes)
#define memset(to, value, bytes) counted_memset(to, value, bytes)
#define memcmp(a, b, bytes)      counted_memcmp(a, b, bytes)

#include <lepus/bytes.h>

/* Its short copies are of two pieces of a fixed size; its long ones are a memcpy(). */
COUNTED_INLINE uint8_t *
counted_put_bytes(uint8_t *to, const uint8_t *from, size_t count)
{
    if (count <= 16) {
        counted_copy(count);
    }
    return lp_put_bytes(to, from, count);
}

#define lp_put_bytes(to, from, count) counted_put_bytes(to, from, count)
