/* SPDX-License-Identifier: Apache-2.0 */
/* count.c - what happened, for the operator: the shard's own, and a copy that others may read. */
#include "tls_private.h"

#include "lepus/atomic.h"

void
tls_count(struct tls_driver *driver, uint64_t *field, int64_t more)
{
    const size_t index = (size_t)(field - (uint64_t *)&driver->counters);
    LP_ASSERT(index < sizeof(driver->counters) / sizeof(uint64_t));
    *field += (uint64_t)more;
    if (driver->told != NULL) {
        lp_store_relaxed((uint64_t *)driver->told + index, *field); /* a statistic */
    }
}

void
tls_count_done(struct tls_driver *driver, struct tls_stream *stream)
{
    struct lp_tls_counters *counters = &driver->counters;
    const bool newest = SSL_version(stream->ssl) == TLS1_3_VERSION;
    tls_count(driver, &counters->handshakes, 1);
    tls_count(driver, newest ? &counters->handshakes_tls_1_3 : &counters->handshakes_tls_1_2, 1);
    tls_count(driver, &counters->connections, 1);
    stream->counted = true;
    if (stream->hello->resumed) {
        tls_count(driver, &counters->resumed, 1);
    }
    if (SSL_get0_peer_certificate(stream->ssl) != NULL) {
        tls_count(driver, &counters->with_certificate, 1);
    }
}

static uint64_t *
failure_field(struct lp_tls_counters *counters, enum tls_failure reason)
{
    switch (reason) {
    case TLS_FAILURE_TIMEOUT:
        return &counters->failed_timeout;
    case TLS_FAILURE_CLOSED:
        return &counters->failed_closed;
    case TLS_FAILURE_ALERT:
        return &counters->failed_alert;
    case TLS_FAILURE_NOT_TLS:
        return &counters->failed_not_tls;
    case TLS_FAILURE_VERSION:
        return &counters->failed_version;
    case TLS_FAILURE_CIPHER:
        return &counters->failed_cipher;
    case TLS_FAILURE_NO_CERTIFICATE:
        return &counters->failed_no_certificate;
    case TLS_FAILURE_CERTIFICATE:
        return &counters->failed_certificate;
    case TLS_FAILURE_MEMORY:
        return &counters->failed_memory;
    case TLS_FAILURE_OTHER:
        break;
    }
    return &counters->failed_other;
}

void
tls_count_failed(struct tls_driver *driver, enum tls_failure reason)
{
    tls_count(driver, &driver->counters.failed, 1);
    tls_count(driver, failure_field(&driver->counters, reason), 1);
}

void
tls_count_alerts(struct tls_driver *driver, struct tls_stream *stream)
{
    if (stream->alerts_sent > 0) {
        tls_count(driver, &driver->counters.alerts_sent, stream->alerts_sent);
    }
    if (stream->alerts_received > 0) {
        tls_count(driver, &driver->counters.alerts_received, stream->alerts_received);
    }
    stream->alerts_sent = stream->alerts_received = 0;
}

void
tls_count_gone(struct tls_driver *driver, struct tls_stream *stream)
{
    tls_count_alerts(driver, stream);
    if (stream->counted) {
        tls_count(driver, &driver->counters.connections, -1);
    }
}
