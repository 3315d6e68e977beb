/* SPDX-License-Identifier: Apache-2.0 */
/*
 * amqp091.h - what the files of this folder share: connections, channels,
 * consumers, and who calls whom.
 *
 *   Memory    connection state is the connection layer's; channels come from
 *             the shard's pool, everything else from its lp_memory
 *   Runs on   owner core
 *   Limits    AMQP091_PARKED_BYTES_MAX of parked input a connection
 *   Overload  parked input above it stops reading; see channel_park.c
 *   Read      README.md
 *
 * Invariants:
 *  1. a channel is on its connection's list until it is freed, and in its
 *     index exactly while `indexed`;
 *  2. `waiting` is not NONE exactly while an operation is parked;
 *  3. frames of an open channel run only while nothing is parked before them.
 */
#pragma once

#include <lepus/fault.h>
#include <lepus/protocol.h>

#include "dataplane/base/hash.h"
#include "dataplane/broker/broker.h"
#include "dataplane/broker/connection.h"
#include "dataplane/broker/session.h"
#include "dataplane/protocol/amqp091/conn_fsm.h"
#include "dataplane/protocol/amqp091/fault_text.h"
#include "dataplane/protocol/amqp091/frame.h"
#include "dataplane/protocol/amqp091/method.h"
#include "dataplane/protocol/amqp091/out.h"

#define AMQP091_FRAME_MIN_BYTES     4096u /* until tune-ok, and the least to be agreed on */
#define AMQP091_PARKED_BYTES_MAX    (1024u * 1024u) /* a connection */
#define AMQP091_FRAMES_PER_INPUT    4096u
#define AMQP091_BYTES_PER_INPUT     (128u * 1024u)
#define AMQP091_SILENT_CLOSE_NS     3000000000u
#define AMQP091_CLOSE_OK_WAIT_NS    30000000000u
#define AMQP091_DRAIN_WAIT_NS       60000000000u /* more than the control process's time-out */
#define AMQP091_RETRY_NS            5000000u     /* until memory or the link is asked again */
#define AMQP091_UNTOLD              UINT32_MAX   /* it may count otherwise: tell it in any case */
#define AMQP091_PENDING_SMALL_BYTES 32u          /* a settle is 13 bytes: it parks without memory */
#define AMQP091_NAMES_BYTES         510u         /* of two short strings */
#define AMQP091_AHEAD_MAX           128u /* requests of a channel that wait for answers at once */

extern const struct lp_protocol lp_protocol_amqp091;

/* What became of a frame or a method. */
enum amqp091_flow {
    AMQP091_NEXT,  /* dealt with (perhaps by a fault) */
    AMQP091_PARK,  /* the channel waits: `waiting` says for what */
    AMQP091_STALL, /* nothing was done, there is no memory: the input stays where it is */
};

struct amqp091_shard {
    struct lp_broker *broker;
    struct lp_pool channels;
    struct lp_pool aheads;    /* ahead.c's own */
    struct lp_hash consumers; /* amqp091_consumer.by_tag, by {connection, channel, tag} */
    uint32_t connections;
    uint32_t callback_depth; /* > 0: the session layer is below us on the stack */
    uint8_t *scratch;        /* LP_CONTROL_PAYLOAD_MAX_BYTES, for one request at a time */
};

struct amqp091_channel;

struct amqp091_connection {
    struct lp_connection *base;
    struct amqp091_shard *shard;
    struct amqp091_parser parser;
    uint8_t state;     /* enum amqp091_conn_state */
    uint8_t mechanism; /* enum lp_mechanism: how it logged in */
    bool dead;         /* a write failed: the connection is being dropped */
    bool gone;         /* gone() was called */
    bool login_sent;   /* the control process knows of us */
    bool closed_sent;  /* ... and was told that we go */
    bool closed_done;
    bool close_ok_seen;
    bool deaf;           /* after a framing fault: the stream cannot be read on */
    bool can_auth_close; /* client capabilities */
    bool can_cancel_notify;
    bool can_blocked;
    bool has_exclusive; /* it has declared exclusive queues */
    bool stalled;
    bool recheck_asks; /* a question about consumers' rights is under way */
    uint16_t channel_max;
    uint16_t heartbeat_s;
    uint32_t frame_max;
    uint32_t index_count;
    uint32_t channels_opening;      /* of them: amqp091_channel.opening */
    uint32_t channels_told;         /* to the control process, or AMQP091_UNTOLD */
    uint32_t index_room;            /* a power of two, or 0 */
    struct amqp091_channel **index; /* open addressing by channel number */
    struct lp_list channels;        /* amqp091_channel.in_connection */
    struct lp_list replay;          /* amqp091_channel.in_replay: parked frames may run */
    uint16_t closed_number; /* of the channel that was closed last, by the peer, at closed_ns */
    uint64_t closed_ns;
    uint64_t parked_bytes;
    struct amqp091_kept_close *kept_close; /* connection_close.c's own; NULL: none */
    struct lp_list rechecks;               /* amqp091_consumer.in_recheck */
    struct amqp091_consumer *rechecked;    /* the one that is asked about; NULL: none, or gone */
    struct lp_timer timer;                 /* for the earliest of these; 0: none */
    uint64_t deadline_ns;                  /* of the state */
    uint64_t beat_send_ns;
    uint64_t beat_check_ns;
    uint64_t heard_ns; /* silence counts from here: later than received_ns after a pause of ours */
    uint64_t retry_ns;
    uint64_t work_ns;
    uint64_t opened_ms;
    uint8_t *client_properties; /* from start-ok until open */
    uint32_t client_properties_bytes;
    uint32_t hello_bytes;
    uint8_t *hello; /* the payload of OPEN, for a new control process */
    uint8_t *user;  /* user_bytes of it */
    uint8_t user_bytes;
};

enum amqp091_channel_state {
    AMQP091_CH_OPEN,
    AMQP091_CH_CLOSING,        /* we closed it: nothing counts but close and close-ok */
    AMQP091_CH_CLOSED_BY_PEER, /* close-ok follows when the session has given everything back */
    AMQP091_CH_LEAVING,        /* off the index: only the session is still there */
};

enum amqp091_content {
    AMQP091_CONTENT_METHOD, /* a method is expected */
    AMQP091_CONTENT_HEADER,
    AMQP091_CONTENT_BODY,
};

enum amqp091_waiting {
    AMQP091_WAIT_NONE,
    AMQP091_WAIT_ROOM,    /* for ops->room, then run it again */
    AMQP091_WAIT_CONTROL, /* for the control process */
    AMQP091_WAIT_SESSION, /* for another callback of the session */
};

/* What the properties of a content say about how it ends. */
enum amqp091_content_flag {
    AMQP091_CONTENT_TOO_LARGE = 1,
    AMQP091_CONTENT_BAD_EXPIRATION = 2,
    AMQP091_CONTENT_BAD_COPIES = 4, /* CC or BCC: copies.h */
    AMQP091_CONTENT_NO_ASKER = 8,   /* it wants an answer, and the channel does not wait for any */
    AMQP091_CONTENT_OTHER_USER = 16,
    AMQP091_CONTENT_MANDATORY = 32,
    AMQP091_CONTENT_IMMEDIATE = 64,
    AMQP091_CONTENT_TRANSACTION = 128, /* it waits for a commit */
};

struct amqp091_parked; /* channel_park.c's own */
struct amqp091_ahead;  /* ahead.c's own */

/* What the channel's last plain publish had, which the next one often has as well (whole.c). */
struct amqp091_known {
    struct lp_exchange *exchange; /* it may be published to, in both epochs; NULL: none yet */
    uint64_t topology_epoch;
    uint32_t permission_epoch;
    uint8_t exchange_bytes;
    uint8_t properties_bytes; /* 0: none yet */
    uint8_t delivery_mode;
    uint8_t priority;
    uint8_t exchange_name[48];
    uint8_t properties[48];
};

struct amqp091_channel {
    struct lp_list in_connection;
    struct lp_list in_replay;
    struct amqp091_connection *connection;
    struct lp_session *session; /* NULL once closed */
    lp_handle self;
    uint16_t number;
    uint16_t prefetch; /* of consumers started from now on */
    uint8_t state;     /* enum amqp091_channel_state */
    uint8_t content;   /* enum amqp091_content */
    uint8_t waiting;   /* enum amqp091_waiting */
    uint8_t stage;     /* the parked operation's own */
    bool indexed;
    bool session_closing; /* lp_session_close() was called */
    bool confirming;
    bool permitted;    /* what `asked_right` stands for was given, at permitted_epoch */
    bool opening;      /* the control process is asked whether there may be one more */
    bool discarding;   /* contents that come are counted off, and are nobody's */
    bool publishing;   /* the parked operation is the publish of `message` */
    bool message_lent; /* the session holds `message` until its publish is done */
    uint8_t content_flags;
    uint8_t content_always; /* flags of every content of this channel */
    uint8_t last_queue_bytes;
    uint32_t permitted_epoch;
    uint32_t keys_permitted; /* of the content's routing keys, so many */
    uint64_t asked_right;    /* lp_access_hash() and the like */
    uint32_t queue_id;       /* of a declare on its way */
    uint8_t *last_queue;     /* the queue declared last; NULL: none */
    /* The parked method, as it came. */
    uint8_t *pending;
    uint32_t pending_bytes;
    uint8_t pending_small[AMQP091_PENDING_SMALL_BYTES];
    struct amqp091_parked *parked_head;
    struct amqp091_parked *parked_tail;
    /* Between the two: methods that the control process was asked about ahead of their turn. */
    struct lp_list aheads;             /* amqp091_ahead.in_channel */
    struct amqp091_ahead *ahead_front; /* it is the parked method now; NULL: that was not ahead */
    uint32_t ahead_count;              /* of `aheads` */
    uint32_t consumer_count;           /* of `consumers` and `notices` */
    struct lp_list consumers;          /* amqp091_consumer.in_channel */
    struct amqp091_consumer *reply;    /* waits for answers (C160); NULL: nobody does */
    struct lp_list notices; /* cancelled by a queue.delete of ours: told after delete-ok */
    /* The content on its way in. */
    struct lp_message *message;
    lp_handle message_handle;
    uint64_t body_bytes;
    uint64_t body_left;
    uint32_t headers_offset; /* in the raw properties */
    uint32_t headers_bytes;
    struct amqp091_known known;
    uint8_t exchange_bytes;
    uint8_t key_bytes;
    uint8_t *names; /* exchange, then key, until the content's header is there; NULL: never yet */
};

struct amqp091_consumer {
    struct lp_hash_node by_tag;
    struct lp_list in_channel;
    struct lp_list in_recheck; /* amqp091_connection.rechecks */
    struct amqp091_channel *channel;
    struct lp_consumer *consumer;
    bool revoked; /* cancelled by us: its user may not read the queue any more */
    bool reply;   /* the channel's reply consumer: not by tag, whose like another may have */
    bool exclusive;
    uint8_t tag_bytes;
    uint16_t prefetch;
    uint16_t arguments_bytes;
    uint8_t tag[]; /* and behind it arguments, for listings */
};
/* Longer arguments of consumers are not kept: nothing but listings shows them. */
#define AMQP091_ARGUMENTS_KEPT_MAX 4096u

/* Channels; those that still ask whether they may be are none yet. */
static inline uint32_t
amqp091_channels_open(const struct amqp091_connection *connection)
{
    return connection->index_count - connection->channels_opening;
}

/* Do its operations go on?  A peer that closes has what it sent before done first. */
static inline bool
amqp091_channel_runs(const struct amqp091_channel *channel)
{
    const uint8_t state = channel->connection->state;
    return channel->state == AMQP091_CH_OPEN &&
           (state == AMQP091_CONN_OPEN || state == AMQP091_CONN_DRAINING) &&
           !channel->connection->gone;
}

/* ---- amqp091.c ---- */

/* Whatever was put off must run soon, outside of any callback. */
void amqp091_connection_schedule(struct amqp091_connection *connection);
/* Offer input again: parked frames may run, or reading may go on. */
void amqp091_connection_wake(struct amqp091_connection *connection);
/* Stop reading; try again in a while. */
void amqp091_connection_stall(struct amqp091_connection *connection);

/* ---- heartbeat.c: the connection's timer ---- */

void amqp091_timer_update(struct amqp091_connection *connection);
void amqp091_timer_deadline(struct amqp091_connection *connection, uint64_t after_ns);
void amqp091_heartbeat_start(struct amqp091_connection *connection);

/* ---- connection_open.c ---- */

/* A protocol header of 8 bytes. */
void amqp091_connection_header(struct amqp091_connection *connection, struct lp_bytes header);
/* start-ok, tune-ok and open: their actions. */
enum amqp091_flow amqp091_connection_login(struct amqp091_connection *connection,
                                           const struct amqp091_method *method);
void amqp091_connection_tune(struct amqp091_connection *connection,
                             const struct amqp091_method *method);
enum amqp091_flow amqp091_connection_open_vhost(struct amqp091_connection *connection,
                                                const struct amqp091_method *method);

/* ---- secret.c ---- */

enum amqp091_flow amqp091_connection_update_secret(struct amqp091_connection *connection,
                                                   const struct amqp091_method *method);
/* Go on looking at consumers whose rights may be gone. */
void amqp091_recheck_step(struct amqp091_connection *connection);
/* The consumer is about to be freed. */
void amqp091_recheck_forget(struct amqp091_consumer *consumer);

/* ---- connection_close.c ---- */

/* Something happened that only the state decides on. */
void amqp091_connection_event(struct amqp091_connection *connection, enum amqp091_conn_event event);
/* Close the connection with a fault (0: no method is to blame). */
void amqp091_connection_fault(struct amqp091_connection *connection, const struct lp_fault *fault,
                              uint32_t method_id);
/* Frames that cannot be taken: C28, C31, C32. */
void amqp091_frame_fault(struct amqp091_connection *connection, enum amqp091_frame_result result,
                         const struct amqp091_frame *frame);
void amqp091_frame_unknown(struct amqp091_connection *connection,
                           const struct amqp091_frame *frame);
void amqp091_frame_unexpected(struct amqp091_connection *connection,
                              const struct amqp091_frame *frame);
/* A method that does not decode. */
void amqp091_decode_fault(struct amqp091_connection *connection, enum amqp091_decode why,
                          const struct amqp091_method *method, const struct amqp091_frame *frame);
/* A frame on channel 0. */
enum amqp091_flow amqp091_connection_frame(struct amqp091_connection *connection,
                                           const struct amqp091_frame *frame);
/* Channels close, the control process is told, the stream closes: as far as it goes now.
 * False: the connection was released. */
bool amqp091_connection_progress(struct amqp091_connection *connection);

/* ---- control.c: asking the control process ---- */

/* A payload in the shard's scratch that begins with the connection's id. */
struct lp_writer amqp091_control_begin(struct amqp091_connection *connection);
void amqp091_control_address(struct lp_writer *writer, const struct lp_address *address);
/* Ask for a channel; PARK: asked, or there was no room and it will be run again. */
enum amqp091_flow amqp091_control_ask(struct amqp091_channel *channel, uint16_t type,
                                      const struct lp_writer *writer, lp_link_reply_fn *reply);
/* Who has what it asked for; NULL: nobody waits any more, or it is refused, which is the channel's
 * fault now. */
struct amqp091_channel *amqp091_control_granted(void *context, lp_handle owner,
                                                const struct lp_link_reply *reply);
/* NEXT: allowed; PARK: asked. */
enum amqp091_flow amqp091_permit(struct amqp091_channel *channel, enum lp_permission permission,
                                 enum lp_resource resource, struct lp_bytes name);
/* The fields that end the replies of OPEN and RIGHTS; false: malformed. */
bool amqp091_rights_take(struct amqp091_connection *connection, struct lp_reader *reader);
/* The same for rights beyond patterns (enum lp_rights): after NEXT they are of this epoch. */
enum amqp091_flow amqp091_rights(struct amqp091_channel *channel);
/* The same for writing with this routing key to a topic exchange (C85). */
enum amqp091_flow amqp091_permit_topic(struct amqp091_channel *channel, struct lp_bytes exchange,
                                       struct lp_bytes routing_key);
/* The same for one channel more (C20). */
enum amqp091_flow amqp091_permit_channel(struct amqp091_channel *channel);
/* Tell the control process how many channels there are, if it does not know; false: later. */
bool amqp091_channels_tell(struct amqp091_connection *connection);

/* ---- channel.c ---- */

struct amqp091_channel *amqp091_channel_find(const struct amqp091_connection *connection,
                                             uint16_t number);
/* channel.open of a channel that was asked for: answered when it is permitted. */
enum amqp091_flow amqp091_channel_open_run(struct amqp091_channel *channel);
/* A frame for a channel of a running connection. */
enum amqp091_flow amqp091_channel_dispatch(struct amqp091_connection *connection,
                                           const struct amqp091_frame *frame);
/* A frame for this channel, in its turn. */
enum amqp091_flow amqp091_channel_take(struct amqp091_channel *channel,
                                       const struct amqp091_frame *frame);
/* Give the session back, now or as soon as no callback is below us. */
void amqp091_channel_shut(struct amqp091_channel *channel);
/* Close the channel, or the connection, with a fault.  Always NEXT. */
enum amqp091_flow amqp091_channel_fault(struct amqp091_channel *channel,
                                        const struct lp_fault *fault, uint32_t method_id);
/* The same for a frame that breaks a content off, also on a channel that we closed. */
enum amqp091_flow amqp091_content_fault(struct amqp091_channel *channel,
                                        const struct lp_fault *fault, uint32_t method_id);
/* The same with a plain text. */
enum amqp091_flow amqp091_channel_fault_text(struct amqp091_channel *channel, uint16_t code,
                                             const char *text, uint32_t method_id);
void amqp091_channel_free(struct amqp091_channel *channel);
/* The session is closed and about to be freed. */
void amqp091_channel_session_closed(struct amqp091_channel *channel);
struct lp_bytes amqp091_vhost_name(const struct amqp091_connection *connection);
/* The method that is parked, or AMQP091_METHOD_NONE. */
uint32_t amqp091_channel_pending_id(const struct amqp091_channel *channel);

/* ---- channel_park.c ---- */

/* Keep a frame for later.  STALL: no room. */
enum amqp091_flow amqp091_channel_park_frame(struct amqp091_channel *channel,
                                             const struct amqp091_frame *frame);
/* Keep a copy of the method that may be parked.  False: no memory. */
bool amqp091_channel_keep_method(struct amqp091_channel *channel, struct lp_bytes payload);
/* The parked operation is over (answered, or failed): what is behind it may run. */
void amqp091_channel_unpark(struct amqp091_channel *channel);
/* Run the parked operation again. */
void amqp091_channel_continue(struct amqp091_channel *channel);
/* Run parked frames; true: none is left that may run.  False: out of budget, or stalled. */
bool amqp091_replay(struct amqp091_connection *connection, uint32_t *budget);
void amqp091_channel_parked_free(struct amqp091_channel *channel);

/* Ask ahead about parked methods, as far as that goes. */
void amqp091_parked_ask_ahead(struct amqp091_channel *channel);

/* ---- ahead.c: declares and binds of a channel that waits for another's answer ---- */

/* Ask about the method of a frame that comes behind what is under way.  False: it is to be parked.
 */
bool amqp091_ahead_ask(struct amqp091_channel *channel, const struct amqp091_frame *frame);
/* The parked method is done: the next one that was asked about takes its place.  False: none. */
bool amqp091_ahead_next(struct amqp091_channel *channel);
/* Take the answer that has come for the parked method.  False: there is none. */
bool amqp091_ahead_step(struct amqp091_channel *channel);
/* Nobody wants their answers any more. */
void amqp091_ahead_drop(struct amqp091_channel *channel);

/* ---- methods: method_table.c says which is which ---- */

typedef enum amqp091_flow amqp091_method_fn(struct amqp091_channel *channel,
                                            const struct amqp091_method *method);
/* Run a decoded method of an open channel. */
enum amqp091_flow amqp091_method_run(struct amqp091_channel *channel,
                                     const struct amqp091_method *method);
/* May it be parked (then a copy of it is kept first)? */
bool amqp091_method_may_park(uint32_t method_id);

amqp091_method_fn amqp091_basic_publish, amqp091_basic_consume, amqp091_basic_cancel,
    amqp091_basic_get, amqp091_basic_qos, amqp091_basic_ack, amqp091_basic_nack,
    amqp091_basic_reject, amqp091_basic_recover, amqp091_basic_recover_async,
    amqp091_confirm_select, amqp091_exchange_declare, amqp091_exchange_delete,
    amqp091_exchange_bind, amqp091_queue_declare, amqp091_queue_delete, amqp091_queue_purge,
    amqp091_queue_bind, amqp091_tx_select, amqp091_tx_commit, amqp091_tx_rollback;

/* ---- tx.c ---- */

void amqp091_committed(struct amqp091_channel *channel, bool partial);
/* A frame of a waiting channel: true when it is a method in the middle of a commit, and the
 * connection closes for it (C111). */
bool amqp091_tx_disturbed(struct amqp091_channel *channel, const struct amqp091_frame *frame);
/* Is there too much already that waits for commits? */
bool amqp091_tx_too_large(const struct amqp091_channel *channel, struct lp_fault *ret_fault);

/* ---- publish.c ---- */

enum amqp091_flow amqp091_publish_header(struct amqp091_channel *channel,
                                         const struct amqp091_frame *frame);
enum amqp091_flow amqp091_publish_body(struct amqp091_channel *channel,
                                       const struct amqp091_frame *frame);
/* The content is complete, or its parked publish goes on. */
enum amqp091_flow amqp091_publish_run(struct amqp091_channel *channel);
/* What a session answered to the publish of channel->message. */
enum amqp091_flow amqp091_publish_result(struct amqp091_channel *channel,
                                         struct lp_publish *publish, enum lp_result result);
void amqp091_publish_discard(struct amqp091_channel *channel);

/* ---- deliver.c ---- */

extern const struct lp_session_ops amqp091_session_ops;
/* basic.return of a message. */
void amqp091_return_send(struct amqp091_channel *channel, const struct lp_message *message);

/* ---- consume.c ---- */

void amqp091_consumed(struct amqp091_channel *channel, struct amqp091_consumer *consumer,
                      uint16_t code);
void amqp091_cancelled(struct amqp091_channel *channel, struct amqp091_consumer *consumer);
void amqp091_consumer_gone(struct amqp091_channel *channel, struct amqp091_consumer *consumer);
void amqp091_consumer_describe(const void *user, struct lp_consumer_row *ret_row);
/* Tell of consumers whose queue we deleted ourselves. */
void amqp091_notices_send(struct amqp091_channel *channel);
void amqp091_consumers_free(struct amqp091_channel *channel);
/* get, stat or purge failed with a code of the queue's. */
void amqp091_queue_fault(struct amqp091_channel *channel, uint16_t code, struct lp_bytes name,
                         uint32_t method_id);
/* The queue that a consume, get or purge means.  False: a fault was raised. */
bool amqp091_queue_find(struct amqp091_channel *channel, struct lp_bytes name, uint32_t method_id,
                        struct lp_queue_ref **ret_queue);
/* The queue that a method names, when it may be read; NULL: answered, or asked (`ret_flow` says
 * which). */
struct lp_queue_ref *amqp091_queue_readable(struct amqp091_channel *channel,
                                            const struct amqp091_method *method,
                                            enum amqp091_flow *ret_flow);
/* `name`, or the last declared queue when it is empty.  False: a fault was raised. */
bool amqp091_queue_name(struct amqp091_channel *channel, struct lp_bytes name, uint32_t method_id,
                        struct lp_bytes *ret_name);

/* ---- declare.c ---- */

/* `prefix` and 22 characters that nobody can guess. */
#define AMQP091_RANDOM_NAME_BYTES 22u
void amqp091_random_name(struct lp_broker *broker, uint8_t ret_name[AMQP091_RANDOM_NAME_BYTES]);
#define AMQP091_NAME_BYTES_MAX 255u
/* The name without CR and LF, in `room` when it had any. */
struct lp_bytes amqp091_name_clean(struct lp_bytes name, uint8_t room[AMQP091_NAME_BYTES_MAX]);
/* stat or purge answered for the parked method. */
void amqp091_counts(struct amqp091_channel *channel, uint16_t code, uint64_t ready,
                    uint64_t consumers);
