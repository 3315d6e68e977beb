/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include <lepus/atomic.h>

#define LEDGER_MAGIC 0x4c505435u
/* Streams that one refresh looks at: ten times a second, a few microseconds each. */
#define REFRESH_STREAMS 64u

static uint64_t
ledger_bytes(uint32_t room)
{
    return sizeof(struct tcp_ledger_header) + 3ull * room * sizeof(struct tcp_ledger_entry);
}

uint64_t
lp_net_ledger_bytes(uint32_t streams_max)
{
    return ledger_bytes(streams_max);
}

/* Those that the last life had are orphans now; as many as two lives can have. */
static void
orphans_move(struct tcp_ledger *ledger, struct lp_net *net)
{
    struct tcp_ledger_header *header = ledger->header;
    const uint32_t room = header->room;
    /* Another life wrote them: not to be trusted with an index. */
    const uint32_t high = LP_MIN(header->high, room);
    header->left = LP_MIN(header->left, 2 * room);
    for (uint32_t i = 0; i < high; i++) {
        struct tcp_ledger_entry *entry = &ledger->entry[i];
        if (entry->family != 0 && header->left < 2 * room) {
            ledger->orphan[header->left] = *entry;
            header->left++;
        }
        entry->family = 0;
    }
    header->high = 0;
    net->counters.tcp_orphans = header->left;
}

enum lp_err
tcp_ledger_init_boot(struct lp_net *net)
{
    struct tcp_ledger_header *header = net->env.ledger;
    const uint32_t room = net->config.streams_max;
    struct tcp_ledger *ledger = lp_memory_alloc(net->memory, sizeof(*ledger));
    if (ledger == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    memset(ledger, 0, sizeof(*ledger));
    net->tcp->ledger = ledger;
    ledger->net = net;
    if (header == NULL) {
        return LP_OK;
    }
    ledger->header = header;
    ledger->entry = (struct tcp_ledger_entry *)(header + 1);
    ledger->orphan = ledger->entry + room;
    if (header->magic != LEDGER_MAGIC || header->room != room) {
        if (header->magic != 0) { /* of other limits; new memory is not touched, as most never is */
            memset(header, 0, ledger_bytes(room));
        }
        header->room = room;
        header->magic = LEDGER_MAGIC;
    }
    orphans_move(ledger, net);
    tcp_orphans_begin(net);
    return LP_OK;
}

void
tcp_ledger_fini(struct lp_net *net)
{
    void *block = net->tcp->ledger;
    if (block == NULL) {
        return;
    }
    lp_timer_disarm(&net->wheel, &net->tcp->ledger->timer);
    net->tcp->ledger = NULL;
    lp_memory_release(net->memory, &block);
}

static uint32_t
place_of(const struct tcp_stream *stream)
{
    return lp_handle_index(lp_pool_self(stream));
}

void
tcp_ledger_enter(struct lp_net *net, const struct tcp_stream *stream)
{
    struct tcp_ledger *ledger = net->tcp->ledger;
    if (ledger->header == NULL) {
        return;
    }
    const uint32_t place = place_of(stream);
    struct tcp_ledger_entry *entry = &ledger->entry[place];
    net_ip_copy(stream->path.family, entry->local, stream->path.local);
    net_ip_copy(stream->path.family, entry->remote, stream->path.remote);
    entry->local_port = stream->local_port;
    entry->remote_port = stream->remote_port;
    entry->send_next = stream->send_next;
    entry->receive_next = stream->receive_next;
    entry->timestamp_offset = stream->timestamp_offset;
    entry->timestamps = stream->timestamps;
    ledger->header->high = LP_MAX(ledger->header->high, place + 1u);
    /* Pairs with nobody that runs: what a death leaves is whole. */
    lp_store_release(&entry->family, stream->path.family);
}

void
tcp_ledger_leave(struct lp_net *net, const struct tcp_stream *stream)
{
    struct tcp_ledger *ledger = net->tcp->ledger;
    if (ledger->header != NULL) {
        ledger->entry[place_of(stream)].family = 0;
    }
}

void
lp_net_remember(struct lp_net *net)
{
    struct tcp_ledger *ledger = net->tcp->ledger;
    const struct lp_pool *streams = &net->tcp->streams;
    if (ledger->header == NULL) {
        return;
    }
    const uint32_t count = LP_MIN(streams->made, REFRESH_STREAMS);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t place = ledger->refresh_at < streams->made ? ledger->refresh_at : 0;
        const struct tcp_stream *stream = lp_pool_at(streams, place);
        struct tcp_ledger_entry *entry = &ledger->entry[place];
        ledger->refresh_at = place + 1u;
        if (stream != NULL && entry->family != 0) {
            entry->send_next = stream->send_next;
            entry->receive_next = stream->receive_next;
        }
    }
}
