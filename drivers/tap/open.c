/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing a tap: what of it is the kernel's affair. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>

#include "tap_queue.h"

/* What of opening every step needs. */
struct opening {
    const struct lp_tap_options *options;
    int control_fd; /* a socket in the device's namespace, to ask about it */
    short flags;    /* of TUNSETIFF */
    char *why;
};

static enum lp_err
fail(const struct opening *opening, enum lp_err err, const char *text)
{
    (void)snprintf(opening->why, LP_TAP_WHY_BYTES, "tap:%s: %s", opening->options->name, text);
    return err;
}

static enum lp_err
fail_errno(const struct opening *opening, enum lp_err err, const char *text)
{
    (void)snprintf(opening->why, LP_TAP_WHY_BYTES, "tap:%s: %s: %s", opening->options->name, text,
                   strerrordesc_np(errno));
    return err;
}

static struct ifreq
request_of(const struct opening *opening)
{
    struct ifreq request = {0};
    memcpy(request.ifr_name, opening->options->name, LP_TAP_NAME_BYTES);
    return request;
}

/* --- The queues' descriptors. ---------------------------------------------------------------- */

static enum lp_err
attach_refused(const struct opening *opening)
{
    const char *name = opening->options->name;
    switch (errno) {
    case EPERM:
        (void)snprintf(opening->why, LP_TAP_WHY_BYTES,
                       "tap:%s: not allowed; give lepus CAP_NET_ADMIN, or make the device for its "
                       "user: ip tuntap add dev %s mode tap multi_queue vnet_hdr user lepus",
                       name, name);
        return LP_ERR_REFUSED;
    case EBUSY:
        return fail(opening, LP_ERR_REFUSED, "another process has the device");
    case EINVAL:
        (void)snprintf(opening->why, LP_TAP_WHY_BYTES,
                       "tap:%s: an interface of this name exists and is not a tap with several "
                       "queues; make it so: ip tuntap add dev %s mode tap multi_queue vnet_hdr",
                       name, name);
        return LP_ERR_BAD_CONFIG;
    case E2BIG:
        return fail(opening, LP_ERR_BAD_CONFIG, "the kernel allows fewer queues; lower .queues");
    default:
        return fail_errno(opening, LP_ERR_UNSUPPORTED, "TUNSETIFF");
    }
}

static enum lp_err
queue_attach(struct opening *opening, struct tap_queue *queue)
{
    queue->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (queue->fd < 0) {
        return fail_errno(opening, errno == EACCES ? LP_ERR_REFUSED : LP_ERR_UNSUPPORTED,
                          "cannot open /dev/net/tun (modprobe tun?)");
    }
    struct ifreq request = request_of(opening);
    request.ifr_flags = opening->flags;
    if (ioctl(queue->fd, TUNSETIFF, &request) != 0) {
        return attach_refused(opening);
    }
    const int header_bytes = TAP_HEADER_BYTES;
    const unsigned long offloads = opening->options->plain || opening->options->plain_receive
                                       ? 0
                                       : TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    if (ioctl(queue->fd, TUNSETVNETHDRSZ, &header_bytes) != 0 ||
        ioctl(queue->fd, TUNSETOFFLOAD, offloads) != 0) {
        return fail_errno(opening, LP_ERR_UNSUPPORTED, "no virtio-net headers or no offloads");
    }
    queue->offloads = !opening->options->plain;
    return LP_OK;
}

static bool
queue_memory(struct tap_queue *queue)
{
    void *memory = mmap(NULL, (size_t)TAP_FRAMES * TAP_SLOT_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return false;
    }
    queue->slots = memory;
    for (uint32_t i = 0; i < TAP_FRAMES; i++) {
        queue->free[i] = (uint16_t)(TAP_FRAMES - 1 - i);
    }
    queue->free_count = TAP_FRAMES;
    return true;
}

/* --- The kernel's end. ----------------------------------------------------------------------- */

static enum lp_err
kernel_mac_set(const struct opening *opening)
{
    static const uint8_t none[6];
    const uint8_t *wanted = opening->options->kernel_mac;
    struct ifreq request = request_of(opening);
    if (memcmp(wanted, none, sizeof(none)) == 0) {
        return LP_OK;
    }
    if (ioctl(opening->control_fd, SIOCGIFHWADDR, &request) != 0) {
        return fail_errno(opening, LP_ERR_IO, "SIOCGIFHWADDR");
    }
    if (memcmp(request.ifr_hwaddr.sa_data, wanted, sizeof(none)) == 0) {
        return LP_OK;
    }
    memcpy(request.ifr_hwaddr.sa_data, wanted, sizeof(none));
    if (ioctl(opening->control_fd, SIOCSIFHWADDR, &request) != 0) {
        return fail_errno(opening, LP_ERR_REFUSED, "cannot set the MAC address");
    }
    return LP_OK;
}

/* Its MTU, its address, up. */
static enum lp_err
device_arrange(const struct opening *opening, struct tap_queue *queue)
{
    const struct lp_tap_options *options = opening->options;
    struct ifreq request = request_of(opening);
    request.ifr_mtu = options->mtu_bytes;
    if (options->mtu_bytes != 0 && ioctl(opening->control_fd, SIOCSIFMTU, &request) != 0) {
        return fail_errno(opening, LP_ERR_BAD_CONFIG, "cannot set the MTU");
    }
    request = request_of(opening);
    if (ioctl(opening->control_fd, SIOCGIFMTU, &request) != 0) {
        return fail_errno(opening, LP_ERR_IO, "SIOCGIFMTU");
    }
    queue->mtu_bytes = (uint16_t)LP_MIN(request.ifr_mtu, UINT16_MAX);
    const enum lp_err err = kernel_mac_set(opening);
    if (err != LP_OK) {
        return err;
    }
    request = request_of(opening);
    if (ioctl(opening->control_fd, SIOCGIFFLAGS, &request) != 0) {
        return fail_errno(opening, LP_ERR_IO, "SIOCGIFFLAGS");
    }
    const bool up = (request.ifr_flags & IFF_UP) != 0;
    request.ifr_flags |= IFF_UP;
    if (!up && ioctl(opening->control_fd, SIOCSIFFLAGS, &request) != 0) {
        return fail_errno(opening, LP_ERR_REFUSED, "the device is down and cannot be set up");
    }
    return LP_OK;
}

/* Two ends of a wire cannot have one address: ours is local, and a neighbour of the kernel's. */
static enum lp_err
mac_choose(const struct opening *opening, uint8_t mac[6])
{
    static const uint8_t none[6];
    if (memcmp(opening->options->mac, none, sizeof(none)) != 0) {
        memcpy(mac, opening->options->mac, sizeof(none));
        return LP_OK;
    }
    struct ifreq request = request_of(opening);
    if (ioctl(opening->control_fd, SIOCGIFHWADDR, &request) != 0) {
        return fail_errno(opening, LP_ERR_IO, "SIOCGIFHWADDR");
    }
    memcpy(mac, request.ifr_hwaddr.sa_data, sizeof(none));
    mac[0] = (uint8_t)((mac[0] | 2u) & ~1u);
    mac[5] ^= 1;
    return LP_OK;
}

/* --- All of it. ------------------------------------------------------------------------------ */

static enum lp_err
queues_open(struct opening *opening, struct lp_nic *nics)
{
    const struct lp_tap_options *options = opening->options;
    struct tap_queue first = {0};
    for (uint32_t i = 0; i < options->queues; i++) {
        struct tap_queue *queue = calloc(1, sizeof(*queue));
        if (queue == NULL) {
            return fail(opening, LP_ERR_NO_MEMORY, "out of memory");
        }
        queue->fd = -1;
        nics[i] = (struct lp_nic){.ops = &tap_ops, .self = queue};
        if (!queue_memory(queue)) {
            return fail(opening, LP_ERR_NO_MEMORY, "no room for its frames");
        }
        enum lp_err err = queue_attach(opening, queue);
        if (err == LP_OK && i == 0) {
            err = device_arrange(opening, &first);
        }
        if (err == LP_OK && i == 0) {
            err = mac_choose(opening, first.mac);
        }
        if (err != LP_OK) {
            return err;
        }
        queue->mtu_bytes = first.mtu_bytes;
        memcpy(queue->mac, first.mac, sizeof(queue->mac));
    }
    return LP_OK;
}

/* A descriptor of where we are, to come back; we are elsewhere afterwards.  -1: it failed. */
static int
netns_enter(const char *path)
{
    const int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    const int there = open(path, O_RDONLY | O_CLOEXEC);
    const bool entered = here >= 0 && there >= 0 && setns(there, CLONE_NEWNET) == 0;
    const int error = errno;
    if (there >= 0) {
        (void)close(there);
    }
    if (!entered && here >= 0) {
        (void)close(here);
    }
    errno = error;
    return entered ? here : -1;
}

static void
netns_leave(int here)
{
    const bool left = setns(here, CLONE_NEWNET) == 0;
    LP_ASSERT(left); /* where we came from cannot be gone: we hold it */
    (void)close(here);
}

static bool
options_fit(const struct lp_tap_options *options)
{
    const size_t name_bytes = strnlen(options->name, LP_TAP_NAME_BYTES);
    return name_bytes > 0 && name_bytes < LP_TAP_NAME_BYTES &&
           strpbrk(options->name, "/ %:") == NULL && options->queues > 0 &&
           options->queues <= LP_TAP_QUEUES_MAX;
}

enum lp_err
lp_tap_open_boot(const struct lp_tap_options *options, struct lp_nic *ret_nics, char *ret_why)
{
    struct opening opening = {
        .options = options,
        .flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR,
        .why = ret_why,
    };
    if (!options_fit(options)) {
        (void)snprintf(ret_why, LP_TAP_WHY_BYTES,
                       "tap:%.15s: a name of 1 to 15 characters and 1 to %u queues are needed",
                       options->name, LP_TAP_QUEUES_MAX);
        return LP_ERR_BAD_CONFIG;
    }
    int here = -1;
    if (options->netns != NULL) {
        here = netns_enter(options->netns);
        if (here < 0) {
            return fail_errno(&opening, LP_ERR_REFUSED, "cannot enter its network namespace");
        }
    }
    memset(ret_nics, 0, options->queues * sizeof(*ret_nics));
    opening.control_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const enum lp_err err = opening.control_fd < 0
                                ? fail_errno(&opening, LP_ERR_IO, "no socket to configure it")
                                : queues_open(&opening, ret_nics);
    if (opening.control_fd >= 0) {
        (void)close(opening.control_fd);
    }
    if (here >= 0) {
        netns_leave(here);
    }
    if (err != LP_OK) {
        lp_tap_close(ret_nics, options->queues);
    }
    return err;
}

void
lp_tap_close(struct lp_nic *nics, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct tap_queue *queue = nics[i].self;
        nics[i] = (struct lp_nic){0};
        if (queue == NULL) {
            continue;
        }
        if (queue->fd >= 0) {
            (void)close(queue->fd);
        }
        if (queue->slots != NULL) {
            (void)munmap(queue->slots, (size_t)TAP_FRAMES * TAP_SLOT_BYTES);
        }
        free(queue);
    }
}
