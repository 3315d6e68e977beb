/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TIME-WAIT (RFC 9293 3.6): 32 bytes a connection in a table of their own, for
 * a minute, so that no late segment finds a newer connection between the same
 * ports, and a lost last acknowledgement can be said again.
 *
 * An entry knows its flow by a secret's hash of 64 bits. All wait equally long,
 * so the oldest is the head of a queue; one whose time began anew (the peer's
 * FIN came again), or that is over early (RFC 6191), is found out there.
 *
 * A connection that began with a cookie has an entry however it ends: as long
 * as the cookie is believed, a late segment of its beginning would make the
 * connection, and what it said, once more. Such an entry refuses as if there
 * were none, and any SYN may follow it.
 */
#include "inbound.h"

#define BLOCK_ENTRIES   1024u
#define BLOCKS_MAX      64u
#define FIRES_A_TURN    256u
#define MEMORY_FRACTION 1024u /* an entry for so many bytes of the reservation */
#define NEXT_MASK       0x1fffffffu

struct time_wait {
    uint64_t flow;
    uint32_t send_next;
    uint32_t receive_next;
    uint32_t timestamp; /* TS.Recent */
    uint32_t expires_ms;
    uint32_t chain; /* index + 1; 0: none */
    uint32_t next : 29;
    uint32_t timestamps : 1;
    uint32_t refuses : 1; /* it is no TIME-WAIT: a cookie that was used */
    uint32_t dead : 1;    /* only in the queue any more */
};
LP_STATIC_ASSERT(sizeof(struct time_wait) == 32, "TIME-WAIT is 32 bytes");

struct tcp_time_wait {
    struct lp_timer timer;
    struct lp_net *net;
    struct time_wait *block[BLOCKS_MAX];
    uint32_t *bucket;
    uint32_t bucket_mask;
    uint32_t room;
    uint32_t made;
    uint32_t live;
    uint32_t free_head;
    uint32_t head; /* of the queue */
    uint32_t tail;
};

static struct time_wait *
entry_at(const struct tcp_time_wait *table, uint32_t link)
{
    LP_ASSERT(link > 0 && link <= table->made);
    return &table->block[(link - 1u) / BLOCK_ENTRIES][(link - 1u) % BLOCK_ENTRIES];
}

static uint64_t
flow_of(const struct lp_net *net, const struct net_path *path, const uint16_t ports[2])
{
    uint8_t bytes[TCP_FLOW_BYTES_MAX];
    const struct lp_hash_key key = {{net->tcp->isn_secret[1], net->tcp->port_secret[0]}};
    return lp_hash_bytes(&key, bytes, tcp_flow_bytes(path, ports[0], ports[1], bytes));
}

enum lp_err
tcp_time_wait_init_boot(struct lp_net *net)
{
    struct tcp_time_wait *table = lp_memory_alloc(net->memory, sizeof(*table));
    if (table == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    memset(table, 0, sizeof(*table));
    net->tcp->time_wait = table;
    table->net = net;
    table->room = BLOCK_ENTRIES;
    while (table->room < BLOCK_ENTRIES * BLOCKS_MAX &&
           table->room < lp_memory_limit_bytes(net->memory) / MEMORY_FRACTION) {
        table->room *= 2u;
    }
    table->bucket_mask = table->room - 1u;
    table->bucket = lp_memory_alloc(net->memory, (uint64_t)table->room * sizeof(uint32_t));
    if (table->bucket == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    memset(table->bucket, 0, table->room * sizeof(uint32_t));
    return LP_OK;
}

void
tcp_time_wait_fini(struct lp_net *net)
{
    struct tcp_time_wait *table = net->tcp->time_wait;
    if (table == NULL) {
        return;
    }
    lp_timer_disarm(&net->wheel, &table->timer);
    void *blocks[2] = {table->bucket, table};
    for (uint32_t i = 0; i < BLOCKS_MAX; i++) {
        void *block = table->block[i];
        if (block != NULL) {
            lp_memory_release(net->memory, &block);
        }
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (blocks[i] != NULL) {
            lp_memory_release(net->memory, &blocks[i]);
        }
    }
    net->tcp->time_wait = NULL;
}

void
tcp_time_wait_check(const struct lp_net *net)
{
    const struct tcp_time_wait *table = net->tcp->time_wait;
    uint32_t live = 0;
    uint32_t count = 0;
    for (uint32_t link = table->head; link != 0; link = entry_at(table, link)->next) {
        LP_ASSERT(++count <= table->made);
        live += entry_at(table, link)->dead == 0;
    }
    LP_ASSERT(live == table->live);
}

/* --- The table and the queue. ---------------------------------------------------------------- */

static uint32_t *
bucket_of(const struct tcp_time_wait *table, uint64_t flow)
{
    return &table->bucket[(flow >> 20) & table->bucket_mask];
}

static struct time_wait *
entry_find(const struct tcp_time_wait *table, uint64_t flow)
{
    for (uint32_t link = *bucket_of(table, flow); link != 0; link = entry_at(table, link)->chain) {
        if (entry_at(table, link)->flow == flow) {
            return entry_at(table, link);
        }
    }
    return NULL;
}

/* Nobody finds it any more. */
static void
entry_kill(struct tcp_time_wait *table, struct time_wait *entry)
{
    uint32_t *at = bucket_of(table, entry->flow);
    while (entry_at(table, *at) != entry) {
        at = &entry_at(table, *at)->chain;
    }
    *at = entry->chain;
    entry->dead = 1;
    table->live--;
}

static void
queue_push(struct tcp_time_wait *table, uint32_t link)
{
    entry_at(table, link)->next = 0;
    if (table->tail == 0) {
        table->head = link;
    } else {
        entry_at(table, table->tail)->next = link & NEXT_MASK;
    }
    table->tail = link;
}

static uint32_t
queue_pop(struct tcp_time_wait *table)
{
    const uint32_t link = table->head;
    table->head = entry_at(table, link)->next;
    if (table->head == 0) {
        table->tail = 0;
    }
    return link;
}

static void
entry_free(struct tcp_time_wait *table, uint32_t link)
{
    struct time_wait *entry = entry_at(table, link);
    LP_ASSERT(entry->dead == 1);
    entry->next = table->free_head & NEXT_MASK;
    table->free_head = link;
}

/* An entry that is in no queue; 0: none, not even by pushing one out. */
static uint32_t
entry_alloc(struct lp_net *net, struct tcp_time_wait *table)
{
    if (table->free_head == 0 && table->made < table->room) {
        struct time_wait **block = &table->block[table->made / BLOCK_ENTRIES];
        if (*block == NULL) {
            *block = lp_memory_alloc(net->memory, BLOCK_ENTRIES * sizeof(struct time_wait));
        }
        if (*block != NULL) {
            return ++table->made;
        }
    }
    if (table->free_head == 0 && table->head != 0) {
        const uint32_t link = queue_pop(table);
        if (entry_at(table, link)->dead == 0) {
            net->counters.tcp_time_wait_full++;
            entry_kill(table, entry_at(table, link));
        }
        return link;
    }
    const uint32_t link = table->free_head;
    if (link != 0) {
        table->free_head = entry_at(table, link)->next;
    }
    return link;
}

static void table_fire(void *context, struct lp_timer *timer, uint64_t now_ns);

static void
timer_arm(struct lp_net *net, struct tcp_time_wait *table)
{
    if (table->head == 0) {
        return;
    }
    const uint32_t left_ms = entry_at(table, table->head)->expires_ms - tcp_now_ms(net);
    const uint32_t wait_ms = (int32_t)left_ms > 0 ? left_ms : 1u;
    lp_timer_arm(&net->wheel, &table->timer, table_fire, net->now_ns + wait_ms * 1000000ull);
}

static void
table_fire(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct tcp_time_wait *table = LP_CONTAINER_OF(timer, struct tcp_time_wait, timer);
    struct lp_net *net = table->net;
    const uint32_t now_ms = tcp_now_ms(net);
    (void)context;
    (void)now_ns;
    for (uint32_t i = 0; i < FIRES_A_TURN && table->head != 0; i++) {
        struct time_wait *entry = entry_at(table, table->head);
        if (entry->dead == 1) {
            entry_free(table, queue_pop(table));
        } else if (tcp_le(entry->expires_ms, now_ms)) {
            entry_kill(table, entry);
            entry_free(table, queue_pop(table));
        } else if (entry->expires_ms - now_ms >= net->config.time_wait_ms &&
                   table->head != table->tail) {
            queue_push(table, queue_pop(table)); /* began anew just now */
        } else {
            break;
        }
    }
    timer_arm(net, table);
}

/* --- Segments. ------------------------------------------------------------------------------- */

static void
answer(struct lp_net *net, const struct net_path *path, const uint16_t ports[2],
       const struct time_wait *entry)
{
    const struct tcp_reply reply = {
        .path = path,
        .from_port = ports[0],
        .to_port = ports[1],
        .seq = entry->send_next,
        .ack = entry->receive_next,
        .flags = TCP_ACK,
        .has_timestamp = entry->timestamps == 1,
        .timestamp = tcp_now_ms(net) + tcp_timestamp_offset(net, path),
        .echo = entry->timestamp,
    };
    tcp_reply_send(net, &reply);
}

static struct time_wait
entry_of(const struct lp_net *net, const struct tcp_stream *stream)
{
    const uint16_t ports[2] = {stream->local_port, stream->remote_port};
    return (struct time_wait){
        .flow = flow_of(net, &stream->path, ports),
        .send_next = stream->send_next,
        .receive_next = stream->receive_next,
        .timestamp = stream->timestamp_recent,
        .timestamps = stream->timestamps,
        .expires_ms = tcp_now_ms(net) + net->config.time_wait_ms,
    };
}

static void
entry_add(struct lp_net *net, struct time_wait made)
{
    struct tcp_time_wait *table = net->tcp->time_wait;
    const uint32_t link = entry_alloc(net, table);
    if (link == 0) {
        net->counters.tcp_time_wait_full++;
        return;
    }
    LP_ASSERT(entry_find(table, made.flow) == NULL);
    uint32_t *bucket = bucket_of(table, made.flow);
    made.chain = *bucket;
    *bucket = link;
    *entry_at(table, link) = made;
    table->live++;
    queue_push(table, link);
    timer_arm(net, table);
}

void
tcp_time_wait_begin(struct lp_net *net, const struct tcp_stream *stream)
{
    const struct time_wait made = entry_of(net, stream);
    if ((stream->want & TCP_WANT_ACK) != 0) {
        const uint16_t ports[2] = {stream->local_port, stream->remote_port};
        answer(net, &stream->path, ports, &made); /* the connection will not any more */
    }
    entry_add(net, made);
}

void
tcp_time_wait_bar(struct lp_net *net, const struct tcp_stream *stream)
{
    struct time_wait made = entry_of(net, stream);
    if (entry_find(net->tcp->time_wait, made.flow) == NULL) {
        made.refuses = 1;
        entry_add(net, made);
    }
}

/* RFC 6191 2: may this SYN follow? */
static bool
may_follow(const struct time_wait *entry, const struct tcp_segment *segment)
{
    const bool higher = tcp_lt(entry->receive_next, segment->seq);
    if (entry->refuses == 1) {
        return true;
    }
    if (!segment->has_timestamp) {
        return higher;
    }
    if (entry->timestamps == 0) {
        return true;
    }
    return tcp_lt(entry->timestamp, segment->timestamp) ||
           (entry->timestamp == segment->timestamp && higher);
}

enum tcp_waits
tcp_time_wait_input(struct lp_net *net, const struct tcp_segment *segment, uint32_t *ret_isn_above)
{
    struct tcp_time_wait *table = net->tcp->time_wait;
    if (table->live == 0) {
        return TCP_WAITS_NOT;
    }
    struct net_path path = tcp_path_of(segment->packet);
    const uint16_t ports[2] = {segment->to_port, segment->from_port};
    struct time_wait *entry = entry_find(table, flow_of(net, &path, ports));
    if (entry == NULL) {
        return TCP_WAITS_NOT;
    }
    if ((segment->flags & TCP_RST) != 0) {
        net->counters.tcp_unacceptable++;
        return TCP_WAITS; /* RFC 1337: nobody assassinates it */
    }
    if ((segment->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && may_follow(entry, segment)) {
        *ret_isn_above = LP_MAX(entry->send_next, 1u);
        net->counters.tcp_time_wait_reused++;
        entry_kill(table, entry);
        return TCP_WAITS_NOT;
    }
    if (entry->refuses == 1) {
        return TCP_WAITS_REFUSES;
    }
    if (tcp_segment_length(segment) == 0 || !net_path_back(net, segment->packet, &path)) {
        return TCP_WAITS; /* an acknowledgement is not answered with another */
    }
    /* RFC 9293 3.10.7.4, eighth: its FIN again, so our acknowledgement was lost. */
    if ((segment->flags & TCP_FIN) != 0 &&
        segment->seq + tcp_segment_length(segment) == entry->receive_next) {
        entry->expires_ms = tcp_now_ms(net) + net->config.time_wait_ms;
    }
    answer(net, &path, ports, entry);
    return TCP_WAITS;
}

bool
tcp_time_wait_has(const struct lp_net *net, const struct net_path *path, uint16_t local_port,
                  uint16_t remote_port)
{
    const struct tcp_time_wait *table = net->tcp->time_wait;
    const uint16_t ports[2] = {local_port, remote_port};
    return table->live > 0 && entry_find(table, flow_of(net, path, ports)) != NULL;
}
