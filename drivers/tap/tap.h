/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap.h - nic.h over a multi-queue tap of the Linux kernel: the device for
 * development, for tests, and for machines without a card to spare.
 *
 *   Memory    256 frames of 64 KiB a queue, address space until they are used
 *   Runs on   owner core; open and close on the host's thread
 *   Blocking  never
 *   Limits    LP_TAP_QUEUES_MAX
 *   Read      README.md
 */
#pragma once

#include <lepus/err.h>
#include <lepus/nic.h>

#define LP_TAP_QUEUES_MAX 64u
#define LP_TAP_NAME_BYTES 16u /* IFNAMSIZ */
#define LP_TAP_WHY_BYTES  512

struct lp_tap_options {
    char name[LP_TAP_NAME_BYTES]; /* of the kernel's end; made when there is none */
    uint32_t queues;
    uint16_t mtu_bytes;    /* 0: as the kernel's end has it */
    uint8_t mac[6];        /* of our end; zeros: the kernel's with another last octet */
    uint8_t kernel_mac[6]; /* of the kernel's end; zeros: as it is */
    bool plain_receive; /* what the kernel sends has its checksums and fits the MTU; to it, as ever
                         */
    bool plain;         /* no offloads: every checksum is right, no frame above the MTU */
    const char *netns;  /* a file that names the network namespace; NULL: this process's */
};

/*
 * One nic a queue, into `ret_nics`.  The kernel's end is up afterwards; its
 * addresses are the operator's.
 *
 * LP_ERR_BAD_CONFIG  the name or the MTU cannot be
 * LP_ERR_REFUSED     the kernel refuses: no right to, or another has the device
 * LP_ERR_UNSUPPORTED no /dev/net/tun, or one without what is needed here
 * LP_ERR_NO_MEMORY   no room for the frames
 *
 * `ret_why`: LP_TAP_WHY_BYTES, a sentence that says what to do; set on failure.
 */
LP_MUST_CHECK enum lp_err lp_tap_open_boot(const struct lp_tap_options *options,
                                           struct lp_nic *ret_nics, char *ret_why);
/* All of what one lp_tap_open_boot() gave; a device that it made is gone afterwards. */
void lp_tap_close(struct lp_nic *nics, uint32_t count);
