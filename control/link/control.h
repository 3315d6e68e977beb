/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - the control process as a library: the server of the control
 * rings, over the catalog (topology/) and a store.
 *
 * A host (main.c, or the simulator) maps the region, gives it a store and
 * calls lp_control_turn() until it says that there was no work.  Closing it at
 * any turn and opening another one over the same region and store is what the
 * death of the process looks like; nothing but time is lost.
 *
 *   Memory    heap; options' texts are borrowed for its life
 *   Runs on   one thread
 *   Overload  records for a shard whose ring is full wait here; while too many
 *             do, requests are read one by one, so that shards feel it
 *
 * Invariant: an answer leaves after the store has committed what it says and
 * every shard has applied it.
 */
#pragma once

#include <lepus/clock.h>
#include <lepus/control_region.h>
#include <lepus/entropy.h>
#include <lepus/err.h>

#include "control/link/throttle.h"
#include "control/topology/catalog.h"

struct lp_control;

/* From the configuration; what a new store is filled with, and names for status. */
struct lp_config;

#define LP_LOOPBACK_USERS_MAX 64u

struct lp_control_settings {
    const char *default_user;
    const char *default_password;
    const char *default_vhost;
    const char *default_permissions[3]; /* configure, write, read */
    const char *default_tags;           /* separated by commas */
    const char *const *loopback_users;
    const char *anonymous_user; /* NULL: nobody logs in without a name */
    const char *anonymous_password;
    size_t loopback_user_count;
    const char *cluster_name;
    const char *data_folder;
    const char *data_id;            /* "": not told */
    const char *config_file;        /* "" when there is none */
    const struct lp_config *config; /* for who wants to see it; NULL: none was read */
    const char *node_name;
    struct lp_catalog_rules rules;
    uint64_t connections_max, channels_max; /* of the node; UINT64_MAX: no limit */
    /* Publishers wait while the disk has less room: a size, or a share of the machine's memory. */
    uint64_t disk_limit_bytes;
    uint32_t disk_limit_millionths; /* 0: the size */
    struct throttle_limits login;
    bool login_loopback; /* this machine's logins count as well */
    uint32_t process_id;
};

/* RabbitMQ's defaults. */
void lp_control_settings_default(struct lp_control_settings *settings);

enum lp_control_log_level {
    LP_CONTROL_LOG_DEBUG = 0,
    LP_CONTROL_LOG_INFO = 1,
    LP_CONTROL_LOG_WARNING = 2,
    LP_CONTROL_LOG_ERROR = 3,
    LP_CONTROL_LOG_NONE = 4, /* as a level to reach: nothing does */
};

struct lp_control_options {
    void *region; /* lp_control_region_bytes(shard_count), mapped writable */
    uint32_t shard_count;
    uint32_t generation; /* grows with each start */
    struct lp_store store;
    struct lp_clock clock;
    struct lp_entropy entropy;
    struct lp_control_settings settings;
    /* End the wait of a shard whose sleeping flag was seen. */
    void (*wake_shard)(void *context, uint32_t shard);
    /* Bytes free on the data folder's disk; false: nobody knows.  NULL: there is no disk. */
    bool (*disk_free)(void *context, uint64_t *ret_bytes);
    /* A line for the broker's log; may be NULL. */
    void (*log)(void *context, enum lp_control_log_level level, const char *text);
    void *context;
};

/*
 * Load what exists and attach to the region.
 *
 * LP_ERR_BAD_CONFIG  the region is not one for this number of shards
 * LP_ERR_BAD_RECORD  the store holds what this version cannot read
 * LP_ERR_IO          the store
 */
LP_MUST_CHECK enum lp_err lp_control_open_boot(const struct lp_control_options *options,
                                               struct lp_control **ret_control);
void lp_control_close(struct lp_control **control);

/* One pass: read, decide, commit, tell.  False: there was nothing to do. */
bool lp_control_turn(struct lp_control *control);
/* Are records waiting to be read?  For the look after the sleeping flag was raised. */
bool lp_control_has_input(const struct lp_control *control);
/* Nanoseconds until a turn is due without input: 0 at once, UINT64_MAX never. */
uint64_t lp_control_wait_ns(const struct lp_control *control);
/* It cannot go on (a broken ring, a store that fails): end the process and start another. */
bool lp_control_failed(const struct lp_control *control);

/* Ask every shard to close its connections, within this time. */
void lp_control_stop(struct lp_control *control, uint32_t grace_ms);
/* Was that asked, here or by an administrator? */
bool lp_control_stopping(const struct lp_control *control);
/* Has every shard read all that was sent to it? */
bool lp_control_heard(const struct lp_control *control);
struct lp_control_stopped {
    uint64_t connections_closed;
    uint64_t messages_held;
};
/* Has every shard said that it is done? */
bool lp_control_stopped(const struct lp_control *control, struct lp_control_stopped *ret_stopped);
