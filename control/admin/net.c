/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.c - our own TCP/IP as shards report it: ports, and everything counted.
 *
 * Pages are memory that the data plane writes: texts and counts of them are
 * bounded here.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <lepus/net_page.h>
#include <lepus/transport.h>

#include "control/admin/admin_internal.h"
#include "control/admin/counters.h"
#include "control/admin/report.h"
#include "lepus/atomic.h"

static const struct admin_counter table[] = {
#define X(name, text) {#name, text, offsetof(struct lp_net_counters, name)},
    LP_NET_COUNTERS(X)
#undef X
};

/* The shard's page and how many ports it has; NULL when it has none. */
static const struct lp_net_page *
page_of(const struct lp_control *control, uint32_t shard, uint32_t *ret_ports)
{
    const struct lp_net_page *page = lp_control_region_net(control->options.region, shard);
    /* Pairs with lp_net_report()'s release: what it counts is described. */
    *ret_ports = LP_MIN(lp_load_acquire(&page->port_count), LP_NET_PAGE_PORTS);
    return *ret_ports == 0 ? NULL : page;
}

static const void *
counters_of(const struct lp_control *control, uint32_t shard)
{
    uint32_t ports;
    const struct lp_net_page *page = page_of(control, shard, &ports);
    return page == NULL ? NULL : &page->counters;
}

static const struct lp_net_page *
first_page(const struct lp_control *control)
{
    uint32_t ports;
    return page_of(control, 0, &ports);
}

static void
none_say(struct admin_task *task)
{
    admin_say(task, json_pack("{s:s,s:[]}", "result", "ok", "ports"),
              "Node %s has no network ports of its own: all traffic is on the kernel's sockets. "
              "lepus.net.port.0.device gives it one.",
              task->node);
}

void
admin_tcp_stats(struct admin_task *task)
{
    if (first_page(task->control) == NULL) {
        none_say(task);
        return;
    }
    admin_counters_say(task, table, LP_COUNT_OF(table), counters_of);
}

/* ---- ports ---- */

static json_t *
text_of(const char *array)
{
    return json_stringn_nocheck(array, strnlen(array, LP_NET_PORT_NAME_BYTES));
}

static json_t *
address_of(const struct lp_net_page_address *address)
{
    char text[INET6_ADDRSTRLEN] = "?";
    const int family = address->family == LP_ADDRESS_IPV6 ? AF_INET6 : AF_INET;
    (void)inet_ntop(family, address->ip, text, sizeof(text)); /* there is room */
    return json_sprintf("%s/%u", text, address->bits);
}

/* All of the configuration's; or those that other machines have. */
static json_t *
addresses_of(const struct lp_net_page_port *port, bool given_up_only)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < LP_MIN(port->address_count, LP_NET_PAGE_ADDRESSES); i++) {
        const struct lp_net_page_address *address = &port->address[i];
        /* Statistics, like the counters. */
        if (!given_up_only || lp_load_relaxed(&address->given_up) != 0) {
            (void)json_array_append_new(list, address_of(address)); /* out of memory panics */
        }
    }
    return list;
}

/* Queue pairs of all shards together. */
static struct lp_nic_counters
port_counters(const struct lp_control *control, uint32_t which, uint32_t *ret_queues)
{
    struct lp_nic_counters sum = {0};
    *ret_queues = 0;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        uint32_t ports;
        const struct lp_net_page *page = page_of(control, i, &ports);
        if (page == NULL || which >= ports) {
            continue;
        }
        const struct lp_nic_counters *of = &page->port[which].counters;
        sum.received_frames += lp_load_relaxed(&of->received_frames);
        sum.received_bytes += lp_load_relaxed(&of->received_bytes);
        sum.sent_frames += lp_load_relaxed(&of->sent_frames);
        sum.sent_bytes += lp_load_relaxed(&of->sent_bytes);
        sum.missed_frames += lp_load_relaxed(&of->missed_frames);
        sum.bad_frames += lp_load_relaxed(&of->bad_frames);
        sum.refused_frames += lp_load_relaxed(&of->refused_frames);
        (*ret_queues)++;
    }
    return sum;
}

static json_t *
offloads_of(uint32_t offloads)
{
    json_t *list = json_array();
    static const char *const names[] = {"checksum", "tso", "rss"};
    for (uint32_t i = 0; i < LP_COUNT_OF(names); i++) {
        if ((offloads >> i & 1u) != 0) {
            (void)json_array_append_new(list, json_string(names[i])); /* out of memory panics */
        }
    }
    return list;
}

static json_t *
port_object(const struct lp_control *control, const struct lp_net_page *page, uint32_t which)
{
    const struct lp_net_page_port *port = &page->port[which];
    uint32_t queues = 0;
    const struct lp_nic_counters sum = port_counters(control, which, &queues);
    json_t *object = json_object();
    admin_set(object, "port", json_integer(which));
    admin_set(object, "device", text_of(port->name));
    admin_set(object, "driver", text_of(port->driver));
    admin_set(object, "mac",
              json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", port->mac[0], port->mac[1],
                           port->mac[2], port->mac[3], port->mac[4], port->mac[5]));
    /* Statistics, like the counters. */
    admin_set(object, "link", json_string(lp_load_relaxed(&port->link_up) ? "up" : "down"));
    admin_set(object, "mtu", json_integer(port->mtu_bytes));
    admin_set(object, "vlan", json_integer(port->vlan));
    admin_set(object, "exception",
              json_stringn_nocheck(port->exception,
                                   strnlen(port->exception, LP_NET_EXCEPTION_NAME_BYTES)));
    admin_set(object, "queues", json_integer(queues));
    admin_set(object, "offloads", offloads_of(port->offloads));
    admin_set(object, "addresses", addresses_of(port, false));
    admin_set(object, "given_up", addresses_of(port, true));
    admin_set(object, "received_frames", json_integer((json_int_t)sum.received_frames));
    admin_set(object, "received_bytes", json_integer((json_int_t)sum.received_bytes));
    admin_set(object, "sent_frames", json_integer((json_int_t)sum.sent_frames));
    admin_set(object, "sent_bytes", json_integer((json_int_t)sum.sent_bytes));
    admin_set(object, "missed_frames", json_integer((json_int_t)sum.missed_frames));
    admin_set(object, "bad_frames", json_integer((json_int_t)sum.bad_frames));
    admin_set(object, "refused_frames", json_integer((json_int_t)sum.refused_frames));
    return object;
}

static const char *
text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static long long
number_at(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* An array of texts as "a, b", into the line. */
static void
list_line(struct lp_bytebuf *text, const char *name, const json_t *list)
{
    char joined[1024] = "none";
    size_t used = 0;
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        const int more = snprintf(joined + used, sizeof(joined) - used, "%s%s", i == 0 ? "" : ", ",
                                  json_string_value(item));
        used = LP_MIN(used + (size_t)LP_MAX(more, 0), sizeof(joined) - 1);
    }
    admin_line(text, "    %-10s %s", name, joined);
}

static void
port_text(struct lp_bytebuf *text, const json_t *port)
{
    admin_line(text, "Port %lld: %s (%s)", number_at(port, "port"), text_at(port, "device"),
               text_at(port, "driver"));
    admin_line(text, "    link       %s, MAC %s, MTU %lld, VLAN %lld, %lld queues",
               text_at(port, "link"), text_at(port, "mac"), number_at(port, "mtu"),
               number_at(port, "vlan"), number_at(port, "queues"));
    list_line(text, "addresses", json_object_get(port, "addresses"));
    const json_t *given_up = json_object_get(port, "given_up");
    if (json_array_size(given_up) > 0) {
        list_line(text, "NOT OURS", given_up);
        admin_line(text, "               another machine answers for it; it is asked for again "
                         "every minute (arp_conflicts in tcp_stats)");
    }
    list_line(text, "offloads", json_object_get(port, "offloads"));
    const char *exception = text_at(port, "exception");
    admin_line(text, "    exception  %s", *exception != '\0' ? exception : "none");
    admin_line(text, "    received   %lld frames, %lld bytes; %lld missed, %lld bad",
               number_at(port, "received_frames"), number_at(port, "received_bytes"),
               number_at(port, "missed_frames"), number_at(port, "bad_frames"));
    admin_line(text, "    sent       %lld frames, %lld bytes; %lld refused",
               number_at(port, "sent_frames"), number_at(port, "sent_bytes"),
               number_at(port, "refused_frames"));
}

void
admin_list_ports(struct admin_task *task)
{
    const struct lp_control *control = task->control;
    uint32_t ports = 0;
    const struct lp_net_page *page = page_of(control, 0, &ports);
    if (page == NULL) {
        none_say(task);
        return;
    }
    struct lp_bytebuf text = {0};
    json_t *list = json_array();
    for (uint32_t i = 0; i < ports; i++) {
        json_t *port = port_object(control, page, i);
        port_text(&text, port);
        (void)json_array_append_new(list, port); /* out of memory panics */
    }
    json_t *words = admin_text_take(&text);
    admin_say(task, json_pack("{s:s,s:o}", "result", "ok", "ports", list), "%s",
              json_string_value(words));
    json_decref(words);
}
