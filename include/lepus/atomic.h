/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atomic.h - the atomics that exist: load and store, relaxed, acquire and
 * release, and one full fence for the sleeping flag.
 *
 * There is no read-modify-write here on purpose.  Builtins rather than
 * _Atomic, so that C++ benchmarks read the same header.  Every use is labelled
 * and names its partner within three lines above it.
 *
 *   Runs on   any
 */
#pragma once

#include <lepus/base.h>

#define lp_load_relaxed(ptr)         __atomic_load_n((ptr), __ATOMIC_RELAXED)
#define lp_load_acquire(ptr)         __atomic_load_n((ptr), __ATOMIC_ACQUIRE)
#define lp_store_relaxed(ptr, value) __atomic_store_n((ptr), (value), __ATOMIC_RELAXED)
#define lp_store_release(ptr, value) __atomic_store_n((ptr), (value), __ATOMIC_RELEASE)

/* Orders an earlier store before a later load: the two sides of a sleeping flag need it. */
#define lp_fence_full() __atomic_thread_fence(__ATOMIC_SEQ_CST)
