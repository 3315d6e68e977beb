/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/protocol/amqp091/copies.h"

#include <lepus/field_table.h>

#include "dataplane/protocol/amqp091/fault_text.h"

#define SECTION_BYTES 5u /* of an annotation, before its content */

struct copies {
    struct lp_bytes to;        /* CC's array */
    struct lp_bytes blind;     /* BCC's */
    struct lp_bytes blind_all; /* BCC's whole field in the headers, name and type included */
    const char *wrong;         /* the header that is no array, or NULL */
    char wrong_type;
};

static void
copies_note(struct copies *copies, const char *name, const struct lp_field *field,
            struct lp_bytes *array)
{
    if (field->type == 'A') {
        *array = field->raw;
    } else if (!copies->wrong || name[0] == 'C') { /* CC is looked at before BCC */
        copies->wrong = name;
        copies->wrong_type = field->type;
    }
}

/* The first of each name counts. */
static struct copies
copies_find(struct lp_bytes headers)
{
    struct copies copies = {0};
    struct lp_reader reader = lp_reader_of_bytes(headers);
    struct lp_field field;
    const uint8_t *from = reader.at;
    bool to = false;
    while (lp_field_next(&reader, &field)) {
        if (!to && lp_bytes_equal_text(field.name, "CC")) {
            to = true;
            copies_note(&copies, "CC", &field, &copies.to);
        } else if (!copies.blind_all.data && lp_bytes_equal_text(field.name, "BCC")) {
            copies.blind_all = lp_bytes_of(from, (uint32_t)(reader.at - from));
            copies_note(&copies, "BCC", &field, &copies.blind);
        }
        from = reader.at;
    }
    return copies;
}

static void
keys_write(struct lp_writer *writer, struct lp_bytes array)
{
    struct lp_reader reader = lp_reader_of_bytes(array);
    struct lp_field key;
    while (lp_reader_left(&reader) > 0 && lp_field_value_read(&reader, &key)) {
        if (key.type == 'S') {
            lp_writer_long_le(writer, key.raw);
        }
    }
}

/* A section of annotations with these arrays' keys; nothing without any. */
static void
section_write(struct lp_writer *writer, enum lp_annotation which, const struct lp_bytes *arrays,
              uint32_t count)
{
    struct lp_writer start = *writer;
    lp_writer_u8(writer, (uint8_t)which);
    lp_writer_u32le(writer, 0);
    for (uint32_t i = 0; i < count; i++) {
        keys_write(writer, arrays[i]);
    }
    const uint32_t bytes = (uint32_t)(writer->at - start.at) - SECTION_BYTES;
    if (bytes == 0) {
        *writer = start;
        return;
    }
    start.at += 1;
    lp_writer_u32le(&start, bytes);
}

/* The properties without BCC's field. */
static void
properties_cut(struct lp_writer *writer, struct lp_bytes raw, struct lp_bytes headers,
               struct lp_bytes cut)
{
    const uint8_t *table = headers.data - sizeof(uint32_t);
    lp_writer_copy(writer, raw.data, (size_t)(table - raw.data));
    lp_writer_u32be(writer, headers.size - cut.size);
    lp_writer_copy(writer, headers.data, (size_t)(cut.data - headers.data));
    const uint8_t *behind = cut.data + cut.size;
    lp_writer_copy(writer, behind, (size_t)(raw.data + raw.size - behind));
}

bool
amqp091_copies_take(struct lp_memory *memory, struct amqp091_properties *properties,
                    struct lp_message_parts *parts, void **ret_block)
{
    struct amqp091_properties found; /* the message's own: its reply_to may be another */
    const bool well_formed = amqp091_properties_read(parts->properties, &found);
    LP_ASSERT(well_formed);
    const struct copies copies = copies_find(found.headers);
    const struct lp_bytes all[] = {copies.to, copies.blind};
    *ret_block = NULL;
    if (copies.wrong) {
        return true;
    }
    const uint64_t bytes = 2 * SECTION_BYTES + (uint64_t)copies.to.size +
                           2 * (uint64_t)copies.blind.size + parts->properties.size;
    void *block = lp_memory_alloc(memory, bytes);
    if (!block) {
        return false;
    }
    struct lp_writer writer = lp_writer_of(block, bytes);
    section_write(&writer, LP_ANNOTATION_KEYS, all, 2);
    section_write(&writer, LP_ANNOTATION_HIDDEN, &copies.blind, 1);
    parts->annotations = lp_writer_bytes(&writer);
    if (copies.blind_all.size > 0) {
        const uint8_t *start = writer.at;
        properties_cut(&writer, parts->properties, found.headers, copies.blind_all);
        parts->properties = lp_bytes_of(start, (uint32_t)(writer.at - start));
        properties->headers.size -= copies.blind_all.size;
    }
    LP_ASSERT(!writer.failed);
    *ret_block = block;
    return true;
}

void
amqp091_copies_fault(struct lp_bytes headers, struct lp_fault *fault)
{
    const struct copies copies = copies_find(headers);
    LP_ASSERT(copies.wrong);
    amqp091_text_make(fault, LP_FAULT_PRECONDITION_FAILED,
                      "invalid message: {unacceptable_type_in_header,\"");
    amqp091_text_add(fault, copies.wrong);
    amqp091_text_add(fault, "\",");
    amqp091_text_add(fault, lp_field_type_name(copies.wrong_type));
    amqp091_text_add(fault, "}");
}
