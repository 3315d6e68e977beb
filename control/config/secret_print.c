/* SPDX-License-Identifier: Apache-2.0 */
/* secret_print.c - terms that were encrypted, as text, as JSON, and as a setting's bytes. */
#include "secret_term.h"

#include <stdlib.h>
#include <string.h>

/* ---- into text ---- */

static void term_print(struct lp_reader *reader, FILE *out, bool json, unsigned depth);

static void
byte_print(FILE *out, uint8_t byte)
{
    uint8_t utf8[4] = {0};
    const size_t bytes = secret_utf8_write(byte, utf8); /* of Latin 1 */
    (void)fwrite(utf8, bytes, 1, out);
}

/* Between quotes of Erlang's, or of JSON's. */
static void
character_print(FILE *out, uint8_t byte, char quote)
{
    static const char values[] = "\n\r\t\v\b\f\x1b";
    static const char letters[] = "nrtvbfe";
    const char *special = byte != 0 ? strchr(values, byte) : NULL;
    if (special != NULL) {
        (void)fprintf(out, "\\%c", letters[special - values]);
    } else if (byte == (uint8_t)quote || byte == '\\') {
        (void)fprintf(out, "\\%c", byte);
    } else if (byte < 32 || byte == 127) {
        (void)fprintf(out, "\\%03o", byte);
    } else {
        byte_print(out, byte);
    }
}

static bool
is_printable(struct lp_bytes text)
{
    for (uint32_t i = 0; i < text.size; i++) {
        const uint8_t byte = text.data[i];
        const bool shown =
            (byte >= 32 && byte < 127) || byte >= 160 || (byte >= 8 && byte <= 13) || byte == 27;
        if (!shown) {
            return false;
        }
    }
    return true;
}

static void
quoted_print(FILE *out, struct lp_bytes text, char quote)
{
    (void)fputc(quote, out);
    for (uint32_t i = 0; i < text.size; i++) {
        character_print(out, text.data[i], quote);
    }
    (void)fputc(quote, out);
}

static void
numbers_print(FILE *out, struct lp_bytes text, const char *open, const char *close)
{
    (void)fputs(open, out);
    for (uint32_t i = 0; i < text.size; i++) {
        (void)fprintf(out, "%s%u", i > 0 ? "," : "", text.data[i]);
    }
    (void)fputs(close, out);
}

/* What is UTF-8 already, or nothing that JSON has. */
static void
json_print(FILE *out, struct lp_bytes text)
{
    (void)fputc('"', out);
    for (uint32_t i = 0; i < text.size; i++) {
        const uint8_t byte = text.data[i];
        if (byte < 32) {
            (void)fprintf(out, "\\u%04x", byte);
        } else {
            (void)fprintf(out, "%s%c", byte == '"' || byte == '\\' ? "\\" : "", byte);
        }
    }
    (void)fputc('"', out);
}

static void
binary_print(FILE *out, struct lp_bytes text, bool json)
{
    if (json) {
        json_print(out, text);
    } else if (is_printable(text)) {
        (void)fputs("<<", out);
        if (text.size > 0) {
            quoted_print(out, text, '"');
        }
        (void)fputs(">>", out);
    } else {
        numbers_print(out, text, "<<", ">>");
    }
}

/* Its name is UTF-8. */
static void
atom_print(FILE *out, struct lp_bytes name, bool json)
{
    bool plain = name.size > 0 && name.data[0] >= 'a' && name.data[0] <= 'z';
    for (uint32_t i = 0; i < name.size; i++) {
        const uint8_t c = name.data[i];
        plain = plain && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '_' || c == '@');
    }
    if (json) {
        json_print(out, name);
        return;
    }
    (void)fputs(plain ? "" : "'", out);
    for (uint32_t i = 0; i < name.size; i++) {
        if (name.data[i] < 0x80) {
            character_print(out, name.data[i], '\'');
        } else {
            (void)fputc(name.data[i], out);
        }
    }
    (void)fputs(plain ? "" : "'", out);
}

static void
elements_print(struct lp_reader *reader, FILE *out, uint32_t count, bool json, unsigned depth)
{
    for (uint32_t i = 0; i < count && !reader->failed; i++) {
        (void)fputs(i > 0 ? "," : "", out);
        term_print(reader, out, json, depth + 1);
    }
}

static void
list_print(struct lp_reader *reader, FILE *out, bool json, unsigned depth)
{
    const uint32_t count = lp_reader_u32be(reader);
    (void)fputc('[', out);
    elements_print(reader, out, count, json, depth);
    reader->failed |= lp_reader_u8(reader) != SECRET_TAG_NIL;
    (void)fputc(']', out);
}

static void
term_print(struct lp_reader *reader, FILE *out, bool json, unsigned depth)
{
    const uint8_t tag = lp_reader_u8(reader);
    if (depth > SECRET_NESTING_MAX) {
        reader->failed = true;
        return;
    }
    switch (tag) {
    case SECRET_TAG_SMALL_INTEGER:
        (void)fprintf(out, "%u", lp_reader_u8(reader));
        return;
    case SECRET_TAG_INTEGER:
        (void)fprintf(out, "%d", (int32_t)lp_reader_u32be(reader));
        return;
    case SECRET_TAG_ATOM:
    case SECRET_TAG_ATOM_UTF8:
        atom_print(out, lp_reader_bytes(reader, lp_reader_u16be(reader)), json);
        return;
    case SECRET_TAG_SMALL_ATOM_LATIN:
    case SECRET_TAG_SMALL_ATOM_UTF8:
        atom_print(out, lp_reader_bytes(reader, lp_reader_u8(reader)), json);
        return;
    case SECRET_TAG_STRING: {
        const struct lp_bytes text = lp_reader_bytes(reader, lp_reader_u16be(reader));
        if (!json && is_printable(text)) {
            quoted_print(out, text, '"');
        } else {
            numbers_print(out, text, "[", "]");
        }
        return;
    }
    case SECRET_TAG_BINARY:
        binary_print(out, lp_reader_bytes(reader, lp_reader_u32be(reader)), json);
        return;
    case SECRET_TAG_NIL:
        (void)fputs("[]", out);
        return;
    case SECRET_TAG_LIST:
        list_print(reader, out, json, depth);
        return;
    case SECRET_TAG_SMALL_TUPLE:
        (void)fputc(json ? '[' : '{', out);
        elements_print(reader, out, lp_reader_u8(reader), json, depth);
        (void)fputc(json ? ']' : '}', out);
        return;
    default:
        reader->failed = true;
    }
}

static bool
term_show(struct lp_bytes term, FILE *out, bool json)
{
    struct lp_reader reader = lp_reader_of_bytes(term);
    char *text = NULL;
    size_t bytes = 0;
    FILE *memory = open_memstream(&text, &bytes);
    if (memory == NULL) {
        return false;
    }
    reader.failed |= lp_reader_u8(&reader) != SECRET_TAG_VERSION;
    term_print(&reader, memory, json, 0);
    bool good = fclose(memory) == 0 && !reader.failed;
    good = good && fwrite(text, 1, bytes, out) == bytes;
    if (text != NULL) {
        explicit_bzero(text, bytes);
    }
    free(text);
    return good;
}

bool
lp_secret_term_print(struct lp_bytes term, FILE *out)
{
    return term_show(term, out, false);
}

bool
lp_secret_term_json(struct lp_bytes term, FILE *out)
{
    return term_show(term, out, true);
}

/* ---- as bytes ---- */

bool
lp_secret_term_bytes(struct lp_bytes term, struct lp_secret *ret_bytes)
{
    struct lp_reader reader = lp_reader_of_bytes(term);
    struct lp_bytes text = {0};
    char number[16];
    reader.failed |= lp_reader_u8(&reader) != SECRET_TAG_VERSION;
    switch (lp_reader_u8(&reader)) {
    case SECRET_TAG_STRING:
    case SECRET_TAG_ATOM:
    case SECRET_TAG_ATOM_UTF8:
        text = lp_reader_bytes(&reader, lp_reader_u16be(&reader));
        break;
    case SECRET_TAG_SMALL_ATOM_LATIN:
    case SECRET_TAG_SMALL_ATOM_UTF8:
        text = lp_reader_bytes(&reader, lp_reader_u8(&reader));
        break;
    case SECRET_TAG_BINARY:
        text = lp_reader_bytes(&reader, lp_reader_u32be(&reader));
        break;
    case SECRET_TAG_SMALL_INTEGER:
        (void)snprintf(number, sizeof(number), "%u", lp_reader_u8(&reader));
        text = lp_bytes_of_text(number);
        break;
    case SECRET_TAG_INTEGER:
        (void)snprintf(number, sizeof(number), "%d", (int32_t)lp_reader_u32be(&reader));
        text = lp_bytes_of_text(number);
        break;
    case SECRET_TAG_NIL:
        break;
    default:
        reader.failed = true;
    }
    return !reader.failed && secret_copy(ret_bytes, text.data, text.size);
}

/* The bytes of a string or a binary, and nothing else; false: it is neither. */
static bool
text_of(struct lp_bytes term, struct lp_bytes *ret_text)
{
    struct lp_reader reader = lp_reader_of_bytes(term);
    (void)lp_reader_u8(&reader);
    const uint8_t tag = lp_reader_u8(&reader);
    if (tag != SECRET_TAG_STRING && tag != SECRET_TAG_BINARY) {
        return false;
    }
    const uint32_t bytes =
        tag == SECRET_TAG_STRING ? lp_reader_u16be(&reader) : lp_reader_u32be(&reader);
    *ret_text = lp_reader_bytes(&reader, bytes);
    return !reader.failed;
}

bool
lp_secret_term_base64(struct lp_bytes term, struct lp_bytes *ret_base64)
{
    static const uint8_t tagged[] = {SECRET_TAG_VERSION,
                                     SECRET_TAG_SMALL_TUPLE,
                                     2,
                                     SECRET_TAG_SMALL_ATOM_UTF8,
                                     9,
                                     'e',
                                     'n',
                                     'c',
                                     'r',
                                     'y',
                                     'p',
                                     't',
                                     'e',
                                     'd'};
    if (term.size > sizeof(tagged) && memcmp(term.data, tagged, sizeof(tagged)) == 0) {
        /* Its second element, behind a byte that stands where a version would. */
        const uint32_t skip = (uint32_t)sizeof(tagged) - 1;
        return text_of(lp_bytes_of(term.data + skip, term.size - skip), ret_base64);
    }
    return text_of(term, ret_base64);
}
