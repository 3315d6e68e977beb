/* SPDX-License-Identifier: Apache-2.0 */
/* policy.c - policies in memory, which of them applies, and what two of them come to. */
#include "control/topology/policy.h"

#include <stdlib.h>

#include "control/base/place.h"

const struct policy_key_info policy_keys[POLICY_KEY_COUNT] = {
#define X(name, text, who, kinds) [POLICY_##name] = {text, who, kinds},
    POLICY_KEY_LIST(X)
#undef X
};

static const char *const target_names[] = {
    [LP_POLICY_ALL] = "all",
    [LP_POLICY_QUEUES] = "queues",
    [LP_POLICY_EXCHANGES] = "exchanges",
    [LP_POLICY_CLASSIC_QUEUES] = "classic_queues",
    [LP_POLICY_QUORUM_QUEUES] = "quorum_queues",
    [LP_POLICY_STREAMS] = "streams",
};

enum policy_key
policy_key_find(const char *name)
{
    for (unsigned key = 0; key < POLICY_KEY_COUNT; key++) {
        if (strcmp(policy_keys[key].name, name) == 0) {
            return (enum policy_key)key;
        }
    }
    return POLICY_KEY_COUNT;
}

const char *
lp_policy_target_name(uint8_t target)
{
    return target < LP_COUNT_OF(target_names) ? target_names[target] : "unknown";
}

bool
policy_target_find(struct lp_bytes name, uint8_t *ret_target)
{
    for (size_t i = 0; i < LP_COUNT_OF(target_names); i++) {
        if (lp_bytes_equal_text(name, target_names[i])) {
            *ret_target = (uint8_t)i;
            return true;
        }
    }
    return false;
}

/* ---- in memory ---- */

static void
values_free(struct catalog_policy_values **values)
{
    json_decref((*values)->root);
    free(*values);
    *values = NULL;
}

static struct catalog_policy_values *
values_make(struct lp_bytes definition)
{
    json_error_t error;
    json_t *root = json_loadb((const char *)definition.data, definition.size, 0, &error);
    if (!json_is_object(root)) {
        json_decref(root);
        return NULL;
    }
    struct catalog_policy_values *values = lp_heap_alloc(sizeof(*values));
    values->root = root;
    for (size_t key = 0; key < POLICY_KEY_COUNT; key++) {
        values->value[key] = json_object_get(root, policy_keys[key].name);
    }
    return values;
}

static uint8_t
kinds_of(const struct catalog_policy_values *values)
{
    unsigned kinds = POLICY_EVERY;
    for (size_t key = 0; key < POLICY_KEY_COUNT; key++) {
        kinds &= values->value[key] ? policy_keys[key].kinds : (unsigned)POLICY_EVERY;
    }
    return (uint8_t)kinds;
}

static int
names_compare(struct lp_bytes a, struct lp_bytes b)
{
    const size_t common = LP_MIN(a.size, b.size);
    const int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* Behind those with a higher priority, and of equals behind those that come first by name. */
static void
chain_in(struct lp_catalog_policy *policy)
{
    struct lp_chain *chain =
        policy->operator_policy ? &policy->vhost->operator_policies : &policy->vhost->policies;
    struct lp_chain *before = chain->next;
    while (before != chain) {
        const struct lp_catalog_policy *other =
            LP_CONTAINER_OF(before, struct lp_catalog_policy, in_vhost);
        if (other->priority < policy->priority ||
            (other->priority == policy->priority && names_compare(other->name, policy->name) > 0)) {
            break;
        }
        before = before->next;
    }
    lp_chain_append(before, &policy->in_vhost); /* before that link */
}

struct lp_catalog_policy *
policy_insert(const struct lp_catalog_policy *like)
{
    struct lp_pattern *code = lp_pattern_open(like->pattern, NULL);
    struct catalog_policy_values *values = code ? values_make(like->definition) : NULL;
    if (!values) {
        lp_pattern_close(&code);
        return NULL;
    }
    struct lp_catalog_policy *policy = lp_heap_alloc(sizeof(*policy) + like->name.size +
                                                     like->pattern.size + like->definition.size);
    uint8_t *at = (uint8_t *)(policy + 1);
    policy->vhost = like->vhost;
    policy->operator_policy = like->operator_policy;
    policy->target = like->target;
    policy->priority = like->priority;
    policy->name = lp_place(&at, like->name);
    policy->pattern = lp_place(&at, like->pattern);
    policy->definition = lp_place(&at, like->definition);
    policy->code = code;
    policy->values = values;
    policy->queue_kinds = kinds_of(values);
    chain_in(policy);
    return policy;
}

void
policy_remove(struct lp_catalog_policy *policy)
{
    lp_chain_remove(&policy->in_vhost);
    lp_pattern_close(&policy->code);
    values_free(&policy->values);
    free(policy);
}

struct lp_catalog_policy *
lp_catalog_policy(const struct lp_catalog_vhost *vhost, bool operator_policy, struct lp_bytes name)
{
    const struct lp_chain *chain = operator_policy ? &vhost->operator_policies : &vhost->policies;
    LP_CHAIN_EACH(link, chain)
    {
        struct lp_catalog_policy *policy =
            LP_CONTAINER_OF(link, struct lp_catalog_policy, in_vhost);
        if (lp_bytes_equal(policy->name, name)) {
            return policy;
        }
    }
    return NULL;
}

/* ---- which applies ---- */

static bool
target_has_queue(const struct lp_catalog_policy *policy, uint8_t kind)
{
    switch (policy->target) {
    case LP_POLICY_ALL:
    case LP_POLICY_QUEUES:
        return true;
    case LP_POLICY_CLASSIC_QUEUES:
        return kind == LP_QUEUE_CLASSIC;
    case LP_POLICY_QUORUM_QUEUES:
        return kind == LP_QUEUE_QUORUM;
    case LP_POLICY_STREAMS:
        return kind == LP_QUEUE_STREAM;
    default:
        return false;
    }
}

static struct lp_catalog_policy *
match_queue(const struct lp_chain *policies, const struct lp_catalog_queue *queue)
{
    LP_CHAIN_EACH(link, policies)
    {
        struct lp_catalog_policy *policy =
            LP_CONTAINER_OF(link, struct lp_catalog_policy, in_vhost);
        if (target_has_queue(policy, queue->kind) && (policy->queue_kinds & (1u << queue->kind)) &&
            lp_pattern_matches(policy->code, queue->name)) {
            return policy;
        }
    }
    return NULL;
}

static struct lp_catalog_policy *
match_exchange(const struct lp_chain *policies, const struct lp_catalog_exchange *exchange)
{
    LP_CHAIN_EACH(link, policies)
    {
        struct lp_catalog_policy *policy =
            LP_CONTAINER_OF(link, struct lp_catalog_policy, in_vhost);
        if ((policy->target == LP_POLICY_ALL || policy->target == LP_POLICY_EXCHANGES) &&
            lp_pattern_matches(policy->code, exchange->name)) {
            return policy;
        }
    }
    return NULL;
}

void
policy_assign_queue(struct lp_catalog_queue *queue)
{
    queue->policy = match_queue(&queue->vhost->policies, queue);
    queue->operator_policy = match_queue(&queue->vhost->operator_policies, queue);
}

void
policy_assign_exchange(struct lp_catalog_exchange *exchange)
{
    exchange->policy = match_exchange(&exchange->vhost->policies, exchange);
    exchange->operator_policy = match_exchange(&exchange->vhost->operator_policies, exchange);
}

void
policy_assign_all(struct lp_catalog *catalog)
{
    LP_CHAIN_EACH(v, &catalog->vhosts)
    {
        struct lp_catalog_vhost *vhost = LP_CONTAINER_OF(v, struct lp_catalog_vhost, in_catalog);
        LP_CHAIN_EACH(x, &vhost->exchanges)
        {
            policy_assign_exchange(LP_CONTAINER_OF(x, struct lp_catalog_exchange, in_vhost));
        }
        LP_CHAIN_EACH(q, &vhost->queues)
        {
            policy_assign_queue(LP_CONTAINER_OF(q, struct lp_catalog_queue, in_vhost));
        }
    }
}

void
policy_check(const struct lp_catalog_vhost *vhost)
{
    LP_CHAIN_EACH(x, &vhost->exchanges)
    {
        const struct lp_catalog_exchange *exchange =
            LP_CONTAINER_OF(x, struct lp_catalog_exchange, in_vhost);
        LP_ASSERT(exchange->policy == match_exchange(&vhost->policies, exchange));
        LP_ASSERT(exchange->operator_policy == match_exchange(&vhost->operator_policies, exchange));
    }
    LP_CHAIN_EACH(q, &vhost->queues)
    {
        const struct lp_catalog_queue *queue =
            LP_CONTAINER_OF(q, struct lp_catalog_queue, in_vhost);
        LP_ASSERT(queue->policy == match_queue(&vhost->policies, queue));
        LP_ASSERT(queue->operator_policy == match_queue(&vhost->operator_policies, queue));
    }
}

/* ---- a change ---- */

static struct lp_writer
settings_encode(const struct lp_catalog *catalog, const struct lp_catalog_queue *queue,
                uint8_t room[LP_QUEUE_SETTINGS_BYTES_MAX])
{
    const struct lp_queue_settings settings = lp_catalog_queue_settings(catalog, queue);
    struct lp_writer w = lp_writer_of(room, LP_QUEUE_SETTINGS_BYTES_MAX);
    lp_queue_settings_write(&w, &settings);
    LP_ASSERT(!w.failed);
    return w;
}

static void
evaluate_queue(struct lp_catalog *catalog, struct lp_catalog_queue *queue)
{
    uint8_t old_room[LP_QUEUE_SETTINGS_BYTES_MAX];
    uint8_t new_room[LP_QUEUE_SETTINGS_BYTES_MAX];
    const struct lp_catalog_policy *policy = queue->policy;
    const struct lp_catalog_policy *operator_policy = queue->operator_policy;
    const struct lp_writer old = settings_encode(catalog, queue, old_room);
    policy_assign_queue(queue);
    if (queue->policy == policy && queue->operator_policy == operator_policy) {
        return;
    }
    const struct lp_writer new = settings_encode(catalog, queue, new_room);
    if (!lp_bytes_equal(lp_writer_bytes(&old), lp_writer_bytes(&new))) {
        catalog_queue_announce(catalog, queue);
    }
}

/* The alternate that it had lies in a policy that is still there. */
static void
evaluate_exchange(struct lp_catalog *catalog, struct lp_catalog_exchange *exchange)
{
    const struct lp_bytes old = lp_catalog_exchange_alternate(exchange);
    policy_assign_exchange(exchange);
    if (!lp_bytes_equal(old, lp_catalog_exchange_alternate(exchange))) {
        catalog_exchange_announce(catalog, exchange);
    }
}

void
policy_evaluate(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost)
{
    LP_CHAIN_EACH(x, &vhost->exchanges)
    {
        evaluate_exchange(catalog, LP_CONTAINER_OF(x, struct lp_catalog_exchange, in_vhost));
    }
    LP_CHAIN_EACH(q, &vhost->queues)
    {
        evaluate_queue(catalog, LP_CONTAINER_OF(q, struct lp_catalog_queue, in_vhost));
    }
}

/* ---- what two come to ---- */

static json_t *
smaller(json_t *a, json_t *b)
{
    return json_integer_value(a) <= json_integer_value(b) ? a : b;
}

static json_t *
larger(json_t *a, json_t *b)
{
    return json_integer_value(a) >= json_integer_value(b) ? a : b;
}

static json_t *
value_merge(enum policy_key key, json_t *value, json_t *operator_value)
{
    switch ((int)key) {
    case POLICY_MESSAGE_TTL:
    case POLICY_EXPIRES:
    case POLICY_MAX_LENGTH:
    case POLICY_MAX_LENGTH_BYTES:
    case POLICY_MAX_IN_MEMORY_LENGTH:
    case POLICY_MAX_IN_MEMORY_BYTES:
        return smaller(value, operator_value);
    case POLICY_DELIVERY_LIMIT:
        /* A negative one is no limit: then the other one, if it is one. */
        return json_integer_value(value) < 0 || json_integer_value(operator_value) < 0
                   ? larger(value, operator_value)
                   : smaller(value, operator_value);
    case POLICY_TARGET_GROUP_SIZE:
        return larger(value, operator_value);
    default:
        return operator_value;
    }
}

json_t *
policy_value(const struct lp_catalog_policy *policy,
             const struct lp_catalog_policy *operator_policy, enum policy_key key)
{
    json_t *value = policy ? policy->values->value[key] : NULL;
    json_t *operator_value = operator_policy ? operator_policy->values->value[key] : NULL;
    if (!value || !operator_value) {
        return value ? value : operator_value;
    }
    return value_merge(key, value, operator_value);
}

void
lp_catalog_policies_merge(const struct lp_catalog_policy *policy,
                          const struct lp_catalog_policy *operator_policy, struct lp_bytebuf *json)
{
    json_t *merged = json_object();
    for (unsigned key = 0; key < POLICY_KEY_COUNT; key++) {
        json_t *value = policy_value(policy, operator_policy, (enum policy_key)key);
        if (value) {
            const int failed = json_object_set(merged, policy_keys[key].name, value);
            LP_ASSERT(failed == 0);
        }
    }
    char *text = json_dumps(merged, JSON_COMPACT | JSON_SORT_KEYS);
    LP_ASSERT(text);
    lp_bytebuf_append(json, text, strlen(text));
    free(text);
    json_decref(merged);
}

struct lp_bytes
lp_catalog_exchange_alternate(const struct lp_catalog_exchange *exchange)
{
    struct lp_field field;
    if (exchange->name.size == 0) {
        return lp_bytes_of(NULL,
                           0); /* RabbitMQ's default exchange has none, whatever a policy says */
    }
    if (lp_field_find(exchange->arguments, "alternate-exchange", &field)) {
        return field.raw;
    }
    const json_t *value =
        policy_value(exchange->policy, exchange->operator_policy, POLICY_ALTERNATE_EXCHANGE);
    return value ? lp_bytes_of(json_string_value(value), (uint32_t)json_string_length(value))
                 : lp_bytes_of(NULL, 0);
}
