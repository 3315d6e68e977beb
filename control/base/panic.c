/* SPDX-License-Identifier: Apache-2.0 */
/* panic.c - the end of a control program that found a bug in itself; linked into programs, not the
 * library. */
#include <stdio.h>
#include <stdlib.h>

#include <lepus/base.h>

void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "lepus: bug: %s (%s:%d)\n", expr, file, line);
    abort();
}
