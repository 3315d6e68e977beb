/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_net.h>

#include "tap_queue.h"

#define TCP_CHECKSUM_OFFSET 16u

LP_STATIC_ASSERT(sizeof(struct virtio_net_hdr_v1) == TAP_HEADER_BYTES, "as the kernel was told");

static uint8_t *
slot_data(const struct tap_queue *queue, uint32_t slot)
{
    return queue->slots + (size_t)slot * TAP_SLOT_BYTES + TAP_DATA_OFFSET;
}

static void
slot_release(struct tap_queue *queue, const struct lp_nic_frame *frame)
{
    LP_ASSERT(frame->driver_frame < TAP_FRAMES && queue->free_count < TAP_FRAMES);
    LP_ASSERT(frame->data == slot_data(queue, (uint32_t)frame->driver_frame));
    queue->free[queue->free_count++] = (uint16_t)frame->driver_frame;
}

/* --- Receiving. ------------------------------------------------------------------------------ */

/*
 * NEEDS_CSUM: the packet was made by this machine and its checksum was left to
 * us; DATA_VALID: a card has verified it.
 */
static void
header_read(const struct virtio_net_hdr_v1 *header, struct lp_nic_frame *frame)
{
    if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0) {
        frame->flags = LP_NIC_L4_GOOD | LP_NIC_IP_GOOD;
    } else if ((header->flags & VIRTIO_NET_HDR_F_DATA_VALID) != 0) {
        frame->flags = LP_NIC_L4_GOOD;
    }
    const uint8_t kind = header->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
    if (kind == VIRTIO_NET_HDR_GSO_TCPV4 || kind == VIRTIO_NET_HDR_GSO_TCPV6) {
        frame->segment_bytes = header->gso_size;
    }
}

static uint32_t
tap_receive(void *self, struct lp_nic_frame *frames, uint32_t frames_max)
{
    struct tap_queue *queue = self;
    uint32_t count = 0;
    while (count < frames_max && queue->free_count > 0) {
        const uint32_t slot = queue->free[queue->free_count - 1];
        uint8_t *data = slot_data(queue, slot);
        const ssize_t got =
            read(queue->fd, data - TAP_HEADER_BYTES, TAP_HEADER_BYTES + LP_NIC_FRAME_BYTES_MAX);
        if (got < (ssize_t)TAP_HEADER_BYTES) {
            break; /* nothing more, or the device is gone, which writing will tell */
        }
        queue->free_count--;
        queue->down = false;
        struct virtio_net_hdr_v1 header;
        memcpy(&header, data - TAP_HEADER_BYTES, sizeof(header));
        frames[count] = (struct lp_nic_frame){
            .data = data, .bytes = (uint32_t)got - TAP_HEADER_BYTES, .driver_frame = slot};
        header_read(&header, &frames[count]);
        queue->counters.received_bytes += frames[count].bytes;
        count++;
    }
    queue->counters.received_frames += count;
    return count;
}

/* --- Sending. -------------------------------------------------------------------------------- */

static bool
tap_get(void *self, uint32_t bytes, struct lp_nic_frame *ret_frame)
{
    struct tap_queue *queue = self;
    LP_ASSERT(bytes <= LP_NIC_FRAME_BYTES_MAX);
    if (queue->free_count == 0) {
        return false;
    }
    const uint32_t slot = queue->free[--queue->free_count];
    *ret_frame =
        (struct lp_nic_frame){.data = slot_data(queue, slot), .bytes = bytes, .driver_frame = slot};
    return true;
}

static void
tap_put(void *self, struct lp_nic_frame *frame)
{
    slot_release(self, frame);
    frame->data = NULL;
}

/* The kernel wants the pseudo-header's sum with the length of all that follows, in any case. */
static void
length_add(const struct lp_nic_frame *frame)
{
    uint8_t *field = frame->data + frame->l4_offset + TCP_CHECKSUM_OFFSET;
    uint32_t sum = (uint32_t)(field[0] << 8 | field[1]) + (frame->bytes - frame->l4_offset);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    field[0] = (uint8_t)(sum >> 8);
    field[1] = (uint8_t)sum;
}

static void
header_write(const struct lp_nic_frame *frame)
{
    struct virtio_net_hdr_v1 header = {0};
    const uint32_t headers = (uint32_t)frame->l4_offset + frame->l4_bytes;
    if ((frame->flags & LP_NIC_L4_FILL) != 0 || frame->segment_bytes > 0) {
        header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        header.csum_start = frame->l4_offset;
        header.csum_offset = TCP_CHECKSUM_OFFSET;
    }
    if (frame->segment_bytes > 0) {
        length_add(frame);
    }
    /* One segment is not cut, and the kernel rather hears nothing of it. */
    if (frame->segment_bytes > 0 && frame->bytes - headers > frame->segment_bytes) {
        const bool ipv6 = frame->data[frame->l3_offset] >> 4 == 6;
        header.gso_type = ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
        header.gso_size = frame->segment_bytes;
        header.hdr_len = (uint16_t)headers;
    }
    memcpy(frame->data - TAP_HEADER_BYTES, &header, sizeof(header));
}

static uint32_t
tap_transmit(void *self, struct lp_nic_frame *frames, uint32_t count)
{
    struct tap_queue *queue = self;
    uint32_t taken = 0;
    for (; taken < count; taken++) {
        const struct lp_nic_frame *frame = &frames[taken];
        header_write(frame);
        const ssize_t put =
            write(queue->fd, frame->data - TAP_HEADER_BYTES, TAP_HEADER_BYTES + frame->bytes);
        if (put < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)) {
            break;
        }
        /* EIO: the kernel's end is down.  A wire without a plug loses frames, too. */
        queue->down = put < 0 && errno == EIO;
        queue->counters.refused_frames += put < 0 ? 1 : 0;
        queue->counters.sent_frames += put < 0 ? 0 : 1;
        queue->counters.sent_bytes += put < 0 ? 0 : frame->bytes;
        slot_release(queue, frame);
    }
    queue->counters.refused_frames += count - taken;
    return taken;
}

static void
tap_flush(void *self)
{
    (void)self; /* transmit() has written */
}

/* --- The rest. ------------------------------------------------------------------------------- */

static void
tap_caps(void *self, struct lp_nic_caps *ret_caps)
{
    const struct tap_queue *queue = self;
    *ret_caps = (struct lp_nic_caps){
        .mtu_bytes = queue->mtu_bytes,
        .l4_fill = queue->offloads,
        .tso = queue->offloads,
        .frame_bytes_max = LP_NIC_FRAME_BYTES_MAX,
    };
    memcpy(ret_caps->mac, queue->mac, sizeof(ret_caps->mac));
}

static bool
tap_link_up(void *self)
{
    const struct tap_queue *queue = self;
    return !queue->down;
}

static int
tap_wait_fd(void *self)
{
    const struct tap_queue *queue = self;
    return queue->fd;
}

static bool
tap_sleep_begin(void *self)
{
    const struct tap_queue *queue = self;
    struct pollfd look = {.fd = queue->fd, .events = POLLIN};
    return poll(&look, 1, 0) <= 0;
}

static void
tap_sleep_end(void *self)
{
    (void)self;
}

static void
tap_counters(void *self, struct lp_nic_counters *ret_counters)
{
    const struct tap_queue *queue = self;
    *ret_counters = queue->counters;
}

const struct lp_nic_ops tap_ops = {
    .name = "tap",
    .caps = tap_caps,
    .link_up = tap_link_up,
    .receive = tap_receive,
    .get = tap_get,
    .put = tap_put,
    .transmit = tap_transmit,
    .flush = tap_flush,
    .wait_fd = tap_wait_fd,
    .sleep_begin = tap_sleep_begin,
    .sleep_end = tap_sleep_end,
    .counters = tap_counters,
};
