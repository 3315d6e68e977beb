/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tick is a number of base-64 digits.  A timer sits at the level of the
 * highest digit in which its tick differs from now, in the slot of that digit:
 *
 *   level 0   ticks that share all digits but the last with now
 *   level L   ticks that first differ in digit L; its slots are all ahead
 *   far       ticks that differ above the last level (at most 834 days ahead)
 *
 * So what is on a lower level comes before what is on a higher one, and the
 * lowest bit set is the next event.  At an event the whole slot moves to
 * `due` in one step; each timer there fires, or is linked again, a level
 * lower or wherever its later deadline belongs.  `due` survives a call that
 * ran out of budget.
 */
#include "dataplane/base/wheel.h"

#define DIGIT_BITS 6u
#define DIGIT_MASK (LP_WHEEL_SLOTS - 1u)
#define FAR_SHIFT  (LP_WHEEL_LEVELS * DIGIT_BITS)

LP_STATIC_ASSERT(LP_WHEEL_SLOTS == 1u << DIGIT_BITS, "a digit chooses a slot");
LP_STATIC_ASSERT(LP_WHEEL_SLOTS == 64, "a level's bits fit a word");

/* The first tick that begins at or after the deadline: never early. */
static inline uint64_t
tick_of_deadline(uint64_t deadline_ns)
{
    const uint64_t rest = deadline_ns & ((1ull << LP_WHEEL_TICK_SHIFT) - 1);
    return (deadline_ns >> LP_WHEEL_TICK_SHIFT) + (rest != 0);
}

void
lp_wheel_init(struct lp_wheel *wheel, uint64_t now_ns)
{
    wheel->now_tick = now_ns >> LP_WHEEL_TICK_SHIFT;
    wheel->armed = 0;
    lp_list_init(&wheel->due);
    lp_list_init(&wheel->late);
    lp_list_init(&wheel->far);
    for (uint32_t level = 0; level < LP_WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (uint32_t i = 0; i < LP_WHEEL_SLOTS; i++) {
            lp_list_init(&wheel->slot[level][i]);
        }
    }
}

static void
timer_link(struct lp_wheel *wheel, struct lp_timer *timer)
{
    const uint64_t tick = tick_of_deadline(timer->deadline_ns);
    wheel->armed++;
    timer->linked_tick = tick;
    if (tick <= wheel->now_tick) {
        lp_list_push_back(&wheel->late, &timer->link);
        return;
    }
    const uint64_t differs = tick ^ wheel->now_tick;
    const uint32_t level = (63u - (uint32_t)__builtin_clzll(differs)) / DIGIT_BITS;
    if (level >= LP_WHEEL_LEVELS) {
        lp_list_push_back(&wheel->far, &timer->link);
        return;
    }
    const uint32_t digit = (uint32_t)(tick >> (level * DIGIT_BITS)) & DIGIT_MASK;
    lp_list_push_back(&wheel->slot[level][digit], &timer->link);
    wheel->occupied[level] |= 1ull << digit;
}

static void
timer_unlink(struct lp_wheel *wheel, struct lp_timer *timer)
{
    const uintptr_t head = (uintptr_t)timer->link.next;
    const bool alone = timer->link.next == timer->link.prev;
    LP_ASSERT(wheel->armed > 0);
    lp_list_remove(&timer->link);
    wheel->armed--;

    /* The last of a slot: its neighbour is the slot's head, which says which slot it is. */
    const uintptr_t first = (uintptr_t)&wheel->slot[0][0];
    if (alone && head - first < sizeof(wheel->slot)) {
        const uintptr_t index = (head - first) / sizeof(wheel->slot[0][0]);
        wheel->occupied[index / LP_WHEEL_SLOTS] &= ~(1ull << (index % LP_WHEEL_SLOTS));
    }
}

void
lp_timer_arm(struct lp_wheel *wheel, struct lp_timer *timer, lp_timer_fn *fire,
             uint64_t deadline_ns)
{
    LP_ASSERT(fire != NULL);
    timer->fire = fire;
    const bool armed = timer->deadline_ns != 0;
    timer->deadline_ns = deadline_ns != 0 ? deadline_ns : 1; /* zero means disarmed */
    if (armed) {
        if (tick_of_deadline(timer->deadline_ns) >= timer->linked_tick) {
            return; /* found out when its slot comes up */
        }
        timer_unlink(wheel, timer);
    }
    timer_link(wheel, timer);
}

void
lp_timer_disarm(struct lp_wheel *wheel, struct lp_timer *timer)
{
    if (timer->deadline_ns == 0) {
        return;
    }
    timer_unlink(wheel, timer);
    timer->deadline_ns = 0;
}

/* Move everything on `from` behind what is on `to`. */
static void
list_append(struct lp_list *to, struct lp_list *from)
{
    if (lp_list_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    lp_list_init(from);
}

/* The tick of the next event and the list that it makes due; UINT64_MAX when there is none. */
static uint64_t
event_next(const struct lp_wheel *wheel, uint32_t *ret_level, uint32_t *ret_digit)
{
    for (uint32_t level = 0; level < LP_WHEEL_LEVELS; level++) {
        if (wheel->occupied[level] == 0) {
            continue;
        }
        const uint32_t digit = (uint32_t)__builtin_ctzll(wheel->occupied[level]);
        const uint32_t shift = level * DIGIT_BITS;
        LP_ASSERT(digit > ((wheel->now_tick >> shift) & DIGIT_MASK));
        *ret_level = level;
        *ret_digit = digit;
        const uint64_t above = wheel->now_tick >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        return above | (uint64_t)digit << shift;
    }
    if (!lp_list_empty(&wheel->far)) {
        *ret_level = LP_WHEEL_LEVELS;
        *ret_digit = 0;
        return ((wheel->now_tick >> FAR_SHIFT) + 1) << FAR_SHIFT;
    }
    return UINT64_MAX;
}

/* Go on to the next event up to `target`; false when there is none, and now is `target`. */
static bool
event_take(struct lp_wheel *wheel, uint64_t target)
{
    uint32_t level = 0;
    uint32_t digit = 0;
    const uint64_t tick = event_next(wheel, &level, &digit);
    if (tick > target) {
        wheel->now_tick = LP_MAX(wheel->now_tick, target);
        return false;
    }
    LP_ASSERT(tick > wheel->now_tick);
    wheel->now_tick = tick;
    if (level == LP_WHEEL_LEVELS) {
        list_append(&wheel->due, &wheel->far);
    } else {
        list_append(&wheel->due, &wheel->slot[level][digit]);
        wheel->occupied[level] &= ~(1ull << digit);
    }
    return true;
}

uint32_t
lp_wheel_advance(struct lp_wheel *wheel, uint64_t now_ns, uint32_t budget, void *context)
{
    const uint64_t target = now_ns >> LP_WHEEL_TICK_SHIFT;
    uint32_t done = 0;

    /* Armed in the past since the last call.  What callbacks arm so from here on waits for the
     * next. */
    list_append(&wheel->due, &wheel->late);
    for (;;) {
        if (lp_list_empty(&wheel->due)) {
            if (!event_take(wheel, target)) {
                return done;
            }
            continue;
        }
        if (done == budget) {
            return done;
        }
        done++;
        struct lp_timer *timer = LP_LIST_ITEM(wheel->due.next, struct lp_timer, link);
        timer_unlink(wheel, timer);
        if (tick_of_deadline(timer->deadline_ns) > wheel->now_tick) {
            timer_link(wheel, timer);
            continue;
        }
        timer->deadline_ns = 0;
        timer->fire(context, timer, now_ns);
    }
}

uint64_t
lp_wheel_next_ns(const struct lp_wheel *wheel)
{
    if (!lp_list_empty(&wheel->due) || !lp_list_empty(&wheel->late)) {
        return wheel->now_tick << LP_WHEEL_TICK_SHIFT;
    }
    uint32_t level = 0;
    uint32_t digit = 0;
    const uint64_t tick = event_next(wheel, &level, &digit);
    return tick > UINT64_MAX >> LP_WHEEL_TICK_SHIFT ? UINT64_MAX : tick << LP_WHEEL_TICK_SHIFT;
}
