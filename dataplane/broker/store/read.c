/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read.c - messages read back.
 */
#include <string.h>

#include "dataplane/broker/store/store_private.h"

bool
store_read_begin(struct lp_store *store, uint32_t queue, struct lp_log_place place, uint32_t bytes)
{
    for (uint32_t i = 0; i < LP_COUNT_OF(store->reads); i++) {
        struct store_read *read = &store->reads[i];
        if (read->queue != 0) {
            continue;
        }
        if (!lp_log_read(store->log, place, bytes, i)) {
            return false;
        }
        *read = (struct store_read){queue, bytes, place};
        return true;
    }
    return false;
}

bool
lp_store_read(struct lp_queue *queue, struct lp_log_place place, uint32_t bytes)
{
    return store_read_begin(queue->broker->store, queue->id, place, bytes);
}

void
store_read_done(struct lp_store *store, uint64_t user, struct lp_bytes data)
{
    LP_ASSERT(user < LP_COUNT_OF(store->reads));
    const struct store_read read = store->reads[user];
    store->reads[user].queue = 0;
    if (read.queue == LP_STORE_DELAYED_ID) {
        lp_delay_read(store->broker, read.place, data);
        return;
    }
    struct lp_queue *queue = lp_queue_find(store->broker, read.queue);
    if (queue) {
        queue->type->read(queue, &read.place, data);
    }
}

/* The message's own head is expiration (if it has one), names, properties. */
static bool
head_read(struct lp_bytes head, struct lp_message_parts *parts)
{
    struct lp_reader reader = lp_reader_of_bytes(head);
    if (parts->flags & LP_MESSAGE_EXPIRES) {
        parts->expiration_ms = lp_reader_u64le(&reader);
    }
    parts->exchange = lp_reader_short(&reader);
    parts->key = lp_reader_short(&reader);
    parts->properties = lp_reader_bytes(&reader, (uint32_t)lp_reader_left(&reader));
    return !reader.failed;
}

/*
 * Annotations and properties are in the first record, as far as it goes; the
 * few messages whose are longer than a record are refused when they come.
 */
enum lp_err
lp_store_message(struct lp_broker *broker, struct lp_entry *entry, struct lp_bytes content,
                 bool *ret_more)
{
    struct lp_reader reader = lp_reader_of_bytes(content);
    struct store_message_head head;
    const uint8_t *data = lp_reader_take(&reader, sizeof(head));
    if (!data) {
        return LP_ERR_BAD_RECORD;
    }
    memcpy(&head, data, sizeof(head));
    struct lp_message_parts parts = {
        .body_bytes = head.body_bytes,
        .protocol = head.protocol,
        .flags = head.message_flags,
        .priority = head.priority,
    };
    const struct lp_bytes own = lp_reader_bytes(&reader, head.head_bytes);
    parts.annotations = lp_reader_bytes(&reader, head.annotations_bytes);
    const struct lp_bytes body = lp_reader_bytes(&reader, (uint32_t)lp_reader_left(&reader));
    if (reader.failed || head.body_bytes != entry->body_bytes || body.size > head.body_bytes ||
        head.protocol >= LP_PROTOCOLS_MAX || !broker->protocols[head.protocol] ||
        !head_read(own, &parts)) {
        return LP_ERR_BAD_RECORD;
    }
    lp_handle handle;
    struct lp_message *message = lp_message_make(&broker->messages, &parts, &handle);
    if (!message) {
        return LP_ERR_NO_MEMORY;
    }
    if (!lp_message_append(&broker->messages, message, body)) {
        lp_message_free(&broker->messages, handle);
        return LP_ERR_NO_MEMORY;
    }
    *ret_more = body.size < head.body_bytes;
    entry->message = handle;
    entry->owner = (uint8_t)broker->shard;
    if (!*ret_more) {
        message->loans = 1;
        lp_store_resident(broker, (int64_t)lp_store_resident_bytes(entry));
    }
    return LP_OK;
}

enum lp_err
lp_store_message_more(struct lp_broker *broker, struct lp_entry *entry, struct lp_bytes content,
                      bool *ret_more)
{
    struct lp_message *message = lp_message_of(&broker->messages, entry->message);
    if (content.size > message->body_bytes - lp_message_body_have(message)) {
        return LP_ERR_BAD_RECORD;
    }
    if (!lp_message_append(&broker->messages, message, content)) {
        return LP_ERR_NO_MEMORY;
    }
    *ret_more = lp_message_body_have(message) < message->body_bytes;
    if (!*ret_more) {
        message->loans = 1;
        lp_store_resident(broker, (int64_t)lp_store_resident_bytes(entry));
    }
    return LP_OK;
}

/* ---- all that was read of one ---- */

/* The record that lies at a place of the data, which begins at `from`. */
static bool
record_at(struct lp_bytes data, struct lp_log_place from, struct lp_log_place place,
          struct lp_log_record *ret_record)
{
    const uint64_t at = ((uint64_t)place.unit - from.unit) * LP_LOG_UNIT_BYTES;
    return at < data.size &&
           lp_log_parse(lp_bytes_of(data.data + at, data.size - (uint32_t)at), place, ret_record);
}

/* The record at a place, or, where a batch ends there, the first of the next one. */
static bool
record_next(struct lp_bytes data, struct lp_log_place from, struct lp_log_place place,
            struct lp_log_record *ret_record)
{
    return record_at(data, from, place, ret_record) ||
           record_at(data, from, lp_log_place_next_batch(place), ret_record);
}

enum lp_err
lp_store_message_take(struct lp_broker *broker, struct lp_entry *entry, struct lp_log_place from,
                      struct lp_bytes data, struct lp_log_place *ret_next)
{
    struct lp_log_record record;
    bool more = true;
    *ret_next = from;
    while (more && record_next(data, from, *ret_next, &record)) {
        const enum lp_err err = entry->message == LP_HANDLE_NONE
                                    ? lp_store_message(broker, entry, record.content, &more)
                                    : lp_store_message_more(broker, entry, record.content, &more);
        if (err != LP_OK) {
            return err;
        }
        *ret_next = lp_log_place_behind(record.place, record.content.size);
    }
    if (!more) {
        return LP_OK;
    }
    /* The read had nothing of it? */
    return ret_next->unit == from.unit ? LP_ERR_BAD_RECORD : LP_ERR_REFUSED;
}
