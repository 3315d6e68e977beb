/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mqtt.h - enough of MQTT 3.1.1 to load another kind of broker with the same
 * messages: connect, subscribe, publish at QoS 0. A queue's name is a topic,
 * and each has one subscriber; --to-all is one topic for all.
 */
#pragma once

#include "load.h"

/* A packet's type is in the upper half of its first byte. */
enum load_mqtt_type {
    LOAD_MQTT_CONNECT = 1,
    LOAD_MQTT_CONNACK = 2,
    LOAD_MQTT_PUBLISH = 3,
    LOAD_MQTT_SUBSCRIBE = 8,
    LOAD_MQTT_SUBACK = 9,
    LOAD_MQTT_DISCONNECT = 14,
};

void load_mqtt_connect(struct load_conn *conn, const struct load_options *options);
void load_mqtt_disconnect(struct load_conn *conn);
/* Append what subscribes to a queue's topic; conn->owed counts the answer. */
void load_mqtt_subscribe(const struct load_options *options, struct load_conn *conn,
                         uint32_t queue);
/* What is in front of each body, into `w`. */
void load_mqtt_head(const struct load_options *options, uint32_t queue, uint32_t size,
                    struct lp_writer *w);
/* The next whole packet as a frame of its type, or false. */
LP_MUST_CHECK bool load_mqtt_take(struct load_conn *conn, struct lp_reader *input,
                                  struct load_frame *ret_frame);
/* The connection was accepted; else it is broken. */
LP_MUST_CHECK bool load_mqtt_connected(struct load_conn *conn, const struct load_frame *frame);
/* All the messages in `input`, as load_consumer_take(). */
void load_mqtt_consume(struct load_consumer *consumer, struct lp_reader *input, uint64_t now_ns);
