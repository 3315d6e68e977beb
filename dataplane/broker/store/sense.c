/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sense.c - what a record says that cannot be so: it is not what was written.
 *
 * Checksums find what the disk did.  These find what they cannot: a record
 * that was whole when somebody wrote what should never have been in it.
 */
#include "dataplane/broker/store/store_private.h"

#include <lepus/protocol.h>

#include "dataplane/broker/annotations.h"

bool
store_item_is(struct lp_store *store, const struct store_item *item, struct lp_log_place place)
{
    return item->record_bytes >= lp_log_record_bytes(sizeof(struct store_message_head)) &&
           item->body_bytes <= item->record_bytes && lp_log_place_before(item->place, place) &&
           lp_log_has(store->log, item->place, item->record_bytes);
}

static bool
page_segments_are(const struct store_page_item *said, struct lp_log_place place)
{
    uint64_t count = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < said->segment_count; i++) {
        if (said->segment[i].segment > place.segment || said->segment[i].count > said->made_count ||
            said->segment[i].bytes / UINT32_MAX > said->segment[i].count) {
            return false;
        }
        count += said->segment[i].count;
        bytes += said->segment[i].bytes;
    }
    return count == said->made_count && said->body_bytes <= bytes;
}

bool
store_page_item_is(struct lp_store *store, const struct store_item *item,
                   const struct store_page_item *said, uint64_t position, struct lp_log_place place)
{
    const uint32_t content_bytes =
        (uint32_t)(sizeof(struct store_page_head) + said->made_count * sizeof(struct store_item));
    return said->segment_count <= LP_STORE_PAGE_SEGMENTS &&
           said->made_count <= LP_STORE_PAGE_ENTRIES && said->hole_count < said->made_count &&
           said->persistent_count <= said->made_count && store_position_is(said->last) &&
           said->last >= position && said->last - position <= UINT32_MAX &&
           item->record_bytes == lp_log_record_bytes(content_bytes) &&
           lp_log_place_before(item->place, place) &&
           lp_log_has(store->log, item->place, item->record_bytes) &&
           page_segments_are(said, item->place);
}

bool
store_message_is(const struct lp_broker *broker, const struct lp_message *message)
{
    return lp_broker_protocol(broker, message->protocol)
               ->well_formed(lp_message_properties(message)) &&
           lp_annotations_are(lp_message_annotations(message));
}
