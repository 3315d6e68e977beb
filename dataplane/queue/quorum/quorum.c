/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quorum.c - a quorum queue of one replica, in memory.
 *
 * What comes back is a queue of its own, in the order of return, and is served
 * first (C130).  The others are of two priorities: above 4, and the rest; of the
 * first come two for one of the second, and more while they are the older ones
 * (C159).
 */
#include "dataplane/queue/engine/engine.h"

/* What RabbitMQ 4.0 takes for a high priority, and how many of them come in a row. */
#define PRIORITY_NORMAL_MAX 4u
#define HIGH_IN_A_ROW       2u
/* RabbitMQ's: deliveries to a consumer without a prefetch that may be unacknowledged. */
#define PREFETCH_MAX 2000u

enum quorum_level {
    QUORUM_NORMAL,
    QUORUM_HIGH,
    QUORUM_LEVELS,
};

struct quorum_queue {
    struct lp_engine engine;
    struct lp_list returned;             /* lp_entry.link */
    struct lp_list fresh[QUORUM_LEVELS]; /* lp_entry.link */
    uint32_t turn;                       /* fresh ones taken, modulo three */
};

static struct quorum_queue *
quorum_of(struct lp_engine *engine)
{
    return LP_CONTAINER_OF(engine, struct quorum_queue, engine);
}

static const struct quorum_queue *
quorum_of_const(const struct lp_engine *engine)
{
    return (const struct quorum_queue *)(const void *)((const char *)engine -
                                                       offsetof(struct quorum_queue, engine));
}

/* ---- order ---- */

static bool
quorum_level_for(struct lp_engine *engine, uint64_t priority, uint8_t *ret_level)
{
    (void)engine;
    *ret_level = priority > PRIORITY_NORMAL_MAX ? QUORUM_HIGH : QUORUM_NORMAL;
    return true;
}

static void
quorum_add(struct lp_engine *engine, struct lp_entry *entry)
{
    LP_ASSERT(entry->level < QUORUM_LEVELS);
    lp_list_push_back(&quorum_of(engine)->fresh[entry->level], &entry->link);
}

static void
quorum_add_returned(struct lp_engine *engine, struct lp_entry *entry)
{
    lp_list_push_back(&quorum_of(engine)->returned, &entry->link);
}

static struct lp_entry *
quorum_first(const struct lp_list *list)
{
    return lp_list_empty(list) ? NULL : LP_LIST_ITEM(list->next, struct lp_entry, link);
}

static struct lp_entry *
quorum_peek(const struct lp_engine *engine)
{
    const struct quorum_queue *quorum = quorum_of_const(engine);
    struct lp_entry *returned = quorum_first(&quorum->returned);
    if (returned) {
        return returned;
    }
    struct lp_entry *normal = quorum_first(&quorum->fresh[QUORUM_NORMAL]);
    struct lp_entry *high = quorum_first(&quorum->fresh[QUORUM_HIGH]);
    if (!high || !normal) {
        return high ? high : normal;
    }
    const bool normals_turn = quorum->turn == HIGH_IN_A_ROW;
    return normals_turn && normal->position < high->position ? normal : high;
}

static struct lp_entry *
quorum_pop(struct lp_engine *engine)
{
    struct quorum_queue *quorum = quorum_of(engine);
    struct lp_entry *entry = quorum_peek(engine);
    if (!entry) {
        return NULL;
    }
    if (entry != quorum_first(&quorum->returned)) {
        quorum->turn = quorum->turn == HIGH_IN_A_ROW ? 0 : quorum->turn + 1;
    }
    lp_list_unlink(&entry->link);
    return entry;
}

static struct lp_list *
quorum_fresh(struct lp_engine *engine, uint32_t level)
{
    return level < QUORUM_LEVELS ? &quorum_of(engine)->fresh[level] : NULL;
}

static uint8_t
quorum_level_again(struct lp_engine *engine, uint8_t level)
{
    (void)engine;
    return (uint8_t)LP_MIN(level, QUORUM_LEVELS - 1u);
}

static void
quorum_visit_returned(struct lp_engine *engine, void (*each)(void *context, struct lp_entry *entry),
                      void *context)
{
    struct lp_list *returned = &quorum_of(engine)->returned;
    for (struct lp_list *link = returned->next; link != returned; link = link->next) {
        each(context, LP_LIST_ITEM(link, struct lp_entry, link));
    }
}

static void
quorum_order_check(const struct lp_engine *engine)
{
    const struct quorum_queue *quorum = quorum_of_const(engine);
    const struct lp_entry *returned = quorum_first(&quorum->returned);
    LP_ASSERT(quorum->turn <= HIGH_IN_A_ROW);
    LP_ASSERT(!returned || (returned->flags & LP_ENTRY_REDELIVERED) != 0);
    for (uint32_t level = 0; level < QUORUM_LEVELS; level++) {
        const struct lp_entry *fresh = quorum_first(&quorum->fresh[level]);
        LP_ASSERT(!fresh || fresh->level == level);
    }
}

static const struct lp_engine_order quorum_order = {
    .ranks = true,
    .level_for = quorum_level_for,
    .add = quorum_add,
    .add_returned = quorum_add_returned,
    .peek = quorum_peek,
    .pop = quorum_pop,
    .fresh = quorum_fresh,
    .level_again = quorum_level_again,
    .visit_returned = quorum_visit_returned,
    .check = quorum_order_check,
};

/* ---- the type ---- */

static const struct lp_engine_rules quorum_rules = {
    .keeps_all = true,
    .counts_returns = true,
    .sole_by_priority = true,
    .no_get_from_sole = true,
    .no_exclusive = true,
    .no_shared = true,
    .no_use_by_declare = true,
    .cancels_early = true,
    .trims_late = true,
    .refuses_late = true,
    .prefetch_max = PREFETCH_MAX,
};

static bool
quorum_open(struct lp_queue *queue)
{
    struct lp_engine *engine = engine_of(queue);
    struct quorum_queue *quorum = quorum_of(engine);
    lp_engine_open(engine, &quorum_order, &quorum_rules);
    lp_list_init(&quorum->returned);
    for (uint32_t level = 0; level < QUORUM_LEVELS; level++) {
        lp_list_init(&quorum->fresh[level]);
    }
    return true;
}

const struct lp_queue_type lp_queue_type_quorum = {
    .name = "quorum",
    .queue_bytes = sizeof(struct quorum_queue),
    .open = quorum_open,
    .configure = lp_engine_configure,
    .close = lp_engine_close,
    .handle = lp_engine_handle,
    .dispatch = lp_engine_dispatch,
    .counts = lp_engine_counts,
    .purge = lp_engine_purge,
    .check = lp_engine_check,
    .audit = lp_engine_audit,
    .visit = lp_engine_visit,
    .read = lp_engine_read,
    .spill = lp_engine_spill,
    .move = lp_engine_move,
};
