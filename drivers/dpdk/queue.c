/* SPDX-License-Identifier: Apache-2.0 */
#include "port.h"

#include <string.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

/* A ring that stays full for so many looks is taken for one that does not like its first frame. */
#define STUCK_MAX 100000u

static void
nic_caps(void *self, struct lp_nic_caps *ret_caps)
{
    const struct dpdk_queue *queue = self;
    *ret_caps = queue->port->caps;
}

static bool
nic_link_up(void *self)
{
    const struct dpdk_queue *queue = self;
    struct rte_eth_link link = {0};
    return rte_eth_link_get_nowait(queue->port->id, &link) == 0 &&
           link.link_status == RTE_ETH_LINK_UP;
}

/* --- Receiving. ------------------------------------------------------------------------------- */

static uint16_t
flags_of(uint64_t offload)
{
    uint16_t flags = 0;
    const uint64_t ip = offload & RTE_MBUF_F_RX_IP_CKSUM_MASK;
    const uint64_t l4 = offload & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    /* NONE: wrong in the packet, which never left this machine; its bytes are right. */
    if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD || ip == RTE_MBUF_F_RX_IP_CKSUM_NONE) {
        flags |= LP_NIC_IP_GOOD;
    } else if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD) {
        flags |= LP_NIC_IP_BAD;
    }
    if (l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD || l4 == RTE_MBUF_F_RX_L4_CKSUM_NONE) {
        flags |= LP_NIC_L4_GOOD;
    } else if (l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD) {
        flags |= LP_NIC_L4_BAD;
    }
    return flags;
}

/* A frame in several pieces is copied into one; NULL: there is none that large now. */
static struct rte_mbuf *
whole(struct dpdk_queue *queue, struct rte_mbuf *mbuf)
{
    if (LP_LIKELY(mbuf->nb_segs == 1)) {
        return mbuf;
    }
    struct rte_mempool *pool = queue->large_pool != NULL ? queue->large_pool : queue->send_pool;
    struct rte_mbuf *copy = mbuf->pkt_len > UINT16_MAX ? NULL : rte_pktmbuf_alloc(pool);
    char *to = copy == NULL ? NULL : rte_pktmbuf_append(copy, (uint16_t)mbuf->pkt_len);
    if (to == NULL) {
        rte_pktmbuf_free(copy);
        rte_pktmbuf_free(mbuf);
        queue->counters.missed_frames++;
        return NULL;
    }
    uint32_t at = 0;
    for (const struct rte_mbuf *piece = mbuf; piece != NULL; piece = piece->next) {
        memcpy(to + at, rte_pktmbuf_mtod(piece, const char *), piece->data_len);
        at += piece->data_len;
    }
    copy->ol_flags = mbuf->ol_flags & (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK |
                                       RTE_MBUF_F_RX_RSS_HASH);
    copy->hash.rss = mbuf->hash.rss;
    rte_pktmbuf_free(mbuf);
    return copy;
}

static void
frame_of(const struct dpdk_queue *queue, struct rte_mbuf *mbuf, struct lp_nic_frame *ret_frame)
{
    const bool hashed = queue->port->caps.hash && (mbuf->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0;
    *ret_frame = (struct lp_nic_frame){
        .data = rte_pktmbuf_mtod(mbuf, uint8_t *),
        .bytes = mbuf->pkt_len,
        .flow_hash = hashed ? mbuf->hash.rss : 0,
        .flags = flags_of(mbuf->ol_flags),
        .segment_bytes = (mbuf->ol_flags & RTE_MBUF_F_RX_LRO) != 0 ? mbuf->tso_segsz : 0,
        .driver_frame = (uintptr_t)mbuf,
    };
}

static uint32_t
nic_receive(void *self, struct lp_nic_frame *frames, uint32_t frames_max)
{
    struct dpdk_queue *queue = self;
    struct rte_mbuf *burst[LP_NIC_BURST_MAX];
    const uint32_t room = LP_MIN(frames_max, LP_NIC_BURST_MAX);
    uint32_t count = LP_MIN(queue->held_count, room);
    memcpy(burst, queue->held, count * sizeof(burst[0]));
    queue->held_count -= count;
    memmove(queue->held, queue->held + count, queue->held_count * sizeof(burst[0]));
    if (count < room) {
        count += rte_eth_rx_burst(queue->port->id, queue->number, burst + count,
                                  (uint16_t)(room - count));
    }
    uint32_t given = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct rte_mbuf *mbuf = whole(queue, burst[i]);
        if (mbuf != NULL) {
            queue->counters.received_bytes += mbuf->pkt_len;
            frame_of(queue, mbuf, &frames[given++]);
        }
    }
    queue->counters.received_frames += given;
    return given;
}

/* --- Sending. --------------------------------------------------------------------------------- */

static bool
nic_get(void *self, uint32_t bytes, struct lp_nic_frame *ret_frame)
{
    struct dpdk_queue *queue = self;
    const uint32_t small = rte_pktmbuf_data_room_size(queue->send_pool) - RTE_PKTMBUF_HEADROOM;
    struct rte_mempool *pool = bytes <= small ? queue->send_pool : queue->large_pool;
    if (pool == NULL || bytes > queue->port->caps.frame_bytes_max) {
        return false;
    }
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
    if (mbuf == NULL) {
        return false;
    }
    *ret_frame = (struct lp_nic_frame){
        .data = rte_pktmbuf_mtod(mbuf, uint8_t *), .bytes = bytes, .driver_frame = (uintptr_t)mbuf};
    return true;
}

static void
nic_put(void *self, struct lp_nic_frame *frame)
{
    (void)self;
    rte_pktmbuf_free((struct rte_mbuf *)(uintptr_t)frame->driver_frame); /* made by DPDK */
}

/* What the card is to do, in the words of rte_mbuf_core.h. */
static void
offload_set(struct rte_mbuf *mbuf, const struct lp_nic_frame *frame)
{
    if ((frame->flags & LP_NIC_L4_FILL) == 0 && frame->segment_bytes == 0) {
        return;
    }
    const bool four = (frame->data[frame->l3_offset] >> 4) == 4;
    mbuf->l2_len = frame->l3_offset & 0x7fu; /* fields of bits */
    mbuf->l3_len = (uint16_t)(frame->l4_offset - frame->l3_offset) & 0x1ffu;
    mbuf->l4_len = frame->l4_bytes;
    mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM | (four ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
    if (frame->segment_bytes != 0) {
        /* Each piece has a length of its own, and so a header checksum. */
        mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | (four ? RTE_MBUF_F_TX_IP_CKSUM : 0);
        mbuf->tso_segsz = frame->segment_bytes;
        if (four) {
            memset(frame->data + frame->l3_offset + 10, 0, 2);
        }
    }
}

static void
sending_push(struct dpdk_queue *queue)
{
    const uint16_t id = queue->port->id;
    const uint16_t prepared =
        rte_eth_tx_prepare(id, queue->number, queue->sending, (uint16_t)queue->sending_count);
    const uint16_t sent = rte_eth_tx_burst(id, queue->number, queue->sending, prepared);
    uint32_t gone = sent;
    queue->stuck = sent > 0 ? 0 : queue->stuck + 1;
    if ((sent == prepared && prepared < queue->sending_count) || queue->stuck > STUCK_MAX) {
        /* The card will never send this one. */
        queue->stuck = 0;
        rte_pktmbuf_free(queue->sending[sent]);
        queue->counters.refused_frames++;
        gone++;
    }
    queue->sending_count -= gone;
    memmove(queue->sending, queue->sending + gone,
            queue->sending_count * sizeof(queue->sending[0]));
}

static uint32_t
nic_transmit(void *self, struct lp_nic_frame *frames, uint32_t count)
{
    struct dpdk_queue *queue = self;
    if (queue->sending_count + count > DPDK_SENDING_MAX) {
        sending_push(queue);
    }
    const uint32_t taken = LP_MIN(count, DPDK_SENDING_MAX - queue->sending_count);
    for (uint32_t i = 0; i < taken; i++) {
        struct rte_mbuf *mbuf = (struct rte_mbuf *)(uintptr_t)frames[i].driver_frame;
        mbuf->data_len = (uint16_t)frames[i].bytes;
        mbuf->pkt_len = frames[i].bytes;
        mbuf->ol_flags = 0;
        offload_set(mbuf, &frames[i]);
        queue->sending[queue->sending_count++] = mbuf;
        queue->counters.sent_bytes += frames[i].bytes;
    }
    queue->counters.sent_frames += taken;
    queue->counters.refused_frames += count - taken;
    return taken;
}

static void
nic_flush(void *self)
{
    struct dpdk_queue *queue = self;
    if (queue->sending_count > 0) {
        sending_push(queue);
    }
}

/* --- Sleeping. -------------------------------------------------------------------------------- */

static int
nic_wait_fd(void *self)
{
    const struct dpdk_queue *queue = self;
    return queue->wait_fd;
}

static bool
nic_sleep_begin(void *self)
{
    struct dpdk_queue *queue = self;
    if (queue->sending_count > 0) {
        sending_push(queue);
    }
    if (queue->held_count > 0 || queue->sending_count > 0) {
        return false;
    }
    if (queue->wait_fd >= 0) {
        /* ENOTSUP: its descriptor is always armed (a tap's). */
        (void)rte_eth_dev_rx_intr_enable(queue->port->id, queue->number);
    }
    queue->held_count =
        rte_eth_rx_burst(queue->port->id, queue->number, queue->held, LP_NIC_BURST_MAX);
    return queue->held_count == 0;
}

static void
nic_sleep_end(void *self)
{
    const struct dpdk_queue *queue = self;
    if (queue->wait_fd < 0) {
        return;
    }
    (void)rte_eth_dev_rx_intr_disable(queue->port->id, queue->number); /* or it needs none */
    if (queue->wait_fd_counts) {
        uint64_t count;
        /* Nonblocking: nothing there is as good. */
        const ssize_t got = read(queue->wait_fd, &count, sizeof(count));
        (void)got;
    }
}

static void
nic_counters(void *self, struct lp_nic_counters *ret_counters)
{
    const struct dpdk_queue *queue = self;
    *ret_counters = queue->counters;
    struct rte_eth_stats stats;
    /* What the port counts for all queues is told once. */
    if (queue->number == 0 && rte_eth_stats_get(queue->port->id, &stats) == 0) {
        ret_counters->missed_frames += stats.imissed + stats.rx_nombuf;
        ret_counters->bad_frames += stats.ierrors;
    }
}

const struct lp_nic_ops dpdk_nic_ops = {
    .caps = nic_caps,
    .link_up = nic_link_up,
    .receive = nic_receive,
    .get = nic_get,
    .put = nic_put,
    .transmit = nic_transmit,
    .flush = nic_flush,
    .wait_fd = nic_wait_fd,
    .sleep_begin = nic_sleep_begin,
    .sleep_end = nic_sleep_end,
    .counters = nic_counters,
};
