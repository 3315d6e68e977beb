/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch.h - waiting for connections, of the kernel or of our own TCP/IP: epoll,
 * or turns of the stack and a look at epoll now and then.
 */
#pragma once

#include <sys/epoll.h>

#include "net.h"

struct load_conn;

struct load_watch {
    int epoll;
    struct load_net *net; /* NULL: the kernel's sockets alone */
    uint32_t turns;
};

LP_MUST_CHECK bool load_watch_open(struct load_watch *watch, struct load_net *net);
void load_watch_close(struct load_watch *watch);
/* As epoll_ctl() for the connection's socket; false: errno says why. */
bool load_watch_control(struct load_watch *watch, int operation, const struct load_conn *conn,
                        struct epoll_event event);
/* As epoll_pwait2(); waits no longer than `wait_ns`. */
int load_watch_wait(struct load_watch *watch, struct epoll_event *events, int max,
                    uint64_t wait_ns);
