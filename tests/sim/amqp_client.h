/* SPDX-License-Identifier: Apache-2.0 */
/*
 * amqp_client.h - an AMQP 0-9-1 client without I/O, for the simulator: bytes
 * go to and come from the far end of a simulated stream.
 *
 * It logs in as guest, opens the vhost "/" and as many channels as it is
 * asked for; after that the workload drives it by sim_client_send_*() and is
 * told what arrives by struct sim_client_ops.
 */
#pragma once

#include <lepus/bytes.h>

#include "drivers/sim/net.h"

enum sim_client_state {
    SIM_CLIENT_IDLE,  /* no stream */
    SIM_CLIENT_HELLO, /* header sent, handshake under way */
    SIM_CLIENT_OPEN,  /* connection.open-ok seen */
    SIM_CLIENT_CLOSING,
    SIM_CLIENT_DEAD, /* ended or reset: reason is in close_code */
};

struct sim_client;

/* The properties that scenarios look at; what is absent is empty, or false in has_*. */
struct sim_properties {
    struct lp_bytes headers; /* table without its length */
    struct lp_bytes correlation_id;
    struct lp_bytes reply_to;
    struct lp_bytes expiration;
    struct lp_bytes message_id;
    bool has_headers;
    bool has_priority;
    bool has_reply_to;
    bool has_expiration;
    bool transient; /* delivery mode 1; otherwise 2 */
    uint8_t priority;
};

struct sim_content {
    uint16_t method; /* deliver 60, get-ok 71, return 50 */
    uint64_t delivery_tag;
    bool redelivered;
    uint32_t left; /* get-ok: messages left */
    struct lp_bytes body;
    struct lp_bytes tag; /* deliver: consumer tag */
    struct lp_bytes exchange;
    struct lp_bytes key;
    struct sim_properties properties;
    uint16_t code; /* return: reply code */
};

struct sim_client_ops {
    void (*opened)(struct sim_client *client);
    void (*method)(struct sim_client *client, uint16_t channel, uint32_t id,
                   struct lp_reader *args);
    void (*content)(struct sim_client *client, uint16_t channel, const struct sim_content *content);
    void (*dead)(struct sim_client *client);
};

/* Class and method in one number. */
#define SIM_METHOD(class_id, method_id) (((uint32_t)(class_id) << 16) | (uint32_t)(method_id))

#define SIM_CHANNELS_MAX 4u

struct sim_buffer {
    uint8_t *data;
    size_t used;
    size_t room;
};

struct sim_client {
    const struct sim_client_ops *ops;
    void *user;
    struct lp_sim_net *net;
    lp_handle far;
    enum sim_client_state state;
    uint32_t frame_max;
    uint32_t shard;
    bool capable;         /* it announces capabilities: cancels and blocks are told */
    const char *login;    /* NULL: guest; its password is its name */
    const char *vhost;    /* NULL: "/" */
    bool closed_in_order; /* we closed, and close-ok came */
    uint16_t close_code;
    char close_text[256];
    struct sim_buffer out;
    struct sim_buffer in;
    struct {
        struct sim_content content;
        struct sim_buffer head;   /* the method's bytes, that content.tag and names point into */
        struct sim_buffer header; /* the properties' bytes */
        struct sim_buffer body;
        uint64_t body_size;
        bool header_seen;
        bool expecting;
    } channel[SIM_CHANNELS_MAX + 1];
    bool stalled;    /* the workload does not want to read now (slow reader) */
    bool blocked;    /* connection.blocked came, and not unblocked since */
    uint32_t blocks; /* how often it came */
};

void sim_client_init(struct sim_client *client, const struct sim_client_ops *ops, void *user);
void sim_client_fini(struct sim_client *client);
void sim_client_connect(struct sim_client *client, struct lp_sim_net *net, uint32_t shard,
                        uint32_t frame_max);
/* Move bytes both ways and handle whole frames; true when anything happened. */
bool sim_client_step(struct sim_client *client);
/* Tear the stream down without a word. */
void sim_client_reset(struct sim_client *client);
/* connection.close; DEAD follows close-ok. */
void sim_client_close(struct sim_client *client);

/* Begin a method frame; write arguments; end it. */
struct lp_writer sim_method_begin(uint8_t *scratch, size_t bytes, uint32_t id);
void sim_method_send(struct sim_client *client, uint16_t channel, const struct lp_writer *writer);
/* basic.publish with a body, split at frame_max. */
void sim_publish(struct sim_client *client, uint16_t channel, const char *exchange, const char *key,
                 bool mandatory, struct lp_bytes body);
/* The same with properties; delivery mode 2. */
struct sim_message {
    const char *exchange;
    const char *key;
    bool mandatory;
    struct sim_properties properties;
    struct lp_bytes body;
};
void sim_publish_message(struct sim_client *client, uint16_t channel,
                         const struct sim_message *message);

/* Bytes not yet taken by the stream. */
size_t sim_client_backlog(const struct sim_client *client);
