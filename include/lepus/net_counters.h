/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_counters.h - everything that can happen to a packet or a connection, counted.
 *
 *   Runs on   owner core adds; whoever reports reads copies
 *
 * One list: names are those of `lepusctl tcp_stats` and of metrics.
 */
#pragma once

#include <lepus/base.h>

/* clang-format off */
#define LP_NET_COUNTERS(X)                                                                     \
    /* Frames and packets. */                                                                  \
    X(frames_received, "frames received")                                                      \
    X(frames_sent, "frames sent")                                                              \
    X(frames_short, "frames dropped: cut short")                                               \
    X(frames_foreign, "frames dropped: for another MAC address or VLAN")                       \
    X(frames_unknown, "frames dropped: neither ARP nor IP")                                    \
    X(frames_no_buffer, "frames not sent: the device has no buffer")                           \
    X(frames_forwarded, "frames forwarded to another shard")                                   \
    X(frames_forward_full, "frames dropped: the other shard does not keep up")                 \
    X(ip_bad, "packets dropped: malformed")                                                    \
    X(ip_checksum, "packets dropped: wrong header checksum")                                   \
    X(ip_foreign, "packets dropped: for another address")                                      \
    X(ip_fragments, "packets dropped: fragments")                                              \
    X(ip_options, "packets dropped: options or extension headers that are refused")            \
    X(ip_protocol, "packets dropped: a protocol that nobody here speaks")                      \
    X(ip_no_route, "packets not sent: no route")                                               \
    X(arp_received, "ARP packets received")                                                    \
    X(arp_sent, "ARP packets sent")                                                            \
    X(arp_bad, "ARP packets dropped: malformed or implausible")                                \
    X(arp_conflicts, "address conflicts seen")                                                 \
    X(ndp_received, "neighbour discovery packets received")                                    \
    X(ndp_sent, "neighbour discovery packets sent")                                            \
    X(ndp_bad, "neighbour discovery packets dropped: malformed or implausible")                \
    X(neighbour_full, "neighbours forgotten: the table was full")                              \
    X(neighbour_dropped, "packets dropped: the neighbour does not answer")                     \
    X(icmp_received, "ICMP packets received")                                                  \
    X(icmp_sent, "ICMP packets sent")                                                          \
    X(icmp_bad, "ICMP packets dropped: malformed or implausible")                              \
    X(icmp_limited, "ICMP packets not sent: too many")                                         \
    /* The exception path (exception.c). */                                                    \
    X(exception_to_kernel, "frames handed to the kernel: not ours")                            \
    X(exception_to_kernel_bytes, "bytes of them")                                              \
    X(exception_from_kernel, "frames sent for the kernel")                                     \
    X(exception_from_kernel_bytes, "bytes of them")                                            \
    X(exception_full, "frames not handed to the kernel: too many in one turn")                 \
    X(exception_no_buffer, "frames not handed to the kernel: its interface has no buffer")     \
    X(exception_joined, "frames not handed to the kernel: several joined, and it takes single ones") \
    X(exception_echoed, "frames not handed to the kernel: its own that came back")             \
    X(exception_refused, "frames of the kernel dropped: cut short, or longer than the MTU")    \
    /* Segments. */                                                                            \
    X(tcp_received, "segments received")                                                       \
    X(tcp_joined, "segments that continued another of their burst (GRO)")                      \
    X(tcp_sent, "segments sent")                                                               \
    X(tcp_bad, "segments dropped: malformed")                                                  \
    X(tcp_checksum, "segments dropped: wrong checksum")                                        \
    X(tcp_unacceptable, "segments outside the window")                                         \
    X(tcp_paws, "segments dropped: old timestamp (PAWS)")                                      \
    X(tcp_resets_received, "resets received")                                                  \
    X(tcp_resets_sent, "resets sent")                                                          \
    X(tcp_resets_limited, "resets not sent: too many")                                         \
    X(tcp_challenges, "challenge acknowledgements sent")                                       \
    X(tcp_challenges_limited, "challenge acknowledgements not sent: too many")                 \
    X(tcp_out_of_order, "segments received out of order")                                      \
    X(tcp_out_of_order_dropped, "segments dropped: too much out of order")                     \
    X(tcp_duplicates, "segments received again")                                               \
    X(tcp_no_memory, "segments dropped: no memory for their data")                             \
    X(tcp_window_closed, "times that a receive window was closed")                             \
    X(tcp_window_stalls, "times that a peer's window kept us waiting")                         \
    X(tcp_retransmitted, "segments sent again")                                                \
    X(tcp_retransmitted_spurious, "segments sent again for nothing (DSACK)")                   \
    X(tcp_fast_recoveries, "recoveries without a time-out")                                    \
    X(tcp_rto, "retransmission time-outs")                                                     \
    X(tcp_tlp, "tail loss probes")                                                             \
    X(tcp_persist, "window probes")                                                            \
    X(tcp_keepalive, "keepalive probes")                                                       \
    X(tcp_sack_implausible, "SACK blocks ignored: of what was never sent")                     \
    X(tcp_ecn_ce_received, "segments received that a router had marked (ECN)")                 \
    X(tcp_ecn_reductions, "times that a peer told of such marks, and the window shrank")       \
    X(tcp_pmtu_lowered, "path MTUs lowered")                                                   \
    /* Connections. */                                                                         \
    X(tcp_accepted, "connections accepted")                                                    \
    X(tcp_opened, "connections opened")                                                        \
    X(tcp_refused, "connections refused: nobody listens")                                      \
    X(tcp_refused_full, "connections refused: no room")                                        \
    X(tcp_half_open_timeouts, "half-open connections given up")                                \
    X(tcp_half_open_evicted, "half-open connections pushed out by newer ones")                 \
    X(tcp_cookies_sent, "SYN cookies sent")                                                    \
    X(tcp_cookies_accepted, "connections accepted by cookie")                                  \
    X(tcp_cookies_bad, "cookies refused")                                                      \
    X(tcp_timeouts, "connections given up: the peer does not answer")                          \
    X(tcp_evicted, "connections reset: memory was needed")                                     \
    X(tcp_orphans, "connections that a data plane left when it died")                          \
    X(tcp_orphans_asked, "segments sent to reset those")                                       \
    X(tcp_time_wait_reused, "connections that followed one in TIME-WAIT")                      \
    X(tcp_time_wait_full, "TIME-WAIT entries pushed out by newer ones")
/* clang-format on */

struct lp_net_counters {
#define X(name, text) uint64_t name;
    LP_NET_COUNTERS(X)
#undef X
};
