/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deletions.c - queue.delete: the home shard knows whether the queue is in use
 * or empty, so it is asked before the catalog lets go.
 */
#include <stdlib.h>

#include "control/link/control_internal.h"

void
control_deletion_add(struct lp_control *control, const struct control_deletion *like)
{
    struct control_deletion *deletion = lp_heap_alloc(sizeof(*deletion));
    *deletion = *like;
    deletion->number = control->next_number++;
    lp_map_insert(&control->deletions_by_number, &deletion->by_number,
                  lp_map_hash_number(deletion->number));
    lp_chain_append(&control->deletions, &deletion->link);
}

static void
deletion_free(struct lp_control *control, struct control_deletion *deletion)
{
    if (deletion->sent) {
        control->shards[deletion->home].checks--;
    }
    lp_map_remove(&control->deletions_by_number, &deletion->by_number);
    lp_chain_remove(&deletion->link);
    free(deletion);
}

void
control_deletions_clear(struct lp_control *control)
{
    static const struct control_deleted deleted = {.good = false};
    LP_CHAIN_EACH(link, &control->deletions)
    {
        struct control_deletion *deletion = LP_CONTAINER_OF(link, struct control_deletion, link);
        if (deletion->done) {
            deletion->done(control, deletion->context, &deleted);
        }
        deletion_free(control, deletion);
    }
}

/* In order of asking; a home shard that has enough to answer is passed over. */
void
control_deletions_send(struct lp_control *control)
{
    LP_CHAIN_EACH(link, &control->deletions)
    {
        struct control_deletion *deletion = LP_CONTAINER_OF(link, struct control_deletion, link);
        struct control_shard *home = &control->shards[deletion->home];
        if (deletion->sent || home->checks >= CONTROL_CHECKS_MAX) {
            continue;
        }
        struct lp_writer w = control_writer(control);
        lp_writer_u32le(&w, deletion->queue_id);
        lp_writer_u8(&w, deletion->if_unused);
        lp_writer_u8(&w, deletion->if_empty);
        deletion->sent = true;
        home->checks++;
        control_send(control, deletion->home, LP_CONTROL_DELETE_CHECK, deletion->number,
                     lp_writer_bytes(&w));
    }
}

static struct control_deletion *
deletion_find(const struct lp_control *control, uint64_t number)
{
    struct lp_map_node *node =
        lp_map_first(&control->deletions_by_number, lp_map_hash_number(number));
    for (; node; node = lp_map_next(node)) {
        struct control_deletion *deletion =
            LP_CONTAINER_OF(node, struct control_deletion, by_number);
        if (deletion->number == number) {
            return deletion;
        }
    }
    return NULL;
}

static void
deletion_answer(struct lp_control *control, const struct control_deletion *deletion,
                const struct lp_catalog_queue *refused, const struct control_deleted *deleted)
{
    struct lp_fault fault;
    uint8_t room[4];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    if (refused) {
        const struct lp_resource_text text =
            lp_resource_text(LP_RESOURCE_QUEUE, refused->name, refused->vhost);
        (void)lp_fault_set(&fault, LP_FAULT_PRECONDITION_FAILED, "%s %s", text.text,
                           deleted->verdict == LP_DELETE_IN_USE ? "in use" : "not empty");
    }
    lp_writer_u32le(&w, deleted->count);
    control_answer_put(control, deletion->shard, deletion->sequence, refused ? &fault : NULL,
                       refused ? lp_bytes_of(NULL, 0) : lp_writer_bytes(&w));
}

static void
deletion_decide(struct lp_control *control, const struct control_deletion *deletion,
                struct control_deleted *deleted)
{
    struct lp_catalog_queue *queue = lp_catalog_queue_by_id(control->catalog, deletion->queue_id);
    const bool refused =
        queue && (deleted->verdict == LP_DELETE_IN_USE || deleted->verdict == LP_DELETE_NOT_EMPTY);
    if (!queue) {
        /* Gone meanwhile: as if it had never been (C67). */
        *deleted = (struct control_deleted){.good = true, .verdict = LP_DELETE_UNKNOWN};
    }
    if (!deletion->done) {
        deletion_answer(control, deletion, refused ? queue : NULL, deleted);
    }
    if (queue && !refused) {
        lp_catalog_queue_drop(control->catalog, queue);
    }
    if (deletion->done) {
        deletion->done(control, deletion->context, deleted);
    }
}

void
control_deletion_checked(struct lp_control *control, uint32_t shard, uint64_t number,
                         struct lp_reader *fields)
{
    const uint8_t verdict = lp_reader_u8(fields);
    const uint32_t count = lp_reader_u32le(fields);
    struct control_deletion *deletion = deletion_find(control, number);
    if (fields->failed || verdict > LP_DELETE_UNKNOWN) {
        control_log(control, LP_CONTROL_LOG_ERROR, "malformed check of a deletion from shard %u",
                    shard);
        return;
    }
    if (!deletion || !deletion->sent || deletion->home != shard) {
        return; /* asked before we read the topology again */
    }
    struct control_deleted deleted = {.good = true, .verdict = verdict};
    deleted.count = verdict == LP_DELETE_UNKNOWN ? 0 : count;
    deletion_decide(control, deletion, &deleted);
    deletion_free(control, deletion);
}
