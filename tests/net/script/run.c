/* SPDX-License-Identifier: Apache-2.0 */
#include "script.h"

#include <stdlib.h>
#include <string.h>

#include <lepus/net_counters.h>

#define BUFFERS_MAX 256u

struct flow {
    lp_handle stream;
    uint32_t peer_first;
    uint32_t our_first;
    uint32_t our_stamp; /* the last of ours */
    uint32_t sent;      /* given to send() so far */
    uint16_t our_port;  /* of one that we opened */
    bool our_first_known;
};

struct run {
    struct script_config config;
    struct script_world *world; /* NULL: configuration may still come */
    struct flow flow[SCRIPT_FLOWS_MAX];
    uint8_t *buffer[BUFFERS_MAX]; /* what send() was given: until the end */
    uint32_t buffers;
    bool verbose;
    char *why;
};

static bool
fail(struct run *run, const char *text)
{
    (void)snprintf(run->why, SCRIPT_WHY_BYTES, "%s", text);
    return false;
}

/* --- Settings. -------------------------------------------------------------------------------- */

static bool
config_word(struct run *run, const struct script_line *line)
{
    if (strcmp(line->name, "congestion") == 0) {
        run->config.net.congestion =
            strcmp(line->value, "newreno") == 0 ? LP_NET_NEWRENO : LP_NET_CUBIC;
        return true;
    }
    if (strcmp(line->name, "ecn") == 0) {
        run->config.net.ecn = strcmp(line->value, "active") == 0 ? LP_NET_ECN_ACTIVE
                              : strcmp(line->value, "off") == 0  ? LP_NET_ECN_OFF
                                                                 : LP_NET_ECN_PASSIVE;
        return true;
    }
    const bool on = strcmp(line->value, "on") == 0;
    if (strcmp(line->name, "fill") == 0) {
        run->config.fill = on;
        return true;
    }
    if (strcmp(line->name, "tso") == 0) {
        run->config.tso = on;
        return true;
    }
    return false;
}

static bool
config_run(struct run *run, const struct script_line *line)
{
    struct lp_net_config *net = &run->config.net;
    const uint32_t value = (uint32_t)strtoul(line->value, NULL, 0);
    const struct {
        const char *name;
        uint32_t *at;
    } numbers[] = {
        {"streams_max", &net->streams_max},
        {"receive_max", &net->receive_bytes_max},
        {"receive_first", &net->receive_bytes_first},
        {"send_max", &net->send_bytes_max},
        {"rto_min_ms", &net->rto_min_ms},
        {"time_wait_ms", &net->time_wait_ms},
        {"keepalive_s", &net->keepalive_s},
        {"half_open_max", &net->half_open_max},
        {"user_timeout_s", &net->user_timeout_s},
        {"peer_isn", &run->config.peer_isn},
    };
    if (run->world != NULL) {
        return fail(run, "settings come before everything else");
    }
    for (size_t i = 0; i < LP_COUNT_OF(numbers); i++) {
        if (strcmp(line->name, numbers[i].name) == 0) {
            *numbers[i].at = value;
            return true;
        }
    }
    if (strcmp(line->name, "mtu") == 0) {
        net->port[0].mtu_bytes = (uint16_t)value;
    } else if (strcmp(line->name, "mss_floor") == 0) {
        net->peer_mss_floor_bytes = (uint16_t)value;
    } else if (strcmp(line->name, "family") == 0) {
        run->config.family = value == 6 ? LP_ADDRESS_IPV6 : LP_ADDRESS_IPV4;
    } else if (!config_word(run, line)) {
        return fail(run, "there is no such setting");
    }
    return true;
}

/* --- What came out. --------------------------------------------------------------------------- */

static void
number_describe(FILE *to, const char *name, const struct script_number *number)
{
    if (number->want == SCRIPT_VALUE) {
        (void)fprintf(to, " %s %u", name, number->value);
    }
}

/* As a line of a script would say it. */
static void
segment_describe(const struct script_segment *segment, char *ret_text)
{
    static const char letters[] = "FSRPAUEW";
    FILE *to = fmemopen(ret_text, SCRIPT_WHY_BYTES / 2, "w");
    LP_ASSERT(to != NULL);
    if (segment->flow != 0) {
        (void)fprintf(to, "@%u ", segment->flow);
    }
    (void)fprintf(to, "out ");
    for (uint32_t i = 0; letters[i] != '\0'; i++) {
        if ((segment->flags >> i & 1u) != 0) {
            (void)fputc(letters[i], to);
        }
    }
    number_describe(to, "seq", &segment->seq);
    number_describe(to, "ack", &segment->ack);
    number_describe(to, "win", &segment->window);
    number_describe(to, "len", &segment->length);
    number_describe(to, "mss", &segment->mss);
    number_describe(to, "ws", &segment->shift);
    number_describe(to, "ecn", &segment->ecn);
    (void)fprintf(to, "%s", segment->sack_permitted == SCRIPT_VALUE ? " sackok" : "");
    if (segment->stamp.want == SCRIPT_VALUE) {
        (void)fprintf(to, " ts %u:%u", segment->stamp.value, segment->echo.value);
    }
    for (uint32_t i = 0; i < segment->sack_count; i++) {
        (void)fprintf(to, "%s%u-%u", i == 0 ? " sack " : ",", segment->sack_range[2 * i],
                      segment->sack_range[2 * i + 1]);
    }
    (void)fclose(to);
}

static bool
payload_good(const struct script_segment *segment, const uint8_t *payload)
{
    for (uint32_t i = 0; i < segment->length.value; i++) {
        if (payload[i] != script_byte(segment->seq.value - 1 + i)) {
            return false;
        }
    }
    return true;
}

/* The oldest frame, numbers made relative; false: none, or it is broken. */
static bool
out_read(struct run *run, struct script_segment *ret_segment)
{
    const struct script_out *out = script_world_out(run->world);
    const uint8_t *payload = NULL;
    if (out == NULL) {
        return fail(run, "nothing came out");
    }
    if (!script_frame_read(script_world_ends(run->world), out->frame, out->bytes, out->filled,
                           ret_segment, &payload, run->why)) {
        return false;
    }
    struct flow *flow = &run->flow[ret_segment->flow % SCRIPT_FLOWS_MAX];
    if ((ret_segment->flags & 2u) != 0) {
        flow->our_first = ret_segment->seq.value;
        flow->our_first_known = true;
        flow->our_port = ret_segment->our_port;
    }
    ret_segment->seq.value -= flow->our_first_known ? flow->our_first : 0;
    ret_segment->ack.value -= (ret_segment->flags & 16u) != 0 ? flow->peer_first : 0;
    for (uint32_t i = 0; i < 2 * ret_segment->sack_count; i++) {
        ret_segment->sack_range[i] -= flow->peer_first;
    }
    if (ret_segment->stamp.want == SCRIPT_VALUE) {
        flow->our_stamp = ret_segment->stamp.value;
    }
    if (!payload_good(ret_segment, payload)) {
        return fail(run, "the payload that came out is not what was sent");
    }
    return true;
}

static bool
number_fits(const struct script_number *want, const struct script_number *seen)
{
    switch (want->want) {
    case SCRIPT_UNSAID:
        return true;
    case SCRIPT_ABSENT:
        return seen->want == SCRIPT_ABSENT;
    case SCRIPT_ANY:
        return seen->want == SCRIPT_VALUE;
    case SCRIPT_VALUE:
        return seen->want == SCRIPT_VALUE && seen->value == want->value;
    }
    return false;
}

static bool
said_fits(enum script_want want, enum script_want seen)
{
    return want == SCRIPT_UNSAID || (want == SCRIPT_ABSENT) == (seen == SCRIPT_ABSENT);
}

static bool
segment_fits(const struct script_segment *want, const struct script_segment *seen)
{
    /* PSH is a hint: only a line that says it wants it. */
    const uint8_t hint = (want->flags & 8u) == 0 ? 8u : 0;
    const struct script_segment *a = want;
    const struct script_segment *b = seen;
    return want->flow == seen->flow && want->flags == (seen->flags & ~hint) &&
           number_fits(&a->seq, &b->seq) && number_fits(&a->ack, &b->ack) &&
           number_fits(&a->window, &b->window) && number_fits(&a->length, &b->length) &&
           number_fits(&a->mss, &b->mss) && number_fits(&a->shift, &b->shift) &&
           number_fits(&a->ecn, &b->ecn) && number_fits(&a->stamp, &b->stamp) &&
           number_fits(&a->echo, &b->echo) && said_fits(a->sack_permitted, b->sack_permitted) &&
           said_fits(a->sack, b->sack) &&
           (a->sack_count == 0 || (a->sack_count == b->sack_count &&
                                   memcmp(a->sack_range, b->sack_range, 8u * a->sack_count) == 0));
}

static bool
out_run(struct run *run, const struct script_line *line)
{
    struct script_segment seen;
    if (!out_read(run, &seen)) {
        return false;
    }
    if (!segment_fits(&line->segment, &seen)) {
        char text[SCRIPT_WHY_BYTES / 2];
        segment_describe(&seen, text);
        (void)snprintf(run->why, SCRIPT_WHY_BYTES, "came out: %s", text);
        return false;
    }
    script_world_out_taken(run->world);
    return true;
}

/* Nothing may have come out that no line spoke of. */
static bool
nothing_out(struct run *run)
{
    struct script_segment seen;
    if (script_world_out(run->world) == NULL) {
        return true;
    }
    if (out_read(run, &seen)) {
        char text[SCRIPT_WHY_BYTES / 2];
        segment_describe(&seen, text);
        (void)snprintf(run->why, SCRIPT_WHY_BYTES, "before this line came out: %s", text);
    }
    return false;
}

static bool
drop_run(struct run *run, const struct script_line *line)
{
    struct script_segment seen;
    const bool all = line->number == 0;
    for (uint32_t i = 0; all ? script_world_out(run->world) != NULL : i < line->number; i++) {
        if (!out_read(run, &seen)) {
            return false;
        }
        script_world_out_taken(run->world);
    }
    return true;
}

/* --- What goes in. ---------------------------------------------------------------------------- */

static bool
in_run(struct run *run, const struct script_line *line)
{
    static uint8_t frame[LP_NIC_FRAME_BYTES_MAX];
    struct script_segment segment = line->segment;
    struct flow *flow = &run->flow[line->flow];
    segment.our_port = flow->our_port;
    if ((segment.flags & 2u) != 0) {
        flow->peer_first = run->config.peer_isn + segment.seq.value;
        segment.seq.value = 0;
    }
    for (uint32_t i = 0; i < 2 * segment.sack_count; i++) {
        segment.sack_range[i] += flow->our_first;
    }
    if (segment.echo.want == SCRIPT_ANY) {
        segment.echo = (struct script_number){SCRIPT_VALUE, flow->our_stamp};
    }
    const bool acks = (segment.flags & 16u) != 0;
    const uint32_t bytes = script_frame_make(
        script_world_ends(run->world), &segment, flow->peer_first + segment.seq.value,
        segment.ack.value + (acks ? flow->our_first : 0), frame);
    script_world_inject(run->world, frame, bytes);
    return true;
}

static bool
icmp_run(struct run *run, const struct script_line *line)
{
    uint8_t frame[256];
    struct script_icmp icmp = line->icmp;
    icmp.seq += run->flow[line->flow].our_first;
    icmp.our_port = run->flow[line->flow].our_port;
    script_world_inject(run->world, frame,
                        script_icmp_make(script_world_ends(run->world), &icmp, frame));
    return true;
}

/* --- The shard's side. ------------------------------------------------------------------------ */

static const char *
event_name(enum lp_transport_event_kind kind)
{
    static const char *const names[] = {
        [LP_TRANSPORT_ACCEPTED] = "accepted", [LP_TRANSPORT_RECEIVED] = "received",
        [LP_TRANSPORT_SENT] = "sent",         [LP_TRANSPORT_ENDED] = "ended",
        [LP_TRANSPORT_CLOSED] = "closed",     [LP_TRANSPORT_CONNECTED] = "connected"};
    return names[kind];
}

static bool
event_run(struct run *run, const struct script_line *line)
{
    const struct script_event *event = script_world_event(run->world);
    struct flow *flow = &run->flow[line->flow];
    if (event == NULL) {
        return fail(run, "the shard saw nothing more");
    }
    if (line->event == LP_TRANSPORT_ACCEPTED) {
        flow->stream = event->stream;
    }
    const bool counted = line->event == LP_TRANSPORT_RECEIVED || line->event == LP_TRANSPORT_SENT;
    if (event->kind != line->event || event->stream != flow->stream ||
        (counted && event->bytes != line->number)) {
        (void)snprintf(run->why, SCRIPT_WHY_BYTES, "the shard saw: %s %u%s",
                       event_name(event->kind), event->bytes,
                       event->stream == flow->stream ? "" : " of another flow");
        return false;
    }
    script_world_event_taken(run->world);
    return true;
}

static bool
send_run(struct run *run, const struct script_line *line)
{
    const struct lp_transport transport = script_world_transport(run->world);
    struct flow *flow = &run->flow[line->flow];
    if (run->buffers == BUFFERS_MAX) {
        return fail(run, "too many sends for one script");
    }
    uint8_t *data = malloc(LP_MAX(line->number, 1u));
    LP_ASSERT(data != NULL);
    run->buffer[run->buffers++] = data;
    for (uint32_t i = 0; i < line->number; i++) {
        data[i] = script_byte(flow->sent + i);
    }
    flow->sent += line->number;
    const struct lp_iovec piece = {.data = data, .bytes = line->number};
    if (!transport.ops->send(transport.self, flow->stream, &piece, 1)) {
        return fail(run, "send() refused: one is in flight, or the handle is stale");
    }
    script_world_turn(run->world);
    return true;
}

static bool
call_run(struct run *run, const struct script_line *line)
{
    const struct lp_transport transport = script_world_transport(run->world);
    const lp_handle stream = run->flow[line->flow].stream;
    if (line->verb == SCRIPT_CLOSE) {
        transport.ops->close(transport.self, stream);
    } else if (line->verb == SCRIPT_STOP) {
        transport.ops->receive_stop(transport.self, stream);
    } else if (line->verb == SCRIPT_START) {
        transport.ops->receive_start(transport.self, stream);
    } else {
        transport.ops->accept_stop(transport.self);
    }
    script_world_turn(run->world);
    return true;
}

static bool
connect_run(struct run *run, const struct script_line *line)
{
    struct lp_address to = {.family = run->config.family,
                            .port = (uint16_t)(SCRIPT_PEER_PORT + line->flow)};
    memcpy(to.ip, script_world_ends(run->world)->peer, sizeof(to.ip));
    run->flow[line->flow].stream = lp_net_connect(script_world_net(run->world), &to);
    if (run->flow[line->flow].stream == LP_HANDLE_NONE) {
        return fail(run, "lp_net_connect() refused");
    }
    script_world_turn(run->world);
    return true;
}

static bool
counter_run(struct run *run, const struct script_line *line)
{
    const struct lp_net_counters *counters = lp_net_counters_of(script_world_net(run->world));
    const uint64_t want = strtoull(line->value, NULL, 0);
    const struct {
        const char *name;
        uint64_t value;
    } all[] = {
#define X(name, text) {#name, counters->name},
        LP_NET_COUNTERS(X)
#undef X
    };
    for (size_t i = 0; i < LP_COUNT_OF(all); i++) {
        if (strcmp(line->name, all[i].name) == 0) {
            (void)snprintf(run->why, SCRIPT_WHY_BYTES, "%s is %llu", line->name,
                           (unsigned long long)all[i].value);
            return all[i].value == want;
        }
    }
    return fail(run, "there is no such counter");
}

/* --- Lines. ----------------------------------------------------------------------------------- */

static bool
wait_run(struct run *run, const struct script_line *line)
{
    script_world_advance(run->world, line->wait_ns);
    return true;
}

static bool
nothing_run(struct run *run, const struct script_line *line)
{
    (void)run;
    (void)line;
    return true;
}

/* What each verb does; `quiet`: nothing may have come out before it. */
static const struct {
    bool (*run)(struct run *run, const struct script_line *line);
    bool quiet;
} actions[] = {
    [SCRIPT_NOTHING] = {nothing_run, false},
    [SCRIPT_CONFIG] = {config_run, false},
    [SCRIPT_IN] = {in_run, true},
    [SCRIPT_OUT] = {out_run, false},
    [SCRIPT_NONE] = {nothing_run, true},
    [SCRIPT_WAIT] = {wait_run, true},
    [SCRIPT_EVENT] = {event_run, false},
    [SCRIPT_SEND] = {send_run, true},
    [SCRIPT_CLOSE] = {call_run, true},
    [SCRIPT_STOP] = {call_run, true},
    [SCRIPT_START] = {call_run, true},
    [SCRIPT_CONNECT] = {connect_run, true},
    [SCRIPT_ICMP] = {icmp_run, true},
    [SCRIPT_COUNTER] = {counter_run, false},
    [SCRIPT_DROP] = {drop_run, false},
    [SCRIPT_ACCEPT_STOP] = {call_run, true},
};

static bool
line_run(struct run *run, const char *text)
{
    struct script_line line;
    if (!script_line_parse(text, &line, run->why)) {
        return false;
    }
    if (line.verb != SCRIPT_NOTHING && line.verb != SCRIPT_CONFIG && run->world == NULL) {
        run->world = script_world_create(&run->config);
        for (uint32_t i = 0; i < SCRIPT_FLOWS_MAX; i++) {
            run->flow[i].peer_first = run->config.peer_isn;
        }
    }
    return (!actions[line.verb].quiet || nothing_out(run)) && actions[line.verb].run(run, &line);
}

static bool
end_run(struct run *run)
{
    if (run->world == NULL) {
        return fail(run, "the script does nothing");
    }
    if (!nothing_out(run)) {
        return false;
    }
    const struct script_event *event = script_world_event(run->world);
    if (event != NULL) {
        (void)snprintf(run->why, SCRIPT_WHY_BYTES, "the shard saw, and no line says so: %s %u",
                       event_name(event->kind), event->bytes);
        return false;
    }
    if (script_world_damage(run->world)[0] != '\0') {
        return fail(run, script_world_damage(run->world));
    }
    return true;
}

static void
run_end(struct run *run)
{
    if (run->world != NULL) {
        script_world_destroy(run->world);
    }
    for (uint32_t i = 0; i < run->buffers; i++) {
        free(run->buffer[i]);
    }
    free(run);
}

bool
script_run(const char *path, FILE *file, bool verbose, char *ret_why)
{
    char text[256];
    char why[SCRIPT_WHY_BYTES] = "";
    uint32_t number = 0;
    bool good = true;
    struct run *run = calloc(1, sizeof(*run));
    LP_ASSERT(run != NULL);
    run->config.family = LP_ADDRESS_IPV4;
    run->config.peer_isn = 1000000000u;
    run->why = why;
    while (good && fgets(text, sizeof(text), file) != NULL) {
        number++;
        if (verbose) {
            (void)printf("%4u  %s", number, text);
        }
        good = line_run(run, text);
    }
    const bool ended = good && end_run(run);
    if (!ended) {
        text[strcspn(text, "\n")] = '\0';
        (void)snprintf(ret_why, 2 * SCRIPT_WHY_BYTES, "%s:%u: %s\n    %s", path, number,
                       good ? "at the end" : text, why);
    }
    run_end(run);
    return ended;
}
