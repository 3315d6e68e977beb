/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lp_panic() of the benchmarks.
 */
#include <stdio.h>
#include <stdlib.h>

#include <lepus/base.h>

void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expr);
    abort();
}
