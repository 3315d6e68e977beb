/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYN cookies (RFC 4987 3.6): when nothing can be kept, the peer keeps it. Our
 * number is 27 bits of a keyed hash over the flow, the peer's number and the
 * other five bits: two of the time, three that name a segment size.
 *
 *    31 30 29   27 26                                             0
 *   +-----+-------+-----------------------------------------------+
 *   |epoch|  mss  |          SipHash(key of the epoch, ...)       |
 *   +-----+-------+-----------------------------------------------+
 *
 * What RFC 7323, 2018 and 3168 negotiate rides in the low bits of our timestamp, which
 * comes back as an echo; without timestamps there is neither shift nor SACK nor ECN.
 * Keys are used for an epoch, and believed for one more.
 */
#include "inbound.h"

#define EPOCH_NS       (64ull * TCP_SECOND_NS)
#define EPOCH_SHIFT    30u
#define MSS_SHIFT      27u
#define MAC_MASK       ((1u << MSS_SHIFT) - 1u)
#define TIMESTAMP_BITS 6u
#define FOLLOWS_NS     (8ull * TCP_SECOND_NS)
#define SACK_BIT       0x10u
#define ECN_BIT        0x20u
#define SHIFT_MASK     0x0fu
#define SHIFT_NONE     0x0fu /* shifts end at 14 */

/* Sizes that are there: the minimum, IPv6's, tunnels', PPPoE's, Ethernet's, jumbo frames'. */
static const uint16_t mss_of[8] = {536, 1220, 1360, 1400, 1440, 1452, 1460, 8960};

/* The keys of this epoch and the one before; those that are older are gone for good. */
static void
keys_turn(struct lp_net *net, struct tcp_cookies *cookies)
{
    const struct lp_entropy *entropy = &net->env.entropy;
    const uint64_t epoch = net->now_ns / EPOCH_NS + 1u; /* 0: no key yet */
    if (epoch == cookies->epoch) {
        return;
    }
    /* The first time of all, there was none before. */
    if (cookies->epoch == 0 || epoch != cookies->epoch + 1u) {
        struct lp_hash_key *other = &cookies->key[(epoch + 1u) & 1u];
        entropy->fill(entropy->self, other, sizeof(*other));
    }
    struct lp_hash_key *key = &cookies->key[epoch & 1u];
    entropy->fill(entropy->self, key, sizeof(*key));
    cookies->epoch = epoch;
}

static uint32_t
mac_of(const struct tcp_cookies *cookies, const struct tcp_segment *segment, uint64_t epoch,
       const uint32_t irs_and_mss[2])
{
    uint8_t bytes[TCP_FLOW_BYTES_MAX + 16];
    const struct net_path path = tcp_path_of(segment->packet);
    const uint32_t count = tcp_flow_bytes(&path, segment->to_port, segment->from_port, bytes);
    uint8_t *to = lp_put_u32be(bytes + count, irs_and_mss[0]);
    to = lp_put_u32be(to, irs_and_mss[1]);
    to = lp_put_u64be(to, epoch);
    return (uint32_t)lp_hash_bytes(&cookies->key[epoch & 1u], bytes, (size_t)(to - bytes)) &
           MAC_MASK;
}

uint32_t
tcp_cookie_make(struct lp_net *net, const struct tcp_segment *segment, struct tcp_agreed *agreed,
                uint32_t *ret_timestamp)
{
    struct tcp_cookies *cookies = tcp_cookies_of(net);
    keys_turn(net, cookies);
    cookies->sent_ns = net->now_ns;
    uint32_t mss = 0;
    while (mss + 1u < LP_COUNT_OF(mss_of) && mss_of[mss + 1u] <= agreed->mss_bytes) {
        mss++;
    }
    if (agreed->timestamps) {
        const uint32_t bits = (agreed->has_shift ? agreed->shift : SHIFT_NONE) |
                              (agreed->sack ? SACK_BIT : 0) | (agreed->ecn ? ECN_BIT : 0);
        const uint32_t now = *ret_timestamp;
        const uint32_t marked = (now & ~((1u << TIMESTAMP_BITS) - 1u)) | bits;
        /* Never ahead of the clock: what follows must not look older (RFC 7323 5.4). */
        *ret_timestamp = tcp_lt(now, marked) ? marked - (1u << TIMESTAMP_BITS) : marked;
    } else {
        agreed->has_shift = false;
        agreed->sack = false;
        agreed->ecn = false;
    }
    const uint32_t irs_and_mss[2] = {segment->seq, mss};
    return (uint32_t)(cookies->epoch & 3u) << EPOCH_SHIFT | mss << MSS_SHIFT |
           mac_of(cookies, segment, cookies->epoch, irs_and_mss);
}

bool
tcp_cookie_may_follow(const struct lp_net *net)
{
    const struct tcp_cookies *cookies = tcp_cookies_of(net);
    return cookies->sent_ns != 0 && net->now_ns - cookies->sent_ns < FOLLOWS_NS;
}

bool
tcp_cookie_check(struct lp_net *net, const struct tcp_segment *segment,
                 struct tcp_agreed *ret_agreed)
{
    struct tcp_cookies *cookies = tcp_cookies_of(net);
    /* Nobody can guess one while none is out. */
    if (cookies->sent_ns == 0 || net->now_ns - cookies->sent_ns >= 2u * EPOCH_NS) {
        return false;
    }
    keys_turn(net, cookies);
    const uint32_t cookie = segment->ack - 1u;
    const uint32_t mss = (cookie >> MSS_SHIFT) & 7u;
    const uint32_t irs_and_mss[2] = {segment->seq - 1u, mss};
    const uint64_t back = (cookies->epoch - (cookie >> EPOCH_SHIFT)) & 3u;
    if (back > 1u ||
        mac_of(cookies, segment, cookies->epoch - back, irs_and_mss) != (cookie & MAC_MASK)) {
        net->counters.tcp_cookies_bad++;
        return false;
    }
    net->counters.tcp_cookies_accepted++;
    *ret_agreed = (struct tcp_agreed){
        .isn = cookie,
        .irs = segment->seq - 1u,
        .timestamp = segment->timestamp,
        .mss_bytes = mss_of[mss],
        .timestamps = segment->has_timestamp,
        .cookie = true,
    };
    if (segment->has_timestamp) {
        const uint8_t shift = segment->echo & SHIFT_MASK;
        ret_agreed->has_shift = shift != SHIFT_NONE;
        ret_agreed->shift = shift;
        ret_agreed->sack = (segment->echo & SACK_BIT) != 0;
        ret_agreed->ecn = (segment->echo & ECN_BIT) != 0 && net->config.ecn != LP_NET_ECN_OFF;
    }
    return true;
}
