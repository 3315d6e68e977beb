/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.h - disk.h over plain system calls, for where io_uring is refused: two
 * threads a shard read and write, and wake the shard when they have.
 *
 *   Memory    one allocation at boot, and its rings
 *   Runs on   open and close on the host's thread, operations on the owner core
 *   Limits    LP_DISK_OPS_MAX
 */
#pragma once

#include <drivers/common/volume.h>

/*
 * LP_ERR_NO_MEMORY  no memory, or no threads
 * LP_ERR_IO         see lp_volume_open_boot()
 */
LP_MUST_CHECK enum lp_err lp_file_disk_open_boot(const struct lp_volume_options *options,
                                                 struct lp_disk *ret_disk);
/* After the keeper's close.  Waits for what the threads are about; what they have not begun with is
 * dropped. */
void lp_file_disk_close(struct lp_disk *disk);

/* What lp_measure_run() needs; the context is not looked at. */
int lp_file_meter_write(void *context, int fd, const void *page, uint64_t offset, bool dsync);
