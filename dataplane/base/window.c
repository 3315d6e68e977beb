/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "dataplane/base/poison.h"
#include "dataplane/base/window.h"

#define DIRECTORY_ROOM_MIN  8u /* one block of the smallest class */
#define DIRECTORY_ROOM_MAX  (1u << 30)
#define DIRECTORY_ROOM_IDLE 64u /* larger ones go back when nothing is open */
#define WORD_BITS           64u

/* A bit for each open slot, then the slots. */
struct chunk {
    uint64_t open[2];
};

LP_STATIC_ASSERT(LP_WINDOW_CHUNK_SLOTS <= 2 * WORD_BITS, "a bit a slot");
LP_STATIC_ASSERT(sizeof(struct chunk) + LP_WINDOW_CHUNK_SLOTS * 8u == 1024, "fills its class");

static inline uint64_t
chunk_number_of(uint64_t number)
{
    return number / LP_WINDOW_CHUNK_SLOTS;
}

static inline uint32_t
slot_of(uint64_t number)
{
    return (uint32_t)(number % LP_WINDOW_CHUNK_SLOTS);
}

static inline void **
directory_at(const struct lp_window *window, uint64_t chunk_number)
{
    return &window->directory[chunk_number & (window->directory_room - 1)];
}

/* The chunk of that number, or NULL; `chunk_number` is not before first_open's. */
static inline struct chunk *
chunk_at(const struct lp_window *window, uint64_t chunk_number)
{
    const uint64_t ahead = chunk_number - chunk_number_of(window->first_open);
    return ahead < window->directory_room ? *directory_at(window, chunk_number) : NULL;
}

static inline void *
slot_at(const struct lp_window *window, struct chunk *chunk, uint32_t slot)
{
    return (uint8_t *)(chunk + 1) + (size_t)slot * window->slot_bytes;
}

void
lp_window_init(struct lp_window *window, struct lp_memory *memory, uint32_t slot_bytes)
{
    LP_ASSERT(slot_bytes > 0);
    LP_ASSERT(slot_bytes <= 64);
    *window = (struct lp_window){
        .memory = memory,
        .slot_bytes = (slot_bytes + 7u) & ~7u,
        .next = 1,
        .first_open = 1,
    };
}

void
lp_window_fini(struct lp_window *window)
{
    for (uint32_t i = 0; i < window->directory_room; i++) {
        if (window->directory[i] != NULL) {
            lp_memory_release(window->memory, &window->directory[i]);
        }
    }
    if (window->directory != NULL) {
        void *directory = window->directory;
        lp_memory_release(window->memory, &directory);
    }
    memset(window, 0, sizeof(*window));
}

/* Make the directory reach `chunk_number`; false when there is no memory. */
static LP_COLD bool
directory_grow(struct lp_window *window, uint64_t chunk_number)
{
    const uint64_t first = chunk_number_of(window->first_open);
    uint64_t room = LP_MAX(window->directory_room, DIRECTORY_ROOM_MIN);
    while (room <= chunk_number - first) {
        room *= 2;
    }
    if (room > DIRECTORY_ROOM_MAX) {
        return false;
    }
    void **directory = lp_memory_alloc(window->memory, room * sizeof(directory[0]));
    if (directory == NULL) {
        return false;
    }
    memset(directory, 0, room * sizeof(directory[0]));
    for (uint64_t i = 0; i < window->directory_room; i++) {
        directory[(first + i) & (room - 1)] = *directory_at(window, first + i);
    }
    if (window->directory != NULL) {
        void *old = window->directory;
        lp_memory_release(window->memory, &old);
    }
    window->directory = directory;
    window->directory_room = (uint32_t)room;
    return true;
}

static inline bool
chunk_is_closed(const struct chunk *chunk)
{
    return (chunk->open[0] | chunk->open[1]) == 0;
}

/* `next` is the first number of a chunk: the one before it is kept for it no longer. */
static void
chunk_left(struct lp_window *window)
{
    const uint64_t left = chunk_number_of(window->next - 1);
    if (window->directory_room == 0) {
        return;
    }
    void **entry = directory_at(window, left);
    /* Open numbers may all be far behind, or there may be none: then the entry is still its own. */
    const bool reached = left - chunk_number_of(window->first_open) < window->directory_room ||
                         window->first_open == window->next;
    if (reached && *entry != NULL && chunk_is_closed(*entry)) {
        lp_memory_release(window->memory, entry);
    }
}

/* One number more is used up. */
static inline void
number_used(struct lp_window *window)
{
    window->next++;
    if (window->open_count == 0) {
        window->first_open = window->next;
    }
    if (LP_UNLIKELY(slot_of(window->next) == 0)) {
        chunk_left(window);
    }
}

static struct chunk *
chunk_make(struct lp_window *window, uint64_t chunk_number)
{
    const uint64_t ahead = chunk_number - chunk_number_of(window->first_open);
    if (ahead >= window->directory_room && !directory_grow(window, chunk_number)) {
        return NULL;
    }
    const uint64_t slots_bytes = (uint64_t)LP_WINDOW_CHUNK_SLOTS * window->slot_bytes;
    struct chunk *chunk = lp_memory_alloc(window->memory, sizeof(*chunk) + slots_bytes);
    if (chunk == NULL) {
        return NULL;
    }
    memset(chunk, 0, sizeof(*chunk));
    lp_poison(chunk + 1, slots_bytes);
    *directory_at(window, chunk_number) = chunk;
    return chunk;
}

void *
lp_window_append(struct lp_window *window, uint64_t *ret_number)
{
    const uint64_t number = window->next;
    struct chunk *chunk = chunk_at(window, chunk_number_of(number));
    if (chunk == NULL) {
        chunk = chunk_make(window, chunk_number_of(number));
        if (chunk == NULL) {
            return NULL;
        }
    }
    const uint32_t slot = slot_of(number);
    chunk->open[slot / WORD_BITS] |= 1ull << (slot % WORD_BITS);
    window->open_count++;
    number_used(window);

    void *at = slot_at(window, chunk, slot);
    lp_unpoison(at, window->slot_bytes);
    memset(at, 0, window->slot_bytes);
    *ret_number = number;
    return at;
}

void
lp_window_skip(struct lp_window *window)
{
    number_used(window);
}

void *
lp_window_get(const struct lp_window *window, uint64_t number)
{
    if (number < window->first_open || number >= window->next) {
        return NULL;
    }
    struct chunk *chunk = chunk_at(window, chunk_number_of(number));
    const uint32_t slot = slot_of(number);
    if (chunk == NULL || (chunk->open[slot / WORD_BITS] >> (slot % WORD_BITS) & 1u) == 0) {
        return NULL;
    }
    return slot_at(window, chunk, slot);
}

/* The lowest open slot >= `from`, or LP_WINDOW_CHUNK_SLOTS. */
static uint32_t
chunk_next_open(const struct chunk *chunk, uint32_t from)
{
    uint32_t word = from / WORD_BITS;
    uint64_t bits = chunk->open[word] & (UINT64_MAX << (from % WORD_BITS));
    if (bits == 0 && word == 0) {
        word = 1;
        bits = chunk->open[1];
    }
    return bits == 0 ? LP_WINDOW_CHUNK_SLOTS : word * WORD_BITS + (uint32_t)__builtin_ctzll(bits);
}

/* Nothing is open any more: a directory that a straggler made long need not stay so. */
static void
window_emptied(struct lp_window *window)
{
    window->first_open = window->next;
    if (window->directory_room > DIRECTORY_ROOM_IDLE) {
        void **kept = directory_at(window, chunk_number_of(window->next));
        if (*kept != NULL) {
            lp_memory_release(window->memory, kept);
        }
        void *directory = window->directory;
        lp_memory_release(window->memory, &directory);
        window->directory = NULL;
        window->directory_room = 0;
    }
}

void
lp_window_close(struct lp_window *window, uint64_t number)
{
    void *at = lp_window_get(window, number);
    LP_ASSERT(at != NULL);
    void **entry = directory_at(window, chunk_number_of(number));
    struct chunk *chunk = *entry;
    const uint32_t slot = slot_of(number);

    lp_poison(at, window->slot_bytes);
    chunk->open[slot / WORD_BITS] &= ~(1ull << (slot % WORD_BITS));
    window->open_count--;
    /* The next numbers are for it: kept, else one open number at a time would be one chunk each. */
    if (chunk_is_closed(chunk) && chunk_number_of(number) != chunk_number_of(window->next)) {
        lp_memory_release(window->memory, entry);
    }
    if (window->open_count == 0) {
        window_emptied(window);
    } else if (number == window->first_open) {
        uint64_t first = 0;
        (void)lp_window_next_open(window, number + 1, &first); /* the slot does not matter */
        LP_ASSERT(first > number);
        window->first_open = first;
    }
}

void *
lp_window_next_open(const struct lp_window *window, uint64_t from, uint64_t *ret_number)
{
    if (window->open_count == 0) {
        return NULL;
    }
    const uint64_t lowest = LP_MAX(from, window->first_open);
    uint32_t slot = slot_of(lowest);
    /* Bounded by the directory: open numbers are nowhere else. */
    for (uint64_t at = chunk_number_of(lowest); at <= chunk_number_of(window->next - 1); at++) {
        struct chunk *chunk = chunk_at(window, at);
        if (chunk != NULL) {
            slot = chunk_next_open(chunk, slot);
            if (slot < LP_WINDOW_CHUNK_SLOTS) {
                *ret_number = at * LP_WINDOW_CHUNK_SLOTS + slot;
                return slot_at(window, chunk, slot);
            }
        } else if (at - chunk_number_of(window->first_open) >= window->directory_room) {
            return NULL;
        }
        slot = 0;
    }
    return NULL;
}
