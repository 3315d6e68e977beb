/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbound.h - what the files of TCP's receiving half share among themselves.
 */
#pragma once

#include "tcp.h"

/* RFC 9293 3.4.2 (MSL is 2 minutes there; everybody's TIME-WAIT is a minute). */
#define TCP_FIN_WAIT_2_NS  (60ull * 1000000000u)
#define TCP_ORPHAN_NS      (120ull * 1000000000u) /* closed by us, and the peer takes nothing */
#define TCP_SYN_SENT_NS    (180ull * 1000000000u) /* RFC 9293 3.8.3: at least three minutes */
#define TCP_DELAYED_ACK_NS (40ull * 1000000u)     /* RFC 9293 3.8.6.3: less than 500 ms */
#define TCP_QUICK_ACKS     16u
/* RFC 9293 3.7.1: what a peer takes that does not say. */
#define TCP_MSS_DEFAULT_IPV4 536u
#define TCP_MSS_DEFAULT_IPV6 1220u

#define TCP_SECOND_NS 1000000000ull

/* The peer's end of a segment's flow is where it came from. */
static inline struct net_path
tcp_path_of(const struct net_packet *packet)
{
    struct net_path path = {.family = packet->family, .port = packet->port};
    net_ip_copy(packet->family, path.local, packet->to);
    net_ip_copy(packet->family, path.remote, packet->from);
    return path;
}

/* What tells one flow from another, as bytes to be hashed; gives how many. */
#define TCP_FLOW_BYTES_MAX 36u
uint32_t tcp_flow_bytes(const struct net_path *path, uint16_t local_port, uint16_t remote_port,
                        uint8_t *ret_bytes);

/* ---- header.c ---- */
/* The device did not look: does the checksum hold (RFC 9293 3.1)? */
bool tcp_checksum_holds(const struct net_packet *packet);

/* ---- gro.c ---- */
LP_MUST_CHECK enum lp_err tcp_gro_init_boot(struct lp_net *net);
/* In net->joining: this segment was taken and its frame is lent: others may follow. */
void tcp_gro_note(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment);

/* ---- isn.c ---- */
uint32_t tcp_isn(const struct lp_net *net, const struct net_path *path, uint16_t local_port,
                 uint16_t remote_port);
/* What our clock of RFC 7323 begins with towards this host: the same for all of its connections, so
 * that RFC 6191 can compare. */
uint32_t tcp_timestamp_offset(const struct lp_net *net, const struct net_path *path);

/* ---- challenge.c ---- */
/* RFC 5961: an acknowledgement that says where we are, unless there were many. */
void tcp_challenge(struct lp_net *net, struct tcp_stream *stream);

/* ---- input.c ---- */
/* A segment of a connection. */
void tcp_stream_input(struct lp_net *net, struct tcp_stream *stream, struct tcp_segment *segment);

/* ---- receive.c ---- */
/* The peer's first number is known. */
void tcp_receive_begin(struct lp_net *net, struct tcp_stream *stream, uint32_t irs);
/* What a SYN of ours says: not shifted. */
uint16_t tcp_receive_window_first(const struct lp_net *net);
uint8_t tcp_receive_shift(const struct lp_net *net);
/* RFC 9293 3.7.1, RFC 6691: the MTU less fixed headers. */
uint16_t tcp_mss_of(const struct net_path *path);
/* Text and FIN of an acceptable segment, of which nothing is outside the window. */
void tcp_text_input(struct lp_net *net, struct tcp_stream *stream, struct tcp_segment *segment);
/*
 * Text that continues what this turn brought, of a connection where nothing
 * waits; it may be lent.  False: it has to go another way, and nothing happened.
 */
LP_MUST_CHECK bool tcp_text_follow(struct lp_net *net, struct tcp_stream *stream,
                                   const uint8_t *data, uint32_t bytes);
/* Cut off what was received already and what is outside the window. */
void tcp_segment_trim(struct lp_net *net, struct tcp_stream *stream, struct tcp_segment *segment);
/* These numbers came again (RFC 2883 4). */
void tcp_dsack_note(struct lp_net *net, struct tcp_stream *stream, uint32_t start, uint32_t end);
/* The shard took something out of the receive queue: the window may open. */
void tcp_taken(struct lp_net *net, struct tcp_stream *stream);

/* ---- reassembly.c ---- */
#define TCP_RANGES_MAX 32u

struct tcp_held {
    uint32_t start;
    uint32_t end;
    uint32_t stamp; /* the higher the later something was put there */
    uint32_t bytes; /* of memory */
    struct tcp_queue data;
};

struct tcp_reassembly {
    uint32_t count;
    uint32_t stamp;
    uint32_t bytes; /* of memory, chunks with their headers */
    uint32_t fin_seq;
    bool fin_known;
    struct tcp_held range[TCP_RANGES_MAX]; /* ascending, apart */
};

/* A trimmed segment that is not the next one: kept, as far as there is room. */
void tcp_reassembly_add(struct lp_net *net, struct tcp_stream *stream,
                        const struct tcp_segment *segment);
/* RCV.NXT moved: what it reached goes to the receive queue.  True: something did, or a gap closed.
 */
bool tcp_reassembly_advance(struct lp_net *net, struct tcp_stream *stream);
void tcp_reassembly_free(struct lp_net *net, struct tcp_stream *stream);

/* ---- ledger.c ---- */
/* It is established; it is over.  What the next data plane will find. */
void tcp_ledger_enter(struct lp_net *net, const struct tcp_stream *stream);
void tcp_ledger_leave(struct lp_net *net, const struct tcp_stream *stream);

/* ---- evict.c ---- */
/* True: no newcomers, memory is for those that are there; but one that held on to it for a minute
 * without any progress is reset. */
bool tcp_memory_refuses(struct lp_net *net);
/* Nothing else helps: the greediest of some connections is reset.  True: one was. */
bool tcp_evict(struct lp_net *net, const struct tcp_stream *spare);

/* ---- stream.c ---- */
struct tcp_birth {
    const struct net_path *path;
    uint16_t local_port;
    uint16_t remote_port;
    uint32_t isn;
};
/* A connection in the table, SYN-SENT; the caller makes the rest of it.  NULL: no room. */
struct tcp_stream *tcp_stream_create(struct lp_net *net, const struct tcp_birth *birth);
/* It is over in good order: nothing of it is left but its handle. */
void tcp_stream_finish(struct lp_net *net, struct tcp_stream *stream);
/* The peer did what it must not: RST, and it is over. */
void tcp_stream_abort(struct lp_net *net, struct tcp_stream *stream);
/* An event that points into a received frame, if it may be given now. */
bool tcp_stream_lend(struct lp_net *net, struct tcp_stream *stream, const uint8_t *data,
                     uint32_t bytes);
struct lp_address tcp_address_of(uint8_t family, const uint8_t *ip, uint16_t port);

/* ---- listen.c ---- */
LP_MUST_CHECK enum lp_err tcp_listeners_init_boot(struct lp_net *net);
void tcp_listeners_fini(struct lp_net *net);
void tcp_listeners_check(const struct lp_net *net);
uint32_t tcp_half_open_count(const struct lp_net *net);
/* A segment of no connection.  False: of nobody (RFC 9293 3.10.7.1). */
bool tcp_listen_input(struct lp_net *net, struct tcp_segment *segment);
/* Options of a handshake, as both sides agree. */
struct tcp_agreed {
    uint32_t isn;
    uint32_t irs;
    uint32_t timestamp;
    uint32_t rtt_us; /* 0: not known */
    uint16_t mss_bytes;
    uint16_t listener;
    uint8_t shift;
    bool has_shift;
    bool timestamps;
    bool sack;
    bool ecn;
    bool cookie; /* and that is all that was known of it */
};
/* What a SYN offers, but for ECN. */
struct tcp_agreed tcp_agreed_of(const struct lp_net *net, const struct tcp_segment *segment);
void tcp_agreed_apply(struct lp_net *net, struct tcp_stream *stream,
                      const struct tcp_agreed *agreed);
/* Numbers of the sending half, once the peer has acknowledged our SYN. */
void tcp_established(struct lp_net *net, struct tcp_stream *stream,
                     const struct tcp_segment *segment, uint32_t rtt_us);

/* ---- ecn.c ---- */
/* A SYN: does it ask for ECN, and may it have it? */
bool tcp_ecn_offered(const struct lp_net *net, const struct tcp_segment *segment);
/* A SYN-ACK that answers our SYN. */
void tcp_ecn_answered(const struct lp_net *net, struct tcp_stream *stream,
                      const struct tcp_segment *segment);
/* Text within the window, of a connection with ECN. */
void tcp_ecn_received(struct lp_net *net, struct tcp_stream *stream,
                      const struct tcp_segment *segment);

/* ---- cookie.c ---- */
struct tcp_cookies {
    struct lp_hash_key key[2]; /* of an even and an odd epoch */
    uint64_t epoch;            /* the newest that has a key */
    uint64_t sent_ns;          /* the last one; 0: never */
};
/* The number and, for options, the low bits of the timestamp (RFC 4987 3.6). */
uint32_t tcp_cookie_make(struct lp_net *net, const struct tcp_segment *segment,
                         struct tcp_agreed *agreed, uint32_t *ret_timestamp);
/* Is this the answer to one of ours? */
bool tcp_cookie_check(struct lp_net *net, const struct tcp_segment *segment,
                      struct tcp_agreed *ret_agreed);
/*
 * Somebody may have a cookie of some seconds ago, and what would show it was
 * overtaken or lost: it will be sent again, so a reset would be wrong.  That
 * holds for an empty segment, too: it may answer a SYN-ACK that came twice.
 */
bool tcp_cookie_may_follow(const struct lp_net *net);
struct tcp_cookies *tcp_cookies_of(const struct lp_net *net);

/* ---- time_wait.c ---- */
LP_MUST_CHECK enum lp_err tcp_time_wait_init_boot(struct lp_net *net);
void tcp_time_wait_fini(struct lp_net *net);
void tcp_time_wait_check(const struct lp_net *net);
/* Both FINs are acknowledged; the caller ends the connection. */
void tcp_time_wait_begin(struct lp_net *net, const struct tcp_stream *stream);
/* One that began with a cookie ends in another way: the cookie does not make it once more. */
void tcp_time_wait_bar(struct lp_net *net, const struct tcp_stream *stream);
enum tcp_waits {
    TCP_WAITS_NOT,     /* of no such connection, or a SYN that may follow it (RFC 6191) */
    TCP_WAITS,         /* of one that is over; answered */
    TCP_WAITS_REFUSES, /* of one whose cookie was used: to be refused with RST */
};
/* `*ret_isn_above`, when not 0, is what our number has to be above in the answer to a SYN. */
enum tcp_waits tcp_time_wait_input(struct lp_net *net, const struct tcp_segment *segment,
                                   uint32_t *ret_isn_above);
bool tcp_time_wait_has(const struct lp_net *net, const struct net_path *path, uint16_t local_port,
                       uint16_t remote_port);

/* ---- port.c ---- */
/* RFC 6056: a port for a connection to there whose answers come to this shard; 0: none is free. */
uint16_t tcp_port_choose(struct lp_net *net, const struct net_path *path, uint16_t remote_port);
