/* SPDX-License-Identifier: Apache-2.0 */
/* offloads.c - what the kernel's driver of an interface does itself, as ethtool would tell. */
#include "nettool.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>

/* A command that answers with one number. */
static bool
is_on(int probe, const struct ifreq *named, uint32_t command, uint32_t bit)
{
    struct ethtool_value value = {.cmd = command};
    struct ifreq request = *named;
    request.ifr_data = (void *)&value;
    return ioctl(probe, SIOCETHTOOL, &request) == 0 && (value.data & bit) != 0;
}

bool
offloads_of(const char *name, struct offloads *ret_offloads)
{
    struct ifreq request = {0};
    struct ethtool_value link = {.cmd = ETHTOOL_GLINK};
    struct ethtool_rxfh rss = {.cmd = ETHTOOL_GRSSH};
    const int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    request.ifr_data = (void *)&link;
    if (probe < 0 || ioctl(probe, SIOCETHTOOL, &request) != 0) {
        (void)(probe >= 0 && close(probe) == 0);
        return false;
    }
    *ret_offloads = (struct offloads){
        .rx_checksum = is_on(probe, &request, ETHTOOL_GRXCSUM, 1),
        .tx_checksum = is_on(probe, &request, ETHTOOL_GTXCSUM, 1),
        .tso = is_on(probe, &request, ETHTOOL_GTSO, 1),
        .lro = is_on(probe, &request, ETHTOOL_GFLAGS, ETH_FLAG_LRO),
    };
    request.ifr_data = (void *)&rss;
    if (ioctl(probe, SIOCETHTOOL, &request) == 0) {
        ret_offloads->rss_key_bytes = rss.key_size;
        ret_offloads->rss_table = rss.indir_size;
    }
    (void)close(probe);
    return true;
}
