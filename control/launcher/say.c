/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher.h"

#include <stdarg.h>
#include <time.h>

static void __attribute__((format(printf, 2, 0)))
print_line(FILE *out, const char *format, va_list list)
{
    char line[8192];
    (void)vsnprintf(line, sizeof(line), format, list); /* a longer one is cut */
    /* One write a line: the children write to the same terminal.  Nobody to tell when it fails. */
    (void)fprintf(out, "lepus: %s\n", line);
    (void)fflush(out);
}

void
launcher_say(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    print_line(stdout, format, list);
    va_end(list);
}

void
launcher_warn(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    print_line(stderr, format, list);
    va_end(list);
}

uint64_t
launcher_now_ms(void)
{
    struct timespec now;
    const int failed = clock_gettime(CLOCK_MONOTONIC, &now);
    LP_ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
