/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/ledger.h"

#include <stdlib.h>

static void
ledger_digest(struct ledger *ledger, uint64_t what, uint64_t a, uint64_t b)
{
    uint64_t x = ledger->digest ^ (what * 0x9e3779b97f4a7c15u) ^ (a << 32) ^ b;
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    ledger->digest = x * 0x94d049bb133111ebu + 1;
}

void
ledger_init(struct ledger *ledger)
{
    memset(ledger, 0, sizeof(*ledger));
}

void
ledger_fini(struct ledger *ledger)
{
    for (uint32_t i = 0; i < ledger->count; i++) {
        free(ledger->publisher[i].message);
    }
    free(ledger->publisher);
}

uint32_t
ledger_publisher_add(struct ledger *ledger)
{
    if (ledger->count == ledger->room) {
        ledger->room = ledger->room * 2 + 8;
        ledger->publisher = realloc(ledger->publisher, ledger->room * sizeof(*ledger->publisher));
        LP_ASSERT(ledger->publisher);
    }
    memset(&ledger->publisher[ledger->count], 0, sizeof(*ledger->publisher));
    return ledger->count++;
}

uint64_t
ledger_publish(struct ledger *ledger, uint32_t publisher, uint32_t targets, bool mandatory)
{
    struct ledger_publisher *who = &ledger->publisher[publisher];
    if (who->count == who->room) {
        who->room = who->room * 2 + 64;
        who->message = realloc(who->message, who->room * sizeof(*who->message));
        LP_ASSERT(who->message);
    }
    who->message[who->count] = (struct ledger_message){.targets = targets, .mandatory = mandatory};
    ledger_digest(ledger, 1, publisher, who->count);
    return ++who->count;
}

static struct ledger_message *
ledger_message(struct ledger *ledger, uint32_t publisher, uint64_t sequence)
{
    LP_ASSERT(publisher < ledger->count);
    struct ledger_publisher *who = &ledger->publisher[publisher];
    LP_ASSERT(sequence >= 1 && sequence <= who->count); /* L1 */
    return &who->message[sequence - 1];
}

void
ledger_confirm(struct ledger *ledger, uint32_t publisher, uint64_t sequence)
{
    struct ledger_message *message = ledger_message(ledger, publisher, sequence);
    if (message->confirmed) {
        return; /* covered by a later "multiple" as well */
    }
    if (message->mandatory && message->targets == 0) {
        LP_ASSERT(message->returned); /* L5 */
    }
    message->confirmed = true;
    ledger->confirmed++;
    ledger_digest(ledger, 2, publisher, sequence);
}

void
ledger_return(struct ledger *ledger, uint32_t publisher, uint64_t sequence)
{
    struct ledger_message *message = ledger_message(ledger, publisher, sequence);
    LP_ASSERT(message->mandatory);
    LP_ASSERT(message->targets == 0);
    LP_ASSERT(!message->returned && !message->confirmed); /* L5 */
    message->returned = true;
    ledger_digest(ledger, 3, publisher, sequence);
}

void
ledger_deliver(struct ledger *ledger, const struct ledger_delivery *delivery, uint64_t *last_first)
{
    struct ledger_message *message =
        ledger_message(ledger, delivery->publisher, delivery->sequence);
    const uint32_t bit = 1u << delivery->queue;
    LP_ASSERT(message->targets & bit); /* L1 */
    if (message->settled & bit) {
        LP_ASSERT(delivery->connected_ns <= message->settled_ns); /* L4 */
    }
    if (!delivery->redelivered) {
        LP_ASSERT(!(message->first & bit));          /* L3 */
        LP_ASSERT(delivery->sequence > *last_first); /* L2 */
        *last_first = delivery->sequence;
        message->first |= bit;
    } else {
        ledger->redelivered++;
    }
    message->handed |= bit;
    ledger->delivered++;
    ledger_digest(ledger, 4 + delivery->queue, delivery->publisher,
                  delivery->sequence * 2 + delivery->redelivered);
}

void
ledger_settled(struct ledger *ledger, const struct ledger_delivery *delivery, uint64_t now_ns)
{
    struct ledger_message *message =
        ledger_message(ledger, delivery->publisher, delivery->sequence);
    message->settled |= 1u << delivery->queue;
    message->settled_ns = now_ns;
}

void
ledger_close(const struct ledger *ledger)
{
    for (uint32_t i = 0; i < ledger->count; i++) {
        const struct ledger_publisher *who = &ledger->publisher[i];
        for (uint64_t n = 0; n < who->count; n++) {
            const struct ledger_message *message = &who->message[n];
            if (message->confirmed) {
                LP_ASSERT((message->targets & ~message->handed & ~ledger->lossy) == 0); /* L6 */
            }
        }
    }
}

/* ---- bodies ---- */

static uint8_t
body_byte(uint32_t publisher, uint64_t sequence, uint32_t at)
{
    return (uint8_t)(publisher * 31u + (uint32_t)sequence * 7u + at * 13u);
}

void
ledger_body_write(uint8_t *body, uint32_t bytes, uint32_t publisher, uint64_t sequence)
{
    struct lp_writer writer = lp_writer_of(body, bytes);
    lp_writer_u32le(&writer, publisher);
    lp_writer_u64le(&writer, sequence);
    lp_writer_u32le(&writer, bytes);
    for (uint32_t at = LEDGER_BODY_BYTES_MIN; at < bytes; at++) {
        body[at] = body_byte(publisher, sequence, at);
    }
}

void
ledger_body_read(struct lp_bytes body, uint32_t *ret_publisher, uint64_t *ret_sequence)
{
    struct lp_reader reader = lp_reader_of_bytes(body);
    const uint32_t publisher = lp_reader_u32le(&reader);
    const uint64_t sequence = lp_reader_u64le(&reader);
    LP_ASSERT(lp_reader_u32le(&reader) == body.size); /* L1 */
    LP_ASSERT(!reader.failed);
    for (uint32_t at = LEDGER_BODY_BYTES_MIN; at < body.size; at++) {
        LP_ASSERT(body.data[at] == body_byte(publisher, sequence, at)); /* L1 */
    }
    *ret_publisher = publisher;
    *ret_sequence = sequence;
}
