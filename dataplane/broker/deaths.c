/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Record: why u8, flags u8, count u64, time u64, expiration u64, queue short,
 * exchange short, keys long_le.
 */
#include "dataplane/broker/deaths.h"

#include "dataplane/broker/annotations.h"

enum death_flag {
    DEATH_FIRST = 1,
    DEATH_EXPIRES = 2,
};

const char *
lp_death_name(enum lp_death why)
{
    static const char *const names[LP_DEATH_COUNT] = {
        [LP_DEATH_REJECTED] = "rejected",
        [LP_DEATH_EXPIRED] = "expired",
        [LP_DEATH_MAXLEN] = "maxlen",
        [LP_DEATH_DELIVERY_LIMIT] = "delivery_limit",
    };
    LP_ASSERT(why < LP_DEATH_COUNT);
    return names[why];
}

static struct lp_death_record
death_read(struct lp_reader *deaths)
{
    struct lp_death_record record;
    record.why = lp_reader_u8(deaths);
    const uint8_t flags = lp_reader_u8(deaths);
    record.first = (flags & DEATH_FIRST) != 0;
    record.expires = (flags & DEATH_EXPIRES) != 0;
    record.count = lp_reader_u64le(deaths);
    record.time_ms = lp_reader_u64le(deaths);
    record.expiration_ms = lp_reader_u64le(deaths);
    record.queue = lp_reader_short(deaths);
    record.exchange = lp_reader_short(deaths);
    record.keys = lp_reader_long_le(deaths);
    return record;
}

bool
lp_death_next(struct lp_reader *deaths, struct lp_death_record *ret_record)
{
    if (lp_reader_left(deaths) == 0) {
        return false;
    }
    *ret_record = death_read(deaths);
    LP_ASSERT(!deaths->failed); /* we wrote it */
    return true;
}

bool
lp_deaths_are(struct lp_bytes deaths)
{
    struct lp_reader reader = lp_reader_of_bytes(deaths);
    while (lp_reader_left(&reader) > 0) {
        const struct lp_death_record record = death_read(&reader);
        if (reader.failed || record.why >= LP_DEATH_COUNT ||
            !lp_annotation_texts_are(record.keys)) {
            return false;
        }
    }
    return true;
}

static void
death_write(struct lp_writer *writer, const struct lp_death_record *record)
{
    lp_writer_u8(writer, record->why);
    lp_writer_u8(writer, (uint8_t)((record->first ? DEATH_FIRST : 0) |
                                   (record->expires ? DEATH_EXPIRES : 0)));
    lp_writer_u64le(writer, record->count);
    lp_writer_u64le(writer, record->time_ms);
    lp_writer_u64le(writer, record->expiration_ms);
    lp_writer_short(writer, record->queue);
    lp_writer_short(writer, record->exchange);
    lp_writer_long_le(writer, record->keys);
}

static bool
death_same(const struct lp_death_record *a, const struct lp_death_record *b)
{
    return a->why == b->why && lp_bytes_equal(a->queue, b->queue);
}

void
lp_deaths_write(struct lp_writer *writer, struct lp_bytes deaths, const struct lp_death_record *now)
{
    struct lp_death_record newest = *now;
    struct lp_death_record record;
    newest.count = 0;
    newest.first = deaths.size == 0;
    struct lp_reader reader = lp_reader_of_bytes(deaths);
    while (lp_death_next(&reader, &record)) {
        if (death_same(&record, now)) {
            newest = record;
        }
    }
    newest.count++;
    death_write(writer, &newest);
    reader = lp_reader_of_bytes(deaths);
    while (lp_death_next(&reader, &record)) {
        if (!death_same(&record, now)) {
            death_write(writer, &record);
        }
    }
}
