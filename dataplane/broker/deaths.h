/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deaths.h - how often, where and why a message has died: what x-death tells,
 * and what ends a circle of dead-letter exchanges (C153 to C156).
 *
 * Kept as an annotation of the message (LP_ANNOTATION_DEATHS), so that nothing
 * a client writes into its headers is mistaken for it.  One record for each
 * queue and reason, the newest death's first.
 *
 *   Memory    borrowed views into the encoded records
 */
#pragma once

#include <lepus/bytes.h>

/* Why a message is dead; x-death's reasons (C154). */
enum lp_death {
    LP_DEATH_REJECTED,
    LP_DEATH_EXPIRED,
    LP_DEATH_MAXLEN,
    LP_DEATH_DELIVERY_LIMIT,
    LP_DEATH_COUNT,
};

/* Of all deaths in one queue for one reason. */
struct lp_death_record {
    uint8_t why;            /* enum lp_death */
    bool first;             /* the first death of all was one of these */
    bool expires;           /* it had an expiration of its own then */
    uint64_t count;         /* how many */
    uint64_t time_ms;       /* of the first of these, as are the fields below */
    uint64_t expiration_ms; /* with `expires` */
    struct lp_bytes queue;
    struct lp_bytes exchange; /* that it was published to */
    struct lp_bytes keys;     /* ... and its routing keys, long_le each */
};

/* Bytes of a record without its names and keys. */
#define LP_DEATH_RECORD_BYTES 32u

/* "rejected", ... */
const char *lp_death_name(enum lp_death why);

/* The next record; false at the end. */
bool lp_death_next(struct lp_reader *deaths, struct lp_death_record *ret_record);

/* Are these records?  For bytes that come from a disk. */
bool lp_deaths_are(struct lp_bytes deaths);

/*
 * `deaths` after one more: `now` (whose count and `first` do not matter) when
 * it is the first in that queue for that reason, else the record that is
 * there, counted up, before all others.
 */
void lp_deaths_write(struct lp_writer *writer, struct lp_bytes deaths,
                     const struct lp_death_record *now);
