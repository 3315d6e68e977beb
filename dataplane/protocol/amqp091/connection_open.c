/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_open.c - from the protocol header to open-ok.
 */
#include <lepus/field_table.h>

#include "dataplane/link/link.h"

#include "dataplane/protocol/amqp091/amqp091.h"
#include "dataplane/protocol/amqp091/sasl.h"

#define NS_PER_MS 1000000u

static const char *const capabilities[] = {
    "publisher_confirms",           "exchange_exchange_bindings", "basic.nack",
    "consumer_cancel_notify",       "connection.blocked",         "consumer_priorities",
    "authentication_failure_close", "per_consumer_qos",           "direct_reply_to",
};

static const struct {
    const char *name;
    const char *value;
} about[] = {
    /* Clients and their test suites decide by product and version what their peer can do: these
     * name the RabbitMQ that we behave as; who we are is in `platform`. */
    {"product", "RabbitMQ"},
    {"version", "4.0.5"},
    {"platform", "Lepus " LP_VERSION},
    {"copyright", "The Lepus authors"},
    {"information", "Licensed under the Apache License 2.0"},
};

static void
text_field(struct lp_writer *writer, const char *name, struct lp_bytes value)
{
    lp_writer_short(writer, lp_bytes_of_text(name));
    lp_writer_u8(writer, 'S');
    lp_writer_long_be(writer, value);
}

static void
server_properties(struct lp_writer *writer, const struct lp_protocol_limits *limits)
{
    const size_t table = lp_writer_size(writer);
    lp_writer_u32be(writer, 0);
    lp_writer_short(writer, lp_bytes_of_text("capabilities"));
    lp_writer_u8(writer, 'F');
    const size_t inner = lp_writer_size(writer);
    lp_writer_u32be(writer, 0);
    for (uint32_t i = 0; i < LP_COUNT_OF(capabilities); i++) {
        lp_writer_short(writer, lp_bytes_of_text(capabilities[i]));
        lp_writer_u8(writer, 't');
        lp_writer_u8(writer, 1);
    }
    lp_writer_patch_u32be(writer, inner, (uint32_t)(lp_writer_size(writer) - inner - 4));
    uint32_t name_bytes = 0;
    while (name_bytes < sizeof(limits->cluster_name) && limits->cluster_name[name_bytes] != 0) {
        name_bytes++;
    }
    text_field(writer, "cluster_name", lp_bytes_of(limits->cluster_name, name_bytes));
    for (uint32_t i = 0; i < LP_COUNT_OF(about); i++) {
        text_field(writer, about[i].name, lp_bytes_of_text(about[i].value));
    }
    lp_writer_patch_u32be(writer, table, (uint32_t)(lp_writer_size(writer) - table - 4));
}

/* Those that the operator allows; what the certificate says is worth something with TLS only. */
static uint8_t
mechanisms_of(const struct amqp091_connection *connection)
{
    const uint8_t allowed = connection->shard->broker->limits.mechanisms;
    struct lp_transport_identity identity;
    const bool tls = lp_connection_identity(connection->base, &identity) && identity.tls;
    return tls ? allowed : (uint8_t)(allowed & ~(unsigned)LP_MECHANISM_EXTERNAL);
}

static void
mechanisms_write(struct lp_writer *writer, uint8_t mechanisms)
{
    const size_t at = lp_writer_size(writer);
    lp_writer_u32be(writer, 0);
    for (unsigned bit = 1; bit <= LP_MECHANISM_EXTERNAL; bit <<= 1) {
        if ((mechanisms & bit) == 0) {
            continue;
        }
        const struct lp_bytes name = lp_bytes_of_text(amqp091_sasl_name((uint8_t)bit));
        if (lp_writer_size(writer) > at + 4) {
            lp_writer_u8(writer, ' ');
        }
        lp_writer_copy(writer, name.data, name.size);
    }
    lp_writer_patch_u32be(writer, at, (uint32_t)(lp_writer_size(writer) - at - 4));
}

static void
start_send(struct amqp091_connection *connection)
{
    struct amqp091_out out;
    amqp091_out_begin(&out, 0, AMQP091_CONNECTION_START);
    lp_writer_u8(&out.writer, 0); /* version 0-9 */
    lp_writer_u8(&out.writer, 9);
    server_properties(&out.writer, &connection->shard->broker->limits);
    mechanisms_write(&out.writer, mechanisms_of(connection));
    lp_writer_long_be(&out.writer, lp_bytes_of_text("en_US"));
    amqp091_out_send(connection, &out);
}

void
amqp091_connection_header(struct amqp091_connection *connection, struct lp_bytes header)
{
    static const uint8_t other[] = {'A', 'M', 'Q', 'P', 3, 1, 0, 0};
    /* 1-1-0-9 is how some clients of 0-9 announce themselves (C9). */
    static const uint8_t good[][8] = {{'A', 'M', 'Q', 'P', 0, 0, 9, 1},
                                      {'A', 'M', 'Q', 'P', 1, 1, 0, 9}};
    for (uint32_t i = 0; i < LP_COUNT_OF(good); i++) {
        if (lp_bytes_equal(header, lp_bytes_of(good[i], sizeof(good[i])))) {
            amqp091_connection_event(connection, AMQP091_EV_HEADER_GOOD);
            start_send(connection);
            return;
        }
    }
    /* RabbitMQ 4.0 names 1.0 to whom it does not understand; who asked for 1.0 is told the truth.
     */
    const uint8_t *version = header.data + 4;
    const bool ours = lp_bytes_start_with(header, "AMQP") &&
                      ((version[0] == 0 && version[1] == 0 && version[2] >= 9) ||
                       (version[1] == 1 && version[2] == 0 && version[3] == 0));
    if (!connection->dead) {
        connection->dead =
            !lp_connection_write(connection->base, ours ? good[0] : other, sizeof(other));
    }
    amqp091_connection_event(connection, AMQP091_EV_HEADER_BAD);
}

/* ---- login ---- */

static bool
is_loopback(const struct lp_address *address)
{
    static const uint8_t v6[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    switch (address->family) {
    case LP_ADDRESS_UNIX:
        return true;
    case LP_ADDRESS_IPV4:
        return address->ip[0] == 127;
    case LP_ADDRESS_IPV6:
        return memcmp(address->ip, v6, sizeof(v6)) == 0 ||
               (memcmp(address->ip, mapped, sizeof(mapped)) == 0 && address->ip[12] == 127);
    default:
        return false;
    }
}

static bool
capability(struct lp_bytes table, const char *name)
{
    struct lp_field capabilities_field;
    struct lp_field field;
    return lp_field_find(table, "capabilities", &capabilities_field) &&
           capabilities_field.type == 'F' && lp_field_find(capabilities_field.raw, name, &field) &&
           field.type == 't' && field.raw.data[0] != 0;
}

static struct amqp091_connection *
connection_of(void *context, lp_handle owner)
{
    struct lp_broker *broker = context;
    struct lp_connection *base = lp_pool_get(&broker->connections, owner);
    return base && base->protocol == &lp_protocol_amqp091 ? base->state : NULL;
}

static void
tune_send(struct amqp091_connection *connection)
{
    const struct lp_protocol_limits *limits = &connection->shard->broker->limits;
    struct amqp091_out out;
    amqp091_out_begin(&out, 0, AMQP091_CONNECTION_TUNE);
    lp_writer_u16be(&out.writer, limits->channel_max);
    lp_writer_u32be(&out.writer, limits->frame_max_bytes);
    lp_writer_u16be(&out.writer, limits->heartbeat_s);
    amqp091_out_send(connection, &out);
}

/* The control process's answer took its time, which is not the peer's. */
static void
handshake_goes_on(struct amqp091_connection *connection)
{
    const uint64_t timeout_ms = connection->shard->broker->limits.handshake_timeout_ms;
    amqp091_timer_deadline(connection, timeout_ms * NS_PER_MS);
}

static void
refused_by_control(struct amqp091_connection *connection, const struct lp_link_reply *reply,
                   uint32_t method_id)
{
    struct lp_fault fault;
    amqp091_text_begin(&fault, reply->code);
    amqp091_text_add_bytes(&fault, reply->text);
    amqp091_connection_fault(connection, &fault, method_id);
}

static bool
user_keep(struct amqp091_connection *connection, struct lp_bytes user)
{
    connection->user = lp_memory_alloc(connection->shard->broker->memory, LP_MAX(user.size, 1u));
    if (!connection->user) {
        return false;
    }
    memcpy(connection->user, user.data, user.size);
    connection->user_bytes = (uint8_t)user.size;
    return true;
}

static void
login_reply(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct amqp091_connection *connection = connection_of(context, owner);
    if (!connection || connection->state != AMQP091_CONN_LOGIN) {
        return;
    }
    amqp091_connection_wake(connection);
    struct lp_reader reader = reply->more;
    const struct lp_bytes user = reply->code == 0 ? lp_reader_short(&reader) : lp_bytes_of(NULL, 0);
    if (reply->code == LP_FAULT_ACCESS_REFUSED && !connection->can_auth_close) {
        amqp091_connection_event(connection, AMQP091_EV_REFUSED);
        return;
    }
    if (reply->code != 0) {
        refused_by_control(connection, reply, AMQP091_METHOD_NONE);
        return;
    }
    if (reader.failed || !user_keep(connection, user)) {
        amqp091_connection_event(connection, AMQP091_EV_REFUSED);
        return;
    }
    amqp091_connection_event(connection, AMQP091_EV_LOGIN_DONE);
    tune_send(connection);
    handshake_goes_on(connection);
}

/* What the control process says to a wrong password (C13, C14). */
static void
login_refused(struct amqp091_connection *connection, struct lp_bytes mechanism)
{
    struct lp_fault fault;
    if (!connection->can_auth_close) {
        amqp091_connection_event(connection, AMQP091_EV_REFUSED);
        return;
    }
    amqp091_text_make(&fault, LP_FAULT_ACCESS_REFUSED,
                      "Login was refused using authentication mechanism ");
    amqp091_text_add_bytes(&fault, mechanism);
    amqp091_text_add(&fault, ". For details see the broker logfile.");
    amqp091_connection_event(connection, AMQP091_EV_START_OK);
    amqp091_connection_fault(connection, &fault, AMQP091_METHOD_NONE);
}

/* From the certificate; without a name there, `password` says why. */
static bool
external_read(const struct amqp091_connection *connection,
              struct amqp091_credentials *ret_credentials)
{
    struct lp_transport_identity identity;
    if (!lp_connection_identity(connection->base, &identity)) {
        return false;
    }
    *ret_credentials = (struct amqp091_credentials){.user = identity.login};
    if (identity.login_missing != NULL) {
        ret_credentials->user = lp_bytes_of(NULL, 0);
        ret_credentials->password = lp_bytes_of_text(identity.login_missing);
    }
    return true;
}

static bool
credentials_read(struct amqp091_connection *connection, const struct amqp091_method *method,
                 struct amqp091_credentials *ret_credentials)
{
    connection->mechanism =
        amqp091_sasl_find(method->name[0]) & mechanisms_of(connection); /* 0: not offered */
    if (connection->mechanism == LP_MECHANISM_EXTERNAL) {
        return external_read(connection, ret_credentials);
    }
    return amqp091_sasl_read(connection->mechanism, method->text, ret_credentials);
}

enum amqp091_flow
amqp091_connection_login(struct amqp091_connection *connection, const struct amqp091_method *method)
{
    struct lp_broker *broker = connection->shard->broker;
    const struct lp_bytes mechanism = method->name[0];
    struct amqp091_credentials credentials;

    connection->can_auth_close = capability(method->table, "authentication_failure_close");
    connection->can_cancel_notify = capability(method->table, "consumer_cancel_notify");
    connection->can_blocked = capability(method->table, "connection.blocked");
    if (!credentials_read(connection, method, &credentials)) {
        amqp091_connection_event(connection, AMQP091_EV_REFUSED);
        return AMQP091_NEXT;
    }
    if (credentials.user.size > AMQP091_NAME_BYTES_MAX) { /* nobody has such a name */
        login_refused(connection, mechanism);
        return AMQP091_NEXT;
    }
    struct lp_writer writer = amqp091_control_begin(connection);
    lp_writer_short(&writer, mechanism);
    lp_writer_short(&writer, credentials.user);
    lp_writer_long_le(&writer, credentials.password);
    amqp091_control_address(&writer, &connection->base->peer);
    lp_writer_u8(&writer, is_loopback(&connection->base->peer));
    LP_ASSERT(!writer.failed); /* start-ok fitted a frame of 4096 bytes */

    uint8_t *properties = lp_memory_alloc(broker->memory, LP_MAX(method->table.size, 1u));
    if (!properties || !lp_link_request(&broker->link, LP_CONTROL_LOGIN, lp_writer_bytes(&writer),
                                        connection->base->self, login_reply)) {
        void *block = properties;
        if (block) {
            lp_memory_release(broker->memory, &block);
        }
        amqp091_connection_stall(connection);
        return AMQP091_STALL;
    }
    if (method->table.size > 0) {
        memcpy(properties, method->table.data, method->table.size);
    }
    connection->client_properties = properties;
    connection->client_properties_bytes = method->table.size;
    connection->login_sent = true;
    amqp091_connection_event(connection, AMQP091_EV_START_OK);
    amqp091_timer_deadline(connection, 0);
    return AMQP091_NEXT;
}

/* ---- tune ---- */

void
amqp091_connection_tune(struct amqp091_connection *connection, const struct amqp091_method *method)
{
    const struct lp_protocol_limits *limits = &connection->shard->broker->limits;
    const uint16_t channel_max = (uint16_t)method->number[0];
    const uint32_t frame_max = (uint32_t)method->number[1];
    /* 0 means no limit, which is above any limit of ours (C22, C23). */
    const bool bad_channels =
        limits->channel_max != 0 && (channel_max == 0 || channel_max > limits->channel_max);
    const bool bad_frames =
        frame_max < AMQP091_FRAME_MIN_BYTES || frame_max > limits->frame_max_bytes;

    if (bad_channels || bad_frames) {
        amqp091_connection_event(connection, AMQP091_EV_REFUSED);
        return;
    }
    connection->channel_max = channel_max == 0 ? UINT16_MAX : channel_max;
    connection->frame_max = frame_max;
    connection->heartbeat_s = (uint16_t)method->number[2];
    amqp091_parser_init(&connection->parser, frame_max);
    amqp091_connection_event(connection, AMQP091_EV_TUNE_OK);
    amqp091_heartbeat_start(connection);
}

/* ---- open ---- */

static void
open_reply(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct amqp091_connection *connection = connection_of(context, owner);
    if (!connection || connection->state != AMQP091_CONN_OPENING) {
        return;
    }
    amqp091_connection_wake(connection);
    struct lp_reader reader = reply->more;
    if (reply->code != 0) {
        refused_by_control(connection, reply, AMQP091_CONNECTION_OPEN);
        return;
    }
    connection->base->vhost_id = lp_reader_u32le(&reader);
    if (!amqp091_rights_take(connection, &reader)) {
        struct lp_fault fault;
        amqp091_text_make(&fault, LP_FAULT_INTERNAL_ERROR, "a malformed answer");
        amqp091_connection_fault(connection, &fault, AMQP091_CONNECTION_OPEN);
        return;
    }
    amqp091_connection_event(connection, AMQP091_EV_OPEN_DONE);
    amqp091_timer_deadline(connection, 0);
    struct amqp091_out out;
    amqp091_out_begin(&out, 0, AMQP091_CONNECTION_OPEN_OK);
    lp_writer_short(&out.writer, lp_bytes_of(NULL, 0)); /* known-hosts */
    amqp091_out_send(connection, &out);
}

static void
distinguished_write(struct lp_writer *writer, const char *name)
{
    struct lp_bytes bytes = lp_bytes_of_text(name);
    bytes.size = LP_MIN(bytes.size, LP_CONTROL_DN_BYTES_MAX);
    lp_writer_long_le(writer, bytes);
}

/* How it came, for listings. */
static void
identity_write(struct lp_writer *writer, const struct amqp091_connection *connection)
{
    struct lp_transport_identity identity;
    const bool tls = lp_connection_identity(connection->base, &identity) && identity.tls;
    lp_writer_short(writer, lp_bytes_of_text(amqp091_sasl_name(connection->mechanism)));
    lp_writer_u8(writer, tls);
    if (tls) {
        lp_writer_short(writer, lp_bytes_of_text(identity.protocol));
        lp_writer_short(writer, lp_bytes_of_text(identity.key_exchange));
        lp_writer_short(writer, lp_bytes_of_text(identity.cipher));
        lp_writer_short(writer, lp_bytes_of_text(identity.hash));
        distinguished_write(writer, identity.subject);
        distinguished_write(writer, identity.issuer);
        lp_writer_short(writer, lp_bytes_of_text(identity.validity));
    }
}

static struct lp_bytes
open_payload(struct amqp091_connection *connection, struct lp_bytes vhost)
{
    struct lp_writer writer = amqp091_control_begin(connection);
    lp_writer_short(&writer, vhost);
    lp_writer_short(&writer, lp_bytes_of_text("AMQP 0-9-1"));
    amqp091_control_address(&writer, &connection->base->local);
    amqp091_control_address(&writer, &connection->base->peer);
    lp_writer_long_le(
        &writer, lp_bytes_of(connection->client_properties, connection->client_properties_bytes));
    lp_writer_u16le(&writer, connection->heartbeat_s);
    lp_writer_u32le(&writer, connection->frame_max);
    lp_writer_u16le(&writer, connection->channel_max);
    lp_writer_u64le(&writer, connection->opened_ms);
    lp_writer_short(&writer, lp_bytes_of(connection->user, connection->user_bytes));
    identity_write(&writer, connection);
    LP_ASSERT(!writer.failed);
    return lp_writer_bytes(&writer);
}

enum amqp091_flow
amqp091_connection_open_vhost(struct amqp091_connection *connection,
                              const struct amqp091_method *method)
{
    struct lp_broker *broker = connection->shard->broker;
    const struct lp_bytes payload = open_payload(connection, method->name[0]);
    uint8_t *hello = lp_memory_alloc(broker->memory, payload.size);
    if (!hello || !lp_link_request(&broker->link, LP_CONTROL_OPEN, payload, connection->base->self,
                                   open_reply)) {
        void *block = hello;
        if (block) {
            lp_memory_release(broker->memory, &block);
        }
        amqp091_connection_stall(connection);
        return AMQP091_STALL;
    }
    memcpy(hello, payload.data, payload.size);
    connection->hello = hello;
    connection->hello_bytes = payload.size;
    void *properties = connection->client_properties; /* hello has them now */
    lp_memory_release(broker->memory, &properties);
    connection->client_properties = NULL;
    amqp091_connection_event(connection, AMQP091_EV_OPEN);
    amqp091_timer_deadline(connection, 0);
    return AMQP091_NEXT;
}
