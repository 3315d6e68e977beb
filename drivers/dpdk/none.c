/* SPDX-License-Identifier: Apache-2.0 */
/* none.c - what stands for DPDK in a program that was built without it. */
#include "dpdk.h"

#include <stdio.h>

static enum lp_err
refuse(char *ret_why)
{
    (void)snprintf(ret_why, LP_DPDK_WHY_BYTES,
                   "this program was built without DPDK; install libdpdk-dev and build again with "
                   "-Ddpdk=static, or use tap:NAME");
    return LP_ERR_UNSUPPORTED;
}

enum lp_err
lp_dpdk_start_boot(const struct lp_dpdk_options *options, char *ret_why)
{
    (void)options;
    return refuse(ret_why);
}

void
lp_dpdk_stop(void)
{
}

enum lp_err
lp_dpdk_port_open_boot(const struct lp_dpdk_port_options *options, struct lp_nic *ret_nics,
                       char *ret_why)
{
    (void)options;
    (void)ret_nics;
    return refuse(ret_why);
}

void
lp_dpdk_port_close(struct lp_nic *nics, uint32_t count)
{
    (void)nics;
    (void)count;
}

bool
lp_dpdk_thread_enter(void)
{
    return true;
}

const char *
lp_dpdk_version(void)
{
    return NULL;
}
