/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/exchange/exchange.h"

/* One line here, one in ../meson.build and one folder beside this file: that is an exchange type.
 */
#define EXCHANGE_TYPE_LIST(X)   \
    X(lp_exchange_type_direct)  \
    X(lp_exchange_type_fanout)  \
    X(lp_exchange_type_topic)   \
    X(lp_exchange_type_headers) \
    X(lp_exchange_type_local_random)

#define X(name) extern const struct lp_exchange_type(name);
EXCHANGE_TYPE_LIST(X)
#undef X

static const struct lp_exchange_type *const exchange_types[] = {
#define X(name) &(name),
    EXCHANGE_TYPE_LIST(X)
#undef X
};

const struct lp_exchange_type *
exchange_type_of(uint8_t kind)
{
    for (uint32_t i = 0; i < LP_COUNT_OF(exchange_types); i++) {
        if (exchange_types[i]->kind == kind) {
            return exchange_types[i];
        }
    }
    return NULL;
}

const struct lp_exchange_type *
exchange_type_named(struct lp_bytes name)
{
    for (uint32_t i = 0; i < LP_COUNT_OF(exchange_types); i++) {
        if (lp_bytes_equal_text(name, exchange_types[i]->name)) {
            return exchange_types[i];
        }
    }
    return NULL;
}
