/* SPDX-License-Identifier: Apache-2.0 */
#include "watch.h"

#include <time.h>
#include <unistd.h>

#include "conn.h"
#include "load.h"

#define NS_PER_S UINT64_C(1000000000)
/* Signals can wait for so many turns. */
#define EPOLL_EVERY 1024u

bool
load_watch_open(struct load_watch *watch, struct load_net *net)
{
    *watch = (struct load_watch){.epoll = epoll_create1(EPOLL_CLOEXEC), .net = net};
    return watch->epoll >= 0;
}

void
load_watch_close(struct load_watch *watch)
{
    if (watch->epoll >= 0) {
        (void)close(watch->epoll);
        watch->epoll = -1;
    }
}

bool
load_watch_control(struct load_watch *watch, int operation, const struct load_conn *conn,
                   struct epoll_event event)
{
    if (conn->net == NULL) {
        return epoll_ctl(watch->epoll, operation, conn->fd, &event) == 0;
    }
    if (operation == EPOLL_CTL_DEL) {
        event.events = 0;
    }
    load_net_watch(conn->net, conn->fd, watch, event);
    return true;
}

static int
kernel_wait(const struct load_watch *watch, struct epoll_event *events, int max, uint64_t wait_ns)
{
    const struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S),
                                  .tv_nsec = (long)(wait_ns % NS_PER_S)};
    return epoll_pwait2(watch->epoll, events, max, &wait, NULL);
}

int
load_watch_wait(struct load_watch *watch, struct epoll_event *events, int max, uint64_t wait_ns)
{
    if (watch->net == NULL) {
        return kernel_wait(watch, events, max, wait_ns);
    }
    const uint64_t end_ns = load_now_ns() + wait_ns;
    for (;;) {
        int ready = load_net_turn(watch->net, watch, events, max);
        if (ready == 0 && ++watch->turns % EPOLL_EVERY == 0) {
            ready = kernel_wait(watch, events, max, 0);
        }
        if (ready != 0 || load_now_ns() >= end_ns) {
            return ready;
        }
    }
}
