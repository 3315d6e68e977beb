/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erlang_text.c - the layout of Erlang's io_lib_pretty, for tuples whose
 * elements are no structures themselves, and for binaries.
 *
 * Columns count from 1 and characters, not bytes.
 */
#include "dataplane/protocol/amqp091/erlang_text.h"

#include "dataplane/protocol/amqp091/fault_text.h"
#include "dataplane/protocol/amqp091/frame.h"
#include "dataplane/protocol/amqp091/method.h"

#define LINE_COLUMNS 80u

static uint32_t
characters(struct lp_bytes text)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < text.size; i++) {
        count += (text.data[i] & 0xc0u) != 0x80u;
    }
    return count;
}

/* Where the next character of the text will stand. */
static uint32_t
column(const struct lp_fault *fault)
{
    uint32_t from = fault->text_bytes;
    while (from > 0 && fault->text[from - 1] != '\n') {
        from--;
    }
    return 1 + characters(lp_bytes_of(fault->text + from, fault->text_bytes - from));
}

/* A new line that begins at that column. */
static void
new_line(struct lp_fault *fault, uint32_t at)
{
    amqp091_text_add(fault, "\n");
    for (uint32_t i = 1; i < at && fault->text_bytes < LP_FAULT_TEXT_BYTES; i++) {
        amqp091_text_add(fault, " ");
    }
}

/* ---- tuples ---- */

/* Where elements behind the tag may begin, as far as lines of `all` characters are concerned. */
struct layout {
    uint32_t all;    /* characters of the whole tuple */
    uint32_t begin;  /* column of its brace */
    uint32_t behind; /* column behind the tag and its comma */
};

/* 0: behind the tag; else so far from the brace. */
static uint32_t
indentation(const struct layout *layout)
{
    const uint32_t tag = layout->behind - layout->begin;
    if (layout->all + layout->behind <= LINE_COLUMNS || layout->behind < LINE_COLUMNS / 2) {
        return 0;
    }
    if (tag <= 4) {
        return 1; /* four would be no gain, and what it is measured by has just failed */
    }
    const uint32_t four = layout->begin + 4;
    return layout->all + four <= LINE_COLUMNS || four <= LINE_COLUMNS / 2 ? 4 : 1;
}

/* How far a line has come after an element that begins at `at`: one that is too long ends it. */
static uint32_t
element_end(uint32_t at, uint32_t size, bool last)
{
    return at + (size + last + at < LINE_COLUMNS ? size : LINE_COLUMNS);
}

/* The elements of a tuple that does not fit on what is left of its line. */
static void
elements_add(struct lp_fault *fault, const struct layout *layout, const struct lp_bytes *leaf,
             uint32_t count)
{
    const uint32_t indent = indentation(layout);
    const uint32_t margin = indent == 0 ? layout->behind : layout->begin + indent;
    uint32_t at = layout->behind;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t size = characters(leaf[i]);
        amqp091_text_add(fault, ",");
        if (i == 0 && indent == 0) {
            at = element_end(at, size, count == 1);
        } else if (size + 2 + at < LINE_COLUMNS) {
            at += size + 1;
        } else {
            new_line(fault, margin);
            at = element_end(margin, size, i + 1 == count);
        }
        amqp091_text_add_bytes(fault, leaf[i]);
    }
}

void
amqp091_erlang_add_tuple(struct lp_fault *fault, const char *tag, const struct lp_bytes *leaf,
                         uint32_t count)
{
    const uint32_t tag_size = lp_bytes_of_text(tag).size;
    struct layout layout = {.all = tag_size + 2 + count, .begin = column(fault)};
    layout.behind = layout.begin + tag_size + 2;
    for (uint32_t i = 0; i < count; i++) {
        layout.all += characters(leaf[i]);
    }
    amqp091_text_add(fault, "{");
    amqp091_text_add(fault, tag);
    if (layout.all + layout.begin >= LINE_COLUMNS) {
        elements_add(fault, &layout, leaf, count);
    } else {
        for (uint32_t i = 0; i < count; i++) {
            amqp091_text_add(fault, ",");
            amqp091_text_add_bytes(fault, leaf[i]);
        }
    }
    amqp091_text_add(fault, "}");
}

void
amqp091_erlang_add_numbers(struct lp_fault *fault, const char *tag, const uint64_t *number,
                           uint32_t count)
{
    struct lp_fault printed[2];
    struct lp_bytes leaf[2];
    LP_ASSERT(count <= LP_COUNT_OF(leaf));
    for (uint32_t i = 0; i < count; i++) {
        amqp091_text_begin(&printed[i], 0);
        amqp091_text_add_number(&printed[i], number[i]);
        leaf[i] = lp_bytes_of(printed[i].text, printed[i].text_bytes);
    }
    amqp091_erlang_add_tuple(fault, tag, leaf, count);
}

/* ---- strings ---- */

static const char *
escape_of(uint32_t character)
{
    switch (character) {
    case '\b':
        return "\\b";
    case '\t':
        return "\\t";
    case '\n':
        return "\\n";
    case '\v':
        return "\\v";
    case '\f':
        return "\\f";
    case '\r':
        return "\\r";
    case 27:
        return "\\e";
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    default:
        return NULL;
    }
}

static bool
is_printable(uint32_t character)
{
    return (character >= 0x20 && character <= 0x7e) ||
           (character >= 0xa0 && character != 0xfffe && character != 0xffff) ||
           (character < 0x20 && escape_of(character) != NULL);
}

/* The first character of well-formed UTF-8, and its octets. */
static uint32_t
utf8_first(struct lp_bytes text, uint32_t *ret_octets)
{
    const uint8_t lead = text.data[0];
    const uint32_t octets = lead < 0x80 ? 1u : lead < 0xe0 ? 2u : lead < 0xf0 ? 3u : 4u;
    uint32_t character = octets == 1 ? lead : lead & (0xffu >> (octets + 1));
    for (uint32_t i = 1; i < octets; i++) {
        character = character << 6 | (text.data[i] & 0x3fu);
    }
    *ret_octets = octets;
    return character;
}

/* Well-formed UTF-8 of nothing but characters that can be shown? */
static bool
is_utf8_text(struct lp_bytes text)
{
    uint32_t octets;
    if (!amqp091_is_utf8(text)) {
        return false;
    }
    for (uint32_t at = 0; at < text.size; at += octets) {
        if (!is_printable(utf8_first(lp_bytes_of(text.data + at, text.size - at), &octets))) {
            return false;
        }
    }
    return true;
}

static bool
is_latin1_text(struct lp_bytes octets)
{
    for (uint32_t i = 0; i < octets.size; i++) {
        if (!is_printable(octets.data[i])) {
            return false;
        }
    }
    return true;
}

/* One octet between quotes: what needs no escape is a character of Latin-1, or part of UTF-8. */
static void
quoted_write(struct lp_writer *writer, uint8_t octet, bool is_utf8)
{
    const char *escape = escape_of(octet);
    if (escape) {
        lp_writer_copy(writer, escape, 2);
    } else if (octet < 0x80 || is_utf8) {
        lp_writer_u8(writer, octet);
    } else {
        lp_writer_u8(writer, (uint8_t)(0xc0u | octet >> 6));
        lp_writer_u8(writer, (uint8_t)(0x80u | (octet & 0x3fu)));
    }
}

static void
string_write(struct lp_writer *writer, struct lp_bytes octets, bool is_utf8)
{
    lp_writer_u8(writer, '"');
    for (uint32_t i = 0; i < octets.size; i++) {
        quoted_write(writer, octets.data[i], is_utf8);
    }
    lp_writer_u8(writer, '"');
}

static void
octet_write(struct lp_writer *writer, uint8_t octet)
{
    if (octet >= 100) {
        lp_writer_u8(writer, (uint8_t)('0' + octet / 100));
    }
    if (octet >= 10) {
        lp_writer_u8(writer, (uint8_t)('0' + octet / 10 % 10));
    }
    lp_writer_u8(writer, (uint8_t)('0' + octet % 10));
}

struct lp_bytes
amqp091_erlang_string(struct lp_bytes octets, char room[static AMQP091_ERLANG_STRING_BYTES])
{
    struct lp_writer writer = lp_writer_of(room, AMQP091_ERLANG_STRING_BYTES);
    LP_ASSERT(octets.size <= UINT8_MAX);
    if (octets.size > 0 && is_latin1_text(octets)) {
        string_write(&writer, octets, false);
        return lp_writer_bytes(&writer);
    }
    for (uint32_t i = 0; i < octets.size; i++) {
        lp_writer_u8(&writer, i == 0 ? '[' : ',');
        octet_write(&writer, octets.data[i]);
    }
    lp_writer_copy(&writer, octets.size == 0 ? "[]" : "]", octets.size == 0 ? 2 : 1);
    LP_ASSERT(!writer.failed); /* four characters an octet */
    return lp_writer_bytes(&writer);
}

/* ---- binaries ---- */

/* Numbers in lines that are as full as they get. */
static void
lines_add(struct lp_fault *fault, struct lp_bytes octets)
{
    const uint32_t margin = column(fault) + 2;
    const uint32_t room = margin + 8 < LINE_COLUMNS ? LINE_COLUMNS - margin : 8;
    uint32_t used = 0;
    amqp091_text_add(fault, "<<");
    for (uint32_t i = 0; i < octets.size && fault->text_bytes < LP_FAULT_TEXT_BYTES; i++) {
        uint8_t number[4];
        struct lp_writer writer = lp_writer_of(number, sizeof(number));
        octet_write(&writer, octets.data[i]);
        if (i + 1 < octets.size) {
            lp_writer_u8(&writer, ',');
        }
        const struct lp_bytes text = lp_writer_bytes(&writer);
        if (used > 0 && used + text.size > room) {
            new_line(fault, margin);
            used = 0;
        }
        amqp091_text_add_bytes(fault, text);
        used += text.size;
    }
    amqp091_text_add(fault, ">>");
}

void
amqp091_erlang_add_binary(struct lp_fault *fault, struct lp_bytes octets)
{
    uint8_t room[2 * AMQP091_SNIPPET_BYTES + 2];
    struct lp_writer writer = lp_writer_of(room, sizeof(room));
    LP_ASSERT(octets.size <= AMQP091_SNIPPET_BYTES);
    const bool is_utf8 = is_utf8_text(octets);
    if (octets.size > 0 && (is_utf8 || is_latin1_text(octets))) {
        string_write(&writer, octets, is_utf8);
        amqp091_text_add(fault, "<<");
        amqp091_text_add_bytes(fault, lp_writer_bytes(&writer));
        amqp091_text_add(fault, is_utf8 && characters(octets) < octets.size ? "/utf8>>" : ">>");
        return;
    }
    const struct lp_fault before = *fault;
    amqp091_erlang_add_octets(fault, octets);
    if (column(fault) > LINE_COLUMNS) {
        *fault = before;
        lines_add(fault, octets);
    }
}

void
amqp091_erlang_add_octets(struct lp_fault *fault, struct lp_bytes octets)
{
    amqp091_text_add(fault, "<<");
    /* A text that is full already takes no more: stop there. */
    for (uint32_t i = 0; i < octets.size && fault->text_bytes < LP_FAULT_TEXT_BYTES; i++) {
        uint8_t number[4];
        struct lp_writer writer = lp_writer_of(number, sizeof(number));
        if (i > 0) {
            lp_writer_u8(&writer, ',');
        }
        octet_write(&writer, octets.data[i]);
        amqp091_text_add_bytes(fault, lp_writer_bytes(&writer));
    }
    amqp091_text_add(fault, ">>");
}
