/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_merge.c - what a queue's arguments, its policy and its operator policy
 * come to: the settings that its home shard obeys (queue_settings.h).
 *
 * C149: of numbers the smallest counts; where words differ the argument wins,
 * except for the overflow of quorum queues.
 */
#include "control/topology/policy.h"

/* RabbitMQ's default. */
#define DELIVERY_LIMIT INT64_C(20)

/* One setting as its three sources have it. */
struct source {
    bool has_argument;
    struct lp_field argument;
    const json_t *policy; /* of both policies, or NULL */
};

static struct source
source_of(const struct lp_catalog_queue *queue, const char *argument, enum policy_key key)
{
    struct source source = {.policy = policy_value(queue->policy, queue->operator_policy, key)};
    source.has_argument = lp_field_find(queue->arguments, argument, &source.argument);
    return source;
}

/* Both where they are numbers; what is none counts for nothing.  False: there is neither. */
static bool
numbers_of(const struct source *source, int64_t *ret_argument, int64_t *ret_policy)
{
    const bool argument = source->has_argument && lp_field_is_integer(source->argument.type);
    const bool policy = source->policy != NULL;
    if (argument || policy) {
        const int64_t value = argument ? lp_field_integer(&source->argument) : 0;
        const int64_t policy_number = policy ? json_integer_value(source->policy) : value;
        *ret_argument = argument ? value : policy_number;
        *ret_policy = policy_number;
        return true;
    }
    return false;
}

/* The smaller one; a negative one is LP_SETTING_UNSET, and so is none. */
static uint64_t
smallest(const struct lp_catalog_queue *queue, const char *argument, enum policy_key key)
{
    const struct source source = source_of(queue, argument, key);
    int64_t value;
    int64_t policy;
    if (!numbers_of(&source, &value, &policy)) {
        return LP_SETTING_UNSET;
    }
    value = LP_MIN(value, policy);
    return value < 0 ? LP_SETTING_UNSET : (uint64_t)value;
}

static uint64_t
consumer_timeout(const struct lp_catalog *catalog, const struct lp_catalog_queue *queue)
{
    const struct source source = source_of(queue, "x-consumer-timeout", POLICY_CONSUMER_TIMEOUT);
    if (!source.has_argument && !source.policy) {
        return catalog->rules.consumer_timeout_ms;
    }
    return smallest(queue, "x-consumer-timeout", POLICY_CONSUMER_TIMEOUT);
}

/* Of quorum queues; a negative limit is none, unless the other source has one. */
static uint64_t
delivery_limit(const struct lp_catalog_queue *queue)
{
    const struct source source = source_of(queue, "x-delivery-limit", POLICY_DELIVERY_LIMIT);
    int64_t value = DELIVERY_LIMIT;
    int64_t policy = DELIVERY_LIMIT;
    if (!numbers_of(&source, &value, &policy) && source.has_argument) {
        return LP_SETTING_UNSET; /* no number at all: nothing reaches it */
    }
    value = value < 0 || policy < 0 ? LP_MAX(value, policy) : LP_MIN(value, policy);
    return value < 0 ? LP_SETTING_UNSET : (uint64_t)value;
}

/* The argument's word, or the policy's; false: neither. */
static bool
word_of(const struct source *source, bool policy_wins, struct lp_bytes *ret_word)
{
    if (source->has_argument && !(policy_wins && source->policy)) {
        *ret_word = source->argument.raw;
        return true;
    }
    if (source->policy) {
        *ret_word = lp_bytes_of(json_string_value(source->policy),
                                (uint32_t)json_string_length(source->policy));
        return true;
    }
    return false;
}

/* Quorum queues know no reject-publish-dlx: RabbitMQ warns and drops from the head. */
static uint8_t
overflow_of(const struct lp_catalog_queue *queue)
{
    const struct source source = source_of(queue, "x-overflow", POLICY_OVERFLOW);
    struct lp_bytes mode;
    if (!word_of(&source, queue->kind == LP_QUEUE_QUORUM, &mode)) {
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
    const struct source exchange =
        source_of(queue, "x-dead-letter-exchange", POLICY_DEAD_LETTER_EXCHANGE);
    const struct source key = source_of(queue, "x-dead-letter-routing-key", POLICY_DEAD_LETTER_KEY);
    settings->dead_letters = word_of(&exchange, false, &settings->dead_letter_exchange);
    /* A key without an exchange is for nothing. */
    settings->has_dead_letter_key =
        settings->dead_letters && word_of(&key, false, &settings->dead_letter_key);
}

struct lp_queue_settings
lp_catalog_queue_settings(const struct lp_catalog *catalog, const struct lp_catalog_queue *queue)
{
    struct lp_queue_settings settings = lp_queue_settings_none();
    struct lp_field single;
    settings.message_ttl_ms = smallest(queue, "x-message-ttl", POLICY_MESSAGE_TTL);
    settings.expires_ms = smallest(queue, "x-expires", POLICY_EXPIRES);
    settings.max_length = smallest(queue, "x-max-length", POLICY_MAX_LENGTH);
    settings.max_length_bytes = smallest(queue, "x-max-length-bytes", POLICY_MAX_LENGTH_BYTES);
    settings.consumer_timeout_ms = consumer_timeout(catalog, queue);
    if (queue->kind == LP_QUEUE_QUORUM) {
        settings.delivery_limit = delivery_limit(queue);
    }
    settings.overflow = overflow_of(queue);
    settings.max_priority = priority_of(queue);
    settings.single_active_consumer =
        lp_field_find(queue->arguments, "x-single-active-consumer", &single) &&
        single.type == 't' && single.raw.data[0] != 0;
    dead_letters_set(queue, &settings);
    return settings;
}
