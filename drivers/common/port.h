/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port.h - what a driver of kernel sockets has, whichever way it waits for
 * them: its shard's listeners, streams and sends, the descriptor that wakes
 * it, the one in reserve, and its counters.
 *
 * A driver's struct begins with a struct lp_port, so that `self` of
 * transport.h is also that of the lp_port functions which take one.
 *
 *   Memory    its tables, one allocation each at boot
 *   Runs on   owner core; open and close on the host's thread
 *   Limits    lp_socket_options.streams_max
 */
#pragma once

#include <drivers/common/sends.h>
#include <drivers/common/socket.h>
#include <drivers/common/streams.h>

struct lp_port {
    const struct lp_listeners *listeners;
    uint32_t shard;
    int wake_fd;
    int reserve_fd; /* see lp_socket_accept_failed(); -1: it went */
    bool wake_owned;
    bool accepting;
    bool paused; /* only from Unix sockets */
    /* Watched in wait() and not else: who turns without sleeping looks at them anyway. */
    uint32_t watch_count;
    int watch_fd[LP_WATCH_MAX];
    bool watch_armed[LP_WATCH_MAX];
    struct lp_streams streams;
    struct lp_sends sends;
    struct lp_socket_counters counters;
};

/*
 * `stride` is the size of a driver's stream, see streams.h.
 *
 * LP_ERR_NO_MEMORY  the tables do not fit
 * LP_ERR_IO         no descriptor to be had
 *
 * lp_port_close() is called in either case.
 */
LP_MUST_CHECK enum lp_err lp_port_open_boot(struct lp_port *port,
                                            const struct lp_socket_options *options, size_t stride);
/* Also closes what streams are left; the listeners stay the caller's. */
void lp_port_close(struct lp_port *port);

static inline int
lp_port_listen_fd(const struct lp_port *port, uint32_t listener)
{
    return port->listeners->fd[port->shard][listener];
}

/*
 * A stream for an accepted socket.  NULL: there is none to be had, or the
 * socket was accepted for want of descriptors only; it is counted as refused
 * and closed, and the reserve is filled again.
 */
struct lp_stream *lp_port_accept(struct lp_port *port, int fd);
/* After lp_port_accept(): the driver could not have it after all. */
void lp_port_refuse(struct lp_port *port, struct lp_stream *stream);
/* After lp_port_accept(): the shard hears of it. */
void lp_port_accepted(struct lp_port *port, struct lp_stream *stream, uint32_t listener,
                      struct lp_sink *sink);
/* The one CLOSED; the stream is no more. */
void lp_port_closed(struct lp_port *port, struct lp_stream *stream, struct lp_sink *sink);

static inline bool
lp_port_is_pausing(const struct lp_port *port, uint32_t listener)
{
    return port->listeners->address[listener].family != LP_ADDRESS_UNIX;
}

/* Are there newcomers to be had from this listener? */
static inline bool
lp_port_accepts(const struct lp_port *port, uint32_t listener)
{
    return port->accepting && !(port->paused && lp_port_is_pausing(port, listener));
}

/* Newcomers are refused at once from now on, instead of waiting in the backlog. */
void lp_port_accept_stop(struct lp_port *port);
/* The listeners of lp_port_is_pausing() refuse newcomers, or take them again. */
void lp_port_accept_pause(struct lp_port *port, bool paused);

/* attach() and wake_any() of transport.h. */
void lp_port_attach(void *self, lp_handle handle, uint64_t user);
void lp_port_wake_any(void *self);
