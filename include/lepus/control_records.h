/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_records.h - what a shard and the control process say to each other.
 *
 * Every record's payload is the fields listed at its type, in that order,
 * little-endian: `str` is lp_writer_short (octet of length), `blob` is
 * lp_writer_long_le (32-bit length), `bool` is one octet 0 or 1, `addr` is
 * family u8, port u16, 16 octets of ip.  Fields may be added at the end in
 * later versions: a reader ignores what follows the fields it knows, and
 * fails a record that is shorter than them.
 *
 * `sequence` of a request is its number: unique in the shard for as long as
 * the data plane runs; the REPLY carries the same.  A shard keeps a request
 * until it is answered and sends it again after ATTACH (the control process
 * was restarted); every request is therefore idempotent, and two answers to
 * one number are one too many: the second is dropped by the shard.
 *
 * Order.  Rings are FIFO.  A REPLY that says "declared" is pushed only after
 * every shard has answered APPLIED for the revision that holds the change, so
 * the requester's shard has it and so has everyone else's.
 *
 * Chains.  EXCHANGE_DECLARE, QUEUE_DECLARE, BIND and UNBIND of one channel may
 * be asked before the one before is answered; they are then marked `follows`.
 * They are done and answered in order.  After one that failed, those that
 * follow it are not done: their answer is a fault that the shard need not hear.
 *
 * Identifiers (vhost, exchange, queue: u32; connection: u64) are given by the
 * control process (connections: by the shard: shard index << 48 | counter),
 * are never 0, are never used twice while the data plane runs, and survive a
 * restart of the control process.  Those of durable objects are never used
 * twice at all: a log may know them.  LP_ID_TRANSIENT tells which they are.
 *
 * Argument tables are AMQP 0-9-1 field tables without their length prefix, as
 * the client sent them (RabbitMQ's dialect, field_table.h).
 */
#pragma once

#include <lepus/base.h>

/* In the ids of exchanges and queues that are not durable, and of no others: no log knows one.  The
 * highest bit is the shards' own. */
#define LP_ID_TRANSIENT 0x40000000u

/* Flags of exchanges and queues, as records carry them (u8). */
enum lp_object_flag {
    LP_OBJECT_DURABLE = 1,
    LP_OBJECT_AUTO_DELETE = 2,
    LP_OBJECT_EXCLUSIVE = 4, /* queues */
    LP_OBJECT_INTERNAL = 8,  /* exchanges */
    LP_OBJECT_PASSIVE = 16,  /* declare requests only */
    LP_OBJECT_SERVER_NAMED =
        32, /* declare requests only: the shard made the name up (amq.gen-...) */
};

/* Exchange types (u8); LP_EXCHANGE_TYPE_UNKNOWN only in requests, with the name beside it. */
enum lp_exchange_kind {
    LP_EXCHANGE_DIRECT = 0, /* the default exchange is a direct one named "" */
    LP_EXCHANGE_FANOUT = 1,
    LP_EXCHANGE_TOPIC = 2,
    LP_EXCHANGE_HEADERS = 3,
    LP_EXCHANGE_DELAYED = 4, /* x-delayed-message: its argument x-delayed-type names one of these */
    LP_EXCHANGE_LOCAL_RANDOM = 5,
    LP_EXCHANGE_KINDS,
};

/* Which right (u8 bit). */
enum lp_permission {
    LP_PERMISSION_CONFIGURE = 1,
    LP_PERMISSION_WRITE = 2,
    LP_PERMISSION_READ = 4,
};

/* What a right or a binding's end is about (u8). */
enum lp_resource {
    LP_RESOURCE_EXCHANGE = 0,
    LP_RESOURCE_QUEUE = 1,
};

/* Room for the longest HELLO_CONNECTION: client properties fitted a frame of 4096 bytes, names and
 * addresses are short, and of names in certificates come LP_CONTROL_DN_BYTES_MAX at most. */
#define LP_CONTROL_DN_BYTES_MAX    512u
#define LP_CONTROL_HELLO_BYTES_MAX 8192u

enum lp_control_type {
    /* ---- shard to control: requests, answered by LP_CONTROL_REPLY with the same sequence ---- */

    /* connection u64, mechanism str ("PLAIN", "AMQPLAIN", "EXTERNAL", "ANONYMOUS"), user str,
     * password blob, peer addr, loopback bool.  Reply: user_name str.  Fault 403: refused, text for
     * the client. EXTERNAL: the transport vouches for the user; none, and `password` says for the
     * log why. */
    LP_CONTROL_LOGIN = 1,
    /* connection u64, vhost str, protocol str, local addr, peer addr, client_properties blob,
     * heartbeat_s u16, frame_max u32, channel_max u16, connected_at_ms u64, user str,
     * mechanism str, tls bool, and with TLS: protocol str, key_exchange str, cipher str, hash str,
     * certificate's subject blob, issuer blob, validity str.
     * Reply: vhost_id u32, then the fields of RIGHTS' reply.  Fault 530: no such vhost, no access,
     * or a limit is reached (C18, C19, C20). */
    LP_CONTROL_OPEN = 2,
    /* connection u64.  The connection is gone: its exclusive queues are deleted everywhere before
     * the (empty) reply.  Also for connections that never got to OPEN. */
    LP_CONTROL_CLOSED = 3,
    /* connection u64, permission u8, resource u8, name str.  Reply: epoch u32.  Fault 403 (C84). */
    LP_CONTROL_PERMIT = 4,
    /* connection u64, vhost_id u32, name str, kind_name str, flags u8, arguments blob, channel u16,
     * follows bool (see "Chains").  Reply: exchange_id u32. */
    LP_CONTROL_EXCHANGE_DECLARE = 5,
    /* connection u64, vhost_id u32, name str, if_unused bool.  Reply: empty. */
    LP_CONTROL_EXCHANGE_DELETE = 6,
    /* connection u64, vhost_id u32, name str, flags u8, arguments blob, home_shard u16 (where the
     * declarer lives; the control process may choose otherwise), channel u16, follows bool.
     * Reply: queue_id u32, created bool. */
    LP_CONTROL_QUEUE_DECLARE = 7,
    /* connection u64, vhost_id u32, name str, if_unused bool, if_empty bool.
     * Reply: message_count u32. */
    LP_CONTROL_QUEUE_DELETE = 8,
    /* connection u64, vhost_id u32, source str, destination_resource u8, destination str, key str,
     * arguments blob, channel u16, follows bool.  Reply: empty. */
    LP_CONTROL_BIND = 9,
    LP_CONTROL_UNBIND = 10,
    /* queue_id u32.  An auto-delete queue lost its last consumer.  Reply: empty, after the delete
     * was applied everywhere; a queue that is gone already is fine. */
    LP_CONTROL_QUEUE_UNUSED = 11,
    /* connection u64, user str, password blob: connection.update-secret.  Reply: empty. */
    LP_CONTROL_UPDATE_SECRET = 12,
    /* queue_id u32.  x-expires ran out.  Reply: empty, after the delete was applied everywhere (a
     * queue that is gone already is fine), or a fault: it stays. */
    LP_CONTROL_QUEUE_EXPIRED = 13,
    /* connection u64, channel u16.  Asked only with LP_RIGHTS_CHANNELS_LIMITED.  Reply: empty.
     * Fault 530: the user may not open one more (C20). */
    LP_CONTROL_CHANNEL_OPEN = 14,
    /* connection u64, permission u8, exchange str, key str.  Asked only with LP_RIGHTS_TOPICS, for
     * topic exchanges: write when publishing, read when binding.  Reply: epoch u32.  Fault 403
     * (C85). */
    LP_CONTROL_PERMIT_TOPIC = 15,
    /* connection u64.  What it may do, anew: its epoch is old.  Reply: unrestricted u8 (permission
     * bits whose pattern admits every name), epoch u32, rights u8 (enum lp_rights). */
    LP_CONTROL_RIGHTS = 16,

    /* ---- shard to control: news, not answered ---- */

    /* generation u32.  The shard saw ATTACH; its connections follow as HELLO_CONNECTION, then
     * HELLO_END; then it sends its pending requests again. */
    LP_CONTROL_HELLO = 32,
    /* the fields of OPEN, and vhost_id u32 at the end (0: not open yet). */
    LP_CONTROL_HELLO_CONNECTION = 33,
    LP_CONTROL_HELLO_END = 34,
    /* sequence = revision up to which every delta has been applied; payload empty. */
    LP_CONTROL_APPLIED = 35,
    /* sequence = the check's number; verdict u8 (enum lp_delete_verdict), message_count u32. */
    LP_CONTROL_DELETE_CHECKED = 36,
    /* sequence = query; queue_id u32, ready u64, unacked u64, consumers u32, bytes u64, state u8 0,
     * unacked_bytes u64, persistent u64 (messages), sole_shard u16, sole u64: the single active or
     * the exclusive consumer's handle on its shard (0: none), persistent_bytes u64, paged_out u64,
     * paged_out_bytes u64. */
    LP_CONTROL_ROW_QUEUE = 37,
    /* sequence = query; connection u64, channels u16, received_bytes u64, sent_bytes u64,
     * state u8 (enum lp_connection_state). */
    LP_CONTROL_ROW_CONNECTION = 38,
    /* sequence = query: this shard has no more rows. */
    LP_CONTROL_ROWS_END = 39,
    /* every connection is closed after STOP; connections_closed u32, messages_held u64. */
    LP_CONTROL_STOPPED = 40,
    /* listener addresses, once after boot and after each ATTACH: count u16, then addr each
     * (UNIX: family 1 and the path as str after the 16 octets), protocol str each. */
    LP_CONTROL_LISTENERS = 41,
    /* level u8 (0 debug .. 3 error), text blob: a line for the broker's log. */
    LP_CONTROL_LOG = 42,
    /* connection u64, channels u16: how many it has open now; at most once a turn, when that
     * changed, and after HELLO_CONNECTION. */
    LP_CONTROL_CHANNELS = 43,
    /* sequence = the order's number; code u16 (0: done), count u32. */
    LP_CONTROL_QUEUE_PURGED = 44,
    /* sequence = query; connection u64, number u16, consumers u32, unacked u64, unconfirmed u64,
     * uncommitted_messages u64, uncommitted_acks u64, prefetch u32, prefetch_shared u32,
     * transactional bool, confirming bool, state u8 0. */
    LP_CONTROL_ROW_CHANNEL = 45,
    /* sequence = query; queue_id u32, connection u64, channel u16, tag str, ack_required bool,
     * prefetch u32, exclusive bool, arguments blob, handle u64 (see ROW_QUEUE's sole). */
    LP_CONTROL_ROW_CONSUMER = 46,
    /* sequence = query; queue_id u32, latency u8 (enum lp_latency), first bool, measured u64,
     * missed u64, count u64, sum_ns u64, min_ns u64, max_ns u64, buckets u16, then bucket u16 and
     * count u64 each.  One for each queue that has stamps and each latency, and more where its
     * buckets do not fit one; what can be added up is to be added up, over all of them and all
     * shards.  `first`: of this queue from this shard. */
    LP_CONTROL_ROW_LATENCY = 47,
    /* segment u32, offset u64, err u8 (enum lp_err), what str (a sentence without names and
     * numbers).  The shard's log is fenced: what was not durable by then never is.  When it
     * happens, and after each HELLO_END. */
    LP_CONTROL_LOG_FENCED = 48,

    /* ---- control to shard ---- */

    /* generation u32, revision u64, permission_epoch u32: a control process starts to speak.
       SYNC_BEGIN follows. */
    LP_CONTROL_ATTACH = 64,
    /* sequence = revision.  Everything that exists follows as *_UP; what the shard holds and is not
     * named again before SYNC_END is gone. */
    LP_CONTROL_SYNC_BEGIN = 65,
    LP_CONTROL_SYNC_END = 66,
    /* vhost_id u32, name str, tracing bool.  Here and in the other *_UP: named again, an object
     * takes what may change with it (tracing, alternate, settings), and is otherwise left alone. */
    LP_CONTROL_VHOST_UP = 67,
    /* vhost_id u32: with everything in it */
    LP_CONTROL_VHOST_DOWN = 68,
    /* exchange_id u32, vhost_id u32, name str, kind u8, flags u8, alternate str (name of the
     * alternate exchange or ""), arguments blob */
    LP_CONTROL_EXCHANGE_UP = 69,
    /* exchange_id u32: its bindings, as source and as destination, were sent as BIND_DOWN before */
    LP_CONTROL_EXCHANGE_DOWN = 70,
    /* queue_id u32, vhost_id u32, name str, home_shard u16, flags u8, owner u64 (connection; 0: not
     * exclusive), arguments blob, settings blob (queue_settings.h) */
    LP_CONTROL_QUEUE_UP = 71,
    /* queue_id u32: its bindings were sent as BIND_DOWN before */
    LP_CONTROL_QUEUE_DOWN = 72,
    /* binding_id u64, source u32 (exchange), destination_resource u8, destination u32, key str,
     * arguments blob.  The default exchange's bindings are implied and never sent. */
    LP_CONTROL_BIND_UP = 73,
    /* binding_id u64 */
    LP_CONTROL_BIND_DOWN = 74,
    /* sequence = revision: answer APPLIED with it. */
    LP_CONTROL_REVISION = 75,
    /* epoch u32: forget every cached permission of an older epoch. */
    LP_CONTROL_PERMISSION_EPOCH = 76,
    /* sequence = the request's; code u16 (0: done, else enum lp_fault_code), text str, then the
     * reply's fields when code is 0. */
    LP_CONTROL_REPLY = 77,
    /* sequence = number; queue_id u32, if_unused bool, if_empty bool.  To the home shard: check,
     * and if it may go, stop it (no new messages or consumers, ready messages dropped).  Asked
     * twice, the same answer is given twice. */
    LP_CONTROL_DELETE_CHECK = 78,
    /* connection u64, code u16, text str: close it with this (hard) fault. */
    LP_CONTROL_CLOSE_CONNECTION = 79,
    /* sequence = query */
    LP_CONTROL_LIST_QUEUES = 80,
    LP_CONTROL_LIST_CONNECTIONS = 81,
    /* grace_ms u32: stop accepting, close every connection with 320, then STOPPED. */
    LP_CONTROL_STOP = 82,
    /* sequence = number; queue_id u32, transient bool.  To the home shard: drop what is ready
     * (transient: if it is not persistent), answer QUEUE_PURGED. */
    LP_CONTROL_QUEUE_PURGE = 83,
    /* sequence = query */
    LP_CONTROL_LIST_CHANNELS = 84,
    LP_CONTROL_LIST_CONSUMERS = 85,
    /* alarms u8 (enum lp_alarm): what publishers have to wait for, of the whole node. */
    LP_CONTROL_ALARMS = 86,
    /* watermark_bytes u64: where this shard's publishers begin to wait. */
    LP_CONTROL_WATERMARK = 87,
    /* running bool.  False: accept no connections and close those that are there with 320 (the
     * application is stopped); true: accept again. */
    LP_CONTROL_RUNNING = 88,
    /* queue_id u32, on bool.  To every shard: measure how long its messages take.  Ends with the
     * queue; not answered: LIST_LATENCY says whether it is so. */
    LP_CONTROL_QUEUE_STAMPS = 89,
    /* sequence = query */
    LP_CONTROL_LIST_LATENCY = 90,
    /* channel_max u16: what clients that log in from now on are offered; 0: no limit. */
    LP_CONTROL_CHANNEL_MAX = 91,
};

/* What a connection's user may do beyond patterns (u8). */
enum lp_rights {
    LP_RIGHTS_IMPERSONATOR = 1,     /* user_id of messages is not checked (C90) */
    LP_RIGHTS_TOPICS = 2,           /* has topic permissions here: ask PERMIT_TOPIC */
    LP_RIGHTS_CHANNELS_LIMITED = 4, /* ask CHANNEL_OPEN */
};

enum lp_alarm {
    LP_ALARM_MEMORY = 1, /* asked for by an administrator: memory is each shard's own to look at */
    LP_ALARM_DISK = 2,
};

enum lp_delete_verdict {
    LP_DELETE_ALLOWED = 0,
    LP_DELETE_IN_USE = 1,
    LP_DELETE_NOT_EMPTY = 2,
    LP_DELETE_UNKNOWN = 3, /* no such queue here: treat as allowed with no messages */
};

enum lp_connection_state {
    LP_CONNECTION_STARTING = 0,
    LP_CONNECTION_RUNNING = 1,
    LP_CONNECTION_BLOCKED = 2, /* publishing is held back by memory */
    LP_CONNECTION_CLOSING = 3,
};
