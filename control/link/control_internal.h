/* SPDX-License-Identifier: Apache-2.0 */
/* control_internal.h - the control process's state, shared by link/ and admin/. */
#pragma once

#include <lepus/control_records.h>
#include <lepus/fault.h>

#include "control/base/chain.h"
#include "control/base/heap.h"
#include "control/base/map.h"
#include "control/link/control.h"
#include "control/topology/catalog.h"

/* Requests read from one shard in one turn: they share one transaction. */
#define CONTROL_TURN_RECORDS 512u
/* Bytes that wait for one shard's ring before requests are read one by one. */
#define CONTROL_BACKLOG_BYTES (4u * 1024u * 1024u)
/* Deletions under way at one home shard; it can hold 512 answers. */
#define CONTROL_CHECKS_MAX 64u
/* Commits that fail in a row before the process ends, to be started again later by its launcher. */
#define CONTROL_FAILURES_MAX 4u
/* How long a listing waits for shards. */
#define CONTROL_QUERY_NS 5000000000ull

/*
 *  ATTACHING -- HELLO of our attach --> HELLO -- HELLO_END --> READY
 *      '------------ (store failed: attach again) <-------------'
 *
 * Requests are read in READY only, and only when all shards are: then every
 * live connection is known and every dead one's queues are gone.
 */
enum control_shard_state {
    CONTROL_SHARD_ATTACHING,
    CONTROL_SHARD_HELLO,
    CONTROL_SHARD_READY,
};

struct control_listener {
    uint8_t family;
    uint16_t port;
    uint8_t ip[16];
    char path[256];
    char protocol[32];
};

/* A shard's log that takes no more. */
struct control_fence {
    bool up;
    uint8_t err; /* enum lp_err */
    uint32_t segment;
    uint64_t offset;
    char what[256]; /* a sentence without names and numbers */
};

struct control_shard {
    struct lp_control_end input;  /* from the shard */
    struct lp_control_end output; /* to the shard */
    enum control_shard_state state;
    uint64_t applied;         /* revision */
    struct lp_bytebuf outbox; /* records that wait for room: control.c */
    size_t outbox_at;
    bool outbox_stuck; /* the last flush moved nothing */
    bool pushed;       /* something new is in its ring: wake it */
    bool stopped;
    uint32_t checks; /* deletions it was asked about */
    struct lp_control_stopped totals;
    struct control_listener *listeners;
    uint32_t listener_count;
    struct control_fence fence;
};

/* What the open connections of one user, or in one vhost, come to: tally.c. */
struct control_tally {
    struct lp_map_node by_who;
    uint32_t vhost_id; /* 0: of a user */
    uint32_t connections;
    uint64_t channels; /* of a user's connections */
    struct lp_bytes user;
};

/* A client's connection, as its shard told it. */
struct control_connection {
    struct lp_map_node by_id;
    struct lp_chain in_control;
    uint64_t id;
    uint32_t shard;
    uint32_t vhost_id; /* 0: not open yet */
    uint32_t channels; /* as its shard said last, and those permitted since */
    bool named;        /* in the hello that is under way */
    struct control_tally *of_user, *of_vhost; /* while it is open */
    struct lp_chain failed;                   /* chains.c: channels with a declare that failed */
    struct lp_bytes user, vhost, protocol, client_properties;
    struct lp_bytes mechanism;
    /* With TLS, else all empty. */
    struct lp_bytes ssl_protocol, ssl_key_exchange, ssl_cipher, ssl_hash;
    struct lp_bytes peer_cert_subject, peer_cert_issuer, peer_cert_validity;
    bool ssl;
    uint8_t local_family, peer_family;
    uint16_t local_port, peer_port;
    uint8_t local_ip[16], peer_ip[16];
    uint16_t heartbeat_s, channel_max;
    uint32_t frame_max;
    uint64_t connected_at_ms;
};

/* `good` is false when the store did not take it, or the process ends. */
typedef void control_done_fn(struct lp_control *control, void *context, bool good);

/* An answer that waits for its revision: to a shard's request, or a call. */
struct control_answer {
    struct lp_chain link;
    uint64_t revision;
    uint32_t shard;
    uint64_t sequence;
    control_done_fn *done; /* NULL: a record for the shard */
    void *context;
    bool changes; /* a client's wish that this turn's changes follow: it can be refused */
    uint32_t payload_bytes;
    uint8_t payload[];
};

/* What came of a deletion; `good` is false when the home shard was not asked to the end. */
struct control_deleted {
    bool good;
    uint8_t verdict; /* enum lp_delete_verdict */
    uint32_t count;
};
typedef void control_deleted_fn(struct lp_control *control, void *context,
                                const struct control_deleted *deleted);

/* A deletion that waits for the queue's home shard. */
struct control_deletion {
    struct lp_map_node by_number;
    struct lp_chain link;
    uint64_t number;
    uint64_t sequence; /* the request's */
    uint32_t shard;    /* the asker's */
    uint32_t home;
    uint32_t queue_id;
    bool if_unused, if_empty;
    bool sent;
    control_deleted_fn *done; /* NULL: a shard's request, to be answered */
    void *context;
};

/* What a home shard said about a purge; `good` is false when it was not asked to the end. */
struct control_purged {
    bool good;
    uint16_t code; /* 0, or LP_FAULT_NOT_FOUND */
    uint32_t count;
};
typedef void control_purged_fn(struct lp_control *control, void *context,
                               const struct control_purged *purged);

/* application.c */
enum control_application_step {
    CONTROL_APPLICATION_RUNNING,
    CONTROL_APPLICATION_CLOSING,
    CONTROL_APPLICATION_PURGING,
    CONTROL_APPLICATION_STOPPED,
};

struct control_application {
    enum control_application_step step;
    struct lp_chain stopping; /* control_answer: who waits for the stop */
    uint32_t *queues;         /* PURGING: whose transient messages go */
    size_t queue_count, queue_next;
    uint32_t purges; /* under way */
};

/* node.c: as it was when it was looked at last. */
struct control_disk {
    bool known;
    bool low; /* the alarm */
    uint64_t free_bytes;
    uint64_t due_ns; /* the next look */
};

/* A listing: one at a time is put to the shards. */
struct control_query {
    struct lp_chain link;
    uint64_t number; /* 0: not sent yet */
    uint16_t type;
    uint64_t timeout_ns; /* 0: CONTROL_QUERY_NS */
    uint64_t deadline_ns;
    uint64_t answered; /* bit per shard */
    void (*row)(struct lp_control *control, void *context, struct lp_reader *row);
    /* `complete` is false when shards did not answer in time. */
    void (*done)(struct lp_control *control, void *context, bool complete);
    void *context;
};

struct lp_control {
    struct lp_control_options options;
    struct lp_control_region *region;
    struct lp_catalog *catalog;
    uint32_t shard_count;
    uint32_t attach; /* number of this attach: generation, and how often we did it */
    uint32_t attach_count;
    uint64_t started_ns;
    uint64_t now_ns;
    uint64_t next_number; /* of checks and queries; unique over restarts */
    uint32_t failures;    /* of the store, in a row */
    bool failed;
    bool stopping;
    bool reload; /* another writer changed the store */
    struct control_shard shards[LP_SHARDS_MAX];
    struct lp_map connections_by_id;
    struct lp_chain connections;
    struct lp_map failed_channels; /* chains.c */
    struct lp_map tallies;
    struct lp_map_key tally_key;
    uint64_t connections_open, channels_open;
    struct lp_chain turn_answers; /* of this turn: nothing is committed yet */
    struct lp_chain answers;      /* committed; revisions ascend */
    struct lp_chain stop_answers; /* wait for the last shard to stop */
    struct lp_map deletions_by_number;
    struct lp_chain deletions;
    struct lp_chain queries;
    struct lp_chain purges;
    struct lp_chain timers;
    struct control_application application;
    struct control_disk disk;
    bool memory_low; /* as it was logged last */
    struct throttle login;
    const char *loopback_names[LP_LOOPBACK_USERS_MAX]; /* in the region */
    const char *const *loopback_users;                 /* those, or the configuration's */
    size_t loopback_user_count;
    uint8_t *scratch; /* records in */
    uint8_t *payload; /* records out */
};

/* ---- control.c ---- */

void control_log(struct lp_control *control, enum lp_control_log_level level, const char *format,
                 ...) __attribute__((format(printf, 3, 4)));
/* ---- outbox.c ---- */

/* Queue a record for a shard. */
void control_send(struct lp_control *control, uint32_t shard, uint16_t type, uint64_t sequence,
                  struct lp_bytes payload);
/* Move what waits to the rings, as far as there is room, and wake who sleeps; false: nothing moved.
 */
bool control_outboxes_flush(struct lp_control *control);
/* A writer over `control->payload`, for the next record. */
struct lp_writer control_writer(struct lp_control *control);
/* Call back when all shards have applied what this turn changes. */
void control_when_applied(struct lp_control *control, control_done_fn *done, void *context);
/* Call back when every shard has stopped. */
void control_when_stopped(struct lp_control *control, control_done_fn *done, void *context);
/* Append a call to a chain of answers. */
void control_call_later(struct lp_chain *answers, control_done_fn *done, void *context);
bool control_shards_ready(const struct lp_control *control);
/* ---- load.c ---- */

/* What a new store holds. */
void control_catalog_seed(struct lp_control *control);
/*
 * The catalog from the store, seeded when that is new.
 *
 * LP_ERR_BAD_CONFIG  it is not about the data directory and its shards; a line of the log says why
 * LP_ERR_IO, LP_ERR_BAD_RECORD, LP_ERR_NO_SPACE, LP_ERR_CONFLICT
 */
LP_MUST_CHECK enum lp_err control_catalog_load(struct lp_control *control);

/* ---- node.c ---- */

uint64_t control_watermark_bytes(const struct lp_control *control);
uint64_t control_disk_limit_bytes(const struct lp_control *control);
/* Do publishers of a shard wait for memory, or would they if it were as low as we were told? */
bool control_memory_is_low(const struct lp_control *control);
bool control_disk_is_low(const struct lp_control *control);
/* Be alarmed whatever there is (`on`), or only by what there is. */
void control_alarm_ask(struct lp_control *control, enum lp_alarm alarm, bool on);
/* 0: no limit. */
void control_channel_max_set(struct lp_control *control, uint32_t channel_max);
/* After a change of region->node. */
void control_watermark_changed(struct lp_control *control);
void control_disk_limit_changed(struct lp_control *control);
/* Back to what is configured. */
void control_node_settings_forget(struct lp_control *control);
void control_node_open_boot(struct lp_control *control);
void control_node_attach(struct lp_control *control, uint32_t shard);
/* Looks at disk and memory when it is time; true: an alarm of the disk came or went. */
bool control_node_step(struct lp_control *control);
uint64_t control_node_due_ns(const struct lp_control *control);

/* ---- application.c ---- */

bool control_application_stopped(const struct lp_control *control);
/* Stop it, if it runs; call back when it is stopped. */
void control_application_stop(struct lp_control *control, control_done_fn *done, void *context);
/* Start it, if it is stopped.  False: it is about to stop. */
LP_MUST_CHECK bool control_application_start(struct lp_control *control);
/* Everything goes, and comes back as in a new store.  False: it is not stopped. */
LP_MUST_CHECK bool control_application_reset(struct lp_control *control);
void control_application_attach(struct lp_control *control);
bool control_application_step(struct lp_control *control);
void control_application_fini(struct lp_control *control);

/* ---- timers.c ---- */

void control_after(struct lp_control *control, uint64_t delay_ns, control_done_fn *done,
                   void *context);
bool control_timers_step(struct lp_control *control);
uint64_t control_timers_due_ns(const struct lp_control *control);
void control_timers_clear(struct lp_control *control);

/* ---- purges.c ---- */

void control_purge(struct lp_control *control, const struct lp_catalog_queue *queue, bool transient,
                   control_purged_fn *done, void *context);
void control_queue_purged(struct lp_control *control, uint32_t shard, uint64_t number,
                          struct lp_reader *fields);
void control_purges_clear(struct lp_control *control);

/* ---- queries.c ---- */

/* A step of the listing that is under way; false: nothing to do. */
bool control_queries_step(struct lp_control *control);
void control_query_add(struct lp_control *control, const struct control_query *like);
/* Call back when every shard has carried out what it was told so far. */
void control_when_heard(struct lp_control *control, control_done_fn *done, void *context);
/* Close one with 320; `text` is cut to 255 bytes. */
void control_connection_close(struct lp_control *control,
                              const struct control_connection *connection, const char *text);
/* Close connections with 320: of a user, of a vhost (0 or empty: any). */
void control_connections_close(struct lp_control *control, struct lp_bytes user, uint32_t vhost_id,
                               const char *text);

/* ---- requests.c: records of shards ---- */

void control_record(struct lp_control *control, uint32_t shard,
                    const struct lp_control_record *record);
/* Answer those of this turn that changed something with a fault; gives how many. */
uint32_t control_changes_refuse(struct lp_control *control, const char *why);
/* Put an answer: code 0 and the fields in `fields`, or a fault. */
void control_answer_put(struct lp_control *control, uint32_t shard, uint64_t sequence,
                        const struct lp_fault *fault, struct lp_bytes fields);

/* ---- connections.c ---- */

/* The fields of OPEN; the vhost's id if `with_id`.  False: malformed. */
LP_MUST_CHECK bool control_connection_put(struct lp_control *control, uint32_t shard,
                                          struct lp_reader *fields, bool with_id,
                                          struct control_connection **ret_connection);
struct control_connection *control_connection(const struct lp_control *control, uint64_t id);
/* With its exclusive queues. */
void control_connection_gone(struct lp_control *control, uint64_t id);
void control_connection_free(struct lp_control *control, struct control_connection *connection);
/* ---- chains.c ---- */

/* The connection goes. */
void control_chains_forget(struct lp_control *control, struct control_connection *connection);

/* ---- tally.c ---- */

/* It may be used from now on: it counts. */
void control_connection_opened(struct lp_control *control, struct control_connection *connection,
                               uint32_t vhost_id);
/* It goes; fine for one that does not count. */
void control_connection_uncount(struct lp_control *control, struct control_connection *connection);
void control_channels_set(struct lp_control *control, struct control_connection *connection,
                          uint32_t channels);
/* C20: may it open?  It does not count yet. */
bool control_open_permitted(const struct lp_control *control,
                            const struct control_connection *connection,
                            struct lp_fault *ret_fault);
/* C20: one channel more? */
bool control_channel_permitted(const struct lp_control *control,
                               const struct control_connection *connection,
                               struct lp_fault *ret_fault);
/* Asserts that counts are what the table says. */
void control_tallies_check(const struct lp_control *control);

void control_hello_begin(struct lp_control *control, uint32_t shard);
void control_hello_end(struct lp_control *control, uint32_t shard);

/* ---- loopback.c ---- */

void control_loopback_open_boot(struct lp_control *control);
/* These may log in from this machine only, until the broker ends; false: they are too many, or too
 * long. */
LP_MUST_CHECK bool control_loopback_set(struct lp_control *control, const struct lp_bytes *names,
                                        size_t count);

/* ---- deletions.c ---- */

void control_deletion_add(struct lp_control *control, const struct control_deletion *like);
/* After a commit: ask home shards, as many as they may be asked. */
void control_deletions_send(struct lp_control *control);
void control_deletion_checked(struct lp_control *control, uint32_t shard, uint64_t number,
                              struct lp_reader *fields);
void control_deletions_clear(struct lp_control *control);
