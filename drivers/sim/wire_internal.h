/* SPDX-License-Identifier: Apache-2.0 */
/* wire_internal.h - what wire.c, wire_card.c and wire_frame.c share. */
#pragma once

#include <drivers/sim/sim.h>
#include <drivers/sim/wire.h>

#define WIRE_FLOWS 256u /* that LP_SIM_WIRE_LEARN remembers */

/* A frame: in a ring, on the wire, or lent. */
struct wire_frame {
    struct wire_frame *next;
    struct wire_frame *previous; /* lent, or on the wire */
    uint64_t due_ns;
    uint8_t *data; /* a block of its own, of exactly `bytes` when it was made */
    uint32_t bytes;
    uint32_t flow_hash;
    uint16_t flags;
    uint16_t segment_bytes;
    uint8_t end;   /* whose it will be, on the wire */
    bool partial;  /* its sender left the checksum to the device, and nothing happened to it */
    bool received; /* lent by receive(), not by get() */
};

/* What a frame of TCP over IP is made of; offsets from the frame's beginning. */
struct wire_headers {
    uint32_t l3;
    uint32_t l4;
    uint32_t l4_header_bytes; /* TCP */
    uint32_t l4_bytes;        /* header and payload, without the frame's padding */
    uint8_t family;           /* 4, 6; 0: not IP, or broken */
    uint8_t protocol;         /* 0: a fragment, or broken */
};

struct wire_queue {
    struct lp_sim_wire *wire;
    uint8_t end;
    uint8_t index;
    struct wire_frame *ring; /* arrived, oldest first */
    struct wire_frame *ring_last;
    uint32_t ring_count;
    struct wire_frame *sending; /* taken, leaves at flush() */
    struct wire_frame *sending_last;
    uint32_t sending_count;
    struct wire_frame *lent;
    uint32_t lent_count;
    struct lp_nic_counters counters;
};

struct wire_end {
    struct lp_sim_wire_end config;
    bool up;
    uint64_t free_ns;  /* its sender is busy until then */
    uint64_t order_ns; /* nothing that keeps its place arrives here before what came first */
    uint8_t flow_queue[WIRE_FLOWS];
    struct wire_queue queue[LP_SIM_WIRE_QUEUES_MAX];
};

struct lp_sim_wire {
    struct lp_sim_wire_config config;
    struct lp_sim_random random;
    struct lp_sim_wire_counts counts;
    uint64_t now_ns;
    uint64_t digest;
    uint16_t black_hole_bytes;
    lp_sim_wire_filter filter;
    void *filter_context;
    struct wire_frame *flying; /* by due_ns, then by age */
    struct wire_frame *flying_last;
    struct wire_end end[LP_SIM_WIRE_ENDS_MAX];
};

/* ---- wire.c ---- */
/* `frame` leaves `end`: cut, checked, damaged and scheduled for whom it is. */
void wire_frame_leave(struct wire_end *end, struct lp_sim_wire *wire, struct wire_frame *frame);

/* ---- wire_card.c ---- */
/* It has arrived: to a queue's ring, or missed. */
void wire_card_arrive(struct lp_sim_wire *wire, struct wire_end *end, struct wire_frame *frame);
extern const struct lp_nic_ops wire_card_ops;

/* ---- wire_frame.c: bytes, and what cards do with them ---- */
struct wire_frame *wire_frame_make(uint32_t bytes);
struct wire_frame *wire_frame_copy(const struct wire_frame *frame);
void wire_frame_free(struct wire_frame *frame);

struct wire_headers wire_headers_of(const uint8_t *data, uint32_t bytes);
/* Toeplitz over addresses and ports of TCP; 0 for anything else. */
uint32_t wire_flow_hash(const struct wire_frame *frame, const uint8_t *rss_key);
/* The same number for both directions of a flow. */
uint32_t wire_flow_name(const struct wire_frame *frame);
/* IP_GOOD, IP_BAD, L4_GOOD, L4_BAD, as a card that looks would say. */
uint16_t wire_verify(const struct wire_frame *frame);
/* Does the checksum field of TCP hold the pseudo-header's sum, with or without the length? */
bool wire_pseudo_right(const uint8_t *data, const struct wire_headers *headers, bool with_length);
/* The checksum field of TCP gets what LP_NIC_L4_FILL promises, or (`partial`) what it starts from.
 */
void wire_checksum_fill(struct wire_frame *frame, bool partial);
/* Cut what was given with `segment_bytes`; a list, oldest first; `frame` is gone. */
struct wire_frame *wire_segments_cut(struct wire_frame *frame);
/* May `next` be joined to the end of `head`?  Then it is, and gone. */
bool wire_segments_join(struct wire_frame *head, struct wire_frame *next);
