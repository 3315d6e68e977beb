/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes.h - the one reader and the one writer of bytes that are not ours.
 *
 * Every byte from a socket, a disk or the other process is read through
 * struct lp_reader: the range and the cursor travel together, each access is
 * checked once, inside, and failure is sticky: after the first short read all
 * further reads give zero and `failed` stays set, so that a decoder checks
 * once at its end.  The writer is the mirror image.
 *
 *   Memory    borrowed; neither owns what it points into
 *   Runs on   any
 *
 * Names ending in `be` are network order (AMQP); `le` is the order of Lepus's
 * own records.
 */
#pragma once

#include <string.h>

#include <lepus/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A borrowed range of bytes; `data` may be NULL when `size` is 0. */
struct lp_bytes {
    const uint8_t *data;
    uint32_t size;
};

static inline struct lp_bytes
lp_bytes_of(const void *data, uint32_t size)
{
    struct lp_bytes bytes = {(const uint8_t *)data, size};
    return bytes;
}

/* A view of a C string, its NUL left out. */
static inline struct lp_bytes
lp_bytes_of_text(const char *text)
{
    return lp_bytes_of(text, (uint32_t)strlen(text));
}

static inline bool
lp_bytes_equal(struct lp_bytes a, struct lp_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool
lp_bytes_equal_text(struct lp_bytes a, const char *text)
{
    return lp_bytes_equal(a, lp_bytes_of_text(text));
}

static inline bool
lp_bytes_start_with(struct lp_bytes a, const char *prefix)
{
    const size_t n = strlen(prefix);
    return a.size >= n && (n == 0 || memcmp(a.data, prefix, n) == 0);
}

/* One of zeros reads nothing, as one that lp_reader_of() made of nothing does. */
struct lp_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static inline struct lp_reader
lp_reader_of(const void *data, size_t size)
{
    /* Nothing may be added to NULL, not even nothing. */
    const bool none = data == NULL;
    const uint8_t *at = none ? (const uint8_t *)"" : (const uint8_t *)data;
    struct lp_reader reader = {at, at + (none ? 0 : size), false};
    return reader;
}

static inline struct lp_reader
lp_reader_of_bytes(struct lp_bytes bytes)
{
    return lp_reader_of(bytes.data, bytes.size);
}

static inline size_t
lp_reader_left(const struct lp_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

/* Take `count` bytes, or fail and give NULL. */
static inline const uint8_t *
lp_reader_take(struct lp_reader *reader, size_t count)
{
    if (LP_UNLIKELY(reader->failed || lp_reader_left(reader) < count)) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *at = reader->at;
    reader->at = count > 0 ? at + count : at; /* not even nothing may be added to NULL */
    return at;
}

static inline uint8_t
lp_reader_u8(struct lp_reader *reader)
{
    const uint8_t *p = lp_reader_take(reader, 1);
    return p ? p[0] : 0;
}

#define LP_READER_INT(name, type, swap)                          \
    static inline type name(struct lp_reader *reader)            \
    {                                                            \
        const uint8_t *p = lp_reader_take(reader, sizeof(type)); \
        type value = 0;                                          \
        if (p) {                                                 \
            memcpy(&value, p, sizeof(value));                    \
        }                                                        \
        return swap(value);                                      \
    }
#define LP_SAME(value) (value)
LP_READER_INT(lp_reader_u16be, uint16_t, __builtin_bswap16)
LP_READER_INT(lp_reader_u32be, uint32_t, __builtin_bswap32)
LP_READER_INT(lp_reader_u64be, uint64_t, __builtin_bswap64)
LP_READER_INT(lp_reader_u16le, uint16_t, LP_SAME)
LP_READER_INT(lp_reader_u32le, uint32_t, LP_SAME)
LP_READER_INT(lp_reader_u64le, uint64_t, LP_SAME)
#undef LP_READER_INT

/* `count` bytes as a borrowed view; empty after a failure. */
static inline struct lp_bytes
lp_reader_bytes(struct lp_reader *reader, uint32_t count)
{
    const uint8_t *p = lp_reader_take(reader, count);
    return lp_bytes_of(p, p ? count : 0);
}

/* An octet of length, then the bytes: AMQP's short string, and Lepus's own. */
static inline struct lp_bytes
lp_reader_short(struct lp_reader *reader)
{
    return lp_reader_bytes(reader, lp_reader_u8(reader));
}

/* Four octets of length in network order, then the bytes: AMQP's long string and table. */
static inline struct lp_bytes
lp_reader_long_be(struct lp_reader *reader)
{
    return lp_reader_bytes(reader, lp_reader_u32be(reader));
}

/* The same with the length in Lepus's own order. */
static inline struct lp_bytes
lp_reader_long_le(struct lp_reader *reader)
{
    return lp_reader_bytes(reader, lp_reader_u32le(reader));
}

struct lp_writer {
    uint8_t *start;
    uint8_t *at;
    uint8_t *end;
    bool failed;
};

static inline struct lp_writer
lp_writer_of(void *data, size_t size)
{
    struct lp_writer writer = {(uint8_t *)data, (uint8_t *)data, (uint8_t *)data + size, false};
    return writer;
}

static inline size_t
lp_writer_size(const struct lp_writer *writer)
{
    return (size_t)(writer->at - writer->start);
}

static inline size_t
lp_writer_room(const struct lp_writer *writer)
{
    return (size_t)(writer->end - writer->at);
}

/* What was written so far, borrowed. */
static inline struct lp_bytes
lp_writer_bytes(const struct lp_writer *writer)
{
    return lp_bytes_of(writer->start, (uint32_t)lp_writer_size(writer));
}

/* Room for `count` bytes, or fail and give NULL. */
static inline uint8_t *
lp_writer_take(struct lp_writer *writer, size_t count)
{
    if (LP_UNLIKELY(writer->failed || lp_writer_room(writer) < count)) {
        writer->failed = true;
        return NULL;
    }
    uint8_t *at = writer->at;
    writer->at += count;
    return at;
}

static inline void
lp_writer_copy(struct lp_writer *writer, const void *data, size_t count)
{
    uint8_t *p = lp_writer_take(writer, count);
    if (p && count > 0) {
        memcpy(p, data, count);
    }
}

static inline void
lp_writer_u8(struct lp_writer *writer, uint8_t value)
{
    lp_writer_copy(writer, &value, 1);
}

#define LP_WRITER_INT(name, type, swap)                           \
    static inline void name(struct lp_writer *writer, type value) \
    {                                                             \
        const type stored = swap(value);                          \
        lp_writer_copy(writer, &stored, sizeof(stored));          \
    }
LP_WRITER_INT(lp_writer_u16be, uint16_t, __builtin_bswap16)
LP_WRITER_INT(lp_writer_u32be, uint32_t, __builtin_bswap32)
LP_WRITER_INT(lp_writer_u64be, uint64_t, __builtin_bswap64)
LP_WRITER_INT(lp_writer_u16le, uint16_t, LP_SAME)
LP_WRITER_INT(lp_writer_u32le, uint32_t, LP_SAME)
LP_WRITER_INT(lp_writer_u64le, uint64_t, LP_SAME)
#undef LP_WRITER_INT
#undef LP_SAME

/* Fails when the bytes do not fit an octet of length. */
static inline void
lp_writer_short(struct lp_writer *writer, struct lp_bytes bytes)
{
    if (bytes.size > UINT8_MAX) {
        writer->failed = true;
        return;
    }
    lp_writer_u8(writer, (uint8_t)bytes.size);
    lp_writer_copy(writer, bytes.data, bytes.size);
}

static inline void
lp_writer_long_be(struct lp_writer *writer, struct lp_bytes bytes)
{
    lp_writer_u32be(writer, bytes.size);
    lp_writer_copy(writer, bytes.data, bytes.size);
}

static inline void
lp_writer_long_le(struct lp_writer *writer, struct lp_bytes bytes)
{
    lp_writer_u32le(writer, bytes.size);
    lp_writer_copy(writer, bytes.data, bytes.size);
}

/*
 * For the few places where all of a frame goes into room that was asked for as
 * a whole: write there and give what is behind it.  Nothing is checked.
 */
#define LP_PUT_INT(name, type, swap)                     \
    static inline uint8_t *name(uint8_t *to, type value) \
    {                                                    \
        const type stored = swap(value);                 \
        memcpy(to, &stored, sizeof(stored));             \
        return to + sizeof(stored);                      \
    }
LP_PUT_INT(lp_put_u8, uint8_t, )
LP_PUT_INT(lp_put_u16be, uint16_t, __builtin_bswap16)
LP_PUT_INT(lp_put_u32be, uint32_t, __builtin_bswap32)
LP_PUT_INT(lp_put_u64be, uint64_t, __builtin_bswap64)
#undef LP_PUT_INT

/* Names are short: a call costs more than the copy.  Two pieces, which may overlap, do. */
static inline uint8_t *
lp_put_bytes(uint8_t *to, const uint8_t *from, size_t count)
{
    uint64_t eight[2];
    uint32_t four[2];
    if (count > 16) {
        memcpy(to, from, count);
    } else if (count >= 8) {
        memcpy(&eight[0], from, 8);
        memcpy(&eight[1], from + count - 8, 8);
        memcpy(to, &eight[0], 8);
        memcpy(to + count - 8, &eight[1], 8);
    } else if (count >= 4) {
        memcpy(&four[0], from, 4);
        memcpy(&four[1], from + count - 4, 4);
        memcpy(to, &four[0], 4);
        memcpy(to + count - 4, &four[1], 4);
    } else if (count > 0) {
        to[0] = from[0];
        to[count / 2] = from[count / 2];
        to[count - 1] = from[count - 1];
    }
    return to + count;
}

/* Overwrite four octets written earlier at `offset` (a length known only now). */
static inline void
lp_writer_patch_u32be(struct lp_writer *writer, size_t offset, uint32_t value)
{
    if (writer->failed || offset + 4 > lp_writer_size(writer)) {
        writer->failed = true;
        return;
    }
    const uint32_t stored = __builtin_bswap32(value);
    memcpy(writer->start + offset, &stored, sizeof(stored));
}

#ifdef __cplusplus
}
#endif
