/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/protocol/amqp091/sasl.h"

#include <lepus/field_table.h>

/* NUL user NUL password: an authorization identity is not taken. */
static bool
plain_read(struct lp_bytes response, struct amqp091_credentials *ret_credentials)
{
    if (response.size < 2 || response.data[0] != 0) {
        return false;
    }
    const uint8_t *user = response.data + 1;
    const uint8_t *end = response.data + response.size;
    const uint8_t *nul = user;
    while (nul < end && *nul != 0) {
        nul++;
    }
    if (nul == end) {
        return false;
    }
    for (const uint8_t *at = nul + 1; at < end; at++) {
        if (*at == 0) {
            return false;
        }
    }
    ret_credentials->user = lp_bytes_of(user, (uint32_t)(nul - user));
    ret_credentials->password = lp_bytes_of(nul + 1, (uint32_t)(end - nul - 1));
    return true;
}

/* A field table without its length. */
static bool
amqplain_read(struct lp_bytes response, struct amqp091_credentials *ret_credentials)
{
    struct lp_field login;
    struct lp_field password;
    if (!lp_field_find(response, "LOGIN", &login) || login.type != 'S' ||
        !lp_field_find(response, "PASSWORD", &password) || password.type != 'S') {
        return false;
    }
    ret_credentials->user = login.raw;
    ret_credentials->password = password.raw;
    return true;
}

static const struct {
    uint8_t mechanism;
    const char *name;
} mechanisms[] = {
    {LP_MECHANISM_PLAIN, "PLAIN"},
    {LP_MECHANISM_AMQPLAIN, "AMQPLAIN"},
    {LP_MECHANISM_ANONYMOUS, "ANONYMOUS"},
    {LP_MECHANISM_EXTERNAL, "EXTERNAL"},
};

uint8_t
amqp091_sasl_find(struct lp_bytes mechanism)
{
    for (size_t i = 0; i < LP_COUNT_OF(mechanisms); i++) {
        if (lp_bytes_equal_text(mechanism, mechanisms[i].name)) {
            return mechanisms[i].mechanism;
        }
    }
    return 0;
}

const char *
amqp091_sasl_name(uint8_t mechanism)
{
    for (size_t i = 0; i < LP_COUNT_OF(mechanisms); i++) {
        if (mechanisms[i].mechanism == mechanism) {
            return mechanisms[i].name;
        }
    }
    return "";
}

bool
amqp091_sasl_read(uint8_t mechanism, struct lp_bytes response,
                  struct amqp091_credentials *ret_credentials)
{
    switch (mechanism) {
    case LP_MECHANISM_PLAIN:
        return plain_read(response, ret_credentials);
    case LP_MECHANISM_AMQPLAIN:
        return amqplain_read(response, ret_credentials);
    case LP_MECHANISM_ANONYMOUS: /* whatever it says of itself */
        *ret_credentials = (struct amqp091_credentials){0};
        return true;
    default:
        return false;
    }
}
