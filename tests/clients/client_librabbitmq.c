/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_librabbitmq.c - what a C program does with librabbitmq: confirms,
 * bodies of a megabyte, properties, many channels, errors, returns.
 *
 *   client_librabbitmq HOST PORT
 *
 * Prints a line for each test and a closing `N passed, N failed`.
 */
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum { CLIENT_CHANNELS = 200, CLIENT_WAIT_S = 30, CLIENT_BIG_BYTES = 1 << 20 };

static const char *client_host;
static int client_port;

struct client_case {
    const char *name;
    bool (*test)(amqp_connection_state_t connection);
    int frame_max;
};

/* Say where a test failed; the test then returns false. */
#define CLIENT_EXPECT(condition)                                       \
    do {                                                               \
        if (!(condition)) {                                            \
            (void)printf("      line %d: %s\n", __LINE__, #condition); \
            return false;                                              \
        }                                                              \
    } while (0)

static bool
client_ok(amqp_connection_state_t connection)
{
    return amqp_get_rpc_reply(connection).reply_type == AMQP_RESPONSE_NORMAL;
}

static amqp_connection_state_t
client_open(int frame_max)
{
    amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    if (socket == NULL || amqp_socket_open(socket, client_host, client_port) != AMQP_STATUS_OK) {
        (void)fprintf(stderr, "cannot connect\n");
        exit(1);
    }
    const amqp_rpc_reply_t reply =
        amqp_login(connection, "/", 2047, frame_max, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest");
    amqp_channel_open(connection, 1);
    if (reply.reply_type != AMQP_RESPONSE_NORMAL || !client_ok(connection)) {
        (void)fprintf(stderr, "cannot log in\n");
        exit(1);
    }
    return connection;
}

/* A queue of this connection's own; the name is the caller's to free. */
static amqp_bytes_t
client_queue(amqp_connection_state_t connection)
{
    const amqp_queue_declare_ok_t *ok =
        amqp_queue_declare(connection, 1, amqp_empty_bytes, 0, 0, 1, 0, amqp_empty_table);
    return ok == NULL ? amqp_empty_bytes : amqp_bytes_malloc_dup(ok->queue);
}

static bool
client_wait_method(amqp_connection_state_t connection, amqp_method_number_t id,
                   amqp_frame_t *ret_frame)
{
    const struct timeval limit = {.tv_sec = CLIENT_WAIT_S};
    const int status = amqp_simple_wait_frame_noblock(connection, ret_frame, &limit);
    return status == AMQP_STATUS_OK && ret_frame->frame_type == AMQP_FRAME_METHOD &&
           ret_frame->payload.method.id == id;
}

static bool
client_wait_confirms(amqp_connection_state_t connection, uint64_t upto)
{
    uint64_t singles = 0;
    uint64_t covered = 0;
    while (covered + singles < upto) {
        amqp_frame_t frame;
        if (!client_wait_method(connection, AMQP_BASIC_ACK_METHOD, &frame)) {
            return false;
        }
        const amqp_basic_ack_t *ack = frame.payload.method.decoded;
        if (ack->multiple || ack->delivery_tag == covered + 1) {
            /* Singles below are covered too: they came earlier, out of order. */
            covered = ack->delivery_tag;
            singles = 0;
        } else {
            singles++;
        }
    }
    return true;
}

static void
client_fill(uint8_t *bytes, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(seed >> 24);
    }
}

static bool
client_consume_one(amqp_connection_state_t connection, amqp_envelope_t *ret_envelope)
{
    const struct timeval limit = {.tv_sec = CLIENT_WAIT_S};
    amqp_maybe_release_buffers(connection);
    return amqp_consume_message(connection, ret_envelope, &limit, 0).reply_type ==
           AMQP_RESPONSE_NORMAL;
}

static bool
confirms_cover_every_publish(amqp_connection_state_t connection)
{
    amqp_bytes_t queue = client_queue(connection);
    amqp_confirm_select(connection, 1);
    CLIENT_EXPECT(client_ok(connection));
    for (int i = 0; i < 1000; i++) {
        CLIENT_EXPECT(amqp_basic_publish(connection, 1, amqp_empty_bytes, queue, 0, 0, NULL,
                                         amqp_cstring_bytes("small")) == AMQP_STATUS_OK);
    }
    CLIENT_EXPECT(client_wait_confirms(connection, 1000));
    const amqp_queue_purge_ok_t *purged = amqp_queue_purge(connection, 1, queue);
    CLIENT_EXPECT(purged != NULL && purged->message_count == 1000);
    amqp_bytes_free(queue);
    return true;
}

static bool
bodies_of_a_megabyte_arrive_whole(amqp_connection_state_t connection)
{
    static uint8_t body[CLIENT_BIG_BYTES];
    amqp_bytes_t queue = client_queue(connection);
    amqp_basic_consume(connection, 1, queue, amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    CLIENT_EXPECT(client_ok(connection));
    for (uint32_t seed = 1; seed <= 8; seed++) {
        amqp_envelope_t envelope;
        client_fill(body, sizeof body, seed);
        const amqp_bytes_t bytes = {.len = sizeof body - seed, .bytes = body};
        CLIENT_EXPECT(amqp_basic_publish(connection, 1, amqp_empty_bytes, queue, 0, 0, NULL,
                                         bytes) == AMQP_STATUS_OK);
        CLIENT_EXPECT(client_consume_one(connection, &envelope));
        CLIENT_EXPECT(envelope.message.body.len == bytes.len);
        CLIENT_EXPECT(memcmp(envelope.message.body.bytes, body, bytes.len) == 0);
        CLIENT_EXPECT(amqp_basic_ack(connection, 1, envelope.delivery_tag, 0) == AMQP_STATUS_OK);
        amqp_destroy_envelope(&envelope);
    }
    amqp_bytes_free(queue);
    return true;
}

static bool
properties_come_back_as_sent(amqp_connection_state_t connection)
{
    amqp_bytes_t queue = client_queue(connection);
    amqp_table_entry_t entries[2] = {
        {.key = amqp_cstring_bytes("text"),
         .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("value")}},
        {.key = amqp_cstring_bytes("number"),
         .value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = INT64_MIN}},
    };
    const amqp_basic_properties_t sent = {
        ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_HEADERS_FLAG |
                  AMQP_BASIC_CORRELATION_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG,
        .content_type = amqp_cstring_bytes("text/plain"),
        .headers = {.num_entries = 2, .entries = entries},
        .correlation_id = amqp_cstring_bytes("c-1"),
        .timestamp = 1700000000,
    };
    amqp_basic_consume(connection, 1, queue, amqp_cstring_bytes("tag"), 0, 1, 0, amqp_empty_table);
    CLIENT_EXPECT(client_ok(connection));
    amqp_basic_publish(connection, 1, amqp_empty_bytes, queue, 0, 0, &sent, amqp_empty_bytes);
    amqp_envelope_t got;
    CLIENT_EXPECT(client_consume_one(connection, &got));
    const amqp_basic_properties_t *properties = &got.message.properties;
    CLIENT_EXPECT(properties->_flags == sent._flags);
    CLIENT_EXPECT(properties->timestamp == sent.timestamp);
    CLIENT_EXPECT(properties->headers.num_entries == 2);
    CLIENT_EXPECT(properties->headers.entries[1].value.kind == AMQP_FIELD_KIND_I64);
    CLIENT_EXPECT(properties->headers.entries[1].value.value.i64 == INT64_MIN);
    CLIENT_EXPECT(got.message.body.len == 0 && got.consumer_tag.len == 3);
    amqp_destroy_envelope(&got);
    amqp_bytes_free(queue);
    return true;
}

static bool
many_channels_each_get_their_own(amqp_connection_state_t connection)
{
    amqp_bytes_t queue[CLIENT_CHANNELS + 2];
    bool seen[CLIENT_CHANNELS + 2] = {false};
    for (amqp_channel_t channel = 2; channel <= CLIENT_CHANNELS + 1; channel++) {
        amqp_channel_open(connection, channel);
        CLIENT_EXPECT(client_ok(connection));
        const amqp_queue_declare_ok_t *ok =
            amqp_queue_declare(connection, channel, amqp_empty_bytes, 0, 0, 1, 1, amqp_empty_table);
        CLIENT_EXPECT(ok != NULL);
        queue[channel] = amqp_bytes_malloc_dup(ok->queue);
        amqp_basic_consume(connection, channel, queue[channel], amqp_empty_bytes, 0, 1, 0,
                           amqp_empty_table);
        CLIENT_EXPECT(client_ok(connection));
    }
    for (amqp_channel_t channel = 2; channel <= CLIENT_CHANNELS + 1; channel++) {
        const amqp_bytes_t body = {.len = sizeof channel, .bytes = &channel};
        amqp_basic_publish(connection, channel, amqp_empty_bytes, queue[channel], 0, 0, NULL, body);
    }
    for (int i = 0; i < CLIENT_CHANNELS; i++) {
        amqp_envelope_t envelope;
        amqp_channel_t channel;
        CLIENT_EXPECT(client_consume_one(connection, &envelope));
        CLIENT_EXPECT(envelope.message.body.len == sizeof channel);
        memcpy(&channel, envelope.message.body.bytes, sizeof channel);
        CLIENT_EXPECT(channel == envelope.channel && !seen[channel]);
        seen[channel] = true;
        amqp_bytes_free(queue[channel]);
        amqp_destroy_envelope(&envelope);
    }
    return true;
}

static bool
channel_error_leaves_the_connection_usable(amqp_connection_state_t connection)
{
    amqp_queue_declare(connection, 1, amqp_cstring_bytes("client.nobody"), 1, 0, 0, 0,
                       amqp_empty_table);
    const amqp_rpc_reply_t reply = amqp_get_rpc_reply(connection);
    CLIENT_EXPECT(reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION);
    CLIENT_EXPECT(reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD);
    const amqp_channel_close_t *closed = reply.reply.decoded;
    CLIENT_EXPECT(closed->reply_code == 404);
    amqp_channel_close_ok_t ok = {0};
    amqp_send_method(connection, 1, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    amqp_channel_open(connection, 1);
    CLIENT_EXPECT(client_ok(connection));
    amqp_bytes_t queue = client_queue(connection);
    CLIENT_EXPECT(queue.len > 0);
    amqp_bytes_free(queue);
    return true;
}

static bool
mandatory_and_unroutable_is_returned(amqp_connection_state_t connection)
{
    amqp_frame_t frame;
    amqp_message_t message;
    amqp_basic_publish(connection, 1, amqp_cstring_bytes("amq.direct"),
                       amqp_cstring_bytes("client.nobody"), 1, 0, NULL, amqp_cstring_bytes("back"));
    CLIENT_EXPECT(client_wait_method(connection, AMQP_BASIC_RETURN_METHOD, &frame));
    const amqp_basic_return_t *returned = frame.payload.method.decoded;
    CLIENT_EXPECT(returned->reply_code == AMQP_NO_ROUTE);
    CLIENT_EXPECT(amqp_read_message(connection, 1, &message, 0).reply_type == AMQP_RESPONSE_NORMAL);
    CLIENT_EXPECT(message.body.len == 4 && memcmp(message.body.bytes, "back", 4) == 0);
    amqp_destroy_message(&message);
    return true;
}

static bool
get_nack_and_get_again(amqp_connection_state_t connection)
{
    amqp_bytes_t queue = client_queue(connection);
    amqp_confirm_select(connection, 1);
    amqp_basic_publish(connection, 1, amqp_empty_bytes, queue, 0, 0, NULL, amqp_cstring_bytes("x"));
    CLIENT_EXPECT(client_wait_confirms(connection, 1));
    for (int round = 0; round < 3; round++) {
        const amqp_rpc_reply_t reply = amqp_basic_get(connection, 1, queue, 0);
        CLIENT_EXPECT(reply.reply_type == AMQP_RESPONSE_NORMAL);
        CLIENT_EXPECT(reply.reply.id == AMQP_BASIC_GET_OK_METHOD);
        const amqp_basic_get_ok_t *ok = reply.reply.decoded;
        CLIENT_EXPECT(ok->redelivered == (round > 0));
        const uint64_t tag = ok->delivery_tag;
        amqp_message_t message;
        amqp_read_message(connection, 1, &message, 0);
        amqp_destroy_message(&message);
        amqp_basic_nack(connection, 1, tag, 0, 1);
    }
    amqp_bytes_free(queue);
    return true;
}

static const struct client_case client_cases[] = {
    {"confirms_cover_every_publish", confirms_cover_every_publish, 131072},
    {"bodies_of_a_megabyte_arrive_whole", bodies_of_a_megabyte_arrive_whole, 131072},
    {"bodies_of_a_megabyte_in_frames_of_4096", bodies_of_a_megabyte_arrive_whole, 4096},
    {"properties_come_back_as_sent", properties_come_back_as_sent, 131072},
    {"many_channels_each_get_their_own", many_channels_each_get_their_own, 131072},
    {"channel_error_leaves_the_connection_usable", channel_error_leaves_the_connection_usable,
     131072},
    {"mandatory_and_unroutable_is_returned", mandatory_and_unroutable_is_returned, 131072},
    {"get_nack_and_get_again", get_nack_and_get_again, 131072},
};

int
main(int argc, char **argv)
{
    int passed = 0;
    int failed = 0;
    if (argc != 3) {
        (void)fprintf(stderr, "usage: client_librabbitmq HOST PORT\n");
        return 2;
    }
    client_host = argv[1];
    client_port = (int)strtol(argv[2], NULL, 10);
    for (size_t i = 0; i < sizeof client_cases / sizeof client_cases[0]; i++) {
        amqp_connection_state_t connection = client_open(client_cases[i].frame_max);
        const bool ok = client_cases[i].test(connection);
        (void)printf("%-5s %s\n", ok ? "ok" : "FAIL", client_cases[i].name);
        passed += ok ? 1 : 0;
        failed += ok ? 0 : 1;
        (void)amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
        (void)amqp_destroy_connection(connection);
    }
    (void)printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
