/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <drivers/common/address.h>

/* At most 16 x 64 KiB of a peer's unread bytes are thrown away at close: a bound, not a promise. */
#define DISCARD_TRIES 16
#define DISCARD_BYTES 65536

int
lp_socket_wake_boot(const struct lp_socket_options *options)
{
    if (options->wake_fd < 0) {
        return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
    const int flags = fcntl(options->wake_fd, F_GETFL);
    if (flags < 0 || fcntl(options->wake_fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        return -1;
    }
    return options->wake_fd;
}

void
lp_socket_wake_any(int wake_fd)
{
    const uint64_t one = 1;
    ssize_t done;
    do {
        done = write(wake_fd, &one, sizeof(one));
        /* EAGAIN: 2^64 - 2 wakes are pending, one of which will do. */
    } while (done < 0 && errno == EINTR);
}

void
lp_socket_wake_drain(int wake_fd)
{
    uint64_t count;
    ssize_t done;
    do {
        done = read(wake_fd, &count, sizeof(count));
    } while (done < 0 && errno == EINTR);
}

int
lp_socket_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void
lp_socket_accept_failed(int error, int *reserve_fd)
{
    if ((error == EMFILE || error == ENFILE) && *reserve_fd >= 0) {
        (void)close(*reserve_fd);
        *reserve_fd = -1;
    }
}

void
lp_socket_addresses(int fd, struct lp_transport_event *event)
{
    struct sockaddr_storage kernel;
    socklen_t bytes = sizeof(kernel);
    event->local = (struct lp_address){.family = LP_ADDRESS_IPV4};
    event->peer = event->local;
    if (getsockname(fd, (struct sockaddr *)&kernel, &bytes) == 0) {
        lp_address_of_kernel(&kernel, bytes, &event->local);
    }
    bytes = sizeof(kernel);
    if (getpeername(fd, (struct sockaddr *)&kernel, &bytes) == 0) {
        lp_address_of_kernel(&kernel, bytes, &event->peer);
    } else {
        /* It is gone already; the family is known all the same. */
        event->peer.family = event->local.family;
    }
}

void
lp_socket_close(int fd)
{
    (void)shutdown(fd, SHUT_WR); /* a peer that is gone has no use for it */
    for (int i = 0; i < DISCARD_TRIES; i++) {
        /* TCP discards with MSG_TRUNC and no buffer; a Unix socket refuses, and does not need it.
         */
        if (recv(fd, NULL, DISCARD_BYTES, MSG_TRUNC | MSG_DONTWAIT) != DISCARD_BYTES) {
            break;
        }
    }
    (void)close(fd);
}
