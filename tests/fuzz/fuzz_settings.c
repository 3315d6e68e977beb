/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_settings.c - settings of queues and notes of deaths: read back, they
 * are what was written, whatever it was.
 *
 * Input: a record of settings; what is left are deaths, {why u8, size u8, the
 * queue's name} each, the name's last octets serving as exchange and keys.
 */
#include <stdlib.h>

#include <lepus/queue_settings.h>

#include "dataplane/broker/deaths.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define DEATHS_BYTES_MAX (64u << 10)

static void
settings_again(const struct lp_queue_settings *settings)
{
    uint8_t room[LP_QUEUE_SETTINGS_BYTES_MAX];
    struct lp_queue_settings again;
    struct lp_writer writer = lp_writer_of(room, sizeof(room));
    lp_queue_settings_write(&writer, settings);
    LP_ASSERT(!writer.failed);
    const bool good = lp_queue_settings_read(lp_writer_bytes(&writer), &again);
    LP_ASSERT(good);
    LP_ASSERT(again.message_ttl_ms == settings->message_ttl_ms &&
              again.max_priority == settings->max_priority &&
              again.overflow == settings->overflow &&
              lp_bytes_equal(again.dead_letter_key, settings->dead_letter_key));
}

/* Each (queue, reason) once, the newest first, and all are there. */
static uint64_t
deaths_check(struct lp_bytes deaths, const struct lp_death_record *newest)
{
    struct lp_death_record record;
    struct lp_reader reader = lp_reader_of_bytes(deaths);
    uint64_t total = 0;
    uint32_t firsts = 0;
    for (uint32_t i = 0; lp_death_next(&reader, &record); i++) {
        if (i == 0) {
            LP_ASSERT(record.why == newest->why && lp_bytes_equal(record.queue, newest->queue));
        }
        total += record.count;
        firsts += record.first;
    }
    LP_ASSERT(!reader.failed && lp_reader_left(&reader) == 0);
    LP_ASSERT(firsts == 1);
    return total;
}

static void
deaths_grow(struct lp_reader *reader)
{
    uint8_t *now = malloc(DEATHS_BYTES_MAX);
    uint8_t *next = malloc(DEATHS_BYTES_MAX);
    struct lp_bytes deaths = lp_bytes_of(now, 0);
    LP_ASSERT(now && next);
    for (uint64_t count = 1; lp_reader_left(reader) > 0; count++) {
        const uint8_t why = lp_reader_u8(reader) % LP_DEATH_COUNT;
        const uint32_t size = lp_reader_u8(reader);
        const struct lp_bytes name =
            lp_reader_bytes(reader, LP_MIN(size, (uint32_t)lp_reader_left(reader)));
        const struct lp_death_record one = {
            .why = why, .time_ms = count, .queue = name, .exchange = name, .keys = name};
        struct lp_writer writer = lp_writer_of(next, DEATHS_BYTES_MAX);
        lp_deaths_write(&writer, deaths, &one);
        if (writer.failed) {
            break;
        }
        deaths = lp_writer_bytes(&writer);
        LP_ASSERT(deaths_check(deaths, &one) == count);
        uint8_t *swap = now;
        now = next;
        next = swap;
    }
    free(now);
    free(next);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes > 16384) {
        return 0;
    }
    struct lp_queue_settings settings;
    const struct lp_bytes all = lp_bytes_of(data, (uint32_t)bytes);
    if (lp_queue_settings_read(all, &settings)) {
        settings_again(&settings);
    }
    struct lp_reader reader = lp_reader_of_bytes(all);
    deaths_grow(&reader);
    return 0;
}
