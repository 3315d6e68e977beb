/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dpdk.h - nic.h over any port of DPDK: cards by PCI address, and what DPDK
 * makes of other things (virtio-user, vhost, memif, AF_PACKET, AF_XDP, tap).
 *
 *   Memory    DPDK's: huge pages, or ordinary ones where there are none
 *   Runs on   owner core, after lp_dpdk_thread_enter(); open and close on the
 *             host's thread
 *   Blocking  never
 *   Limits    LP_DPDK_QUEUES_MAX; one lp_dpdk_start_boot() a process
 *   Read      README.md
 */
#pragma once

#include <lepus/err.h>
#include <lepus/nic.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LP_DPDK_QUEUES_MAX   64u
#define LP_DPDK_DEVICES_MAX  8u
#define LP_DPDK_DEVICE_BYTES 256u
#define LP_DPDK_WHY_BYTES    512

struct lp_dpdk_options {
    /* "0000:3b:00.0" or as DPDK writes virtual devices: "net_af_packet0,iface=eth1". */
    uint32_t device_count;
    const char *device[LP_DPDK_DEVICES_MAX];
    uint32_t memory_mb; /* 0: 128 */
    bool shared_memory; /* virtio-user and memif peers map it: huge pages in one file */
    /* The environment's own words, for what is not foreseen here; NULL: none. */
    const char *extra;
};

/*
 * The environment (EAL), once a process; it cannot be started again after
 * lp_dpdk_stop().  Threads stay where they were pinned.
 *
 * LP_ERR_UNSUPPORTED  built without DPDK
 * LP_ERR_REFUSED      DPDK refuses: no right, no device, no memory
 */
LP_MUST_CHECK enum lp_err lp_dpdk_start_boot(const struct lp_dpdk_options *options, char *ret_why);
void lp_dpdk_stop(void);

struct lp_dpdk_port_options {
    const char *device; /* as it was given to start */
    uint32_t queues;
    uint16_t mtu_bytes;  /* 0: as the device has it */
    uint8_t mac[6];      /* zeros: the device's */
    uint8_t rss_key[40]; /* what flows are hashed with, if the device lets us choose */
};

/*
 * One nic a queue, into `ret_nics`.
 *
 * LP_ERR_NOT_FOUND    DPDK has no such port
 * LP_ERR_UNSUPPORTED  it has fewer queues, or refuses the MTU
 * LP_ERR_NO_MEMORY    no room for its frames
 * LP_ERR_IO           it does not start
 */
LP_MUST_CHECK enum lp_err lp_dpdk_port_open_boot(const struct lp_dpdk_port_options *options,
                                                 struct lp_nic *ret_nics, char *ret_why);
void lp_dpdk_port_close(struct lp_nic *nics, uint32_t count);

/* A thread of the host's that will use nics: before it does, once. */
LP_MUST_CHECK bool lp_dpdk_thread_enter(void);

/* Was this program built with DPDK?  Its version, or NULL. */
const char *lp_dpdk_version(void);

#ifdef __cplusplus
}
#endif
