/* SPDX-License-Identifier: Apache-2.0 */
#include "control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/admin/admin.h"
#include "control/base/chain.h"
#include "control/base/heap.h"

struct client {
    struct lp_chain link;
    struct server *server;
    int fd;                   /* -1: gone, but an answer is still to come */
    bool busy;                /* a request is under way; the next line waits */
    bool waits_for_room;      /* EPOLLOUT is asked for */
    bool ended;               /* no more requests: close when all is sent */
    struct lp_bytebuf input;  /* up to a line's end */
    struct lp_bytebuf output; /* not sent yet */
};

struct server {
    int fd;
    int folder_fd;
    int epoll_fd;
    struct lp_chain clients;
    uint32_t client_count;
};

/* ---- clients ---- */

static void
client_drop(struct client *client)
{
    if (client->fd >= 0) {
        (void)close(client->fd); /* nothing can be done about an error */
        client->fd = -1;
        client->server->client_count--;
    }
    if (client->busy) {
        return; /* freed when the answer comes */
    }
    lp_chain_remove(&client->link);
    lp_bytebuf_fini(&client->input);
    lp_bytebuf_fini(&client->output);
    free(client);
}

static bool
client_watch(struct client *client, bool for_room)
{
    struct epoll_event event = {
        .events = (client->ended ? 0u : EPOLLIN) | (for_room ? EPOLLOUT : 0u), .data.ptr = client};
    client->waits_for_room = for_room;
    return epoll_ctl(client->server->epoll_fd, EPOLL_CTL_MOD, client->fd, &event) == 0;
}

/* False: the client is gone. */
static bool
client_send(struct client *client)
{
    while (client->output.size > 0) {
        const ssize_t sent =
            send(client->fd, client->output.data, client->output.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return client->waits_for_room || client_watch(client, true);
        }
        if (sent <= 0) {
            return false;
        }
        lp_bytebuf_consume(&client->output, (size_t)sent);
    }
    if (client->ended && !client->busy) {
        return false;
    }
    return !client->waits_for_room || client_watch(client, false);
}

static int
dump_append(const char *text, size_t bytes, void *context)
{
    lp_bytebuf_append(context, text, bytes);
    return 0;
}

static void
client_answer(void *context, json_t *answer)
{
    struct client *client = context;
    client->busy = false;
    if (client->fd >= 0) {
        const int failed = json_dump_callback(answer, dump_append, &client->output, JSON_COMPACT);
        LP_ASSERT(failed == 0);
        lp_bytebuf_append(&client->output, "\n", 1);
    }
    json_decref(answer);
}

/* Run the lines that are there, one at a time. */
static void
client_lines(struct client *client, struct lp_control *control)
{
    while (!client->busy && client->fd >= 0 && client->input.size > 0) {
        const uint8_t *end = memchr(client->input.data, '\n', client->input.size);
        if (!end) {
            break;
        }
        const size_t bytes = (size_t)(end - client->input.data);
        json_t *request = json_loadb((const char *)client->input.data, bytes, 0, NULL);
        lp_bytebuf_consume(&client->input, bytes + 1);
        client->busy = true;
        /* What is not JSON is an empty request, which is answered with how one looks. */
        lp_admin_request(control, request, client_answer, client);
        json_decref(request);
    }
}

/* After anything that may have made an answer. */
static void
client_step(struct client *client, struct lp_control *control)
{
    client_lines(client, control);
    if (client->fd < 0 || !client_send(client)) {
        client_drop(client);
    }
}

static void
client_receive(struct client *client, struct lp_control *control)
{
    uint8_t room[16384];
    while (client->input.size < SERVER_LINE_MAX_BYTES) {
        const ssize_t bytes = recv(client->fd, room, sizeof(room), MSG_DONTWAIT);
        if (bytes > 0) {
            lp_bytebuf_append(&client->input, room, (size_t)bytes);
            continue;
        }
        if (bytes < 0 && errno == EINTR) {
            continue;
        }
        if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            client_step(client, control);
            return;
        }
        break; /* the end, an error */
    }
    /* The end of what it says need not be the end of what it wants to hear. */
    client->ended = true;
    struct epoll_event event = {.events = 0, .data.ptr = client};
    client->waits_for_room = false;
    if (epoll_ctl(client->server->epoll_fd, EPOLL_CTL_MOD, client->fd, &event) != 0) {
        client_drop(client);
        return;
    }
    client_step(client, control);
}

static void
server_accept(struct server *server)
{
    for (;;) {
        const int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            return; /* nobody left, or no descriptors: the next event tries again */
        }
        struct client *client = lp_heap_alloc(sizeof(*client));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
        client->server = server;
        client->fd = fd;
        server->client_count++;
        lp_chain_append(&server->clients, &client->link);
        if (server->client_count > SERVER_CLIENTS_MAX ||
            epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
            client_drop(client);
        }
    }
}

void
server_event(struct server *server, struct lp_control *control, const struct epoll_event *event)
{
    if (event->data.ptr == server) {
        server_accept(server);
        return;
    }
    struct client *client = event->data.ptr;
    if (event->events & EPOLLIN) {
        client_receive(client, control);
    } else if (event->events & (EPOLLHUP | EPOLLERR)) {
        client_drop(client);
    } else {
        client_step(client, control);
    }
}

void
server_flush(struct server *server, struct lp_control *control)
{
    LP_CHAIN_EACH(link, &server->clients)
    {
        struct client *client = LP_CONTAINER_OF(link, struct client, link);
        if (!client->busy && (client->fd < 0 || client->ended || client->output.size > 0 ||
                              client->input.size > 0)) {
            client_step(client, control);
        }
    }
}

/* ---- the listener ---- */

/* By way of the folder's descriptor, so that the folder's path may be long. */
static bool
listener_bind(struct server *server, const char *folder)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    server->folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (server->folder_fd < 0) {
        return false;
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/lepus.sock",
                   server->folder_fd); /* fits */
    if (unlinkat(server->folder_fd, "lepus.sock", 0) != 0 && errno != ENOENT) {
        return false;
    }
    const mode_t old = umask(0177);
    const bool bound = bind(server->fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    (void)umask(old);
    return bound && listen(server->fd, (int)SERVER_CLIENTS_MAX) == 0;
}

enum lp_err
server_open(const char *folder, int epoll_fd, struct server **ret_server, char *ret_why,
            size_t why_bytes)
{
    struct server *server = lp_heap_alloc(sizeof(*server));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = server};
    lp_chain_init(&server->clients);
    server->epoll_fd = epoll_fd;
    server->folder_fd = -1;
    server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->fd < 0 || !listener_bind(server, folder) ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, server->fd, &event) != 0) {
        (void)snprintf(ret_why, why_bytes, "cannot listen at %s/lepus.sock: %s", folder,
                       strerrordesc_np(errno));
        server_close(&server);
        return LP_ERR_IO;
    }
    *ret_server = server;
    return LP_OK;
}

void
server_close(struct server **server)
{
    struct server *self = *server;
    *server = NULL;
    if (!self) {
        return;
    }
    LP_CHAIN_EACH(link, &self->clients)
    {
        struct client *client = LP_CONTAINER_OF(link, struct client, link);
        if (client->fd >= 0) {
            (void)client_send(client); /* it goes either way */
        }
        client->busy = false;
        client_drop(client);
    }
    if (self->fd >= 0) {
        (void)close(self->fd);
    }
    if (self->folder_fd >= 0) {
        (void)close(self->folder_fd);
    }
    free(self);
}
