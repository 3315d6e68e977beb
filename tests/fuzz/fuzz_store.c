/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shard comes up over a log that is whole, and whose records say anything:
 * it opens, or says what is damaged; what it found there is given to clients,
 * dies, is delayed, paged and moved; and what was written then comes up again.
 *
 * The input is a byte of flags and then records: a byte of a kind and STEP_...
 * flags, the length in two bytes, content.  With STEP_FIX what the content says
 * of places is made right: a segment number below the number of records so
 * far is the place of that record.
 */
#include "tests/fuzz/long_life.h"
#include "tests/unit/shard/store_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEP_KIND  0x0fu
#define STEP_FIX   0x10u
#define STEP_LARGE 0x20u /* 64 KiB of zeros behind it */
#define STEP_CHAIN 0x40u /* the batch ends, and continues with the next record */
#define STEP_SEAL  0x80u /* the batch ends */

#define FUZZ_PRIORITIES 0x01u
#define FUZZ_SMALL      0x02u /* nothing stays in memory */
#define FUZZ_KILL       0x04u /* no clean end */
#define FUZZ_FAR        0x08u /* years pass */
#define FUZZ_LITTLE     0x10u /* of memory */

#define RECORDS_MAX      400u
#define LARGE_BYTES      65536u
#define LOG_MEMORY_BYTES (8u << 20)
#define MEMORY_BYTES     (8u << 20)
#define LITTLE_BYTES     (6u << 20)
#define SEGMENT_BYTES    (256u << 10)
#define ROUNDS           6u
#define SETTLED_MAX      4096u

/* What was written, so that others can speak of it. */
struct written {
    struct lp_log_place place;
    uint32_t record_bytes; /* of all records of a message */
    struct store_page_item page;
};

struct run {
    struct store_rig store;
    struct lp_memory *memory; /* of the log that is written */
    struct lp_log *log;
    struct written written[RECORDS_MAX];
    uint32_t count;
    bool open;
    uint8_t flags;
};

/* --- the log ------------------------------------------------------------- */

static bool
hook_record(void *context, const struct lp_log_record *record)
{
    (void)context;
    (void)record;
    return true;
}

static bool
hook_commit(void *context)
{
    (void)context;
    return true;
}

static void
hook_read(void *context, uint64_t user, struct lp_bytes data, const struct lp_log_fault *fault)
{
    (void)context;
    (void)user;
    (void)data;
    (void)fault;
}

static void
log_turns(struct run *run)
{
    for (uint32_t i = 0; i < 64; i++) {
        lp_log_flush(run->log);
        lp_mem_disk_complete_all(&run->store.disk);
        (void)lp_log_step(run->log);
    }
}

static void
log_open(struct run *run, void *memory)
{
    memset(memory, 0, LOG_MEMORY_BYTES);
    enum lp_err err = lp_memory_init_boot(memory, LOG_MEMORY_BYTES, LOG_MEMORY_BYTES, &run->memory);
    LP_ASSERT(err == LP_OK);
    const struct lp_log_options options = {
        .disk = lp_mem_disk_contract(&run->store.disk),
        .memory = run->memory,
        .salt = 7,
        .segment_bytes = SEGMENT_BYTES,
        .segment_bytes_first = SEGMENT_BYTES,
        .hooks = {hook_record, hook_commit, hook_read, run},
    };
    err = lp_log_init_boot(&options, &run->log);
    LP_ASSERT(err == LP_OK);
    log_turns(run);
    LP_ASSERT(lp_log_state(run->log) == LP_LOG_OPEN);
}

static void
log_close(struct run *run)
{
    log_turns(run);
    lp_log_fini(&run->log);
    lp_memory_fini(&run->memory);
}

static void
log_seal(struct run *run, bool continues)
{
    if (run->open) {
        (void)lp_log_seal(run->log, continues);
        run->open = false;
    }
}

/* False: it does not fit. */
static bool
log_room(struct run *run, uint32_t bytes)
{
    if (run->open && lp_log_room(run->log) < bytes) {
        log_seal(run, true);
    }
    for (uint32_t i = 0; !run->open && i < 8; i++) {
        run->open = lp_log_begin(run->log, bytes);
        if (!run->open) {
            log_turns(run);
        }
    }
    return run->open && lp_log_room(run->log) >= bytes;
}

/* --- records that make sense --------------------------------------------- */

/* So much of a content that there is; the rest of it stays as it is. */
struct fixing {
    uint8_t *data;
    uint32_t bytes;
};

static bool
fix_get(struct fixing content, uint32_t at, void *ret, size_t bytes)
{
    if (at + bytes > content.bytes) {
        return false;
    }
    memcpy(ret, content.data + at, bytes);
    return true;
}

static const struct written *
fix_written(const struct run *run, uint32_t number)
{
    return number < run->count ? &run->written[number] : NULL;
}

/* False: there is none. */
static bool
fix_item(const struct run *run, struct fixing content, uint32_t at, struct store_item *ret_item)
{
    if (!fix_get(content, at, ret_item, sizeof(*ret_item))) {
        return false;
    }
    const struct written *written = fix_written(run, ret_item->place.segment);
    if (written) {
        ret_item->place = written->place;
        ret_item->record_bytes =
            ret_item->record_bytes == 0 ? written->record_bytes : ret_item->record_bytes;
        memcpy(content.data + at, ret_item, sizeof(*ret_item));
    }
    return true;
}

/* What a QUEUE would say of the page. */
static void
page_note(struct store_page_item *page, const struct store_item *item, uint64_t first)
{
    uint32_t i = 0;
    while (i < page->segment_count && page->segment[i].segment != item->place.segment) {
        i++;
    }
    if (i == LP_STORE_PAGE_SEGMENTS) {
        return;
    }
    page->segment_count = LP_MAX(page->segment_count, i + 1);
    page->segment[i].segment = item->place.segment;
    page->segment[i].count++;
    page->segment[i].bytes += item->record_bytes;
    page->last = first + item->position_low;
    page->body_bytes += item->body_bytes;
    page->made_count++;
    page->persistent_count += (item->flags & LP_ENTRY_PERSISTENT) != 0;
}

static void
fix_page(const struct run *run, struct fixing content, struct store_page_item *page)
{
    struct store_page_head head;
    struct store_item item;
    uint32_t at = sizeof(head);
    if (!fix_get(content, 0, &head, sizeof(head))) {
        return;
    }
    for (; fix_item(run, content, at, &item); at += sizeof(item)) {
        page_note(page, &item, head.first);
    }
}

static void
fix_queue(const struct run *run, struct fixing content)
{
    uint32_t at = sizeof(struct store_queue_head);
    struct store_item item;
    struct store_page_item page;
    while (at + sizeof(uint64_t) < content.bytes) {
        at += sizeof(uint64_t);
        uint32_t number = UINT32_MAX;
        (void)fix_get(content, at, &number, sizeof(number));
        if (!fix_item(run, content, at, &item)) {
            return;
        }
        at += sizeof(item);
        if ((item.flags & LP_ENTRY_PAGE) == 0) {
            continue;
        }
        if (!fix_get(content, at, &page, sizeof(page))) {
            return;
        }
        const uint32_t holes = page.hole_count;
        const struct written *written = fix_written(run, number);
        if (written && page.made_count == 0) {
            page = written->page;
            page.hole_count = holes;
            memcpy(content.data + at, &page, sizeof(page));
        }
        at += (uint32_t)sizeof(page) + LP_MIN(holes, 4096u) * (uint32_t)sizeof(uint64_t);
    }
}

static void
fix(struct run *run, uint8_t kind, struct fixing content, struct written *written)
{
    struct store_item item;
    if (kind == STORE_ENQUEUE || kind == STORE_RETURN) {
        (void)fix_item(run, content, offsetof(struct store_enqueue, item), &item);
    } else if (kind == STORE_PAGE) {
        fix_page(run, content, &written->page);
    } else if (kind == STORE_QUEUE) {
        fix_queue(run, content);
    }
}

/* --- what the input says -------------------------------------------------- */

/* False: it is over. */
static bool
record_write(struct run *run, struct lp_reader *reader)
{
    const uint8_t step = lp_reader_u8(reader);
    const uint32_t length = lp_reader_u16le(reader);
    const uint8_t kind = step & STEP_KIND;
    const struct lp_bytes said =
        lp_reader_bytes(reader, (uint32_t)LP_MIN(length, lp_reader_left(reader)));
    const uint32_t bytes = said.size + (step & STEP_LARGE ? LARGE_BYTES : 0);
    if (reader->failed || kind == 0 || !log_room(run, bytes)) {
        return false;
    }
    struct written *written = &run->written[run->count];
    uint8_t *at = lp_log_record(run->log, kind, bytes, &written->place);
    memset(at, 0, bytes);
    if (said.size > 0) {
        memcpy(at, said.data, said.size);
    }
    if (step & STEP_FIX) {
        fix(run, kind, (struct fixing){at, bytes}, written);
    }
    written->record_bytes = (uint32_t)lp_log_record_bytes(bytes);
    for (uint32_t i = run->count; kind == STORE_MORE && i > 0; i--) {
        if (run->written[i - 1].page.last != UINT64_MAX) { /* its message */
            run->written[i - 1].record_bytes += written->record_bytes;
            written->page.last = UINT64_MAX;
            break;
        }
    }
    run->count++;
    if (step & (STEP_SEAL | STEP_CHAIN)) {
        log_seal(run, (step & STEP_SEAL) == 0);
    }
    return true;
}

static void
log_write(struct run *run, struct lp_reader *reader)
{
    void *memory = aligned_alloc(LP_SPAN_BYTES, LOG_MEMORY_BYTES);
    LP_ASSERT(memory);
    log_open(run, memory);
    while (run->count < RECORDS_MAX && lp_reader_left(reader) > 0 && record_write(run, reader)) {
    }
    if (!run->open) { /* a chain has an end */
        (void)log_room(run, 0);
    }
    log_seal(run, false);
    log_close(run);
    free(memory);
}

/* --- clients -------------------------------------------------------------- */

struct fuzz_client {
    struct rig_client client; /* first: what is not noted here is its */
    uint64_t numbers[SETTLED_MAX];
    uint32_t count;
};

static bool
fuzz_can_deliver(void *owner, const struct lp_message *message)
{
    (void)owner;
    (void)message;
    return true;
}

static void
fuzz_note(struct fuzz_client *client, const struct lp_delivery *delivery)
{
    struct lp_message_body body = lp_message_body(delivery->message);
    uint64_t bytes = 0;
    struct lp_bytes piece;
    while ((piece = lp_message_body_next(&body, UINT32_MAX)).size > 0) {
        bytes += piece.size;
    }
    LP_ASSERT(bytes == delivery->message->body_bytes);
    if (client->count < SETTLED_MAX) {
        client->numbers[client->count++] = delivery->number;
    }
}

static void
fuzz_deliver(void *owner, const struct lp_delivery *delivery)
{
    fuzz_note(owner, delivery);
}

static void
fuzz_got(void *owner, const struct lp_delivery *delivery, uint16_t code)
{
    (void)code;
    if (delivery) {
        fuzz_note(owner, delivery);
    }
}

/* NULL: there is no memory. */
static struct fuzz_client *
fuzz_open(struct run *run)
{
    static struct lp_session_ops ops;
    ops = client_ops;
    ops.can_deliver = fuzz_can_deliver;
    ops.deliver = fuzz_deliver;
    ops.got = fuzz_got;
    struct rig *rig = &run->store.rig;
    struct fuzz_client *client = calloc(1, sizeof(*client));
    LP_ASSERT(client);
    client->client.rig = rig;
    client->client.session =
        lp_session_open(store_broker(&run->store), &ops, client, (uint64_t)1 << 48);
    if (!client->client.session) {
        free(client);
        return NULL;
    }
    return client;
}

static void
fuzz_consume(struct fuzz_client *client, const char *queue, uint32_t prefetch)
{
    struct lp_consumer *consumer = NULL;
    const struct lp_consume consume = {
        .queue = client_queue(&client->client, queue), .prefetch = prefetch, .user = client};
    (void)lp_session_consume(client->client.session, &consume, &consumer);
    rig_settle(client->client.rig);
}

/* A round: what came is taken, comes back, or dies. */
static void
fuzz_settle(struct fuzz_client *client, uint32_t round)
{
    static const enum lp_settle outcomes[] = {LP_SETTLE_ACK, LP_SETTLE_REQUEUE, LP_SETTLE_DISCARD};
    const uint32_t count = client->count;
    client->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        (void)lp_session_settle(client->client.session, client->numbers[i], false,
                                outcomes[(i + round) % LP_COUNT_OF(outcomes)]);
    }
    rig_settle(client->client.rig);
    lp_store_check(client_broker(&client->client));
}

static void
fuzz_send(struct run *run, struct fuzz_client *client, uint64_t value)
{
    const struct rig_extras extras = {.flags = LP_MESSAGE_PERSISTENT};
    if (lp_memory_pressed(store_broker(&run->store)->memory)) {
        return;
    }
    client_send_with(&client->client, value % 2 == 0 ? "q" : "quorum", value, &extras);
    rig_settle(&run->store.rig);
}

/* --- the shard ------------------------------------------------------------ */

static bool
shard_is_open(const struct run *run)
{
    return lp_log_state(store_of(&run->store)->log) == LP_LOG_OPEN;
}

static void
shard_start(struct run *run)
{
    struct store_rig *store = &run->store;
    rig_boot(&store->rig, 1, store->memory_bytes);
    store_control_say(store, LP_CONTROL_SYNC_BEGIN);
    rig_vhost_up(&store->rig);
    rig_exchange_up(&store->rig, 1, "", LP_EXCHANGE_DIRECT);
    rig_exchange_up(&store->rig, 2, "fan", LP_EXCHANGE_FANOUT);
    for (uint32_t i = 0; i < store->queue_count; i++) {
        store_queue_up(store, &store->queue[i]);
    }
    store_control_say(store, LP_CONTROL_SYNC_END);
    rig_settle(&store->rig);
    if (shard_is_open(run)) {
        lp_store_check(store_broker(store));
    }
}

static void
shard_stop(struct run *run)
{
    lp_mem_disk_drop(&run->store.disk);
    rig_free(&run->store.rig);
}

static void
shard_time_passes(struct run *run)
{
    const uint64_t passed_ns = run->flags & FUZZ_FAR ? 1ull << 60 : 2000000000u;
    run->store.rig.now_ns += passed_ns;
    run->store.rig.wall_ns += passed_ns;
    rig_settle(&run->store.rig);
}

static void
shard_play(struct run *run)
{
    struct fuzz_client *client = fuzz_open(run);
    if (!client) {
        return;
    }
    fuzz_send(run, client, 1);
    fuzz_send(run, client, 2);
    fuzz_consume(client, "q", 5);
    fuzz_consume(client, "quorum", 0);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        fuzz_settle(client, round);
        if (round % 2 == 1) {
            shard_time_passes(run);
        }
    }
    fuzz_send(run, client, 3);
    if (run->flags & FUZZ_KILL) {
        free(client);
        return;
    }
    (void)lp_session_purge(client->client.session, client_queue(&client->client, "q"));
    rig_settle(&run->store.rig);
    lp_session_close(client->client.session);
    rig_settle(&run->store.rig);
    LP_ASSERT(client->client.closed == 1);
    free(client);
    lp_store_close_begin(store_broker(&run->store));
    rig_settle(&run->store.rig);
}

/* Nothing of it is left, and nothing is counted. */
static void
shard_empty(struct run *run)
{
    struct store_rig *store = &run->store;
    for (uint32_t i = 0; i < store->queue_count; i++) {
        rig_queue_down(&store->rig, store->queue[i].id);
    }
    rig_settle(&store->rig);
    LP_ASSERT(lp_delay_count(&store_broker(store)->delay) > 0 ||
              store_of(store)->resident_bytes == 0);
}

static void
run_open(struct run *run, uint8_t flags)
{
    struct store_rig *store = &run->store;
    store_open(store);
    run->flags = flags;
    store->rig.log_segment_bytes = SEGMENT_BYTES;
    store->rig.log_backlog_bytes = flags & FUZZ_SMALL ? 1 : 1ull << 40;
    store->memory_bytes = flags & FUZZ_LITTLE ? LITTLE_BYTES : MEMORY_BYTES;
    struct lp_queue_settings *settings = &store->queue[0].settings;
    settings->max_priority = flags & FUZZ_PRIORITIES ? 4 : 0;
    settings->dead_letters = true;
    settings->dead_letter_exchange = lp_bytes_of_text("");
    settings->has_dead_letter_key = true;
    settings->dead_letter_key = lp_bytes_of_text("quorum");
    struct store_queue *quorum = store_queue_add(store, "quorum");
    quorum->type = "quorum";
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run *run = calloc(1, sizeof(*run));
    LP_ASSERT(run);
    struct lp_reader reader = lp_reader_of(data, size);
    run_open(run, lp_reader_u8(&reader));
    log_write(run, &reader);
    shard_start(run);
    if (shard_is_open(run)) {
        shard_play(run);
        shard_stop(run);
        shard_start(run);
        LP_ASSERT(shard_is_open(run));
        shard_empty(run);
    } else {
        const struct lp_log_fault *fault = lp_log_fault(store_of(&run->store)->log);
        LP_ASSERT(fault && fault->err != LP_OK && fault->what);
    }
    shard_stop(run);
    lp_mem_disk_fini(&run->store.disk);
    free(run);
    return 0;
}
