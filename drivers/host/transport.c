/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <stdio.h>
#include <string.h>

#include <drivers/epoll/epoll.h>
#include <drivers/uring/uring.h>

static void
opened_close(struct host *host, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (host->uring) {
            lp_uring_close(&host->shard[i].kernel);
        } else {
            lp_epoll_close(&host->shard[i].kernel);
        }
    }
}

static enum lp_err
all_open(struct host *host, uint32_t streams_max)
{
    for (uint32_t i = 0; i < host->options.shard.count; i++) {
        struct lp_socket_options options = {
            .listeners = &host->listeners,
            .shard = i,
            .streams_max = streams_max,
            /* The control process and other shards end our wait by the same descriptor. */
            .wake_fd = host->options.shard_wake_fd[i],
        };
        struct lp_transport *kernel = &host->shard[i].kernel;
        host_net_watch(host, i, &options);
        const enum lp_err err = host->uring ? lp_uring_open_boot(&options, kernel)
                                            : lp_epoll_open_boot(&options, kernel);
        if (err != LP_OK) {
            opened_close(host, i);
            return err;
        }
        host->shard[i].transport = *kernel;
    }
    return LP_OK;
}

/* Is io_uring to be used?  False with `ret_why` empty: the operator said so. */
static bool
uring_choose(const struct host_options *options, char *ret_why)
{
    char why[LP_URING_WHY_BYTES];
    ret_why[0] = '\0';
    if (options->transport == HOST_TRANSPORT_EPOLL) {
        return false;
    }
    if (lp_uring_usable(why)) {
        return true;
    }
    (void)snprintf(ret_why, HOST_WHY_BYTES, "%s", why);
    return false;
}

bool
host_transports_open(struct host *host, uint32_t streams_max, char *ret_why)
{
    const struct host_options *options = &host->options;
    char why[LP_LISTENERS_WHY_BYTES];
    host->uring = uring_choose(options, ret_why);
    if (!host->uring && options->transport == HOST_TRANSPORT_URING) {
        return false; /* asked for, and `ret_why` says why not */
    }
    if (ret_why[0] != '\0') {
        (void)fprintf(stderr, "lepus-dataplane: using epoll: %s\n", ret_why);
    }
    if (lp_listeners_open_boot(&host->listeners, options->listener, options->listener_count,
                               options->shard.count, why) != LP_OK) {
        (void)snprintf(ret_why, HOST_WHY_BYTES, "%s", why);
        return false;
    }
    enum lp_err err = all_open(host, streams_max);
    if (err != LP_OK && host->uring && options->transport == HOST_TRANSPORT_AUTO) {
        (void)fprintf(stderr, "lepus-dataplane: using epoll: io_uring for %u shards: %s\n",
                      options->shard.count, lp_err_text(err));
        host->uring = false;
        err = all_open(host, streams_max);
    }
    if (err != LP_OK) {
        (void)snprintf(ret_why, HOST_WHY_BYTES, "cannot open the %s transport: %s",
                       host->uring ? "io_uring" : "epoll", lp_err_text(err));
        lp_listeners_close(&host->listeners);
        return false;
    }
    host->listener_count = host->listeners.count;
    host->tls_listeners = options->tls_listeners;
    memcpy(host->listener, host->listeners.address,
           host->listeners.count * sizeof(host->listener[0]));
    return true;
}

void
host_transports_close(struct host *host)
{
    opened_close(host, host->options.shard.count);
    lp_listeners_close(&host->listeners);
}
