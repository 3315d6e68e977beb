/* SPDX-License-Identifier: Apache-2.0 */
/*
 * book_deaths.c - a delivery's headers: what it was published with, and how
 * it came here (B1 to B4, B12).
 */
#include <lepus/field_table.h>
#include <lepus/queue_settings.h>
#include <stdio.h>

#include "tests/sim/book.h"
#include "tests/sim/graph.h"

#define NS_PER_MS 1000000u
#define NS_PER_S  1000000000u

static const char *const reason_names[] = {"rejected", "expired", "maxlen", "delivery_limit"};

/* ---- reading ---- */

static struct lp_field
field_of(struct lp_bytes table, const char *name, char type)
{
    struct lp_field field;
    LP_ASSERT(lp_field_find(table, name, &field)); /* B4 */
    LP_ASSERT(field.type == type);                 /* B4 */
    return field;
}

static uint8_t
reason_of(struct lp_bytes name)
{
    for (uint8_t i = 0; i < LP_COUNT_OF(reason_names); i++) {
        if (lp_bytes_equal_text(name, reason_names[i])) {
            return i;
        }
    }
    LP_ASSERT(!"x-death has a reason that there is not"); /* B4 */
    return 0;
}

static void
deaths_read(const struct book *book, struct lp_bytes headers, struct book_deaths *deaths)
{
    struct lp_field field;
    deaths->count = 0;
    if (!lp_field_find(headers, "x-death", &field)) {
        return;
    }
    LP_ASSERT(field.type == 'A'); /* B4 */
    struct lp_reader reader = lp_reader_of_bytes(field.raw);
    while (lp_reader_left(&reader) > 0) {
        struct lp_field entry;
        struct lp_field expiration;
        const bool whole = lp_field_value_read(&reader, &entry);
        LP_ASSERT(whole && entry.type == 'F'); /* B4 */
        LP_ASSERT(deaths->count < LP_COUNT_OF(deaths->death));
        const uint32_t n = deaths->count++;
        const struct lp_field count = field_of(entry.raw, "count", 'l');
        const struct lp_field time = field_of(entry.raw, "time", 'T');
        const uint32_t queue = graph_queue_of(field_of(entry.raw, "queue", 'S').raw);
        LP_ASSERT(queue < book->queues); /* B4 */
        deaths->death[n].queue = (uint8_t)queue;
        deaths->death[n].reason = reason_of(field_of(entry.raw, "reason", 'S').raw);
        deaths->death[n].count = (uint32_t)lp_field_integer(&count);
        deaths->death[n].time_s = (uint64_t)lp_field_integer(&time);
        deaths->death[n].exchange = field_of(entry.raw, "exchange", 'S').raw;
        deaths->death[n].keys = field_of(entry.raw, "routing-keys", 'A').raw;
        deaths->death[n].has_expiration =
            lp_field_find(entry.raw, "original-expiration", &expiration);
        LP_ASSERT(deaths->death[n].count >= 1);
    }
    LP_ASSERT(deaths->count > 0);
}

static uint64_t
deaths_lineage(const struct book_deaths *deaths)
{
    uint64_t lineage = BOOK_LINEAGE_FIRST;
    for (uint32_t i = 0; i < deaths->count; i++) {
        const uint64_t one = (uint64_t)deaths->death[i].queue << 40 |
                             (uint64_t)deaths->death[i].reason << 32 | deaths->death[i].count;
        lineage = (lineage ^ one) * 0x9e3779b97f4a7c15u;
        lineage = (lineage ^ (lineage >> 29)) | 1; /* never BOOK_LINEAGE_FIRST */
    }
    return lineage;
}

bool
book_deaths_single(const struct book_deaths *deaths)
{
    for (uint32_t i = 0; i < deaths->count; i++) {
        if (deaths->death[i].count != 1) {
            return false;
        }
    }
    return true;
}

/* ---- B3: was each death possible? ---- */

static bool
queue_limits(const struct book_queue *queue)
{
    for (uint32_t i = 0; i < queue->variants; i++) {
        const struct book_settings *it = &queue->variant[i];
        if ((it->max_length != BOOK_NONE || it->max_bytes != BOOK_NONE) &&
            it->overflow != LP_OVERFLOW_REJECT_PUBLISH) {
            return true;
        }
    }
    return false;
}

/* The least time that this entry's deaths took. */
static uint64_t
check_expired(const struct book_queue *queue, const struct book_message *message,
              const struct book_deaths *deaths, uint32_t at)
{
    const int64_t ttl = book_ttl_least(queue);
    const uint32_t count = deaths->death[at].count;
    if (!deaths->death[at].has_expiration) {
        LP_ASSERT(ttl != INT64_MAX); /* B3: nothing that could have expired */
        return (uint64_t)ttl * NS_PER_MS * count;
    }
    LP_ASSERT(message->expiration_ms != BOOK_NONE);
    LP_ASSERT(count == 1 || ttl != INT64_MAX);
    const int64_t once = LP_MIN(ttl, message->expiration_ms);
    return (uint64_t)once * NS_PER_MS + (count > 1 ? (uint64_t)ttl * NS_PER_MS * (count - 1) : 0);
}

static void
check_reasons(const struct book *book, const struct book_message *message,
              const struct book_deaths *deaths)
{
    uint64_t took_ns = 0;
    for (uint32_t i = 0; i < deaths->count; i++) {
        const uint8_t number = deaths->death[i].queue;
        const struct book_queue *queue = &book->queue[number];
        switch ((enum book_reason)deaths->death[i].reason) {
        case BOOK_REJECTED:
            LP_ASSERT(deaths->death[i].count <= message->rejects[number]); /* B3 */
            break;
        case BOOK_EXPIRED:
            took_ns += check_expired(queue, message, deaths, i);
            break;
        case BOOK_MAXLEN:
            LP_ASSERT(queue_limits(queue)); /* B3 */
            break;
        case BOOK_DELIVERY_LIMIT:
            LP_ASSERT(queue->delivery_limit != BOOK_NONE && queue->requeued); /* B3 */
            break;
        }
        for (uint32_t j = 0; j < i; j++) {
            LP_ASSERT(deaths->death[j].queue != number ||
                      deaths->death[j].reason != deaths->death[i].reason); /* B4: one entry each */
        }
    }
    LP_ASSERT(book->now_ns >= message->sent_ns + took_ns); /* B3: not before its time */
}

/* ---- B4: exchanges, keys, order ---- */

/* Are these the keys that a client is told: the message's own and CC's, without BCC's? */
static bool
keys_original(struct lp_bytes keys, const struct book_message *message)
{
    struct lp_reader reader = lp_reader_of_bytes(keys);
    struct lp_field field;
    char name[24];
    if (!lp_field_value_read(&reader, &field) || !lp_bytes_equal_text(field.raw, message->key)) {
        return false;
    }
    for (uint32_t i = 0; i < BOOK_QUEUES_MAX; i++) {
        if ((message->cc >> i & 1) &&
            (!lp_field_value_read(&reader, &field) ||
             !lp_bytes_equal_text(field.raw, graph_queue_name(i, name)))) {
            return false;
        }
    }
    return lp_reader_left(&reader) == 0;
}

static bool
keys_single(struct lp_bytes keys, const char *key, const struct book_message *message)
{
    struct lp_reader reader = lp_reader_of_bytes(keys);
    struct lp_field field;
    const uint32_t queue = graph_queue_of(lp_bytes_of_text(key));
    if (queue < BOOK_QUEUES_MAX && (message->bcc >> queue & 1)) {
        return keys.size == 0; /* RabbitMQ takes a BCC key out, whoever named it */
    }
    return lp_field_value_read(&reader, &field) && lp_bytes_equal_text(field.raw, key) &&
           lp_reader_left(&reader) == 0;
}

/* Could a message with these keys be one that died in `from` under this variant? */
static bool
keys_after(const struct book *book, const struct book_settings *from,
           const struct book_deaths *deaths, struct lp_bytes keys,
           const struct book_message *message)
{
    if (from->has_key) {
        return keys_single(keys, from->key, message);
    }
    if (keys_original(keys, message)) {
        return true;
    }
    for (uint32_t i = 0; i < deaths->count; i++) { /* or it has them from a death before */
        const struct book_queue *queue = &book->queue[deaths->death[i].queue];
        for (uint32_t v = 0; v < queue->variants; v++) {
            if (queue->variant[v].has_key && keys_single(keys, queue->variant[v].key, message)) {
                return true;
            }
        }
    }
    return false;
}

/* Could dead letters of `from` have come to `to` by this exchange with these keys? */
static bool
hop_possible(const struct book *book, const struct book_deaths *deaths, uint32_t from, uint32_t to,
             uint32_t entry, const struct book_message *message)
{
    const struct book_queue *queue = &book->queue[from];
    for (uint32_t v = 0; v < queue->variants; v++) {
        const struct book_settings *it = &queue->variant[v];
        if (it->dead && (it->targets >> to & 1) &&
            lp_bytes_equal_text(deaths->death[entry].exchange, it->exchange) &&
            keys_after(book, it, deaths, deaths->death[entry].keys, message)) {
            return true;
        }
    }
    return false;
}

static bool
came_published(const struct book_deaths *deaths, uint32_t entry, const struct book_message *message)
{
    return (message->targets >> deaths->death[entry].queue & 1) &&
           lp_bytes_equal_text(deaths->death[entry].exchange, message->exchange) &&
           keys_original(deaths->death[entry].keys, message);
}

static void
check_way(const struct book *book, const struct book_message *message,
          const struct book_deaths *deaths)
{
    const bool single = book_deaths_single(deaths);
    for (uint32_t i = 0; i < deaths->count; i++) {
        const uint32_t to = deaths->death[i].queue;
        bool possible = (!single || i + 1 == deaths->count) && came_published(deaths, i, message);
        for (uint32_t from = 0; from < deaths->count && !possible; from++) {
            if (!single || from == i + 1) {
                possible = hop_possible(book, deaths, deaths->death[from].queue, to, i, message);
            }
        }
        LP_ASSERT(possible); /* B4 */
    }
}

static void
check_times(const struct book *book, const struct book_message *message,
            const struct book_deaths *deaths)
{
    const uint64_t from_s = (message->sent_ns + book->wall_offset_ns) / NS_PER_S;
    const uint64_t to_s = (book->now_ns + book->wall_offset_ns) / NS_PER_S;
    uint32_t expirations = 0;
    for (uint32_t i = 0; i < deaths->count; i++) {
        LP_ASSERT(deaths->death[i].time_s >= from_s && deaths->death[i].time_s <= to_s); /* B4 */
        expirations += deaths->death[i].has_expiration;
    }
    /* The first death takes the expiration away and remembers it (C145). */
    LP_ASSERT(expirations == (message->expiration_ms != BOOK_NONE));
    if (book_deaths_single(deaths)) {
        for (uint32_t i = 0; i + 1 < deaths->count; i++) {
            LP_ASSERT(deaths->death[i].time_s >= deaths->death[i + 1].time_s); /* B4 */
        }
        LP_ASSERT(expirations == deaths->death[deaths->count - 1].has_expiration);
    }
}

static void
check_text(struct lp_bytes headers, const char *name, const char *text)
{
    LP_ASSERT(lp_bytes_equal_text(field_of(headers, name, 'S').raw, text)); /* B4 */
}

/* x-first-death-* and x-last-death-* (C155). */
static void
check_first_and_last(struct lp_bytes headers, const struct book_message *message,
                     const struct book_deaths *deaths)
{
    char name[24];
    const uint32_t oldest = deaths->count - 1;
    check_text(headers, "x-last-death-queue", graph_queue_name(deaths->death[0].queue, name));
    check_text(headers, "x-last-death-reason", reason_names[deaths->death[0].reason]);
    check_text(headers, "x-first-death-exchange", message->exchange);
    if (deaths->death[0].count == 1) {
        LP_ASSERT(lp_bytes_equal(field_of(headers, "x-last-death-exchange", 'S').raw,
                                 deaths->death[0].exchange)); /* B4 */
    }
    const uint32_t first = graph_queue_of(field_of(headers, "x-first-death-queue", 'S').raw);
    LP_ASSERT(first < BOOK_QUEUES_MAX && (message->targets >> first & 1)); /* B4 */
    if (book_deaths_single(deaths)) {
        LP_ASSERT(first == deaths->death[oldest].queue); /* B4 */
        check_text(headers, "x-first-death-reason", reason_names[deaths->death[oldest].reason]);
    }
}

/* It came here by the last death: the delivery's own exchange and key. */
static void
check_arrival(const struct book *book, const struct book_deaths *deaths, uint32_t queue,
              const struct sim_content *content, const struct book_message *message)
{
    const struct book_queue *from = &book->queue[deaths->death[0].queue];
    for (uint32_t v = 0; v < from->variants; v++) {
        const struct book_settings *it = &from->variant[v];
        const bool key = it->has_key ? lp_bytes_equal_text(content->key, it->key) : true;
        if (it->dead && (it->targets >> queue & 1) &&
            lp_bytes_equal_text(content->exchange, it->exchange) && key) {
            return;
        }
    }
    (void)message;
    LP_ASSERT(!"a dead letter came to a queue where it could not come"); /* B2, B4 */
}

/* B12: without a rejection since, it has not been here before. */
static void
check_cycle(const struct book_deaths *deaths, uint32_t queue)
{
    for (uint32_t i = 0; i < deaths->count; i++) {
        if (deaths->death[i].reason == BOOK_REJECTED) {
            return;
        }
        LP_ASSERT(deaths->death[i].queue != queue); /* B12 */
    }
}

/* ---- B1: the headers it was published with ---- */

static void
check_copies_header(const struct book_message *message, const struct sim_content *content)
{
    struct lp_field field;
    const struct lp_bytes headers = content->properties.headers;
    LP_ASSERT(!lp_field_find(headers, "BCC", &field)); /* C99 */
    const bool has = lp_field_find(headers, "CC", &field);
    LP_ASSERT(has == (message->cc != 0));
    if (!has) {
        return;
    }
    struct lp_reader reader = lp_reader_of_bytes(field.raw);
    char name[24];
    LP_ASSERT(field.type == 'A');
    for (uint32_t i = 0; i < BOOK_QUEUES_MAX; i++) {
        if (message->cc >> i & 1) {
            struct lp_field element;
            const bool whole = lp_field_value_read(&reader, &element);
            LP_ASSERT(whole && lp_bytes_equal_text(element.raw, graph_queue_name(i, name)));
        }
    }
    LP_ASSERT(lp_reader_left(&reader) == 0);
}

static void
check_published(const struct book_message *message, const struct sim_content *content,
                bool original)
{
    const struct sim_properties *properties = &content->properties;
    char text[24];
    struct lp_field field;
    check_copies_header(message, content);
    LP_ASSERT(lp_field_find(properties->headers, "kept", &field) == message->headers); /* B1 */
    LP_ASSERT(properties->has_priority == (message->priority != BOOK_NONE));
    LP_ASSERT(!properties->has_priority || properties->priority == message->priority);
    LP_ASSERT(properties->transient == message->transient);
    const bool expires = original && message->expiration_ms != BOOK_NONE;
    LP_ASSERT(properties->has_expiration == expires); /* C145 */
    if (expires) {
        (void)snprintf(text, sizeof(text), "%lld", (long long)message->expiration_ms);
        LP_ASSERT(lp_bytes_equal_text(properties->expiration, text));
    }
    if (original) {
        LP_ASSERT(lp_bytes_equal_text(content->exchange, message->exchange));
        LP_ASSERT(lp_bytes_equal_text(content->key, message->key)); /* C135 */
    }
}

/* C132: from the second delivery on, a queue with a delivery limit says how often. */
static void
check_delivery_count(const struct book *book, const struct book_message *message,
                     const struct book_queue *queue, const struct sim_content *content)
{
    struct lp_field field;
    const bool has = lp_field_find(content->properties.headers, "x-delivery-count", &field);
    if (!queue->quorum) {
        return; /* it may bring one from a quorum queue where it was before */
    }
    LP_ASSERT(has == content->redelivered);
    if (has) {
        LP_ASSERT(lp_field_integer(&field) >= 1);
        /* One that may have been handed out before a crash was, once, whatever the limit; and one
         * that died of it, but not on disk, is over it. */
        LP_ASSERT(queue->delivery_limit == BOOK_NONE ||
                  lp_field_integer(&field) <=
                      LP_MAX(queue->delivery_limit, 1) + book->crashes - message->crashes);
    }
}

uint64_t
book_headers_check(const struct book *book, const struct book_message *message, uint32_t queue,
                   const struct sim_content *content, struct book_deaths *ret_deaths)
{
    const struct lp_bytes headers = content->properties.headers;
    deaths_read(book, headers, ret_deaths);
    check_published(message, content, ret_deaths->count == 0);
    check_delivery_count(book, message, &book->queue[queue], content);
    if (ret_deaths->count == 0) {
        LP_ASSERT(message->targets >> queue & 1); /* B2 */
        return BOOK_LINEAGE_FIRST;
    }
    check_reasons(book, message, ret_deaths);
    check_way(book, message, ret_deaths);
    check_times(book, message, ret_deaths);
    check_first_and_last(headers, message, ret_deaths);
    check_arrival(book, ret_deaths, queue, content, message);
    check_cycle(ret_deaths, queue);
    return deaths_lineage(ret_deaths);
}
