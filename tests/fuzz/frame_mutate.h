/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame_mutate.h - changes bytes of AMQP frames so that most stay frames.
 *
 * Frames are repeated, left out, swapped, moved to other channels, changed
 * inside, or replaced by one of another kind; afterwards their length and end
 * octet are put right.  One mutation in eight is left to libFuzzer alone.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The first `prefix` bytes are not frames.  Gives the new size. */
static size_t frame_mutate(uint8_t *data, size_t bytes, size_t bytes_max, size_t prefix,
                           unsigned seed);

/* libFuzzer's own; not there when inputs are only replayed. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t bytes_max) __attribute__((weak));

#define FRAME_HEAD      7u
#define FRAME_EXTRA     8u
#define FRAME_BYTES_MAX 4096u
#define FRAMES_MAX      512u

struct frames {
    uint8_t *data;
    size_t bytes;
    size_t bytes_max;
    uint32_t count;
    size_t at[FRAMES_MAX + 1]; /* where each begins; the last: where they end */
    uint32_t random;
};

static uint32_t
frame_random(struct frames *frames, uint32_t below)
{
    frames->random = frames->random * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(frames->random >> 4) * below) >> 28);
}

static size_t
frame_size_at(const struct frames *frames, size_t at)
{
    const uint8_t *p = frames->data + at;
    const size_t left = frames->bytes - at;
    if (left < FRAME_EXTRA) {
        return 0;
    }
    if (p[0] == 'A') {
        return FRAME_EXTRA; /* a protocol header has the same size */
    }
    const size_t payload = (size_t)p[3] << 24 | (size_t)p[4] << 16 | (size_t)p[5] << 8 | p[6];
    return payload <= left - FRAME_EXTRA ? payload + FRAME_EXTRA : 0;
}

static void
frames_find(struct frames *frames, size_t prefix)
{
    size_t at = prefix < frames->bytes ? prefix : frames->bytes;
    size_t size;
    frames->count = 0;
    while (frames->count < FRAMES_MAX && (size = frame_size_at(frames, at)) > 0) {
        frames->at[frames->count++] = at;
        at += size;
    }
    frames->at[frames->count] = at;
}

/* Put `bytes` in place of the `old` at `at`; false: no room. */
static int
frames_replace(struct frames *frames, size_t at, size_t old, const uint8_t *with, size_t bytes)
{
    if (frames->bytes - old + bytes > frames->bytes_max) {
        return 0;
    }
    memmove(frames->data + at + bytes, frames->data + at + old, frames->bytes - at - old);
    if (bytes > 0) {
        memcpy(frames->data + at, with, bytes);
    }
    frames->bytes = frames->bytes - old + bytes;
    return 1;
}

/* The arguments changed by libFuzzer, the frame's length put right. */
static void
frame_change_inside(struct frames *frames, size_t at, size_t size)
{
    uint8_t frame[FRAME_BYTES_MAX];
    if (size > sizeof(frame) / 2) {
        return;
    }
    /* The class and method, or the header's class and size, mostly stay. */
    const size_t keep = FRAME_HEAD + (frame_random(frames, 8) == 0 ? 0 : 4);
    if (size < keep + 1) {
        return;
    }
    memcpy(frame, frames->data + at, size);
    size_t inside = LLVMFuzzerMutate(frame + keep, size - keep - 1, sizeof(frame) - keep - 1);
    const size_t payload = keep - FRAME_HEAD + inside;
    frame[3] = (uint8_t)(payload >> 24);
    frame[4] = (uint8_t)(payload >> 16);
    frame[5] = (uint8_t)(payload >> 8);
    frame[6] = (uint8_t)payload;
    frame[FRAME_HEAD + payload] = 0xce;
    (void)frames_replace(frames, at, size, frame, FRAME_EXTRA + payload);
}

/* A copy of one frame in front of another. */
static void
frame_copy(struct frames *frames, uint32_t from, uint32_t to)
{
    uint8_t frame[FRAME_BYTES_MAX];
    const size_t size = frames->at[from + 1] - frames->at[from];
    if (size <= sizeof(frame)) {
        memcpy(frame, frames->data + frames->at[from], size);
        (void)frames_replace(frames, frames->at[to], 0, frame, size);
    }
}

static void
frame_mutate_one(struct frames *frames)
{
    const uint32_t which = frame_random(frames, frames->count);
    const size_t at = frames->at[which];
    const size_t size = frames->at[which + 1] - at;
    switch (frame_random(frames, 8)) {
    case 0:
        (void)frames_replace(frames, at, size, NULL, 0);
        break;
    case 1:
    case 2:
        frame_copy(frames, which, frame_random(frames, frames->count + 1));
        break;
    case 3:
        frames->data[at + 1] = 0;
        frames->data[at + 2] = (uint8_t)frame_random(frames, 4);
        break;
    default:
        frame_change_inside(frames, at, size);
        break;
    }
}

static size_t
frame_mutate(uint8_t *data, size_t bytes, size_t bytes_max, size_t prefix, unsigned seed)
{
    struct frames frames = {
        .data = data, .bytes = bytes, .bytes_max = bytes_max, .random = seed * 2654435761u};
    frames_find(&frames, prefix);
    if (frames.count == 0 || frame_random(&frames, 8) == 0) {
        return LLVMFuzzerMutate(data, bytes, bytes_max);
    }
    if (frame_random(&frames, 8) == 0) {
        data[frame_random(&frames, (uint32_t)prefix)] = (uint8_t)frame_random(&frames, 256);
    }
    for (uint32_t n = 1 + frame_random(&frames, 3); n > 0 && frames.count > 0; n--) {
        frame_mutate_one(&frames);
        frames_find(&frames, prefix);
    }
    return frames.bytes;
}
