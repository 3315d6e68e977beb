/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h - making the ring, and finding out whether it works here.
 */
#pragma once

#include <liburing.h>

#include <lepus/base.h>
#include <lepus/err.h>

/*
 * A ring in the disabled state: its owner thread enables it, as the kernel
 * binds a SINGLE_ISSUER ring to the thread that does.
 *
 * LP_ERR_UNSUPPORTED  the kernel, or who guards it, refuses; *ret_errno says why
 */
LP_MUST_CHECK enum lp_err uring_ring_init_boot(struct io_uring *ring, unsigned entries,
                                               int *ret_errno);
