/* SPDX-License-Identifier: Apache-2.0 */
/*
 * book_close.c - the end: what became of every message (B13 to B15).
 */
#include <lepus/queue_settings.h>
#include <stdio.h>

#include "tests/sim/book.h"

/* How a message may have ended in a queue. */
struct ends {
    bool traceless; /* it may be gone and nobody sees it */
    bool dead;      /* it may have died */
};

/* May the message have met this variant of a queue? */
static bool
variant_met(const struct book_queue *queue, uint32_t variant, const struct book_message *message)
{
    return queue->until_ns[variant] >= message->sent_ns;
}

/* What gives it its time is in force when it comes, what happens to it then when that is over:
 * a policy may change between (C144). */
static bool
message_expires(const struct book_queue *queue, const struct book_message *message, bool original)
{
    bool expires = original && message->expiration_ms != BOOK_NONE;
    for (uint32_t v = 0; v < queue->variants; v++) {
        expires =
            expires || (queue->variant[v].ttl_ms != BOOK_NONE && variant_met(queue, v, message));
    }
    return expires;
}

static struct ends
message_ends(const struct book_queue *queue, uint32_t number, const struct book_message *message,
             bool original)
{
    struct ends ends = {.traceless = message->sent_ns <= queue->lossy_ns ||
                                     message->sent_ns <= queue->purged_ns};
    const bool expires = message_expires(queue, message, original);
    for (uint32_t v = 0; v < queue->variants; v++) {
        const struct book_settings *it = &queue->variant[v];
        if (!variant_met(queue, v, message)) {
            continue;
        }
        const bool limited = it->max_length != BOOK_NONE || it->max_bytes != BOOK_NONE;
        bool dies = expires || message->rejects[number] > 0;
        dies = dies || (limited && it->overflow != LP_OVERFLOW_REJECT_PUBLISH);
        dies = dies || (queue->delivery_limit != BOOK_NONE && queue->requeued);
        ends.dead = ends.dead || dies;
        /* A dead letter is published without confirm: who refuses it, loses it (C150).  And nobody
         * heard what became of an unfinished commit. */
        const bool untold = !original || message->state == BOOK_COMMITTING;
        ends.traceless =
            ends.traceless || (limited && untold && it->overflow != LP_OVERFLOW_DROP_HEAD);
        ends.traceless = ends.traceless || (dies && (!it->dead || it->targets == 0));
    }
    return ends;
}

/* Is the message accounted for in this queue?  `path`: the queues it came through (bits). */
static bool
accounted(const struct book *book, const struct book_message *message, uint32_t number,
          uint32_t path)
{
    const struct book_queue *queue = &book->queue[number];
    const struct ends ends = message_ends(queue, number, message, path == 0);
    if ((message->acked >> number & 1) || ends.traceless) {
        return true;
    }
    if (!ends.dead) {
        return false;
    }
    path |= 1u << number;
    for (uint32_t v = 0; v < queue->variants; v++) {
        const struct book_settings *it = &queue->variant[v];
        bool all = it->dead && variant_met(queue, v, message);
        for (uint32_t to = 0; to < book->queues && all; to++) {
            if (it->targets >> to & 1) {
                /* Back where it was: dropped as a cycle, or seen again under this queue's bit. */
                all = (path >> to & 1) || accounted(book, message, to, path);
            }
        }
        if (all) {
            return true;
        }
    }
    return false;
}

static bool
message_accounted(const struct book *book, const struct book_message *message)
{
    if (!book_outlives(book, message)) {
        return true;
    }
    for (uint32_t i = 0; i < book->queues; i++) {
        if ((message->targets >> i & 1) && !accounted(book, message, i, 0)) {
            return false;
        }
    }
    return true;
}

/* B14: somebody has seen one of a transaction's messages: then all of it was done. */
static void
transaction_close(const struct book *book, const struct book_publisher *who, uint64_t from)
{
    const uint64_t number = who->message[from].transaction;
    bool seen = false;
    for (uint64_t n = from; n < who->count && who->message[n].transaction == number; n++) {
        seen = seen || who->message[n].handed != 0;
    }
    for (uint64_t n = from; seen && n < who->count && who->message[n].transaction == number; n++) {
        LP_ASSERT(message_accounted(book, &who->message[n])); /* B14 */
    }
}

/* B15, of one publisher's messages in one queue. */
static void
sole_close(const struct book *book, const struct book_publisher *who, uint32_t queue)
{
    uint32_t done[64];
    uint32_t dones = 0;
    uint32_t last = 0;
    for (uint64_t n = 0; n < who->count; n++) {
        const struct book_message *message = &who->message[n];
        for (uint32_t c = 0; c < message->copies && message->priority == BOOK_NONE; c++) {
            const struct book_copy *copy = &message->copy[c];
            if (copy->queue != queue || copy->lineage != BOOK_LINEAGE_FIRST || copy->firsts == 0 ||
                book->subscription[copy->subscription].getter || copy->subscription == last) {
                continue;
            }
            for (uint32_t i = 0; i < dones; i++) {
                LP_ASSERT(done[i] != copy->subscription); /* B15: it was another's turn */
            }
            if (last != 0 && dones < LP_COUNT_OF(done)) {
                done[dones++] = last;
            }
            last = copy->subscription;
        }
    }
}

void
book_close(struct book *book)
{
    for (uint32_t i = 0; i < book->publishers; i++) {
        const struct book_publisher *who = &book->publisher[i];
        uint64_t transaction = 0;
        for (uint64_t n = 0; n < who->count; n++) {
            const struct book_message *message = &who->message[n];
            if (message->state == BOOK_CONFIRMED && !message_accounted(book, message)) {
                (void)fprintf(stderr, "publisher %u, message %llu: to %x, handed %x, acked %x\n", i,
                              (unsigned long long)n + 1, message->targets, message->handed,
                              message->acked);
                LP_ASSERT(!"a confirmed message is not accounted for"); /* B13 */
            }
            if (message->state == BOOK_COMMITTING && message->transaction != transaction &&
                message->crashes == book->crashes) {
                transaction = message->transaction;
                transaction_close(book, who, n);
            }
        }
        for (uint32_t q = 0; q < book->queues; q++) {
            if (book->queue[q].sole && book->queue[q].max_priority == BOOK_NONE) {
                sole_close(book, who, q);
            }
        }
    }
}
