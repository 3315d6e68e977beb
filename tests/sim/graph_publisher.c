/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph_publisher.c - publishes to the graph's queues, with confirms or in
 * transactions.
 */
#include <stdio.h>

#include "tests/sim/graph.h"
#include "tests/sim/ledger.h"
#include "tests/sim/say.h"

#define BODY_BYTES_MAX (20u * 1024u)
#define WINDOW_MAX     100u

static uint32_t
below(struct graph_publisher *publisher, uint32_t bound)
{
    return scene_below(publisher->graph->scene, bound);
}

static struct graph_publisher *
publisher_of(struct pilot *pilot)
{
    return LP_CONTAINER_OF(pilot, struct graph_publisher, pilot);
}

/* ---- one message ---- */

/* Headers CC and BCC, and an x-death that a client has no business to send (C156). */
static void
headers_write(const struct book_message *message, struct lp_writer *table)
{
    static const char *const names[] = {"CC", "BCC"};
    const uint32_t masks[] = {message->cc, message->bcc};
    for (uint32_t kind = 0; kind < 2; kind++) {
        char text[BOOK_QUEUES_MAX][24];
        const char *texts[BOOK_QUEUES_MAX];
        uint32_t count = 0;
        for (uint32_t i = 0; i < BOOK_QUEUES_MAX; i++) {
            if (masks[kind] >> i & 1) {
                texts[count] = graph_queue_name(i, text[count]);
                count++;
            }
        }
        if (count > 0) {
            table_texts(table, names[kind], texts, count);
        }
    }
    table_text(table, "kept", "as it is");
}

/* Where it goes: to one by the default exchange, to one by a direct one, to all, to nobody. */
static void
message_aim(struct graph_publisher *publisher, struct book_message *message)
{
    const struct graph *graph = publisher->graph;
    const uint32_t queue = below(publisher, graph->book.queues);
    switch (below(publisher, 8)) {
    case 0:
        message->exchange = "x.all";
        message->targets = (1u << graph->book.queues) - 1;
        (void)snprintf(message->key, sizeof(message->key), "any");
        return;
    case 1:
        message->exchange = "x.direct";
        message->targets = 0;
        (void)snprintf(message->key, sizeof(message->key), "nobody");
        break;
    case 2:
    case 3:
    case 4:
        message->exchange = "x.direct";
        message->targets = 1u << queue;
        (void)graph_queue_name(queue, message->key);
        break;
    default:
        message->exchange = "";
        message->targets = 1u << queue;
        (void)graph_queue_name(queue, message->key);
        break;
    }
    if ((graph->features & GRAPH_CC) && below(publisher, 3) == 0) {
        message->cc = below(publisher, 2) << below(publisher, graph->book.queues);
        message->bcc = below(publisher, 2) << below(publisher, graph->book.queues);
        message->targets |= message->cc | message->bcc;
    }
}

static void
publish_one(struct graph_publisher *publisher)
{
    static const int64_t expirations[] = {0, 1, 30, 300, 3000};
    static const uint32_t sizes[] = {0, 100, 100, 3000, BODY_BYTES_MAX - LEDGER_BODY_BYTES_MIN};
    static uint8_t body[BODY_BYTES_MAX]; /* filled before each use */
    struct graph *graph = publisher->graph;
    struct book_message message = {.expiration_ms = BOOK_NONE, .priority = BOOK_NONE};
    uint8_t scratch[512];
    char expiration[24];

    message_aim(publisher, &message);
    message.mandatory = below(publisher, 2) == 0;
    message.headers = message.cc != 0 || message.bcc != 0 || below(publisher, 2) == 0;
    message.state = publisher->transactional ? BOOK_OPEN : BOOK_SENT;
    if ((graph->features & GRAPH_EXPIRATION) && below(publisher, 3) == 0) {
        message.expiration_ms = expirations[below(publisher, LP_COUNT_OF(expirations))];
    }
    message.transient = (graph->features & GRAPH_CRASH) &&
                        (below(publisher, 4) == 0) == !(graph->features & GRAPH_TRANSIENT);
    if ((graph->features & GRAPH_PRIORITY) && below(publisher, 4) > 0) {
        message.priority = below(publisher, 13);
    }
    const uint64_t sequence = book_publish(&graph->book, publisher->publisher, &message);
    const uint32_t bytes =
        LEDGER_BODY_BYTES_MIN + below(publisher, sizes[below(publisher, LP_COUNT_OF(sizes))] + 1);
    ledger_body_write(body, bytes, publisher->publisher, sequence);

    struct lp_writer table = lp_writer_of(scratch, sizeof(scratch));
    headers_write(&message, &table);
    (void)snprintf(expiration, sizeof(expiration), "%lld", (long long)message.expiration_ms);
    const struct sim_message said = {
        .exchange = message.exchange,
        .key = message.key,
        .mandatory = message.mandatory,
        .body = lp_bytes_of(body, bytes),
        .properties = {.has_headers = message.headers,
                       .headers = lp_writer_bytes(&table),
                       .transient = message.transient,
                       .has_priority = message.priority != BOOK_NONE,
                       .priority = (uint8_t)message.priority,
                       .has_expiration = message.expiration_ms != BOOK_NONE,
                       .expiration = lp_bytes_of_text(expiration)},
    };
    sim_publish_message(&publisher->pilot.client, 1, &said);
    publisher->published = sequence;
}

/* ---- its life ---- */

static bool
publisher_script(struct pilot *pilot, uint32_t step)
{
    struct graph_publisher *publisher = publisher_of(pilot);
    struct graph *graph = publisher->graph;
    if (step > 0) {
        return false;
    }
    publisher->publisher = book_publisher_add(&graph->book);
    publisher->published = 0;
    publisher->confirmed_upto = 0;
    publisher->committing = false;
    publisher->uncommitted_from = 1;
    publisher->todo = 20 + below(publisher, 200);
    publisher->transactional = (graph->features & GRAPH_TX) && below(publisher, 2) == 0;
    if (publisher->transactional) {
        say_tx_select(&pilot->client);
    } else {
        say_confirm_select(&pilot->client);
    }
    return true;
}

/* basic.ack or basic.nack of what was published. */
static void
publisher_told(struct graph_publisher *publisher, struct lp_reader *args, bool taken)
{
    struct book *book = &publisher->graph->book;
    const uint64_t tag = lp_reader_u64be(args);
    const bool multiple = lp_reader_u8(args) & 1;
    LP_ASSERT(tag >= 1 && tag <= publisher->published);
    for (uint64_t n = multiple ? publisher->confirmed_upto + 1 : tag; n <= tag; n++) {
        if (taken) {
            book_confirm(book, publisher->publisher, n);
        } else {
            book_refuse(book, publisher->publisher, n);
        }
        scene_note(publisher->graph->scene, taken ? 1 : 2, publisher->publisher, n);
    }
    while (publisher->confirmed_upto < publisher->published) {
        const uint64_t next = publisher->confirmed_upto + 1;
        const uint8_t state = book_message(book, publisher->publisher, next)->state;
        if (state != BOOK_CONFIRMED && state != BOOK_REFUSED) {
            break;
        }
        publisher->confirmed_upto = next;
    }
}

/* C111: a queue refused a message of the transaction; the others are in all the same. */
static void
publisher_refused(struct graph_publisher *publisher, struct lp_reader *args)
{
    struct book *book = &publisher->graph->book;
    bool refuses = false;
    const uint16_t code = lp_reader_u16be(args);
    const struct lp_bytes text = lp_reader_short(args);
    for (uint32_t i = 0; i < book->queues; i++) {
        refuses = refuses || book_refuses(&book->queue[i]);
    }
    LP_ASSERT(code == 406 && publisher->committing && refuses);
    LP_ASSERT(lp_bytes_equal_text(text, "PRECONDITION_FAILED - partial tx completion"));
    publisher->committing = false;
    book_transaction(book, publisher->publisher, publisher->uncommitted_from, BOOK_REFUSED);
    say_channel_close_ok(&publisher->pilot.client);
    pilot_restart(&publisher->pilot);
}

static bool
publisher_method(struct pilot *pilot, uint32_t id, struct lp_reader *args)
{
    struct graph_publisher *publisher = publisher_of(pilot);
    struct book *book = &publisher->graph->book;
    switch (id) {
    case SIM_METHOD(60, 80):
    case SIM_METHOD(60, 120):
        publisher_told(publisher, args, id == SIM_METHOD(60, 80));
        return true;
    case SIM_METHOD(90, 21): /* commit-ok */
        LP_ASSERT(publisher->committing);
        publisher->committing = false;
        book_transaction(book, publisher->publisher, publisher->uncommitted_from, BOOK_CONFIRMED);
        publisher->uncommitted_from = publisher->published + 1;
        return false;
    case SIM_METHOD(90, 31): /* rollback-ok */
        publisher->uncommitted_from = publisher->published + 1;
        return false;
    case SIM_METHOD(20, 40):
        publisher_refused(publisher, args);
        return true;
    default:
        return false;
    }
}

static void
publisher_content(struct pilot *pilot, const struct sim_content *content)
{
    struct graph_publisher *publisher = publisher_of(pilot);
    uint32_t who;
    uint64_t sequence;
    LP_ASSERT(content->method == 50);
    ledger_body_read(content->body, &who, &sequence);
    LP_ASSERT(who == publisher->publisher);
    LP_ASSERT(content->code == 312);
    book_return(&publisher->graph->book, who, sequence);
}

/* End the transaction, one way or the other. */
static void
transaction_end(struct graph_publisher *publisher)
{
    struct book *book = &publisher->graph->book;
    struct pilot *pilot = &publisher->pilot;
    pilot_wait(pilot);
    if (below(publisher, 4) == 0) {
        book_transaction(book, publisher->publisher, publisher->uncommitted_from, BOOK_ROLLED_BACK);
        say_tx_rollback(&pilot->client);
    } else {
        book_transaction(book, publisher->publisher, publisher->uncommitted_from, BOOK_COMMITTING);
        publisher->committing = true;
        say_tx_commit(&pilot->client);
    }
}

static bool
publisher_end(struct graph_publisher *publisher)
{
    const bool open =
        publisher->transactional && publisher->uncommitted_from <= publisher->published;
    if (open) {
        transaction_end(publisher);
        return true;
    }
    if (!publisher->transactional && publisher->confirmed_upto < publisher->published) {
        return false;
    }
    pilot_close(&publisher->pilot);
    return true;
}

static bool
publisher_work(struct pilot *pilot)
{
    struct graph_publisher *publisher = publisher_of(pilot);
    struct scene *scene = publisher->graph->scene;
    if (publisher->graph->draining && publisher->todo > publisher->published) {
        publisher->todo = (uint32_t)publisher->published;
    }
    if (sim_client_backlog(&pilot->client) > 128u * 1024u) {
        return false;
    }
    if (publisher->published >= publisher->todo) {
        return publisher_end(publisher);
    }
    if (publisher->transactional) {
        const uint64_t open = publisher->published + 1 - publisher->uncommitted_from;
        if (open > below(publisher, 60)) {
            transaction_end(publisher);
            return true;
        }
    } else if (publisher->published - publisher->confirmed_upto >= WINDOW_MAX) {
        return false;
    }
    for (uint32_t n = 1 + below(publisher, 8); n > 0 && publisher->published < publisher->todo;
         n--) {
        publish_one(publisher);
    }
    if (below(publisher, 20) == 0) { /* a pause, in which queues empty and messages expire */
        pilot->pause_until_ns =
            scene->now_ns + lp_sim_random_between(&scene->random, 1000000, 100000000);
    }
    return true;
}

/* What was under way stays SENT or COMMITTING: nobody knows; an open transaction never was. */
static void
publisher_gone(struct pilot *pilot)
{
    struct graph_publisher *publisher = publisher_of(pilot);
    if (publisher->transactional && !publisher->committing && pilot->ready &&
        publisher->uncommitted_from <= publisher->published) {
        book_transaction(&publisher->graph->book, publisher->publisher, publisher->uncommitted_from,
                         BOOK_ROLLED_BACK);
    }
    publisher->committing = false;
}

static const struct pilot_ops publisher_ops = {
    .script = publisher_script,
    .work = publisher_work,
    .method = publisher_method,
    .content = publisher_content,
    .gone = publisher_gone,
};

void
graph_publisher_init(struct graph_publisher *publisher, struct graph *graph)
{
    publisher->graph = graph;
    pilot_init(&publisher->pilot, graph->scene, &publisher_ops);
    publisher->pilot.lives = 1 + scene_below(graph->scene, 5);
}
