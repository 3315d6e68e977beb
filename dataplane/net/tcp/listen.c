/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LISTEN, and SYN-RECEIVED of passive opens (RFC 9293 3.10.7.2, 3.10.7.4).
 *
 * A SYN costs 64 bytes, and none when the table is full of those that may
 * still answer: then our number is a cookie (cookie.c).  Only the answer to
 * our SYN-ACK makes a connection.
 */
#include "half_open.h"

#define FIRES_A_TURN 64u /* SYN-ACKs that are sent again at once; the rest a millisecond later */
#define EVICT_LEVEL  2u  /* asked three times and silent: pushed out by newer ones */

struct tcp_listeners {
    struct lp_timer timer;
    struct lp_net *net;
    struct half_opens table;
    struct tcp_cookies cookies;
};

LP_STATIC_ASSERT(sizeof(struct tcp_agreed) <= 32, "passed by value");

enum lp_err
tcp_listeners_init_boot(struct lp_net *net)
{
    struct tcp_listeners *listeners = lp_memory_alloc(net->memory, sizeof(*listeners));
    if (listeners == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    memset(listeners, 0, sizeof(*listeners));
    listeners->net = net;
    net->tcp->listeners = listeners;
    return half_open_init_boot(net, &listeners->table);
}

void
tcp_listeners_fini(struct lp_net *net)
{
    void *block = net->tcp->listeners;
    if (block == NULL) {
        return;
    }
    lp_timer_disarm(&net->wheel, &net->tcp->listeners->timer);
    half_open_fini(net, &net->tcp->listeners->table);
    net->tcp->listeners = NULL;
    lp_memory_release(net->memory, &block);
}

void
tcp_listeners_check(const struct lp_net *net)
{
    half_open_check(&net->tcp->listeners->table);
}

uint32_t
tcp_half_open_count(const struct lp_net *net)
{
    return net->tcp->listeners->table.count;
}

struct tcp_cookies *
tcp_cookies_of(const struct lp_net *net)
{
    return &net->tcp->listeners->cookies;
}

/* --- What both sides agree to. --------------------------------------------------------------- */

struct tcp_agreed
tcp_agreed_of(const struct lp_net *net, const struct tcp_segment *segment)
{
    const bool ipv6 = segment->packet->family == LP_ADDRESS_IPV6;
    const uint16_t usual = ipv6 ? TCP_MSS_DEFAULT_IPV6 : TCP_MSS_DEFAULT_IPV4;
    const uint16_t mss = segment->mss_bytes == 0 ? usual : segment->mss_bytes;
    return (struct tcp_agreed){
        .irs = segment->seq,
        .timestamp = segment->timestamp,
        /* CVE-2019-11479: tiny segments are a peer's way to make us work. */
        .mss_bytes = LP_MAX(mss, net->config.peer_mss_floor_bytes),
        .shift = segment->shift,
        .has_shift = segment->has_shift,
        .timestamps = segment->has_timestamp,
        .sack = segment->sack_permitted,
    };
}

void
tcp_agreed_apply(struct lp_net *net, struct tcp_stream *stream, const struct tcp_agreed *agreed)
{
    tcp_receive_begin(net, stream, agreed->irs);
    stream->peer_mss = agreed->mss_bytes;
    stream->sack = agreed->sack;
    stream->ecn = agreed->ecn;
    stream->ecn_send = agreed->ecn;
    stream->timestamps = agreed->timestamps;
    stream->timestamp_recent = agreed->timestamp;
    stream->timestamp_recent_ms = tcp_now_ms(net);
    /* RFC 7323 2.2: both, or neither. */
    stream->send_shift = agreed->has_shift ? agreed->shift : 0;
    stream->receive_shift = agreed->has_shift ? tcp_receive_shift(net) : 0;
    if (!agreed->has_shift) {
        stream->receive_bytes_max = LP_MIN(stream->receive_bytes_max, (uint32_t)UINT16_MAX);
    }
}

void
tcp_established(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment,
                uint32_t rtt_us)
{
    const bool syn = (segment->flags & TCP_SYN) != 0;
    stream->state = TCP_ESTABLISHED;
    stream->send_una = stream->isn + 1u;
    stream->send_next = stream->isn + 1u;
    stream->send_end = stream->isn + 1u;
    /* RFC 7323 2.2: the window of a SYN is not shifted. */
    stream->send_window = segment->window << (syn ? 0 : stream->send_shift);
    stream->send_window_max = stream->send_window;
    stream->send_wl1 = segment->seq;
    stream->send_wl2 = segment->ack;
    stream->heard_ns = net->now_ns;
    stream->idle_ns = net->now_ns + net->config.keepalive_s * TCP_SECOND_NS;
    tcp_send_begin(net, stream, rtt_us);
    tcp_timer_update(net, stream);
    tcp_ledger_enter(net, stream);
}

/* --- SYN-ACK. -------------------------------------------------------------------------------- */

static uint32_t
timestamp_now(const struct lp_net *net, const struct net_path *path)
{
    return tcp_now_ms(net) + tcp_timestamp_offset(net, path);
}

static void
syn_ack_send(struct lp_net *net, const struct net_path *path, const uint16_t ports[2],
             const struct tcp_agreed *agreed, uint32_t timestamp)
{
    const struct tcp_reply reply = {
        .path = path,
        .from_port = ports[0],
        .to_port = ports[1],
        .seq = agreed->isn,
        .ack = agreed->irs + 1u,
        .flags = TCP_SYN | TCP_ACK | (agreed->ecn ? TCP_ECE : 0), /* RFC 3168 6.1.1 */
        .window = tcp_receive_window_first(net),
        .mss_bytes = tcp_mss_of(path),
        .has_shift = agreed->has_shift,
        .shift = tcp_receive_shift(net),
        .sack_permitted = agreed->sack,
        .has_timestamp = agreed->timestamps,
        .timestamp = timestamp,
        .echo = agreed->timestamp,
    };
    tcp_reply_send(net, &reply);
}

static struct tcp_agreed
entry_agreed(const struct half_open *entry)
{
    return (struct tcp_agreed){
        .isn = entry->isn,
        .irs = entry->irs,
        .timestamp = entry->timestamp,
        .mss_bytes = entry->mss_bytes,
        .listener = entry->listener,
        .shift = entry->shift,
        .has_shift = entry->has_shift,
        .timestamps = entry->timestamps,
        .sack = entry->sack,
        .ecn = entry->ecn,
    };
}

static void
entry_answer(struct lp_net *net, const struct half_open *entry, const struct net_path *path)
{
    const struct tcp_agreed agreed = entry_agreed(entry);
    const uint16_t ports[2] = {entry->local_port, entry->remote_port};
    syn_ack_send(net, path, ports, &agreed, timestamp_now(net, path));
}

/* --- Time. ----------------------------------------------------------------------------------- */

static void listeners_fire(void *context, struct lp_timer *timer, uint64_t now_ns);

static void
timer_arm(struct lp_net *net, uint64_t wait_ns)
{
    struct tcp_listeners *listeners = net->tcp->listeners;
    if (listeners->table.count > 0) {
        lp_timer_arm(&net->wheel, &listeners->timer, listeners_fire, net->now_ns + wait_ns);
    }
}

static void
entry_again(struct lp_net *net, struct half_opens *table, struct half_open *entry)
{
    const struct net_path flow = half_open_path(entry);
    struct net_path path;
    if (!half_open_again(net, table, entry) ||
        !net_path_find(net, flow.family, flow.remote, flow.local, &path)) {
        net->counters.tcp_half_open_timeouts++;
        half_open_remove(net, table, entry);
        return;
    }
    net->counters.tcp_retransmitted++;
    entry_answer(net, entry, &path);
}

static void
listeners_fire(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct tcp_listeners *listeners = LP_CONTAINER_OF(timer, struct tcp_listeners, timer);
    struct lp_net *net = listeners->net;
    uint32_t wait_us = 1000;
    (void)context;
    (void)now_ns;
    for (uint32_t i = 0; i < FIRES_A_TURN; i++) {
        struct half_open *entry = half_open_due(net, &listeners->table, &wait_us);
        if (entry == NULL) {
            break;
        }
        entry_again(net, &listeners->table, entry);
    }
    timer_arm(net, wait_us * 1000ull);
}

/* --- SYN. ------------------------------------------------------------------------------------ */

/* The listener of this address and port; listener_count: nobody listens there. */
static uint32_t
listener_find(const struct lp_net *net, const struct net_path *path, uint16_t port)
{
    static const uint8_t any[16] = {0};
    const uint32_t bytes = net_ip_bytes(path->family);
    uint32_t i = 0;
    for (; i < net->config.listener_count; i++) {
        const struct lp_address *at = &net->config.listener[i];
        if (at->family == path->family && at->port == port &&
            (memcmp(at->ip, any, bytes) == 0 || memcmp(at->ip, path->local, bytes) == 0)) {
            break;
        }
    }
    return i;
}

static bool
accepts(const struct lp_net *net)
{
    return net->accepting && !net->accept_paused;
}

/* Room for one more: the table's, or that of one that has been silent for long. */
static struct half_open *
entry_make(struct lp_net *net, const struct net_path *path, const uint16_t ports[2])
{
    struct half_opens *table = &net->tcp->listeners->table;
    struct half_open *entry = half_open_add(net, table, path, ports);
    struct half_open *oldest = entry == NULL ? half_open_oldest(table) : NULL;
    if (oldest != NULL && oldest->level >= EVICT_LEVEL) {
        net->counters.tcp_half_open_evicted++;
        half_open_remove(net, table, oldest);
        entry = half_open_add(net, table, path, ports);
    }
    return entry;
}

static void
syn_keep(struct lp_net *net, const struct tcp_segment *segment, struct tcp_agreed *agreed,
         const struct net_path *path)
{
    const uint16_t ports[2] = {segment->to_port, segment->from_port};
    struct half_open *entry = entry_make(net, path, ports);
    if (entry == NULL) {
        uint32_t timestamp = timestamp_now(net, path);
        agreed->isn = tcp_cookie_make(net, segment, agreed, &timestamp);
        net->counters.tcp_cookies_sent++;
        syn_ack_send(net, path, ports, agreed, timestamp);
        return;
    }
    entry->isn = agreed->isn;
    entry->irs = agreed->irs;
    entry->timestamp = agreed->timestamp;
    entry->mss_bytes = agreed->mss_bytes;
    entry->listener = (uint8_t)agreed->listener;
    entry->shift = agreed->shift;
    entry->has_shift = agreed->has_shift;
    entry->timestamps = agreed->timestamps;
    entry->sack = agreed->sack;
    entry->ecn = agreed->ecn;
    entry_answer(net, entry, path);
    uint32_t wait_us = 0;
    (void)half_open_due(net, &net->tcp->listeners->table, &wait_us);
    timer_arm(net, wait_us * 1000ull);
}

/* Same address and port at both ends (LAND): nobody's connection. */
static bool
is_to_itself(const struct tcp_segment *segment)
{
    const struct net_packet *packet = segment->packet;
    return segment->from_port == segment->to_port &&
           memcmp(packet->from, packet->to, net_ip_bytes(packet->family)) == 0;
}

/* False: refused with RST. */
static bool
syn_input(struct lp_net *net, const struct tcp_segment *segment, uint32_t isn_above)
{
    const struct net_packet *packet = segment->packet;
    struct net_path path = tcp_path_of(packet);
    const uint32_t listener = listener_find(net, &path, segment->to_port);
    if ((segment->flags & TCP_FIN) != 0 || is_to_itself(segment)) {
        net->counters.tcp_bad++; /* no stack sends these */
        return true;
    }
    if (listener == net->config.listener_count || !accepts(net)) {
        net->counters.tcp_refused++;
        return false;
    }
    if (net->tcp->streams.used >= net->config.streams_max) {
        net->counters.tcp_refused_full++;
        return false;
    }
    if (tcp_memory_refuses(net) || !net_path_back(net, packet, &path)) {
        net->counters.tcp_refused_full++; /* silently: in a second there may be room */
        return true;
    }
    struct tcp_agreed agreed = tcp_agreed_of(net, segment);
    agreed.listener = (uint16_t)listener;
    agreed.ecn = tcp_ecn_offered(net, segment);
    agreed.isn = tcp_isn(net, &path, segment->to_port, segment->from_port);
    if (isn_above != 0 && tcp_le(agreed.isn, isn_above)) {
        agreed.isn = isn_above + 1u; /* RFC 9293 3.6.1: above all numbers of the one before */
    }
    syn_keep(net, segment, &agreed, &path);
    return true;
}

/* --- The answer to a SYN-ACK. ---------------------------------------------------------------- */

/* False: refused with RST. */
static bool
handshake_done(struct lp_net *net, struct tcp_segment *segment, const struct tcp_agreed *agreed)
{
    struct net_path path;
    struct tcp_stream *stream = NULL;
    if (!accepts(net)) {
        net->counters.tcp_refused++;
        return false;
    }
    if (net_path_back(net, segment->packet, &path)) {
        const struct tcp_birth birth = {
            .path = &path,
            .local_port = segment->to_port,
            .remote_port = segment->from_port,
            .isn = agreed->isn,
        };
        stream = tcp_stream_create(net, &birth);
    }
    if (stream == NULL) {
        net->counters.tcp_refused_full++;
        return false;
    }
    stream->passive = true;
    stream->cookie = agreed->cookie;
    stream->listener = agreed->listener;
    tcp_agreed_apply(net, stream, agreed);
    tcp_established(net, stream, segment, agreed->rtt_us);
    net->counters.tcp_accepted++;
    tcp_due(net, stream, TCP_DUE_ACCEPTED);
    tcp_stream_input(net, stream, segment);
    return true;
}

/* RFC 9293 3.10.7.4 for SYN-RECEIVED: is it within the window that the SYN-ACK promised? */
static bool
entry_accepts(const struct lp_net *net, const struct half_open *entry,
              const struct tcp_segment *segment)
{
    const uint32_t first = segment->seq - (entry->irs + 1u);
    const uint32_t length = tcp_segment_length(segment);
    const uint32_t window = tcp_receive_window_first(net);
    return first < window || (length > 0 && first + length - 1u < window);
}

static bool
entry_timestamp_is_old(const struct half_open *entry, const struct tcp_segment *segment)
{
    return entry->timestamps &&
           (!segment->has_timestamp || tcp_lt(segment->timestamp, entry->timestamp));
}

/* An ACK in the window.  False: refused with RST. */
static bool
entry_ack_input(struct lp_net *net, struct half_open *entry, struct tcp_segment *segment)
{
    struct tcp_agreed agreed = entry_agreed(entry);
    if (segment->ack != entry->isn + 1u) {
        /* Its SYN came twice, and there was no room for the first: it answers the cookie. */
        const uint16_t listener = entry->listener;
        if (!tcp_cookie_check(net, segment, &agreed)) {
            return false; /* RFC 9293 3.10.7.4, fifth; it stays half-open */
        }
        agreed.listener = listener;
        half_open_remove(net, &net->tcp->listeners->table, entry);
        return handshake_done(net, segment, &agreed);
    }
    if (entry->level == 0 && !entry->asked_twice) {
        agreed.rtt_us = LP_MAX(half_open_now_us(net) - entry->sent_us, 1u);
    }
    half_open_remove(net, &net->tcp->listeners->table, entry);
    return handshake_done(net, segment, &agreed);
}

/* A segment of what is half-open.  False: refused with RST. */
static bool
entry_input(struct lp_net *net, struct half_open *entry, struct tcp_segment *segment)
{
    const uint8_t kind = segment->flags & (TCP_RST | TCP_SYN | TCP_ACK);
    struct net_path path;
    if ((kind & TCP_RST) != 0) {
        if (segment->seq == entry->irs + 1u) { /* RFC 5961 3.2: exactly, or not at all */
            net->counters.tcp_resets_received++;
            half_open_remove(net, &net->tcp->listeners->table, entry);
        }
        return true;
    }
    const bool again = kind == TCP_SYN && segment->seq == entry->irs;
    const bool old = !again && entry_timestamp_is_old(entry, segment);
    if (again || old || !entry_accepts(net, entry, segment)) {
        net->counters.tcp_paws += old;
        entry->asked_twice = true;
        entry->ecn = entry->ecn && (!again || tcp_ecn_offered(net, segment)); /* RFC 3168 6.1.1 */
        if (again && entry->timestamps && segment->has_timestamp) {
            entry->timestamp = segment->timestamp;
        }
        net->counters.tcp_unacceptable += !again && !old;
        if (net_path_back(net, segment->packet, &path)) {
            entry_answer(net, entry, &path);
        }
        return true;
    }
    if (kind == TCP_SYN) {
        /* 3.10.7.4, fourth: back to LISTEN, and this is a newcomer. */
        half_open_remove(net, &net->tcp->listeners->table, entry);
        return syn_input(net, segment, 0);
    }
    if (kind != TCP_ACK) {
        net->counters.tcp_bad++;
        return true;
    }
    return entry_ack_input(net, entry, segment);
}

bool
tcp_listen_knows(const struct lp_net *net, const struct net_path *path, uint16_t local_port,
                 uint16_t remote_port)
{
    return half_open_find(net, &net->tcp->listeners->table, path, local_port, remote_port) !=
               NULL ||
           tcp_time_wait_has(net, path, local_port, remote_port);
}

bool
tcp_listens(const struct lp_net *net, const struct net_packet *packet)
{
    const struct net_path path = tcp_path_of(packet);
    struct lp_reader reader = lp_reader_of(packet->l4, packet->l4_bytes);
    (void)lp_reader_u16be(&reader);
    const uint16_t port = lp_reader_u16be(&reader);
    return !reader.failed && listener_find(net, &path, port) < net->config.listener_count;
}

bool
tcp_listen_input(struct lp_net *net, struct tcp_segment *segment)
{
    const struct net_path path = tcp_path_of(segment->packet);
    struct half_open *entry = half_open_find(net, &net->tcp->listeners->table, &path,
                                             segment->to_port, segment->from_port);
    if (entry != NULL) {
        return entry_input(net, entry, segment);
    }
    uint32_t isn_above = 0;
    const enum tcp_waits waits = tcp_time_wait_input(net, segment, &isn_above);
    if (waits != TCP_WAITS_NOT) {
        return waits == TCP_WAITS;
    }
    const uint32_t listener = listener_find(net, &path, segment->to_port);
    const bool listens = listener < net->config.listener_count;
    if (!listens && net_exception_give(net, segment->packet)) {
        return true;
    }
    if ((segment->flags & TCP_RST) != 0) {
        return true;
    }
    if ((segment->flags & TCP_ACK) != 0) {
        struct tcp_agreed agreed;
        if (!listens || (segment->flags & TCP_SYN) != 0) {
            return false;
        }
        if (!tcp_cookie_check(net, segment, &agreed)) {
            return tcp_cookie_may_follow(net);
        }
        agreed.listener = (uint16_t)listener;
        return handshake_done(net, segment, &agreed);
    }
    if ((segment->flags & TCP_SYN) != 0) {
        return syn_input(net, segment, isn_above);
    }
    net->counters.tcp_bad += listens; /* RFC 9293 3.10.7.2, fourth */
    return listens;
}
