/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/dead_letter.h"

#include "dataplane/broker/deaths.h"
#include "dataplane/broker/queue.h"
#include "dataplane/broker/store/store.h"

/* Bytes of bodies that one step copies: a large message takes several. */
#define COPY_BYTES_MAX (256u * 1024u)
/* Smaller bodies are copied even when they could be moved: one block instead of two. */
#define MOVE_BYTES_MIN 4096u
/* Of a shard's memory, the part that a message's deaths may take before CC's keys are left out. */
#define DEATHS_SHARE 128u

/* ---- what queues say about their dead ---- */

enum lp_err
lp_dead_letters_make(struct lp_memory *memory, const struct lp_queue_ref *ref,
                     const struct lp_queue_settings *settings, struct lp_dead_letters **ret_letters)
{
    const struct lp_bytes queue = lp_queue_ref_name(ref);
    const struct lp_bytes exchange = settings->dead_letter_exchange;
    const struct lp_bytes key = settings->dead_letter_key;
    const uint64_t names = (uint64_t)queue.size + exchange.size + key.size;
    struct lp_dead_letters *letters = lp_memory_alloc(memory, sizeof(*letters) + names);
    if (!letters) {
        return LP_ERR_NO_MEMORY;
    }
    struct lp_writer writer = lp_writer_of(letters->data, names);
    letters->references = 1;
    letters->vhost_id = ref->vhost_id;
    letters->queue_id = ref->id;
    letters->has_key = settings->has_dead_letter_key;
    letters->queue = lp_bytes_of(writer.at, queue.size);
    lp_writer_copy(&writer, queue.data, queue.size);
    letters->exchange = lp_bytes_of(writer.at, exchange.size);
    lp_writer_copy(&writer, exchange.data, exchange.size);
    letters->key = lp_bytes_of(writer.at, key.size);
    lp_writer_copy(&writer, key.data, key.size);
    LP_ASSERT(!writer.failed);
    *ret_letters = letters;
    return LP_OK;
}

void
lp_dead_letters_put(struct lp_memory *memory, struct lp_dead_letters **letters)
{
    struct lp_dead_letters *old = *letters;
    *letters = NULL;
    if (!old) {
        return;
    }
    LP_ASSERT(old->references > 0);
    if (--old->references == 0) {
        void *block = old;
        lp_memory_release(memory, &block);
    }
}

/* ---- the dying ---- */

void
lp_dying_init(struct lp_dying *dying)
{
    lp_list_init(&dying->entries);
    dying->message = LP_HANDLE_NONE;
}

void
lp_queue_entry_dead(struct lp_queue *queue, struct lp_entry *entry, enum lp_death why)
{
    struct lp_broker *broker = queue->broker;
    LP_ASSERT(entry->state < LP_ENTRY_DYING);
    if (!queue->dead_letters) {
        if (entry->flags & LP_ENTRY_STORED) {
            lp_store_settle(queue, entry);
        }
        lp_queue_entry_done(broker, entry);
        return;
    }
    if (entry->brief) {
        lp_store_forget(broker, entry);
    }
    queue->stored.sources += (entry->flags & LP_ENTRY_STORED) != 0;
    entry->state = LP_ENTRY_DYING;
    entry->death = (uint32_t)why & 0x3fu;
    entry->dead_letters = queue->dead_letters;
    queue->dead_letters->references++;
    entry->link = (struct lp_list){NULL, NULL};
    lp_list_push_back(&broker->dying.entries, &entry->link);
}

/* The message of an entry, wherever it is: the entry is its loan. */
static struct lp_message *
dying_message(const struct lp_broker *broker, const struct lp_entry *entry)
{
    return lp_message_of(broker->mesh.fabric->messages[entry->owner], entry->message);
}

/* ---- noting a death ---- */

/* The keys of KEYS that may be told: all but BCC's, which are the last (C99). */
static struct lp_bytes
keys_told(const struct lp_message *message)
{
    struct lp_bytes keys = lp_message_annotation(message, LP_ANNOTATION_KEYS);
    const struct lp_bytes hidden = lp_message_annotation(message, LP_ANNOTATION_HIDDEN);
    if (keys.size > 0) {
        LP_ASSERT(keys.size >= hidden.size);
        keys.size -= hidden.size;
    }
    return keys;
}

/* A dead-letter key that is one of the hidden ones is not told either, as in RabbitMQ. */
static bool
key_hidden(const struct lp_message *message)
{
    const struct lp_bytes keys = lp_message_annotation(message, LP_ANNOTATION_KEYS);
    struct lp_reader hidden =
        lp_reader_of_bytes(lp_message_annotation(message, LP_ANNOTATION_HIDDEN));
    while (keys.size == 0 && lp_reader_left(&hidden) > 0) {
        if (lp_bytes_equal(lp_reader_long_le(&hidden), lp_message_key(message))) {
            return true;
        }
    }
    return false;
}

/* Each death repeats what CC names, which may be a frame full: a chain of queues would make letters
 * that no memory holds, and what died behind them would wait for ever. */
static bool
deaths_full(const struct lp_broker *broker, const struct lp_message *message)
{
    return lp_message_annotation(message, LP_ANNOTATION_DEATHS).size >
           lp_memory_limit_bytes(broker->memory) / DEATHS_SHARE;
}

/* The routing keys of a message as x-death tells them. */
static struct lp_bytes
keys_write(const struct lp_broker *broker, struct lp_writer *writer,
           const struct lp_message *message)
{
    uint8_t *start = writer->at;
    if (!key_hidden(message)) {
        lp_writer_long_le(writer, lp_message_key(message));
    }
    if (!deaths_full(broker, message)) {
        const struct lp_bytes told = keys_told(message);
        lp_writer_copy(writer, told.data, told.size);
    }
    return lp_bytes_of(start, (uint32_t)(writer->at - start));
}

/* What a dead letter is made of; the parts lie in one block while it is made. */
struct letter {
    void *block;
    uint64_t block_bytes;
    struct lp_bytes deaths;
    struct lp_bytes annotations;
    struct lp_bytes properties;
};

/* A block that what follows fits into, whatever the names. */
static bool
letter_block(struct lp_broker *broker, const struct lp_message *source, struct letter *letter)
{
    const uint64_t noted = lp_message_annotations(source).size;
    const uint64_t keys = noted + sizeof(uint32_t) + UINT8_MAX;
    const uint64_t deaths = noted + keys + LP_DEATH_RECORD_BYTES + 2 * UINT8_MAX;
    const uint64_t annotations = noted + deaths + 2 * (1 + sizeof(uint32_t));
    const uint64_t properties =
        source->properties_bytes + lp_protocol_dead_bytes_max((uint64_t)deaths);
    letter->block_bytes = keys + deaths + annotations + properties;
    letter->block = lp_memory_alloc(broker->memory, letter->block_bytes);
    return letter->block != NULL;
}

/* Everything about the dead letter but its body, into the block. */
static void
letter_write(struct lp_broker *broker, const struct lp_entry *entry,
             const struct lp_message *source, struct letter *letter)
{
    const struct lp_dead_letters *letters = entry->dead_letters;
    struct lp_writer writer = lp_writer_of(letter->block, letter->block_bytes);
    const struct lp_death_record now = {
        .why = (uint8_t)entry->death,
        .expires = (source->flags & LP_MESSAGE_EXPIRES) != 0,
        .time_ms = broker->wall_ns / 1000000u,
        .expiration_ms = lp_message_expiration_ms(source),
        .queue = letters->queue,
        .exchange = lp_message_exchange(source),
        .keys = keys_write(broker, &writer, source),
    };
    const uint8_t *start = writer.at;
    lp_deaths_write(&writer, lp_message_annotation(source, LP_ANNOTATION_DEATHS), &now);
    letter->deaths = lp_bytes_of(start, (uint32_t)(writer.at - start));
    start = writer.at;
    if (!letters->has_key) {
        lp_annotation_write(&writer, LP_ANNOTATION_KEYS,
                            lp_message_annotation(source, LP_ANNOTATION_KEYS));
    }
    lp_annotation_write(&writer, LP_ANNOTATION_HIDDEN,
                        lp_message_annotation(source, LP_ANNOTATION_HIDDEN));
    lp_annotation_write(&writer, LP_ANNOTATION_DEATHS, letter->deaths);
    letter->annotations = lp_bytes_of(start, (uint32_t)(writer.at - start));
    start = writer.at;
    lp_broker_protocol(broker, source->protocol)->dead(source, letter->deaths, &writer);
    LP_ASSERT(!writer.failed);
    letter->properties = lp_bytes_of(start, (uint32_t)(writer.at - start));
}

/* ---- a new message ---- */

/* Nobody else reads the message, and it is worth more than a copy. */
static bool
body_moves(const struct lp_broker *broker, const struct lp_entry *entry,
           const struct lp_message *source)
{
    return entry->owner == broker->shard && source->loans == 1 &&
           source->body_bytes >= MOVE_BYTES_MIN;
}

/* Begin the message that the first entry becomes.  False: memory is short. */
static bool
letter_begin(struct lp_broker *broker, const struct lp_entry *entry, struct lp_message *source)
{
    const struct lp_dead_letters *letters = entry->dead_letters;
    struct lp_dying *dying = &broker->dying;
    struct letter letter;
    const bool moves = body_moves(broker, entry, source);
    if (!lp_own_memory(broker, moves ? 0 : source->body_bytes) ||
        !letter_block(broker, source, &letter)) {
        return false;
    }
    letter_write(broker, entry, source, &letter);
    const struct lp_message_parts parts = {
        .exchange = letters->exchange,
        .key = letters->has_key ? letters->key : lp_message_key(source),
        .properties = letter.properties,
        .annotations = letter.annotations,
        .body_bytes = source->body_bytes,
        .protocol = source->protocol,
        /* It does not expire again (C145). */
        .flags = (uint8_t)((source->flags & LP_MESSAGE_PERSISTENT) | LP_MESSAGE_OWN),
        .priority = source->priority,
        .body_from = moves ? source : NULL,
    };
    struct lp_message *made = lp_message_make(&broker->messages, &parts, &dying->message);
    lp_memory_release(broker->memory, &letter.block);
    if (!made) {
        dying->message = LP_HANDLE_NONE;
        return false;
    }
    if (moves) {
        lp_message_move_body(made, source);
    } else {
        dying->body = lp_message_body(source);
    }
    return true;
}

/* Go on copying the body; false: not all of it is there. */
static bool
letter_copy(struct lp_broker *broker, uint64_t *budget)
{
    struct lp_dying *dying = &broker->dying;
    struct lp_message *message = lp_message_of(&broker->messages, dying->message);
    LP_ASSERT(message);
    while (lp_message_body_have(message) < message->body_bytes) {
        struct lp_message_body at = dying->body;
        const struct lp_bytes piece = lp_message_body_next(&at, LP_CHUNK_BYTES_MAX);
        LP_ASSERT(piece.size > 0);
        if (*budget == 0 || !lp_message_append(&broker->messages, message, piece)) {
            return false;
        }
        dying->body = at;
        *budget -= LP_MIN(*budget, (uint64_t)piece.size);
    }
    return true;
}

/* What the log has of it is there until what it becomes is. */
static void
dying_hand_on(struct lp_broker *broker, struct lp_entry *entry)
{
    const struct lp_dead_letters *letters = entry->dead_letters;
    const struct lp_store_source source = lp_store_source_of(broker, letters->queue_id, entry);
    broker->stats->messages_dead_lettered++;
    lp_own_publish_dead(broker, letters->vhost_id, broker->dying.message, &source);
    broker->dying.message = LP_HANDLE_NONE;
}

static void
dying_lose(struct lp_broker *broker, struct lp_entry *entry)
{
    const struct lp_store_source source =
        lp_store_source_of(broker, entry->dead_letters->queue_id, entry);
    broker->stats->messages_own_lost++;
    lp_store_source_settle(broker, &source);
}

/* The first of the dying becomes a message, or nothing.  False: it waits. */
static bool
dying_publish(struct lp_broker *broker, struct lp_entry *entry, uint64_t *budget)
{
    const struct lp_dead_letters *letters = entry->dead_letters;
    struct lp_dying *dying = &broker->dying;
    if (dying->message == LP_HANDLE_NONE) {
        if (!lp_topology_exchange(&broker->topology, letters->vhost_id, letters->exchange)) {
            dying_lose(broker, entry); /* silently (C151) */
            return true;
        }
        if (!lp_own_room(&broker->own) ||
            !letter_begin(broker, entry, dying_message(broker, entry))) {
            return false;
        }
    }
    if (!letter_copy(broker, budget)) {
        return false;
    }
    dying_hand_on(broker, entry);
    return true;
}

uint32_t
lp_dead_letter_step(struct lp_broker *broker, uint32_t budget)
{
    struct lp_list *entries = &broker->dying.entries;
    uint64_t bytes = COPY_BYTES_MAX;
    uint32_t done = 0;
    while (done < budget && !lp_list_empty(entries)) {
        struct lp_entry *entry = LP_LIST_ITEM(entries->next, struct lp_entry, link);
        if (!lp_store_written(broker, entry) || !dying_publish(broker, entry, &bytes)) {
            break;
        }
        lp_list_remove(&entry->link);
        lp_dead_letters_put(broker->memory, &entry->dead_letters);
        lp_queue_entry_done(broker, entry);
        done++;
    }
    return done;
}

void
lp_dead_letter_cycles(struct lp_broker *broker, uint32_t vhost_id, const struct lp_message *message)
{
    struct lp_death_record record;
    struct lp_reader deaths =
        lp_reader_of_bytes(lp_message_annotation(message, LP_ANNOTATION_DEATHS));
    /* Once a client has rejected it, going round is what somebody wants. */
    while (lp_death_next(&deaths, &record) && record.why != LP_DEATH_REJECTED) {
        const struct lp_queue_ref *queue =
            lp_topology_queue(&broker->topology, vhost_id, record.queue);
        if (queue && lp_topology_route_strike(&broker->topology, queue)) {
            broker->stats->messages_dead_cycled++;
        }
    }
}
