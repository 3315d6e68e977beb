/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heartbeat.c - the connection's one timer: heartbeats both ways, the time a
 * state may last, and work that was put off.
 */
#include "dataplane/protocol/amqp091/amqp091.h"

#define NS_PER_S 1000000000u

static void timer_fire(void *context, struct lp_timer *timer, uint64_t now_ns);

void
amqp091_timer_update(struct amqp091_connection *connection)
{
    struct lp_wheel *wheel = &connection->shard->broker->wheel;
    const uint64_t times[] = {connection->deadline_ns, connection->beat_send_ns,
                              connection->beat_check_ns, connection->retry_ns, connection->work_ns};
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < LP_COUNT_OF(times); i++) {
        if (times[i] != 0 && times[i] < first) {
            first = times[i];
        }
    }
    if (first == UINT64_MAX) {
        lp_timer_disarm(wheel, &connection->timer);
    } else {
        lp_timer_arm(wheel, &connection->timer, timer_fire, first);
    }
}

void
amqp091_timer_deadline(struct amqp091_connection *connection, uint64_t after_ns)
{
    connection->deadline_ns = after_ns == 0 ? 0 : connection->shard->broker->now_ns + after_ns;
    amqp091_timer_update(connection);
}

void
amqp091_heartbeat_start(struct amqp091_connection *connection)
{
    const uint64_t now_ns = connection->shard->broker->now_ns;
    const uint64_t period_ns = (uint64_t)connection->heartbeat_s * NS_PER_S;
    if (period_ns == 0) {
        return;
    }
    connection->heard_ns = now_ns;
    connection->beat_send_ns = now_ns + period_ns / 2;
    connection->beat_check_ns = now_ns + period_ns;
    amqp091_timer_update(connection);
}

/* Whatever was written in the last half period counts as a heartbeat. */
static void
beat_send(struct amqp091_connection *connection, uint64_t now_ns)
{
    static const uint8_t beat[] = {AMQP091_FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, AMQP091_FRAME_END};
    const uint64_t half_ns = (uint64_t)connection->heartbeat_s * NS_PER_S / 2;
    const uint64_t due_ns = connection->base->sent_ns + half_ns;
    if (now_ns < due_ns) {
        connection->beat_send_ns = due_ns;
        return;
    }
    /* Output that the peer does not read is a heartbeat that waits already. */
    if (connection->base->output_bytes == 0 && !connection->dead) {
        connection->dead = !lp_connection_write(connection->base, beat, sizeof(beat));
    }
    connection->beat_send_ns = now_ns + half_ns;
}

/* True: the peer is silent for three periods (RabbitMQ: two idle checks after the last byte). */
static bool
beat_missing(struct amqp091_connection *connection, uint64_t now_ns)
{
    const uint64_t period_ns = (uint64_t)connection->heartbeat_s * NS_PER_S;
    if (connection->base->pauses != 0) {
        /* It is us who do not read: that is no silence of the peer's. */
        connection->heard_ns = now_ns;
    }
    connection->heard_ns = LP_MAX(connection->heard_ns, connection->base->received_ns);
    connection->beat_check_ns = connection->heard_ns + 3 * period_ns;
    if (now_ns < connection->beat_check_ns) {
        /* Looked at once a period, so that a pause in between is seen. */
        connection->beat_check_ns = LP_MIN(connection->beat_check_ns, now_ns + period_ns);
        return false;
    }
    connection->beat_check_ns = 0;
    return true;
}

static bool
is_due(uint64_t *time_ns, uint64_t now_ns)
{
    if (*time_ns == 0 || *time_ns > now_ns) {
        return false;
    }
    *time_ns = 0;
    return true;
}

static void
timer_fire(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    (void)context;
    struct amqp091_connection *connection =
        LP_CONTAINER_OF(timer, struct amqp091_connection, timer);

    if (is_due(&connection->work_ns, now_ns) && !amqp091_connection_progress(connection)) {
        return; /* released */
    }
    if (is_due(&connection->retry_ns, now_ns)) {
        connection->stalled = false;
        amqp091_connection_wake(connection);
    }
    if (is_due(&connection->beat_send_ns, now_ns)) {
        beat_send(connection, now_ns);
    }
    const bool silent =
        is_due(&connection->beat_check_ns, now_ns) && beat_missing(connection, now_ns);
    const bool expired = is_due(&connection->deadline_ns, now_ns);
    if (silent || expired) {
        amqp091_connection_event(connection, AMQP091_EV_EXPIRED);
    }
    amqp091_timer_update(connection);
}
