/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/amqp_client.h"

#include <stdio.h>
#include <stdlib.h>

#define FRAME_METHOD    1u
#define FRAME_HEADER    2u
#define FRAME_BODY      3u
#define FRAME_HEARTBEAT 8u
#define FRAME_END       0xCEu

/* ---- buffers ---- */

static void
buffer_add(struct sim_buffer *buffer, const void *data, size_t bytes)
{
    if (buffer->used + bytes > buffer->room) {
        buffer->room = (buffer->used + bytes) * 2 + 256;
        buffer->data = realloc(buffer->data, buffer->room);
        LP_ASSERT(buffer->data);
    }
    if (bytes > 0) {
        memcpy(buffer->data + buffer->used, data, bytes);
    }
    buffer->used += bytes;
}

static void
buffer_eat(struct sim_buffer *buffer, size_t bytes)
{
    LP_ASSERT(bytes <= buffer->used);
    buffer->used -= bytes;
    if (buffer->used > 0) {
        memmove(buffer->data, buffer->data + bytes, buffer->used);
    }
}

static void
buffer_free(struct sim_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct sim_buffer){0};
}

/* ---- life ---- */

void
sim_client_init(struct sim_client *client, const struct sim_client_ops *ops, void *user)
{
    memset(client, 0, sizeof(*client));
    client->ops = ops;
    client->user = user;
}

static void
client_forget(struct sim_client *client)
{
    client->out.used = 0;
    client->in.used = 0;
    for (size_t i = 0; i < LP_COUNT_OF(client->channel); i++) {
        client->channel[i].expecting = false;
        client->channel[i].body.used = 0;
    }
}

void
sim_client_fini(struct sim_client *client)
{
    if (client->far != LP_HANDLE_NONE) {
        lp_sim_net_far_reset(client->net, client->far);
    }
    buffer_free(&client->out);
    buffer_free(&client->in);
    for (size_t i = 0; i < LP_COUNT_OF(client->channel); i++) {
        buffer_free(&client->channel[i].head);
        buffer_free(&client->channel[i].header);
        buffer_free(&client->channel[i].body);
    }
}

void
sim_client_connect(struct sim_client *client, struct lp_sim_net *net, uint32_t shard,
                   uint32_t frame_max)
{
    client_forget(client);
    client->net = net;
    client->shard = shard;
    client->far = lp_sim_net_connect(net, shard, 0);
    client->state = SIM_CLIENT_HELLO;
    client->frame_max = frame_max;
    client->close_code = 0;
    client->closed_in_order = false;
    client->stalled = false;
    client->blocked = false;
    buffer_add(&client->out, "AMQP\0\0\x09\x01", 8);
}

static void
client_dead(struct sim_client *client)
{
    if (client->far != LP_HANDLE_NONE) {
        lp_sim_net_far_close(client->net, client->far);
        client->far = LP_HANDLE_NONE;
    }
    client->state = SIM_CLIENT_DEAD;
    client_forget(client);
    client->ops->dead(client);
}

void
sim_client_reset(struct sim_client *client)
{
    if (client->far != LP_HANDLE_NONE) {
        lp_sim_net_far_reset(client->net, client->far);
        client->far = LP_HANDLE_NONE;
    }
    client->state = SIM_CLIENT_DEAD;
    client_forget(client);
    client->ops->dead(client);
}

/* ---- frames out ---- */

static void
frame_send(struct sim_client *client, uint8_t type, uint16_t channel, struct lp_bytes payload)
{
    uint8_t header[7];
    struct lp_writer writer = lp_writer_of(header, sizeof(header));
    lp_writer_u8(&writer, type);
    lp_writer_u16be(&writer, channel);
    lp_writer_u32be(&writer, payload.size);
    buffer_add(&client->out, header, sizeof(header));
    buffer_add(&client->out, payload.data, payload.size);
    const uint8_t end = FRAME_END;
    buffer_add(&client->out, &end, 1);
}

struct lp_writer
sim_method_begin(uint8_t *scratch, size_t bytes, uint32_t id)
{
    struct lp_writer writer = lp_writer_of(scratch, bytes);
    lp_writer_u16be(&writer, (uint16_t)(id >> 16));
    lp_writer_u16be(&writer, (uint16_t)id);
    return writer;
}

void
sim_method_send(struct sim_client *client, uint16_t channel, const struct lp_writer *writer)
{
    LP_ASSERT(!writer->failed);
    frame_send(client, FRAME_METHOD, channel, lp_writer_bytes(writer));
}

/* Flags and values of properties, in the order of the specification. */
static void
properties_write(struct lp_writer *writer, const struct sim_properties *properties)
{
    uint16_t flags = 0x1000; /* delivery-mode */
    flags |= properties->has_headers ? 0x2000 : 0;
    flags |= properties->has_priority ? 0x0800 : 0;
    flags |= properties->correlation_id.size > 0 ? 0x0400 : 0;
    flags |= properties->has_reply_to ? 0x0200 : 0;
    flags |= properties->has_expiration ? 0x0100 : 0;
    flags |= properties->message_id.size > 0 ? 0x0080 : 0;
    lp_writer_u16be(writer, flags);
    if (properties->has_headers) {
        lp_writer_long_be(writer, properties->headers);
    }
    lp_writer_u8(writer, properties->transient ? 1 : 2);
    if (properties->has_priority) {
        lp_writer_u8(writer, properties->priority);
    }
    if (properties->correlation_id.size > 0) {
        lp_writer_short(writer, properties->correlation_id);
    }
    if (properties->has_reply_to) {
        lp_writer_short(writer, properties->reply_to);
    }
    if (properties->has_expiration) {
        lp_writer_short(writer, properties->expiration);
    }
    if (properties->message_id.size > 0) {
        lp_writer_short(writer, properties->message_id);
    }
}

void
sim_publish_message(struct sim_client *client, uint16_t channel, const struct sim_message *message)
{
    uint8_t scratch[2048];
    struct lp_writer writer = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(60, 40));
    lp_writer_u16be(&writer, 0);
    lp_writer_short(&writer, lp_bytes_of_text(message->exchange));
    lp_writer_short(&writer, lp_bytes_of_text(message->key));
    lp_writer_u8(&writer, message->mandatory ? 1 : 0);
    sim_method_send(client, channel, &writer);

    const struct lp_bytes body = message->body;
    writer = lp_writer_of(scratch, sizeof(scratch));
    lp_writer_u16be(&writer, 60);
    lp_writer_u16be(&writer, 0);
    lp_writer_u64be(&writer, body.size);
    properties_write(&writer, &message->properties);
    LP_ASSERT(!writer.failed);
    frame_send(client, FRAME_HEADER, channel, lp_writer_bytes(&writer));

    const uint32_t piece_max = client->frame_max - 8;
    for (uint32_t at = 0; at < body.size; at += piece_max) {
        const uint32_t piece = LP_MIN(piece_max, body.size - at);
        frame_send(client, FRAME_BODY, channel, lp_bytes_of(body.data + at, piece));
    }
}

void
sim_publish(struct sim_client *client, uint16_t channel, const char *exchange, const char *key,
            bool mandatory, struct lp_bytes body)
{
    const struct sim_message message = {
        .exchange = exchange, .key = key, .mandatory = mandatory, .body = body};
    sim_publish_message(client, channel, &message);
}

void
sim_client_close(struct sim_client *client)
{
    uint8_t scratch[64];
    if (client->state != SIM_CLIENT_OPEN) {
        sim_client_reset(client);
        return;
    }
    struct lp_writer writer = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(10, 50));
    lp_writer_u16be(&writer, 200);
    lp_writer_short(&writer, lp_bytes_of_text("bye"));
    lp_writer_u32be(&writer, 0);
    sim_method_send(client, 0, &writer);
    client->state = SIM_CLIENT_CLOSING;
}

size_t
sim_client_backlog(const struct sim_client *client)
{
    return client->out.used;
}

/* ---- the handshake ---- */

/* Table of client properties: nothing, or capabilities. */
static void
client_properties(const struct sim_client *client, struct lp_writer *writer)
{
    static const char *const names[] = {"consumer_cancel_notify", "connection.blocked",
                                        "publisher_confirms", "basic.nack"};
    uint8_t scratch[256];
    struct lp_writer table = lp_writer_of(scratch, sizeof(scratch));
    for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
        lp_writer_short(&table, lp_bytes_of_text(names[i]));
        lp_writer_u8(&table, 't');
        lp_writer_u8(&table, 1);
    }
    if (!client->capable) {
        lp_writer_u32be(writer, 0);
        return;
    }
    const struct lp_bytes inside = lp_writer_bytes(&table);
    const char *name = "capabilities";
    lp_writer_u32be(writer, (uint32_t)strlen(name) + 1 + 1 + 4 + inside.size);
    lp_writer_short(writer, lp_bytes_of_text(name));
    lp_writer_u8(writer, 'F');
    lp_writer_long_be(writer, inside);
}

static void
say_start_ok(struct sim_client *client)
{
    uint8_t scratch[512];
    struct lp_writer writer = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(10, 11));
    client_properties(client, &writer);
    lp_writer_short(&writer, lp_bytes_of_text("PLAIN"));
    const char *user = client->login ? client->login : "guest";
    const uint32_t length = (uint32_t)strlen(user);
    lp_writer_u32be(&writer, 2 * length + 2);
    for (int i = 0; i < 2; i++) {
        lp_writer_u8(&writer, 0);
        lp_writer_copy(&writer, user, length);
    }
    lp_writer_short(&writer, lp_bytes_of_text("en_US"));
    sim_method_send(client, 0, &writer);
}

static void
say_tune_ok_and_open(struct sim_client *client, struct lp_reader *args)
{
    uint8_t scratch[64];
    const uint16_t channel_max = lp_reader_u16be(args);
    const uint32_t frame_max = lp_reader_u32be(args);
    client->frame_max = LP_MIN(client->frame_max, frame_max);
    struct lp_writer writer = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(10, 31));
    lp_writer_u16be(&writer, channel_max);
    lp_writer_u32be(&writer, client->frame_max);
    lp_writer_u16be(&writer, 0); /* heartbeats off */
    sim_method_send(client, 0, &writer);
    writer = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(10, 40));
    lp_writer_short(&writer, lp_bytes_of_text(client->vhost ? client->vhost : "/"));
    lp_writer_short(&writer, lp_bytes_of_text(""));
    lp_writer_u8(&writer, 0);
    sim_method_send(client, 0, &writer);
}

static void
connection_closed(struct sim_client *client, struct lp_reader *args)
{
    uint8_t scratch[16];
    client->close_code = lp_reader_u16be(args);
    const struct lp_bytes text = lp_reader_short(args);
    memcpy(client->close_text, text.data, text.size);
    client->close_text[text.size] = '\0';
    struct lp_writer writer = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(10, 51));
    sim_method_send(client, 0, &writer);
    client->state = SIM_CLIENT_CLOSING;
}

static void
connection_method(struct sim_client *client, uint32_t id, struct lp_reader *args)
{
    switch (id) {
    case SIM_METHOD(10, 10):
        say_start_ok(client);
        return;
    case SIM_METHOD(10, 30):
        say_tune_ok_and_open(client, args);
        return;
    case SIM_METHOD(10, 41):
        client->state = SIM_CLIENT_OPEN;
        client->ops->opened(client);
        return;
    case SIM_METHOD(10, 50):
        connection_closed(client, args);
        return;
    case SIM_METHOD(10, 51):
        client->closed_in_order = true;
        client_dead(client);
        return;
    case SIM_METHOD(10, 60):
    case SIM_METHOD(10, 61):
        LP_ASSERT(client->capable);
        client->blocked = id == SIM_METHOD(10, 60);
        client->blocks += client->blocked;
        return;
    default:
        LP_ASSERT(!"a connection method that nobody asked for");
    }
}

/* ---- frames in ---- */

static void
content_begin(struct sim_client *client, uint16_t channel, uint32_t id, struct lp_bytes args)
{
    struct sim_content *content = &client->channel[channel].content;
    struct sim_buffer *head = &client->channel[channel].head;
    head->used = 0;
    buffer_add(head, args.data, args.size);
    struct lp_reader reader = lp_reader_of(head->data, head->used);
    *content = (struct sim_content){.method = (uint16_t)id};
    if (id == SIM_METHOD(60, 60)) {
        content->tag = lp_reader_short(&reader);
        content->delivery_tag = lp_reader_u64be(&reader);
        content->redelivered = lp_reader_u8(&reader) & 1;
        content->exchange = lp_reader_short(&reader);
        content->key = lp_reader_short(&reader);
    } else if (id == SIM_METHOD(60, 71)) {
        content->delivery_tag = lp_reader_u64be(&reader);
        content->redelivered = lp_reader_u8(&reader) & 1;
        content->exchange = lp_reader_short(&reader);
        content->key = lp_reader_short(&reader);
        content->left = lp_reader_u32be(&reader);
    } else {
        content->code = lp_reader_u16be(&reader);
        (void)lp_reader_short(&reader);
        content->exchange = lp_reader_short(&reader);
        content->key = lp_reader_short(&reader);
    }
    LP_ASSERT(!reader.failed);
    LP_ASSERT(!client->channel[channel].expecting);
    client->channel[channel].expecting = true;
    client->channel[channel].header_seen = false;
    client->channel[channel].body.used = 0;
}

static void
content_progress(struct sim_client *client, uint16_t channel)
{
    struct sim_buffer *body = &client->channel[channel].body;
    LP_ASSERT(body->used <= client->channel[channel].body_size);
    if (body->used < client->channel[channel].body_size) {
        return;
    }
    client->channel[channel].expecting = false;
    client->channel[channel].content.body = lp_bytes_of(body->data, (uint32_t)body->used);
    client->ops->content(client, channel, &client->channel[channel].content);
}

static void
frame_method(struct sim_client *client, uint16_t channel, struct lp_bytes payload)
{
    struct lp_reader reader = lp_reader_of_bytes(payload);
    const uint32_t class_id = lp_reader_u16be(&reader);
    const uint32_t id = SIM_METHOD(class_id, lp_reader_u16be(&reader));
    LP_ASSERT(!reader.failed);
    /* Content frames of a channel are never interrupted by its methods. */
    LP_ASSERT(!client->channel[channel].expecting);
    if (channel == 0) {
        connection_method(client, id, &reader);
    } else if (id == SIM_METHOD(60, 60) || id == SIM_METHOD(60, 71) || id == SIM_METHOD(60, 50)) {
        content_begin(client, channel, id,
                      lp_bytes_of(reader.at, (uint32_t)lp_reader_left(&reader)));
    } else {
        client->ops->method(client, channel, id, &reader);
    }
}

static void
properties_read(struct lp_reader *reader, struct sim_properties *properties)
{
    const uint16_t flags = lp_reader_u16be(reader);
    *properties = (struct sim_properties){.has_headers = flags & 0x2000,
                                          .has_priority = flags & 0x0800,
                                          .has_reply_to = flags & 0x0200,
                                          .has_expiration = flags & 0x0100};
    LP_ASSERT((flags & 0xc07f) == 0); /* nobody here publishes with the others */
    if (properties->has_headers) {
        properties->headers = lp_reader_long_be(reader);
    }
    if (flags & 0x1000) {
        properties->transient = lp_reader_u8(reader) == 1;
    }
    if (properties->has_priority) {
        properties->priority = lp_reader_u8(reader);
    }
    if (flags & 0x0400) {
        properties->correlation_id = lp_reader_short(reader);
    }
    if (properties->has_reply_to) {
        properties->reply_to = lp_reader_short(reader);
    }
    if (properties->has_expiration) {
        properties->expiration = lp_reader_short(reader);
    }
    if (flags & 0x0080) {
        properties->message_id = lp_reader_short(reader);
    }
    LP_ASSERT(!reader->failed && lp_reader_left(reader) == 0);
}

static void
content_header(struct sim_client *client, uint16_t channel, struct lp_bytes payload)
{
    struct sim_buffer *header = &client->channel[channel].header;
    LP_ASSERT(!client->channel[channel].header_seen);
    header->used = 0;
    buffer_add(header, payload.data, payload.size);
    struct lp_reader reader = lp_reader_of(header->data, header->used);
    LP_ASSERT(lp_reader_u16be(&reader) == 60);
    (void)lp_reader_u16be(&reader);
    client->channel[channel].body_size = lp_reader_u64be(&reader);
    properties_read(&reader, &client->channel[channel].content.properties);
    client->channel[channel].header_seen = true;
}

static void
frame_handle(struct sim_client *client, uint8_t type, uint16_t channel, struct lp_bytes payload)
{
    LP_ASSERT(channel <= SIM_CHANNELS_MAX);
    if (type == FRAME_METHOD) {
        frame_method(client, channel, payload);
        return;
    }
    if (type == FRAME_HEARTBEAT) {
        return;
    }
    LP_ASSERT(client->channel[channel].expecting);
    if (type == FRAME_HEADER) {
        content_header(client, channel, payload);
    } else {
        LP_ASSERT(type == FRAME_BODY);
        LP_ASSERT(client->channel[channel].header_seen);
        buffer_add(&client->channel[channel].body, payload.data, payload.size);
    }
    content_progress(client, channel);
}

/* One whole frame from the input; false: there is none yet. */
static bool
frame_next(struct sim_client *client)
{
    struct lp_reader reader = lp_reader_of(client->in.data, client->in.used);
    const uint8_t type = lp_reader_u8(&reader);
    const uint16_t channel = lp_reader_u16be(&reader);
    const uint32_t size = lp_reader_u32be(&reader);
    const struct lp_bytes payload = lp_reader_bytes(&reader, size);
    const uint8_t end = lp_reader_u8(&reader);
    if (reader.failed) {
        return false;
    }
    LP_ASSERT(end == FRAME_END);
    LP_ASSERT(client->state == SIM_CLIENT_HELLO || size + 8 <= client->frame_max);
    uint8_t *copy = malloc(size + 1);
    LP_ASSERT(copy);
    memcpy(copy, payload.data, size);
    buffer_eat(&client->in, (size_t)size + 8);
    frame_handle(client, type, channel, lp_bytes_of(copy, size));
    free(copy);
    return true;
}

bool
sim_client_step(struct sim_client *client)
{
    uint8_t scratch[4096];
    bool any = false;
    if (client->far == LP_HANDLE_NONE) {
        return false;
    }
    if (client->out.used > 0) {
        const uint32_t taken = lp_sim_net_far_send(client->net, client->far, client->out.data,
                                                   (uint32_t)client->out.used);
        buffer_eat(&client->out, taken);
        any = taken > 0;
    }
    if (!client->stalled) {
        const uint32_t got =
            lp_sim_net_far_receive(client->net, client->far, scratch, sizeof(scratch));
        buffer_add(&client->in, scratch, got);
        any |= got > 0;
    }
    while (client->far != LP_HANDLE_NONE && frame_next(client)) {
        any = true;
    }
    if (client->far != LP_HANDLE_NONE) {
        const enum lp_sim_far_state state = lp_sim_net_far_state(client->net, client->far);
        if (state == LP_SIM_FAR_ENDED || state == LP_SIM_FAR_RESET) {
            client_dead(client);
            any = true;
        }
    }
    return any;
}
