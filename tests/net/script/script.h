/* SPDX-License-Identifier: Apache-2.0 */
/*
 * script.h - scripts of packets: what a peer sends, what must come out, when,
 * and what the shard sees of it.  README.md beside this file has the language.
 *
 *   packet.c  frames made and taken apart, independently of dataplane/net
 *   world.c   an instance of the stack over a device that only the script moves, in virtual time
 *   parse.c   lines        run.c  what they do        main.c  files
 *
 *   Memory    of the process; a script is short
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include <dataplane/net/net.h>

#define SCRIPT_WHY_BYTES 512
#define SCRIPT_SACKS_MAX 4
#define SCRIPT_FLOWS_MAX 64
/* Ports: flow n of a peer comes from 40000 + n. */
#define SCRIPT_PEER_PORT 40000u
#define SCRIPT_OUR_PORT  5672u

/* An option in a line: not mentioned, "!name", "name *", or a value. */
enum script_want {
    SCRIPT_UNSAID,
    SCRIPT_ABSENT,
    SCRIPT_ANY,
    SCRIPT_VALUE,
};

struct script_number {
    enum script_want want;
    uint32_t value;
};

/* A segment as a line has it, or as it came out: then every field is SCRIPT_VALUE or ABSENT. */
struct script_segment {
    uint32_t flow;
    uint16_t our_port; /* 0: SCRIPT_OUR_PORT */
    uint8_t flags;
    struct script_number seq; /* relative to the sender's first */
    struct script_number ack; /* relative to the other's first */
    struct script_number window;
    struct script_number length;
    struct script_number mss;
    struct script_number shift;
    struct script_number stamp;
    struct script_number echo;
    struct script_number ecn; /* the codepoint in the header of IP */
    enum script_want sack_permitted;
    enum script_want sack;
    uint32_t sack_count;
    uint32_t sack_range[2 * SCRIPT_SACKS_MAX];
    bool bad_checksum; /* of a line: sent broken */
    uint32_t cut;      /* of a line: so many bytes less of the frame */
};

/* ---- packet.c ---- */
struct script_ends {
    uint8_t family;
    uint8_t peer_mac[6];
    uint8_t our_mac[6];
    uint8_t peer[16];
    uint8_t ours[16];
};

/* The payload of a stream, by its place: what is received is compared with it. */
uint8_t script_byte(uint32_t place);

/* A frame from the peer with absolute numbers; gives its bytes. */
uint32_t script_frame_make(const struct script_ends *ends, const struct script_segment *segment,
                           uint32_t seq, uint32_t ack, uint8_t *ret_frame);
/*
 * A frame that came out: flags, ports (as flow), options and lengths into
 * `ret_segment`, numbers absolute in seq.value and ack.value.  False: it is
 * not TCP of ours, or broken, and `ret_why` says how.
 */
bool script_frame_read(const struct script_ends *ends, const uint8_t *frame, uint32_t bytes,
                       bool filled_by_device, struct script_segment *ret_segment,
                       const uint8_t **ret_payload, char *ret_why);
/* An ARP request or neighbour solicitation for the peer: the answer; 0: it is none. */
uint32_t script_resolve_answer(const struct script_ends *ends, const uint8_t *frame, uint32_t bytes,
                               uint8_t *ret_frame);
/* An ICMP error about a segment of ours. */
struct script_icmp {
    bool too_big;
    uint8_t code; /* of destination unreachable */
    uint16_t mtu_bytes;
    uint32_t flow;
    uint16_t our_port;
    uint32_t seq; /* absolute, as the packet that it quotes has it */
};
uint32_t script_icmp_make(const struct script_ends *ends, const struct script_icmp *icmp,
                          uint8_t *ret_frame);

/* ---- world.c ---- */
struct script_config {
    struct lp_net_config net; /* ports and listeners are world.c's */
    uint8_t family;
    bool fill; /* the device fills in checksums */
    bool tso;
    uint32_t peer_isn;
    uint64_t memory_bytes;
};

struct script_event {
    enum lp_transport_event_kind kind;
    lp_handle stream;
    uint32_t bytes;
};

struct script_out {
    uint32_t bytes;
    uint16_t segment_bytes;
    bool filled;
    uint64_t at_ns;
    uint8_t frame[LP_NIC_FRAME_BYTES_MAX];
};

struct script_world;

struct script_world *script_world_create(const struct script_config *config);
void script_world_destroy(struct script_world *world);
const struct script_ends *script_world_ends(const struct script_world *world);
struct lp_net *script_world_net(struct script_world *world);
struct lp_transport script_world_transport(struct script_world *world);
uint64_t script_world_now_ns(const struct script_world *world);
/* The frame is received, and turns are made until nothing moves. */
void script_world_inject(struct script_world *world, const uint8_t *frame, uint32_t bytes);
void script_world_turn(struct script_world *world);
/* Time passes; whatever is due in it happens when it is due. */
void script_world_advance(struct script_world *world, uint64_t by_ns);
/* The oldest frame that came out and was not taken; NULL: none. */
const struct script_out *script_world_out(struct script_world *world);
void script_world_out_taken(struct script_world *world);
/* The oldest event that was not taken; adjacent RECEIVED of a stream are one. */
const struct script_event *script_world_event(struct script_world *world);
void script_world_event_taken(struct script_world *world);
/* Bytes received that were not what script_byte() says; "" when all were. */
const char *script_world_damage(const struct script_world *world);

/* ---- parse.c ---- */
enum script_verb {
    SCRIPT_NOTHING, /* an empty line */
    SCRIPT_CONFIG,
    SCRIPT_IN,
    SCRIPT_OUT,
    SCRIPT_NONE,
    SCRIPT_WAIT,
    SCRIPT_EVENT,
    SCRIPT_SEND,
    SCRIPT_CLOSE,
    SCRIPT_STOP,
    SCRIPT_START,
    SCRIPT_CONNECT,
    SCRIPT_ICMP,
    SCRIPT_COUNTER,
    SCRIPT_DROP,
    SCRIPT_ACCEPT_STOP,
};

struct script_line {
    enum script_verb verb;
    uint32_t flow;
    uint32_t number;
    uint64_t wait_ns;
    enum lp_transport_event_kind event;
    struct script_segment segment;
    struct script_icmp icmp;
    char name[64]; /* of a counter or a setting */
    char value[64];
};

/* False: `ret_why` says what is wrong with it. */
LP_MUST_CHECK bool script_line_parse(const char *text, struct script_line *ret_line, char *ret_why);

/* ---- run.c ---- */
/* False: `ret_why` names the line and what was wrong. */
LP_MUST_CHECK bool script_run(const char *path, FILE *file, bool verbose, char *ret_why);
