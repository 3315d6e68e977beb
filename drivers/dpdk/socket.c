/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DPDK's drivers over the kernel's sockets know no interrupts, but a socket
 * that a process may poll() wakes it.  Which ones they opened they do not say:
 * they are found among the process's descriptors.
 */
#include "port.h"

#include <dirent.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifndef AF_XDP
#define AF_XDP 44
#endif

static bool
iface_of(const char *device, char ret_name[IF_NAMESIZE])
{
    const char *at = strstr(device, ",iface=");
    if (at == NULL) {
        return false;
    }
    at += strlen(",iface=");
    const size_t bytes = strcspn(at, ",");
    if (bytes >= IF_NAMESIZE) {
        return false;
    }
    memcpy(ret_name, at, bytes);
    ret_name[bytes] = '\0';
    return true;
}

/* A packet socket on that interface; of AF_XDP the kernel does not tell on which. */
static bool
is_socket_of(int fd, int family, unsigned interface)
{
    int domain = 0;
    socklen_t bytes = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) != 0 || domain != family) {
        return false;
    }
    struct sockaddr_ll link = {0};
    bytes = sizeof(link);
    return family == AF_XDP || (getsockname(fd, (struct sockaddr *)&link, &bytes) == 0 &&
                                link.sll_ifindex == (int)interface);
}

static int
number_compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* In the order of opening, which is that of queues; gives how many there are. */
static uint32_t
sockets_find(int family, unsigned interface, int ret_fds[LP_DPDK_QUEUES_MAX])
{
    uint32_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone */
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        const int fd = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || !is_socket_of(fd, family, interface)) {
            continue;
        }
        if (count < LP_DPDK_QUEUES_MAX) {
            ret_fds[count] = fd;
        }
        count++;
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    if (count <= LP_DPDK_QUEUES_MAX) {
        qsort(ret_fds, count, sizeof(ret_fds[0]), number_compare);
    }
    return count;
}

void
dpdk_sockets_watch(struct dpdk_port *port, const char *device)
{
    int fds[LP_DPDK_QUEUES_MAX] = {0};
    char name[IF_NAMESIZE];
    const bool packet = strcmp(port->name, "dpdk net_af_packet") == 0;
    const bool xdp = strcmp(port->name, "dpdk net_af_xdp") == 0;
    if ((!packet && !xdp) || !iface_of(device, name)) {
        return;
    }
    /* Not one for each queue: somebody else has some, too, and they are looked at by time. */
    if (sockets_find(packet ? AF_PACKET : AF_XDP, if_nametoindex(name), fds) != port->queue_count) {
        return;
    }
    for (uint16_t i = 0; i < port->queue_count; i++) {
        port->queue[i].wait_fd = fds[i];
    }
}
