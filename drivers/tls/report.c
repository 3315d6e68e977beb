/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.c - what operators hear of handshakes that failed: a line each, but
 * no more than some a second, then how many there were.
 */
#include "tls_private.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

#define WINDOW_NS  1000000000u
#define LINES_MAX  10u
#define LINE_BYTES 1024

void
tls_log(struct lp_tls *tls, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    tls->log(tls->log_context, line);
}

static void
peer_print(const struct lp_address *peer, char *text, size_t bytes)
{
    char ip[INET6_ADDRSTRLEN] = "";
    const bool six = peer->family == LP_ADDRESS_IPV6;
    if (peer->family == LP_ADDRESS_UNIX) {
        (void)snprintf(text, bytes, "a Unix socket");
        return;
    }
    (void)inet_ntop(six ? AF_INET6 : AF_INET, peer->ip, ip, sizeof(ip)); /* fits */
    (void)snprintf(text, bytes, six ? "[%s]:%u" : "%s:%u", ip, peer->port);
}

/* May a line be said now?  `ret_unsaid`: how many were not, before. */
static bool
limiter_take(struct lp_tls *tls, uint64_t *ret_unsaid)
{
    struct tls_limiter *limiter = &tls->limiter;
    const uint64_t now_ns = tls->clock.monotonic_ns(tls->clock.self);
    *ret_unsaid = 0;
    if (now_ns - limiter->window_ns >= WINDOW_NS) {
        limiter->window_ns = now_ns;
        limiter->lines = 0;
        *ret_unsaid = limiter->unsaid;
        limiter->unsaid = 0;
    }
    if (limiter->lines == LINES_MAX) {
        limiter->unsaid++;
        return false;
    }
    limiter->lines++;
    return true;
}

void
tls_report(struct lp_tls *tls, const struct tls_hello *hello)
{
    char peer[INET6_ADDRSTRLEN + 16];
    uint64_t unsaid;
    tls_lock(tls);
    const bool said = limiter_take(tls, &unsaid);
    tls_unlock(tls);
    if (unsaid > 0) {
        tls_log(tls, "TLS: %llu more handshakes failed before this", (unsigned long long)unsaid);
    }
    if (said) {
        peer_print(&hello->accepted.peer, peer, sizeof(peer));
        tls_log(tls, "TLS: the handshake with %s failed: %s", peer, hello->failure);
    }
}
