/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.h - our own TCP/IP: transport.h over packet devices (nic.h).
 *
 * One instance belongs to one shard; instances of a process share nothing but
 * the fabric, over which a frame that a device gave to the wrong shard goes to
 * its owner.
 *
 *   Memory    everything lives in the reservation given at boot
 *   Runs on   owner core; open and close on the host's thread; wake_any() from
 *             any
 *   Limits    struct lp_net_config; LP_NET_PORTS_MAX devices
 *   Overload  see README.md: half-open connections are 64 bytes or nothing
 *             (SYN cookies); windows are what memory allows; newcomers are
 *             refused before those that are there are starved
 *
 * Sources: RFC 9293 (TCP) and those that README.md lists rule by rule.
 */
#pragma once

#include <lepus/clock.h>
#include <lepus/entropy.h>
#include <lepus/net_page.h>
#include <lepus/nic.h>
#include <lepus/transport.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LP_NET_PORTS_MAX     8u
#define LP_NET_ADDRESSES_MAX 16u /* of a port */
#define LP_NET_ROUTES_MAX    32u
#define LP_NET_LISTENERS_MAX 64u

struct lp_net;
struct lp_net_fabric;

/* An address and how many of its first bits name the link; or a destination of routes. */
struct lp_net_prefix {
    uint8_t family; /* LP_ADDRESS_IPV4 or LP_ADDRESS_IPV6 */
    uint8_t bits;
    uint8_t ip[16]; /* network order; IPv4 in the first four */
};

struct lp_net_route {
    struct lp_net_prefix destination; /* bits 0: the default route */
    uint8_t gateway[16];
    uint8_t port;
};

struct lp_net_port {
    char name[LP_NET_PORT_NAME_BYTES]; /* for people: as the configuration has it */
    struct lp_nic nic;
    /* What is not ours goes there, and what comes from there goes out of the port: exception.c.
     * `ops` NULL: there is none. */
    struct lp_nic exception;
    char exception_name[LP_NET_EXCEPTION_NAME_BYTES]; /* for people: the kernel's interface */
    uint16_t vlan;                                    /* 802.1Q tag of all its frames; 0: none */
    uint16_t mtu_bytes;                               /* 0: the device's */
    uint32_t address_count;
    struct lp_net_prefix address[LP_NET_ADDRESSES_MAX];
};

enum lp_net_congestion {
    LP_NET_CUBIC,   /* RFC 9438 */
    LP_NET_NEWRENO, /* RFC 5681, 6582 */
};

/* RFC 3168. */
enum lp_net_ecn {
    LP_NET_ECN_PASSIVE, /* when a peer asks for it */
    LP_NET_ECN_ACTIVE,  /* asked for when we open, too */
    LP_NET_ECN_OFF,
};

struct lp_net_config {
    uint32_t shard;
    uint32_t shard_count;
    uint32_t port_count;
    struct lp_net_port port[LP_NET_PORTS_MAX];
    uint32_t route_count;
    struct lp_net_route route[LP_NET_ROUTES_MAX];
    /* Where it listens: a port number and an address of ours, or zeros for all of the family. */
    uint32_t listener_count;
    struct lp_address listener[LP_NET_LISTENERS_MAX];
    /* True: an address is not used before nobody objected to it for seconds (RFC 5227 2.1.1, RFC
     * 4862 5.4).  False: at once, as with RFC 4429, and given up when somebody objects. */
    bool addresses_wait;
    uint32_t streams_max;
    enum lp_net_congestion congestion;
    enum lp_net_ecn ecn;
    /* Of a connection.  Zeros: as usual. */
    uint32_t receive_bytes_max;    /* 6 MiB: how far auto-tuning goes */
    uint32_t receive_bytes_first;  /* 64 KiB */
    uint32_t send_bytes_max;       /* 4 MiB: what send() may copy ahead of acknowledgements */
    uint16_t peer_mss_floor_bytes; /* 536: RFC 9293 3.7.1; CVE-2019-11479 */
    uint32_t rto_min_ms;           /* 200 */
    uint32_t time_wait_ms;         /* 60000 */
    uint32_t keepalive_s;          /* 7200; probes every 75 s, nine of them */
    uint32_t half_open_max;        /* 4096; beyond it: cookies */
    uint32_t user_timeout_s;       /* 900: RFC 9293 3.8.3, R2: unacknowledged for so long is dead */
};

struct lp_net_env {
    void *memory; /* 64 KiB-aligned, zeroed or untouched */
    uint64_t memory_bytes;
    struct lp_clock clock; /* read once a poll() */
    struct lp_entropy entropy;
    struct lp_net_fabric *fabric; /* NULL when there is one shard */
    /* lp_net_ledger_bytes() that outlive the process, 16-byte aligned: zeros, or what the same
     * shard's last instance left.  NULL: peers of a data plane that dies are not told. */
    void *ledger;
    /* End another shard's wait(); NULL when there is one shard. */
    void (*wake_shard)(void *context, uint32_t shard);
    void *wake_context;
};

/* Bytes that a fabric needs, and the fabric in them; the memory is 128-byte aligned and zero. */
uint64_t lp_net_fabric_bytes(uint32_t shard_count);
struct lp_net_fabric *lp_net_fabric_init_boot(void *memory, uint32_t shard_count);

/* What the next life needs of this one's connections, to reset them. */
uint64_t lp_net_ledger_bytes(uint32_t streams_max);

/*
 * LP_ERR_BAD_CONFIG  addresses, routes or limits contradict each other
 * LP_ERR_NO_MEMORY   the reservation is too small
 *
 * From now on it answers ARP, NDP and echoes; it announces its addresses when
 * duplicate address detection has passed (RFC 5227, RFC 4862).
 */
LP_MUST_CHECK enum lp_err lp_net_open_boot(const struct lp_net_config *config,
                                           const struct lp_net_env *env, struct lp_net **ret_net);
/* Frames go back to their devices; peers hear nothing. */
void lp_net_close(struct lp_net **net);

/* What flows are hashed with, 40 bytes: for devices that can be told. */
const uint8_t *lp_net_rss_key(void);

/* The shard ends: what it has not closed is closed for it.  Peers hear of it in the turns after. */
void lp_net_streams_close(struct lp_net *net);

/* The transport; borrows the net.  Its wait() returns at once: see lp_net_sleep_begin(). */
struct lp_transport lp_net_transport(struct lp_net *net);

/*
 * Open a connection.  LP_TRANSPORT_CONNECTED follows, or ENDED; the handle is
 * a stream's from now on.  Its port is one whose answers come to this shard
 * (RFC 6056, algorithm 5 over those that hash home).  LP_HANDLE_NONE: no room,
 * no route or no free port.
 */
lp_handle lp_net_connect(struct lp_net *net, const struct lp_address *to);

/*
 * About to block: arms the devices, then looks again.  False: there is work.
 * `ret_next_ns`: no timer is due before this.  Devices without a descriptor
 * (nic.h, wait_fd) make `ret_next_ns` near: they have to be looked at.
 */
LP_MUST_CHECK bool lp_net_sleep_begin(struct lp_net *net, uint64_t *ret_next_ns);
void lp_net_sleep_end(struct lp_net *net);

/* What happened so far; borrowed, and read by the owner's thread only. */
const struct lp_net_counters *lp_net_counters_of(const struct lp_net *net);

/* All of it into the page that the control process reads; owner core, some times a second. */
void lp_net_report(const struct lp_net *net, struct lp_net_page *page);

/* The ledger's numbers of some connections are brought up to date; owner core, some times a second.
 */
void lp_net_remember(struct lp_net *net);

/* A frame as it came from a device or goes to one; checksums may be the device's to fill in. */
struct lp_net_captured {
    const uint8_t *data;
    uint32_t bytes;
    uint32_t port;
    bool sent;
    uint64_t now_ns;
};
struct lp_net_capture {
    void (*frame)(void *context, const struct lp_net_captured *frame);
    void *context;
};
/* Show every frame to this from now on; NULL: to nobody.  Owner core. */
void lp_net_capture_set(struct lp_net *net, const struct lp_net_capture *capture);

/* For the simulator and tests: every invariant, walked. */
void lp_net_check(const struct lp_net *net);
/* No stream, nothing half-open, nothing lent; TIME_WAIT and neighbours may be. */
bool lp_net_at_rest(const struct lp_net *net, const char **ret_why);

#ifdef __cplusplus
}
#endif
