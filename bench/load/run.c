/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c - the loop: who may send sends, who has something to read reads.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "run.h"

#define EVENTS_MAX 256
/* Publishers that send before sockets are looked at again. */
#define SENDERS_MAX 256u

void
load_mark_take(struct load_mark *mark, struct load_run *run)
{
    load_usage_take(&mark->usage, &run->tree);
    mark->sent = run->tally.sent;
    mark->received = run->tally.received;
    mark->confirmed = run->tally.confirmed;
    mark->held = run->tally.held;
    mark->late = run->tally.late;
}

/* Ask epoll for room on the socket while, and only while, something waits for it. */
static void
rewatch(struct load_run *run, struct load_conn *conn, bool wanted)
{
    if (wanted != conn->watching_write && !conn->broken) {
        const struct epoll_event event = {.events = EPOLLIN | (wanted ? (uint32_t)EPOLLOUT : 0u),
                                          .data.ptr = conn};
        conn->watching_write = wanted;
        (void)load_watch_control(&run->watch, EPOLL_CTL_MOD, conn, event); /* it is in there */
    }
    if (conn->broken) {
        run->broken = conn->why;
    }
}

static void
pump_one(struct load_run *run, struct load_publisher *p)
{
    if (load_publisher_pump(p, load_now_ns()) == LOAD_PUMP_MORE) {
        load_schedule_add(&run->schedule, p);
    }
    rewatch(run, &p->conn, p->pending_start != p->pending_end);
}

/* Those whose time has come, up to a turn's share. */
static void
pump(struct load_run *run, uint64_t now_ns)
{
    for (uint32_t i = 0; i < SENDERS_MAX; i++) {
        struct load_publisher *p = load_schedule_pop(&run->schedule, now_ns);
        if (p == NULL) {
            return;
        }
        pump_one(run, p);
    }
}

static void
handle(struct load_run *run, const struct epoll_event *event)
{
    struct load_conn *conn = event->data.ptr;
    const bool readable = (event->events & ~(uint32_t)EPOLLOUT) != 0;
    const bool writable = (event->events & (uint32_t)EPOLLOUT) != 0;
    if (conn == NULL) {
        struct signalfd_siginfo info;
        (void)!read(run->signals, &info, sizeof(info)); /* which one does not matter */
        run->broken = run->interrupted ? "interrupted twice" : run->broken;
        run->interrupted = true;
    } else if (conn->role == LOAD_ROLE_CONSUMER) {
        struct load_consumer *c = (struct load_consumer *)conn;
        if (readable) {
            struct lp_reader input = load_conn_receive(conn, run->arena);
            load_consumer_take(c, &input, load_now_ns());
        } else {
            (void)load_conn_flush(conn);
        }
        rewatch(run, conn, conn->out_start != conn->out_end);
    } else if (conn->role == LOAD_ROLE_PUBLISHER) {
        struct load_publisher *p = (struct load_publisher *)conn;
        if (readable) {
            load_publisher_read(p, run->arena);
        }
        if (writable) {
            pump_one(run, p);
        }
        rewatch(run, conn, p->pending_start != p->pending_end);
    } else if (readable) {
        /* Admin and idle ones hear nothing but their end, and notices. */
        struct load_frame frame;
        struct lp_reader input = load_conn_receive(conn, run->arena);
        while (load_conn_take(conn, &input, &frame)) {
        }
        load_conn_keep(conn, &input);
        rewatch(run, conn, false);
    }
}

static bool
watch(struct load_run *run, struct load_conn *conn)
{
    const struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    return load_watch_control(&run->watch, EPOLL_CTL_ADD, conn, event);
}

/* Copies that consumers should have got of what was sent. */
static uint64_t
expected(const struct load_run *run)
{
    const struct load_options *o = &run->options;
    if (o->consumers == 0) {
        return 0;
    }
    return o->publishers == 0 ? run->tally.to_receive
                              : run->tally.sent * (o->to_all ? o->queues : 1u);
}

static bool
done(const struct load_run *run)
{
    const struct load_tally *tally = &run->tally;
    const struct load_options *o = &run->options;
    if (tally->received < expected(run) ||
        (o->confirm && tally->confirmed + tally->nacked < tally->sent) ||
        (o->messages != 0 && !run->measured && o->publishers != 0 && tally->sent < o->messages)) {
        return false;
    }
    if (o->messages == 0 && !run->measured) {
        return false; /* time decides */
    }
    for (uint32_t i = 0; i < o->publishers; i++) {
        if (!load_publisher_done(&run->publishers[i])) {
            return false;
        }
    }
    return true;
}

/* Time is up, or the first signal came: nothing more is sent. */
static void
stop_sending(struct load_run *run, uint64_t now_ns)
{
    const struct load_options *o = &run->options;
    load_mark_take(&run->end, run);
    run->measured = true;
    for (uint32_t i = 0; i < o->publishers; i++) {
        struct load_publisher *p = &run->publishers[i];
        p->limit = p->sent;
        if (o->rate > 0 && p->held && p->due_ns < now_ns) {
            run->tally.unsent +=
                (uint64_t)((double)(now_ns - p->due_ns) * o->rate / o->publishers / 1e9) + 1u;
        }
    }
    while (load_schedule_pop(&run->schedule, UINT64_MAX) != NULL) {
    }
}

/* Turns of the run's life; called once a turn. */
static void
phases(struct load_run *run, uint64_t now_ns)
{
    if (!run->measuring && now_ns >= run->warm_ns) {
        run->measuring = true;
        load_hdr_clear(run->tally.delivery);
        load_thousands_clear(&run->tally.thousands);
        load_hdr_clear(run->tally.confirm);
        load_hdr_clear(run->tally.start);
        load_hdr_clear(run->second);
        load_mark_take(&run->begin, run);
        run->tick = run->begin;
    }
    if (!run->measured && (now_ns >= run->stop_ns || run->interrupted)) {
        stop_sending(run, now_ns);
    }
    if (run->measuring && !run->options.quiet &&
        now_ns >= run->tick.usage.wall_ns + LOAD_NS_PER_S) {
        load_progress(run, now_ns);
    }
}

/* When phases() has something to do. */
static uint64_t
next_phase_ns(const struct load_run *run)
{
    if (!run->measuring) {
        return run->warm_ns;
    }
    const uint64_t stop_ns = run->measured ? UINT64_MAX : run->stop_ns;
    if (run->options.quiet) {
        return stop_ns; /* nobody is told how it goes */
    }
    return LP_MIN(stop_ns, run->tick.usage.wall_ns + LOAD_NS_PER_S);
}

static int
wait_events(struct load_run *run, struct epoll_event *events, uint64_t until_ns)
{
    const uint64_t now_ns = run->options.spin ? until_ns : load_now_ns();
    const uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    return load_watch_wait(&run->watch, events, EVENTS_MAX, wait_ns);
}

/* Everything that moves adds up here: a sum that stands still is a stall. */
static uint64_t
progress_sum(const struct load_tally *tally)
{
    return tally->sent + tally->received + tally->confirmed + tally->nacked + tally->duplicates +
           tally->foreign + tally->returned + tally->corrupt;
}

static bool
begin(struct load_run *run)
{
    const struct load_options *o = &run->options;
    bool good = watch(run, &run->admin);
    for (uint32_t i = 0; i < o->idle_connections; i++) {
        good = good && watch(run, &run->idle[i]);
    }
    for (uint32_t i = 0; i < o->publishers && good; i++) {
        struct load_publisher *p = &run->publishers[i];
        good = load_publisher_ready(p) && watch(run, &p->conn);
    }
    for (uint32_t i = 0; i < o->consumers && good; i++) {
        /* Deliveries may have come together with the answer to consume. */
        struct load_consumer *c = &run->consumers[i];
        struct lp_reader input = load_conn_kept(&c->conn, run->arena);
        load_consumer_take(c, &input, load_now_ns());
        good = watch(run, &c->conn);
    }
    const uint64_t start_ns = load_now_ns();
    run->warm_ns = start_ns + (uint64_t)(o->warmup_s * 1e9);
    run->stop_ns = o->seconds > 0 ? run->warm_ns + (uint64_t)(o->seconds * 1e9) : UINT64_MAX;
    for (uint32_t i = 0; i < o->publishers && good; i++) {
        load_publisher_start(&run->publishers[i], start_ns);
    }
    return good;
}

const char *
load_run_loop(struct load_run *run)
{
    struct epoll_event events[EVENTS_MAX];
    const uint64_t patience_ns = run->options.timeout_s * LOAD_NS_PER_S;
    const bool idle = run->options.publishers == 0 && run->options.consumers == 0;
    uint64_t seen = 0;
    uint64_t moved_ns = load_now_ns();
    if (!begin(run)) {
        return strerrordesc_np(errno);
    }
    for (;;) {
        const uint64_t now_ns = load_now_ns();
        phases(run, now_ns);
        if (progress_sum(&run->tally) != seen || (idle && !run->measured)) {
            seen = progress_sum(&run->tally);
            moved_ns = now_ns;
        }
        pump(run, now_ns);
        if (run->broken != NULL || done(run)) {
            if (!run->measured) {
                load_mark_take(&run->end, run);
            }
            return run->broken;
        }
        const uint64_t due_ns = load_schedule_next_ns(&run->schedule);
        /* Under a very low rate a pause is no stall. */
        const uint64_t stall_ns =
            (due_ns == UINT64_MAX ? moved_ns : LP_MAX(due_ns, moved_ns)) + patience_ns;
        const uint64_t wake_ns = LP_MIN(next_phase_ns(run), stall_ns);
        const int count = wait_events(run, events, LP_MIN(due_ns, wake_ns));
        for (int i = 0; i < count; i++) {
            handle(run, &events[i]);
        }
        if (count <= 0 && now_ns >= stall_ns) {
            return "nothing moved within --timeout";
        }
    }
}
