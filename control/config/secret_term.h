/* SPDX-License-Identifier: Apache-2.0 */
/* secret_term.h - what the two files about terms share: Erlang's external format. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "secret.h"

#define SECRET_NESTING_MAX 16u

enum secret_tag {
    SECRET_TAG_VERSION = 131,
    SECRET_TAG_SMALL_INTEGER = 97,
    SECRET_TAG_INTEGER = 98,
    SECRET_TAG_ATOM = 100, /* Latin 1 */
    SECRET_TAG_SMALL_TUPLE = 104,
    SECRET_TAG_NIL = 106,
    SECRET_TAG_STRING = 107,
    SECRET_TAG_LIST = 108,
    SECRET_TAG_BINARY = 109,
    SECRET_TAG_SMALL_ATOM_LATIN = 115,
    SECRET_TAG_ATOM_UTF8 = 118,
    SECRET_TAG_SMALL_ATOM_UTF8 = 119,
};

/* How many bytes. */
static inline unsigned
secret_utf8_write(uint32_t value, uint8_t *out)
{
    if (value < 0x80) {
        out[0] = (uint8_t)value;
        return 1;
    }
    const unsigned more = value < 0x800 ? 1 : value < 0x10000 ? 2 : 3;
    for (unsigned i = more; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (value & 0x3f));
        value >>= 6;
    }
    out[0] = (uint8_t)((0xff00 >> (more + 1) & 0xff) | value);
    return 1 + more;
}

static inline bool
secret_copy(struct lp_secret *secret, const void *data, size_t bytes)
{
    secret->data = calloc(1, bytes + 1);
    if (secret->data == NULL) {
        return false;
    }
    if (bytes > 0) {
        memcpy(secret->data, data, bytes);
    }
    secret->size = bytes;
    return true;
}
