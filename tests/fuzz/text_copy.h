/* SPDX-License-Identifier: Apache-2.0 */
/* text_copy.h - bytes of the fuzzer as a text.  (AddressSanitizer's strict strndup() wants its
 * source to end with a NUL already.) */
#pragma once

#include <lepus/base.h>
#include <stdlib.h>
#include <string.h>

static inline char *
text_copy(const void *data, size_t bytes)
{
    char *text = malloc(bytes + 1);
    LP_ASSERT(text);
    memcpy(text, data, bytes);
    text[bytes] = '\0';
    return text;
}
