/* SPDX-License-Identifier: Apache-2.0 */
/* store_settle.h - what was read is on the disk. */
#pragma once

#include <lepus/base.h>

/*
 * `log` is a file of `folder` to which nobody but this process writes now, and
 * that it does not write to meanwhile.  Fine when there is none.
 */
LP_MUST_CHECK bool store_settle(const char *folder, const char *log);
