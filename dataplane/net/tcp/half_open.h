/* SPDX-License-Identifier: Apache-2.0 */
/*
 * half_open.h - passive opens that are not connections yet: 64 bytes each, in
 * a table of their own, with a timer each.
 *
 *   Memory    all of it at boot: half_open_max entries and as many buckets
 *   Runs on   owner core
 *   Limits    config.half_open_max, at most HALF_OPEN_MOST
 *
 * Those that have been asked equally often wait equally long: a list for each
 * number of times is a queue by time, and its head is the next that is due.
 */
#pragma once

#include "inbound.h"

#define HALF_OPEN_LEVELS                                                    \
    5u /* SYN-ACKs: at once and after 1, 3, 7 and 15 s; given up after 31 s \
        */
#define HALF_OPEN_MOST 65535u

struct half_open {
    uint8_t local[16];
    uint8_t remote[16];
    uint32_t irs;
    uint32_t isn;
    uint32_t timestamp; /* TS.Recent */
    uint32_t sent_us;   /* when the SYN-ACK was sent last; wraps */
    uint16_t local_port;
    uint16_t remote_port;
    uint16_t mss_bytes;
    uint16_t chain; /* these three: index + 1, 0: none */
    uint16_t next;
    uint16_t previous;
    uint8_t listener;
    uint8_t level : 3;
    bool ipv6 : 1;
    bool has_shift : 1;
    bool timestamps : 1;
    bool sack : 1;
    bool ecn : 1;
    uint8_t shift;
    bool asked_twice; /* the SYN came again: the round trip is not known */
};
LP_STATIC_ASSERT(sizeof(struct half_open) == 64, "what is half-open is 64 bytes");
LP_STATIC_ASSERT(LP_NET_LISTENERS_MAX <= UINT8_MAX, "a listener's index fits");

struct half_open_list {
    uint16_t head;
    uint16_t tail;
};

struct half_opens {
    struct half_open *entry;
    uint16_t *bucket;
    uint32_t room;
    uint32_t bucket_mask;
    uint32_t count;
    uint16_t free_head;
    uint32_t made; /* entries that were ever used: pages are touched as needed */
    struct half_open_list level[HALF_OPEN_LEVELS];
};

LP_MUST_CHECK enum lp_err half_open_init_boot(struct lp_net *net, struct half_opens *table);
void half_open_fini(struct lp_net *net, struct half_opens *table);
void half_open_check(const struct half_opens *table);

struct half_open *half_open_find(const struct lp_net *net, const struct half_opens *table,
                                 const struct net_path *path, uint16_t local_port,
                                 uint16_t remote_port);
/* A zeroed entry with these, at level 0 as of now; NULL: the table is full. */
struct half_open *half_open_add(const struct lp_net *net, struct half_opens *table,
                                const struct net_path *path, const uint16_t ports[2]);
void half_open_remove(const struct lp_net *net, struct half_opens *table, struct half_open *entry);
/* Asked once more, now.  False: that was the last time. */
bool half_open_again(const struct lp_net *net, struct half_opens *table, struct half_open *entry);
/* The one that waits longest of those asked most often, or NULL. */
struct half_open *half_open_oldest(const struct half_opens *table);
/* The next one whose time is over, or NULL; and when the next is. */
struct half_open *half_open_due(const struct lp_net *net, const struct half_opens *table,
                                uint32_t *ret_wait_us);

struct net_path half_open_path(const struct half_open *entry);

static inline uint32_t
half_open_now_us(const struct lp_net *net)
{
    return (uint32_t)(net->now_ns / 1000u);
}
