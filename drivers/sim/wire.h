/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - the simulator's Ethernet segment: nic.h over a wire between two or
 * more ends, in virtual time and from a seed.
 *
 * An end is a network card with one or several queues, each a struct lp_nic.
 * Frames are lost, late, out of order, twice, damaged and cut short, by chance
 * or as the test's filter says; the card does what cards do (checksums, TSO,
 * joining of segments, hashing), and only what its configuration says.
 *
 *   Memory    from the heap, freed by lp_sim_wire_destroy().  Every frame is a
 *             block of exactly its size, freed as soon as the device has it
 *             back, so that ASan catches whoever writes behind it or keeps it.
 *   Runs on   the one thread that steps the simulation; no system calls
 *   Limits    LP_SIM_WIRE_ENDS_MAX, LP_SIM_WIRE_QUEUES_MAX; an end's rings and pool
 *
 * Time does not move here: the scheduler calls lp_sim_wire_advance().  Nothing
 * arrives before lp_sim_wire_next_ns(), unless somebody sends.  What transmit()
 * took leaves at flush(), never before: an end that forgets it is mute.
 *
 * Invariant: without faults and with room in rings, each frame arrives at each
 * end it is for, in order, once, unchanged.
 */
#pragma once

#include <lepus/nic.h>

#define LP_SIM_WIRE_ENDS_MAX   8u
#define LP_SIM_WIRE_QUEUES_MAX 8u

struct lp_sim_wire;

/* Chances are per mille, of each frame and receiver.  They may be changed while it runs. */
struct lp_sim_wire_faults {
    uint32_t lose;
    uint32_t duplicate;
    uint32_t reorder;  /* it is late by up to reorder_ns_max, and others overtake it */
    uint32_t corrupt;  /* one bit: no checksum may miss it */
    uint32_t truncate; /* its end is missing: at least a byte */
    uint32_t dry;      /* get() has no frame */
    uint32_t refuse;   /* transmit() takes none, or some */
    uint64_t reorder_ns_max;
    uint64_t jitter_ns_max; /* without overtaking */
};

/* How an end gives frames to its queues. */
enum lp_sim_wire_steering {
    LP_SIM_WIRE_HASH,   /* Toeplitz with `rss_key`, 128 buckets, modulo the queues: a good card */
    LP_SIM_WIRE_LEARN,  /* where the flow was last sent from, else 0: the kernel's tap */
    LP_SIM_WIRE_RANDOM, /* anywhere: nobody's card, and a good test */
};

struct lp_sim_wire_end {
    uint8_t mac[6];     /* zeros: 02:00:00:00:00:01 + number */
    uint16_t mtu_bytes; /* 0: 1500; what is longer is refused by either side of it */
    uint8_t queues;     /* 0: 1 */
    bool promiscuous;   /* frames for other stations arrive, too */
    bool l4_fill;       /* nic.h; without it LP_NIC_L4_FILL is a bug of the sender's */
    bool tso;
    bool rx_checksum; /* looks at checksums and says GOOD or BAD; else it says nothing */
    /*
     * What was sent with L4_FILL arrives as the kernel's tap and veth have it:
     * the field still holds the pseudo-header's sum, and L4_GOOD says that the
     * bytes cannot be wrong.
     */
    bool partial;
    bool gro;      /* joins segments of a flow, up to 64 KiB; implies rx_checksum */
    bool hash;     /* tells flow_hash (LP_SIM_WIRE_HASH only) */
    bool can_wake; /* wait_fd() is not -1 */
    enum lp_sim_wire_steering steering;
    uint8_t rss_key[40];      /* zeros: the usual one */
    uint32_t receive_ring;    /* 0: 512; of a queue; what finds it full is missed */
    uint32_t transmit_ring;   /* 0: 512; of a queue: taken and not on the wire yet */
    uint32_t pool_frames;     /* 0: 4096; of a queue: what get() and receive() have given out */
    uint32_t frame_bytes_max; /* 0: 65553 with tso, else what the MTU takes with a tag */
};

struct lp_sim_wire_config {
    uint64_t seed;
    uint32_t end_count;
    struct lp_sim_wire_end end[LP_SIM_WIRE_ENDS_MAX];
    uint64_t delay_ns;        /* from end to end */
    uint64_t bits_per_second; /* an end sends no faster; 0: no limit */
    struct lp_sim_wire_faults faults;
};

struct lp_sim_wire_counts {
    uint64_t sent; /* on the wire, after TSO; one for all its receivers */
    uint64_t arrived;
    uint64_t lost;
    uint64_t duplicated;
    uint64_t reordered;
    uint64_t corrupted;
    uint64_t truncated;
    uint64_t too_big; /* for the wire's or the receiver's MTU */
    uint64_t missed;  /* a ring was full or a link down */
};

/*
 * Two ends, one queue each, MTU 1500, no offloads, 50 us from end to end, no faults.
 */
struct lp_sim_wire_config lp_sim_wire_config_default(uint64_t seed);

struct lp_sim_wire *lp_sim_wire_create(const struct lp_sim_wire_config *config);
/* Whatever is still lent is freed, too: its holder must be gone. */
void lp_sim_wire_destroy(struct lp_sim_wire *wire);

/* Queue `queue` of end `end`; borrows the wire. */
struct lp_nic lp_sim_wire_nic(struct lp_sim_wire *wire, uint32_t end, uint32_t queue);

struct lp_sim_wire_faults *lp_sim_wire_faults(struct lp_sim_wire *wire);
const struct lp_sim_wire_counts *lp_sim_wire_counts(const struct lp_sim_wire *wire);

/* Virtual time is now `now_ns`, which is not in the past. */
void lp_sim_wire_advance(struct lp_sim_wire *wire, uint64_t now_ns);
/* When a frame next arrives anywhere; now: some wait to be received; UINT64_MAX: none is on its
 * way. */
uint64_t lp_sim_wire_next_ns(const struct lp_sim_wire *wire);

/*
 * Whoever sees each frame as it leaves (cut by TSO, checksums filled in), and
 * may change its bytes.  False: it is lost.  `from`: the end.  NULL: nobody.
 */
typedef bool (*lp_sim_wire_filter)(void *context, uint32_t from, uint8_t *data, uint32_t bytes);
void lp_sim_wire_filter_set(struct lp_sim_wire *wire, lp_sim_wire_filter filter, void *context);

/* A frame from nowhere: `end` receives exactly these bytes, now, if its ring has room. */
void lp_sim_wire_inject(struct lp_sim_wire *wire, uint32_t end, const void *data, uint32_t bytes);
/* From now on a path in between takes no packet of IP that is longer, and does not say so; 0: any.
 */
void lp_sim_wire_black_hole(struct lp_sim_wire *wire, uint16_t mtu_bytes);
void lp_sim_wire_link_set(struct lp_sim_wire *wire, uint32_t end, bool up);

/* Frames of this queue that get() and receive() gave out and that have not come back. */
uint32_t lp_sim_wire_lent(const struct lp_sim_wire *wire, uint32_t end, uint32_t queue);
/* A hash of all that arrived, and when: two runs of one seed agree. */
uint64_t lp_sim_wire_digest(const struct lp_sim_wire *wire);
