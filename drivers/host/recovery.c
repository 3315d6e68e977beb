/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery.c - shards read their logs, each in its thread, before anybody is
 * told that we are ready; the first thread waits, says how far they are, and,
 * when a log is damaged, what an operator can do.
 */
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

/* One line in so long a time. */
#define SAY_S 1

bool
host_recovery_init_boot(struct host_recovery *recovery)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        return false;
    }
    const bool fine = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                      pthread_cond_init(&recovery->changed, &attributes) == 0 &&
                      pthread_mutex_init(&recovery->lock, NULL) == 0;
    (void)pthread_condattr_destroy(&attributes);
    return fine;
}

bool
host_recovery_look(struct host_shard *self)
{
    struct host_recovery *recovery = &self->host->recovery;
    struct lp_shard_recovery now;
    lp_shard_recovery(self->shard, &now);
    (void)pthread_mutex_lock(&recovery->lock);
    const bool over = now.state != LP_SHARD_RECOVERING;
    recovery->shard[self->index] = now;
    if (over) {
        recovery->over++;
        (void)pthread_cond_signal(&recovery->changed);
    }
    (void)pthread_mutex_unlock(&recovery->lock);
    return over;
}

static void
progress_say(const struct host *host)
{
    uint64_t done = 0;
    uint64_t total = 0;
    for (uint32_t i = 0; i < host->options.shard.count; i++) {
        const struct lp_shard_recovery *shard = &host->recovery.shard[i];
        done += shard->done_bytes;
        total += shard->total_bytes;
    }
    (void)fprintf(stderr, "lepus-dataplane: log: %llu of at most %llu MiB read back\n",
                  (unsigned long long)(done >> 20), (unsigned long long)(total >> 20));
}

static void
damage_say(const struct host *host, uint32_t shard, char *ret_why)
{
    const struct lp_log_fault *fault = &host->recovery.shard[shard].fault;
    const char *data = host->options.data;
    if (host->recovery.shard[shard].no_memory) {
        (void)snprintf(ret_why, HOST_WHY_BYTES,
                       "shard %u with %llu MiB has not enough memory for what its log has. No "
                       "message is lost; start it with more lepus.memory",
                       shard, (unsigned long long)(host->shard_bytes >> 20));
        return;
    }
    (void)snprintf(ret_why, HOST_WHY_BYTES,
                   "%s/log/shard-%u/%08u.log is damaged at offset %llu: %s. Nothing was changed. "
                   "'lepus log verify %s' reads all of it; with a copy of the folder made, 'lepus "
                   "log repair --accept-loss %s' gives up what lies behind",
                   data, shard, fault->segment, (unsigned long long)fault->offset, fault->what,
                   data, data);
}

static bool
all_whole(const struct host *host, char *ret_why)
{
    for (uint32_t i = 0; i < host->options.shard.count; i++) {
        const struct lp_shard_recovery *shard = &host->recovery.shard[i];
        if (shard->state == LP_SHARD_DAMAGED) {
            damage_say(host, i, ret_why);
            return false;
        }
    }
    return true;
}

bool
host_recovery_wait(struct host *host, char *ret_why)
{
    struct host_recovery *recovery = &host->recovery;
    struct timespec until;
    bool said = false;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    (void)pthread_mutex_lock(&recovery->lock);
    while (recovery->over < host->options.shard.count) {
        until.tv_sec += SAY_S;
        int error = 0;
        while (error == 0 && recovery->over < host->options.shard.count) {
            error = pthread_cond_timedwait(&recovery->changed, &recovery->lock, &until);
        }
        if (error == ETIMEDOUT) {
            progress_say(host);
            said = true;
        }
    }
    const bool whole = all_whole(host, ret_why);
    if (whole && said) {
        (void)fprintf(stderr, "lepus-dataplane: log: everything is read back\n");
    }
    (void)pthread_mutex_unlock(&recovery->lock);
    return whole;
}
