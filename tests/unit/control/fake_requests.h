/* SPDX-License-Identifier: Apache-2.0 */
/* fake_requests.h - what connections of a fake shard ask for. */
#pragma once

#include "fake_shard.h"

static inline struct fake_request *
fake_ask(struct fake_shard *shard, uint16_t type, const struct lp_writer *w)
{
    for (uint32_t i = 0; i < FAKE_REQUESTS_MAX; i++) {
        struct fake_request *request = &shard->requests[i];
        if (request->sequence != 0 && !request->answered) {
            continue;
        }
        assert_false(w->failed);
        *request = (struct fake_request){.sequence = shard->next_sequence++, .type = type};
        request->payload_bytes = (uint32_t)lp_writer_size(w);
        memcpy(request->payload, w->start, request->payload_bytes);
        fake_shard_send(shard, type, request->sequence, lp_writer_bytes(w));
        return request;
    }
    fail_msg("too many requests");
    return NULL;
}

static inline uint64_t
fake_connection_id(uint32_t shard, uint32_t number)
{
    return (uint64_t)shard << 48 | number;
}

static inline struct fake_request *
fake_login(struct fake_shard *shard, const char *user, const char *password, bool loopback)
{
    uint8_t room[512];
    static const uint8_t address[19] = {4};
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u64le(&w, fake_connection_id(shard->index, 1));
    lp_writer_short(&w, lp_bytes_of_text("PLAIN"));
    lp_writer_short(&w, lp_bytes_of_text(user));
    lp_writer_long_le(&w, lp_bytes_of_text(password));
    lp_writer_copy(&w, address, sizeof(address));
    lp_writer_u8(&w, loopback);
    return fake_ask(shard, LP_CONTROL_LOGIN, &w);
}

static inline struct fake_request *
fake_open(struct fake_shard *shard, uint32_t number, const char *user, const char *vhost)
{
    uint8_t room[512];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    fake_connection_write(&w, fake_connection_id(shard->index, number), user, vhost);
    return fake_ask(shard, LP_CONTROL_OPEN, &w);
}

/* Open as guest and settle; gives the vhost's id. */
static inline uint32_t
world_connect(struct world *world, uint32_t shard, uint32_t number)
{
    struct fake_shard *s = &world->shard[shard];
    const struct fake_request *request = fake_open(s, number, "guest", "/");
    world_settle(world);
    assert_true(request->answered);
    assert_int_equal(request->code, 0);
    struct lp_reader r = lp_reader_of(request->reply, request->reply_bytes);
    const uint32_t vhost_id = lp_reader_u32le(&r);
    s->connections[s->connection_count] = fake_connection_id(shard, number);
    s->connection_vhosts[s->connection_count++] = vhost_id;
    return vhost_id;
}

static inline struct fake_request *
fake_closed(struct fake_shard *shard, uint32_t number)
{
    uint8_t room[16];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    for (uint32_t i = 0; i < shard->connection_count; i++) {
        if (shard->connections[i] == fake_connection_id(shard->index, number)) {
            shard->connection_count--;
            shard->connections[i] = shard->connections[shard->connection_count];
            shard->connection_vhosts[i] = shard->connection_vhosts[shard->connection_count];
        }
    }
    lp_writer_u64le(&w, fake_connection_id(shard->index, number));
    return fake_ask(shard, LP_CONTROL_CLOSED, &w);
}

/* What ends declares and binds: a channel's own, which waits for each answer. */
static inline void
fake_chain_end(struct lp_writer *w, bool follows)
{
    lp_writer_u16le(w, 1);
    lp_writer_u8(w, follows);
}

static inline struct fake_request *
fake_queue_declare(struct fake_shard *shard, uint32_t connection, uint32_t vhost_id,
                   const char *name, uint8_t flags)
{
    uint8_t room[1024];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u64le(&w, fake_connection_id(shard->index, connection));
    lp_writer_u32le(&w, vhost_id);
    lp_writer_short(&w, lp_bytes_of_text(name));
    lp_writer_u8(&w, flags);
    lp_writer_long_le(&w, lp_bytes_of(NULL, 0));
    lp_writer_u16le(&w, (uint16_t)shard->index);
    fake_chain_end(&w, false);
    return fake_ask(shard, LP_CONTROL_QUEUE_DECLARE, &w);
}

static inline struct fake_request *
fake_queue_delete(struct fake_shard *shard, uint32_t connection, uint32_t vhost_id,
                  const char *name)
{
    uint8_t room[1024];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u64le(&w, fake_connection_id(shard->index, connection));
    lp_writer_u32le(&w, vhost_id);
    lp_writer_short(&w, lp_bytes_of_text(name));
    lp_writer_u8(&w, 0);
    lp_writer_u8(&w, 0);
    return fake_ask(shard, LP_CONTROL_QUEUE_DELETE, &w);
}

static inline struct fake_request *
fake_exchange_declare(struct fake_shard *shard, uint32_t connection, uint32_t vhost_id,
                      const char *name, uint8_t flags)
{
    uint8_t room[1024];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u64le(&w, fake_connection_id(shard->index, connection));
    lp_writer_u32le(&w, vhost_id);
    lp_writer_short(&w, lp_bytes_of_text(name));
    lp_writer_short(&w, lp_bytes_of_text("direct"));
    lp_writer_u8(&w, flags);
    lp_writer_long_le(&w, lp_bytes_of(NULL, 0));
    fake_chain_end(&w, false);
    return fake_ask(shard, LP_CONTROL_EXCHANGE_DECLARE, &w);
}

/* Of a queue; `type` is LP_CONTROL_BIND or LP_CONTROL_UNBIND. */
static inline struct fake_request *
fake_bind(struct fake_shard *shard, uint16_t type, const uint32_t ids[2], const char *source,
          const char *queue)
{
    uint8_t room[1024];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u64le(&w, fake_connection_id(shard->index, ids[0]));
    lp_writer_u32le(&w, ids[1]);
    lp_writer_short(&w, lp_bytes_of_text(source));
    lp_writer_u8(&w, LP_RESOURCE_QUEUE);
    lp_writer_short(&w, lp_bytes_of_text(queue));
    lp_writer_short(&w, lp_bytes_of_text("key"));
    lp_writer_long_le(&w, lp_bytes_of(NULL, 0));
    fake_chain_end(&w, false);
    return fake_ask(shard, type, &w);
}
