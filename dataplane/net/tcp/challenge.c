/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Challenge acknowledgements (RFC 5961 3.2, 4.2, 5.2): who really is our peer
 * finds out from one where we are, and can say RST with the exact number.
 *
 * They are limited (RFC 5961 7) by connection and by a number that nobody can
 * guess: a limit that all connections share tells an attacker on one of them
 * what happens on another (CVE-2016-5696).
 */
#include "inbound.h"

#define INTERVAL_MS   1000u
#define CHALLENGE_MIN 5u
#define CHALLENGE_ODD 8u /* up to so many more, less one */

static uint32_t
limit_of(const struct lp_net *net, const struct tcp_stream *stream)
{
    const uint64_t now[2] = {stream->challenge_ms, stream->node.hash};
    return CHALLENGE_MIN +
           (uint32_t)(lp_hash_bytes(&net->hash_key, now, sizeof(now)) % CHALLENGE_ODD);
}

void
tcp_challenge(struct lp_net *net, struct tcp_stream *stream)
{
    const uint32_t now_ms = tcp_now_ms(net);
    if (stream->challenges == 0 || now_ms - stream->challenge_ms >= INTERVAL_MS) {
        stream->challenge_ms = now_ms;
        stream->challenges = 0;
    }
    if (stream->challenges >= limit_of(net, stream)) {
        net->counters.tcp_challenges_limited++;
        return;
    }
    stream->challenges++;
    net->counters.tcp_challenges++;
    tcp_want(net, stream, TCP_WANT_ACK);
}
