/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/exchange/exchange.h"

/* One line here, one in ../meson.build and one folder beside this file: that is an exchange type.
 */
#define EXCHANGE_TYPE_LIST(X)  \
    X(lp_exchange_type_direct) \
    X(lp_exchange_type_fanout) \
    X(lp_exchange_type_topic)  \
    X(lp_exchange_type_headers)

#define X(name) extern const struct lp_exchange_type(name);
EXCHANGE_TYPE_LIST(X)
#undef X

const struct lp_exchange_type *
exchange_type_of(uint8_t kind)
{
    static const struct lp_exchange_type *const types[] = {
#define X(name) &(name),
        EXCHANGE_TYPE_LIST(X)
#undef X
    };
    for (uint32_t i = 0; i < LP_COUNT_OF(types); i++) {
        if (types[i]->kind == kind) {
            return types[i];
        }
    }
    return NULL;
}
