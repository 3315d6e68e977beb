/* SPDX-License-Identifier: Apache-2.0 */
#include "port.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define RING_FRAMES  1024u
#define RSS_BUCKETS  128u /* dataplane/net/steer.c's */
#define LARGE_FRAMES 64u
#define LARGE_ROOM   65535u /* of a mbuf: it counts in 16 bits */
#define CACHE_FRAMES 64u
#define LINK_BYTES   18u /* Ethernet's header and a tag */

static enum lp_err
fail(char *ret_why, enum lp_err err, const char *device, const char *what)
{
    (void)snprintf(ret_why, LP_DPDK_WHY_BYTES, "%s: %s%s%s", device, what,
                   rte_errno != 0 ? ": " : "", rte_errno != 0 ? rte_strerror(rte_errno) : "");
    return err;
}

/* "net_tap0,iface=x" is the port "net_tap0"; a PCI address may lack its domain. */
static bool
port_find(const char *device, uint16_t *ret_id)
{
    char name[LP_DPDK_DEVICE_BYTES + 8];
    (void)snprintf(name, sizeof(name), "%s", device);
    name[strcspn(name, ",")] = '\0';
    if (rte_eth_dev_get_port_by_name(name, ret_id) == 0) {
        return true;
    }
    (void)snprintf(name, sizeof(name), "0000:%s", device);
    return rte_eth_dev_get_port_by_name(name, ret_id) == 0;
}

/* --- What it can do. -------------------------------------------------------------------------- */

static uint64_t
receive_offloads(const struct rte_eth_dev_info *info)
{
    return info->rx_offload_capa & (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM |
                                    RTE_ETH_RX_OFFLOAD_RSS_HASH);
}

static uint64_t
send_offloads(const struct rte_eth_dev_info *info)
{
    uint64_t offloads = info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
    const uint64_t tso = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
    /* A net_tap cuts by software, slower than we do, and stands still when its pool is empty. */
    if (offloads != 0 && (info->tx_offload_capa & tso) == tso &&
        strcmp(info->driver_name, "net_tap") != 0) {
        offloads |= tso;
    }
    /* Never RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE: a queue's frames come from two pools. */
    return offloads;
}

/* Our key, or the device's own when it does not take ours; false: it does not hash. */
static bool
key_agree(struct dpdk_port *port, uint8_t key_bytes)
{
    uint8_t key[64] = {0};
    struct rte_eth_rss_conf conf = {.rss_key = key, .rss_key_len = sizeof(port->caps.rss_key)};
    if (key_bytes != sizeof(port->caps.rss_key) ||
        rte_eth_dev_rss_hash_conf_get(port->id, &conf) != 0) {
        return false;
    }
    memcpy(port->caps.rss_key, key, sizeof(port->caps.rss_key));
    return true;
}

/* Bucket b to queue (b mod 128) mod queues, as steer.c expects; where it cannot be set, frames that
 * come to the wrong queue are forwarded. */
static void
table_set(const struct dpdk_port *port, uint16_t entries)
{
    struct rte_eth_rss_reta_entry64 table[RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE] = {
        0};
    if (entries == 0 || entries > RTE_ETH_RSS_RETA_SIZE_512) {
        return;
    }
    for (uint16_t i = 0; i < entries; i++) {
        table[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1) << i % RTE_ETH_RETA_GROUP_SIZE;
        table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] =
            (uint16_t)(i % RSS_BUCKETS % port->queue_count);
    }
    (void)rte_eth_dev_rss_reta_update(port->id, table, entries); /* see above */
}

/* --- Configuration. --------------------------------------------------------------------------- */

static int
configure(struct dpdk_port *port, const struct rte_eth_dev_info *info,
          const struct lp_dpdk_port_options *options, bool interrupts)
{
    struct rte_eth_conf conf = {
        .rxmode = {.offloads = receive_offloads(info)},
        .txmode = {.offloads = send_offloads(info)},
        .intr_conf = {.rxq = interrupts},
    };
    const uint64_t hashed = info->flow_type_rss_offloads &
                            (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP);
    if (hashed != 0 && port->queue_count > 1) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = hashed;
        if (info->hash_key_size == sizeof(options->rss_key)) {
            conf.rx_adv_conf.rss_conf.rss_key = (uint8_t *)(uintptr_t)options->rss_key;
            conf.rx_adv_conf.rss_conf.rss_key_len = sizeof(options->rss_key);
        }
    }
    port->interrupts = interrupts;
    port->caps.l4_fill = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) != 0;
    port->caps.tso = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO) != 0;
    port->caps.hash = conf.rx_adv_conf.rss_conf.rss_hf != 0 &&
                      (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_RSS_HASH) != 0;
    return rte_eth_dev_configure(port->id, port->queue_count, port->queue_count, &conf);
}

static bool
mtu_agree(struct dpdk_port *port, const struct rte_eth_dev_info *info, uint16_t wanted)
{
    uint16_t now = 0;
    if (rte_eth_dev_get_mtu(port->id, &now) != 0 || now == 0) {
        now = 1500;
    }
    port->caps.mtu_bytes = now;
    if (wanted == 0 || wanted == now) {
        return true;
    }
    if (rte_eth_dev_set_mtu(port->id, wanted) == 0) {
        port->caps.mtu_bytes = wanted;
        return true;
    }
    /* Below what it has, it need not know. */
    port->caps.mtu_bytes = wanted;
    return wanted < now && wanted >= info->min_mtu;
}

/*
 * As rte_pktmbuf_pool_create(), but for virtual devices on ordinary pages
 * frames lie one behind the other, across pages' borders too: AF_XDP's driver
 * counts on it (it tells the kernel of frames times their size, and what lies
 * beyond that is never sent), and no card reads them.
 */
static struct rte_mempool *
pool_make(const struct dpdk_queue *queue, const char *what, uint32_t frames, uint32_t room)
{
    char name[RTE_MEMPOOL_NAMESIZE];
    const int socket = rte_eth_dev_socket_id(queue->port->id);
    struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = (uint16_t)room};
    (void)snprintf(name, sizeof(name), "lp%u.%u%s", queue->port->id, queue->number, what);
    if (rte_eal_has_hugepages()) {
        return rte_pktmbuf_pool_create(name, frames, CACHE_FRAMES, 0, (uint16_t)room, socket);
    }
    struct rte_mempool *pool = rte_mempool_create_empty(
        name, frames, (unsigned)sizeof(struct rte_mbuf) + room, CACHE_FRAMES, sizeof(private),
        socket, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
    if (pool == NULL) {
        return NULL;
    }
    rte_pktmbuf_pool_init(pool, &private);
    if (rte_mempool_populate_default(pool) < 0) {
        rte_mempool_free(pool);
        return NULL;
    }
    (void)rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL); /* says how many: all */
    return pool;
}

static bool
queue_pools(struct dpdk_queue *queue, uint32_t ring)
{
    const struct lp_nic_caps *caps = &queue->port->caps;
    const uint32_t frame = caps->mtu_bytes + LINK_BYTES;
    const uint32_t room = LP_MIN(LP_MAX(frame, 2048u) + RTE_PKTMBUF_HEADROOM, LARGE_ROOM);
    /* In the ring, lent by a burst, and on their way, and no more: each is written in its turn, and
     * what does not stay in the cache costs twice.  AF_XDP has a ring of 2048 of its own, and sends
     * from this pool, too. */
    const bool xdp = strcmp(queue->port->name, "dpdk net_af_xdp") == 0;
    const uint32_t received = xdp ? LP_MAX(4 * ring, 8192u) : 2 * ring + 4 * LP_NIC_BURST_MAX;
    queue->receive_pool = pool_make(queue, "r", received - 1, room);
    queue->send_pool = pool_make(queue, "s", 2 * ring + 4 * LP_NIC_BURST_MAX - 1, room);
    if (queue->receive_pool == NULL || queue->send_pool == NULL) {
        return false;
    }
    if (caps->tso) {
        queue->large_pool = pool_make(queue, "l", LARGE_FRAMES * 2 - 1, LARGE_ROOM);
    }
    return !caps->tso || queue->large_pool != NULL;
}

static bool
is_eventfd(int fd)
{
    char path[32];
    char target[64] = "";
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const ssize_t bytes = readlink(path, target, sizeof(target) - 1);
    return bytes > 0 && strstr(target, "eventfd") != NULL;
}

static void
queue_wait_fd(struct dpdk_queue *queue)
{
    queue->wait_fd = -1;
    if (!queue->port->interrupts) {
        return;
    }
    queue->wait_fd = rte_eth_dev_rx_intr_ctl_q_get_fd(queue->port->id, queue->number);
    if (queue->wait_fd >= 0) {
        queue->wait_fd_counts = is_eventfd(queue->wait_fd);
        if (queue->wait_fd_counts) {
            (void)fcntl(queue->wait_fd, F_SETFL, O_NONBLOCK); /* or it blocks nobody */
        }
    }
}

static enum lp_err
queues_open(struct dpdk_port *port, const struct lp_dpdk_port_options *options, char *ret_why)
{
    uint16_t receive = RING_FRAMES;
    uint16_t send = receive;
    const int socket = rte_eth_dev_socket_id(port->id);
    if (rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &receive, &send) != 0) {
        return fail(ret_why, LP_ERR_UNSUPPORTED, options->device, "its rings cannot be that long");
    }
    const unsigned node = socket < 0 ? (unsigned)SOCKET_ID_ANY : (unsigned)socket;
    for (uint16_t i = 0; i < port->queue_count; i++) {
        struct dpdk_queue *queue = &port->queue[i];
        queue->port = port;
        queue->number = i;
        if (!queue_pools(queue, LP_MAX(receive, send))) {
            return fail(ret_why, LP_ERR_NO_MEMORY, options->device,
                        "no memory for its frames; raise lepus.net.dpdk.memory");
        }
        if (rte_eth_rx_queue_setup(port->id, i, receive, node, NULL, queue->receive_pool) != 0 ||
            rte_eth_tx_queue_setup(port->id, i, send, node, NULL) != 0) {
            return fail(ret_why, LP_ERR_IO, options->device, "a queue cannot be set up");
        }
    }
    return LP_OK;
}

/*
 * The device's address, or the one we were told.  A net_tap has the same at
 * both ends, and the kernel's would not talk to itself: ours is its neighbour.
 * A net_ring has none, and zeros are nobody's (RFC 826): it gets one.
 */
static bool
mac_agree(struct dpdk_port *port, const struct rte_eth_dev_info *info, const uint8_t *wanted)
{
    static const uint8_t none[6] = {0};
    const bool told = memcmp(wanted, none, sizeof(none)) != 0;
    struct rte_ether_addr mac;
    if (rte_eth_macaddr_get(port->id, &mac) != 0) {
        return false;
    }
    if (rte_is_zero_ether_addr(&mac)) {
        rte_eth_random_addr(mac.addr_bytes);
    }
    memcpy(port->caps.mac, told ? wanted : mac.addr_bytes, sizeof(port->caps.mac));
    if (strcmp(info->driver_name, "net_tap") == 0) {
        port->caps.mac[5] ^= told ? 0 : 1;
        return true;
    }
    memcpy(mac.addr_bytes, port->caps.mac, sizeof(mac.addr_bytes));
    return !told || rte_eth_dev_default_mac_addr_set(port->id, &mac) == 0;
}

static enum lp_err
port_start(struct dpdk_port *port, const struct rte_eth_dev_info *info,
           const struct lp_dpdk_port_options *options, char *ret_why)
{
    if (rte_eth_dev_start(port->id) != 0) {
        return fail(ret_why, LP_ERR_IO, options->device, "it does not start");
    }
    port->started = true;
    if (!mac_agree(port, info, options->mac)) {
        return fail(ret_why, LP_ERR_UNSUPPORTED, options->device,
                    "it has no MAC address, or refuses the one that it was given");
    }
    port->caps.frame_bytes_max =
        port->caps.tso ? LARGE_ROOM - RTE_PKTMBUF_HEADROOM : port->caps.mtu_bytes + LINK_BYTES;
    if (port->caps.hash) {
        port->caps.hash = key_agree(port, info->hash_key_size);
        table_set(port, info->reta_size);
    }
    (void)rte_eth_allmulticast_enable(port->id); /* neighbour discovery; some always hear it */
    for (uint16_t i = 0; i < port->queue_count; i++) {
        queue_wait_fd(&port->queue[i]);
    }
    dpdk_sockets_watch(port, options->device);
    return LP_OK;
}

static enum lp_err
port_open(struct dpdk_port *port, const struct lp_dpdk_port_options *options, char *ret_why)
{
    struct rte_eth_dev_info info;
    if (rte_eth_dev_info_get(port->id, &info) != 0) {
        return fail(ret_why, LP_ERR_IO, options->device, "it tells nothing of itself");
    }
    if (options->queues > LP_MIN(info.max_rx_queues, info.max_tx_queues)) {
        rte_errno = 0;
        return fail(ret_why, LP_ERR_UNSUPPORTED, options->device,
                    "it has fewer queues than there are shards; set lepus.shards");
    }
    port->queue_count = (uint16_t)options->queues;
    (void)snprintf(port->name, sizeof(port->name), "dpdk %s", info.driver_name);
    port->ops = dpdk_nic_ops;
    port->ops.name = port->name;
    if (configure(port, &info, options, true) != 0 && configure(port, &info, options, false) != 0) {
        return fail(ret_why, LP_ERR_IO, options->device, "it cannot be configured");
    }
    if (!mtu_agree(port, &info, options->mtu_bytes)) {
        return fail(ret_why, LP_ERR_UNSUPPORTED, options->device, "it refuses this MTU");
    }
    const enum lp_err err = queues_open(port, options, ret_why);
    return err != LP_OK ? err : port_start(port, &info, options, ret_why);
}

static void
port_free(struct dpdk_port *port)
{
    if (port->started) {
        (void)rte_eth_dev_stop(port->id); /* nobody uses it any more */
    }
    for (uint16_t i = 0; i < port->queue_count; i++) {
        struct dpdk_queue *queue = &port->queue[i];
        rte_pktmbuf_free_bulk(queue->held, queue->held_count);
        rte_pktmbuf_free_bulk(queue->sending, queue->sending_count);
    }
    (void)rte_eth_dev_close(port->id);
    for (uint16_t i = 0; i < port->queue_count; i++) {
        rte_mempool_free(port->queue[i].receive_pool);
        rte_mempool_free(port->queue[i].send_pool);
        rte_mempool_free(port->queue[i].large_pool);
    }
    free(port);
}

enum lp_err
lp_dpdk_port_open_boot(const struct lp_dpdk_port_options *options, struct lp_nic *ret_nics,
                       char *ret_why)
{
    uint16_t id = 0;
    rte_errno = 0;
    if (options->queues == 0 || options->queues > LP_DPDK_QUEUES_MAX ||
        !port_find(options->device, &id)) {
        return fail(ret_why, LP_ERR_NOT_FOUND, options->device, "DPDK has no such port");
    }
    struct dpdk_port *port = calloc(1, sizeof(*port));
    if (port == NULL) {
        return fail(ret_why, LP_ERR_NO_MEMORY, options->device, "out of memory");
    }
    port->id = id;
    const enum lp_err err = port_open(port, options, ret_why);
    if (err != LP_OK) {
        port_free(port);
        return err;
    }
    for (uint32_t i = 0; i < options->queues; i++) {
        ret_nics[i] = (struct lp_nic){.ops = &port->ops, .self = &port->queue[i]};
    }
    return LP_OK;
}

void
lp_dpdk_port_close(struct lp_nic *nics, uint32_t count)
{
    if (count > 0 && nics[0].self != NULL) {
        struct dpdk_queue *first = nics[0].self;
        port_free(first->port);
        memset(nics, 0, count * sizeof(*nics));
    }
}
