/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/delay.h"

#include <lepus/field_table.h>

#include "dataplane/broker/broker.h"

#define NS_PER_MS 1000000u
/* Messages that become due in one turn. */
#define DUE_BUDGET 256u

/* ---- the header ---- */

/* A number in decimal digits, as a client may write it; what is none is no delay. */
static int64_t
delay_of_text(struct lp_bytes text)
{
    const bool minus = text.size > 0 && text.data[0] == '-';
    uint32_t at = text.size > 0 && (minus || text.data[0] == '+');
    int64_t value = 0;
    if (at == text.size) {
        return 0;
    }
    for (; at < text.size; at++) {
        if (text.data[at] < '0' || text.data[at] > '9' || value > LP_DELAY_MS_MAX) {
            return 0;
        }
        value = value * 10 + (text.data[at] - '0');
    }
    return minus ? -value : value;
}

/* The whole part of it. */
static int64_t
delay_of_float(const struct lp_field *field)
{
    struct lp_reader reader = lp_reader_of_bytes(field->raw);
    double value;
    if (field->type == 'd') {
        const uint64_t bits = lp_reader_u64be(&reader);
        memcpy(&value, &bits, sizeof(value));
    } else {
        const uint32_t bits = lp_reader_u32be(&reader);
        float narrow;
        memcpy(&narrow, &bits, sizeof(narrow));
        value = (double)narrow;
    }
    return value >= 1 && value < (double)LP_DELAY_MS_MAX + 1 ? (int64_t)value : 0;
}

/* RabbitMQ takes numbers of any type but a signed octet, and strings of digits. */
static int64_t
delay_of_field(const struct lp_field *field)
{
    switch (field->type) {
    case 'S':
    case 'x':
        return delay_of_text(field->raw);
    case 'd':
    case 'f':
        return delay_of_float(field);
    case 'b':
    case 'T':
        return 0;
    default:
        return lp_field_is_integer(field->type) ? lp_field_integer(field) : 0;
    }
}

uint64_t
lp_delay_of(struct lp_bytes headers)
{
    struct lp_field field;
    if (!lp_field_find(headers, "x-delay", &field)) {
        return 0;
    }
    const int64_t delay = delay_of_field(&field);
    return delay > 0 && delay <= (int64_t)LP_DELAY_MS_MAX ? (uint64_t)delay : 0;
}

/* ---- making them ---- */

/* Where routing begins when it is over, unless that is the message's exchange anyway. */
static struct lp_bytes
start_of(const struct lp_exchange *exchange, const struct lp_message *message)
{
    const struct lp_bytes name = lp_exchange_name(exchange);
    return lp_bytes_equal(name, lp_message_exchange(message)) ? lp_bytes_of(NULL, 0) : name;
}

static void
annotations_write(struct lp_writer *writer, const struct lp_message *message, struct lp_bytes start)
{
    static const enum lp_annotation kept[] = {LP_ANNOTATION_KEYS, LP_ANNOTATION_HIDDEN,
                                              LP_ANNOTATION_DEATHS};
    for (size_t i = 0; i < LP_COUNT_OF(kept); i++) {
        lp_annotation_write(writer, kept[i], lp_message_annotation(message, kept[i]));
    }
    lp_annotation_write(writer, LP_ANNOTATION_START, start);
}

/* Its message, with nothing of the body yet. */
static struct lp_message *
message_make(struct lp_broker *broker, const struct lp_message *message, struct lp_bytes start,
             bool moves, lp_handle *ret_handle)
{
    const uint64_t noted = lp_message_annotations(message).size;
    const uint64_t bytes = noted + LP_ANNOTATION_EXTRA_BYTES + start.size +
                           message->properties_bytes + LP_PROTOCOL_DELAYED_BYTES;
    void *block = lp_memory_alloc(broker->memory, bytes);
    if (!block) {
        return NULL;
    }
    struct lp_writer writer = lp_writer_of(block, bytes);
    annotations_write(&writer, message, start);
    const struct lp_bytes annotations = lp_writer_bytes(&writer);
    const uint8_t *properties = writer.at;
    lp_broker_protocol(broker, message->protocol)
        ->delayed(message, broker->topology.delay_ms, &writer);
    LP_ASSERT(!writer.failed);
    const struct lp_message_parts parts = {
        .exchange = lp_message_exchange(message),
        .key = lp_message_key(message),
        .properties = lp_bytes_of(properties, (uint32_t)(writer.at - properties)),
        .annotations = annotations,
        .body_bytes = message->body_bytes,
        .expiration_ms = lp_message_expiration_ms(message),
        .protocol = message->protocol,
        .flags = (uint8_t)(message->flags | LP_MESSAGE_OWN),
        .priority = message->priority,
        .body_from = moves ? message : NULL,
    };
    struct lp_message *made = lp_message_make(&broker->messages, &parts, ret_handle);
    lp_memory_release(broker->memory, &block);
    return made;
}

/* NULL: memory is short. */
static struct lp_delayed *
delayed_make(struct lp_broker *broker, const struct lp_message *message,
             const struct lp_exchange *exchange, bool moves)
{
    struct lp_delayed *delayed = lp_memory_alloc(broker->memory, sizeof(*delayed));
    struct lp_message *made = NULL;
    if (delayed && lp_own_memory(broker, moves ? 0 : message->body_bytes)) {
        made = message_make(broker, message, start_of(exchange, message), moves, &delayed->message);
    }
    if (made && !moves && !lp_message_copy_body(&broker->messages, made, message)) {
        lp_message_free(&broker->messages, delayed->message);
        made = NULL;
    }
    if (!made) {
        void *block = delayed;
        if (block) {
            lp_memory_release(broker->memory, &block);
        }
        return NULL;
    }
    delayed->next = NULL;
    /* Never early, whatever part of a millisecond this one has left. */
    delayed->due_ms = (broker->now_ns + NS_PER_MS - 1) / NS_PER_MS + broker->topology.delay_ms;
    delayed->vhost_id = exchange->vhost_id;
    delayed->whole = !moves;
    return delayed;
}

bool
lp_delay_make(struct lp_broker *broker, const struct lp_message *message, bool may_move,
              struct lp_delayed **ret_list)
{
    const struct lp_topology *topology = &broker->topology;
    const bool moves = may_move && topology->route_count == 0 && topology->delayed_count == 1;
    *ret_list = NULL;
    for (uint32_t i = topology->delayed_count; i > 0; i--) {
        struct lp_delayed *delayed = delayed_make(broker, message, topology->delayed[i - 1], moves);
        if (!delayed) {
            lp_delay_drop(broker, ret_list);
            return false;
        }
        delayed->next = *ret_list;
        *ret_list = delayed;
    }
    return true;
}

static struct lp_delayed *
list_pop(struct lp_delayed **list)
{
    struct lp_delayed *first = *list;
    *list = first->next;
    return first;
}

static void
delayed_free(struct lp_broker *broker, struct lp_delayed *delayed)
{
    void *block = delayed;
    lp_memory_release(broker->memory, &block);
}

void
lp_delay_drop(struct lp_broker *broker, struct lp_delayed **list)
{
    while (*list) {
        struct lp_delayed *delayed = list_pop(list);
        lp_message_free(&broker->messages, delayed->message);
        delayed_free(broker, delayed);
    }
}

/* ---- waiting ---- */

static bool
delayed_before(const struct lp_heap_node *a, const struct lp_heap_node *b)
{
    const struct lp_delayed *one = (const struct lp_delayed *)(const void *)a;
    const struct lp_delayed *other = (const struct lp_delayed *)(const void *)b;
    return one->due_ms != other->due_ms ? one->due_ms < other->due_ms : one->number < other->number;
}
LP_STATIC_ASSERT(offsetof(struct lp_delayed, in_heap) == 0, "a node is its item");

static const struct lp_delayed *
delay_first(const struct lp_delay *delay)
{
    return LP_CONTAINER_OF(delay->heap.first, const struct lp_delayed, in_heap);
}

/* What is due is published, as far as there is room. */
static void
delay_due(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct lp_broker *broker = context;
    struct lp_delay *delay = &broker->delay;
    const uint64_t now_ms = now_ns / NS_PER_MS;
    for (uint32_t i = 0; i < DUE_BUDGET && delay->heap.first &&
                         delay_first(delay)->due_ms <= now_ms && lp_own_room(&broker->own);
         i++) {
        struct lp_delayed *delayed = LP_CONTAINER_OF(
            lp_binary_heap_pop(&delay->heap, delayed_before), struct lp_delayed, in_heap);
        lp_own_publish(broker, delayed->vhost_id, delayed->message);
        delayed_free(broker, delayed);
    }
    if (delay->heap.first) {
        /* In the past when there was no room, or too much for one turn: with the next one. */
        const uint64_t due_ns = delay_first(delay)->due_ms * NS_PER_MS;
        lp_timer_arm(&broker->wheel, timer, delay_due, LP_MAX(due_ns, now_ns + NS_PER_MS));
    }
}

void
lp_delay_start(struct lp_broker *broker, struct lp_delayed **list, lp_handle handle)
{
    struct lp_delay *delay = &broker->delay;
    while (*list) {
        struct lp_delayed *delayed = list_pop(list);
        if (!delayed->whole) {
            struct lp_message *message = lp_message_of(&broker->messages, handle);
            struct lp_message *made = lp_message_of(&broker->messages, delayed->message);
            LP_ASSERT(message && message->loans == 0 && made && !*list);
            message->loans = 1;
            lp_message_move_body(made, message);
            lp_message_unlend(&broker->messages, handle, 1);
            delayed->whole = true;
        }
        delayed->number = delay->taken++;
        lp_binary_heap_push(&delay->heap, &delayed->in_heap, delayed_before);
    }
    if (delay->heap.first) {
        lp_timer_arm(&broker->wheel, &delay->timer, delay_due,
                     delay_first(delay)->due_ms * NS_PER_MS);
    }
}
