/* SPDX-License-Identifier: Apache-2.0 */
#include "thousands.h"

#include <stdlib.h>
#include <string.h>

bool
load_thousands_init(struct load_thousands *thousands)
{
    *thousands = (struct load_thousands){.p99 = load_hdr_new()};
    return thousands->p99 != NULL;
}

void
load_thousands_clear(struct load_thousands *thousands)
{
    load_hdr_clear(thousands->p99);
    thousands->count = 0;
    memset(thousands->longest, 0, sizeof(thousands->longest));
}

void
load_thousands_free(struct load_thousands *thousands)
{
    free(thousands->p99);
    thousands->p99 = NULL;
}

void
load_thousands_long(struct load_thousands *thousands, uint64_t ns)
{
    uint32_t at = 0;
    while (at + 1 < LOAD_LONGEST && thousands->longest[at + 1] < ns) {
        thousands->longest[at] = thousands->longest[at + 1];
        at++;
    }
    thousands->longest[at] = ns;
}

void
load_thousands_end(struct load_thousands *thousands)
{
    load_hdr_add(thousands->p99, thousands->longest[0], 1);
    thousands->count = 0;
    memset(thousands->longest, 0, sizeof(thousands->longest));
}
