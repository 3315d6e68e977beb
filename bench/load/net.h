/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.h - connections over our own TCP/IP instead of the kernel's, looking
 * like sockets to the rest of the program: numbers that can be received from,
 * sent to, watched and closed.
 *
 *   Memory    a receive and a send buffer a connection, as large as they had to be
 *   Runs on   the program's one thread, which never sleeps meanwhile: that is
 *             what bypass is measured for
 *   Limits    LOAD_NET_SOCKETS_MAX; waiting looks at all of them
 */
#pragma once

#include <sys/epoll.h>
#include <sys/types.h>

#include <lepus/base.h>

#define LOAD_NET_SOCKETS_MAX 16384u

struct load_net;
struct load_watch;

/*
 * Open `device` ("tap:NAME" or as DPDK names one) with an address such as
 * "10.0.0.1/24".  NULL: said why.
 */
struct load_net *load_net_open(const char *device, const char *address);
void load_net_close(struct load_net *net);

/* As connect() without waiting: the socket's number, or -1 and errno. */
int load_net_dial(struct load_net *net, const char *host, const char *port);
/* As recv() and send() with MSG_DONTWAIT. */
ssize_t load_net_receive(struct load_net *net, int socket, void *to, size_t room);
ssize_t load_net_send(struct load_net *net, int socket, const void *from, size_t bytes);
void load_net_hang_up(struct load_net *net, int socket);

/* Who watches this socket, and for what: as epoll_ctl(); events 0: nobody any more. */
void load_net_watch(struct load_net *net, int socket, const struct load_watch *watch,
                    struct epoll_event event);
/* One turn of the stack; then sockets of this watch with something to tell, up to `max`. */
int load_net_turn(struct load_net *net, const struct load_watch *watch, struct epoll_event *events,
                  int max);
/* Turns until the socket can be received from or failed, or so long; false: nothing came. */
bool load_net_wait(struct load_net *net, int socket, int patience_ms);
