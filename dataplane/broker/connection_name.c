/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/connection_name.h"

static void
text(struct lp_writer *writer, const char *what)
{
    lp_writer_copy(writer, what, strlen(what));
}

static void
number(struct lp_writer *writer, uint32_t value, uint32_t base)
{
    uint8_t digits[10];
    uint32_t at = sizeof(digits);
    do {
        digits[--at] = (uint8_t) "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    lp_writer_copy(writer, digits + at, sizeof(digits) - at);
}

static void
ipv4(struct lp_writer *writer, const uint8_t *ip)
{
    for (uint32_t i = 0; i < 4; i++) {
        text(writer, i > 0 ? "." : "");
        number(writer, ip[i], 10);
    }
}

static uint32_t
group(const uint8_t *ip, uint32_t index)
{
    return (uint32_t)ip[2 * index] << 8 | ip[2 * index + 1];
}

/* The first of the longest runs of zeroes, which is left out when it is longer than one. */
static uint32_t
zeroes_find(const uint8_t *ip, uint32_t *ret_length)
{
    uint32_t best = 8;
    *ret_length = 1;
    for (uint32_t first = 0; first < 8; first++) {
        uint32_t length = 0;
        while (first + length < 8 && group(ip, first + length) == 0) {
            length++;
        }
        if (length > *ret_length) {
            best = first;
            *ret_length = length;
        }
    }
    return best;
}

static void
ipv6(struct lp_writer *writer, const uint8_t *ip)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (memcmp(ip, mapped, sizeof(mapped)) == 0) {
        ipv4(writer, ip + sizeof(mapped));
        return;
    }
    uint32_t length;
    const uint32_t zeroes = zeroes_find(ip, &length);
    bool colon = false; /* a group needs one before it */
    text(writer, "[");
    for (uint32_t i = 0; i < 8; i++) {
        if (i == zeroes) {
            text(writer, "::");
            i += length - 1;
            colon = false;
            continue;
        }
        text(writer, colon ? ":" : "");
        number(writer, group(ip, i), 16);
        colon = true;
    }
    text(writer, "]");
}

static void
end(struct lp_writer *writer, const struct lp_address *address)
{
    if (address->family == LP_ADDRESS_IPV4) {
        ipv4(writer, address->ip);
    } else if (address->family == LP_ADDRESS_IPV6) {
        ipv6(writer, address->ip);
    } else {
        text(writer, "unix");
    }
    text(writer, ":");
    number(writer, address->port, 10);
}

void
lp_connection_name(struct lp_writer *writer, const struct lp_address *peer,
                   const struct lp_address *local)
{
    end(writer, peer);
    text(writer, " -> ");
    end(writer, local);
}
