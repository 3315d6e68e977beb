/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport.h - the contract of a byte-stream transport: kernel sockets
 * (drivers/uring, drivers/epoll), our own TCP (dataplane/net), TLS around
 * either (drivers/tls), the simulator (drivers/sim).  One instance belongs to one shard.
 *
 * Completion based.  Nothing here blocks but wait(); nothing calls back into
 * the shard: poll() fills an array of events.
 *
 *   Memory    The driver owns receive buffers and lends them with an event
 *             until the next poll().  The shard owns what it sends: iovec
 *             memory stays untouched until that send's SENT event, or CLOSED.
 *   Runs on   owner core; open_boot() and close_all() on the host's thread;
 *             wake_any() from any thread
 *   Limits    LP_TRANSPORT_IOV_MAX pieces a send; one send in flight a stream
 *   Overload  accept() of more streams than `streams_max` closes the newcomer
 *             and counts it.
 *
 * Life of a stream: ACCEPTED, then any RECEIVED and SENT, then exactly one
 * CLOSED.  After close() the driver delivers nothing but CLOSED, when no
 * operation refers to the stream or its send memory any more; only then may
 * the shard free send buffers, and the handle is dead.  When the peer closes
 * or the stream fails, ENDED is delivered once (orderly: every byte received
 * has been delivered before it); the shard answers with close().  A stale
 * handle is ignored by every call.
 *
 * Three finer points.  Nothing of a stream follows its ACCEPTED in the same
 * poll(), so that attach() comes in time.  What a poll() has already returned
 * may still name a stream that is closed while the array is worked through.
 * With receiving stopped an end may go unnoticed until it is started again,
 * or until a send fails; a stream that has failed takes a send and answers it
 * with a short SENT.
 */
#pragma once

#include <lepus/base.h>
#include <lepus/bytes.h>
#include <lepus/err.h>

#define LP_TRANSPORT_IOV_MAX  64
#define LP_ADDRESS_TEXT_BYTES 108 /* sun_path */

enum lp_address_family {
    LP_ADDRESS_IPV4 = 4,
    LP_ADDRESS_IPV6 = 6,
    LP_ADDRESS_UNIX = 1,
};

/* Where a stream comes from or a listener sits. */
struct lp_address {
    uint8_t family; /* enum lp_address_family */
    uint8_t scope_pad[1];
    uint16_t port;                    /* host order; 0 for UNIX, or "any free one" when listening */
    uint8_t ip[16];                   /* network order; IPv4 in the first four */
    char path[LP_ADDRESS_TEXT_BYTES]; /* UNIX only, NUL-terminated */
};

enum lp_transport_event_kind {
    LP_TRANSPORT_ACCEPTED,
    LP_TRANSPORT_RECEIVED,
    LP_TRANSPORT_SENT,
    LP_TRANSPORT_ENDED,
    LP_TRANSPORT_CLOSED,
    LP_TRANSPORT_CONNECTED, /* of a stream that the shard opened; `peer` and `local` are set */
};

struct lp_transport_event {
    enum lp_transport_event_kind kind;
    lp_handle stream;
    uint64_t user;       /* what attach() said; 0 before */
    const uint8_t *data; /* RECEIVED: borrowed until the next poll() */
    uint32_t bytes; /* RECEIVED: > 0.  SENT: what the one send took: all of it, or less of a failed
                       stream */
    uint32_t listener;       /* ACCEPTED: index of the listener */
    struct lp_address peer;  /* ACCEPTED; not set otherwise, as is `local` */
    struct lp_address local; /* ACCEPTED */
};

struct lp_iovec {
    const void *data;
    size_t bytes;
};

/*
 * Who the peer is, as far as the transport made sure of it; texts are "" for
 * what there is not, and live until the stream's CLOSED.
 */
struct lp_transport_identity {
    bool tls;
    const char *protocol;     /* "tlsv1.3" */
    const char *key_exchange; /* "ecdhe_rsa", "any" */
    const char *cipher;       /* "aes_256_gcm" */
    const char *hash;         /* "aead" */
    const char *subject;      /* of the peer's certificate, as RFC 4514 has it */
    const char *issuer;
    const char *validity;
    struct lp_bytes login;     /* the name that it logs in with, from its certificate */
    const char *login_missing; /* why there is none; NULL: there is one */
};

struct lp_transport_ops {
    const char *name; /* "io_uring", "epoll", "sim" */

    /* Name the connection that owns the stream; comes back as `user`. */
    void (*attach)(void *self, lp_handle stream, uint64_t user);

    /* Fill up to `events_max` events; gives their number.  Returns earlier lent buffers first. */
    uint32_t (*poll)(void *self, struct lp_transport_event *events, uint32_t events_max);

    /*
     * Send `count` pieces in order, as one operation.  False: one is in
     * flight already, or the handle is stale; nothing was taken.  The driver
     * copies the iovec array, not what it points to.  The kernel may be
     * entered at once or at flush().
     */
    bool (*send)(void *self, lp_handle stream, const struct lp_iovec *pieces, uint32_t count);

    /* Stop or resume receiving: back-pressure.  Bytes already received may still arrive after a
     * stop. */
    void (*receive_stop)(void *self, lp_handle stream);
    void (*receive_start)(void *self, lp_handle stream);

    /* Close both directions; pending sends are given up.  CLOSED follows. */
    void (*close)(void *self, lp_handle stream);

    /* Push submissions into the kernel; once at the end of a turn. */
    void (*flush)(void *self);

    /* Stop accepting on all listeners (graceful stop). */
    void (*accept_stop)(void *self);

    /*
     * Close the ports of TCP, so that the kernel refuses newcomers, or open
     * them again (listen() is done on return).  Unix sockets cannot be closed
     * for a while: their newcomers are the caller's to refuse.
     */
    void (*accept_pause)(void *self, bool paused);

    /*
     * Block until an event is ready, wake_any() was called, or `timeout_ns`
     * passed (UINT64_MAX: no limit).  May return early.
     */
    void (*wait)(void *self, uint64_t timeout_ns);

    /* End a wait() now or the next one (a poll() between the two swallows it).  From any thread;
     * never blocks. */
    void (*wake_any)(void *self);

    /* Who the peer of an accepted stream is; false: the handle is stale.  NULL: nobody knows. */
    bool (*identity)(void *self, lp_handle stream, struct lp_transport_identity *ret_identity);
};

struct lp_transport {
    const struct lp_transport_ops *ops;
    void *self;
};
