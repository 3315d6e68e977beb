/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/keeper.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <lepus/atomic.h>

#include <drivers/common/socket.h>
#include <drivers/common/thread.h>

#include "dataplane/base/ring.h"

#define LOOK_INTERVAL_MS 1000

LP_STATIC_ASSERT(sizeof(struct lp_keeper_chore) <= sizeof(struct lp_record), "a chore is a record");

struct lp_keeper_channel {
    struct lp_keeper *keeper;
    struct lp_segments *segments;
    struct lp_ring *chores;
    struct lp_ring *done;
    void *memory; /* of both rings */
    int wake_fd;
    uint64_t free_bytes;
};

struct lp_keeper {
    pthread_t thread;
    int wake_fd;
    bool stop;
    uint32_t channel_count;
    struct lp_keeper_channel *channel[LP_KEEPER_CHANNELS_MAX];
};

/* --- The thread. ----------------------------------------------------------------------------- */

static enum lp_err
chore_open(const struct lp_segments *segments, struct lp_keeper_chore *chore)
{
    chore->fd = lp_segments_file_open(segments, chore->file);
    return chore->fd >= 0 ? LP_OK : lp_segments_err(errno);
}

static void
chore_do(struct lp_keeper_channel *channel, struct lp_keeper_chore *chore)
{
    struct lp_segments *segments = channel->segments;
    if (chore->fd >= 0) {
        (void)close(chore->fd);
        chore->fd = -1;
    }
    switch (chore->kind) {
    case LP_KEEPER_CREATE:
        chore->err = lp_segments_create(segments, chore->file, chore->bytes, &channel->keeper->stop,
                                        &chore->fd);
        return;
    case LP_KEEPER_REMOVE:
        chore->err = lp_segments_remove(segments, chore->file, chore->bytes);
        return;
    case LP_KEEPER_OPEN:
        chore->err = chore_open(segments, chore);
        return;
    case LP_KEEPER_CLOSE:
        return;
    }
}

/* One chore of each channel's, so that no shard waits for all of another's; true: there were. */
static bool
chores_do(struct lp_keeper *keeper)
{
    bool any = false;
    /* K1, pairs with K2: a channel is whole before it is counted. */
    const uint32_t count = lp_load_acquire(&keeper->channel_count);
    for (uint32_t i = 0; i < count; i++) {
        struct lp_keeper_channel *channel = keeper->channel[i];
        const struct lp_record *record = lp_ring_take(channel->chores);
        struct lp_keeper_chore chore;
        if (record == NULL) {
            continue;
        }
        memcpy(&chore, record, sizeof(chore));
        lp_ring_give_back(channel->chores);
        any = true;
        chore_do(channel, &chore);
        if (chore.kind == LP_KEEPER_CLOSE) {
            continue;
        }
        struct lp_record *answer = lp_ring_slot(channel->done);
        LP_ASSERT(answer != NULL); /* chore() never has more under way than the ring holds */
        memcpy(answer, &chore, sizeof(chore));
        (void)lp_ring_publish(channel->done);
        lp_socket_wake_any(channel->wake_fd);
    }
    return any;
}

static void
room_look(struct lp_keeper *keeper)
{
    /* K1, pairs with K2: a channel is whole before it is counted. */
    const uint32_t count = lp_load_acquire(&keeper->channel_count);
    for (uint32_t i = 0; i < count; i++) {
        struct lp_keeper_channel *channel = keeper->channel[i];
        /* A statistic. */
        lp_store_relaxed(&channel->free_bytes, lp_segments_free_bytes(channel->segments));
    }
}

static uint64_t
now_ms(void)
{
    struct timespec now;
    const int failed = clock_gettime(CLOCK_MONOTONIC, &now);
    LP_ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static void *
keeper_run(void *argument)
{
    struct lp_keeper *keeper = argument;
    uint64_t looked_ms = now_ms();
    (void)pthread_setname_np(pthread_self(), "disk-keeper"); /* fails only for longer names */
    /* K4, pairs with K5. */
    while (!lp_load_acquire(&keeper->stop)) {
        const bool any = chores_do(keeper);
        if (now_ms() - looked_ms >= LOOK_INTERVAL_MS) {
            looked_ms = now_ms();
            room_look(keeper);
        }
        if (!any) {
            struct pollfd wake = {.fd = keeper->wake_fd, .events = POLLIN};
            (void)poll(&wake, 1, LOOK_INTERVAL_MS); /* whatever ended it, the loop looks */
            lp_socket_wake_drain(keeper->wake_fd);
        }
    }
    return NULL;
}

/* --- Opening and closing. -------------------------------------------------------------------- */

enum lp_err
lp_keeper_open_boot(struct lp_keeper **ret_keeper)
{
    struct lp_keeper *keeper = calloc(1, sizeof(*keeper));
    if (keeper == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    keeper->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (keeper->wake_fd < 0) {
        free(keeper);
        return LP_ERR_IO;
    }
    if (!lp_thread_start_boot(&keeper->thread, keeper_run, keeper)) {
        (void)close(keeper->wake_fd);
        free(keeper);
        return LP_ERR_NO_MEMORY;
    }
    *ret_keeper = keeper;
    return LP_OK;
}

/* An answer that nobody took may hold a descriptor. */
static void
channel_free(struct lp_keeper_channel *channel)
{
    struct lp_keeper_chore chore;
    while (lp_keeper_done(channel, &chore)) {
        if (chore.fd >= 0) {
            (void)close(chore.fd);
        }
    }
    free(channel->memory);
    free(channel);
}

void
lp_keeper_close(struct lp_keeper **keeper)
{
    struct lp_keeper *self = *keeper;
    *keeper = NULL;
    if (self == NULL) {
        return;
    }
    /* K5, pairs with K3 and K4. */
    lp_store_release(&self->stop, true);
    lp_socket_wake_any(self->wake_fd);
    (void)pthread_join(self->thread, NULL); /* fails only for a thread that is not ours */
    for (uint32_t i = 0; i < self->channel_count; i++) {
        channel_free(self->channel[i]);
    }
    (void)close(self->wake_fd);
    free(self);
}

static bool
rings_make(struct lp_keeper_channel *channel)
{
    const size_t bytes = lp_ring_bytes(LP_KEEPER_CHORES_MAX);
    LP_ASSERT(bytes % LP_CACHE_LINE_BYTES == 0);
    channel->memory = aligned_alloc(LP_PAIR_BYTES, (2 * bytes + LP_PAIR_BYTES - 1) / LP_PAIR_BYTES *
                                                       LP_PAIR_BYTES);
    if (channel->memory == NULL) {
        return false;
    }
    return lp_ring_init_boot(channel->memory, bytes, LP_KEEPER_CHORES_MAX, &channel->chores) ==
               LP_OK &&
           lp_ring_init_boot((uint8_t *)channel->memory + bytes, bytes, LP_KEEPER_CHORES_MAX,
                             &channel->done) == LP_OK;
}

enum lp_err
lp_keeper_channel_boot(struct lp_keeper *keeper, struct lp_segments *segments, int wake_fd,
                       struct lp_keeper_channel **ret_channel)
{
    if (keeper->channel_count == LP_KEEPER_CHANNELS_MAX) {
        return LP_ERR_NO_MEMORY;
    }
    struct lp_keeper_channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    *channel = (struct lp_keeper_channel){.keeper = keeper,
                                          .segments = segments,
                                          .wake_fd = wake_fd,
                                          .free_bytes = lp_segments_free_bytes(segments)};
    if (!rings_make(channel)) {
        free(channel->memory);
        free(channel);
        return LP_ERR_NO_MEMORY;
    }
    keeper->channel[keeper->channel_count] = channel;
    /* K2, pairs with K1. */
    lp_store_release(&keeper->channel_count, keeper->channel_count + 1);
    *ret_channel = channel;
    return LP_OK;
}

/* --- The disk's side. ------------------------------------------------------------------------ */

bool
lp_keeper_chore(struct lp_keeper_channel *channel, const struct lp_keeper_chore *chore)
{
    struct lp_record *record = lp_ring_slot(channel->chores);
    if (record == NULL) {
        return false;
    }
    memcpy(record, chore, sizeof(*chore));
    (void)lp_ring_publish(channel->chores);
    lp_socket_wake_any(channel->keeper->wake_fd);
    return true;
}

bool
lp_keeper_done(struct lp_keeper_channel *channel, struct lp_keeper_chore *ret_chore)
{
    const struct lp_record *record = lp_ring_take(channel->done);
    if (record == NULL) {
        return false;
    }
    memcpy(ret_chore, record, sizeof(*ret_chore));
    lp_ring_give_back(channel->done);
    return true;
}

bool
lp_keeper_waiting(const struct lp_keeper_channel *channel)
{
    return lp_ring_waiting(channel->done);
}

uint64_t
lp_keeper_free_bytes(const struct lp_keeper_channel *channel)
{
    /* A statistic. */
    return lp_load_relaxed(&channel->free_bytes);
}
