/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/book.h"

#include <lepus/queue_settings.h>
#include <stdlib.h>

#include "tests/sim/ledger.h"

#define NS_PER_MS 1000000u
/* A message with a TTL of 0 may wait so long for the consumer that it goes to (C143). */
#define AT_ONCE_MS 2
/* Above it a quorum queue's messages go first, now and then. */
#define QUORUM_NORMAL 4

void
book_init(struct book *book)
{
    memset(book, 0, sizeof(*book));
    book->subscriptions = 1; /* 0 is none */
}

void
book_fini(struct book *book)
{
    for (uint32_t i = 0; i < book->publishers; i++) {
        for (uint64_t n = 0; n < book->publisher[i].count; n++) {
            free(book->publisher[i].message[n].copy);
        }
        free(book->publisher[i].message);
    }
    for (uint32_t i = 1; i < book->subscriptions; i++) {
        free(book->subscription[i].settled_ns);
    }
    for (uint32_t i = 0; i < book->queues; i++) {
        free(book->queue[i].dropped);
    }
    free(book->publisher);
    free(book->subscription);
}

/* Room for one more item, zeroed; gives the list, which may have moved. */
static void *
list_grow(void *list, uint64_t count, uint64_t *room, size_t item_bytes)
{
    if (count < *room) {
        return list;
    }
    const uint64_t more = *room * 2 + 16;
    list = realloc(list, more * item_bytes);
    LP_ASSERT(list);
    memset((char *)list + *room * item_bytes, 0, (more - *room) * item_bytes);
    *room = more;
    return list;
}

static void *
list_grow_u32(void *list, uint32_t count, uint32_t *room, size_t item_bytes)
{
    uint64_t wide = *room;
    list = list_grow(list, count, &wide, item_bytes);
    *room = (uint32_t)wide;
    return list;
}

/* ---- settings that change ---- */

void
book_variant_asked(struct book *book, uint32_t queue)
{
    struct book_queue *it = &book->queue[queue];
    it->certain = false;
    it->until_ns[it->current] = UINT64_MAX;
}

void
book_variant_answered(struct book *book, uint32_t queue, bool certain)
{
    struct book_queue *it = &book->queue[queue];
    it->certain = certain;
    for (uint32_t v = 0; v < it->variants && certain; v++) {
        if (v != it->current) {
            it->until_ns[v] = LP_MIN(it->until_ns[v], book->now_ns);
        }
    }
}

/* ---- publishing ---- */

uint32_t
book_publisher_add(struct book *book)
{
    book->publisher = list_grow_u32(book->publisher, book->publishers, &book->publisher_room,
                                    sizeof(*book->publisher));
    return book->publishers++;
}

uint64_t
book_publish(struct book *book, uint32_t publisher, const struct book_message *message)
{
    struct book_publisher *who = &book->publisher[publisher];
    who->message = list_grow(who->message, who->count, &who->room, sizeof(*who->message));
    who->message[who->count] = *message;
    who->message[who->count].sent_ns = book->now_ns;
    who->message[who->count].crashes = book->crashes;
    return ++who->count;
}

struct book_message *
book_message(struct book *book, uint32_t publisher, uint64_t sequence)
{
    LP_ASSERT(publisher < book->publishers);
    struct book_publisher *who = &book->publisher[publisher];
    LP_ASSERT(sequence >= 1 && sequence <= who->count); /* B1 */
    return &who->message[sequence - 1];
}

void
book_confirm(struct book *book, uint32_t publisher, uint64_t sequence)
{
    struct book_message *message = book_message(book, publisher, sequence);
    if (message->state == BOOK_CONFIRMED || message->state == BOOK_REFUSED) {
        return; /* covered by a later "multiple" as well */
    }
    LP_ASSERT(message->state == BOOK_SENT);
    if (message->mandatory && message->targets == 0) {
        LP_ASSERT(message->returned); /* B11 */
    }
    message->state = BOOK_CONFIRMED;
    message->confirmed_ns = book->now_ns;
    book->confirmed++;
    book_confirm_durable(book, message);
}

void
book_refuse(struct book *book, uint32_t publisher, uint64_t sequence)
{
    struct book_message *message = book_message(book, publisher, sequence);
    bool refuses = false;
    if (message->state == BOOK_CONFIRMED || message->state == BOOK_REFUSED) {
        return;
    }
    LP_ASSERT(message->state == BOOK_SENT);
    for (uint32_t i = 0; i < book->queues; i++) {
        refuses = refuses || ((message->targets >> i & 1) && book_refuses(&book->queue[i]));
    }
    LP_ASSERT(refuses); /* B11 */
    message->state = BOOK_REFUSED;
    book->refused++;
}

void
book_return(struct book *book, uint32_t publisher, uint64_t sequence)
{
    struct book_message *message = book_message(book, publisher, sequence);
    LP_ASSERT(message->mandatory);
    LP_ASSERT(message->targets == 0);
    LP_ASSERT(!message->returned);
    /* In a transaction returns come with the commit, before its answer (C110). */
    LP_ASSERT(message->state == BOOK_SENT || message->state == BOOK_COMMITTING);
    message->returned = true;
}

void
book_transaction(struct book *book, uint32_t publisher, uint64_t from, enum book_state state)
{
    struct book_publisher *who = &book->publisher[publisher];
    const uint64_t number = state == BOOK_COMMITTING ? ++book->transactions : 0;
    for (uint64_t n = from; n <= who->count; n++) {
        struct book_message *message = &who->message[n - 1];
        message->state = (uint8_t)state;
        if (state == BOOK_COMMITTING) {
            message->transaction = number;
            message->sent_ns = book->now_ns;
        }
        if (state == BOOK_CONFIRMED) {
            LP_ASSERT(!message->mandatory || message->targets != 0 || message->returned); /* B11 */
            message->confirmed_ns = book->now_ns;
            book->confirmed++;
        }
    }
}

/* ---- subscriptions ---- */

uint32_t
book_subscribe(struct book *book, uint32_t queue, uint32_t prefetch, bool getter)
{
    book->subscription = list_grow_u32(book->subscription, book->subscriptions,
                                       &book->subscription_room, sizeof(*book->subscription));
    book->subscription[book->subscriptions] = (struct book_subscription){
        .queue = queue,
        .crashes = book->crashes,
        .said_ns = book->now_ns,
        .prefetch = prefetch,
        .getter = getter,
    };
    return book->subscriptions++;
}

void
book_subscribed(struct book *book, uint32_t subscription)
{
    book->subscription[subscription].ok_ns = book->now_ns;
}

void
book_unsubscribed(struct book *book, uint32_t subscription)
{
    if (book->subscription[subscription].ended_ns == 0) {
        book->subscription[subscription].ended_ns = book->now_ns;
    }
}

void
book_room(struct book *book, uint32_t subscription, uint64_t said_ns)
{
    struct book_subscription *it = &book->subscription[subscription];
    if (it->prefetch == 0) {
        return;
    }
    it->settled_ns =
        list_grow_u32(it->settled_ns, it->settled, &it->settled_room, sizeof(*it->settled_ns));
    it->settled_ns[it->settled++] = said_ns;
}

/* The home shard did not decide this delivery before. */
static uint64_t
subscription_decided(struct book_subscription *it, uint64_t decided_ns)
{
    const uint32_t before = it->delivered++;
    uint64_t known = LP_MAX(it->said_ns, decided_ns);
    if (it->prefetch > 0 && before >= it->prefetch) {
        LP_ASSERT(before - it->prefetch < it->settled); /* more than its prefetch */
        known = LP_MAX(known, it->settled_ns[before - it->prefetch]);
    }
    return known;
}

/* ---- what settings mean ---- */

int64_t
book_ttl_least(const struct book_queue *queue)
{
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < queue->variants; i++) {
        const int64_t ttl = queue->variant[i].ttl_ms;
        least = ttl == BOOK_NONE ? least : LP_MIN(least, ttl);
    }
    return least;
}

int64_t
book_ttl_most(const struct book_queue *queue)
{
    int64_t most = 0;
    for (uint32_t i = 0; i < queue->variants; i++) {
        const int64_t ttl = queue->variant[i].ttl_ms;
        most = ttl == BOOK_NONE ? INT64_MAX : LP_MAX(most, ttl);
    }
    return most;
}

bool
book_refuses(const struct book_queue *queue)
{
    for (uint32_t i = 0; i < queue->variants; i++) {
        const struct book_settings *it = &queue->variant[i];
        const bool limited = it->max_length != BOOK_NONE || it->max_bytes != BOOK_NONE;
        if (limited && it->overflow != LP_OVERFLOW_DROP_HEAD) {
            return true;
        }
    }
    return false;
}

static uint32_t
message_level(const struct book_queue *queue, const struct book_message *message)
{
    if (queue->quorum) { /* two levels, of which the higher one has two turns of three (C159) */
        return message->priority > QUORUM_NORMAL;
    }
    if (queue->max_priority == BOOK_NONE || message->priority == BOOK_NONE) {
        return 0;
    }
    return (uint32_t)LP_MIN(message->priority, queue->max_priority);
}

/* ---- deliveries ---- */

static uint64_t *
order_last(struct book_order *order, uint32_t publisher, uint32_t queue, uint32_t level)
{
    const size_t each = (size_t)BOOK_QUEUES_MAX * BOOK_PRIORITIES_MAX;
    if (publisher >= order->publishers) {
        const uint32_t more = publisher * 2 + 8;
        order->last = realloc(order->last, more * each * sizeof(uint64_t));
        LP_ASSERT(order->last);
        memset(order->last + order->publishers * each, 0,
               (more - order->publishers) * each * sizeof(uint64_t));
        order->publishers = more;
    }
    return &order->last[publisher * each + queue * BOOK_PRIORITIES_MAX + level];
}

void
book_order_forget(struct book_order *order)
{
    const size_t each = (size_t)BOOK_QUEUES_MAX * BOOK_PRIORITIES_MAX;
    if (order->last) {
        memset(order->last, 0, order->publishers * each * sizeof(uint64_t));
    }
}

void
book_order_fini(struct book_order *order)
{
    free(order->last);
}

static struct book_copy *
message_copy(struct book_message *message, uint32_t queue, uint64_t lineage)
{
    for (uint32_t i = 0; i < message->copies; i++) {
        struct book_copy *copy = &message->copy[i];
        if (copy->queue == queue && copy->lineage == lineage) {
            return copy;
        }
    }
    message->copy =
        list_grow_u32(message->copy, message->copies, &message->copy_room, sizeof(*message->copy));
    message->copy[message->copies] =
        (struct book_copy){.lineage = lineage, .queue = (uint8_t)queue};
    return &message->copy[message->copies++];
}

/* B7: by then it was dead for certain. */
static void
check_time(const struct book *book, const struct book_message *message,
           const struct book_delivery *delivery, uint64_t decided_ns)
{
    int64_t ttl = book_ttl_most(&book->queue[delivery->queue]);
    if (message->expiration_ms != BOOK_NONE) {
        ttl = LP_MIN(ttl, message->expiration_ms);
    }
    if (delivery->lineage != BOOK_LINEAGE_FIRST || ttl == INT64_MAX || message->confirmed_ns == 0) {
        return;
    }
    /* Of what was kept through a crash times are in milliseconds, rounded up. */
    ttl = LP_MAX(ttl, AT_ONCE_MS) + (message->crashes != book->crashes ? 1 : 0);
    LP_ASSERT(decided_ns <= message->confirmed_ns + (uint64_t)ttl * NS_PER_MS); /* B7 */
}

/* B8: was a lower priority handed out here while this one was in the queue for certain? */
static void
check_priority(struct book_subscription *subscription, const struct book_message *message,
               uint32_t level, uint64_t decided_ns, bool first)
{
    subscription->latest_ns[level] = LP_MAX(subscription->latest_ns[level], decided_ns);
    if (!first || message->confirmed_ns == 0) {
        return;
    }
    for (uint32_t lower = 0; lower < level; lower++) {
        LP_ASSERT(subscription->latest_ns[lower] <= message->confirmed_ns); /* B8 */
    }
}

/* Of those who wait for a quorum queue the one with more credit is first, and then, as elsewhere,
 * the older one. */
static bool
sole_in_order(const struct book *book, const struct book_subscription *younger,
              const struct book_subscription *older)
{
    return !book->queue[younger->queue].quorum ||
           (younger->prefetch > 0 && younger->prefetch <= older->prefetch);
}

/* B10 */
static void
check_sole(const struct book *book, uint32_t number)
{
    const struct book_subscription *it = &book->subscription[number];
    if (!book->queue[it->queue].sole || it->getter) {
        return;
    }
    for (uint32_t i = 1; i < book->subscriptions; i++) {
        const struct book_subscription *other = &book->subscription[i];
        if (i != number && other->queue == it->queue && !other->getter && other->ok_ns != 0 &&
            other->ended_ns == 0 && sole_in_order(book, it, other)) {
            LP_ASSERT(other->ok_ns >= it->said_ns); /* B10 */
        }
    }
}

static bool
queue_drops_head(const struct book_queue *queue)
{
    for (uint32_t v = 0; v < queue->variants; v++) {
        if (queue->variant[v].overflow != LP_OVERFLOW_DROP_HEAD) {
            return false;
        }
    }
    return !queue->quorum && queue->max_priority == BOOK_NONE;
}

static struct book_dropped *
queue_dropped(struct book_queue *queue, uint32_t publisher)
{
    while (publisher >= queue->dropped_room) {
        queue->dropped = list_grow_u32(queue->dropped, queue->dropped_room, &queue->dropped_room,
                                       sizeof(*queue->dropped));
    }
    return &queue->dropped[publisher];
}

/* B16: note what was dropped, and whether this one should have been before it. */
static void
check_dropped(struct book *book, const struct book_delivery *delivery,
              const struct book_deaths *deaths, uint64_t decided_ns, bool first)
{
    struct book_queue *queue = &book->queue[delivery->queue];
    if (first && queue_drops_head(queue)) {
        const struct book_dropped *dropped = queue_dropped(queue, delivery->publisher);
        LP_ASSERT(delivery->sequence > dropped->sequence || decided_ns <= dropped->seen_ns);
    }
    if (deaths->count == 0 || !book_deaths_single(deaths) ||
        deaths->death[deaths->count - 1].reason != BOOK_MAXLEN) {
        return;
    }
    struct book_queue *from = &book->queue[deaths->death[deaths->count - 1].queue];
    struct book_dropped *dropped = queue_dropped(from, delivery->publisher);
    if (delivery->sequence > dropped->sequence) {
        *dropped = (struct book_dropped){delivery->sequence, book->now_ns};
    }
}

/*
 * B5.  Deaths in one queue for one reason share a record, so when one happened
 * again, copies that began in different queues may tell of the same deaths:
 * `alike` is how many.  A dead letter that came before a crash may have been
 * undone with the death that made it.
 */
static void
check_copy(struct book_copy *copy, const struct book_delivery *delivery,
           const struct book_subscription *subscription, bool redelivered, uint32_t alike)
{
    if (copy->settled && alike == 1) {
        LP_ASSERT(subscription->said_ns <= copy->settled_ns); /* B5, B18 */
    }
    const bool undone = subscription->of_the_dead && delivery->lineage != BOOK_LINEAGE_FIRST;
    if (!redelivered && !undone) {
        LP_ASSERT(copy->firsts < alike); /* B5, B19 */
        copy->firsts++;
        copy->subscription = delivery->subscription;
    }
}

struct book_delivery
book_deliver(struct book *book, uint32_t subscription, const struct sim_content *content,
             uint64_t decided_ns, struct book_order *order)
{
    struct book_subscription *it = &book->subscription[subscription];
    struct book_delivery delivery = {.queue = it->queue, .subscription = subscription};
    ledger_body_read(content->body, &delivery.publisher, &delivery.sequence); /* B1 */
    struct book_message *message = book_message(book, delivery.publisher, delivery.sequence);
    const struct book_queue *queue = &book->queue[delivery.queue];
    const uint32_t level = message_level(queue, message);

    LP_ASSERT(message->state != BOOK_OPEN && message->state != BOOK_ROLLED_BACK); /* B9 */
    struct book_deaths deaths;
    delivery.lineage = book_headers_check(book, message, delivery.queue, content, &deaths);
    const bool original = delivery.lineage == BOOK_LINEAGE_FIRST;
    const bool first = original && !content->redelivered;
    /* What died may have been in a quorum queue, which keeps all, when the node did. */
    if (original && it->crashes != message->crashes && !queue->quorum) {
        LP_ASSERT(book_outlives(book, message)); /* B17 */
    }
    decided_ns = subscription_decided(it, decided_ns);
    check_time(book, message, &delivery, decided_ns);
    if (!queue->quorum) {
        check_priority(it, message, level, decided_ns, first);
    }
    check_sole(book, subscription);
    check_dropped(book, &delivery, &deaths, decided_ns, first);
    /* Fans of dead letters meet, too; and a crash may make two of one. */
    const bool alone =
        book_deaths_single(&deaths) &&
        (message->crashes == book->crashes || book_deaths_near(book, &deaths, delivery.queue));
    /* One for another shard may be there, and its death undone and done again, with every crash. */
    const bool twice = !original && book->shards > 1;
    const uint32_t alike = alone ? 1 + (twice ? book->crashes : 0) : UINT8_MAX;
    check_copy(message_copy(message, delivery.queue, delivery.lineage), &delivery, it,
               content->redelivered, alike);
    if (first || (original && order->all && !queue->quorum)) {
        uint64_t *last = order_last(order, delivery.publisher, delivery.queue, level);
        LP_ASSERT(delivery.sequence > *last); /* B6, B20 */
        *last = delivery.sequence;
    }
    message->handed |= 1u << delivery.queue;
    book->delivered++;
    book->redelivered += content->redelivered;
    book->deaths += !original;
    return delivery;
}

void
book_acked(struct book *book, const struct book_delivery *delivery)
{
    book_message(book, delivery->publisher, delivery->sequence)->acked |= 1u << delivery->queue;
}

void
book_rejected(struct book *book, const struct book_delivery *delivery)
{
    struct book_message *message = book_message(book, delivery->publisher, delivery->sequence);
    LP_ASSERT(message->rejects[delivery->queue] < UINT8_MAX);
    message->rejects[delivery->queue]++;
}

void
book_settled(struct book *book, const struct book_delivery *delivery, bool kept)
{
    struct book_message *message = book_message(book, delivery->publisher, delivery->sequence);
    struct book_copy *copy = message_copy(message, delivery->queue, delivery->lineage);
    if (!kept && book->subscription[delivery->subscription].crashes != book->crashes) {
        return; /* its node has died since */
    }
    copy->settled = true;
    copy->kept = kept;
    copy->settled_ns = book->now_ns;
}
