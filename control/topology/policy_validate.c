/* SPDX-License-Identifier: Apache-2.0 */
/* policy_validate.c - what may be in a policy's definition, with RabbitMQ's texts. */
#include "control/topology/policy.h"

#define SEGMENT_MAX_BYTES INT64_C(3000000000)

/* How a value is checked. */
struct check {
    json_int_t min, max;      /* of integers; min > max: it is no number */
    const char *const *words; /* NULL: any string of at most 255 bytes */
    const char *refusal;      /* behind the value */
};

static const char *const strategies[] = {"at-most-once", "at-least-once", NULL};
static const char *const modes[] = {"default", "lazy", NULL};
static const char *const overflows[] = {"drop-head", "reject-publish", "reject-publish-dlx", NULL};
static const char *const locators[] = {"client-local", "balanced", "random", "least-leaders", NULL};
static const char *const master_locators[] = {"client-local",  "balanced",    "random",
                                              "least-leaders", "min-masters", NULL};

#define NUMBER(least, most, refusal)     \
    {                                    \
        (least), (most), NULL, (refusal) \
    }
#define WORD(words, refusal)     \
    {                            \
        1, 0, (words), (refusal) \
    }

static const struct check checks[POLICY_KEY_COUNT] = {
    [POLICY_ALTERNATE_EXCHANGE] = WORD(NULL, "alternate exchange name"),
    [POLICY_CONSUMER_TIMEOUT] = NUMBER(0, INT64_MAX, "consumer timeout"),
    [POLICY_DEAD_LETTER_EXCHANGE] = WORD(NULL, "dead letter exchange name"),
    [POLICY_DEAD_LETTER_KEY] = WORD(NULL, "dead letter routing key"),
    [POLICY_DEAD_LETTER_STRATEGY] = WORD(strategies, "dead letter strategy"),
    [POLICY_DELIVERY_LIMIT] = NUMBER(INT64_MIN, INT64_MAX, "delivery limit"),
    [POLICY_EXPIRES] = NUMBER(1, INT64_MAX, "queue expiry"),
    [POLICY_INITIAL_CLUSTER_SIZE] = NUMBER(0, INT64_MAX, "cluster size"),
    [POLICY_MAX_AGE] = WORD(NULL, "max age"),
    [POLICY_MAX_IN_MEMORY_BYTES] = NUMBER(0, INT64_MAX, "maximum memory in bytes"),
    [POLICY_MAX_IN_MEMORY_LENGTH] = NUMBER(0, INT64_MAX, "maximum memory in bytes"),
    [POLICY_MAX_LENGTH] = NUMBER(0, INT64_MAX, "maximum length"),
    [POLICY_MAX_LENGTH_BYTES] = NUMBER(0, INT64_MAX, "maximum length in bytes"),
    [POLICY_MESSAGE_TTL] = NUMBER(0, INT64_MAX, "message TTL"),
    [POLICY_OVERFLOW] = WORD(overflows, "overflow value"),
    [POLICY_LEADER_LOCATOR] = WORD(locators, "queue leader locator value"),
    [POLICY_MASTER_LOCATOR] = WORD(master_locators, "master locator"),
    [POLICY_QUEUE_MODE] = WORD(modes, "queue-mode value"),
    [POLICY_QUEUE_VERSION] = NUMBER(1, 2, "queue-version value"),
    [POLICY_STREAM_FILTER_SIZE] = NUMBER(16, 255, "filter size. Valid range is 16-255"),
    [POLICY_STREAM_SEGMENT_SIZE] = NUMBER(0, SEGMENT_MAX_BYTES, "segment size"),
    [POLICY_TARGET_GROUP_SIZE] = NUMBER(1, INT64_MAX, "qq target count value"),
};

static bool
word_is_good(enum policy_key key, const struct check *check, const json_t *value)
{
    const char *text = json_string_value(value);
    if (!text || json_string_length(value) > UINT8_MAX) {
        return false; /* a longer name cannot exist */
    }
    if (key == POLICY_MAX_AGE) {
        return catalog_max_age_is_good(lp_bytes_of_text(text));
    }
    for (const char *const *word = check->words; word && *word; word++) {
        if (strcmp(*word, text) == 0) {
            return true;
        }
    }
    return !check->words;
}

static bool
value_validate(enum policy_key key, const json_t *value, struct lp_bytebuf *why)
{
    const struct check *check = &checks[key];
    const bool good = check->min > check->max
                          ? word_is_good(key, check, value)
                          : json_is_integer(value) && json_integer_value(value) >= check->min &&
                                json_integer_value(value) <= check->max;
    if (!good) {
        erlang_text_json(why, value);
        erlang_text_format(why, " is not a valid %s", check->refusal);
        return false;
    }
    if (key == POLICY_DEAD_LETTER_STRATEGY &&
        strcmp(json_string_value(value), strategies[1]) == 0) {
        /* Better refused than a promise that nothing keeps. */
        erlang_text_format(why, "dead-letter-strategy at-least-once is not implemented yet");
        return false;
    }
    return true;
}

/* Is it a key of this kind of policy? */
static bool
recognised(const void *context, const char *key)
{
    const enum policy_key found = policy_key_find(key);
    return found < POLICY_KEY_COUNT && (policy_keys[found].who & *(const uint8_t *)context);
}

bool
policy_definition_validate(const json_t *definition, bool operator_policy, struct lp_bytebuf *why)
{
    const uint8_t who = operator_policy ? POLICY_OPERATOR : POLICY_USER;
    size_t known = 0;
    if (!json_is_object(definition)) {
        erlang_text_format(why, "definition must be a dictionary: ");
        erlang_text_json(why, definition);
        return false;
    }
    if (json_object_size(definition) == 0) {
        erlang_text_format(why, "no policy provided");
        return false;
    }
    for (unsigned key = 0; key < POLICY_KEY_COUNT; key++) {
        const json_t *value = json_object_get(definition, policy_keys[key].name);
        if (!value || !(policy_keys[key].who & who)) {
            continue;
        }
        known++;
        if (!value_validate((enum policy_key)key, value, why)) {
            return false;
        }
    }
    if (known < json_object_size(definition)) {
        erlang_text_pairs(why, definition, recognised, &who);
        erlang_text_format(why, " are not recognised policy settings");
        return false;
    }
    return true;
}
