/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments in flight.
 *
 * A ring by sequence number.  What is out is linked by the time it was sent,
 * so that RACK stops at the first that is not overdue; what is lost by the
 * time that was found, so that the next to be sent again is at hand; and a
 * SACKed segment leads to the end of its run, so that a block that only grows
 * at its end is not walked again (CVE-2019-11478 and FreeBSD's "SACK
 * slowness" are walks that a peer can repeat).  A segment is never split: one
 * of which only a part is SACKed is not SACKed, and waits for the rest
 * (RFC 2018 4 asks for no more; CVE-2019-11477 began with split segments).
 */
#include "send.h"

#define ROOM_FIRST 8u

static uint32_t
sent_bytes(const struct tcp_sent *sent)
{
    return sent->end - sent->start;
}

static uint16_t
slot_of(const struct tcp_scoreboard *board, const struct tcp_sent *sent)
{
    return (uint16_t)(sent - board->sent);
}

static uint64_t
board_bytes(uint32_t room)
{
    return sizeof(struct tcp_scoreboard) + (uint64_t)room * sizeof(struct tcp_sent);
}

/* --- Lists. ------------------------------------------------------------------------------------
 */

static void
list_push(struct tcp_scoreboard *board, struct tcp_sent_list *list, struct tcp_sent *sent)
{
    const uint16_t slot = slot_of(board, sent);
    struct tcp_sent *newest = tcp_sent_at(board, list->newest);
    sent->older = list->newest;
    sent->newer = TCP_SENT_NONE;
    if (newest == NULL) {
        list->oldest = slot;
    } else {
        newest->newer = slot;
    }
    list->newest = slot;
}

static void
list_remove(struct tcp_scoreboard *board, struct tcp_sent_list *list, struct tcp_sent *sent)
{
    LP_ASSERT(list != NULL);
    struct tcp_sent *older = tcp_sent_at(board, sent->older);
    struct tcp_sent *newer = tcp_sent_at(board, sent->newer);
    if (older == NULL) {
        list->oldest = sent->newer;
    } else {
        older->newer = sent->newer;
    }
    if (newer == NULL) {
        list->newest = sent->older;
    } else {
        newer->older = sent->older;
    }
}

/* Out of whatever it was counted in; in no state until the caller gives it one. */
static void
state_leave(struct tcp_scoreboard *board, struct tcp_sent *sent)
{
    switch ((enum tcp_sent_state)sent->state) {
    case TCP_SENT_OUT:
        list_remove(board, &board->out, sent);
        board->out_bytes -= sent_bytes(sent);
        break;
    case TCP_SENT_LOST:
        list_remove(board, &board->lost, sent);
        board->lost_bytes -= sent_bytes(sent);
        break;
    case TCP_SENT_SACKED:
        board->sacked_bytes -= sent_bytes(sent);
        board->sacked_count--;
        break;
    }
}

static void
state_out(struct tcp_scoreboard *board, struct tcp_sent *sent, uint64_t now_ns)
{
    sent->state = TCP_SENT_OUT;
    sent->sent_ns = now_ns;
    list_push(board, &board->out, sent);
    board->out_bytes += sent_bytes(sent);
}

/* --- Room. -------------------------------------------------------------------------------------
 */

static uint16_t
slot_moved(const struct tcp_scoreboard *from, uint16_t slot)
{
    return slot == TCP_SENT_NONE ? slot : (uint16_t)((slot - from->head) & (from->room - 1u));
}

/* The same in twice the room, the first segment in the first slot. */
static void
board_copy(struct tcp_scoreboard *to, uint32_t room, const struct tcp_scoreboard *from)
{
    *to = *from;
    to->room = (uint16_t)room;
    to->head = 0;
    to->out.oldest = slot_moved(from, from->out.oldest);
    to->out.newest = slot_moved(from, from->out.newest);
    to->lost.oldest = slot_moved(from, from->lost.oldest);
    to->lost.newest = slot_moved(from, from->lost.newest);
    for (uint32_t i = 0; i < from->count; i++) {
        to->sent[i] = from->sent[(from->head + i) & (from->room - 1u)];
        to->sent[i].older = slot_moved(from, to->sent[i].older);
        to->sent[i].newer = slot_moved(from, to->sent[i].newer);
    }
}

bool
tcp_scoreboard_room(struct lp_net *net, struct tcp_stream *stream, uint32_t count)
{
    struct tcp_scoreboard *old = stream->scoreboard;
    const uint32_t wanted = count + (old == NULL ? 0 : old->count);
    if (old != NULL && wanted <= old->room) {
        return true;
    }
    uint32_t room = old == NULL ? ROOM_FIRST : old->room;
    while (room < wanted && room < TCP_SENT_MAX) {
        room *= 2;
    }
    if (room < wanted) {
        return false;
    }
    struct tcp_scoreboard *board = lp_memory_alloc(net->memory, board_bytes(room));
    if (board == NULL) {
        return false;
    }
    net->tcp->buffered_bytes += lp_memory_block_bytes(board_bytes(room));
    if (old == NULL) {
        *board = (struct tcp_scoreboard){
            .room = (uint16_t)room,
            .out = {TCP_SENT_NONE, TCP_SENT_NONE},
            .lost = {TCP_SENT_NONE, TCP_SENT_NONE},
            .fack = stream->send_una,
            .half_end = stream->send_una,
            .full_end = stream->send_una,
        };
    } else {
        board_copy(board, room, old);
        tcp_scoreboard_free(net, stream);
    }
    stream->scoreboard = board;
    return true;
}

void
tcp_scoreboard_free(struct lp_net *net, struct tcp_stream *stream)
{
    void *block = stream->scoreboard;
    if (block == NULL) {
        return;
    }
    net->tcp->buffered_bytes -= lp_memory_block_bytes(board_bytes(stream->scoreboard->room));
    stream->scoreboard = NULL;
    lp_memory_release(net->memory, &block);
}

/* --- What happens to a segment. ----------------------------------------------------------------
 */

void
tcp_scoreboard_append(struct tcp_scoreboard *board, uint32_t start, uint32_t end, uint64_t now_ns)
{
    LP_ASSERT(board->count < board->room);
    struct tcp_sent *sent = tcp_sent_nth(board, board->count++);
    *sent = (struct tcp_sent){.start = start, .end = end};
    state_out(board, sent, now_ns);
}

void
tcp_scoreboard_again(struct tcp_scoreboard *board, struct tcp_sent *sent, uint64_t now_ns)
{
    LP_ASSERT(sent->state != TCP_SENT_SACKED);
    state_leave(board, sent);
    sent->again = true;
    state_out(board, sent, now_ns);
}

void
tcp_scoreboard_lose(struct tcp_scoreboard *board, struct tcp_sent *sent)
{
    LP_ASSERT(sent->state == TCP_SENT_OUT);
    state_leave(board, sent);
    board->lost_news = true;
    board->lost_again |= sent->again && sent->sent_ns > board->reduced_ns;
    sent->state = TCP_SENT_LOST;
    list_push(board, &board->lost, sent);
    board->lost_bytes += sent_bytes(sent);
}

void
tcp_scoreboard_oldest_first(struct tcp_scoreboard *board)
{
    struct tcp_sent *head = &board->sent[board->head];
    if (board->count == 0 || head->state != TCP_SENT_LOST || board->lost.oldest == board->head) {
        return;
    }
    list_remove(board, &board->lost, head);
    head->older = TCP_SENT_NONE;
    head->newer = board->lost.oldest;
    board->sent[board->lost.oldest].older = board->head;
    board->lost.oldest = board->head;
}

void
tcp_scoreboard_find(struct tcp_scoreboard *board, uint64_t now_ns)
{
    while (board->lost.oldest != TCP_SENT_NONE) {
        struct tcp_sent *sent = &board->sent[board->lost.oldest];
        /* When it was really sent would be in the middle of the list; that it is not known costs
         * nothing but a measurement. */
        tcp_scoreboard_again(board, sent, now_ns);
    }
}

void
tcp_scoreboard_renege(struct tcp_scoreboard *board, uint64_t now_ns)
{
    for (uint32_t i = 0; i < board->count; i++) {
        struct tcp_sent *sent = tcp_sent_nth(board, i);
        if (sent->state == TCP_SENT_SACKED) {
            state_leave(board, sent);
            sent->again = true;
            state_out(board, sent, now_ns);
        }
    }
}

static void
sent_arrived(struct lp_net *net, struct tcp_stream *stream, const struct tcp_sent *sent,
             struct tcp_ack_news *news, bool by_sack)
{
    news->delivered += sent_bytes(sent);
    if (!sent->again) {
        news->original_ns =
            news->original_ns == 0 ? sent->sent_ns : LP_MIN(news->original_ns, sent->sent_ns);
        news->largest = LP_MAX(news->largest, sent_bytes(sent));
        if (LP_UNLIKELY(tcp_pmtu_probe_is(stream, sent))) {
            tcp_pmtu_probe_arrived(net, stream);
        }
    }
    tcp_rack_delivered(net, stream, sent, news, by_sack);
}

void
tcp_scoreboard_acked(struct lp_net *net, struct tcp_stream *stream, uint32_t ack,
                     struct tcp_ack_news *news)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    while (board->count > 0) {
        struct tcp_sent *sent = &board->sent[board->head];
        if (tcp_lt(ack, sent->end)) {
            break;
        }
        if (sent->state != TCP_SENT_SACKED) {
            if (!sent->again && news->first_ns == 0) {
                news->first_ns = sent->sent_ns;
            }
            sent_arrived(net, stream, sent, news, false);
        }
        state_leave(board, sent);
        board->head = (uint16_t)((board->head + 1u) & (board->room - 1u));
        board->count--;
    }
    if (board->count == 0 || tcp_le(ack, board->sent[board->head].start)) {
        return;
    }
    /* A part of one that was sent again in pieces, or by a peer's whim. */
    struct tcp_sent *sent = &board->sent[board->head];
    const uint32_t part = ack - sent->start;
    sent->start = ack;
    switch ((enum tcp_sent_state)sent->state) {
    case TCP_SENT_OUT:
        board->out_bytes -= part;
        news->delivered += part;
        break;
    case TCP_SENT_LOST:
        board->lost_bytes -= part;
        news->delivered += part;
        break;
    case TCP_SENT_SACKED:
        board->sacked_bytes -= part;
        break;
    }
}

/* The first segment that does not begin before `seq`. */
static uint32_t
position_from(struct tcp_scoreboard *board, uint32_t seq)
{
    uint32_t low = 0;
    uint32_t high = board->count;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (tcp_lt(tcp_sent_nth(board, middle)->start, seq)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint32_t
position_of(const struct tcp_scoreboard *board, uint16_t slot)
{
    return ((uint32_t)slot - board->head) & (board->room - 1u);
}

/*
 * The last of a run of SACKed segments.  `newer` leads to one further right,
 * or to itself at the last known; each walk halves the way for the next one.
 */
static struct tcp_sent *
run_last(struct tcp_scoreboard *board, struct tcp_sent *sent)
{
    while (sent->newer != slot_of(board, sent)) {
        struct tcp_sent *next = &board->sent[sent->newer];
        sent->newer = next->newer;
        sent = &board->sent[sent->newer];
    }
    return sent;
}

static void
sack_one(struct lp_net *net, struct tcp_stream *stream, struct tcp_sent *sent,
         struct tcp_ack_news *news)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    sent_arrived(net, stream, sent, news, true);
    state_leave(board, sent);
    sent->state = TCP_SENT_SACKED;
    sent->newer = slot_of(board, sent);
    board->sacked_bytes += sent_bytes(sent);
    board->sacked_count++;
    const uint32_t position = position_of(board, sent->newer);
    if (position > 0) {
        struct tcp_sent *before = tcp_sent_nth(board, position - 1);
        if (before->state == TCP_SENT_SACKED) {
            before->newer = sent->newer; /* it was the last of its run */
        }
    }
    if (position + 1 < board->count) {
        const struct tcp_sent *after = tcp_sent_nth(board, position + 1);
        if (after->state == TCP_SENT_SACKED) {
            sent->newer = slot_of(board, after);
        }
    }
}

void
tcp_scoreboard_sacked(struct lp_net *net, struct tcp_stream *stream, const struct tcp_range *block,
                      struct tcp_ack_news *news)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    uint32_t position = position_from(board, block->start);
    while (position < board->count) {
        struct tcp_sent *sent = tcp_sent_nth(board, position);
        if (tcp_lt(block->end, sent->end)) {
            break;
        }
        if (sent->state == TCP_SENT_SACKED) {
            position = position_of(board, slot_of(board, run_last(board, sent))) + 1;
            continue;
        }
        sack_one(net, stream, sent, news);
        position++;
    }
}

void
tcp_scoreboard_check(const struct tcp_stream *stream)
{
    const struct tcp_scoreboard *board = stream->scoreboard;
    if (board == NULL) {
        LP_ASSERT(stream->send_next == stream->send_una);
        return;
    }
    uint32_t bytes[3] = {0};
    uint32_t sacked = 0;
    uint32_t seq = stream->send_una;
    for (uint32_t i = 0; i < board->count; i++) {
        const struct tcp_sent *sent = &board->sent[(board->head + i) & (board->room - 1u)];
        LP_ASSERT(sent->start == seq);
        LP_ASSERT(tcp_lt(sent->start, sent->end));
        LP_ASSERT(sent->state <= TCP_SENT_LOST);
        bytes[sent->state] += sent_bytes(sent);
        sacked += sent->state == TCP_SENT_SACKED ? 1u : 0u;
        seq = sent->end;
    }
    LP_ASSERT(seq == stream->send_next);
    LP_ASSERT(bytes[TCP_SENT_OUT] == board->out_bytes);
    LP_ASSERT(bytes[TCP_SENT_SACKED] == board->sacked_bytes);
    LP_ASSERT(bytes[TCP_SENT_LOST] == board->lost_bytes);
    LP_ASSERT(sacked == board->sacked_count);
}
