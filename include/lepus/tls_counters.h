/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_counters.h - what happened to TLS handshakes and streams, counted.
 *
 *   Memory    the room behind a shard's net page (net_page.h), in the region
 *   Runs on   owner core counts and stores, relaxed; control reads
 *
 * One list: names are those of `lepusctl tls_stats` and of metrics.  Every
 * failed handshake is counted in `failed` and in one of its reasons.
 */
#pragma once

#include <lepus/net_page.h>

/* clang-format off */
#define LP_TLS_COUNTERS(X)                                                                     \
    X(connections, "connections over TLS, now")                                                \
    X(handshaking, "handshakes under way, now")                                                \
    X(handshakes, "handshakes that succeeded")                                                 \
    X(handshakes_tls_1_2, "of these with TLS 1.2")                                             \
    X(handshakes_tls_1_3, "of these with TLS 1.3")                                             \
    X(resumed, "of these: an earlier session taken up again")                                  \
    X(with_certificate, "of these: the client showed a certificate")                           \
    X(failed, "handshakes that failed, for one of the reasons that follow")                    \
    X(failed_timeout, "... it took longer than ssl_handshake_timeout")                         \
    X(failed_closed, "... the client closed the connection")                                   \
    X(failed_alert, "... the client said no: it does not believe the broker, or cannot")       \
    X(failed_not_tls, "... what came was not TLS")                                             \
    X(failed_version, "... no version in common")                                              \
    X(failed_cipher, "... no cipher suite, group or kind of signature in common")              \
    X(failed_no_certificate, "... the client showed no certificate")                           \
    X(failed_certificate, "... the client's certificate was not believed")                     \
    X(failed_memory, "... there was no memory")                                                \
    X(failed_other, "... any other")                                                           \
    X(refused, "connections closed at once: too many streams or handshakes")                   \
    X(alerts_sent, "alerts sent, but for close_notify")                                        \
    X(alerts_received, "alerts received, but for close_notify")                                \
    X(steps_here, "parts of handshakes done in shards: lepus.tls.threads is 0")
/* clang-format on */

struct lp_tls_counters {
#define X(name, text) uint64_t name;
    LP_TLS_COUNTERS(X)
#undef X
};

#define LP_TLS_PAGE_OFFSET 15360u

LP_STATIC_ASSERT(LP_NET_PAGE_OFFSET + sizeof(struct lp_net_page) <= LP_TLS_PAGE_OFFSET,
                 "the two share a room");
LP_STATIC_ASSERT(LP_TLS_PAGE_OFFSET + sizeof(struct lp_tls_counters) <= LP_STATS_PAGE_BYTES,
                 "the two share a room");

static inline struct lp_tls_counters *
lp_control_region_tls(void *base, uint32_t shard)
{
    return (struct lp_tls_counters *)(void *)((uint8_t *)lp_control_region_stats(base, shard) +
                                              LP_TLS_PAGE_OFFSET);
}
