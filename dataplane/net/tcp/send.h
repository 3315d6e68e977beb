/* SPDX-License-Identifier: Apache-2.0 */
/*
 * send.h - what the files of the sending half share, and nobody else sees:
 * segments in flight, what one acknowledgement brought, and who finds losses.
 *
 *   ack.c ─▶ scoreboard.c ─▶ rack.c (delivered: times; then: which are lost)
 *     └────▶ recovery.c ─▶ prr.c, congestion.h
 *   timers.c ─▶ rto.c, rack.c (TLP), persist.c, pmtu.c
 *
 *   Limits    TCP_SENT_MAX segments in flight a connection
 */
#pragma once

#include "tcp.h"

/* --- Segments in flight: scoreboard.c. ---------------------------------------------------------
 */

/* As many as 4 MiB in segments of an Ethernet frame are, and a power of two. */
#define TCP_SENT_MAX  4096u
#define TCP_SENT_NONE UINT16_MAX

enum tcp_sent_state {
    TCP_SENT_OUT,    /* on its way; in `out`, by when it was sent */
    TCP_SENT_SACKED, /* at the peer; `newer` leads to the end of its run */
    TCP_SENT_LOST,   /* to be sent again; in `lost`, by when that was found */
};

struct tcp_sent {
    uint32_t start;
    uint32_t end;     /* a FIN counts */
    uint64_t sent_ns; /* the last time */
    uint16_t older;   /* its list's neighbours: slots, or TCP_SENT_NONE */
    uint16_t newer;
    uint8_t state; /* enum tcp_sent_state */
    bool again;    /* it was sent more than once: its round trip says nothing (Karn) */
    uint8_t pad[2];
};
LP_STATIC_ASSERT(sizeof(struct tcp_sent) == 24, "a window of them is not large");

struct tcp_sent_list {
    uint16_t oldest;
    uint16_t newest;
};

/* frto.c: what is being found out about the last time-out. */
enum tcp_frto {
    TCP_FRTO_NOT,
    TCP_FRTO_ASKED, /* the first segment was sent again */
    TCP_FRTO_TRIES, /* new ones go before what is thought lost */
};

/*
 * A ring of segments by sequence number, without gaps, from SND.UNA to SND.NXT.
 * What is counted per recovery or flight is here, too: an idle connection has none of it.
 *
 * Invariant: out_bytes + sacked_bytes + lost_bytes == send_next - send_una
 */
struct tcp_scoreboard {
    uint16_t room; /* slots; a power of two */
    uint16_t head;
    uint16_t count;
    uint16_t sacked_count;
    struct tcp_sent_list out;
    struct tcp_sent_list lost;
    uint32_t out_bytes; /* RFC 6675 pipe, as RACK sees it */
    uint32_t sacked_bytes;
    uint32_t lost_bytes;
    uint32_t fack;          /* RFC 8985 RACK.fack */
    uint32_t prr_delivered; /* RFC 6937 */
    uint32_t prr_out;
    uint32_t prr_flight; /* RecoverFS */
    uint32_t undo_ms;    /* our timestamp when what undo_cwnd is for began: RFC 3522 */
    bool undo_first;     /* SND.UNA has not moved since: an echo says whether it was for nothing */
    uint32_t half_end;   /* SND.NXT when half of the congestion window was last in flight */
    uint32_t full_end;   /* and all of it: RFC 7661's "validated", without a clock */
    uint64_t reduced_ns; /* when the window last shrank */
    bool lost_news;      /* something was found lost since recovery.c last looked */
    bool lost_again;     /* and it had been sent after the window shrank */
    uint8_t frto;        /* enum tcp_frto */
    uint64_t frto_ns;    /* when the time-out was that it asks about */
    uint64_t rack_sent_ns; /* RFC 8985 RACK.xmit_ts; 0: nothing of this flight has arrived yet */
    uint32_t rack_end_seq; /* RACK.end_seq */
    bool forced; /* one segment may be sent whatever the window: the first of a recovery */
    struct tcp_chunk *next_chunk; /* where output.c copied last, of new data and of old; or NULL */
    struct tcp_chunk *again_chunk;
    struct tcp_sent sent[];
};

/* What one acknowledgement said. */
struct tcp_ack_news {
    uint32_t acked;       /* how far SND.UNA moved */
    uint32_t delivered;   /* bytes that are now known to have arrived */
    uint32_t flight;      /* before it */
    uint32_t largest;     /* payload of the largest of them that was sent but once */
    uint64_t first_ns;    /* when the oldest of them that was sent but once was sent; 0: none */
    uint64_t original_ns; /* likewise, those that were SACKed included */
    bool has_echo;
    uint32_t echo;
    bool dsack;
    bool needless; /* tcp_recovery_needless() */
    bool window_changed;
    bool marked; /* ECE: RFC 3168 6.1.2 */
    bool plain;  /* no data, no SYN, no FIN: it may be a duplicate */
};

/* Room for `count` segments more; false: too many are in flight, or memory is gone. */
LP_MUST_CHECK bool tcp_scoreboard_room(struct lp_net *net, struct tcp_stream *stream,
                                       uint32_t count);
/* A new segment behind the last; there is room. */
void tcp_scoreboard_append(struct tcp_scoreboard *board, uint32_t start, uint32_t end,
                           uint64_t now_ns);
/* An old one was sent again: it is out, and the newest. */
void tcp_scoreboard_again(struct tcp_scoreboard *board, struct tcp_sent *sent, uint64_t now_ns);
void tcp_scoreboard_lose(struct tcp_scoreboard *board, struct tcp_sent *sent);
/* If it is lost, what begins at SND.UNA is the next to be sent again: what else arrives may not be
 * kept. */
void tcp_scoreboard_oldest_first(struct tcp_scoreboard *board);
/* Lost ones are out after all: a time-out was for nothing. */
void tcp_scoreboard_find(struct tcp_scoreboard *board, uint64_t now_ns);
/* All below `ack` is at the peer, and gone from here. */
void tcp_scoreboard_acked(struct lp_net *net, struct tcp_stream *stream, uint32_t ack,
                          struct tcp_ack_news *news);
/* `block` is at the peer; it lies between SND.UNA and SND.NXT. */
void tcp_scoreboard_sacked(struct lp_net *net, struct tcp_stream *stream,
                           const struct tcp_range *block, struct tcp_ack_news *news);
/* The peer threw away what it had (RFC 2018 8): nothing is SACKed. */
void tcp_scoreboard_renege(struct tcp_scoreboard *board, uint64_t now_ns);
void tcp_scoreboard_free(struct lp_net *net, struct tcp_stream *stream);
void tcp_scoreboard_check(const struct tcp_stream *stream);

static inline struct tcp_sent *
tcp_sent_at(struct tcp_scoreboard *board, uint16_t slot)
{
    return slot == TCP_SENT_NONE ? NULL : &board->sent[slot];
}

/* By sequence: 0 is the first. */
static inline struct tcp_sent *
tcp_sent_nth(struct tcp_scoreboard *board, uint32_t position)
{
    return &board->sent[(board->head + position) & (board->room - 1u)];
}

/* Bytes that are on their way. */
static inline uint32_t
tcp_pipe(const struct tcp_stream *stream)
{
    return stream->scoreboard == NULL ? 0 : stream->scoreboard->out_bytes;
}

static inline uint32_t
tcp_flight(const struct tcp_stream *stream)
{
    return stream->send_next - stream->send_una;
}

/* Queued and never sent; a FIN does not count. */
static inline uint32_t
tcp_unsent(const struct tcp_stream *stream)
{
    return stream->fin_sent ? 0 : stream->send_end - stream->send_next;
}

/* --- Timers. -----------------------------------------------------------------------------------
 */

/* tcp_stream.retransmit_kind */
enum tcp_retransmit_kind {
    TCP_RETRANSMIT_RTO,
    TCP_RETRANSMIT_TLP,
    TCP_RETRANSMIT_RACK,
    TCP_RETRANSMIT_PERSIST,
};

static inline uint64_t
tcp_ms_to_ns(uint64_t ms)
{
    return ms * 1000000u;
}

/* ---- timers.c ---- */
void tcp_retransmit_set(struct lp_net *net, struct tcp_stream *stream,
                        enum tcp_retransmit_kind kind, uint64_t at_ns);
void tcp_retransmit_stop(struct lp_net *net, struct tcp_stream *stream);
/* Which timer has to run now, and why that may have changed. */
enum tcp_arm {
    TCP_ARM_KEEP,  /* one that runs is left alone */
    TCP_ARM_SENT,  /* new data left */
    TCP_ARM_ACKED, /* SND.UNA moved, or what is lost is known better */
};
void tcp_retransmit_arm(struct lp_net *net, struct tcp_stream *stream, enum tcp_arm why);
/* True: the peer has been silent for longer than its user allows, and the stream has failed. */
LP_MUST_CHECK bool tcp_give_up(struct lp_net *net, struct tcp_stream *stream);

/* ---- rto.c ---- */
void tcp_rto_begin(const struct lp_net *net, struct tcp_stream *stream, uint32_t rtt_us);
/* One of `samples` measurements of a round trip. */
void tcp_rto_sample(const struct lp_net *net, struct tcp_stream *stream, uint32_t rtt_us,
                    uint32_t samples);
/* With back-off. */
uint64_t tcp_rto_ns(const struct tcp_stream *stream);
void tcp_rto_fire(struct lp_net *net, struct tcp_stream *stream);

/* ---- persist.c ---- */
/* Nothing is in flight: does the peer's window keep here what there is? */
bool tcp_persist_wanted(const struct tcp_stream *stream);
void tcp_persist_fire(struct lp_net *net, struct tcp_stream *stream);

/* ---- rack.c ---- */
/* A segment is known to have arrived. */
void tcp_rack_delivered(struct lp_net *net, struct tcp_stream *stream, const struct tcp_sent *sent,
                        const struct tcp_ack_news *news, bool by_sack);
/* After an acknowledgement, or its timer: marks what is lost.  Gives when to look again; 0: never.
 */
uint64_t tcp_rack_detect(struct lp_net *net, struct tcp_stream *stream);
void tcp_rack_dsack(struct tcp_stream *stream);
void tcp_rack_fire(struct lp_net *net, struct tcp_stream *stream);
/* When a probe is due if nothing is heard; 0: no probe now. */
uint64_t tcp_tlp_ns(const struct lp_net *net, const struct tcp_stream *stream);
void tcp_tlp_fire(struct lp_net *net, struct tcp_stream *stream);
/* An acknowledgement reached the end of a probe: true when it had mended a loss. */
LP_MUST_CHECK bool tcp_tlp_acked(struct tcp_stream *stream, uint32_t ack,
                                 const struct tcp_ack_news *news);

/* ---- recovery.c ---- */
/* Losses were found or not: recovery begins, goes on or ends; the window grows or shrinks. */
void tcp_recovery_step(struct lp_net *net, struct tcp_stream *stream, struct tcp_ack_news *news);
/* A loss that is mended already, by a probe: the window shrinks and nothing is sent again. */
void tcp_recovery_at_once(struct lp_net *net, struct tcp_stream *stream);
/* Of `flight` bytes one was marked, or this is known already. */
void tcp_recovery_marked(struct lp_net *net, struct tcp_stream *stream, uint32_t flight);
/* A time-out: RFC 5681 3.1, RFC 8985 6.3. */
void tcp_recovery_timeout(struct lp_net *net, struct tcp_stream *stream);
/* RFC 2883: these numbers arrived twice.  True: so did, by now, all that was sent again since the
 * window shrank (RFC 3708), and it was for nothing. */
LP_MUST_CHECK bool tcp_recovery_needless(struct tcp_stream *stream, const struct tcp_range *twice);
/* The windows are what they were before it. */
void tcp_recovery_undo(struct lp_net *net, struct tcp_stream *stream);

/* ---- ecn.c ---- */
/* What a SYN of ours asks with. */
uint8_t tcp_ecn_syn_flags(const struct lp_net *net, const struct tcp_stream *stream);
/* The window shrank, for a mark or another reason. */
void tcp_ecn_reduced(struct tcp_stream *stream);
/* An acknowledgement of what may have been marked: was it? */
bool tcp_ecn_acked(struct tcp_stream *stream, const struct tcp_segment *segment);

/* ---- frto.c ---- */
/* A time-out; `first`: nothing was being recovered from. */
void tcp_frto_begin(const struct lp_net *net, struct tcp_stream *stream, bool first);
/* An acknowledgement, SND.UNA moved: true when the time-out was for nothing. */
LP_MUST_CHECK bool tcp_frto_acked(struct tcp_stream *stream, const struct tcp_ack_news *news);

/* ---- prr.c ---- */
void tcp_prr_begin(struct tcp_stream *stream);
/* How much may be sent now: gives the window.  `safe`: SND.UNA moved, and nothing more is lost. */
uint32_t tcp_prr_window(const struct tcp_stream *stream, uint32_t delivered, bool safe);

/* ---- pmtu.c ---- */
/* A time-out: a smaller MTU, if that may be the reason. */
void tcp_pmtu_timeout(struct lp_net *net, struct tcp_stream *stream);
/* `largest` bytes of payload arrived in one segment that was sent once. */
void tcp_pmtu_acked(struct lp_net *net, struct tcp_stream *stream, uint32_t largest);
/* Payload of a probe that may be sent now; 0: none. */
uint32_t tcp_pmtu_probe_bytes(const struct lp_net *net, const struct tcp_stream *stream);
void tcp_pmtu_probe_sent(struct tcp_stream *stream, uint32_t bytes, uint32_t end);
bool tcp_pmtu_probe_is(const struct tcp_stream *stream, const struct tcp_sent *sent);
void tcp_pmtu_probe_arrived(struct lp_net *net, struct tcp_stream *stream);
void tcp_pmtu_probe_lost(struct lp_net *net, struct tcp_stream *stream);

/* ---- output.c ---- */
/* A segment in flight, now, whatever the windows say.  False: the device has no buffer. */
bool tcp_send_again(struct lp_net *net, struct tcp_stream *stream, struct tcp_sent *sent);
/* Up to `bytes` new ones in one segment, whatever the windows say. */
bool tcp_send_new(struct lp_net *net, struct tcp_stream *stream, uint32_t bytes);
void tcp_mss_update(const struct lp_net *net, struct tcp_stream *stream);
