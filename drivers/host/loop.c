/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <lepus/atomic.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

/* Patience is in this many parts. */
#define PATIENCE_MAX 16u

/* Pauses between two looks while relaxing; about 1 us on current processors. */
#define RELAX_PAUSES 16

static void
processor_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Block until an event, a wake, or the shard's next timer. */
static void
block(struct host_shard *self, uint64_t now_ns, uint64_t next_ns)
{
    next_ns = LP_MIN(next_ns, host_net_report_due_ns(self));
    if (next_ns <= now_ns || !lp_shard_sleep_begin(self->shard)) {
        return;
    }
    const struct lp_transport *transport = &self->transport;
    self->slept = true;
    transport->ops->wait(transport->self, next_ns == UINT64_MAX ? UINT64_MAX : next_ns - now_ns);
    lp_shard_sleep_end(self->shard);
}

/*
 * SPIN while there was work a moment ago, then RELAX, then BLOCK:
 *
 *      work --+------------- spin_ns ----+------ relax_ns ---+-------->
 *             |  turn after turn         |  pauses between   |  wait()
 *
 * With a disk at work there is no spinning: what makes a write durable may be a
 * thread of the kernel's that waits for this very processor.
 *
 * Both times are shortened by patience.  What comes ten thousand times a second
 * comes long after any spinning that is worth its while: a sleep that lasted
 * makes the next spinning half as long, one that ended at once twice.
 */
static void
idle(struct host_shard *self, uint64_t quiet_ns, uint64_t now_ns, uint64_t next_ns)
{
    const struct host_idle *idle = &self->host->idle;
    const uint64_t spin_ns = idle->spin_ns * self->patience / PATIENCE_MAX;
    const uint64_t relax_ns = idle->relax_ns * self->patience / PATIENCE_MAX;
    const bool disk = host_disk_busy(self);
    if (idle->poll != HOST_POLL_BUSY && (disk || quiet_ns >= LP_MAX(spin_ns, relax_ns))) {
        block(self, now_ns, next_ns);
        return;
    }
    if (disk) {
        (void)sched_yield(); /* cannot fail */
        return;
    }
    for (int i = 0; quiet_ns >= spin_ns && i < RELAX_PAUSES; i++) {
        processor_pause();
    }
}

/* Was it right to sleep so soon? */
static void
patience_learn(struct host_shard *self, uint64_t slept_ns)
{
    const struct host_idle *idle = &self->host->idle;
    if (slept_ns > LP_MAX(idle->spin_ns, idle->relax_ns)) {
        self->patience /= 2;
    } else {
        self->patience = LP_MIN(2 * self->patience + 1, PATIENCE_MAX);
    }
}

/* As `top -H` and perf show it. */
static void
thread_name(uint32_t shard)
{
    char name[16];
    (void)snprintf(name, sizeof(name), "shard-%u", shard);
    (void)pthread_setname_np(pthread_self(), name); /* fails only for names that are too long */
}

/*
 * This shard has ended its connections; others may still need its answers, to
 * end theirs.  True: all have ended, and nobody needs anybody any more.
 */
static bool
all_stopped(struct host_shard *self)
{
    struct host *host = self->host;
    const uint32_t count = host->options.shard.count;
    if (!self->stopped) {
        /* E1, pairs with E2; the fence: of two that end at once at least one sees both. */
        lp_store_release(&self->stopped, true);
        lp_fence_full();
    }
    for (uint32_t i = 0; i < count; i++) {
        /* E2, pairs with E1. */
        if (!lp_load_acquire(&host->shard[i].stopped)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i != self->index) {
            const struct lp_transport *transport = &host->shard[i].transport;
            transport->ops->wake_any(transport->self);
        }
    }
    return true;
}

/* Some of what is on disk would be lost if we did: the operator can do something about it. */
static _Noreturn void
cannot_go_on(const struct host_shard *self, enum lp_err err)
{
    (void)fprintf(
        stderr,
        "lepus-dataplane: shard %u with %llu MiB cannot take all queues and bindings that "
        "there are: %s. No message is lost; start it with more lepus.memory\n",
        self->index, (unsigned long long)(self->host->shard_bytes >> 20), lp_err_text(err));
    _exit(1);
}

void *
host_shard_run(void *argument)
{
    struct host_shard *self = argument;
    host_panic_shard_set(self->index);
    thread_name(self->index);
    host_net_thread_enter(self);
    if (self->host->idle.pin && !host_thread_pin(&self->host->machine, self->index)) {
        (void)fprintf(stderr, "lepus-dataplane: shard %u cannot be pinned to processor %u\n",
                      self->index, self->host->machine.processor[self->index]);
    }
    uint64_t now = host_monotonic_ns();
    uint64_t last_work = now;
    self->patience = PATIENCE_MAX;
    bool recovered = false;
    bool closing = false;
    for (;;) {
        const struct lp_turn_result result =
            lp_shard_turn(self->shard, now, host_wall_ns(&self->wall, now));
        recovered = recovered || host_recovery_look(self);
        if (result.failed != LP_OK) {
            cannot_go_on(self, result.failed);
        }
        host_net_report(self, now);
        if (!closing && result.stopped && all_stopped(self)) {
            lp_shard_close_begin(self->shard); /* nobody will ask it for anything any more */
            closing = true;
            continue;
        }
        if (closing && lp_shard_closed(self->shard)) {
            host_disk_drain(self);
            host_net_drain(self);
            return NULL;
        }
        /* The end of this turn is the beginning of the next: one look at the clock a turn. */
        const uint64_t after = host_monotonic_ns();
        if (result.work > 0) {
            lp_shard_turn_measured(self->shard, after - now);
            last_work = after;
            now = after;
            continue;
        }
        idle(self, after - last_work, after, result.next_ns);
        now = host_monotonic_ns();
        if (self->slept) {
            self->slept = false;
            patience_learn(self, now - after);
        }
    }
}
