/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dad.c - is an address of ours somebody else's?  RFC 5227 for IPv4, RFC 4862
 * 5.4 for IPv6; and telling everybody that it is ours.
 *
 *   TENTATIVE ──nobody objected──▶ PREFERRED (announced twice, defended)
 *        └──────somebody did─────▶ DUPLICATE ◀──somebody does still──┐
 *                                     └──10 s, later a minute──▶ RETRYING ──nobody──▶ PREFERRED
 *
 * What was forged, or another's only for a while, so heals by itself; while it
 * is asked for again it is not used, since it most likely is another's.
 *
 * All shards run it, from the same packets, so that all of them know; the one
 * that answers is the one that asks.
 */
#include <string.h>

#include "net_private.h"

#define SECOND_NS UINT64_C(1000000000)
/* RFC 5227 1.1. */
#define ARP_PROBES       3u
#define ARP_PROBE_MIN_NS (1 * SECOND_NS)
#define ARP_ANNOUNCE_NS  (2 * SECOND_NS) /* ANNOUNCE_WAIT and ANNOUNCE_INTERVAL */
#define ANNOUNCES        2u
#define DEFEND_NS        (10 * SECOND_NS)
/* RFC 5227 1.1, 2.1.1: so many soon, then one a minute.  For IPv6 as well: RFC 4862 5.4.5 leaves it
 * to an operator, who would not do it another way. */
#define CONFLICTS_MAX      10u
#define RETRY_NS           (10 * SECOND_NS)
#define RATE_LIMIT_WAIT_NS (60 * SECOND_NS)
/* RFC 4862 5.1, RFC 4861 10. */
#define NDP_PROBES        1u
#define NDP_RETRANSMIT_NS (1 * SECOND_NS)

static uint64_t
random_second_ns(struct lp_net *net)
{
    return SECOND_NS / 1024 * (net_random(net) % 1024);
}

static void
probe_send(struct lp_net *net, const struct net_address *address)
{
    if (!net_answers(net)) {
        return;
    }
    if (address->family == LP_ADDRESS_IPV4) {
        net_arp_request(net, address->port, NULL, address->ip, NULL);
    } else {
        /* RFC 4862 5.4.2: a switch that listens in has to know before. */
        net_mld_report(net, address->port);
        net_ndp_solicit(net, address->port, NULL, address->ip, NULL);
    }
}

static void
announce_send(struct lp_net *net, const struct net_address *address)
{
    if (!net_answers(net)) {
        return;
    }
    if (address->family == LP_ADDRESS_IPV4) {
        /* RFC 5227 2.3: a request for itself; no reply, which some take for an answer. */
        net_arp_request(net, address->port, address->ip, address->ip, NULL);
    } else {
        net_ndp_announce(net, address);
    }
}

static void address_fire(void *context, struct lp_timer *timer, uint64_t now_ns);

static void
arm(struct lp_net *net, struct net_address *address, uint64_t after_ns)
{
    lp_timer_arm(&net->wheel, &address->timer, address_fire, net->now_ns + after_ns);
}

/* RFC 5227 2.1.1: a second or two apart, and two after the last; RFC 4862 5.4: one. */
static uint64_t
probe_wait_ns(struct lp_net *net, const struct net_address *address)
{
    if (address->family == LP_ADDRESS_IPV6) {
        return NDP_RETRANSMIT_NS;
    }
    return address->probes > 0 ? ARP_PROBE_MIN_NS + random_second_ns(net) : ARP_ANNOUNCE_NS;
}

static void
probes_begin(struct lp_net *net, struct net_address *address, enum net_address_state state)
{
    address->state = (uint8_t)state;
    address->probes = address->family == LP_ADDRESS_IPV4 ? ARP_PROBES : NDP_PROBES;
    address->announces = ANNOUNCES;
    /* RFC 5227 2.1.1, RFC 4862 5.4.2: not all machines of a room at once. */
    arm(net, address, random_second_ns(net));
}

static void
preferred(struct lp_net *net, struct net_address *address)
{
    address->state = NET_PREFERRED;
    address->conflicts = 0;
    /* RFC 3590 4: reports came from nobody until now, and some switches do not believe those. */
    if (address->family == LP_ADDRESS_IPV6 && net_ip6_link_local(address->ip) && net_answers(net)) {
        net_mld_report(net, address->port);
    }
}

static void
address_fire(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct lp_net *net = context;
    struct net_address *address = LP_CONTAINER_OF(timer, struct net_address, timer);
    (void)now_ns;
    if (address->state == NET_DUPLICATE) {
        probes_begin(net, address, NET_RETRYING);
        return;
    }
    if (address->probes > 0) {
        address->probes--;
        probe_send(net, address);
        arm(net, address, probe_wait_ns(net, address));
        return;
    }
    if (net_address_probed(address)) {
        preferred(net, address);
    }
    announce_send(net, address);
    address->announces--;
    if (address->announces > 0) {
        arm(net, address, ARP_ANNOUNCE_NS);
    }
}

void
dad_conflict(struct lp_net *net, struct net_address *address)
{
    net->counters.arp_conflicts++;
    if (net_address_probed(address)) {
        address->state = NET_DUPLICATE;
        address->conflicts = (uint8_t)LP_MIN(address->conflicts + 1u, CONFLICTS_MAX);
        lp_timer_disarm(&net->wheel, &address->timer);
        arm(net, address, address->conflicts < CONFLICTS_MAX ? RETRY_NS : RATE_LIMIT_WAIT_NS);
        return;
    }
    /* RFC 5227 2.4 (c): a server goes on with its address, and says so every ten seconds at most.
     */
    if (address->state == NET_PREFERRED && address->family == LP_ADDRESS_IPV4 &&
        (address->defended_ns == 0 || net->now_ns - address->defended_ns >= DEFEND_NS)) {
        address->defended_ns = net->now_ns;
        announce_send(net, address);
    }
}

static void
address_add(struct lp_net *net, uint32_t port_index, const struct lp_net_prefix *prefix)
{
    struct net_port *port = &net->port[port_index];
    const bool ip4 = prefix->family == LP_ADDRESS_IPV4;
    struct net_address *address = &port->addresses[port->address_count++];
    *address = (struct net_address){
        .family = prefix->family, .bits = prefix->bits, .port = (uint8_t)port_index};
    memcpy(address->ip, prefix->ip, net_ip_bytes(prefix->family));
    port->has_ip6 = port->has_ip6 || !ip4;
    probes_begin(net, address, NET_TENTATIVE);
}

/* RFC 4291 2.5.6 and appendix A: fe80::/64 and the MAC address as an EUI-64. */
static struct lp_net_prefix
link_local_of(const uint8_t *mac)
{
    struct lp_net_prefix prefix = {.family = LP_ADDRESS_IPV6, .bits = 64, .ip = {0xfe, 0x80}};
    memcpy(prefix.ip + 8, mac, 3);
    prefix.ip[8] ^= 0x02u;
    prefix.ip[11] = 0xff;
    prefix.ip[12] = 0xfe;
    memcpy(prefix.ip + 13, mac + 3, 3);
    return prefix;
}

enum lp_err
dad_init_boot(struct lp_net *net, uint32_t port_index)
{
    struct net_port *port = &net->port[port_index];
    const struct lp_net_port *config = &port->config;
    bool has_link_local = false;
    const size_t bytes = (config->address_count + 1) * sizeof(struct net_address);
    port->addresses = lp_memory_alloc(net->memory, bytes);
    if (port->addresses == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    memset(port->addresses, 0, bytes);
    for (uint32_t i = 0; i < config->address_count; i++) {
        const struct lp_net_prefix *prefix = &config->address[i];
        address_add(net, port_index, prefix);
        has_link_local |= prefix->family == LP_ADDRESS_IPV6 && net_ip6_link_local(prefix->ip);
    }
    /* RFC 4291 2.8: whoever speaks IPv6 has an address of the link. */
    if (port->has_ip6 && !has_link_local) {
        const struct lp_net_prefix prefix = link_local_of(port->caps.mac);
        address_add(net, port_index, &prefix);
    }
    return LP_OK;
}
