/* SPDX-License-Identifier: Apache-2.0 */
/* Values of the lepus.net keys: addresses without a port. */
#include "config.h"
#include "config_keys.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

bool
lp_config_ip(const char *value, uint8_t ret_ip[16], bool *ret_six)
{
    uint8_t ip[16] = {0};
    const bool six = strchr(value, ':') != NULL;
    if (inet_pton(six ? AF_INET6 : AF_INET, value, ip) != 1) {
        return false;
    }
    memcpy(ret_ip, ip, sizeof(ip));
    *ret_six = six;
    return true;
}

/* What is before `end` as a text of its own; false: it is too long for any address. */
static bool
text_cut(const char *value, const char *end, char ret_text[LP_CONFIG_IP_BYTES])
{
    const size_t bytes = (size_t)(end - value);
    if (bytes >= LP_CONFIG_IP_BYTES) {
        return false;
    }
    memcpy(ret_text, value, bytes);
    ret_text[bytes] = '\0';
    return true;
}

bool
config_prefix_good(const char *value)
{
    char text[LP_CONFIG_IP_BYTES];
    uint8_t ip[16];
    bool six;
    char *end;
    const char *slash = strchr(value, '/');
    if (slash == NULL || slash[1] < '0' || slash[1] > '9' || !text_cut(value, slash, text) ||
        !lp_config_ip(text, ip, &six)) {
        return false;
    }
    const unsigned long bits = strtoul(slash + 1, &end, 10);
    return *end == '\0' && bits <= (six ? 128u : 32u);
}

bool
config_mac_good(const char *value)
{
    for (unsigned i = 0; i < 17; i++) {
        const bool colon = i % 3 == 2;
        const bool good = colon ? value[i] == ':' : strspn(value + i, "0123456789abcdefABCDEF") > 0;
        if (!good) {
            return false; /* also at the end, which is no digit */
        }
    }
    /* An odd first octet names a group, and no station can be one. */
    return value[17] == '\0' && (strtoul(value, NULL, 16) & 1) == 0;
}

bool
config_interface_good(const char *value)
{
    /* As the kernel has it: dev_valid_name(). */
    const size_t bytes = strlen(value);
    return bytes > 0 && bytes <= 15 && strpbrk(value, "/:% \t") == NULL &&
           strcmp(value, ".") != 0 && strcmp(value, "..") != 0;
}

bool
lp_config_route(const char *value, char ret_to[LP_CONFIG_PREFIX_BYTES],
                char ret_gateway[LP_CONFIG_IP_BYTES])
{
    static const char via[] = " via ";
    char to[LP_CONFIG_PREFIX_BYTES];
    uint8_t to_ip[16];
    uint8_t gateway_ip[16];
    bool to_six;
    bool gateway_six;
    const char *middle = strstr(value, via);
    if (middle == NULL || (size_t)(middle - value) >= sizeof(to)) {
        return false;
    }
    memcpy(to, value, (size_t)(middle - value));
    to[middle - value] = '\0';
    const char *gateway = middle + sizeof(via) - 1;
    gateway += strspn(gateway, " ");
    char ip[LP_CONFIG_IP_BYTES];
    if (strlen(gateway) >= LP_CONFIG_IP_BYTES || !config_prefix_good(to) ||
        !text_cut(to, strchr(to, '/'), ip) || !lp_config_ip(ip, to_ip, &to_six) ||
        !lp_config_ip(gateway, gateway_ip, &gateway_six) || to_six != gateway_six) {
        return false;
    }
    memcpy(ret_to, to, sizeof(to));
    memcpy(ret_gateway, gateway, strlen(gateway) + 1);
    return true;
}
