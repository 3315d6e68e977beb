/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/delay.h"

#include <lepus/field_table.h>

#include "dataplane/broker/broker.h"
#include "dataplane/broker/queue.h"
#include "dataplane/broker/store/store.h"

#define NS_PER_MS 1000000u
/* Messages that become due in one turn. */
#define DUE_BUDGET 256u
/* Bytes that are read ahead of what is published next. */
#define AHEAD_BYTES_MAX (1024u * 1024u)

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
annotations_write(struct lp_writer *writer, const struct lp_message *message, struct lp_bytes start,
                  const uint32_t *vhost_id)
{
    static const enum lp_annotation kept[] = {LP_ANNOTATION_KEYS, LP_ANNOTATION_HIDDEN,
                                              LP_ANNOTATION_DEATHS};
    for (size_t i = 0; i < LP_COUNT_OF(kept); i++) {
        lp_annotation_write(writer, kept[i], lp_message_annotation(message, kept[i]));
    }
    lp_annotation_write(writer, LP_ANNOTATION_START, start);
    if (vhost_id) {
        lp_annotation_write(writer, LP_ANNOTATION_VHOST, lp_bytes_of(vhost_id, sizeof(*vhost_id)));
    }
}

/* Does it outlive a crash? */
static bool
is_kept(const struct lp_broker *broker, const struct lp_message *message,
        const struct lp_exchange *exchange)
{
    return broker->store && (exchange->flags & LP_OBJECT_DURABLE) != 0 &&
           (message->flags & LP_MESSAGE_PERSISTENT) != 0;
}

/* Its message, with nothing of the body yet. */
static struct lp_message *
message_make(struct lp_broker *broker, const struct lp_message *message,
             const struct lp_exchange *exchange, bool moves, lp_handle *ret_handle)
{
    const struct lp_bytes start = start_of(exchange, message);
    const uint64_t noted = lp_message_annotations(message).size;
    const uint64_t bytes = noted + LP_ANNOTATION_EXTRA_BYTES + start.size +
                           sizeof(exchange->vhost_id) + message->properties_bytes +
                           LP_PROTOCOL_DELAYED_BYTES;
    void *block = lp_memory_alloc(broker->memory, bytes);
    if (!block) {
        return NULL;
    }
    struct lp_writer writer = lp_writer_of(block, bytes);
    annotations_write(&writer, message, start,
                      is_kept(broker, message, exchange) ? &exchange->vhost_id : NULL);
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

/* The message of one that is delayed.  False: memory is short. */
static bool
delayed_fill(struct lp_broker *broker, struct lp_entry *entry, const struct lp_message *message,
             const struct lp_exchange *exchange, bool moves)
{
    if (!lp_own_memory(broker, moves ? 0 : message->body_bytes)) {
        return false;
    }
    struct lp_message *made = message_make(broker, message, exchange, moves, &entry->message);
    if (!made) {
        return false;
    }
    if (!moves && !lp_message_copy_body(&broker->messages, made, message)) {
        lp_message_free(&broker->messages, entry->message);
        return false;
    }
    return true;
}

/* NULL: memory is short. */
static struct lp_entry *
delayed_make(struct lp_broker *broker, const struct lp_message *message,
             const struct lp_exchange *exchange, bool moves)
{
    lp_handle self;
    struct lp_entry *entry = lp_pool_alloc(&broker->entries, &self);
    if (!entry) {
        return NULL;
    }
    if (!delayed_fill(broker, entry, message, exchange, moves)) {
        lp_pool_release(&broker->entries, self);
        return NULL;
    }
    /* Never early, whatever part of a millisecond this one has left. */
    const uint64_t now_ms = (broker->now_ns + NS_PER_MS - 1) / NS_PER_MS;
    entry->next = NULL;
    entry->expires_ns = (now_ms + broker->topology.delay_ms) * NS_PER_MS;
    entry->subscription = exchange->vhost_id;
    entry->body_bytes = message->body_bytes;
    entry->owner = (uint8_t)broker->shard;
    entry->state = LP_ENTRY_DELAYED;
    entry->flags = (uint8_t)((moves ? LP_ENTRY_PART : 0) |
                             (is_kept(broker, message, exchange) ? LP_ENTRY_PERSISTENT : 0));
    return entry;
}

bool
lp_delay_make(struct lp_broker *broker, const struct lp_message *message, bool may_move,
              struct lp_entry **ret_list)
{
    const struct lp_topology *topology = &broker->topology;
    const bool moves = may_move && topology->route_count == 0 && topology->delayed_count == 1;
    *ret_list = NULL;
    for (uint32_t i = topology->delayed_count; i > 0; i--) {
        struct lp_entry *entry = delayed_make(broker, message, topology->delayed[i - 1], moves);
        if (!entry) {
            lp_delay_drop(broker, ret_list);
            return false;
        }
        entry->next = *ret_list;
        *ret_list = entry;
    }
    return true;
}

uint32_t
lp_delay_kept(const struct lp_entry *list)
{
    uint32_t kept = 0;
    for (; list; list = list->next) {
        kept += (list->flags & LP_ENTRY_PERSISTENT) != 0;
    }
    return kept;
}

bool
lp_delay_whole(const struct lp_entry *list)
{
    return !list || (list->flags & LP_ENTRY_PART) == 0;
}

static struct lp_entry *
list_pop(struct lp_entry **list)
{
    struct lp_entry *first = *list;
    *list = first->next;
    return first;
}

/* It is on no list, and nothing of it is in the log. */
static void
delayed_free(struct lp_broker *broker, struct lp_entry *entry)
{
    lp_pool_release(&broker->entries, lp_pool_self(entry));
}

static void
message_drop(struct lp_broker *broker, struct lp_entry *entry)
{
    if (entry->message != LP_HANDLE_NONE) {
        lp_message_free(&broker->messages, entry->message);
        entry->message = LP_HANDLE_NONE;
    }
}

void
lp_delay_drop(struct lp_broker *broker, struct lp_entry **list)
{
    while (*list) {
        struct lp_entry *entry = list_pop(list);
        message_drop(broker, entry);
        delayed_free(broker, entry);
    }
}

/* ---- waiting ---- */

void
lp_delay_init(struct lp_delay *delay)
{
    lp_list_init(&delay->due);
    delay->next_position = 1;
}

uint64_t
lp_delay_count(const struct lp_delay *delay)
{
    return delay->heap.count + delay->due_count;
}

static bool
delayed_before(const struct lp_heap_node *a, const struct lp_heap_node *b)
{
    const struct lp_entry *one = (const struct lp_entry *)(const void *)a;
    const struct lp_entry *other = (const struct lp_entry *)(const void *)b;
    return one->expires_ns != other->expires_ns ? one->expires_ns < other->expires_ns
                                                : one->position < other->position;
}
LP_STATIC_ASSERT(offsetof(struct lp_entry, in_heap) == 0, "a node is its item");

static struct lp_entry *
delay_first(const struct lp_delay *delay)
{
    return LP_CONTAINER_OF(delay->heap.first, struct lp_entry, in_heap);
}

static void delay_due(void *context, struct lp_timer *timer, uint64_t now_ns);

static void
delay_arm(struct lp_broker *broker, uint64_t at_ns)
{
    lp_timer_arm(&broker->wheel, &broker->delay.timer, delay_due, at_ns);
}

static void
delay_push(struct lp_broker *broker, struct lp_entry *entry)
{
    struct lp_delay *delay = &broker->delay;
    lp_binary_heap_push(&delay->heap, &entry->in_heap, delayed_before);
    if (delay->due_count == 0) {
        delay_arm(broker, delay_first(delay)->expires_ns);
    }
}

/* What is to be kept is noted.  Without memory for that, or with a log that takes nothing, it waits
 * all the same, but its publisher hears that it may be lost. */
static void
delayed_keep(struct lp_broker *broker, struct lp_entry *entry, const struct lp_delay_waiter *waiter)
{
    const struct lp_mesh_record record = {
        .op = LP_MESH_ENQUEUE,
        .flags = LP_MESH_NEAR,
        .w = {entry->message, waiter->session, waiter->number},
    };
    if (!lp_store_delay(broker, entry, &record)) {
        lp_queue_refuse(broker, broker->shard, &record, LP_MESH_NACK | LP_MESH_KEPT);
    }
}

void
lp_delay_start(struct lp_broker *broker, struct lp_entry **list, lp_handle handle,
               const struct lp_delay_waiter *waiter)
{
    struct lp_delay *delay = &broker->delay;
    delay->next_position = LP_MAX(delay->next_position, lp_store_delayed_next(broker));
    while (*list) {
        struct lp_entry *entry = list_pop(list);
        if (entry->flags & LP_ENTRY_PART) {
            struct lp_message *message = lp_message_of(&broker->messages, handle);
            struct lp_message *made = lp_message_of(&broker->messages, entry->message);
            LP_ASSERT(message && message->loans == 0 && made && !*list);
            message->loans = 1;
            lp_message_move_body(made, message);
            lp_message_unlend(&broker->messages, handle, 1);
            entry->flags &= (uint8_t)~LP_ENTRY_PART;
        }
        entry->position = delay->next_position++;
        if (entry->flags & LP_ENTRY_PERSISTENT) {
            delayed_keep(broker, entry, waiter);
        } else {
            lp_store_delay_brief(broker, entry);
        }
        delay_push(broker, entry);
    }
}

void
lp_delay_restore(struct lp_broker *broker, struct lp_entry *entry)
{
    entry->state = LP_ENTRY_DELAYED;
    delay_push(broker, entry);
}

/* ---- reading ---- */

/* False: not now. */
static bool
read_begin(struct lp_broker *broker, struct lp_entry *entry, struct lp_log_place place,
           uint32_t bytes)
{
    struct lp_delay *delay = &broker->delay;
    for (uint32_t i = 0; i < LP_DELAY_READS; i++) {
        if (delay->read[i].entry != LP_HANDLE_NONE) {
            continue;
        }
        if (!lp_store_delay_read(broker, place, bytes)) {
            return false;
        }
        delay->read[i].entry = lp_pool_self(entry);
        delay->read[i].place = place;
        entry->flags |= LP_ENTRY_READING;
        return true;
    }
    return false;
}

/* Those that are published next are read, as far as there is room. */
static void
due_read(struct lp_broker *broker)
{
    struct lp_delay *delay = &broker->delay;
    uint64_t ahead = 0;
    for (struct lp_list *at = delay->due.next; at != &delay->due && ahead < AHEAD_BYTES_MAX;
         at = at->next) {
        struct lp_entry *entry = LP_LIST_ITEM(at, struct lp_entry, link);
        ahead += entry->body_bytes;
        if (entry->message != LP_HANDLE_NONE || (entry->flags & LP_ENTRY_READING) != 0) {
            continue;
        }
        const uint32_t bytes = (uint32_t)LP_MIN((uint64_t)entry->record_bytes, LP_STORE_READ_BYTES);
        if (!lp_own_memory(broker, entry->body_bytes) ||
            !read_begin(broker, entry, entry->place, bytes)) {
            return;
        }
    }
}

/* It is no longer here; what there is of it in the log stays there. */
static void
delayed_leave(struct lp_broker *broker, struct lp_entry *entry)
{
    lp_store_forget(broker, entry);
    message_drop(broker, entry);
    lp_list_remove(&entry->link);
    broker->delay.due_count--;
    delayed_free(broker, entry);
}

/* It is whole: nobody has it yet. */
static void
delayed_read(struct lp_broker *broker, struct lp_entry *entry)
{
    struct lp_message *message = lp_message_of(&broker->messages, entry->message);
    const struct lp_bytes vhost = lp_message_annotation(message, LP_ANNOTATION_VHOST);
    message->loans = 0;
    if (vhost.size == sizeof(entry->subscription)) {
        memcpy(&entry->subscription, vhost.data, vhost.size);
    }
    broker->stats->messages_paged_in++;
}

void
lp_delay_read(struct lp_broker *broker, struct lp_log_place place, struct lp_bytes data)
{
    struct lp_delay *delay = &broker->delay;
    uint32_t i = 0;
    while (i < LP_DELAY_READS &&
           (delay->read[i].entry == LP_HANDLE_NONE || delay->read[i].place.unit != place.unit ||
            delay->read[i].place.segment != place.segment)) {
        i++;
    }
    LP_ASSERT(i < LP_DELAY_READS);
    struct lp_entry *entry = lp_pool_get(&broker->entries, delay->read[i].entry);
    delay->read[i].entry = LP_HANDLE_NONE;
    LP_ASSERT(entry && (entry->flags & LP_ENTRY_READING) != 0); /* it waits for this */
    entry->flags &= (uint8_t)~LP_ENTRY_READING;
    struct lp_log_place next;
    enum lp_err err = lp_store_message_take(broker, entry, place, data, &next);
    if (err == LP_ERR_REFUSED && !read_begin(broker, entry, next, LP_STORE_READ_BYTES)) {
        err = LP_ERR_NO_MEMORY;
    }
    if (err == LP_OK) {
        delayed_read(broker, entry);
    } else if (err == LP_ERR_NO_MEMORY) {
        message_drop(broker, entry); /* again, from its beginning */
    } else if (err != LP_ERR_REFUSED) {
        broker->stats->messages_own_lost++; /* it is damaged on disk */
        delayed_leave(broker, entry);
    }
    delay_arm(broker, broker->now_ns);
}

/* ---- due ---- */

/* The first of those that are due goes on.  False: not yet. */
static bool
due_publish(struct lp_broker *broker, struct lp_entry *entry)
{
    if ((entry->flags & LP_ENTRY_READING) != 0 || entry->message == LP_HANDLE_NONE) {
        return false;
    }
    if (entry->brief) { /* it is in memory, and nobody asks the log for it again */
        lp_store_forget(broker, entry);
    }
    if (!lp_store_written(broker, entry) || !lp_own_room(&broker->own)) {
        return false;
    }
    const struct lp_store_source source = lp_store_source_of(broker, LP_STORE_DELAYED_ID, entry);
    lp_list_remove(&entry->link);
    broker->delay.due_count--;
    lp_own_publish_delayed(broker, entry->subscription, entry->message, &source);
    delayed_free(broker, entry);
    return true;
}

/* Nothing can be noted any more: what is in the log comes again after the next start, if it is
 * kept; what is not and is in memory goes on. */
static bool
due_stays(struct lp_broker *broker, struct lp_entry *entry)
{
    return !(entry->brief && entry->message != LP_HANDLE_NONE) &&
           (entry->flags & (LP_ENTRY_STORED | LP_ENTRY_READING)) == LP_ENTRY_STORED &&
           lp_store_fault(broker);
}

/* What is due is published, as far as there is room. */
static void
delay_due(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct lp_broker *broker = context;
    struct lp_delay *delay = &broker->delay;
    (void)timer;
    while (delay->heap.first && delay->due_count < DUE_BUDGET &&
           delay_first(delay)->expires_ns <= now_ns) {
        struct lp_entry *entry = LP_CONTAINER_OF(lp_binary_heap_pop(&delay->heap, delayed_before),
                                                 struct lp_entry, in_heap);
        entry->link = (struct lp_list){NULL, NULL};
        lp_list_push_back(&delay->due, &entry->link);
        delay->due_count++;
    }
    for (uint32_t i = 0; i < DUE_BUDGET && !lp_list_empty(&delay->due); i++) {
        struct lp_entry *first = LP_LIST_ITEM(delay->due.next, struct lp_entry, link);
        if (due_stays(broker, first)) {
            broker->stats->messages_own_lost += first->brief;
            delayed_leave(broker, first);
        } else if (!due_publish(broker, first)) {
            break;
        }
    }
    due_read(broker);
    if (delay->due_count > 0) { /* no room, or too much for one turn: with the next one */
        delay_arm(broker, now_ns + NS_PER_MS);
    } else if (delay->heap.first) {
        delay_arm(broker, LP_MAX(delay_first(delay)->expires_ns, now_ns + NS_PER_MS));
    }
}
