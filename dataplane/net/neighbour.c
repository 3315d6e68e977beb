/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neighbour.c - MAC addresses of neighbours, one table a port for both
 * families: RFC 4861 7.2 and 7.3, which RFC 1122 2.3.2 allows for ARP, too.
 *
 *   INCOMPLETE ──answer──▶ REACHABLE ──half a minute──▶ STALE ──used──▶ DELAY
 *       │ three requests      ▲ ▲ confirmed by TCP, at any time          │ 5 s
 *       ▼                     │ └──────────────answer────────── PROBE ◀──┘
 *     (gone)                  │                                   │ three requests
 *                                                                 ▼ (gone)
 *
 *   Memory    a pool of NET_NEIGHBOURS_MAX; one frame each, and no more than
 *             NET_PENDING_MAX a port, wait for an answer
 *   Overload  who was not asked for lately makes room; when everybody was, the
 *             newcomer is refused.  Those of whom nothing is known yet push out
 *             each other only: who makes us ask for many that are not there
 *             (SYNs from made-up neighbours) takes nobody's place who is
 */
#include <string.h>

#include "net_private.h"

#define SECOND_NS UINT64_C(1000000000)
/* RFC 4861 10. */
#define RETRANSMIT_NS (1 * SECOND_NS)
#define DELAY_NS      (5 * SECOND_NS)
#define REACHABLE_NS  (30 * SECOND_NS)
#define SOLICITS_MAX  3u
/* So long what TCP hears may answer what went to the address before. */
#define MOVED_NS (2 * SECOND_NS)
/* Of a look for somebody to forget. */
#define EVICT_TRIES 16u
/* A name: an index of the pool, and the low bits of the generation above it. */
#define NAME_INDEX_BITS 10u
LP_STATIC_ASSERT(NET_NEIGHBOURS_MAX <= 1u << NAME_INDEX_BITS, "a name holds an index");

enum neighbour_state {
    NEIGHBOUR_INCOMPLETE,
    NEIGHBOUR_REACHABLE,
    NEIGHBOUR_STALE,
    NEIGHBOUR_DELAY,
    NEIGHBOUR_PROBE,
};

struct net_neighbour {
    struct lp_hash_node node;
    struct lp_list link; /* INCOMPLETE: of `asked`; else by age, who was used gets another round */
    struct lp_timer timer;
    uint64_t reachable_ns; /* REACHABLE until then */
    uint64_t moved_ns;     /* when its address became another one; 0: never */
    uint8_t state;         /* enum neighbour_state */
    uint8_t family;
    uint8_t port;
    uint8_t solicits; /* sent since the state began */
    bool used;
    bool has_frame;
    uint8_t mac[6];
    uint8_t ip[16];
    uint8_t source[16]; /* of ours, from which it was used last: requests come from there */
    struct lp_nic_frame frame;
};

struct net_neighbours {
    struct lp_pool pool;
    struct lp_hash table;
    struct lp_list ages;
    struct lp_list asked; /* INCOMPLETE, the oldest first */
    uint32_t asked_count;
    uint32_t pending; /* frames that wait */
    uint64_t reachable_ns;
};

enum lp_err
net_neighbours_init_boot(struct lp_net *net, uint32_t port)
{
    struct net_neighbours *all = lp_memory_alloc(net->memory, sizeof(*all));
    if (all == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    memset(all, 0, sizeof(*all));
    lp_list_init(&all->ages);
    lp_list_init(&all->asked);
    /* RFC 4861 6.3.2: by chance, so that neighbours do not ask all at once. */
    all->reachable_ns = REACHABLE_NS / 2 + REACHABLE_NS / 1024 * (net_random(net) % 1024);
    enum lp_err err = lp_pool_init_boot(&all->pool, "neighbours", net->memory,
                                        sizeof(struct net_neighbour), NET_NEIGHBOURS_MAX);
    if (err == LP_OK) {
        err = lp_hash_init(&all->table, net->memory);
    }
    if (err == LP_OK) {
        net->port[port].neighbours = all;
    }
    return err;
}

static uint64_t
key_of(const struct lp_net *net, uint8_t family, const uint8_t *ip)
{
    /* Peers choose addresses, so the key is secret. */
    return lp_hash_mix(lp_hash_bytes(&net->hash_key, ip, net_ip_bytes(family)), family);
}

static struct net_neighbour *
lookup(const struct lp_net *net, uint32_t port, uint8_t family, const uint8_t *ip)
{
    const struct net_neighbours *all = net->port[port].neighbours;
    struct lp_hash_node *node = lp_hash_first(&all->table, key_of(net, family, ip));
    for (; node != NULL; node = lp_hash_next(node)) {
        struct net_neighbour *neighbour = LP_CONTAINER_OF(node, struct net_neighbour, node);
        if (neighbour->family == family && memcmp(neighbour->ip, ip, net_ip_bytes(family)) == 0) {
            return neighbour;
        }
    }
    return NULL;
}

static uint32_t
name_of(const struct net_neighbour *neighbour)
{
    const lp_handle handle = lp_pool_self(neighbour);
    return lp_handle_generation(handle) << NAME_INDEX_BITS | lp_handle_index(handle);
}

/* Whose name this is; NULL: nobody's any more. */
static struct net_neighbour *
named(const struct lp_net *net, uint32_t port, uint32_t name)
{
    const struct net_neighbours *all = net->port[port].neighbours;
    const uint32_t index = name & ((1u << NAME_INDEX_BITS) - 1u);
    if (name == 0 || index >= all->pool.made) {
        return NULL;
    }
    struct net_neighbour *neighbour = lp_pool_at(&all->pool, index);
    return neighbour != NULL && name_of(neighbour) == name ? neighbour : NULL;
}

uint32_t
net_neighbour_find(const struct lp_net *net, uint32_t port, uint8_t family, const uint8_t *ip)
{
    const struct net_neighbour *neighbour = lookup(net, port, family, ip);
    return neighbour != NULL ? name_of(neighbour) : 0;
}

/* ---- frames that wait ---- */

static void
frame_drop(struct lp_net *net, struct net_neighbour *neighbour)
{
    if (!neighbour->has_frame) {
        return;
    }
    const struct net_port *port = &net->port[neighbour->port];
    neighbour->has_frame = false;
    port->neighbours->pending--;
    net->counters.neighbour_dropped++;
    port->config.nic.ops->put(port->config.nic.self, &neighbour->frame);
}

/* RFC 1122 2.3.2.2: the latest is kept. */
static void
frame_keep(struct lp_net *net, struct net_neighbour *neighbour, struct lp_nic_frame *frame)
{
    struct net_neighbours *all = net->port[neighbour->port].neighbours;
    frame_drop(net, neighbour);
    neighbour->frame = *frame;
    neighbour->has_frame = true;
    all->pending++;
    if (all->pending > NET_PENDING_MAX) {
        frame_drop(net, neighbour);
    }
}

static void
frame_release(struct lp_net *net, struct net_neighbour *neighbour)
{
    if (!neighbour->has_frame) {
        return;
    }
    const struct net_port *port = &net->port[neighbour->port];
    neighbour->has_frame = false;
    port->neighbours->pending--;
    net_link_write(port, neighbour->family, neighbour->mac, neighbour->frame.data);
    net_raw_send(net, neighbour->port, &neighbour->frame);
}

/* ---- asking ---- */

static void
forget(struct lp_net *net, struct net_neighbour *neighbour)
{
    struct net_neighbours *all = net->port[neighbour->port].neighbours;
    frame_drop(net, neighbour);
    lp_timer_disarm(&net->wheel, &neighbour->timer);
    lp_hash_remove(&all->table, &neighbour->node);
    lp_list_remove(&neighbour->link);
    all->asked_count -= neighbour->state == NEIGHBOUR_INCOMPLETE ? 1u : 0u;
    lp_pool_release(&all->pool, lp_pool_self(neighbour));
}

/* RFC 4861 7.2.2: from the address that the packet has, which may not be ours any more. */
static const uint8_t *
source_of(const struct lp_net *net, const struct net_neighbour *neighbour)
{
    const struct net_port *port = &net->port[neighbour->port];
    const struct net_address *address =
        net_address_find(net, neighbour->port, neighbour->family, neighbour->source);
    if (address != NULL && net_address_usable(net, address)) {
        return address->ip;
    }
    for (uint32_t i = 0; i < port->address_count; i++) {
        address = &port->addresses[i];
        if (address->family == neighbour->family && net_address_usable(net, address)) {
            return address->ip;
        }
    }
    return NULL;
}

static void neighbour_fire(void *context, struct lp_timer *timer, uint64_t now_ns);

static void
solicit(struct lp_net *net, struct net_neighbour *neighbour)
{
    const uint8_t *mac = neighbour->state == NEIGHBOUR_PROBE ? neighbour->mac : NULL;
    const uint8_t *source = source_of(net, neighbour);
    neighbour->solicits++;
    lp_timer_arm(&net->wheel, &neighbour->timer, neighbour_fire, net->now_ns + RETRANSMIT_NS);
    if (source == NULL) {
        return;
    }
    if (neighbour->family == LP_ADDRESS_IPV4) {
        net_arp_request(net, neighbour->port, source, neighbour->ip, mac);
    } else {
        net_ndp_solicit(net, neighbour->port, source, neighbour->ip, mac);
    }
}

static void
neighbour_fire(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct lp_net *net = context;
    struct net_neighbour *neighbour = LP_CONTAINER_OF(timer, struct net_neighbour, timer);
    (void)now_ns;
    switch ((enum neighbour_state)neighbour->state) {
    case NEIGHBOUR_REACHABLE:
    case NEIGHBOUR_STALE:
        break; /* confirmed meanwhile */
    case NEIGHBOUR_DELAY:
        neighbour->state = NEIGHBOUR_PROBE;
        neighbour->solicits = 0;
        solicit(net, neighbour);
        break;
    case NEIGHBOUR_INCOMPLETE:
    case NEIGHBOUR_PROBE:
        /* RFC 4861 7.2.2, 7.3.3; RFC 1122 2.3.2.1: one request a second, at most. */
        if (neighbour->solicits < SOLICITS_MAX) {
            solicit(net, neighbour);
        } else {
            forget(net, neighbour);
        }
        break;
    }
}

/* Room for a newcomer: the oldest that was not used since the last look. */
static bool
evict(struct lp_net *net, struct net_neighbours *all)
{
    for (uint32_t i = 0; i < EVICT_TRIES && !lp_list_empty(&all->ages); i++) {
        struct net_neighbour *oldest = LP_LIST_ITEM(all->ages.next, struct net_neighbour, link);
        if (!oldest->used) {
            net->counters.neighbour_full++;
            forget(net, oldest);
            return true;
        }
        oldest->used = false;
        lp_list_remove(&oldest->link);
        lp_list_push_back(&all->ages, &oldest->link);
    }
    return false;
}

static void
asked_evict(struct lp_net *net, struct net_neighbours *all)
{
    net->counters.neighbour_full++;
    forget(net, LP_LIST_ITEM(all->asked.next, struct net_neighbour, link));
}

static struct net_neighbour *
make(struct lp_net *net, uint32_t port, uint8_t family, const uint8_t *ip)
{
    struct net_neighbours *all = net->port[port].neighbours;
    lp_handle handle;
    if (all->asked_count == NET_ASKED_MAX) {
        asked_evict(net, all);
    }
    struct net_neighbour *neighbour = lp_pool_alloc(&all->pool, &handle);
    if (neighbour == NULL && evict(net, all)) {
        neighbour = lp_pool_alloc(&all->pool, &handle);
    }
    if (neighbour == NULL) {
        return NULL;
    }
    neighbour->family = family;
    neighbour->port = (uint8_t)port;
    neighbour->state = NEIGHBOUR_INCOMPLETE;
    memcpy(neighbour->ip, ip, net_ip_bytes(family));
    lp_hash_insert(&all->table, &neighbour->node, key_of(net, family, ip));
    lp_list_push_back(&all->asked, &neighbour->link);
    all->asked_count++;
    return neighbour;
}

/* ---- sending ---- */

/* RFC 4861 7.3.3: what was not confirmed for long is used, and asked if nobody confirms it soon. */
static void
age(struct lp_net *net, struct net_neighbour *neighbour)
{
    if (neighbour->state == NEIGHBOUR_REACHABLE && net->now_ns > neighbour->reachable_ns) {
        neighbour->state = NEIGHBOUR_STALE;
    }
    if (neighbour->state == NEIGHBOUR_STALE) {
        neighbour->state = NEIGHBOUR_DELAY;
        lp_timer_arm(&net->wheel, &neighbour->timer, neighbour_fire, net->now_ns + DELAY_NS);
    }
}

/* Who is the next on this path, asked for if need be. */
static struct net_neighbour *
hop_find(struct lp_net *net, const struct net_path *path)
{
    uint8_t hop[16];
    if (!net_next_hop(net, path, hop)) {
        net->counters.ip_no_route++;
        return NULL;
    }
    struct net_neighbour *neighbour = lookup(net, path->port, path->family, hop);
    if (neighbour != NULL) {
        return neighbour;
    }
    neighbour = make(net, path->port, path->family, hop);
    if (neighbour == NULL) {
        net->counters.neighbour_dropped++;
        return NULL;
    }
    memcpy(neighbour->source, path->local, sizeof(neighbour->source));
    solicit(net, neighbour);
    return neighbour;
}

bool
net_neighbour_resolve(struct lp_net *net, const struct net_path *path, struct lp_nic_frame *frame,
                      uint8_t *ret_mac)
{
    struct net_neighbour *neighbour = named(net, path->port, path->neighbour);
    if (neighbour == NULL) {
        neighbour = hop_find(net, path);
    }
    if (neighbour == NULL) {
        const struct lp_nic *nic = &net->port[path->port].config.nic;
        nic->ops->put(nic->self, frame);
        return false;
    }
    neighbour->used = true;
    if (neighbour->state == NEIGHBOUR_INCOMPLETE) {
        frame_keep(net, neighbour, frame);
        return false;
    }
    if (LP_UNLIKELY(
            neighbour->state == NEIGHBOUR_STALE ||
            (neighbour->state == NEIGHBOUR_REACHABLE && net->now_ns > neighbour->reachable_ns))) {
        memcpy(neighbour->source, path->local, sizeof(neighbour->source));
        age(net, neighbour);
    }
    memcpy(ret_mac, neighbour->mac, 6);
    return true;
}

/* ---- learning ---- */

static void
reachable(struct lp_net *net, struct net_neighbour *neighbour)
{
    neighbour->state = NEIGHBOUR_REACHABLE;
    neighbour->reachable_ns = net->now_ns + net->port[neighbour->port].neighbours->reachable_ns;
}

void
net_path_confirm(struct lp_net *net, struct net_path *path)
{
    struct net_neighbour *neighbour = named(net, path->port, path->neighbour);
    if (LP_UNLIKELY(neighbour == NULL)) {
        uint8_t hop[16];
        if (!net_next_hop(net, path, hop)) {
            return;
        }
        path->neighbour = net_neighbour_find(net, path->port, path->family, hop);
        neighbour = named(net, path->port, path->neighbour);
    }
    if (neighbour == NULL || neighbour->state == NEIGHBOUR_INCOMPLETE) {
        return;
    }
    /* Whoever took this address a moment ago is not the one who acknowledges: were it believed, one
     * spoofed packet would cost half a minute. */
    if (LP_LIKELY(neighbour->moved_ns == 0 || net->now_ns - neighbour->moved_ns >= MOVED_NS)) {
        reachable(net, neighbour);
    }
}

/* Its address is there: it is one of those that are known. */
static void
found(const struct lp_net *net, struct net_neighbour *neighbour)
{
    struct net_neighbours *all = net->port[neighbour->port].neighbours;
    if (neighbour->state == NEIGHBOUR_INCOMPLETE) {
        all->asked_count--;
        lp_list_remove(&neighbour->link);
        lp_list_push_back(&all->ages, &neighbour->link);
    }
}

/* RFC 4861 7.2.3, and 7.2.5 without the solicited flag: `mac` is news, whether it hears us is not
 * known. */
static void
told(const struct lp_net *net, struct net_neighbour *neighbour, const uint8_t *mac)
{
    if (neighbour->state == NEIGHBOUR_INCOMPLETE || memcmp(neighbour->mac, mac, 6) != 0) {
        neighbour->moved_ns = neighbour->state == NEIGHBOUR_INCOMPLETE ? 0 : net->now_ns;
        found(net, neighbour);
        memcpy(neighbour->mac, mac, 6);
        neighbour->state = NEIGHBOUR_STALE;
    }
}

/* RFC 4861 7.2.5 for an entry that has an address, and an advertisement without override. */
static bool
kept(struct net_neighbour *neighbour, const uint8_t *mac)
{
    if (neighbour->state == NEIGHBOUR_INCOMPLETE || mac == NULL ||
        memcmp(neighbour->mac, mac, 6) == 0) {
        return false;
    }
    if (neighbour->state == NEIGHBOUR_REACHABLE) {
        neighbour->state = NEIGHBOUR_STALE;
    }
    return true;
}

/* Who has answered is reachable, but not at another address that may not override.  An answer that
 * nobody asked for is a claim. */
static void
answered(struct lp_net *net, struct net_neighbour *neighbour, const uint8_t *mac, bool override)
{
    const bool asked =
        neighbour->state == NEIGHBOUR_INCOMPLETE || neighbour->state == NEIGHBOUR_PROBE;
    if (!override && kept(neighbour, mac)) {
        return;
    }
    if (!asked && mac != NULL && memcmp(neighbour->mac, mac, 6) != 0) {
        told(net, neighbour, mac);
        return;
    }
    if (mac != NULL) {
        memcpy(neighbour->mac, mac, 6);
    }
    found(net, neighbour);
    reachable(net, neighbour);
}

static void
news_take(struct lp_net *net, struct net_neighbour *neighbour, const uint8_t *mac,
          enum net_neighbour_news news)
{
    switch (news) {
    case NET_NEIGHBOUR_HINT:
    case NET_NEIGHBOUR_TOLD:
        if (mac != NULL) {
            told(net, neighbour, mac);
        }
        break;
    case NET_NEIGHBOUR_KEPT:
        if (mac != NULL && !kept(neighbour, mac)) {
            told(net, neighbour, mac);
        }
        break;
    case NET_NEIGHBOUR_ANSWERED:
        answered(net, neighbour, mac, true);
        break;
    case NET_NEIGHBOUR_ANSWERED_KEPT:
        answered(net, neighbour, mac, false);
        break;
    }
}

void
net_neighbour_learn(struct lp_net *net, const struct net_neighbour_said *said)
{
    struct net_neighbour *neighbour = lookup(net, said->port, said->family, said->ip);
    if (neighbour == NULL && said->news == NET_NEIGHBOUR_HINT) {
        neighbour = make(net, said->port, said->family, said->ip);
    }
    /* An INCOMPLETE entry cannot take an answer without an address (RFC 4861 7.2.5). */
    if (neighbour == NULL || (said->mac == NULL && neighbour->state == NEIGHBOUR_INCOMPLETE)) {
        return;
    }
    news_take(net, neighbour, said->mac, said->news);
    if (neighbour->has_frame) {
        frame_release(net, neighbour);
        age(net, neighbour);
    }
}

/* ---- the end, and looking at it ---- */

void
net_neighbours_fini(struct lp_net *net, uint32_t port)
{
    struct net_neighbours *all = net->port[port].neighbours;
    if (all == NULL) {
        return;
    }
    uint32_t cursor = 0;
    lp_handle handle;
    struct net_neighbour *neighbour;
    while ((neighbour = lp_pool_next(&all->pool, &cursor, &handle)) != NULL) {
        forget(net, neighbour);
    }
    lp_hash_fini(&all->table);
    lp_pool_fini(&all->pool);
    net->port[port].neighbours = NULL;
}

void
net_neighbours_check(const struct lp_net *net, uint32_t port)
{
    const struct net_neighbours *all = net->port[port].neighbours;
    uint32_t cursor = 0;
    uint32_t count = 0;
    uint32_t pending = 0;
    uint32_t asked = 0;
    lp_handle handle;
    const struct net_neighbour *neighbour;
    while ((neighbour = lp_pool_next(&all->pool, &cursor, &handle)) != NULL) {
        count++;
        pending += neighbour->has_frame;
        asked += neighbour->state == NEIGHBOUR_INCOMPLETE;
        LP_ASSERT(lookup(net, port, neighbour->family, neighbour->ip) == neighbour);
        LP_ASSERT(!neighbour->has_frame || neighbour->state == NEIGHBOUR_INCOMPLETE);
        /* Whoever is being asked is not forgotten. */
        if (neighbour->state == NEIGHBOUR_INCOMPLETE || neighbour->state == NEIGHBOUR_DELAY ||
            neighbour->state == NEIGHBOUR_PROBE) {
            LP_ASSERT(lp_timer_armed(&neighbour->timer));
        }
    }
    LP_ASSERT(count == all->table.count && count <= NET_NEIGHBOURS_MAX);
    LP_ASSERT(pending == all->pending && pending <= NET_PENDING_MAX);
    LP_ASSERT(asked == all->asked_count && asked <= NET_ASKED_MAX);
}
