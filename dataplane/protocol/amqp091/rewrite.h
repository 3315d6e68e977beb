/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rewrite.h - properties of a message that the broker publishes again: parts
 * to copy, headers to change.
 *
 *   Memory    borrowed views into the raw properties, which are well-formed
 */
#pragma once

#include <lepus/bytes.h>

struct amqp091_property_parts {
    uint16_t flags;
    struct lp_bytes before;     /* content type and encoding */
    struct lp_bytes headers;    /* the table without its length */
    struct lp_bytes middle;     /* up to the expiration */
    struct lp_bytes expiration; /* its length and text */
    struct lp_bytes behind;
};

void amqp091_properties_split(struct lp_bytes raw, struct amqp091_property_parts *ret_parts);

/* Flags with headers, and what is before the headers' length. */
void amqp091_rewrite_begin(struct lp_writer *writer, const struct amqp091_property_parts *parts);
/* What is behind the headers. */
void amqp091_rewrite_end(struct lp_writer *writer, const struct amqp091_property_parts *parts);

/* The fields of a table that are none of `names`, as they are. */
void amqp091_rewrite_keep(struct lp_writer *writer, struct lp_bytes table, const char *const *names,
                          size_t count);

/* Fields of tables, and lengths that are known later. */
void amqp091_field_name(struct lp_writer *writer, const char *name, char type);
void amqp091_field_text(struct lp_writer *writer, const char *name, struct lp_bytes text);
size_t amqp091_length_begin(struct lp_writer *writer);
void amqp091_length_end(struct lp_writer *writer, size_t at);
