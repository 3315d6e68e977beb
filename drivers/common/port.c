/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/port.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum lp_err
lp_port_open_boot(struct lp_port *port, const struct lp_socket_options *options, size_t stride)
{
    *port = (struct lp_port){.listeners = options->listeners,
                             .shard = options->shard,
                             .wake_fd = -1,
                             .reserve_fd = -1,
                             .wake_owned = options->wake_fd < 0,
                             .accepting = true,
                             .watch_count = options->watch_count};
    LP_ASSERT(options->watch_count <= LP_WATCH_MAX);
    memcpy(port->watch_fd, options->watch_fd, sizeof(port->watch_fd));
    if (lp_streams_init_boot(&port->streams, options->streams_max, stride) != LP_OK ||
        lp_sends_init_boot(&port->sends, options->streams_max) != LP_OK) {
        return LP_ERR_NO_MEMORY;
    }
    port->reserve_fd = lp_socket_reserve();
    port->wake_fd = lp_socket_wake_boot(options);
    return port->reserve_fd < 0 || port->wake_fd < 0 ? LP_ERR_IO : LP_OK;
}

void
lp_port_close(struct lp_port *port)
{
    lp_streams_fini(&port->streams);
    lp_sends_fini(&port->sends);
    if (port->reserve_fd >= 0) {
        (void)close(port->reserve_fd);
    }
    if (port->wake_owned && port->wake_fd >= 0) {
        (void)close(port->wake_fd);
    }
}

struct lp_stream *
lp_port_accept(struct lp_port *port, int fd)
{
    const bool shed = port->reserve_fd < 0;
    struct lp_stream *stream =
        shed || !port->accepting ? NULL : lp_streams_alloc(&port->streams, fd);
    if (stream == NULL) {
        port->counters.refused++;
        (void)close(fd);
    }
    if (shed) {
        port->reserve_fd = lp_socket_reserve();
    }
    return stream;
}

void
lp_port_refuse(struct lp_port *port, struct lp_stream *stream)
{
    port->counters.refused++;
    (void)close(stream->fd);
    lp_streams_release(&port->streams, stream);
}

void
lp_port_accepted(struct lp_port *port, struct lp_stream *stream, uint32_t listener,
                 struct lp_sink *sink)
{
    port->counters.accepted++;
    struct lp_transport_event *event = lp_sink_emit(sink, stream, LP_TRANSPORT_ACCEPTED);
    event->listener = listener;
    lp_socket_addresses(stream->fd, event);
}

void
lp_port_closed(struct lp_port *port, struct lp_stream *stream, struct lp_sink *sink)
{
    lp_sink_emit(sink, stream, LP_TRANSPORT_CLOSED);
    lp_streams_release(&port->streams, stream);
}

void
lp_port_accept_stop(struct lp_port *port)
{
    port->accepting = false;
    for (uint32_t i = 0; i < port->listeners->count; i++) {
        (void)shutdown(lp_port_listen_fd(port, i), SHUT_RDWR);
    }
}

void
lp_port_accept_pause(struct lp_port *port, bool paused)
{
    port->paused = paused;
    for (uint32_t i = 0; i < port->listeners->count; i++) {
        if (!lp_port_is_pausing(port, i)) {
            continue;
        }
        if (paused) {
            lp_listener_shut(lp_port_listen_fd(port, i));
        } else {
            lp_listener_reopen(lp_port_listen_fd(port, i), &port->listeners->address[i]);
        }
    }
}

void
lp_port_attach(void *self, lp_handle handle, uint64_t user)
{
    const struct lp_port *port = self;
    struct lp_stream *stream = lp_streams_find_open(&port->streams, handle);
    if (stream != NULL) {
        stream->user = user;
    }
}

void
lp_port_wake_any(void *self)
{
    const struct lp_port *port = self;
    lp_socket_wake_any(port->wake_fd);
}
