/* SPDX-License-Identifier: Apache-2.0 */
/*
 * book_crash.c - what is known of a node's messages when all its processes
 * have died (B17 to B20).
 *
 * Whatever is not certain to be on disk may have happened or not.  So a crash
 * makes the book forget what it knew for certain of a shard's memory only.
 */
#include "tests/sim/book.h"

#include <stdlib.h>

bool
book_outlives(const struct book *book, const struct book_message *message)
{
    return message->crashes == book->crashes || (book->kept && !message->transient);
}

/*
 * A message that waits in the queue is confirmed: it is on disk, and with it
 * all that the queue's shard wrote before.  One that somebody had, or that may
 * have died, may have been confirmed without a write.
 */
void
book_confirm_durable(struct book *book, const struct book_message *message)
{
    if (message->transient || message->expiration_ms != BOOK_NONE) {
        return;
    }
    for (uint32_t i = 0; i < book->queues; i++) {
        struct book_queue *queue = &book->queue[i];
        bool stays = (message->targets >> i & 1) && !(message->handed >> i & 1) &&
                     message->sent_ns > queue->purged_ns;
        for (uint32_t v = 0; v < queue->variants; v++) {
            const struct book_settings *it = &queue->variant[v];
            stays = stays && it->ttl_ms == BOOK_NONE && it->max_length == BOOK_NONE &&
                    it->max_bytes == BOOK_NONE;
        }
        if (stays) {
            queue->durable_ns = LP_MAX(queue->durable_ns, message->sent_ns);
        }
    }
}

/*
 * A death and what comes of it are one thing where both queues are at home on
 * one shard.  Of two logs the letter's is first: after a crash it may have been
 * stored, and the dead one dies again.
 */
bool
book_deaths_near(const struct book *book, const struct book_deaths *deaths, uint32_t queue)
{
    for (uint32_t i = 0; i < deaths->count; i++) {
        if (deaths->death[i].queue % book->shards != queue % book->shards) {
            return false;
        }
    }
    return true;
}

static void
copy_crash(const struct book *book, struct book_copy *copy)
{
    if (copy->lineage != BOOK_LINEAGE_FIRST) {
        copy->firsts = 0; /* the death that made it may be undone, and happen again */
    }
    if (copy->settled && !copy->kept) {
        copy->kept = copy->settled_ns < book->queue[copy->queue].durable_ns;
        copy->settled = copy->kept;
    }
}

void
book_crash(struct book *book)
{
    book->crashes++;
    for (uint32_t i = 1; i < book->subscriptions; i++) {
        book->subscription[i].of_the_dead = true;
        book_unsubscribed(book, i);
    }
    for (uint32_t i = 0; i < book->queues; i++) {
        struct book_queue *queue = &book->queue[i];
        queue->requeued = true;
        queue->lossy_ns = LP_MIN(queue->lossy_ns, book->now_ns);
        if (queue->dropped_room > 0) {
            memset(queue->dropped, 0, queue->dropped_room * sizeof(*queue->dropped));
        }
    }
    for (uint32_t i = 0; i < book->publishers; i++) {
        const struct book_publisher *who = &book->publisher[i];
        for (uint64_t n = 0; n < who->count; n++) {
            for (uint32_t c = 0; c < who->message[n].copies; c++) {
                copy_crash(book, &who->message[n].copy[c]);
            }
        }
    }
}
