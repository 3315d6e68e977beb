/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp.h - what the files of TCP share: a parsed segment, a connection, and who
 * calls whom.
 *
 * The receiving half (segments in, states, reassembly, acknowledgements owed,
 * events) and the sending half (what is sent, when, and again) meet in struct
 * tcp_stream and in the calls below.
 *
 *   segment ─▶ header.c ─▶ input.c ─┬▶ receive.c ─▶ events ─▶ shard
 *                 │                  └▶ ack.c ─▶ scoreboard.c, rack.c, prr.c, newreno.c | cubic.c
 *                 └▶ listen.c, cookie.c, time_wait.c (no connection, or not yet)
 *   shard ─▶ stream.c ─▶ buffer.c ─▶ output.c ─▶ net_out_send()
 */
#pragma once

#include "dataplane/net/net_private.h"

/* --- Sequence numbers (RFC 9293 3.4): all comparisons of them are these. -----------------------
 */

static inline bool
tcp_lt(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static inline bool
tcp_le(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) <= 0;
}

static inline uint32_t
tcp_max(uint32_t a, uint32_t b)
{
    return tcp_lt(a, b) ? b : a;
}

/* --- A segment. --------------------------------------------------------------------------------
 */

enum tcp_flag {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_URG = 0x20,
    TCP_ECE = 0x40,
    TCP_CWR = 0x80,
};

/* The flags that say what a segment is; the other two are ECN's (RFC 3168 6.1). */
#define TCP_KIND 0x3fu

#define TCP_SACK_BLOCKS_MAX  4u
#define TCP_HEADER_BYTES     20u
#define TCP_HEADER_BYTES_MAX 60u
/* RFC 7323 2.3: a shift above it counts as it. */
#define TCP_WINDOW_SHIFT_MAX 14u

struct tcp_range {
    uint32_t start;
    uint32_t end; /* the first that is not in it */
};

struct tcp_segment {
    struct net_packet *packet;
    uint16_t from_port;
    uint16_t to_port;
    uint32_t seq;
    uint32_t ack;
    uint32_t window; /* as the header has it; not shifted */
    uint8_t flags;
    /* Options. */
    bool has_timestamp;
    bool sack_permitted;
    bool has_shift;
    uint8_t shift;
    uint16_t mss_bytes; /* 0: none */
    uint32_t timestamp;
    uint32_t echo;
    uint32_t sack_count;
    struct tcp_range sack[TCP_SACK_BLOCKS_MAX];
    const uint8_t *payload;
    uint32_t payload_bytes;
};

/* SEG.LEN: payload, and one each for SYN and FIN. */
static inline uint32_t
tcp_segment_length(const struct tcp_segment *segment)
{
    return segment->payload_bytes + ((segment->flags & TCP_SYN) != 0 ? 1u : 0u) +
           ((segment->flags & TCP_FIN) != 0 ? 1u : 0u);
}

/* --- A connection. -----------------------------------------------------------------------------
 */

/* LISTEN and SYN-RECEIVED of passive opens are no connections yet (listen.c); TIME-WAIT is none any
 * more (time_wait.c). */
enum tcp_state {
    TCP_SYN_SENT,
    TCP_SYN_RECEIVED, /* of a simultaneous open only */
    TCP_ESTABLISHED,
    TCP_FIN_WAIT_1,
    TCP_FIN_WAIT_2,
    TCP_CLOSE_WAIT,
    TCP_CLOSING,
    TCP_LAST_ACK,
    TCP_CLOSED, /* only its handle lives: CLOSED is due, or the shard has not closed it yet */
};

/* Bits of tcp_stream.due: events that the shard has not been given yet. */
enum tcp_due {
    TCP_DUE_ACCEPTED = 1 << 0,
    TCP_DUE_CONNECTED = 1 << 1,
    TCP_DUE_RECEIVED = 1 << 2, /* what waits in its receive queue */
    TCP_DUE_SENT = 1 << 3,
    TCP_DUE_ENDED = 1 << 4,
    TCP_DUE_CLOSED = 1 << 5,
    TCP_DUE_FREE = 1 << 6, /* no event: the struct goes back; never at once, callers still look */
    TCP_DUE_ROOM =
        1 << 7, /* no event: a send() waits for memory, and no acknowledgement will tell */
};

/* Bits of tcp_stream.want: what output.c has to look at when the turn ends. */
enum tcp_want {
    TCP_WANT_ACK = 1 << 0,  /* an acknowledgement, now */
    TCP_WANT_DATA = 1 << 1, /* there may be something to send */
};

struct tcp_reassembly; /* receive.c: what came out of order; only while there is some */
struct tcp_scoreboard; /* scoreboard.c: segments in flight; only while there are some */
struct tcp_send_extra; /* stream.c: pieces of a send() that the buffer had no room for yet */

/* Bytes to be sent, or received and not taken: those from `start` to `end` of its `bytes`. */
struct tcp_chunk {
    struct tcp_chunk *next;
    uint32_t seq; /* sending: the number of bytes[0] */
    uint32_t start;
    uint32_t end;
    uint32_t room;
    uint8_t bytes[];
};

struct tcp_queue {
    struct tcp_chunk *head;
    struct tcp_chunk *tail;
    uint32_t bytes;
};

/*
 * At most 512 bytes with the pool's header when idle: everything that only a
 * busy connection needs hangs off it.  Lines are by use: receiving, sending,
 * loss, identity.
 */
struct tcp_stream {
    /* Receiving: receive.c, input.c. */
    uint32_t receive_next;        /* RCV.NXT */
    uint32_t receive_edge;        /* highest RCV.NXT + RCV.WND ever advertised: never moves back */
    uint32_t last_ack_sent;       /* RFC 7323 4.3: Last.ACK.sent */
    uint32_t timestamp_recent;    /* TS.Recent */
    uint32_t timestamp_recent_ms; /* when it was set: RFC 7323 5.5, 24 days */
    uint32_t receive_bytes_max;   /* auto-tuned */
    struct tcp_queue received;    /* in order, not taken by the shard */
    struct tcp_reassembly *reassembly;
    uint32_t tune_seq;    /* receive.c: auto-tuning, a round trip's first number */
    uint32_t tune_ms;     /* once it is closed: since when (idle.c) */
    uint16_t receive_mss; /* the largest segment seen: two of them are acknowledged at once */
    uint8_t ack_quick;    /* acknowledge so many at once: the beginning of a connection */
    uint8_t receive_shift;
    uint8_t send_shift;
    uint8_t state;      /* enum tcp_state */
    uint8_t due;        /* enum tcp_due */
    uint8_t want;       /* enum tcp_want */
    bool receiving : 1; /* receive_start(), the default */
    bool fin_received : 1;
    bool fin_queued : 1; /* close(): a FIN follows the last byte */
    bool fin_sent : 1;
    bool closing : 1; /* close() was called: nothing but CLOSED any more */
    bool failed : 1;  /* reset or timed out */
    bool ended : 1;   /* ENDED was delivered */
    bool timestamps : 1;
    bool sack : 1;
    bool ready_linked : 1;
    bool passive : 1;
    bool cookie : 1;       /* it began with one */
    bool in_recovery : 1;  /* RFC 6675 5: until `recovery_end` is acknowledged */
    bool rto_recovery : 1; /* likewise after a time-out */
    bool tlp_sent : 1;     /* RFC 8985 7: until `tlp_end_seq` is acknowledged */
    bool tlp_again : 1;    /* and it was a retransmission */
    bool reordering : 1;   /* RFC 8985: RACK.reordering_seen */
    bool dsack_due : 1;    /* RFC 2883: `dsack` goes first */
    bool ecn : 1;          /* these five: ecn.c */
    bool ecn_send : 1;
    bool ecn_echo : 1;
    bool ecn_cwr : 1;
    bool ecn_reduced : 1;

    /* Sending: buffer.c, output.c, ack.c. */
    uint32_t send_una;    /* SND.UNA */
    uint32_t send_next;   /* SND.NXT */
    uint32_t send_end;    /* the number behind the last byte in `sending` */
    uint32_t send_window; /* SND.WND, shifted */
    uint32_t send_wl1;    /* SND.WL1 */
    uint32_t send_wl2;    /* SND.WL2 */
    uint32_t send_window_max;
    struct tcp_queue sending;     /* from send_una on */
    struct tcp_send_extra *extra; /* a send() that is not copied yet */
    uint32_t sent_bytes;          /* of that send(): what SENT will say */
    uint32_t sent_ms;             /* when something new was last sent: RFC 5681 4.1 */
    struct tcp_scoreboard *scoreboard;

    /* Loss, congestion, timers: ack.c, rack.c, rto.c, congestion.h. */
    uint32_t cwnd; /* bytes */
    uint32_t ssthresh;
    uint32_t recovery_end; /* SND.NXT when recovery began */
    uint32_t srtt_us;      /* RFC 6298; 0: no sample yet */
    uint32_t rttvar_us;
    uint32_t rto_ms;
    uint32_t rtt_min_us;       /* rack.c: over some minutes */
    uint32_t rtt_min_ms;       /* when it was measured */
    uint32_t rack_rtt_us;      /* RACK.rtt */
    uint32_t rack_dsack_round; /* RACK.dsack_round */
    uint32_t tlp_end_seq;
    uint8_t rack_reorder_mult; /* RACK.reo_wnd_mult, and for how many recoveries more */
    uint8_t rack_reorder_persist;
    uint8_t backoff; /* time-outs in a row */
    uint8_t probes;  /* persist or keepalive probes in a row */
    uint8_t dup_acks;
    uint16_t undo_again;     /* retransmissions that no DSACK called needless, of a recovery that */
    uint32_t undo_una;       /* began with this SND.UNA */
    uint64_t congestion[4];  /* what the algorithm remembers: cubic.c */
    uint64_t stalled_ns;     /* since when the oldest byte is unacknowledged; 0: nothing is */
    uint64_t heard_ns;       /* the last segment that was acceptable */
    uint64_t retransmit_ns;  /* RTO, TLP, RACK or persist is due; 0: none */
    uint64_t ack_ns;         /* a delayed acknowledgement is due; 0: none */
    uint64_t idle_ns;        /* keepalive, FIN-WAIT-2, LAST-ACK or SYN-SENT is due; 0: none */
    uint8_t retransmit_kind; /* timers.c */
    uint32_t undo_cwnd;      /* before what may have been for nothing: recovery.c; 0: nothing was */
    uint32_t undo_ssthresh;
    struct lp_timer timer; /* armed for the earliest of the three; timers.c */

    /* Identity. */
    struct lp_hash_node node; /* by addresses and ports */
    struct net_path path;
    uint16_t local_port;
    uint16_t remote_port;
    uint16_t send_mss; /* payload of a full segment: what the peer takes, the path, less options */
    uint16_t peer_mss;
    uint16_t pmtu;         /* pmtu.c: of IP; 0: the path's port says it */
    uint16_t pmtu_probe;   /* a probe of this size is in flight; 0: none */
    uint16_t pmtu_high;    /* larger ones do not arrive */
    uint16_t pmtu_acked;   /* the largest that has arrived */
    uint16_t pmtu_claimed; /* what a router said and is not believed yet */
    uint8_t pmtu_fails;
    uint32_t pmtu_mark;    /* the probe's end, or when to probe next, in ms */
    uint32_t isn;          /* our first number: only for the handshake and RFC 5961 5 */
    uint32_t challenge_ms; /* RFC 5961 7: since when, and how many were sent since */
    uint16_t challenges;
    uint16_t listener;
    uint32_t timestamp_offset; /* RFC 7323 5.4: what our clock begins with towards this peer */
    struct tcp_range dsack;
    uint64_t user;        /* attach() */
    struct lp_list ready; /* in tcp.ready: events are due */
    struct lp_list flush; /* in tcp.flush: output.c looks at it at the end of the turn */
};
LP_STATIC_ASSERT(sizeof(struct tcp_stream) + sizeof(struct lp_pool_header) <= 512,
                 "an idle connection is small");

struct tcp_listeners; /* listen.c: what is half-open, and secrets of cookies */
struct tcp_time_wait; /* time_wait.c */
struct tcp_ledger;    /* ledger.c: what the next life is to know of this one */
struct tcp_gro;       /* gro.c: what a burst brought */

struct tcp {
    struct lp_pool streams;
    struct lp_hash table; /* streams by addresses and ports */
    struct lp_list ready;
    struct lp_list flush;
    struct tcp_listeners *listeners;
    struct tcp_time_wait *time_wait;
    struct tcp_gro *gro;
    struct tcp_ledger *ledger;
    uint64_t isn_secret[2];   /* RFC 6528 */
    uint64_t port_secret[2];  /* RFC 6056 */
    struct net_bucket resets; /* reply.c */
    uint32_t orphan_resets;   /* a second: what orphans.c asks for, beside those of others */
    uint64_t buffered_bytes;  /* of all connections: queues, reassembly, scoreboards */
    struct tcp_queue lent;    /* chunks that events point into; until the next poll() */
    uint32_t port_next;       /* port.c */
    uint32_t evict_cursor;    /* evict.c: where in the pool it looked last */
};

/* Our FIN is sent and acknowledged. */
static inline bool
tcp_fin_acknowledged(const struct tcp_stream *stream)
{
    return stream->fin_sent && stream->send_una == stream->send_end + 1u;
}

/* Milliseconds for options and short memories; wraps. */
static inline uint32_t
tcp_now_ms(const struct lp_net *net)
{
    return (uint32_t)(net->now_ns / 1000000u);
}

/* ---- init.c ---- */
LP_MUST_CHECK enum lp_err tcp_init_boot(struct lp_net *net);
void tcp_fini(struct lp_net *net);
void tcp_check(const struct lp_net *net);
/* No stream, nothing half-open; TIME-WAIT may be. */
bool tcp_at_rest(const struct lp_net *net, const char **ret_why);

/* ==== The receiving half. ======================================================================
 */

/* ---- header.c ---- */
/* False: malformed (too short, offset beyond the end, a broken option).  Checksum not included. */
LP_MUST_CHECK bool tcp_segment_parse(struct net_packet *packet, struct tcp_segment *ret_segment);

/* ---- input.c ---- */
/* A packet of ours that holds TCP, at the shard that owns the flow; steered, not yet checked. */
void tcp_input(struct lp_net *net, struct net_packet *packet);

/* ---- gro.c ---- */
/* A burst begins: nothing is remembered of the last. */
void tcp_gro_begin(struct lp_net *net);
/* In net->joining.  True: it continued an earlier one of the burst, and an event points into it;
 * false: nothing was looked at, as it were. */
bool tcp_gro_input(struct lp_net *net, uint32_t port, struct lp_nic_frame *frame);

/* ---- table.c ---- */
struct tcp_stream *tcp_find(const struct lp_net *net, const struct net_path *path,
                            uint16_t local_port, uint16_t remote_port);
LP_MUST_CHECK bool tcp_insert(struct lp_net *net, struct tcp_stream *stream);
void tcp_remove(struct lp_net *net, struct tcp_stream *stream);

/* ---- receive.c ---- */
/* RCV.WND as it is to be advertised, in bytes; a multiple of the shift's unit, never less than what
 * was promised. */
uint32_t tcp_receive_window(const struct lp_net *net, const struct tcp_stream *stream);
/* RFC 2018, 2883: DSACK first, then the most recent; gives how many. */
uint32_t tcp_sack_blocks(const struct tcp_stream *stream, struct tcp_range *ret_blocks,
                         uint32_t max);
/* output.c sent a segment with ACK and this window: nothing is owed any more. */
void tcp_acknowledged(struct lp_net *net, struct tcp_stream *stream, uint32_t window);

/* ---- stream.c ---- */
/* transport.h's operations; net.c gives them on as they come.  accept_stop() and accept_pause() are
 * lp_net.accepting and accept_paused. */
void tcp_stream_attach(struct lp_net *net, lp_handle handle, uint64_t user);
bool tcp_stream_send(struct lp_net *net, lp_handle handle, const struct lp_iovec *pieces,
                     uint32_t count);
void tcp_stream_receive_stop(struct lp_net *net, lp_handle handle);
void tcp_stream_receive_start(struct lp_net *net, lp_handle handle);
/* All that are not closed. */
void tcp_streams_close(struct lp_net *net);
void tcp_stream_close(struct lp_net *net, lp_handle handle);
lp_handle tcp_stream_connect(struct lp_net *net, const struct lp_address *to);
/*
 * What is due becomes events, as far as net->sink has room: once a poll(),
 * when all frames have been worked through.  A quarter of the sink is kept
 * for it.  A stream that is given ACCEPTED or CONNECTED here gets nothing
 * else before the next poll().
 */
void tcp_stream_events(struct lp_net *net);
/* Is anything due?  Then the shard must not sleep. */
bool tcp_stream_waiting(const struct lp_net *net);
/* The peer is gone (reset, time-out): ENDED or CLOSED, queues freed.  Sends no RST. */
void tcp_stream_fail(struct lp_net *net, struct tcp_stream *stream);
/* Events are due; poll() gives them. */
void tcp_due(struct lp_net *net, struct tcp_stream *stream, uint8_t due);

/* ==== The sending half. ========================================================================
 */

/* ---- begin.c ---- */
/* State, windows, MSS and options are agreed: congestion window, RTO (RFC 6928: 10 segments).
 * `rtt_us`: of the handshake, 0 when it was sent again. */
void tcp_send_begin(struct lp_net *net, struct tcp_stream *stream, uint32_t rtt_us);
/* A SYN, SYN-ACK of a simultaneous open, or probe of keepalive, now. */
void tcp_syn_send(struct lp_net *net, struct tcp_stream *stream);
void tcp_probe_send(struct lp_net *net, struct tcp_stream *stream);
/* RST of a connection of ours: abort. */
void tcp_reset_send(struct lp_net *net, struct tcp_stream *stream);

/* ---- output.c ---- */
/* Look at it at the end of the turn. */
void tcp_want(struct lp_net *net, struct tcp_stream *stream, uint8_t want);
/* The end of the turn: everything that is wanted and allowed is sent. */
void tcp_flush(struct lp_net *net);

/* ---- reply.c: without a connection ---- */
struct tcp_reply {
    const struct net_path *path;
    uint16_t from_port;
    uint16_t to_port;
    uint32_t seq;
    uint32_t ack;
    uint8_t flags;
    uint16_t window;
    uint16_t mss_bytes; /* with SYN; 0: no option */
    bool has_shift;
    uint8_t shift;
    bool sack_permitted;
    bool has_timestamp;
    uint32_t timestamp;
    uint32_t echo;
};
void tcp_reply_send(struct lp_net *net, const struct tcp_reply *reply);
/* RFC 9293 3.10.7.1: the RST that answers a segment of nobody; limited in rate. */
void tcp_reset_answer(struct lp_net *net, const struct tcp_segment *segment);

/* ---- ack.c ---- */
/*
 * An acceptable segment with ACK: SND.UNA moves, SACK is noted, RTT measured,
 * windows updated, losses found.  False: it acknowledges what was never sent,
 * or is too old to be believed (RFC 5961 5): the caller challenges.
 */
LP_MUST_CHECK bool tcp_ack_input(struct lp_net *net, struct tcp_stream *stream,
                                 const struct tcp_segment *segment);

/* ---- buffer.c ---- */
/* Copy in what there is room for; gives how many bytes.  Memory and send_bytes_max decide. */
uint32_t tcp_buffer_append(struct lp_net *net, struct tcp_stream *stream, const void *data,
                           uint32_t bytes);
/* Copy to a queue's end what there is memory for; gives how many bytes. */
uint32_t tcp_queue_append(struct lp_net *net, struct tcp_queue *queue, const void *data,
                          uint32_t bytes);
/* A queue's first `bytes` are not needed any more. */
void tcp_queue_drop(struct lp_net *net, struct tcp_queue *queue, uint32_t bytes);
/* One chunk that was taken off a queue. */
void tcp_chunk_free(struct lp_net *net, struct tcp_chunk *chunk);
/* All of a queue goes back. */
void tcp_queue_free(struct lp_net *net, struct tcp_queue *queue);
/* stream.c: there is room again in `sending`, a send() waits for it. */
void tcp_send_continue(struct lp_net *net, struct tcp_stream *stream);
/* Everything of the sending half goes back: queues, scoreboard, timers. */
void tcp_send_end(struct lp_net *net, struct tcp_stream *stream);
/* Between turns: every invariant of the sending half, and that nothing can be forgotten. */
void tcp_send_check(const struct tcp_stream *stream);

/* ---- timers.c ---- */
/* After any of retransmit_ns, ack_ns, idle_ns changed. */
void tcp_timer_update(struct lp_net *net, struct tcp_stream *stream);
/* The sending half's: RTO, TLP, RACK, persist. */
void tcp_retransmit_fire(struct lp_net *net, struct tcp_stream *stream);
/* The receiving half's: keepalive, FIN-WAIT-2, LAST-ACK, SYN-SENT. */
void tcp_idle_fire(struct lp_net *net, struct tcp_stream *stream);

/* ---- pmtu.c ---- */
enum tcp_icmp {
    TCP_ICMP_SOFT,    /* unreachable, for now */
    TCP_ICMP_HARD,    /* protocol or port unreachable: fatal before ESTABLISHED only (RFC 5927 5) */
    TCP_ICMP_TOO_BIG, /* `mtu_bytes`, believed only when `seq` is in flight (RFC 5927 7) */
};
/* An error about a packet that we sent, and what it quotes of that. */
struct tcp_icmp_error {
    enum tcp_icmp kind;
    uint16_t local_port;
    uint16_t remote_port;
    uint16_t mtu_bytes;
    uint32_t seq;
};
/* Is this flow half-open, or in TIME-WAIT? */
bool tcp_listen_knows(const struct lp_net *net, const struct net_path *path, uint16_t local_port,
                      uint16_t remote_port);
/* Does somebody listen where this packet of TCP goes? */
bool tcp_listens(const struct lp_net *net, const struct net_packet *packet);
/* icmp_both.c.  Of `path` only the family and the addresses count.  False: no connection of ours.
 */
bool tcp_icmp_input(struct lp_net *net, const struct net_path *path,
                    const struct tcp_icmp_error *error);
