/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lepus-dataplane - started by `lepus`, never by hand.
 *
 * Boot order: arguments, machine, shared region, reservations, sockets, disks,
 * shards, "ready", threads.  Everything that can fail does so before the first
 * thread runs, with a sentence, and the exit status is 1.
 *
 * Ends: 0 when every shard has completed its graceful stop, which the control
 * process asks for; SIGTERM ends it at once; Ctrl-C is the launcher's affair.
 */
#include "host.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <drivers/common/address.h>
#include <drivers/common/files.h>
#include <drivers/common/socket.h>

/* More connections than this on one shard and the tables would cost more than they serve. */
#define STREAMS_MAX 65536u
/* Descriptors that are not streams: rings, eventfds, standard streams, with room to spare. */
#define DESCRIPTORS_OTHER 64u
/* The kernel ends the writes of a process that was killed within milliseconds, or a disk's timeout.
 */
#define LOCK_WAIT_MS 5000

static void
wake_shard(void *context, uint32_t shard)
{
    const struct host *host = context;
    const struct lp_transport *transport = &host->shard[shard].transport;
    transport->ops->wake_any(transport->self);
}

/* The shard has seen the control process's sleeping flag, after its own fence. */
static void
wake_control(void *context)
{
    const struct host *host = context;
    lp_socket_wake_any(host->options.control_wake_fd);
}

static void
signals_arrange(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no data plane outlives its launcher */
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a write beyond a limit fails, which is enough */
}

/* As many descriptors as we may have; gives how many streams a shard may hold. */
static uint32_t
streams_allow(const struct host_options *options)
{
    struct rlimit limit = {0};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1024;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        const rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            limit.rlim_cur = before;
        }
    }
    const uint64_t files = options->data != NULL ? LP_FILES_OPEN_MAX + 4u : 0;
    const uint64_t other =
        DESCRIPTORS_OTHER + (uint64_t)options->shard.count * (4u + options->listener_count + files);
    const uint64_t streams = limit.rlim_cur > other ? limit.rlim_cur - other : 1;
    return (uint32_t)LP_MIN(streams, (uint64_t)STREAMS_MAX);
}

/* Small memory makes small messages: the operator hears of it before a client does. */
static void
message_limit_say(const struct lp_shard_config *config, const struct lp_shard_env *env)
{
    const uint64_t limit = lp_shard_message_bytes_max(config->message_bytes_max, env->memory_bytes,
                                                      env->watermark_bytes);
    if (limit < config->message_bytes_max) {
        (void)fprintf(stderr,
                      "lepus-dataplane: messages of more than %llu KiB are refused: a shard has "
                      "%llu MiB, and drains large ones through what is above the watermark\n",
                      (unsigned long long)(limit >> 10),
                      (unsigned long long)(env->memory_bytes >> 20));
    }
}

static bool
shard_make(struct host *host, uint32_t i, char *ret_why)
{
    struct host_shard *self = &host->shard[i];
    struct lp_shard_config config = host->options.shard;
    config.index = i;
    self->host = host;
    self->index = i;
    if (!host_entropy_init_boot(&self->entropy)) {
        (void)snprintf(ret_why, HOST_WHY_BYTES, "the kernel gives no random numbers");
        return false;
    }
    const struct lp_shard_env env = {
        .memory = self->memory,
        .memory_bytes = host->shard_bytes,
        .watermark_bytes = LP_MIN(host->options.watermark_bytes / config.count, host->shard_bytes),
        .transport = self->transport,
        .disk = host_record_wrap(self),
        .entropy = host_entropy_contract(&self->entropy),
        .clock = host_clock_contract(),
        .fabric = host->fabric,
        .region = host->region,
        .listeners = host->listener,
        .listener_count = host->listener_count,
        .tls_listeners = host->tls_listeners,
        .wake_shard = wake_shard,
        .wake_control = wake_control,
        .wake_context = host,
    };
    if (i == 0) {
        message_limit_say(&config, &env);
    }
    const uint64_t now = host_monotonic_ns();
    const enum lp_err err =
        lp_shard_init_boot(&config, &env, now, host_wall_ns(&self->wall, now), &self->shard);
    if (err != LP_OK) {
        (void)snprintf(ret_why, HOST_WHY_BYTES, "shard %u with %llu MiB: %s", i,
                       (unsigned long long)(host->shard_bytes >> 20), lp_err_text(err));
    }
    return err == LP_OK;
}

/* "ready tcp:127.0.0.1:5672 ... transport=io_uring pinned=no poll=adaptive" */
static void
ready_say(const struct host *host)
{
    static const char *const polls[] = {"adaptive", "busy", "sleep"};
    char line[2 * LP_LISTENERS_MAX * (LP_ADDRESS_FORMAT_BYTES + 1) + 128] = "ready";
    size_t used = strlen(line);
    if (host->options.ready_fd < 0) {
        return;
    }
    for (uint32_t i = 0; i < host->listener_count; i++) {
        char text[LP_ADDRESS_FORMAT_BYTES];
        lp_address_format(&host->listener[i], text);
        if ((host->tls_listeners >> i & 1u) != 0) {
            text[1] = 'l'; /* "tls", and not "tcp" */
            text[2] = 's';
        }
        used += (size_t)snprintf(line + used, sizeof(line) - used, " %s", text);
    }
    used += (size_t)snprintf(line + used, sizeof(line) - used, " transport=%s pinned=%s poll=%s\n",
                             host->shard[0].transport.ops->name, host->idle.pin ? "yes" : "no",
                             polls[host->idle.poll]);
    LP_ASSERT(used < sizeof(line));
    if (write(host->options.ready_fd, line, used) != (ssize_t)used) {
        (void)fprintf(stderr, "lepus-dataplane: nobody reads that we are ready\n");
    }
    (void)close(host->options.ready_fd);
}

static void
streams_close(struct host *host)
{
    host_tls_close(host);
    host_net_close(host);
    host_transports_close(host);
}

static bool
boot(struct host *host, int argc, char **argv, char *ret_why)
{
    if (!host_options_parse(&host->options, argc, argv, ret_why)) {
        return false;
    }
    struct lp_shard_config *config = &host->options.shard;
    config->connections_max = streams_allow(&host->options);
    host->disk_lock_wait_ms = LOCK_WAIT_MS;
    host_machine_read(&host->machine, "");
    host->idle = host_idle_choose(&host->machine, &host->options);
    if (!host_region_map(host, ret_why) || !host_memory_map(host, ret_why) ||
        !host_net_devices_open(host, ret_why)) {
        return false;
    }
    if (!host_transports_open(host, config->connections_max, ret_why)) {
        host_net_close(host);
        return false;
    }
    if (!host_nets_open(host, config->connections_max, ret_why)) {
        streams_close(host);
        return false;
    }
    if (!host_recovery_init_boot(&host->recovery)) {
        (void)snprintf(ret_why, HOST_WHY_BYTES, "the C library gives no locks");
        return false;
    }
    if (!host_disks_open(host, ret_why)) {
        streams_close(host);
        return false;
    }
    /* A disk over io_uring wants the bare ring. */
    if (!host_tls_open(host, config->connections_max, ret_why)) {
        host_disks_close(host);
        streams_close(host);
        return false;
    }
    for (uint32_t i = 0; i < config->count; i++) {
        if (!shard_make(host, i, ret_why)) {
            host_disks_close(host);
            streams_close(host);
            return false;
        }
    }
    return true;
}

/* Every shard in a thread of its own, the last one ends the process. */
static bool
run(struct host *host, char *ret_why)
{
    const uint32_t count = host->options.shard.count;
    for (uint32_t i = 0; i < count; i++) {
        const int error =
            pthread_create(&host->shard[i].thread, NULL, host_shard_run, &host->shard[i]);
        if (error != 0) {
            (void)snprintf(ret_why, HOST_WHY_BYTES, "cannot start the thread of shard %u: %s", i,
                           strerrordesc_np(error));
            return false; /* the threads that run end with the process */
        }
    }
    if (!host_recovery_wait(host, ret_why)) {
        return false;
    }
    ready_say(host);
    for (uint32_t i = 0; i < count; i++) {
        (void)pthread_join(host->shard[i].thread,
                           NULL); /* fails only for a thread that is not ours */
    }
    return true;
}

int
main(int argc, char **argv)
{
    char why[HOST_WHY_BYTES] = "";
    struct host *host = calloc(1, sizeof(*host));
    signals_arrange();
    if (host == NULL || !boot(host, argc, argv, why)) {
        (void)fprintf(stderr, "lepus-dataplane: %s\n", host == NULL ? "out of memory" : why);
        free(host);
        return 1;
    }
    host_idle_print(host);
    if (!run(host, why)) {
        (void)fprintf(stderr, "lepus-dataplane: %s\n", why);
        _exit(1);
    }
    host_disks_close(host);
    streams_close(host);
    free(host);
    return 0;
}
