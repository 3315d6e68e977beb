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

/* The message's own head is expiration (if it has one), names, properties: of those only how many
 * bytes there are is known from the beginning. */
static bool
names_read(struct lp_reader *reader, uint32_t head_bytes, struct lp_message_parts *parts)
{
    const uint64_t before = lp_reader_left(reader);
    if (parts->flags & LP_MESSAGE_EXPIRES) {
        parts->expiration_ms = lp_reader_u64le(reader);
    }
    parts->exchange = lp_reader_short(reader);
    parts->key = lp_reader_short(reader);
    const uint64_t names = before - lp_reader_left(reader);
    if (reader->failed || names > head_bytes) {
        return false;
    }
    parts->properties = lp_bytes_of(NULL, head_bytes - (uint32_t)names);
    return true;
}

/* Can the entry's records hold it?  They are what was written; the sizes in them may be anything
 * else if the disk lies. */
static bool
head_makes_sense(const struct lp_broker *broker, const struct lp_entry *entry,
                 const struct store_message_head *head)
{
    const uint64_t all = sizeof(*head) + (uint64_t)head->head_bytes + head->annotations_bytes +
                         (uint64_t)head->body_bytes;
    const uint8_t flags = LP_MESSAGE_PERSISTENT | LP_MESSAGE_EXPIRES | LP_MESSAGE_OWN;
    return head->body_bytes == entry->body_bytes && all <= entry->record_bytes &&
           (head->message_flags & ~flags) == 0 && head->protocol < LP_PROTOCOLS_MAX &&
           broker->protocols[head->protocol];
}

/* More of a message, which is nobody's before it is whole. */
static enum lp_err
message_go_on(struct lp_broker *broker, struct lp_entry *entry, struct lp_bytes bytes,
              bool *ret_more)
{
    struct lp_message *message = lp_message_of(&broker->messages, entry->message);
    if (bytes.size > lp_message_to_come(message)) {
        return LP_ERR_BAD_RECORD;
    }
    if (!lp_message_fill(&broker->messages, message, bytes)) {
        return LP_ERR_NO_MEMORY;
    }
    *ret_more = lp_message_to_come(message) > 0;
    if (!*ret_more && !store_message_is(broker, message)) {
        return LP_ERR_BAD_RECORD;
    }
    if (!*ret_more) {
        message->loans = 1;
        lp_store_resident(broker, (int64_t)lp_store_resident_bytes(entry));
    }
    return LP_OK;
}

enum lp_err
lp_store_message(struct lp_broker *broker, struct lp_entry *entry,
                 const struct lp_log_record *record, bool *ret_more)
{
    struct lp_reader reader = lp_reader_of_bytes(record->content);
    struct store_message_head head;
    const uint8_t *data = lp_reader_take(&reader, sizeof(head));
    if (!data || (record->kind != STORE_MESSAGE && record->kind != STORE_BRIEF)) {
        return LP_ERR_BAD_RECORD;
    }
    memcpy(&head, data, sizeof(head));
    struct lp_message_parts parts = {
        .annotations = lp_bytes_of(NULL, head.annotations_bytes),
        .body_bytes = head.body_bytes,
        .protocol = head.protocol,
        .flags = head.message_flags,
        .priority = head.priority,
    };
    if (!head_makes_sense(broker, entry, &head) || !names_read(&reader, head.head_bytes, &parts)) {
        return LP_ERR_BAD_RECORD;
    }
    lp_handle handle;
    if (!lp_message_begin(&broker->messages, &parts, &handle)) {
        return LP_ERR_NO_MEMORY;
    }
    entry->message = handle;
    entry->owner = (uint8_t)broker->shard;
    const enum lp_err err = message_go_on(
        broker, entry, lp_reader_bytes(&reader, (uint32_t)lp_reader_left(&reader)), ret_more);
    if (err != LP_OK) {
        lp_message_free(&broker->messages, handle);
        entry->message = LP_HANDLE_NONE;
    }
    return err;
}

enum lp_err
lp_store_message_more(struct lp_broker *broker, struct lp_entry *entry,
                      const struct lp_log_record *record, bool *ret_more)
{
    return record->kind == STORE_MORE && record->content.size > 0
               ? message_go_on(broker, entry, record->content, ret_more)
               : LP_ERR_BAD_RECORD;
}

/* ---- all that was read of one ---- */

bool
lp_store_is_readable(const struct lp_broker *broker, struct lp_log_place place)
{
    return lp_log_has(broker->store->log, place, LP_LOG_UNIT_BYTES);
}

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
                                    ? lp_store_message(broker, entry, &record, &more)
                                    : lp_store_message_more(broker, entry, &record, &more);
        if (err != LP_OK) {
            return err;
        }
        *ret_next = lp_log_place_behind(record.place, record.content.size);
    }
    if (!more) {
        return LP_OK;
    }
    /* The read had something of it? */
    return ret_next->unit != from.unit && lp_store_is_readable(broker, *ret_next)
               ? LP_ERR_REFUSED
               : LP_ERR_BAD_RECORD;
}
