/* SPDX-License-Identifier: Apache-2.0 */
/*
 * panic.h - for tests that show that an assertion stands.
 */
#pragma once

#include <stdbool.h>

/* Does `step(context)` end in lp_panic()?  Tried in a child process, whose report is dropped. */
bool lp_test_panics(void (*step)(void *context), void *context);
