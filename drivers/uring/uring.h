/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring.h - transport.h over io_uring: multishot accept, multishot receive
 * from a ring of provided buffers, one gathered send in flight a stream.
 *
 *   Memory    its tables, one allocation each at boot; receive buffers of 16 KiB
 *   Runs on   owner core; open and close on the host's thread.  The ring is
 *             bound to the thread that polls first.
 *   Limits    lp_socket_options.streams_max
 *   Baseline  Linux 6.1, liburing 2.3
 *   Read      README.md beside this file
 */
#pragma once

#include <drivers/common/socket.h>
#include <drivers/common/volume.h>

#define LP_URING_WHY_BYTES 160

/*
 * Does the kernel let us, and does what we need work?  Makes a ring, receives
 * through it and throws it away.  False: `why` (LP_URING_WHY_BYTES) says it in
 * a sentence.
 */
bool lp_uring_usable(char *why);

/*
 * LP_ERR_NO_MEMORY    the tables do not fit
 * LP_ERR_UNSUPPORTED  the kernel refuses the ring or its buffers
 * LP_ERR_IO           no eventfd
 */
LP_MUST_CHECK enum lp_err lp_uring_open_boot(const struct lp_socket_options *options,
                                             struct lp_transport *ret_transport);
/* Closes every stream; the listeners stay the caller's.  After the owner thread has ended. */
void lp_uring_close(struct lp_transport *transport);

void lp_uring_counters(const struct lp_transport *transport,
                       struct lp_socket_counters *ret_counters);

/*
 * The disk of the shard that has this transport, over the same ring: one
 * system call a turn submits sends and writes, and a shard that sleeps is
 * woken by either.  It goes with the transport's close.
 *
 *   Runs on   the host's thread, before the first poll(); its operations on the transport's owner
 *             core, and poll() of the disk after poll() of the transport
 *
 * LP_ERR_NO_MEMORY, LP_ERR_IO  see lp_volume_open_boot()
 */
LP_MUST_CHECK enum lp_err lp_uring_disk_open_boot(struct lp_transport *transport,
                                                  const struct lp_volume_options *options,
                                                  struct lp_disk *ret_disk);
/*
 * Owner core, before its thread ends: waits until the kernel has no operation
 * of the disk any more.
 */
void lp_uring_disk_drain(const struct lp_disk *disk);

/* What lp_measure_run() needs, over a ring of its own; NULL: no ring. */
struct lp_uring_meter;
struct lp_uring_meter *lp_uring_meter_open_boot(void);
void lp_uring_meter_close(struct lp_uring_meter **meter);
int lp_uring_meter_write(void *context, int fd, const void *page, uint64_t offset, bool dsync);
