/* SPDX-License-Identifier: Apache-2.0 */
#include "mqtt.h"

#include <stdio.h>
#include <unistd.h>

#define LENGTH_BYTES_MAX 4
#define CLEAN_SESSION    2u
#define LEVEL_3_1_1      4u
#define SUBSCRIBE_FLAGS  2u

/* Seven bits a byte, the lowest first; the eighth says that there is more. */
static void
put_length(struct lp_writer *w, uint32_t length)
{
    do {
        const uint8_t more = length > 127 ? 128 : 0;
        lp_writer_u8(w, (uint8_t)((length & 127u) | more));
        length >>= 7;
    } while (length != 0);
}

static void
put_text(struct lp_writer *w, const char *text)
{
    const struct lp_bytes bytes = lp_bytes_of_text(text);
    lp_writer_u16be(w, (uint16_t)bytes.size);
    lp_writer_copy(w, bytes.data, bytes.size);
}

static void
say(struct load_conn *conn, uint32_t type, uint32_t flags, const struct lp_writer *payload)
{
    uint8_t memory[512];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    const struct lp_bytes bytes = lp_writer_bytes(payload);
    lp_writer_u8(&w, (uint8_t)(type << 4 | flags));
    put_length(&w, bytes.size);
    lp_writer_copy(&w, bytes.data, bytes.size);
    LP_ASSERT(!w.failed && !payload->failed);
    uint8_t *room = load_conn_reserve(conn, lp_writer_size(&w));
    if (room != NULL) {
        memcpy(room, memory, lp_writer_size(&w));
    }
}

static void
topic_of(const struct load_options *options, uint32_t queue, char topic[256])
{
    if (options->to_all) {
        (void)snprintf(topic, 256, "%s/all", options->name);
    } else {
        load_queue_name(options, queue, topic);
    }
}

void
load_mqtt_connect(struct load_conn *conn, const struct load_options *options)
{
    (void)options;
    char name[64];
    uint8_t memory[128];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    (void)snprintf(name, sizeof(name), "lepus-bench-%d-%d", getpid(), conn->fd);
    put_text(&w, "MQTT");
    lp_writer_u8(&w, LEVEL_3_1_1);
    lp_writer_u8(&w, CLEAN_SESSION);
    lp_writer_u16be(&w, 0); /* no keep-alive: a stalled run is told by --timeout */
    put_text(&w, name);
    say(conn, LOAD_MQTT_CONNECT, 0, &w);
}

void
load_mqtt_disconnect(struct load_conn *conn)
{
    const struct lp_writer nothing = {0};
    say(conn, LOAD_MQTT_DISCONNECT, 0, &nothing);
}

void
load_mqtt_subscribe(const struct load_options *options, struct load_conn *conn, uint32_t queue)
{
    char topic[256];
    uint8_t memory[300];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    topic_of(options, queue, topic);
    lp_writer_u16be(&w, 1); /* the packet's identifier */
    put_text(&w, topic);
    lp_writer_u8(&w, 0); /* QoS */
    say(conn, LOAD_MQTT_SUBSCRIBE, SUBSCRIBE_FLAGS, &w);
    conn->owed++;
}

void
load_mqtt_head(const struct load_options *options, uint32_t queue, uint32_t size,
               struct lp_writer *w)
{
    char topic[256];
    topic_of(options, queue, topic);
    lp_writer_u8(w, LOAD_MQTT_PUBLISH << 4);
    put_length(w, 2 + lp_bytes_of_text(topic).size + size);
    put_text(w, topic);
}

/* A length of more bytes than there may be fails the reader as a short one does. */
static uint32_t
take_length(struct lp_reader *r, bool *ret_bad)
{
    uint32_t length = 0;
    for (uint32_t i = 0; i < LENGTH_BYTES_MAX; i++) {
        const uint8_t byte = lp_reader_u8(r);
        length |= (uint32_t)(byte & 127u) << (7 * i);
        if (byte < 128) {
            return length;
        }
    }
    *ret_bad = true;
    return 0;
}

bool
load_mqtt_take(struct load_conn *conn, struct lp_reader *input, struct load_frame *ret_frame)
{
    struct lp_reader r = *input;
    bool bad = false;
    const uint8_t first = lp_reader_u8(&r);
    const uint32_t length = take_length(&r, &bad);
    if (bad || (!r.failed && length > LOAD_FRAME_MAX)) {
        return load_conn_broke(conn, "a packet is too large, or this is not MQTT", "");
    }
    *ret_frame = (struct load_frame){.type = first >> 4, .bytes = lp_reader_bytes(&r, length)};
    if (r.failed) {
        return false; /* not whole yet */
    }
    *input = r;
    return true;
}

bool
load_mqtt_connected(struct load_conn *conn, const struct load_frame *frame)
{
    struct lp_reader r = lp_reader_of_bytes(frame->bytes);
    (void)lp_reader_u8(&r); /* was there a session? */
    const uint8_t code = lp_reader_u8(&r);
    if (frame->type != LOAD_MQTT_CONNACK || r.failed || code != 0) {
        return load_conn_broke(conn, "the broker refused the connection", "");
    }
    return true;
}

void
load_mqtt_consume(struct load_consumer *c, struct lp_reader *input, uint64_t now_ns)
{
    struct load_frame frame;
    while (load_conn_take(&c->conn, input, &frame)) {
        if (frame.type == LOAD_MQTT_PUBLISH) {
            struct lp_reader r = lp_reader_of_bytes(frame.bytes);
            (void)lp_reader_bytes(&r, lp_reader_u16be(&r)); /* the topic; at QoS 0 no identifier */
            load_consumer_message(c, lp_bytes_of(r.at, (uint32_t)lp_reader_left(&r)), now_ns);
        }
    }
}
