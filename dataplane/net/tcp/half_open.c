/* SPDX-License-Identifier: Apache-2.0 */
#include "half_open.h"

#define FIRST_WAIT_US 1000000u /* RFC 6298 2.1 */

static struct half_open *
entry_at(const struct half_opens *table, uint16_t link)
{
    return link == 0 ? NULL : &table->entry[link - 1u];
}

static uint16_t
link_of(const struct half_opens *table, const struct half_open *entry)
{
    return (uint16_t)(entry - table->entry + 1);
}

static uint16_t *
bucket_of(const struct lp_net *net, const struct half_opens *table, const struct net_path *path,
          const uint16_t ports[2])
{
    uint8_t bytes[TCP_FLOW_BYTES_MAX];
    const uint32_t count = tcp_flow_bytes(path, ports[0], ports[1], bytes);
    const uint64_t hash = lp_hash_bytes(&net->hash_key, bytes, count);
    return &table->bucket[(hash >> 32) & table->bucket_mask];
}

struct net_path
half_open_path(const struct half_open *entry)
{
    struct net_path path = {.family = entry->ipv6 ? LP_ADDRESS_IPV6 : LP_ADDRESS_IPV4};
    memcpy(path.local, entry->local, sizeof(path.local));
    memcpy(path.remote, entry->remote, sizeof(path.remote));
    return path;
}

enum lp_err
half_open_init_boot(struct lp_net *net, struct half_opens *table)
{
    *table = (struct half_opens){.room = LP_MIN(net->config.half_open_max, HALF_OPEN_MOST)};
    uint32_t buckets = 8;
    while (buckets < table->room) {
        buckets *= 2;
    }
    table->bucket_mask = buckets - 1u;
    table->entry = lp_memory_alloc(net->memory, (uint64_t)table->room * sizeof(*table->entry));
    table->bucket = lp_memory_alloc(net->memory, (uint64_t)buckets * sizeof(*table->bucket));
    if (table->entry == NULL || table->bucket == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    memset(table->bucket, 0, buckets * sizeof(*table->bucket));
    return LP_OK;
}

void
half_open_fini(struct lp_net *net, struct half_opens *table)
{
    void *blocks[2] = {table->entry, table->bucket};
    for (uint32_t i = 0; i < 2; i++) {
        if (blocks[i] != NULL) {
            lp_memory_release(net->memory, &blocks[i]);
        }
    }
    *table = (struct half_opens){0};
}

struct half_open *
half_open_find(const struct lp_net *net, const struct half_opens *table,
               const struct net_path *path, uint16_t local_port, uint16_t remote_port)
{
    if (table->count == 0) {
        return NULL;
    }
    const uint16_t ports[2] = {local_port, remote_port};
    const uint32_t ip_bytes = net_ip_bytes(path->family);
    struct half_open *entry = entry_at(table, *bucket_of(net, table, path, ports));
    for (; entry != NULL; entry = entry_at(table, entry->chain)) {
        if (entry->local_port == local_port && entry->remote_port == remote_port &&
            entry->ipv6 == (path->family == LP_ADDRESS_IPV6) &&
            memcmp(entry->remote, path->remote, ip_bytes) == 0 &&
            memcmp(entry->local, path->local, ip_bytes) == 0) {
            return entry;
        }
    }
    return NULL;
}

/* --- Queues by time. ------------------------------------------------------------------------- */

static void
level_push(struct half_opens *table, struct half_open *entry)
{
    struct half_open_list *list = &table->level[entry->level];
    const uint16_t link = link_of(table, entry);
    entry->next = 0;
    entry->previous = list->tail;
    if (list->tail == 0) {
        list->head = link;
    } else {
        entry_at(table, list->tail)->next = link;
    }
    list->tail = link;
}

static void
level_remove(struct half_opens *table, struct half_open *entry)
{
    struct half_open_list *list = &table->level[entry->level];
    if (entry->previous == 0) {
        list->head = entry->next;
    } else {
        table->entry[entry->previous - 1u].next = entry->next;
    }
    if (entry->next == 0) {
        list->tail = entry->previous;
    } else {
        table->entry[entry->next - 1u].previous = entry->previous;
    }
}

struct half_open *
half_open_add(const struct lp_net *net, struct half_opens *table, const struct net_path *path,
              const uint16_t ports[2])
{
    if (table->count == table->room) {
        return NULL;
    }
    uint16_t link = table->free_head;
    if (link != 0) {
        table->free_head = table->entry[link - 1u].next;
    } else {
        link = (uint16_t)(++table->made);
    }
    struct half_open *entry = &table->entry[link - 1u];
    memset(entry, 0, sizeof(*entry));
    memcpy(entry->local, path->local, net_ip_bytes(path->family));
    memcpy(entry->remote, path->remote, net_ip_bytes(path->family));
    entry->ipv6 = path->family == LP_ADDRESS_IPV6;
    entry->local_port = ports[0];
    entry->remote_port = ports[1];
    entry->sent_us = half_open_now_us(net);
    uint16_t *bucket = bucket_of(net, table, path, ports);
    entry->chain = *bucket;
    *bucket = link;
    table->count++;
    level_push(table, entry);
    return entry;
}

void
half_open_remove(const struct lp_net *net, struct half_opens *table, struct half_open *entry)
{
    const struct net_path path = half_open_path(entry);
    const uint16_t ports[2] = {entry->local_port, entry->remote_port};
    const uint16_t link = link_of(table, entry);
    uint16_t *at = bucket_of(net, table, &path, ports);
    while (*at != link) {
        LP_ASSERT(*at != 0);
        at = &table->entry[*at - 1u].chain;
    }
    *at = entry->chain;
    level_remove(table, entry);
    entry->next = table->free_head;
    table->free_head = link;
    table->count--;
}

bool
half_open_again(const struct lp_net *net, struct half_opens *table, struct half_open *entry)
{
    if (entry->level + 1u == HALF_OPEN_LEVELS) {
        return false;
    }
    level_remove(table, entry);
    entry->level++;
    entry->sent_us = half_open_now_us(net);
    level_push(table, entry);
    return true;
}

struct half_open *
half_open_oldest(const struct half_opens *table)
{
    for (uint32_t i = HALF_OPEN_LEVELS; i > 0; i--) {
        if (table->level[i - 1u].head != 0) {
            return entry_at(table, table->level[i - 1u].head);
        }
    }
    return NULL;
}

struct half_open *
half_open_due(const struct lp_net *net, const struct half_opens *table, uint32_t *ret_wait_us)
{
    const uint32_t now_us = half_open_now_us(net);
    uint32_t wait_us = UINT32_MAX;
    for (uint32_t i = 0; i < HALF_OPEN_LEVELS; i++) {
        struct half_open *entry = entry_at(table, table->level[i].head);
        if (entry == NULL) {
            continue;
        }
        const uint32_t passed_us = now_us - entry->sent_us;
        if (passed_us >= FIRST_WAIT_US << i) {
            return entry;
        }
        wait_us = LP_MIN(wait_us, (FIRST_WAIT_US << i) - passed_us);
    }
    *ret_wait_us = wait_us;
    return NULL;
}

void
half_open_check(const struct half_opens *table)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < HALF_OPEN_LEVELS; i++) {
        uint16_t before = 0;
        for (uint16_t link = table->level[i].head; link != 0;) {
            const struct half_open *entry = &table->entry[link - 1u];
            LP_ASSERT(entry->level == i);
            LP_ASSERT(entry->previous == before);
            LP_ASSERT(++count <= table->count);
            before = link;
            link = entry->next;
        }
        LP_ASSERT(table->level[i].tail == before);
    }
    LP_ASSERT(count == table->count);
}
