/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.h - the parts of `lepus-dataplane`: the program around the data plane.
 *
 * It does what the core must not: reads its command line, looks at the
 * machine, maps memory, opens sockets, reads clocks and runs a thread a shard.
 *
 *   options.c   the command line        machine.c  what the processors are like
 *   memory.c    region, reservations    transport.c  io_uring or epoll, listeners
 *   net_options.c  packet devices' words  net_devices.c  those devices
 *   net.c  TCP/IP over them
 *   tls.c       TLS around both
 *   disk.c      folders, measurement    entropy.c  seeded generator
 *   record.c    what disks are asked, for tests
 *   loop.c      a shard's thread
 *   panic.c     the last words          recovery.c  until logs are read
 *   main.c      in which order
 *
 *   Memory    mapped at boot, given back by the end of the process
 *   Runs on   boot: the first thread; after that a thread a shard
 */
#pragma once

#include <pthread.h>

#include <dataplane/net/net.h>
#include <dataplane/shard/shard.h>
#include <drivers/common/capture_ring.h>
#include <drivers/common/keeper.h>
#include <drivers/common/listeners.h>
#include <drivers/common/pair.h>
#include <drivers/common/socket.h>
#include <drivers/tls/tls.h>

#define HOST_WHY_BYTES 1024

enum host_transport {
    HOST_TRANSPORT_AUTO,
    HOST_TRANSPORT_URING,
    HOST_TRANSPORT_EPOLL,
};

enum host_pin {
    HOST_PIN_AUTO,
    HOST_PIN_YES,
    HOST_PIN_NO,
};

enum host_poll {
    HOST_POLL_ADAPTIVE,
    HOST_POLL_BUSY,
    HOST_POLL_SLEEP,
};

/* lepus.net.port.NAME */
struct host_net_port {
    char name[16];
    const char *device; /* as argv has it */
    uint16_t vlan;
    uint16_t mtu_bytes;
    uint8_t mac[6];
    const char *exception; /* the kernel's interface for what is not ours; NULL: none */
    uint32_t address_count;
    struct lp_net_prefix address[LP_NET_ADDRESSES_MAX];
    struct lp_net_prefix gateway[2]; /* IPv4, IPv6; family 0: none */
};

struct host_net_route {
    struct lp_net_prefix to;
    struct lp_net_prefix gateway;
};

struct host_net_options {
    uint32_t port_count; /* 0: the kernel's sockets alone */
    struct host_net_port port[LP_NET_PORTS_MAX];
    uint32_t route_count;
    struct host_net_route route[LP_NET_ROUTES_MAX];
    uint32_t listener_count; /* some may be among the kernel's, too */
    struct lp_address listener[LP_LISTENERS_MAX];
    uint64_t tls_listeners; /* a bit each */
    uint64_t memory_bytes;  /* of all shards together */
    enum lp_net_congestion congestion;
    enum lp_net_ecn ecn;
    bool addresses_wait;        /* until nobody has objected to them */
    uint32_t dpdk_memory_mb;    /* 0: as usual */
    const char *dpdk_arguments; /* NULL: none */
    int ledger_fd;              /* what outlives us: who is connected; -1: nothing does */
};

struct host_options {
    int region_fd;
    int control_wake_fd;
    int ready_fd;
    uint32_t shard_wake_count;
    int shard_wake_fd[LP_SHARDS_MAX];
    uint32_t listener_count;
    struct lp_address listener[LP_LISTENERS_MAX];
    struct host_net_options net;
    uint64_t tls_listeners; /* a bit each */
    int tls_fd;             /* what the launcher says of TLS; -1: nothing */
    enum host_transport transport;
    enum host_pin pin;
    enum host_poll poll;
    uint64_t memory_bytes;        /* of all shards together */
    uint64_t watermark_bytes;     /* likewise */
    const char *data;             /* the data directory, as argv has it; NULL: nothing is kept */
    uint8_t data_id[16];          /* of that directory, and of no other; zeros: not told */
    struct lp_shard_config shard; /* .count is the number of shards; the index is filled in later */
};

/* What the processors are like, and what follows for waiting. */
struct host_machine {
    uint32_t processor_count; /* that we may run on */
    uint32_t isolated_count;  /* of those, kept free of others by the kernel */
    uint32_t steal_per_mille; /* of the time since boot, taken by the hypervisor */
    uint64_t quota_milli;     /* CFS quota in thousandths of a processor; 0: none */
    uint16_t processor[1024]; /* their numbers, isolated ones first */
};

struct host_idle {
    bool pin;
    enum host_poll poll;
    uint64_t spin_ns;  /* after the last work: turn after turn */
    uint64_t relax_ns; /* then, until this long after it: with a pause between turns */
};

/* ChaCha20 as a generator: each block's first half is the next key. */
struct host_entropy {
    uint32_t key[8];
    uint64_t counter;
    uint8_t block[64];
    uint32_t used; /* of the block; what was used is wiped */
};

/* Who looks at the frames of a shard; ring NULL: nobody. */
struct host_capture {
    struct lp_capture_ring *ring;
    uint32_t snap_bytes;
    uint32_t silent; /* looks since the tool last counted */
    uint32_t looks;  /* of host_capture_look(), while nobody listens */
    uint64_t alive;
    uint64_t written;
    uint64_t dropped;
};

struct host;

/* How far wall time is ahead of the monotonic clock; zeros: not looked at yet. */
struct host_wall {
    uint64_t ahead_ns; /* modulo 2^64 */
    uint64_t read_ns;
};

struct host_shard {
    struct host *host;
    struct lp_shard *shard;
    struct lp_transport transport; /* the kernel's, or it and ours as one */
    struct lp_transport kernel;
    struct host_capture capture;
    struct lp_net *net; /* NULL: there are no packet devices */
    struct lp_nic nic[LP_NET_PORTS_MAX];
    struct lp_nic exception[LP_NET_PORTS_MAX]; /* ops NULL: the port has none */
    struct lp_pair pair;
    struct host_entropy net_entropy;
    uint64_t net_reported;  /* frames that the last report counted */
    uint64_t net_report_ns; /* when it is due */
    struct lp_disk disk;    /* ops NULL: there is none */
    struct host_entropy entropy;
    void *memory;
    struct host_wall wall;
    pthread_t thread;
    uint32_t index;
    uint32_t patience; /* loop.c: of what it may spin before it sleeps */
    bool slept;
    bool stopped; /* its part of a graceful stop is done; every shard's thread looks at it */
};

/* How far shards' threads are with their logs; for the first thread. */
struct host_recovery {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t over; /* shards that know all they had, or never will */
    struct lp_shard_recovery shard[LP_SHARDS_MAX];
};

struct host {
    struct host_options options;
    struct host_machine machine;
    struct host_idle idle;
    bool dpdk;                     /* it was started */
    struct lp_listeners listeners; /* the kernel's */
    uint32_t listener_count;       /* the shards': those, then those of packet devices alone */
    struct lp_address listener[2 * LP_LISTENERS_MAX];
    struct lp_net_fabric *net_fabric; /* NULL: one shard */
    uint8_t *net_ledger;              /* NULL: there is none */
    uint64_t tls_listeners;           /* a bit for each of the shards' */
    struct lp_tls *tls;               /* NULL: there is none */
    char *tls_text;                   /* what its settings point into */
    uint32_t tls_wrapped;
    struct lp_fabric *fabric;
    void *region;
    uint64_t shard_bytes;
    bool uring;
    int disk_lock_fd;
    int disk_lock_wait_ms;    /* for the writes of a data plane that died */
    struct lp_keeper *keeper; /* NULL: there is no disk */
    struct host_recovery recovery;
    struct host_shard shard[LP_SHARDS_MAX];
};

/* ---- options.c ---- */
LP_MUST_CHECK bool host_options_parse(struct host_options *options, int argc, char **argv,
                                      char *ret_why);
/* One more listener: "tcp:...", "tls:..." or "unix:...". */
LP_MUST_CHECK bool host_listener_take(const char *value,
                                      struct lp_address listener[LP_LISTENERS_MAX], uint32_t *count,
                                      uint64_t *tls_listeners);

/* ---- machine.c: `root` is "" or, in tests, a folder that holds proc/ and sys/ ---- */
void host_machine_read(struct host_machine *ret_machine, const char *root);
struct host_idle host_idle_choose(const struct host_machine *machine,
                                  const struct host_options *options);
/* One line for the operator: the choice and its reasons. */
void host_idle_print(const struct host *host);
bool host_thread_pin(const struct host_machine *machine, uint32_t shard);

/* ---- memory.c ---- */
LP_MUST_CHECK bool host_region_map(struct host *host, char *ret_why);
/* The fabric and every shard's reservation. */
LP_MUST_CHECK bool host_memory_map(struct host *host, char *ret_why);

/* ---- transport.c ---- */
/* Listeners and a transport a shard; `streams_max` of each. */
LP_MUST_CHECK bool host_transports_open(struct host *host, uint32_t streams_max, char *ret_why);
void host_transports_close(struct host *host);

/* ---- net_options.c: an argument that begins with "net-" ---- */
LP_MUST_CHECK bool host_net_option_take(struct host_net_options *net, const char *name,
                                        const char *value);

/* ---- net_devices.c ---- */
/* A queue a shard of each device; before the transports, which watch them. */
LP_MUST_CHECK bool host_net_devices_open(struct host *host, char *ret_why);
void host_net_devices_close(struct host *host);
/* The shard's thread, before it uses them. */
void host_net_thread_enter(const struct host_shard *self);

/* ---- capture.c ---- */
/* Has somebody begun to look, or ended?  The shard's thread, some times a second. */
void host_capture_look(struct host_shard *self);

/* ---- net.c ---- */
/* "lepus.net.port.N." and what is wrong there; always false. */
bool __attribute__((format(printf, 3, 4)))
host_net_complain(char *ret_why, const struct host_net_port *port, const char *format, ...);
/* What ends the shard's wait besides its sockets. */
void host_net_watch(const struct host *host, uint32_t shard, struct lp_socket_options *options);
/* An instance a shard, paired with the kernel's transport. */
LP_MUST_CHECK bool host_nets_open(struct host *host, uint32_t streams_max, char *ret_why);
/* Instances and devices; before the transports. */
void host_net_close(struct host *host);
/* The shard's thread, at its end: what was sent last reaches its peers. */
void host_net_drain(struct host_shard *self);
/* The shard's thread, once a turn: counters for the control process, some times a second. */
void host_net_report(struct host_shard *self, uint64_t now_ns);
/* When the next one is due, if something was counted since the last; UINT64_MAX: nothing was. */
uint64_t host_net_report_due_ns(const struct host_shard *self);
/* ---- tls.c ---- */
/* After the disks: around the transports of all shards, if there is a listener for it. */
LP_MUST_CHECK bool host_tls_open(struct host *host, uint32_t streams_max, char *ret_why);
/* When no shard runs: the threads end, and the transports are those of before; closing those does
 * it. */
void host_tls_close(struct host *host);

/* ---- disk.c: after the transports ---- */
/* Locks the folder, measures what is faster, opens a disk a shard, and says so in a line. */
LP_MUST_CHECK bool host_disks_open(struct host *host, char *ret_why);
/* Does the kernel have reads or writes of this shard's? */
bool host_disk_busy(const struct host_shard *self);
/* The shard's thread, at its end. */
void host_disk_drain(const struct host_shard *self);
/* Before the transports. */
void host_disks_close(struct host *host);

/* ---- record.c: for tests; the shard's disk, or one around it that writes to the file that the
 * environment names ---- */
#define HOST_RECORD_VARIABLE "LEPUS_RECORD_DISK"
struct lp_disk host_record_wrap(const struct host_shard *shard);

/* ---- entropy.c ---- */
LP_MUST_CHECK bool host_entropy_init_boot(struct host_entropy *entropy);
struct lp_entropy host_entropy_contract(struct host_entropy *entropy);

/* ---- recovery.c ---- */
LP_MUST_CHECK bool host_recovery_init_boot(struct host_recovery *recovery);
/* The shard's thread, after each turn until it gives true: its log is read, or damaged. */
bool host_recovery_look(struct host_shard *self);
/* The first thread: until all are.  False: one is damaged. */
LP_MUST_CHECK bool host_recovery_wait(struct host *host, char *ret_why);

/* ---- clock.c ---- */
uint64_t host_monotonic_ns(void);
/*
 * The time of day at that moment of the monotonic clock.  What is to be known after a start is kept
 * by it: it is exact to microseconds, however long the thread was stopped since `now_ns`.
 */
uint64_t host_wall_ns(struct host_wall *wall, uint64_t now_ns);
/* The same for what looks at a clock within a turn. */
struct lp_clock host_clock_contract(void);

/* ---- loop.c ---- */
/* A shard's loop, until its graceful stop is complete; the argument is a struct host_shard. */
void *host_shard_run(void *argument);

/* ---- panic.c ---- */
/* What the report of this thread will name. */
void host_panic_shard_set(uint32_t shard);
