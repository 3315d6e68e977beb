/* SPDX-License-Identifier: Apache-2.0 */
#include "control/topology/store_feed.h"

static void
event_append(struct lp_bytebuf *buf, const struct lp_store_event *event)
{
    const uint8_t kind = (uint8_t)event->kind;
    lp_bytebuf_append(buf, &kind, 1);
    lp_bytebuf_append(buf, &event->revision, 8);
    lp_bytebuf_append(buf, &event->key.size, 4);
    lp_bytebuf_append(buf, &event->value.size, 4);
    lp_bytebuf_append(buf, event->key.data, event->key.size);
    lp_bytebuf_append(buf, event->value.data, event->value.size);
}

void
store_feed_fini(struct store_feed *feed)
{
    lp_bytebuf_fini(&feed->pending);
    for (size_t i = 0; i < LP_STORE_HISTORY_MAX; i++) {
        lp_bytebuf_fini(&feed->history[i].events);
    }
    *feed = (struct store_feed){0};
}

void
store_feed_push(struct store_feed *feed, const struct lp_store_event *event)
{
    event_append(&feed->pending, event);
}

void
store_feed_committed(struct store_feed *feed, uint64_t revision, const struct lp_store_op *ops,
                     size_t count)
{
    struct store_batch *batch = &feed->history[revision % LP_STORE_HISTORY_MAX];
    batch->revision = revision;
    batch->events.size = 0;
    for (size_t i = 0; i < count; i++) {
        const struct lp_store_event event = {
            .kind = ops[i].remove ? LP_STORE_DELETE : LP_STORE_PUT,
            .revision = revision,
            .key = ops[i].key,
            .value = ops[i].remove ? lp_bytes_of(NULL, 0) : ops[i].value,
        };
        event_append(&batch->events, &event);
    }
    const struct lp_store_event end = {.kind = LP_STORE_REVISION, .revision = revision};
    event_append(&batch->events, &end);
    if (feed->watching) {
        lp_bytebuf_append(&feed->pending, batch->events.data, batch->events.size);
    }
}

enum lp_err
store_feed_watch(struct store_feed *feed, uint64_t revision, uint64_t now)
{
    if (revision > now || now - revision > LP_STORE_HISTORY_MAX) {
        return LP_ERR_NOT_FOUND;
    }
    for (uint64_t r = revision + 1; r <= now; r++) {
        if (feed->history[r % LP_STORE_HISTORY_MAX].revision != r) {
            return LP_ERR_NOT_FOUND;
        }
    }
    feed->pending.size = 0;
    feed->at = 0;
    feed->watching = true;
    for (uint64_t r = revision + 1; r <= now; r++) {
        const struct lp_bytebuf *events = &feed->history[r % LP_STORE_HISTORY_MAX].events;
        lp_bytebuf_append(&feed->pending, events->data, events->size);
    }
    return LP_OK;
}

enum lp_err
store_feed_next(struct store_feed *feed, struct lp_store_event *ret_event)
{
    if (feed->at == feed->pending.size) {
        feed->at = 0;
        feed->pending.size = 0;
        return LP_ERR_NOT_FOUND;
    }
    struct lp_reader r = lp_reader_of(feed->pending.data + feed->at, feed->pending.size - feed->at);
    ret_event->kind = (enum lp_store_event_kind)lp_reader_u8(&r);
    ret_event->revision = lp_reader_u64le(&r);
    const uint32_t key_bytes = lp_reader_u32le(&r);
    const uint32_t value_bytes = lp_reader_u32le(&r);
    ret_event->key = lp_reader_bytes(&r, key_bytes);
    ret_event->value = lp_reader_bytes(&r, value_bytes);
    LP_ASSERT(!r.failed);
    feed->at = feed->pending.size - lp_reader_left(&r);
    return LP_OK;
}
