/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thread.h - a driver's own thread, behind the shards'.
 *
 *   Runs on   boot
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

/* `run(argument)` in a thread that takes no signals: those are for the one that was there first.
 * False: the system has no more threads. */
bool lp_thread_start_boot(pthread_t *ret_thread, void *(*run)(void *), void *argument);
