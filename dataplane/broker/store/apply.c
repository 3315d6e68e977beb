/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply.c - recovery: records of the log become what was found.
 *
 * Records of a chain are put aside until the chain is complete; then they are
 * applied in order.  Of messages only what an entry needs is put aside.
 */
#include <string.h>

#include "dataplane/broker/store/store_private.h"

/* What is put aside: this, then `bytes` of content, to 8 bytes, in one block. */
struct pending_head {
    struct lp_log_place place;
    uint32_t content_bytes; /* of the record */
    uint32_t bytes;         /* of it that are here */
    uint32_t kind;
    uint32_t zero;
};

/* ---- putting aside ---- */

static uint32_t
pending_bytes(uint8_t kind, uint32_t content_bytes)
{
    switch (kind) {
    case STORE_MESSAGE:
        return LP_MIN(content_bytes, (uint32_t)sizeof(struct store_message_head));
    case STORE_MORE:
    case STORE_BRIEF:
    case STORE_BRIEF_PAGE:
        return 0;
    default:
        return content_bytes;
    }
}

bool
store_apply(struct lp_store *store, const struct lp_log_record *record)
{
    if (record->kind == 0 || record->kind >= STORE_KIND_COUNT) {
        return false;
    }
    const struct pending_head head = {
        .place = record->place,
        .content_bytes = record->content.size,
        .bytes = pending_bytes(record->kind, record->content.size),
        .kind = record->kind,
    };
    const uint64_t padded = (head.bytes + 7u) & ~7u;
    uint8_t *at = store_blocks_take(store, &store->pending, sizeof(head) + padded);
    if (!at) {
        return false;
    }
    memcpy(at, &head, sizeof(head));
    if (head.bytes > 0) {
        memcpy(at + sizeof(head), record->content.data, head.bytes);
    }
    return true;
}

/* ---- applying ---- */

/* A message whose records have not all come. */
struct message_under_way {
    struct store_message_head head;
    struct store_item item;
    uint64_t left;
};

struct applying {
    struct lp_store *store;
    struct message_under_way message;
    struct lp_log_place end; /* of the record that is being applied */
    bool failed;             /* no memory */
};

/* False: it makes no sense. */
static bool
message_end(struct applying *applying)
{
    const struct store_message_head *head = &applying->message.head;
    applying->message.left = 0;
    if (!store_item_is(applying->store, &applying->message.item, applying->end)) {
        return false;
    }
    struct store_found *found = store_found_get(applying->store, head->queue, true);
    if (!found || !store_found_add(applying->store, found, &applying->message.item, head->position,
                                   head->moved != 0)) {
        applying->failed = true;
    }
    return true;
}

static bool
apply_message(struct applying *applying, const struct pending_head *pending, const uint8_t *data)
{
    struct message_under_way *message = &applying->message;
    if (pending->bytes < sizeof(message->head)) {
        return false;
    }
    memcpy(&message->head, data, sizeof(message->head));
    const struct store_message_head *head = &message->head;
    const uint64_t all = sizeof(*head) + (uint64_t)head->head_bytes + head->annotations_bytes +
                         (uint64_t)head->body_bytes;
    if (pending->content_bytes > all || !store_position_is(head->position)) {
        return false;
    }
    message->left = all - pending->content_bytes;
    message->item = (struct store_item){
        .place = pending->place,
        .record_bytes = (uint32_t)lp_log_record_bytes(pending->content_bytes),
        .body_bytes = head->body_bytes,
        .expires_ms = head->expires_ms,
        .level = head->level,
        .flags = head->flags,
        .returns = head->returns,
    };
    return message->left > 0 || message_end(applying);
}

static bool
apply_more(struct applying *applying, const struct pending_head *pending)
{
    struct message_under_way *message = &applying->message;
    if (pending->content_bytes > message->left) {
        return message->left == 0; /* of one that was given up half-way */
    }
    if (message->left > 0 && pending->place.segment != message->item.place.segment) {
        return false;
    }
    message->left -= pending->content_bytes;
    message->item.record_bytes += (uint32_t)lp_log_record_bytes(pending->content_bytes);
    return message->left > 0 || message_end(applying);
}

static bool
apply_enqueue(struct applying *applying, struct lp_log_place place, struct lp_reader *reader)
{
    struct store_enqueue record;
    const uint8_t *data = lp_reader_take(reader, sizeof(record));
    if (!data) {
        return false;
    }
    memcpy(&record, data, sizeof(record));
    if (!store_position_is(record.position) ||
        !store_item_is(applying->store, &record.item, place)) {
        return false;
    }
    struct store_found *found = store_found_get(applying->store, record.queue, true);
    applying->failed |= !found || !store_found_add(applying->store, found, &record.item,
                                                   record.position, record.moved != 0);
    return true;
}

static bool
apply_acks(struct lp_store *store, struct lp_reader *reader)
{
    struct store_acks record;
    const uint8_t *data = lp_reader_take(reader, sizeof(record));
    if (!data) {
        return false;
    }
    memcpy(&record, data, sizeof(record));
    if (record.count > STORE_ACKS_MAX || !store_positions_are(record.first, record.count)) {
        return false;
    }
    struct store_found *found = store_found_get(store, record.queue, false);
    return !found || store_found_leave(store, found, record.first, record.count);
}

static bool
apply_return(struct lp_store *store, struct lp_log_place place, struct lp_reader *reader)
{
    struct store_enqueue record;
    const uint8_t *data = lp_reader_take(reader, sizeof(record));
    if (!data) {
        return false;
    }
    memcpy(&record, data, sizeof(record));
    if (!store_position_is(record.position) || !store_item_is(store, &record.item, place)) {
        return false;
    }
    struct store_found *found = store_found_get(store, record.queue, false);
    return !found || store_found_return(store, found, &record.item, record.position);
}

static bool
apply_given(struct lp_store *store, struct lp_reader *reader)
{
    struct store_given record;
    const uint8_t *data = lp_reader_take(reader, sizeof(record));
    if (!data) {
        return false;
    }
    memcpy(&record, data, sizeof(record));
    if (record.below > 2 * STORE_POSITION_MAX) {
        return false;
    }
    struct store_found *found = store_found_get(store, record.queue, true);
    if (found) {
        found->given = LP_MAX(found->given, record.below);
    }
    return found != NULL;
}

static bool
apply_drop(struct lp_store *store, struct lp_reader *reader)
{
    const uint32_t queue = lp_reader_u32le(reader);
    struct store_found *found = store_found_get(store, queue, false);
    if (found) {
        store_found_drop(store, found);
    }
    return !reader->failed;
}

static bool
apply_unpage(struct lp_store *store, struct lp_reader *reader)
{
    struct store_unpage record;
    const uint8_t *data = lp_reader_take(reader, sizeof(record));
    if (!data) {
        return false;
    }
    memcpy(&record, data, sizeof(record));
    struct store_found *found = store_found_get(store, record.queue, false);
    if (found) {
        store_found_unpage(store, found, record.first);
    }
    return true;
}

static bool
apply_one(struct applying *applying, const struct pending_head *pending, const uint8_t *data)
{
    struct lp_store *store = applying->store;
    struct lp_reader reader = lp_reader_of(data, pending->bytes);
    applying->end = lp_log_place_behind(pending->place, pending->content_bytes);
    if (pending->kind != STORE_MORE) {
        applying->message.left = 0; /* one that was given up half-way is none */
    }
    switch ((enum store_kind)pending->kind) {
    case STORE_MESSAGE:
        return apply_message(applying, pending, data);
    case STORE_MORE:
        return apply_more(applying, pending);
    case STORE_ENQUEUE:
        return apply_enqueue(applying, pending->place, &reader);
    case STORE_ACKS:
        return apply_acks(store, &reader);
    case STORE_RETURN:
        return apply_return(store, pending->place, &reader);
    case STORE_GIVEN:
        return apply_given(store, &reader);
    case STORE_DROP:
        return apply_drop(store, &reader);
    case STORE_PAGE:
        return store_apply_page(store, pending->place, pending->content_bytes, &reader);
    case STORE_UNPAGE:
        return apply_unpage(store, &reader);
    case STORE_QUEUE:
        return store_apply_queue(store, pending->place, &reader);
    case STORE_BRIEF:
    case STORE_BRIEF_PAGE:
        return true; /* they ended with the run that wrote them */
    case STORE_KIND_COUNT:
        break;
    }
    return false;
}

static bool
apply_block(struct applying *applying, const struct store_block *block)
{
    bool fine = true;
    for (uint32_t at = 0; fine && at < block->used;) {
        struct pending_head head;
        memcpy(&head, block->data + at, sizeof(head));
        fine = apply_one(applying, &head, block->data + at + sizeof(head));
        at += (uint32_t)sizeof(head) + ((head.bytes + 7u) & ~7u);
    }
    return fine;
}

bool
store_apply_commit(struct lp_store *store)
{
    struct store_blocks *pending = &store->pending;
    struct applying applying = {.store = store};
    bool fine = true;
    /* What is applied needs memory itself: what it was made of goes at once. */
    while (fine && pending->first != pending->last) {
        fine = apply_block(&applying, pending->first);
        store_blocks_drop_first(store, pending);
    }
    if (fine && pending->first) {
        fine = apply_block(&applying, pending->first);
        pending->first->used = 0; /* the next batch's */
    }
    store->failed |= !fine || applying.failed;
    return fine && !applying.failed;
}
