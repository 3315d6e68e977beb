/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret_parse.c - the terms that are encrypted, from Erlang's source.
 *
 * What people encrypt is a string, a binary or an atom; numbers, tuples and
 * lists are here because rabbitmqctl takes them.  Anything else is refused.
 */
#include "secret_term.h"

#include <stdlib.h>
#include <string.h>

#define TERM_MAX (64u << 10)

/* ---- from source ---- */

struct source {
    const char *at;
    uint8_t out[TERM_MAX];
    size_t used;
    uint32_t text[TERM_MAX / 8]; /* of the string that is read */
    bool failed;
};

static void
put(struct source *source, const void *data, size_t bytes)
{
    if (bytes > sizeof(source->out) - source->used) {
        source->failed = true;
        return;
    }
    memcpy(source->out + source->used, data, bytes);
    source->used += bytes;
}

static void
put_number(struct source *source, uint32_t value, unsigned bytes)
{
    const uint8_t big[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                            (uint8_t)value};
    put(source, big + 4 - bytes, bytes);
}

static void
put_tag(struct source *source, enum secret_tag tag)
{
    put_number(source, tag, 1);
}

static void
blanks_skip(struct source *source)
{
    source->at += strspn(source->at, " \t\r\n");
}

static bool
accept(struct source *source, const char *word)
{
    const size_t bytes = strlen(word);
    blanks_skip(source);
    if (strncmp(source->at, word, bytes) != 0) {
        return false;
    }
    source->at += bytes;
    return true;
}

/* One character of UTF-8; 0 at the end, UINT32_MAX for what is none. */
static uint32_t
character_next(struct source *source)
{
    const uint8_t *at = (const uint8_t *)source->at;
    const unsigned more = at[0] < 0x80 ? 0 : at[0] >= 0xf0 ? 3 : at[0] >= 0xe0 ? 2 : 1;
    uint32_t value = more == 0 ? at[0] : at[0] & (0x3fu >> more);
    if (at[0] == 0 || (at[0] >= 0x80 && at[0] < 0xc2)) {
        return at[0] == 0 ? 0 : UINT32_MAX;
    }
    for (unsigned i = 1; i <= more; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return UINT32_MAX;
        }
        value = value << 6 | (at[i] & 0x3fu);
    }
    source->at += 1 + more;
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
        return UINT32_MAX;
    }
    return value;
}

/* Behind a backslash. */
static uint32_t
escape_next(struct source *source)
{
    static const char letters[] = "nrtvbfesd";
    static const uint8_t values[] = {'\n', '\r', '\t', '\v', '\b', '\f', 27, ' ', 127};
    char *end;
    const char first = *source->at;
    const char *letter = first != '\0' ? strchr(letters, first) : NULL;
    if (letter != NULL) {
        source->at++;
        return values[letter - letters];
    }
    if (first >= '0' && first <= '7') {
        uint32_t value = 0;
        for (unsigned i = 0; i < 3 && *source->at >= '0' && *source->at <= '7'; i++) {
            value = value * 8 + (uint32_t)(*source->at++ - '0');
        }
        return value;
    }
    if (first == 'x') {
        const bool braces = source->at[1] == '{';
        char digits[3] = "";
        memcpy(digits, source->at + 1, strnlen(source->at + 1, 2));
        const char *from = braces ? source->at + 2 : digits;
        const unsigned long value = strtoul(from, &end, 16);
        const bool good = braces ? end > from && *end == '}' : end == digits + 2;
        if (!good || value > 0x10ffff) {
            source->failed = true;
            return 0;
        }
        source->at = braces ? end + 1 : source->at + 3;
        return (uint32_t)value;
    }
    const uint32_t itself = character_next(source);
    source->failed |= itself == 0 || itself == UINT32_MAX;
    return itself;
}

/* Characters up to a closing quote, into `ret_text`; their number, or SIZE_MAX. */
static size_t
quoted_read(struct source *source, char quote, uint32_t *ret_text, size_t room)
{
    size_t count = 0;
    for (;;) {
        const uint32_t value = character_next(source);
        const bool end = value == (uint32_t)quote;
        if (end) {
            return count;
        }
        if (value == 0 || value == UINT32_MAX || count == room) {
            source->failed = true;
            return 0;
        }
        ret_text[count++] = value == '\\' ? escape_next(source) : value;
        if (source->failed) {
            return 0;
        }
    }
}

static bool
is_utf8_wanted(struct source *source)
{
    return accept(source, "/utf8");
}

static void
put_integer(struct source *source, long long value)
{
    if (value >= 0 && value <= 255) {
        put_tag(source, SECRET_TAG_SMALL_INTEGER);
        put_number(source, (uint32_t)value, 1);
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
        put_tag(source, SECRET_TAG_INTEGER);
        put_number(source, (uint32_t)value, 4);
    } else {
        source->failed = true;
    }
}

static void
put_atom(struct source *source, const uint8_t *name, size_t bytes)
{
    const bool small = bytes <= 255;
    put_tag(source, small ? SECRET_TAG_SMALL_ATOM_UTF8 : SECRET_TAG_ATOM_UTF8);
    put_number(source, (uint32_t)bytes, small ? 1 : 2);
    put(source, name, bytes);
}

static void
string_parse(struct source *source)
{
    uint32_t *text = source->text;
    const size_t count = quoted_read(source, '"', text, LP_COUNT_OF(source->text));
    bool bytes = true;
    for (size_t i = 0; i < count; i++) {
        bytes = bytes && text[i] < 256;
    }
    if (count == 0) {
        put_tag(source, SECRET_TAG_NIL);
    } else {
        put_tag(source, bytes ? SECRET_TAG_STRING : SECRET_TAG_LIST);
        put_number(source, (uint32_t)count, bytes ? 2 : 4);
        for (size_t i = 0; i < count; i++) {
            if (bytes) {
                put_number(source, text[i], 1);
            } else {
                put_integer(source, text[i]);
            }
        }
        if (!bytes) {
            put_tag(source, SECRET_TAG_NIL);
        }
    }
}

/* Behind <<. */
static void
binary_parse(struct source *source)
{
    uint32_t *text = source->text;
    const size_t head = source->used;
    put_tag(source, SECRET_TAG_BINARY);
    put_number(source, 0, 4);
    while (!source->failed && !accept(source, ">>")) {
        uint8_t bytes[4];
        if (accept(source, "\"")) {
            const size_t count = quoted_read(source, '"', text, LP_COUNT_OF(source->text));
            const bool utf8 = is_utf8_wanted(source);
            for (size_t i = 0; i < count; i++) {
                const unsigned size = utf8 ? secret_utf8_write(text[i], bytes) : 1;
                bytes[0] = utf8 ? bytes[0] : (uint8_t)text[i];
                put(source, bytes, size);
            }
        } else {
            char *end;
            const unsigned long value = strtoul(source->at, &end, 10);
            source->failed |= end == source->at || *source->at < '0' || *source->at > '9';
            source->at = end;
            put_number(source, (uint32_t)(value & 255), 1);
        }
        source->failed |= !accept(source, ",") && strncmp(source->at, ">>", 2) != 0;
    }
    if (!source->failed) {
        const uint32_t bytes = (uint32_t)(source->used - head - 5);
        source->used = head + 1;
        put_number(source, bytes, 4);
        source->used += bytes;
    }
}

static void
atom_parse(struct source *source)
{
    uint32_t text[256];
    uint8_t name[sizeof(text)];
    size_t bytes = 0;
    if (accept(source, "'")) {
        const size_t count = quoted_read(source, '\'', text, 255);
        for (size_t i = 0; i < count; i++) {
            bytes += secret_utf8_write(text[i], name + bytes);
        }
    } else {
        while (bytes < 255 &&
               strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@",
                      source->at[bytes]) != NULL &&
               source->at[bytes] != '\0') {
            bytes++;
        }
        source->failed |= bytes == 0 || source->at[0] < 'a' || source->at[0] > 'z';
        memcpy(name, source->at, bytes);
        source->at += bytes;
    }
    put_atom(source, name, bytes);
    explicit_bzero(text, sizeof(text));
    explicit_bzero(name, sizeof(name));
}

static void term_parse(struct source *source, unsigned depth);

/* Behind its bracket. */
static void
sequence_parse(struct source *source, bool tuple, unsigned depth)
{
    const char *close = tuple ? "}" : "]";
    const size_t head = source->used;
    uint32_t count = 0;
    put_tag(source, tuple ? SECRET_TAG_SMALL_TUPLE : SECRET_TAG_LIST);
    put_number(source, 0, tuple ? 1 : 4);
    if (accept(source, close)) {
        if (!tuple) {
            source->used = head;
            put_tag(source, SECRET_TAG_NIL);
        }
        return;
    }
    do {
        term_parse(source, depth + 1);
        count++;
    } while (!source->failed && accept(source, ","));
    source->failed |= !accept(source, close) || (tuple && count > 255);
    if (!tuple) {
        put_tag(source, SECRET_TAG_NIL);
    }
    const size_t end = source->used;
    source->used = head + 1;
    put_number(source, count, tuple ? 1 : 4);
    source->used = end;
}

static void
term_parse(struct source *source, unsigned depth)
{
    char *end;
    if (depth > SECRET_NESTING_MAX || source->failed) {
        source->failed = true;
        return;
    }
    if (accept(source, "\"")) {
        string_parse(source);
    } else if (accept(source, "<<")) {
        binary_parse(source);
    } else if (accept(source, "{")) {
        sequence_parse(source, true, depth);
    } else if (accept(source, "[")) {
        sequence_parse(source, false, depth);
    } else if (accept(source, "$")) {
        const uint32_t value = character_next(source);
        source->failed |= value == 0 || value == UINT32_MAX;
        put_integer(source, value == '\\' ? escape_next(source) : value);
    } else if (strchr("-0123456789", *source->at) != NULL && *source->at != '\0') {
        const long long value = strtoll(source->at, &end, 10);
        source->failed |= end == source->at || *end == '.' || *end == '#';
        source->at = end;
        put_integer(source, value);
    } else {
        atom_parse(source);
    }
}

bool
lp_secret_term_parse(const char *text, struct lp_secret *ret_term)
{
    struct source *source = calloc(1, sizeof(*source));
    if (source == NULL) {
        return false;
    }
    source->at = text;
    put_tag(source, SECRET_TAG_VERSION);
    term_parse(source, 0);
    blanks_skip(source);
    const bool good =
        !source->failed && *source->at == '\0' && secret_copy(ret_term, source->out, source->used);
    explicit_bzero(source, sizeof(*source));
    free(source);
    return good;
}
