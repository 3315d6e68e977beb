/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "config_keys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/base/pattern.h"

struct config_suffix {
    const char *text;
    int64_t factor;
};

/* As RabbitMQ reads them: a bare letter or an i means powers of 1024, a B alone powers of 1000. */
static const struct config_suffix sizes[] = {
    {"", 1},
    {"b", 1},
    {"k", 1024},
    {"kib", 1024},
    {"kb", 1000},
    {"m", (int64_t)1 << 20},
    {"mib", (int64_t)1 << 20},
    {"mb", 1000000},
    {"g", (int64_t)1 << 30},
    {"gib", (int64_t)1 << 30},
    {"gb", 1000000000},
    {"t", (int64_t)1 << 40},
    {"tib", (int64_t)1 << 40},
    {"tb", 1000000000000},
    {NULL, 0},
};
static const struct config_suffix milliseconds[] = {
    {"", 1},        {"ms", 1},       {"s", 1000},      {"m", 60000},
    {"h", 3600000}, {"d", 86400000}, {"w", 604800000}, {NULL, 0},
};
static const struct config_suffix seconds[] = {
    {"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}, {NULL, 0},
};
static const struct config_suffix none[] = {{"", 1}, {NULL, 0}};

const char *
config_type_text(enum config_type type)
{
    static const char *const text[] = {"text",      "integer", "bool",    "bytes",  "time (ms)",
                                       "time (s)",  "share",   "address", "path",   "enum",
                                       "limit",     "pattern", "ip",      "prefix", "mac",
                                       "interface", "route",   "secret"};
    LP_ASSERT((unsigned)type < LP_COUNT_OF(text));
    return text[type];
}

bool
config_choice_has(const char *choices, const char *value)
{
    const size_t bytes = strlen(value);
    const char *at = choices;

    while (at != NULL && bytes > 0) {
        const size_t span = strcspn(at, "|");
        if (span == bytes && memcmp(at, value, bytes) == 0) {
            return true;
        }
        at = at[span] == '|' ? at + span + 1 : NULL;
    }
    return false;
}

static bool
number_parse(const char *text, const struct config_suffix *suffixes, int64_t *ret_value)
{
    char *end;
    if (*text < '0' || *text > '9') {
        return false;
    }
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (errno != 0) {
        return false;
    }
    while (*end == ' ') {
        end++;
    }
    for (; suffixes->text != NULL; suffixes++) {
        if (strcasecmp(end, suffixes->text) == 0) {
            return !__builtin_mul_overflow((int64_t)value, suffixes->factor, ret_value);
        }
    }
    return false;
}

/* "0.4" is 400000 millionths; digits beyond the sixth do not count. */
static bool
share_parse(const char *text, int64_t *ret_value)
{
    const size_t whole = strspn(text, "0123456789");
    int64_t value = 0;
    if (whole == 0 || whole > 3) {
        return false;
    }
    for (size_t i = 0; i < whole; i++) {
        value = value * 10 + (text[i] - '0');
    }
    value *= 1000000;
    const char *at = text + whole;
    if (*at == '.') {
        at++;
        for (int64_t unit = 100000; *at >= '0' && *at <= '9'; at++, unit /= 10) {
            value += unit * (*at - '0');
        }
    }
    *ret_value = value;
    return *at == '\0';
}

static bool
bool_parse(const char *text, int64_t *ret_value)
{
    *ret_value = config_choice_has("true|on|yes", text);
    return *ret_value || config_choice_has("false|off|no", text);
}

bool
lp_config_address(const char *value, char ret_ip[LP_CONFIG_IP_BYTES], uint16_t *ret_port)
{
    char ip[LP_CONFIG_IP_BYTES] = "";
    struct in6_addr binary;
    int64_t port;
    const char *colon = strrchr(value, ':');
    const char *port_text = colon == NULL ? value : colon + 1;

    if (!number_parse(port_text, none, &port) || port > UINT16_MAX) {
        return false;
    }
    if (colon != NULL) {
        const char *from = value;
        size_t bytes = (size_t)(colon - value);
        if (bytes >= 2 && from[0] == '[' && from[bytes - 1] == ']') {
            from++;
            bytes -= 2;
        }
        if (bytes == 0 || bytes >= sizeof(ip)) {
            return false;
        }
        memcpy(ip, from, bytes);
        ip[bytes] = '\0';
        if (inet_pton(strchr(ip, ':') ? AF_INET6 : AF_INET, ip, &binary) != 1) {
            return false;
        }
    }
    memcpy(ret_ip, ip, sizeof(ip));
    *ret_port = (uint16_t)port;
    return true;
}

static bool
pattern_is_good(const char *text)
{
    struct lp_pattern *pattern = lp_pattern_open(lp_bytes_of_text(text), NULL);
    const bool good = pattern != NULL;
    lp_pattern_close(&pattern);
    return good;
}

static bool
typed_parse(const struct config_key *key, const char *text, int64_t *ret_integer)
{
    char ip[LP_CONFIG_IP_BYTES];
    char prefix[LP_CONFIG_PREFIX_BYTES];
    uint8_t binary[16];
    uint16_t port;
    bool six;

    switch (key->type) {
    case CONFIG_TEXT:
    case CONFIG_SECRET:
        return true;
    case CONFIG_PATH:
        return *text != '\0';
    case CONFIG_INTEGER:
        return number_parse(text, none, ret_integer);
    case CONFIG_BOOL:
        return bool_parse(text, ret_integer);
    case CONFIG_BYTES:
        return number_parse(text, sizes, ret_integer);
    case CONFIG_TIME_MS:
        return number_parse(text, milliseconds, ret_integer);
    case CONFIG_TIME_S:
        return number_parse(text, seconds, ret_integer);
    case CONFIG_SHARE:
        return share_parse(text, ret_integer);
    case CONFIG_ADDRESS:
        return lp_config_address(text, ip, &port);
    case CONFIG_ENUM:
        return config_choice_has(key->choices, text);
    case CONFIG_LIMIT:
        *ret_integer = INT64_MAX;
        return strcmp(text, "infinity") == 0 || number_parse(text, none, ret_integer);
    case CONFIG_PATTERN:
        return pattern_is_good(text);
    case CONFIG_IP:
        return lp_config_ip(text, binary, &six);
    case CONFIG_PREFIX:
        return config_prefix_good(text);
    case CONFIG_MAC:
        return config_mac_good(text);
    case CONFIG_INTERFACE:
        return config_interface_good(text);
    case CONFIG_ROUTE:
        return lp_config_route(text, prefix, ip);
    }
    return false;
}

static void
wanted_print(const struct config_key *key, char *ret_why, size_t why_bytes)
{
    static const char *const wanted[] = {
        "a text",
        "a whole number",
        "true or false",
        "a size such as 16777216, 512MB or 2GiB",
        "milliseconds, or a time such as 10s or 5m",
        "seconds, or a time such as 60s or 5m",
        "a share such as 0.4",
        "a port such as 5672, or an address and a port such as 127.0.0.1:5672 or [::1]:5672",
        "a path",
        "one of",
        "a whole number, or infinity",
        "a regular expression",
        "an address such as 10.0.0.1 or 2001:db8::1",
        "an address and the bits of its network, such as 10.0.0.2/24 or 2001:db8::2/64",
        "a station's address such as 02:00:00:00:00:01, with an even first octet",
        "the name of an interface such as lepus0: 1 to 15 characters, without spaces, / : or %",
        "a network and its router, such as 10.1.0.0/16 via 10.0.0.1",
    };
    LP_ASSERT((unsigned)key->type < LP_COUNT_OF(wanted));
    if (key->type == CONFIG_ENUM) {
        (void)snprintf(ret_why, why_bytes, "it must be one of %s", key->choices);
    } else {
        (void)snprintf(ret_why, why_bytes, "it must be %s", wanted[key->type]);
    }
}

bool
config_value_parse(const struct config_key *key, const char *text, int64_t *ret_integer,
                   char *ret_why, size_t why_bytes)
{
    int64_t value = 0;

    if (key->default_value != NULL && strcmp(key->default_value, "auto") == 0 &&
        strcmp(text, "auto") == 0) {
        *ret_integer = 0;
        return true;
    }
    if (!typed_parse(key, text, &value)) {
        wanted_print(key, ret_why, why_bytes);
        return false;
    }
    const bool unlimited = key->type == CONFIG_LIMIT && value == INT64_MAX;
    if (!unlimited && key->min < key->max && (value < key->min || value > key->max)) {
        const bool share = key->type == CONFIG_SHARE;
        (void)snprintf(ret_why, why_bytes, "it must be between %lld and %lld",
                       (long long)(share ? 0 : key->min),
                       (long long)(share ? key->max / 1000000 : key->max));
        return false;
    }
    *ret_integer = value;
    return true;
}
