/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "relay.h"

static uint32_t
bucket_of(struct lp_bytes name)
{
    uint64_t hash = 1469598103934665603ull;
    for (uint32_t i = 0; i < name.size; i++) {
        hash = (hash ^ name.data[i]) * 1099511628211ull;
    }
    return (uint32_t)((hash ^ hash >> 32) % RELAY_BUCKETS);
}

static void
text_of(char *to, size_t room, struct lp_bytes from)
{
    const size_t bytes = LP_MIN(from.size, room - 1);
    if (bytes > 0) {
        memcpy(to, from.data, bytes);
    }
    to[bytes] = '\0';
}

static void *
must(void *memory)
{
    LP_ASSERT(memory != NULL);
    return memory;
}

struct relay_queue *
relay_queue_get(struct relay *relay, struct lp_bytes name, bool make)
{
    struct relay_queue **bucket = &relay->queues[bucket_of(name)];
    for (struct relay_queue *at = *bucket; at != NULL; at = at->next) {
        if (lp_bytes_equal_text(name, at->name)) {
            return at;
        }
    }
    if (!make) {
        return NULL;
    }
    struct relay_queue *queue = must(calloc(1, sizeof(*queue)));
    text_of(queue->name, sizeof(queue->name), name);
    queue->next = *bucket;
    *bucket = queue;
    relay->epoch++;
    return queue;
}

static void
unbind(struct relay_exchange *exchange, const struct relay_queue *queue)
{
    for (struct relay_binding **at = &exchange->bindings; *at != NULL;) {
        struct relay_binding *binding = *at;
        if (binding->queue != queue) {
            at = &binding->next;
            continue;
        }
        *at = binding->next;
        free(binding);
    }
}

static void
unbind_all(struct relay *relay, const struct relay_queue *queue)
{
    for (uint32_t i = 0; i < RELAY_BUCKETS; i++) {
        for (struct relay_exchange *x = relay->exchanges[i]; x != NULL; x = x->next) {
            unbind(x, queue);
        }
    }
}

void
relay_queue_drop(struct relay *relay, struct lp_bytes name)
{
    struct relay_queue *queue = relay_queue_get(relay, name, false);
    if (queue == NULL || queue->count != 0) {
        return; /* its consumers would point to nothing */
    }
    struct relay_queue **at = &relay->queues[bucket_of(name)];
    while (*at != queue) {
        at = &(*at)->next;
    }
    *at = queue->next;
    unbind_all(relay, queue);
    free(queue->consumers);
    free(queue);
    relay->epoch++;
}

static struct relay_exchange *
exchange_find(struct relay *relay, struct lp_bytes name)
{
    struct relay_exchange *at = relay->exchanges[bucket_of(name)];
    while (at != NULL && !lp_bytes_equal_text(name, at->name)) {
        at = at->next;
    }
    return at;
}

void
relay_exchange_make(struct relay *relay, struct lp_bytes name, struct lp_bytes type)
{
    if (exchange_find(relay, name) != NULL) {
        return;
    }
    struct relay_exchange *exchange = must(calloc(1, sizeof(*exchange)));
    text_of(exchange->name, sizeof(exchange->name), name);
    text_of(exchange->type, sizeof(exchange->type), type);
    struct relay_exchange **bucket = &relay->exchanges[bucket_of(name)];
    exchange->next = *bucket;
    *bucket = exchange;
    relay->epoch++;
}

void
relay_exchange_drop(struct relay *relay, struct lp_bytes name)
{
    struct relay_exchange **at = &relay->exchanges[bucket_of(name)];
    while (*at != NULL && !lp_bytes_equal_text(name, (*at)->name)) {
        at = &(*at)->next;
    }
    struct relay_exchange *exchange = *at;
    if (exchange == NULL) {
        return;
    }
    *at = exchange->next;
    for (struct relay_binding *binding = exchange->bindings; binding != NULL;) {
        struct relay_binding *next = binding->next;
        free(binding);
        binding = next;
    }
    free(exchange);
    relay->epoch++;
}

void
relay_bind(struct relay *relay, const struct amqp091_method *bind)
{
    struct relay_exchange *exchange = exchange_find(relay, bind->name[1]);
    if (exchange == NULL) {
        return;
    }
    struct relay_binding *binding = must(calloc(1, sizeof(*binding)));
    binding->queue = relay_queue_get(relay, bind->name[0], true);
    text_of(binding->key, sizeof(binding->key), bind->name[2]);
    binding->prefix = strcmp(exchange->type, "topic") == 0;
    char *wild = binding->prefix ? strpbrk(binding->key, "*#") : NULL;
    if (wild != NULL) {
        *wild = '\0';
    }
    const size_t length = strlen(binding->key);
    if (wild != NULL && length > 0 && binding->key[length - 1] == '.') {
        binding->key[length - 1] = '\0'; /* `a.#` is for `a`, too */
    }
    binding->next = exchange->bindings;
    exchange->bindings = binding;
    relay->epoch++;
}

static bool
binding_takes(const struct relay_binding *binding, const struct relay_exchange *exchange,
              struct lp_bytes key)
{
    if (strcmp(exchange->type, "fanout") == 0) {
        return true;
    }
    if (!binding->prefix) {
        return lp_bytes_equal_text(key, binding->key);
    }
    const size_t length = strlen(binding->key);
    return lp_bytes_start_with(key, binding->key) &&
           (key.size == length || length == 0 || key.data[length] == '.');
}

static void
route_add(struct relay_route *route, struct relay_queue *queue)
{
    if (route->count == route->room) {
        route->room = LP_MAX(route->room * 2, 4u);
        route->queues = must(realloc(route->queues, route->room * sizeof(struct relay_queue *)));
    }
    route->queues[route->count++] = queue;
}

void
relay_route_find(struct relay *relay, struct relay_route *route, struct lp_bytes exchange,
                 struct lp_bytes key)
{
    route->id = ++relay->routes;
    route->epoch = relay->epoch;
    route->exchange = exchange;
    route->key = key;
    route->count = 0;
    if (exchange.size == 0) {
        struct relay_queue *queue = relay_queue_get(relay, key, false);
        if (queue != NULL) {
            route_add(route, queue);
        }
        return;
    }
    const struct relay_exchange *found = exchange_find(relay, exchange);
    for (const struct relay_binding *at = found ? found->bindings : NULL; at != NULL;
         at = at->next) {
        if (binding_takes(at, found, key)) {
            route_add(route, at->queue);
        }
    }
}

void
relay_consume(struct relay *relay, struct relay_conn *conn, const struct amqp091_method *consume)
{
    struct relay_queue *queue = relay_queue_get(relay, consume->name[0], true);
    if (conn->consumer != NULL) {
        return; /* one a connection is all that the scenarios have */
    }
    text_of(conn->tag, sizeof(conn->tag), consume->name[1]);
    conn->consumer = must(calloc(1, sizeof(*conn->consumer)));
    conn->consumer->conn = conn;
    conn->consumer->tag = lp_bytes_of_text(conn->tag);
    if (queue->count == queue->room) {
        queue->room = LP_MAX(queue->room * 2, 1u);
        queue->consumers =
            must(realloc(queue->consumers, queue->room * sizeof(struct relay_consumer *)));
    }
    queue->consumers[queue->count++] = conn->consumer;
    relay->epoch++;
}

static void
forget(struct relay_queue *queue, const struct relay_consumer *consumer)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < queue->count; i++) {
        if (queue->consumers[i] != consumer) {
            queue->consumers[kept++] = queue->consumers[i];
        }
    }
    queue->count = kept;
}

void
relay_consumer_drop(struct relay *relay, struct relay_conn *conn)
{
    if (conn->consumer == NULL) {
        return;
    }
    for (uint32_t i = 0; i < RELAY_BUCKETS; i++) {
        for (struct relay_queue *queue = relay->queues[i]; queue != NULL; queue = queue->next) {
            forget(queue, conn->consumer);
        }
    }
    free(conn->consumer);
    conn->consumer = NULL;
    relay->epoch++;
}
