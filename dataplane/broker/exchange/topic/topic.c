/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic.c - words between dots; `*` is one word, `#` is any number of them.
 *
 * Patterns are a trie of words.  Its wildcard children are pointers of their
 * own; all other children of all nodes are in one hash by {node, word}.
 *
 * A message's key is matched by moving a set of nodes along it, word by word:
 * the set before word i holds every node that the first i words can reach.  A
 * node enters a set once (its mark is the set's number), so a key of w words
 * costs at most w times the nodes of the trie, whatever the patterns are:
 * "#.a.#.b.#.c" cannot make it retry.  The sets are chains through the nodes,
 * two of them by turns, so matching needs no memory.
 *
 * A `#` node stays in the set for as long as there are words.  Its own
 * bindings match as soon as it is reached, since it can take all the rest.
 *
 * An empty key has no words; "a..b" has three, one of them empty.  That is
 * how RabbitMQ splits them.
 *
 * Invariants:
 *   1  a node other than the root has entries or children
 *   2  the hash of words is initialised exactly while word_count > 0
 *   3  the order of matches depends on the patterns and the order of binding only
 */
#include <string.h>

#include <lepus/control_records.h>

#include "dataplane/broker/exchange/exchange.h"
#include "dataplane/broker/topology.h"

extern const struct lp_exchange_type lp_exchange_type_topic;

enum topic_kind {
    TOPIC_WORD,
    TOPIC_STAR,
    TOPIC_HASH,
    TOPIC_ROOT,
};

struct topic_node {
    struct topic_node *star;    /* child `*` */
    struct topic_node *hash;    /* child `#` */
    struct topic_node *next[2]; /* in the set of even and of odd number */
    uint64_t mark[2];           /* the number of the set it entered last */
    struct lp_list entries;     /* exchange_entry.in_node */
    uint32_t word_children;
    uint8_t kind; /* enum topic_kind */
    uint8_t word_bytes;
    /* What matching reads is above, what only binding reads below. */
    uint64_t number; /* never used twice in an exchange */
    struct lp_hash_node by_word;
    struct topic_node *parent;
    uint8_t word[];
};

struct topic_state {
    struct lp_hash_key hash_key;
    struct lp_hash words; /* topic_node.by_word */
    uint64_t word_count;  /* nodes in `words` */
    uint64_t numbers;     /* given to nodes so far */
    uint64_t sets;        /* given to sets so far */
    struct topic_node *root;
};

/* Nodes that can be reached after the words so far. */
struct topic_set {
    struct topic_node *first;
    struct topic_node *last;
    uint64_t number;
};

/* ---- the words of a key or a pattern ---- */

struct topic_words {
    struct lp_bytes rest;
    bool done;
};

static struct topic_words
topic_words_of(struct lp_bytes key)
{
    const struct topic_words words = {key, key.size == 0};
    return words;
}

static bool
topic_words_next(struct topic_words *words, struct lp_bytes *ret_word)
{
    if (words->done) {
        return false;
    }
    uint32_t n = 0;
    while (n < words->rest.size && words->rest.data[n] != '.') {
        n++;
    }
    *ret_word = lp_bytes_of(words->rest.data, n);
    words->done = n == words->rest.size;
    if (!words->done) {
        words->rest = lp_bytes_of(words->rest.data + n + 1, words->rest.size - n - 1);
    }
    return true;
}

/* ---- the trie ---- */

static uint64_t
topic_word_hash(const struct topic_state *topic, struct lp_bytes word)
{
    return lp_hash_bytes(&topic->hash_key, word.data, word.size);
}

static struct topic_node *
topic_word_child(const struct topic_state *topic, const struct topic_node *parent,
                 struct lp_bytes word, uint64_t word_hash)
{
    if (parent->word_children == 0) {
        return NULL;
    }
    struct lp_hash_node *found =
        lp_hash_first(&topic->words, lp_hash_mix(word_hash, parent->number));
    for (; found != NULL; found = lp_hash_next(found)) {
        struct topic_node *node = LP_CONTAINER_OF(found, struct topic_node, by_word);
        if (node->parent == parent &&
            lp_bytes_equal(lp_bytes_of(node->word, node->word_bytes), word)) {
            return node;
        }
    }
    return NULL;
}

static enum topic_kind
topic_kind_of(struct lp_bytes word)
{
    if (word.size != 1) {
        return TOPIC_WORD;
    }
    return word.data[0] == '*' ? TOPIC_STAR : word.data[0] == '#' ? TOPIC_HASH : TOPIC_WORD;
}

static struct topic_node *
topic_child(const struct topic_state *topic, const struct topic_node *parent, struct lp_bytes word)
{
    switch (topic_kind_of(word)) {
    case TOPIC_STAR:
        return parent->star;
    case TOPIC_HASH:
        return parent->hash;
    case TOPIC_WORD:
    case TOPIC_ROOT:
        break;
    }
    return topic_word_child(topic, parent, word, topic_word_hash(topic, word));
}

static struct topic_node *
topic_child_add(struct lp_memory *memory, struct topic_state *topic, struct topic_node *parent,
                struct lp_bytes word)
{
    struct topic_node *node = lp_memory_alloc(memory, sizeof(*node) + word.size);
    if (node == NULL) {
        return NULL;
    }
    const enum topic_kind kind = topic_kind_of(word);
    if (kind == TOPIC_WORD && topic->word_count == 0 &&
        lp_hash_init(&topic->words, memory) != LP_OK) {
        exchange_release(memory, node);
        return NULL;
    }
    memset(node, 0, sizeof(*node));
    lp_list_init(&node->entries);
    node->kind = (uint8_t)kind;
    node->number = ++topic->numbers;
    node->parent = parent;
    node->word_bytes = (uint8_t)word.size;
    if (word.size > 0) {
        memcpy(node->word, word.data, word.size);
    }
    if (kind == TOPIC_STAR) {
        parent->star = node;
    } else if (kind == TOPIC_HASH) {
        parent->hash = node;
    } else {
        lp_hash_insert(&topic->words, &node->by_word,
                       lp_hash_mix(topic_word_hash(topic, word), parent->number));
        parent->word_children++;
        topic->word_count++;
    }
    return node;
}

static void
topic_word_remove(struct topic_state *topic, struct topic_node *node)
{
    LP_ASSERT(node->parent->word_children > 0);
    LP_ASSERT(topic->word_count > 0);
    lp_hash_remove(&topic->words, &node->by_word);
    node->parent->word_children--;
    topic->word_count--;
    if (topic->word_count == 0) {
        lp_hash_fini(&topic->words);
    }
}

static void
topic_child_remove(struct lp_memory *memory, struct topic_state *topic, struct topic_node *node)
{
    if (node->kind == TOPIC_STAR) {
        node->parent->star = NULL;
    } else if (node->kind == TOPIC_HASH) {
        node->parent->hash = NULL;
    } else {
        topic_word_remove(topic, node);
    }
    exchange_release(memory, node);
}

/* Remove the node and those above it that are of no use any more: at most one for each word. */
static void
topic_prune(struct lp_memory *memory, struct topic_state *topic, struct topic_node *node)
{
    while (node->kind != TOPIC_ROOT && lp_list_empty(&node->entries) && node->star == NULL &&
           node->hash == NULL && node->word_children == 0) {
        struct topic_node *parent = node->parent;
        topic_child_remove(memory, topic, node);
        node = parent;
    }
}

/* The pattern's node, made where it is missing; NULL: memory is short, and nothing is left behind.
 */
static struct topic_node *
topic_reach(struct lp_memory *memory, struct topic_state *topic, struct lp_bytes pattern)
{
    struct topic_node *node = topic->root;
    struct topic_words words = topic_words_of(pattern);
    struct lp_bytes word;
    while (topic_words_next(&words, &word)) {
        struct topic_node *child = topic_child(topic, node, word);
        if (child == NULL) {
            child = topic_child_add(memory, topic, node, word);
        }
        if (child == NULL) {
            topic_prune(memory, topic, node);
            return NULL;
        }
        node = child;
    }
    return node;
}

/* ---- the contract ---- */

static bool
topic_open(struct lp_memory *memory, void **state)
{
    const struct lp_hash_key *hash_key = *state;
    struct topic_state *topic = lp_memory_alloc(memory, sizeof(*topic));
    if (topic == NULL) {
        return false;
    }
    struct topic_node *root = lp_memory_alloc(memory, sizeof(*root));
    if (root == NULL) {
        exchange_release(memory, topic);
        return false;
    }
    memset(root, 0, sizeof(*root));
    lp_list_init(&root->entries);
    root->kind = TOPIC_ROOT;
    memset(topic, 0, sizeof(*topic));
    topic->hash_key = *hash_key;
    topic->root = root;
    *state = topic;
    return true;
}

static void
topic_close(struct lp_memory *memory, void **state)
{
    const struct topic_state *topic = *state;
    LP_ASSERT(topic->word_count == 0);
    LP_ASSERT(topic->root->star == NULL);
    LP_ASSERT(topic->root->hash == NULL);
    LP_ASSERT(lp_list_empty(&topic->root->entries));
    exchange_release(memory, topic->root);
    lp_memory_release(memory, state);
}

static bool
topic_bind(struct lp_memory *memory, void *state, struct lp_binding *binding)
{
    struct exchange_entry *entry = lp_memory_alloc(memory, sizeof(*entry));
    if (entry == NULL) {
        return false;
    }
    struct topic_node *node = topic_reach(memory, state, lp_binding_key(binding));
    if (node == NULL) {
        exchange_release(memory, entry);
        return false;
    }
    binding->state = exchange_entry_add(entry, binding, node, &node->entries);
    return true;
}

static void
topic_unbind(struct lp_memory *memory, void *state, struct lp_binding *binding)
{
    struct exchange_entry *entry = binding->state;
    struct topic_node *node = entry->node;
    LP_ASSERT(entry->binding == binding);
    lp_list_remove(&entry->in_node);
    lp_memory_release(memory, &binding->state);
    topic_prune(memory, state, node);
}

/* ---- matching ---- */

static void
topic_emit(const struct topic_node *node, struct lp_route_sink *sink)
{
    const struct lp_list *head = &node->entries;
    for (struct lp_list *link = head->next; link != head; link = link->next) {
        lp_route_sink_add(sink, LP_LIST_ITEM(link, struct exchange_entry, in_node)->binding);
    }
}

static void
topic_set_start(struct topic_state *topic, struct topic_set *set)
{
    set->first = NULL;
    set->last = NULL;
    set->number = ++topic->sets;
}

/* Append the node unless it is in already. */
static bool
topic_set_add(struct topic_set *set, struct topic_node *node)
{
    const uint32_t turn = set->number & 1u;
    if (node->mark[turn] == set->number) {
        return false;
    }
    node->mark[turn] = set->number;
    node->next[turn] = NULL;
    if (set->last == NULL) {
        set->first = node;
    } else {
        set->last->next[turn] = node;
    }
    set->last = node;
    return true;
}

/*
 * Put a node reached by a word into the set, and with it the `#` below it,
 * which may take no word at all (and the `#` below that: "#.#").  The `#`
 * nodes that were in the last set gave their bindings when they entered it.
 */
static void
topic_set_reach(struct topic_set *set, struct topic_node *node, struct lp_route_sink *sink)
{
    const uint32_t before = (set->number & 1u) ^ 1u;
    while (node != NULL && topic_set_add(set, node)) {
        if (node->kind == TOPIC_HASH && node->mark[before] != set->number - 1) {
            topic_emit(node, sink);
        }
        node = node->hash;
    }
}

/* One word further: from `set` to the next one. */
static struct topic_set
topic_set_step(struct topic_state *topic, const struct topic_set *set, struct lp_bytes word,
               struct lp_route_sink *sink)
{
    struct topic_set after;
    topic_set_start(topic, &after);
    const uint32_t turn = set->number & 1u;
    const uint64_t word_hash = topic->word_count > 0 ? topic_word_hash(topic, word) : 0;
    for (struct topic_node *node = set->first; node != NULL; node = node->next[turn]) {
        if (node->kind == TOPIC_HASH) {
            topic_set_reach(&after, node, sink);
        }
        topic_set_reach(&after, node->star, sink);
        topic_set_reach(&after, topic_word_child(topic, node, word, word_hash), sink);
    }
    return after;
}

static void
topic_route(void *state, const struct lp_route_input *input, struct lp_route_sink *sink)
{
    struct topic_state *topic = state;
    /* The marks of the last routing must not look like those of the set before our first. */
    topic->sets++;
    struct topic_set set;
    topic_set_start(topic, &set);
    topic_set_reach(&set, topic->root, sink);

    struct topic_words words = topic_words_of(input->key);
    struct lp_bytes word;
    while (set.first != NULL && topic_words_next(&words, &word)) {
        set = topic_set_step(topic, &set, word, sink);
    }
    /* All words are used up, or the set is empty: the nodes in it are where patterns end. */
    const uint32_t turn = set.number & 1u;
    for (const struct topic_node *node = set.first; node != NULL; node = node->next[turn]) {
        if (node->kind != TOPIC_HASH) {
            topic_emit(node, sink);
        }
    }
}

const struct lp_exchange_type lp_exchange_type_topic = {
    .name = "topic",
    .kind = LP_EXCHANGE_TOPIC,
    .reads_key = true,
    .reads_headers = false,
    .open = topic_open,
    .close = topic_close,
    .bind = topic_bind,
    .unbind = topic_unbind,
    .route = topic_route,
};
