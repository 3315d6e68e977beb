/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_merge.c - what a queue's arguments come to: the settings that its home
 * shard obeys (queue_settings.h).
 */
#include "control/topology/catalog_internal.h"

/* RabbitMQ's defaults. */
#define DELIVERY_LIMIT      20u
#define CONSUMER_TIMEOUT_MS UINT64_C(1800000)

/* An integer argument, or `otherwise` when there is none; a negative one is LP_SETTING_UNSET. */
static uint64_t
number(struct lp_bytes arguments, const char *name, uint64_t otherwise)
{
    struct lp_field field;
    if (!lp_field_find(arguments, name, &field)) {
        return otherwise;
    }
    if (!lp_field_is_integer(field.type) || lp_field_integer(&field) < 0) {
        return LP_SETTING_UNSET;
    }
    return (uint64_t)lp_field_integer(&field);
}

static bool
word(struct lp_bytes arguments, const char *name, struct lp_bytes *ret_word)
{
    struct lp_field field;
    if (!lp_field_find(arguments, name, &field) || field.type != 'S') {
        return false;
    }
    *ret_word = field.raw;
    return true;
}

/* Quorum queues know no reject-publish-dlx: RabbitMQ warns and drops from the head. */
static uint8_t
overflow_of(const struct lp_catalog_queue *queue)
{
    struct lp_bytes mode;
    if (!word(queue->arguments, "x-overflow", &mode)) {
        return LP_OVERFLOW_DROP_HEAD;
    }
    if (lp_bytes_equal_text(mode, "reject-publish")) {
        return LP_OVERFLOW_REJECT_PUBLISH;
    }
    return lp_bytes_equal_text(mode, "reject-publish-dlx") && queue->kind == LP_QUEUE_CLASSIC
               ? LP_OVERFLOW_REJECT_PUBLISH_DLX
               : LP_OVERFLOW_DROP_HEAD;
}

/* A classic queue with x-max-priority has at least the levels 0 and 1. */
static uint8_t
priority_of(const struct lp_catalog_queue *queue)
{
    struct lp_field field;
    if (queue->kind != LP_QUEUE_CLASSIC ||
        !lp_field_find(queue->arguments, "x-max-priority", &field)) {
        return 0;
    }
    const int64_t asked = lp_field_integer(&field);
    return (uint8_t)LP_MAX(INT64_C(1), LP_MIN(asked, (int64_t)UINT8_MAX));
}

static void
dead_letters_set(const struct lp_catalog_queue *queue, struct lp_queue_settings *settings)
{
    settings->dead_letters =
        word(queue->arguments, "x-dead-letter-exchange", &settings->dead_letter_exchange);
    /* A key without an exchange is for nothing. */
    settings->has_dead_letter_key =
        settings->dead_letters &&
        word(queue->arguments, "x-dead-letter-routing-key", &settings->dead_letter_key);
}

struct lp_queue_settings
lp_catalog_queue_settings(const struct lp_catalog_queue *queue)
{
    const struct lp_bytes arguments = queue->arguments;
    struct lp_queue_settings settings = lp_queue_settings_none();
    struct lp_field single;
    settings.message_ttl_ms = number(arguments, "x-message-ttl", LP_SETTING_UNSET);
    settings.expires_ms = number(arguments, "x-expires", LP_SETTING_UNSET);
    settings.max_length = number(arguments, "x-max-length", LP_SETTING_UNSET);
    settings.max_length_bytes = number(arguments, "x-max-length-bytes", LP_SETTING_UNSET);
    settings.consumer_timeout_ms = number(arguments, "x-consumer-timeout", CONSUMER_TIMEOUT_MS);
    if (queue->kind == LP_QUEUE_QUORUM) {
        settings.delivery_limit = number(arguments, "x-delivery-limit", DELIVERY_LIMIT);
    }
    settings.overflow = overflow_of(queue);
    settings.max_priority = priority_of(queue);
    settings.single_active_consumer =
        lp_field_find(arguments, "x-single-active-consumer", &single) && single.type == 't' &&
        single.raw.data[0] != 0;
    dead_letters_set(queue, &settings);
    return settings;
}
