/* SPDX-License-Identifier: Apache-2.0 */
/*
 * late.c - messages that wait at an exchange (x-delayed-message), and
 * transactions, while all processes of the node die.
 *
 *   D1  nothing comes before its delay is over, and what comes was published, to that queue
 *   D2  nothing comes twice without the redelivered mark; but what was due, and whose way to its
 *       queue was not on disk yet, goes there again after a crash, as something new
 *   D3  what was confirmed, or committed, comes
 *   D4  what a transaction published to one queue is all there after a crash, or nothing of it
 *   D5  a queue that was declared is there until its delete was said, whatever died meanwhile: a
 *       consumer that hears 404 ends the run
 *   D6  a transient message does not come after its node has died
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/crew.h"
#include "tests/sim/ledger.h"
#include "tests/sim/say.h"
#include "tests/sim/scenario_list.h"

#define QUEUES            3u
#define PUBLISHERS        4u
#define CONSUMERS         2u
#define LETTERS_MAX       4096u
#define LIVES             5u
#define EXCHANGE          "late"
#define DELAY_MAX_MS      4000u
#define QUIET_NS          20000000000u
#define CRASH_ONE_IN      20000u
#define TRANSACTION       20u
#define TRANSACTION_LARGE 250u
#define BODY_BYTES_MAX    8000u
#define BACKLOG_BYTES     (16u * 1024u)

struct letter {
    uint64_t due_ns;
    uint32_t queue;
    uint32_t transaction; /* 0: none */
    uint32_t deaths;      /* of the node, when it was published */
    uint32_t came;        /* how often */
    uint32_t fresh;       /* ... without the mark */
    bool kept;            /* it is persistent */
    bool certain;         /* it was confirmed, or committed */
    bool survived;        /* it came after a crash */
};

struct late_publisher {
    struct pilot pilot;
    struct late *late;
    bool transactional;
    bool committing;
    uint32_t todo;
    uint32_t size; /* of its transactions, more or less */
    uint32_t transaction;
    uint32_t in_transaction;      /* messages */
    uint32_t first;               /* letter of the transaction */
    uint32_t letter[LETTERS_MAX]; /* by delivery tag - 1 of the publishes of this life */
    uint32_t published;
    uint32_t confirmed_upto;
};

struct late_consumer {
    struct pilot pilot;
    struct late *late;
};

struct late {
    struct scene *scene;
    struct crew crew;
    struct late_publisher publisher[PUBLISHERS];
    struct late_consumer consumer[CONSUMERS];
    struct letter letter[LETTERS_MAX];
    uint32_t letters;
    uint32_t transactions;
    uint32_t deleted;
    uint64_t last_ns; /* when something came, or is due, last */
};

static const char *
late_queue(uint32_t queue, char *scratch)
{
    (void)snprintf(scratch, 24, "late%u", queue);
    return scratch;
}

/* ---- publishers ---- */

static struct late_publisher *
publisher_of(struct pilot *pilot)
{
    return LP_CONTAINER_OF(pilot, struct late_publisher, pilot);
}

static bool
publisher_script(struct pilot *pilot, uint32_t step)
{
    struct late_publisher *publisher = publisher_of(pilot);
    if (step > 0) {
        return false;
    }
    publisher->published = 0;
    publisher->confirmed_upto = 0;
    publisher->in_transaction = 0;
    publisher->committing = false;
    publisher->todo = 20 + scene_below(pilot->scene, 100);
    publisher->transactional = scene_below(pilot->scene, 2) == 0;
    publisher->size = TRANSACTION;
    if (publisher->transactional && scene_below(pilot->scene, 2) == 0) { /* more than a batch */
        publisher->size = UINT32_MAX;
        publisher->todo = TRANSACTION_LARGE;
    }
    if (publisher->transactional) {
        say_tx_select(&pilot->client);
    } else {
        say_confirm_select(&pilot->client);
    }
    return true;
}

/* Delayed, but in transactions: there what is delayed does not wait for the commit. */
static void
publish_one(struct late_publisher *publisher)
{
    struct late *late = publisher->late;
    struct scene *scene = late->scene;
    uint8_t table_bytes[64];
    uint8_t body[BODY_BYTES_MAX];
    char name[24];
    const uint32_t number = late->letters++;
    struct letter *letter = &late->letter[number];
    const uint32_t delay_ms =
        publisher->transactional ? 0 : 1 + scene_below(scene, DELAY_MAX_MS) % (1u + number % 4000);
    *letter = (struct letter){
        .due_ns = scene->now_ns + delay_ms * 1000000ull,
        .queue = scene_below(scene, QUEUES),
        .transaction = publisher->transactional ? publisher->transaction : 0,
        .deaths = scene->deaths,
        .kept = publisher->transactional || scene_below(scene, 3) > 0,
    };
    late->last_ns = LP_MAX(late->last_ns, letter->due_ns);
    const uint32_t bytes =
        LEDGER_BODY_BYTES_MIN + scene_below(scene, BODY_BYTES_MAX - LEDGER_BODY_BYTES_MIN);
    ledger_body_write(body, bytes, 0, number);
    struct lp_writer table = lp_writer_of(table_bytes, sizeof(table_bytes));
    table_integer(&table, "x-delay", delay_ms);
    const struct sim_message said = {
        .exchange = EXCHANGE,
        .key = late_queue(letter->queue, name),
        .body = lp_bytes_of(body, bytes),
        .properties = {.has_headers = delay_ms > 0,
                       .headers = lp_writer_bytes(&table),
                       .transient = !letter->kept},
    };
    sim_publish_message(&publisher->pilot.client, 1, &said);
    publisher->letter[publisher->published++] = number;
    publisher->in_transaction++;
    publisher->todo--;
    scene->published++;
}

static bool
publisher_commit(struct late_publisher *publisher)
{
    publisher->committing = true;
    pilot_wait(&publisher->pilot);
    say_tx_commit(&publisher->pilot.client);
    return true;
}

static bool
publisher_work(struct pilot *pilot)
{
    struct late_publisher *publisher = publisher_of(pilot);
    struct late *late = publisher->late;
    const bool full = late->letters == LETTERS_MAX;
    if (publisher->transactional && publisher->in_transaction > 0 &&
        (full || pilot->scene->calm || publisher->todo == 0 ||
         scene_below(pilot->scene, publisher->size) == 0)) {
        return publisher_commit(publisher);
    }
    if (full || pilot->scene->calm || publisher->todo == 0) {
        if (!publisher->transactional && publisher->confirmed_upto < publisher->published) {
            return false; /* D3: it waits for all confirms */
        }
        pilot_close(pilot);
        return true;
    }
    if (publisher->published - publisher->confirmed_upto > 50 && !publisher->transactional) {
        return false;
    }
    if (publisher->in_transaction == 0) {
        publisher->transaction = ++late->transactions;
        publisher->first = publisher->published;
    }
    publish_one(publisher);
    if (scene_below(pilot->scene, 8) == 0) {
        pilot->pause_until_ns = pilot->scene->now_ns + scene_below(pilot->scene, 100000000);
    }
    return true;
}

static void
publisher_told(struct late_publisher *publisher, struct lp_reader *args)
{
    const uint64_t tag = lp_reader_u64be(args);
    const bool multiple = lp_reader_u8(args) & 1;
    LP_ASSERT(tag >= 1 && tag <= publisher->published);
    for (uint64_t n = multiple ? publisher->confirmed_upto + 1 : tag; n <= tag; n++) {
        publisher->late->letter[publisher->letter[n - 1]].certain = true;
        publisher->late->scene->confirmed++;
    }
    while (publisher->confirmed_upto < publisher->published &&
           publisher->late->letter[publisher->letter[publisher->confirmed_upto]].certain) {
        publisher->confirmed_upto++;
    }
}

static bool
publisher_method(struct pilot *pilot, uint32_t id, struct lp_reader *args)
{
    struct late_publisher *publisher = publisher_of(pilot);
    if (id == SIM_METHOD(60, 80)) {
        publisher_told(publisher, args);
        return true;
    }
    LP_ASSERT(id != SIM_METHOD(60, 120)); /* nothing here is refused */
    if (id != SIM_METHOD(90, 21)) {
        return false;
    }
    LP_ASSERT(publisher->committing);
    for (uint32_t i = publisher->first; i < publisher->published; i++) {
        publisher->late->letter[publisher->letter[i]].certain = true;
        publisher->late->scene->confirmed++;
    }
    publisher->committing = false;
    publisher->in_transaction = 0;
    return false;
}

static const struct pilot_ops publisher_ops = {
    .script = publisher_script,
    .work = publisher_work,
    .method = publisher_method,
};

/* ---- consumers ---- */

static bool
consumer_script(struct pilot *pilot, uint32_t step)
{
    char name[24];
    if (step == 0) {
        say_qos(&pilot->client, (uint16_t)(1 + scene_below(pilot->scene, 30)), false);
        return true;
    }
    if (step <= QUEUES) {
        char tag[24];
        (void)snprintf(tag, sizeof(tag), "c%u", step);
        say_consume(&pilot->client, late_queue(step - 1, name), tag, false);
        return true;
    }
    return false;
}

static void
consumer_content(struct pilot *pilot, const struct sim_content *content)
{
    struct late *late = LP_CONTAINER_OF(pilot, struct late_consumer, pilot)->late;
    struct scene *scene = late->scene;
    uint32_t none;
    uint64_t number;
    char name[24];
    ledger_body_read(content->body, &none, &number);
    LP_ASSERT(number < late->letters);
    struct letter *letter = &late->letter[number];
    LP_ASSERT(lp_bytes_equal_text(content->key, late_queue(letter->queue, name))); /* D1 */
    LP_ASSERT(scene->now_ns >= letter->due_ns);                                    /* D1 */
    LP_ASSERT(letter->kept || pilot->deaths == letter->deaths);                    /* D6 */
    letter->came++;
    letter->fresh += !content->redelivered;
    const uint32_t again = letter->transaction == 0 ? scene->deaths - letter->deaths : 0;
    LP_ASSERT(letter->fresh <= 1 + again);              /* D2 */
    letter->survived |= pilot->deaths > letter->deaths; /* this life of the node had it */
    late->last_ns = LP_MAX(late->last_ns, scene->now_ns);
    scene->delivered++;
    scene->redelivered += content->redelivered;
    scene_note(scene, 1, number, content->redelivered);
    if (scene_below(scene, 10) == 0) {
        say_reject(&pilot->client, content->delivery_tag, true);
    } else {
        say_ack(&pilot->client, content->delivery_tag, false);
    }
}

static bool
publishers_finished(const struct late *late)
{
    return crew_finished(&late->crew, 0, PUBLISHERS);
}

/* Nothing has come for long, and nothing is due. */
static bool
consumer_work(struct pilot *pilot)
{
    const struct late *late = LP_CONTAINER_OF(pilot, struct late_consumer, pilot)->late;
    if (!pilot->scene->calm || !publishers_finished(late)) {
        return false;
    }
    if (pilot->scene->now_ns < late->last_ns + QUIET_NS) {
        pilot->pause_until_ns = late->last_ns + QUIET_NS;
        return false;
    }
    pilot_leave(pilot);
    return true;
}

static const struct pilot_ops consumer_ops = {
    .script = consumer_script,
    .work = consumer_work,
    .content = consumer_content,
};

/* ---- who makes what there is ---- */

static bool
maker_script(struct pilot *pilot, uint32_t step)
{
    uint8_t scratch[64];
    char name[24];
    if (step == 0) {
        struct lp_writer table = lp_writer_of(scratch, sizeof(scratch));
        table_text(&table, "x-delayed-type", "direct");
        say_exchange_declare_with(&pilot->client, EXCHANGE, "x-delayed-message",
                                  lp_writer_bytes(&table));
    } else if (step <= QUEUES) {
        say_queue_declare(&pilot->client, late_queue(step - 1, name), 2);
    } else if (step <= 2 * QUEUES) {
        (void)late_queue(step - QUEUES - 1, name);
        say_queue_bind(&pilot->client, name, EXCHANGE, name);
    } else {
        return false;
    }
    return true;
}

static bool
maker_work(struct pilot *pilot)
{
    struct late *late = LP_CONTAINER_OF(pilot, struct late, crew.maker);
    char name[24];
    pilot->scene->set_up = true;
    if (!pilot->scene->calm || !crew_finished(&late->crew, 0, PUBLISHERS + CONSUMERS)) {
        return false;
    }
    if (late->deleted < QUEUES) {
        pilot_wait(pilot);
        say_queue_delete(&pilot->client, late_queue(late->deleted++, name));
    } else if (late->deleted == QUEUES) {
        pilot_wait(pilot);
        late->deleted++;
        say_exchange_delete(&pilot->client, EXCHANGE);
    } else {
        pilot_leave(pilot);
    }
    return true;
}

static const struct pilot_ops maker_ops = {
    .script = maker_script,
    .work = maker_work,
};

/* ---- the scenario ---- */

static void *
late_open(struct scene *scene, uint32_t flavour)
{
    struct late *late = calloc(1, sizeof(*late));
    LP_ASSERT(late);
    (void)flavour;
    late->scene = scene;
    crew_init(&late->crew, scene, &maker_ops, LIVES_ENOUGH);
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        struct late_publisher *publisher = &late->publisher[i];
        publisher->late = late;
        crew_add(&late->crew, &publisher->pilot, &publisher_ops, 1 + scene_below(scene, LIVES));
    }
    for (uint32_t i = 0; i < CONSUMERS; i++) {
        late->consumer[i].late = late;
        crew_add(&late->crew, &late->consumer[i].pilot, &consumer_ops, LIVES_ENOUGH);
    }
    return late;
}

static bool
late_step(void *self)
{
    struct late *late = self;
    return pilot_act(crew_pick(&late->crew));
}

static bool
late_done(const void *self)
{
    return publishers_finished(self);
}

static void
late_drain(void *self)
{
    struct late *late = self;
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        late->publisher[i].pilot.lives = 0;
    }
}

static bool
late_drained(const void *self)
{
    const struct late *late = self;
    return pilot_away(&late->crew.maker) && late->deleted > QUEUES;
}

/* Of the transaction's messages to that queue: has any come after a crash, and have all come? */
static void
transaction_check(const struct late *late, uint32_t transaction, uint32_t queue)
{
    bool survived = false;
    bool all = true;
    for (uint32_t i = 0; i < late->letters; i++) {
        const struct letter *letter = &late->letter[i];
        if (letter->transaction == transaction && letter->queue == queue) {
            survived |= letter->survived;
            all = all && letter->came > 0;
        }
    }
    LP_ASSERT(!survived || all); /* D4 */
}

static void
late_finish(void *self)
{
    const struct late *late = self;
    for (uint32_t i = 0; i < late->letters; i++) {
        const struct letter *letter = &late->letter[i];
        const bool outlives = letter->kept || letter->deaths == late->scene->deaths;
        LP_ASSERT(!letter->certain || !outlives || letter->came > 0); /* D3 */
    }
    for (uint32_t i = 1; i <= late->transactions; i++) {
        for (uint32_t queue = 0; queue < QUEUES; queue++) {
            transaction_check(late, i, queue);
        }
    }
}

static void
late_close(void *self)
{
    struct late *late = self;
    crew_fini(&late->crew);
    free(late);
}

const struct scenario scenario_late = {
    .name = "late",
    .disk = true,
    .backlog_bytes = BACKLOG_BYTES,
    .deaths = CRASH_ONE_IN,
    .open = late_open,
    .step = late_step,
    .done = late_done,
    .drain = late_drain,
    .drained = late_drained,
    .finish = late_finish,
    .close = late_close,
};
