/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/address.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

LP_STATIC_ASSERT(LP_ADDRESS_TEXT_BYTES == sizeof(((struct sockaddr_un *)0)->sun_path),
                 "a path that we can hold is one that the kernel can");

static bool
port_parse(const char *text, uint16_t *ret_port)
{
    uint32_t port = 0;
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        port = port * 10 + (uint32_t)(*text - '0');
        if (port > UINT16_MAX) {
            return false;
        }
    }
    *ret_port = (uint16_t)port;
    return true;
}

static bool
tcp_parse(const char *text, struct lp_address *ret_address)
{
    char host[INET6_ADDRSTRLEN];
    struct lp_address address = {.family = LP_ADDRESS_IPV4};
    const char *colon = strrchr(text, ':');
    if (colon == NULL || !port_parse(colon + 1, &address.port)) {
        return false;
    }
    size_t bytes = (size_t)(colon - text);
    if (bytes >= 2 && text[0] == '[' && colon[-1] == ']') {
        address.family = LP_ADDRESS_IPV6;
        text++;
        bytes -= 2;
    }
    if (bytes == 0 || bytes >= sizeof(host)) {
        return false;
    }
    memcpy(host, text, bytes);
    host[bytes] = '\0';
    if (inet_pton(address.family == LP_ADDRESS_IPV6 ? AF_INET6 : AF_INET, host, address.ip) != 1) {
        return false;
    }
    *ret_address = address;
    return true;
}

bool
lp_address_parse(const char *text, struct lp_address *ret_address)
{
    if (strncmp(text, "tcp:", 4) == 0) {
        return tcp_parse(text + 4, ret_address);
    }
    if (strncmp(text, "unix:", 5) != 0) {
        return false;
    }
    const size_t bytes = strlen(text + 5);
    if (bytes == 0 || bytes >= LP_ADDRESS_TEXT_BYTES) {
        return false;
    }
    *ret_address = (struct lp_address){.family = LP_ADDRESS_UNIX};
    memcpy(ret_address->path, text + 5, bytes);
    return true;
}

void
lp_address_format(const struct lp_address *address, char *text)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->family == LP_ADDRESS_UNIX) {
        (void)snprintf(text, LP_ADDRESS_FORMAT_BYTES, "unix:%.*s", LP_ADDRESS_TEXT_BYTES - 1,
                       address->path);
        return;
    }
    const bool six = address->family == LP_ADDRESS_IPV6;
    (void)inet_ntop(six ? AF_INET6 : AF_INET, address->ip, host, sizeof(host));
    (void)snprintf(text, LP_ADDRESS_FORMAT_BYTES, six ? "tcp:[%s]:%u" : "tcp:%s:%u", host,
                   (unsigned)address->port);
}

socklen_t
lp_address_to_kernel(const struct lp_address *address, struct sockaddr_storage *ret_kernel)
{
    memset(ret_kernel, 0, sizeof(*ret_kernel));
    switch ((enum lp_address_family)address->family) {
    case LP_ADDRESS_IPV4: {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(address->port)};
        memcpy(&in.sin_addr, address->ip, 4);
        memcpy(ret_kernel, &in, sizeof(in));
        return sizeof(in);
    }
    case LP_ADDRESS_IPV6: {
        struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(address->port)};
        memcpy(&in.sin6_addr, address->ip, 16);
        memcpy(ret_kernel, &in, sizeof(in));
        return sizeof(in);
    }
    case LP_ADDRESS_UNIX: {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        memcpy(un.sun_path, address->path, sizeof(un.sun_path));
        un.sun_path[sizeof(un.sun_path) - 1] = '\0';
        memcpy(ret_kernel, &un, sizeof(un));
        return sizeof(un);
    }
    }
    LP_ASSERT(false); /* an address has one of three families */
    return 0;
}

void
lp_address_of_kernel(const struct sockaddr_storage *kernel, socklen_t bytes,
                     struct lp_address *ret_address)
{
    *ret_address = (struct lp_address){.family = LP_ADDRESS_UNIX};
    if (kernel->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, kernel, sizeof(in));
        ret_address->family = LP_ADDRESS_IPV4;
        ret_address->port = ntohs(in.sin_port);
        memcpy(ret_address->ip, &in.sin_addr, 4);
    } else if (kernel->ss_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, kernel, sizeof(in));
        ret_address->family = LP_ADDRESS_IPV6;
        ret_address->port = ntohs(in.sin6_port);
        memcpy(ret_address->ip, &in.sin6_addr, 16);
    } else if (bytes > offsetof(struct sockaddr_un, sun_path)) {
        /* The far end of a Unix socket has no name as a rule. */
        struct sockaddr_un un;
        memcpy(&un, kernel, sizeof(un));
        const size_t path = LP_MIN((size_t)bytes - offsetof(struct sockaddr_un, sun_path),
                                   sizeof(ret_address->path) - 1);
        memcpy(ret_address->path, un.sun_path, path);
    }
}
