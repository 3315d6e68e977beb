/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/listeners.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <drivers/common/address.h>

#define BACKLOG 4096 /* the kernel lowers it to net.core.somaxconn */

/* A ring of a process that was killed lets its sockets go a little later than the process: 20 x 50
 * ms. */
#define BIND_TRIES    20
#define BIND_PAUSE_NS (50 * 1000 * 1000)

static int
option_set(int fd, int level, int name)
{
    const int one = 1;
    return setsockopt(fd, level, name, &one, sizeof(one));
}

/* An open, bound socket, or -1 with errno. */
static int
socket_bind(const struct lp_address *address, bool share)
{
    struct sockaddr_storage kernel;
    const socklen_t bytes = lp_address_to_kernel(address, &kernel);
    const bool unix_domain = address->family == LP_ADDRESS_UNIX;
    const int fd = socket(kernel.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if ((!unix_domain && option_set(fd, SOL_SOCKET, SO_REUSEADDR) != 0) ||
        (share && option_set(fd, SOL_SOCKET, SO_REUSEPORT) != 0) ||
        /* 0.0.0.0 and [::] are two listeners. */
        (address->family == LP_ADDRESS_IPV6 && option_set(fd, IPPROTO_IPV6, IPV6_V6ONLY) != 0) ||
        /* Accepted sockets inherit it. */
        (!unix_domain && option_set(fd, IPPROTO_TCP, TCP_NODELAY) != 0) ||
        bind(fd, (const struct sockaddr *)&kernel, bytes) != 0) {
        const int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static int
socket_listen(const struct lp_address *address, bool share)
{
    const int fd = socket_bind(address, share);
    if (fd >= 0 && listen(fd, BACKLOG) != 0) {
        const int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* SO_REUSEPORT would let a second broker of the same user share our port in silence: ask without it
 * first. */
static bool
port_is_free(const struct lp_address *address)
{
    for (int i = 0; i < BIND_TRIES; i++) {
        const int fd = socket_listen(address, false);
        if (fd >= 0) {
            (void)close(fd);
            return true;
        }
        if (errno != EADDRINUSE) {
            return false;
        }
        const struct timespec pause = {.tv_nsec = BIND_PAUSE_NS};
        (void)nanosleep(&pause, NULL); /* boot only; cut short by a signal does no harm */
    }
    errno = EADDRINUSE;
    return false;
}

/* A socket's file that nobody answers on was left by a process that died. */
static void
unix_leftover_remove(const struct lp_address *address)
{
    struct stat status;
    struct sockaddr_storage kernel;
    if (lstat(address->path, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return;
    }
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return;
    }
    const socklen_t bytes = lp_address_to_kernel(address, &kernel);
    if (connect(fd, (const struct sockaddr *)&kernel, bytes) != 0 && errno == ECONNREFUSED) {
        (void)unlink(address->path); /* bind() reports it if this did not work */
    }
    (void)close(fd);
}

static bool
address_learn(int fd, struct lp_address *address)
{
    struct sockaddr_storage kernel;
    socklen_t bytes = sizeof(kernel);
    if (getsockname(fd, (struct sockaddr *)&kernel, &bytes) != 0) {
        return false;
    }
    struct lp_address learned;
    lp_address_of_kernel(&kernel, bytes, &learned);
    address->port = learned.port;
    return true;
}

static bool
listener_open(struct lp_listeners *listeners, uint32_t i)
{
    struct lp_address *address = &listeners->address[i];
    if (address->family == LP_ADDRESS_UNIX) {
        unix_leftover_remove(address);
        const int fd = socket_listen(address, false);
        for (uint32_t shard = 0; shard < listeners->shard_count; shard++) {
            listeners->fd[shard][i] = fd;
        }
        return fd >= 0;
    }
    if (address->port != 0 && !port_is_free(address)) {
        return false;
    }
    for (uint32_t shard = 0; shard < listeners->shard_count; shard++) {
        const int fd = socket_listen(address, true);
        listeners->fd[shard][i] = fd;
        /* Port 0: the first shard's choice is everybody's. */
        if (fd < 0 || !address_learn(fd, address)) {
            return false;
        }
    }
    return true;
}

enum lp_err
lp_listeners_open_boot(struct lp_listeners *listeners, const struct lp_address *addresses,
                       uint32_t count, uint32_t shard_count, char *why)
{
    LP_ASSERT(shard_count > 0 && shard_count <= LP_SHARDS_MAX);
    if (count > LP_LISTENERS_MAX) {
        (void)snprintf(why, LP_LISTENERS_WHY_BYTES, "more than %u addresses to listen on",
                       LP_LISTENERS_MAX);
        return LP_ERR_BAD_CONFIG;
    }
    memset(listeners, 0, sizeof(*listeners));
    memset(listeners->fd, 0xff, sizeof(listeners->fd)); /* -1: not open */
    listeners->shard_count = shard_count;
    for (uint32_t i = 0; i < count; i++) {
        listeners->address[i] = addresses[i];
        if (listener_open(listeners, i)) {
            listeners->count++;
            continue;
        }
        char text[LP_ADDRESS_FORMAT_BYTES];
        lp_address_format(&addresses[i], text);
        (void)snprintf(why, LP_LISTENERS_WHY_BYTES, "cannot listen on %s: %s", text,
                       strerrordesc_np(errno));
        if (addresses[i].family != LP_ADDRESS_UNIX) {
            listeners->count++; /* some shards' sockets may be open; a Unix socket's file is
                                   somebody else's */
        }
        lp_listeners_close(listeners);
        return LP_ERR_REFUSED;
    }
    return LP_OK;
}

void
lp_listener_shut(int fd)
{
    (void)shutdown(fd, SHUT_RDWR);
}

void
lp_listener_reopen(int fd, const struct lp_address *address)
{
    struct sockaddr_storage kernel;
    const socklen_t bytes = lp_address_to_kernel(address, &kernel);
    /* A port that the kernel chose was given back; any other is bound still, and this fails. */
    (void)bind(fd, (const struct sockaddr *)&kernel, bytes);
    (void)listen(fd, BACKLOG);
}

void
lp_listeners_close(struct lp_listeners *listeners)
{
    for (uint32_t i = 0; i < listeners->count; i++) {
        const bool unix_domain = listeners->address[i].family == LP_ADDRESS_UNIX;
        const uint32_t sockets =
            unix_domain ? LP_MIN(listeners->shard_count, 1u) : listeners->shard_count;
        for (uint32_t shard = 0; shard < sockets; shard++) {
            if (listeners->fd[shard][i] >= 0) {
                (void)close(listeners->fd[shard][i]);
            }
        }
        if (unix_domain) {
            (void)unlink(listeners->address[i].path);
        }
    }
    listeners->count = 0;
}
