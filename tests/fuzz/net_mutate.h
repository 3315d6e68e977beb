/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_mutate.h - changes what fuzz_net_frame.c plays so that most of it stays
 * a conversation: whole segments of connections that are there, with numbers
 * near the edges of windows, flags, options and lengths that somebody might
 * send, said again, in another order, cut short or in one burst.
 *
 * An input is a byte, then steps (fuzz_net_frame.c).  One mutation in eight is
 * left to libFuzzer alone.
 */
#pragma once

#include "tests/fuzz/net_stories.h"

/* libFuzzer's own; not there when inputs are only replayed. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t bytes_max) __attribute__((weak));

/* Where TCP begins in a step that holds a whole segment, or 0. */
static uint32_t
mutate_tcp_at(const struct mutate_step *step)
{
    if (step->bytes < STEP_HEAD + 54 || step->data[0] % STEPS != STEP_FRAME) {
        return 0;
    }
    const uint32_t at = tcp_at(step->data + STEP_HEAD, step->bytes - STEP_HEAD);
    return at == 0 ? 0 : STEP_HEAD + at;
}

/* A field of a segment that is there. */
static void
mutate_field(struct mutate *mutate, struct mutate_step *step)
{
    const uint32_t at = mutate_tcp_at(step);
    if (at == 0) {
        return;
    }
    uint8_t *tcp = step->data + at;
    switch (mutate_random(mutate, 6)) {
    case 0:
        lp_put_u32be(tcp + 4, u32_get(tcp + 4) + mutate_distance(mutate));
        break;
    case 1:
        lp_put_u32be(tcp + 8, u32_get(tcp + 8) + mutate_distance(mutate));
        break;
    case 2:
        tcp[13] = mutate_flags(mutate);
        break;
    case 3:
        lp_put_u16be(tcp + 14, mutate_window(mutate));
        break;
    case 4:
        tcp[1] = (uint8_t)(0xe9 + mutate_random(mutate, 16)); /* the port: another connection's */
        break;
    default:
        tcp[12] = (uint8_t)(mutate_random(mutate, 16) << 4);
        break;
    }
}

/* A field of the link or the network; the fixing of sums may go. */
static void
mutate_below(struct mutate *mutate, struct mutate_step *step)
{
    if (step->data[0] % STEPS != STEP_FRAME || step->bytes < STEP_HEAD + 40) {
        return;
    }
    uint8_t *frame = step->data + STEP_HEAD;
    switch (mutate_random(mutate, 5)) {
    case 0:
        step->data[1] ^= (uint8_t)(1u << mutate_random(mutate, 8));
        break;
    case 1:
        frame[mutate_random(mutate, 12)] ^= (uint8_t)(1u << mutate_random(mutate, 8));
        break;
    case 2:
        frame[12 + mutate_random(mutate, 8)] ^= (uint8_t)(1u << mutate_random(mutate, 8));
        break;
    case 3:
        frame[20 + mutate_random(mutate, 4)] = (uint8_t)mutate_random(mutate, 256);
        break;
    default: /* cut short, or longer than it says */
        step->bytes -= mutate_random(mutate, step->bytes - STEP_HEAD - 20);
        mutate_length(step);
        break;
    }
}

static void
mutate_call(struct mutate *mutate, size_t at)
{
    const struct mutate_step step = {
        .bytes = 2,
        .data = {(uint8_t)(1 + mutate_random(mutate, STEPS - 1)),
                 (uint8_t)mutate_random(mutate, 256)},
    };
    mutate_replace(mutate, at, 0, &step);
}

static void
mutate_one(struct mutate *mutate)
{
    const struct mutate_step none = {0};
    const uint32_t which = mutate_random(mutate, mutate->count);
    const size_t at = mutate->at[which];
    const size_t size = mutate->at[which + 1] - at;
    const size_t elsewhere = mutate->at[mutate_random(mutate, mutate->count + 1)];
    struct mutate_step step = mutate_take(mutate, which);
    const struct mutate_segment segment = mutate_segment_any(mutate);
    switch (mutate_random(mutate, 13)) {
    case 0:
        mutate_replace(mutate, at, size, &none);
        return;
    case 1:
        mutate_replace(mutate, elsewhere, 0, &step);
        return;
    case 2:
        mutate_call(mutate, elsewhere);
        return;
    case 3:
    case 4:
        mutate_story(mutate, elsewhere);
        return;
    case 5:
    case 6:
    case 7:
        step = mutate_segment_make(mutate, &segment);
        mutate_replace(mutate, elsewhere, 0, &step);
        return;
    case 8:
        mutate_below(mutate, &step);
        break;
    case 9:
        step.bytes = step.bytes < sizeof(step.data) / 2
                         ? (uint32_t)LLVMFuzzerMutate(step.data, step.bytes, sizeof(step.data))
                         : step.bytes;
        break;
    default:
        mutate_field(mutate, &step);
        break;
    }
    if (size <= sizeof(step.data)) {
        mutate_replace(mutate, at, size, &step);
    }
}

static size_t
net_mutate(uint8_t *data, size_t bytes, size_t bytes_max, unsigned seed)
{
    struct mutate mutate = {
        .data = data, .bytes = bytes, .bytes_max = bytes_max, .random = seed * 2654435761u};
    mutate_find(&mutate);
    if (mutate.count == 0 || mutate_random(&mutate, 8) == 0) {
        return LLVMFuzzerMutate(data, bytes, bytes_max);
    }
    if (mutate_random(&mutate, 16) == 0) {
        data[0] ^= (uint8_t)(1u << mutate_random(&mutate, 8));
    }
    for (uint32_t n = 1 + mutate_random(&mutate, 4); n > 0 && mutate.count > 0; n--) {
        mutate_one(&mutate);
    }
    return mutate.bytes;
}
