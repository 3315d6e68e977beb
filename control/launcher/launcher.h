/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launcher.h - the parts of `lepus`, the one program that a user starts.
 *
 * It reads the configuration, makes the memory that the two processes share,
 * starts lepus-dataplane and lepus-control and keeps them running:
 *
 *   options.c    the command line          plan.c     what to start, and how
 *   data.c       the data directory        record.c   what it is: format, id, shards
 *   machine.c    processors and memory     region.c   memfd and eventfds
 *   child.c      fork, exec, pidfd         start.c    the children's arguments
 *   tls.c        what the data plane is told of TLS
 *   supervise.c  what to do when one ends  listing.c  `lepus config`
 *   net.c        packet devices, and which listeners are there
 *
 *   Memory    the launcher allocates at boot and when it starts a child
 *   Runs on   one thread; it blocks in poll() and nowhere else
 */
#pragma once

#include <limits.h>
#include <stdio.h>
#include <sys/types.h>

#include <lepus/control_region.h>

#include "control/config/config.h"

#define LAUNCHER_SETTINGS_MAX      128u
#define LAUNCHER_LISTENERS_MAX     32u
#define LAUNCHER_WHY_BYTES         512u
#define LAUNCHER_NET_PORTS_MAX     8u /* dataplane/net: LP_NET_PORTS_MAX */
#define LAUNCHER_NET_ARGUMENTS_MAX 256u
#define LAUNCHER_PAGE_BYTES        4096u

enum launcher_verb {
    LAUNCHER_RUN,
    LAUNCHER_CONFIG,
    LAUNCHER_HELP,
    LAUNCHER_VERSION,
};

struct launcher_options {
    enum launcher_verb verb;
    const char *config_path;
    const char *data;
    const char *key; /* of `lepus config KEY` */
    size_t setting_count;
    const char *setting[LAUNCHER_SETTINGS_MAX];
};

struct launcher_machine {
    uint32_t processors;   /* that this process may use, at least 1 */
    uint64_t memory_bytes; /* the machine's, or the cgroup's when that is less */
    bool ipv6;
};

/* What a data directory says of itself. */
struct launcher_record {
    char id[33]; /* 128 bits, in base 16 */
    uint32_t shard_count;
    uint32_t log_count; /* of how many a log was there when we looked last */
};

struct launcher_plan {
    const struct launcher_options *options;
    struct lp_config *config;
    char data[PATH_MAX];
    char data_path[PATH_MAX]; /* the same from the root on */
    char programs[PATH_MAX];  /* the folder of lepus-dataplane and lepus-control */
    uint32_t shards_wanted;   /* 0: as many as there are, or as the machine has processors */
    uint32_t shard_count;
    struct launcher_record record;
    uint64_t memory_bytes;
    uint64_t watermark_bytes;
    uint64_t machine_bytes; /* of which shares are taken */
    uint64_t segment_bytes; /* of a shard's log */
    uint64_t first_segment_bytes;
    char cluster_name[256];
    size_t listener_count;
    char *listener[LAUNCHER_LISTENERS_MAX]; /* tcp:IP:PORT, tls:[IP]:PORT, unix:PATH */
    size_t net_listener_count;              /* of ours, over packet devices */
    char *net_listener[LAUNCHER_LISTENERS_MAX];
    size_t net_argument_count; /* what the data plane is told of its ports */
    char *net_argument[LAUNCHER_NET_ARGUMENTS_MAX];
    int net_ledger_fd; /* memory for which connections there are, which outlives data planes; -1 */
    size_t tls_bytes;
    char *tls; /* NULL: no TLS; else lines for lp_tls_setting_put(), each with a NUL at its end */
};

struct launcher_region {
    void *base; /* NULL: none */
    size_t bytes;
    uint32_t shard_count;
    int memory_fd;
    int control_wake_fd;
    int shard_wake_fd[LP_SHARDS_MAX];
};

struct launcher_child {
    const char *name;
    pid_t pid; /* 0: not running */
    int pidfd;
    uint64_t started_ms;
    bool bare; /* runs without any capability that the launcher was given */
};

/* How a child ended. */
struct launcher_ending {
    bool signalled;
    int number; /* exit status or signal */
};

/* ---- options.c ---- */
LP_MUST_CHECK bool launcher_options_parse(struct launcher_options *options, int argc, char **argv,
                                          char *ret_why, size_t why_bytes);
void launcher_help_print(FILE *out);

/* ---- machine.c: `root` is "" or, in tests, a folder that holds proc/ and sys/ ---- */
void launcher_machine_read(struct launcher_machine *ret_machine, const char *root);

/* ---- plan.c ---- */
LP_MUST_CHECK enum lp_err launcher_plan_make(struct launcher_plan *plan,
                                             const struct launcher_options *options,
                                             const struct launcher_machine *machine, char *ret_why,
                                             size_t why_bytes);
/* The folder of the other programs, in PATH_MAX bytes. */
LP_MUST_CHECK enum lp_err launcher_programs_find(char *ret_folder, char *ret_why, size_t why_bytes);
/* Memory for the stored backlogs of one shard; after launcher_record_open(). */
uint64_t launcher_backlog_bytes(const struct launcher_plan *plan);
void launcher_plan_fini(struct launcher_plan *plan);

/* ---- net.c: TCP/IP of our own ---- */
/* After memory_bytes and shard_count are known. */
LP_MUST_CHECK enum lp_err launcher_net_plan(struct launcher_plan *plan, char *ret_why,
                                            size_t why_bytes);
/* Where a TCP listener belongs; `ip`: "" is every address. */
bool launcher_net_has(const struct launcher_plan *plan, const char *ip);
bool launcher_kernel_has(const struct launcher_plan *plan, const char *ip);

/* ---- data.c: make the data directory and take the lock in it; -1 with a sentence ---- */
LP_MUST_CHECK int launcher_data_lock(const char *path, char *ret_why, size_t why_bytes);

/*
 * ---- record.c: after the lock; decides how many shards there are, and writes that down.
 * `ret_why` has LAUNCHER_WHY_BYTES.
 *
 * LP_ERR_BAD_CONFIG  fewer shards are wanted than have messages there
 * LP_ERR_BAD_RECORD  of a newer format, damaged, or not what belongs to the logs that are there
 * LP_ERR_IO
 */
LP_MUST_CHECK enum lp_err launcher_record_open(struct launcher_plan *plan, char *ret_why);
/* Looks which logs there are; from then on they have to be there.  False with a sentence. */
LP_MUST_CHECK bool launcher_record_logs_note(struct launcher_plan *plan, char *ret_why);
/* The names in a folder are on disk; errno when not. */
LP_MUST_CHECK bool launcher_folder_sync(const char *path);

/* ---- region.c ---- */
LP_MUST_CHECK bool launcher_region_open(struct launcher_region *region, uint32_t shard_count,
                                        char *ret_why, size_t why_bytes);
void launcher_region_close(struct launcher_region *region);
/* What the control process wants to know and cannot find out. */
void launcher_region_tell(struct launcher_region *region, const struct launcher_plan *plan);
/* Clients connected now, from the shards' counters. */
uint64_t launcher_region_connections(const struct launcher_region *region);

/* ---- child.c ---- */
struct launcher_spawn {
    const char *path;
    char *const *argv;
    const int *fds; /* the only descriptors besides 0, 1 and 2 that the child gets */
    size_t fd_count;
    bool bare;
};
LP_MUST_CHECK bool launcher_child_start(struct launcher_child *child,
                                        const struct launcher_spawn *spawn);
void launcher_child_signal(const struct launcher_child *child, int number);
/* After its pidfd became readable. */
struct launcher_ending launcher_child_reap(struct launcher_child *child);
void launcher_ending_print(struct launcher_ending ending, char *ret_text, size_t text_bytes);

/* ---- tls.c ---- */
/* After the listeners are planned. */
LP_MUST_CHECK enum lp_err launcher_tls_plan(struct launcher_plan *plan, char *ret_why,
                                            size_t why_bytes);
/* A descriptor to read the lines from, to be closed; -1: none could be made. */
LP_MUST_CHECK int launcher_tls_open(const struct launcher_plan *plan);

/* ---- start.c ---- */
LP_MUST_CHECK bool launcher_start_dataplane(struct launcher_child *child,
                                            const struct launcher_plan *plan,
                                            const struct launcher_region *region, int ready_fd);
struct launcher_control_start {
    uint32_t generation;
    bool fresh;
    int ready_fd; /* it writes there when it hears administrators; -1: nobody waits */
};
LP_MUST_CHECK bool launcher_start_control(struct launcher_child *child,
                                          const struct launcher_plan *plan,
                                          const struct launcher_region *region,
                                          const struct launcher_control_start *how);

/* ---- supervise.c: runs the broker until it ends; the exit status ---- */
int launcher_supervise(const struct launcher_plan *plan);

/* ---- listing.c: `lepus config` ---- */
int launcher_config_print(FILE *out, const char *key);

/* ---- say.c: a line for the operator, "lepus: ..." ---- */
void launcher_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void launcher_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t launcher_now_ms(void);
