/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - lepus-bench: open everything, run the loop, report.
 *
 * The run ends when everything that was sent is settled and consumed, when
 * nothing moves for --timeout, when a connection breaks, or at the first
 * SIGINT or SIGTERM; the queues are deleted in every case.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "load.h"

#define NS_PER_S   1000000000ull
#define EVENTS_MAX 64

struct run {
    struct load_options options;
    struct load_tally tally;
    struct load_conn admin;
    struct load_publisher *publishers;
    struct load_consumer *consumers;
    int epoll;
    int signals;
    bool interrupted;
    uint64_t stop_sending_ns; /* 0: the limit decides */
};

/* What epoll hands back: who, and which kind. */
enum source { SOURCE_SIGNAL, SOURCE_PUBLISHER, SOURCE_CONSUMER };

static uint64_t
token(enum source source, uint32_t index)
{
    return (uint64_t)source << 32 | index;
}

void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "lepus-bench: %s:%d: %s\n", file, line, expr);
    abort();
}

static bool
declare_queues(struct run *run)
{
    for (uint32_t i = 0; i < run->options.queues; i++) {
        char name[256];
        uint8_t memory[512];
        load_queue_name(&run->options, i, name);
        struct lp_writer w = lp_writer_of(memory, sizeof(memory));
        lp_writer_u16be(&w, 0);
        lp_writer_short(&w, lp_bytes_of_text(name));
        lp_writer_u8(&w, run->options.durable ? 2 : 0);
        lp_writer_u32be(&w, 0);
        LP_ASSERT(!w.failed);
        if (!load_conn_call(&run->admin, LOAD_QUEUE_DECLARE, lp_writer_bytes(&w),
                            LOAD_QUEUE_DECLARE_OK)) {
            return false;
        }
    }
    return true;
}

static void
delete_queues(struct run *run)
{
    for (uint32_t i = 0; i < run->options.queues && !run->options.keep; i++) {
        char name[256];
        uint8_t memory[512];
        load_queue_name(&run->options, i, name);
        struct lp_writer w = lp_writer_of(memory, sizeof(memory));
        lp_writer_u16be(&w, 0);
        lp_writer_short(&w, lp_bytes_of_text(name));
        lp_writer_u8(&w, 0);
        LP_ASSERT(!w.failed);
        if (!load_conn_call(&run->admin, LOAD_QUEUE_DELETE, lp_writer_bytes(&w),
                            LOAD_QUEUE_DELETE_OK)) {
            (void)fprintf(stderr, "lepus-bench: queue %s stays: %s\n", name, run->admin.why);
            return;
        }
    }
}

static bool
watch(const struct run *run, int fd, uint64_t who)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = who};
    return epoll_ctl(run->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool
refuse(const char *who, const struct load_conn *conn)
{
    (void)fprintf(stderr, "lepus-bench: %s: %s\n", who,
                  conn->why[0] ? conn->why : strerrordesc_np(errno));
    return false;
}

static bool
open_all(struct run *run)
{
    const struct load_options *o = &run->options;
    run->publishers = calloc(o->publishers + 1u, sizeof(*run->publishers));
    run->consumers = calloc(o->consumers + 1u, sizeof(*run->consumers));
    if (run->publishers == NULL || run->consumers == NULL || !load_tally_init(&run->tally, o)) {
        (void)fprintf(stderr, "lepus-bench: out of memory\n");
        return false;
    }
    if (!load_conn_open(&run->admin, o, 65536) || !declare_queues(run)) {
        return refuse("opening", &run->admin);
    }
    for (uint32_t i = 0; i < o->consumers; i++) {
        struct load_consumer *c = &run->consumers[i];
        if (!load_consumer_open(c, i, o, &run->tally) ||
            !watch(run, c->conn.fd, token(SOURCE_CONSUMER, i))) {
            return refuse("a consumer", &c->conn);
        }
    }
    for (uint32_t i = 0; i < o->publishers; i++) {
        struct load_publisher *p = &run->publishers[i];
        if (!load_publisher_open(p, i, o, &run->tally) ||
            !watch(run, p->conn.fd, token(SOURCE_PUBLISHER, i))) {
            return refuse("a publisher", &p->conn);
        }
    }
    return true;
}

/* Ask epoll for room on the socket while, and only while, something waits for it. */
static void
rewatch(const struct run *run, struct load_conn *conn, uint64_t who)
{
    const bool wanted = conn->out_start != conn->out_end && !conn->broken;
    if (wanted != conn->watching_write) {
        struct epoll_event event = {.events = EPOLLIN | (wanted ? (uint32_t)EPOLLOUT : 0u),
                                    .data.u64 = who};
        conn->watching_write = wanted;
        (void)epoll_ctl(run->epoll, EPOLL_CTL_MOD, conn->fd, &event); /* the fd is in there */
    }
}

static void
handle(struct run *run, const struct epoll_event *event)
{
    const uint32_t index = (uint32_t)event->data.u64;
    switch ((enum source)(event->data.u64 >> 32)) {
    case SOURCE_SIGNAL:
        run->interrupted = true;
        break;
    case SOURCE_PUBLISHER:
        if ((event->events & ~(uint32_t)EPOLLOUT) != 0) {
            load_publisher_read(&run->publishers[index]);
        }
        break;
    case SOURCE_CONSUMER:
        if ((event->events & ~(uint32_t)EPOLLOUT) != 0) {
            load_consumer_read(&run->consumers[index]);
        } else {
            load_conn_flush(&run->consumers[index].conn);
        }
        rewatch(run, &run->consumers[index].conn, event->data.u64);
        break;
    }
}

/* Let every publisher send what it may; the time when one of them may again. */
static uint64_t
pump(struct run *run, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < run->options.publishers; i++) {
        struct load_publisher *p = &run->publishers[i];
        if (run->stop_sending_ns != 0 && now_ns >= run->stop_sending_ns) {
            p->limit = p->stream->sent;
        }
        if (load_publisher_pump(p, now_ns)) {
            next_ns = now_ns;
        }
        rewatch(run, &p->conn, token(SOURCE_PUBLISHER, i));
        if (p->interval_ns != 0 && p->due_ns > now_ns && p->stream->sent < p->limit) {
            next_ns = LP_MIN(next_ns, p->due_ns);
        }
    }
    return next_ns;
}

static const char *
broken(const struct run *run)
{
    for (uint32_t i = 0; i < run->options.publishers; i++) {
        if (run->publishers[i].conn.broken) {
            return run->publishers[i].conn.why;
        }
    }
    for (uint32_t i = 0; i < run->options.consumers; i++) {
        if (run->consumers[i].conn.broken) {
            return run->consumers[i].conn.why;
        }
    }
    return NULL;
}

static bool
done(const struct run *run)
{
    for (uint32_t i = 0; i < run->options.publishers; i++) {
        if (!load_publisher_done(&run->publishers[i])) {
            return false;
        }
    }
    if (run->options.consumers == 0) {
        return true;
    }
    const bool sends = run->options.publishers != 0;
    return run->tally.received >= (sends ? run->tally.sent : run->options.messages);
}

/* Everything that moves adds up here: a sum that stands still is a stall. */
static uint64_t
progress(const struct load_tally *tally)
{
    return tally->sent + tally->received + tally->confirmed + tally->nacked + tally->duplicates +
           tally->foreign + tally->returned + tally->corrupt;
}

static int
wait_events(const struct run *run, struct epoll_event *events, uint64_t until_ns)
{
    const uint64_t now_ns = load_now_ns();
    const uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    const struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S),
                                  .tv_nsec = (long)(wait_ns % NS_PER_S)};
    return epoll_pwait2(run->epoll, events, EVENTS_MAX, &wait, NULL);
}

/* NULL when the run came to its end, otherwise why it did not. */
static const char *
loop(struct run *run)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t seen = 0;
    uint64_t moved_ns = load_now_ns();
    const uint64_t patience_ns = run->options.timeout_s * NS_PER_S;

    for (;;) {
        const uint64_t now_ns = load_now_ns();
        if (progress(&run->tally) != seen) {
            seen = progress(&run->tally);
            moved_ns = now_ns;
        }
        const uint64_t due_ns = pump(run, now_ns);
        if (done(run)) {
            run->tally.last_event_ns = LP_MAX(run->tally.last_event_ns, now_ns);
            return NULL;
        }
        const uint64_t stop_ns = run->stop_sending_ns > now_ns ? run->stop_sending_ns : UINT64_MAX;
        /* Under a very low rate a pause is no stall. */
        const uint64_t stall_ns = (due_ns == UINT64_MAX ? moved_ns : due_ns) + patience_ns;
        const int count = wait_events(run, events, LP_MIN(LP_MIN(due_ns, stop_ns), stall_ns));
        for (int i = 0; i < count; i++) {
            handle(run, &events[i]);
        }
        if (run->interrupted) {
            return "interrupted";
        }
        if (broken(run) != NULL) {
            return broken(run);
        }
        if (count <= 0 && load_now_ns() >= stall_ns) {
            return "nothing moved within --timeout";
        }
    }
}

static uint64_t
broker_cpu_ns(const struct load_options *options)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < options->broker_pid_count; i++) {
        sum += load_cpu_ns(options->broker_pids[i]);
    }
    return sum;
}

static int
measure(struct run *run)
{
    const uint64_t broker_before = broker_cpu_ns(&run->options);
    const uint64_t own_before = load_cpu_ns(getpid());
    if (run->options.seconds != 0) {
        run->stop_sending_ns = load_now_ns() + run->options.seconds * NS_PER_S;
    }
    if (run->options.publishers == 0) {
        run->tally.first_send_ns = load_now_ns();
    }
    for (uint32_t i = 0; i < run->options.consumers; i++) {
        load_consumer_take(&run->consumers[i]);
    }
    const char *why = loop(run);
    const uint64_t broker_after = broker_cpu_ns(&run->options);
    const uint64_t own_after = load_cpu_ns(getpid());

    for (uint32_t i = 0; i < run->options.consumers; i++) {
        load_consumer_settle(&run->consumers[i]);
    }
    const bool good =
        load_report(&run->options, &run->tally, broker_after - LP_MIN(broker_after, broker_before),
                    own_after - own_before);
    if (why != NULL) {
        (void)fprintf(stderr, "lepus-bench: stopped early: %s\n", why);
    }
    return good && why == NULL ? 0 : 1;
}

static void
close_all(struct run *run)
{
    for (uint32_t i = 0; run->publishers != NULL && i < run->options.publishers; i++) {
        load_publisher_close(&run->publishers[i]);
    }
    for (uint32_t i = 0; run->consumers != NULL && i < run->options.consumers; i++) {
        load_consumer_close(&run->consumers[i]);
    }
    if (run->admin.in != NULL && !run->admin.broken) {
        delete_queues(run);
    }
    load_conn_close(&run->admin);
    free(run->publishers);
    free(run->consumers);
    load_tally_fini(&run->tally);
}

int
main(int argc, char **argv)
{
    struct run run = {.epoll = -1, .signals = -1, .admin.fd = -1};
    int code = 2;
    if (!load_options_parse(&run.options, argc, argv, &code)) {
        return code;
    }
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (run.epoll < 0 || run.signals < 0 || pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 ||
        !watch(&run, run.signals, token(SOURCE_SIGNAL, 0))) {
        (void)fprintf(stderr, "lepus-bench: %s\n", strerrordesc_np(errno));
        return 2;
    }
    code = open_all(&run) ? measure(&run) : 2;
    close_all(&run);
    return code;
}
