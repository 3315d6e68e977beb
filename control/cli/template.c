/* SPDX-License-Identifier: Apache-2.0 */
/* template.c - banners: templates of control/command/command.h, filled in. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool
cli_for_people(const struct cli_request *request)
{
    return request->formatter == CLI_FORMATTER_TABLE ||
           request->formatter == CLI_FORMATTER_PRETTY_TABLE;
}

static const char *
argument_or_empty(const struct cli_request *request, size_t index)
{
    return index < request->argument_count ? request->argument[index] : "";
}

static void
rest_print(FILE *out, const struct cli_request *request)
{
    for (size_t i = 1; i < request->argument_count; i++) {
        (void)fprintf(out, "%s%s", i > 1 ? ", " : "", request->argument[i]);
    }
}

static void
placeholder_print(FILE *out, const struct cli_request *request, char which)
{
    switch (which) {
    case '1':
    case '2':
    case '3':
        (void)fputs(argument_or_empty(request, (size_t)(which - '1')), out);
        return;
    case '*':
        rest_print(out, request);
        return;
    case 'v':
        (void)fputs(request->vhost != NULL ? request->vhost : "/", out);
        return;
    case 'n':
        (void)fputs(request->node, out);
        return;
    case 't':
        (void)fprintf(out, "%.0f", request->timeout_s * 1000);
        return;
    case 'T':
        (void)fprintf(out, "%.1f", request->timeout_s);
        return;
    case 'p':
        (void)fputs(request->program, out);
        return;
    default:
        LP_ASSERT(which == '%');
        (void)fputc('%', out);
    }
}

/* What a name in a template stands for: an argument by its number, or an option; NULL: not given.
 */
static const char *
named_value(const struct cli_request *request, const char *name)
{
    if (name[0] >= '1' && name[0] <= '9' && name[1] == '\0') {
        const size_t index = (size_t)(name[0] - '1');
        return index < request->argument_count ? request->argument[index] : NULL;
    }
    return cli_option_value(request, name);
}

/* Split "name=value" that ends at `end`; gives what follows.  `ret_value` is NULL without "=". */
static const char *
condition_read(const char *at, char end, char room[64], const char **ret_value)
{
    const char *stop = strchr(at, end);
    LP_ASSERT(stop != NULL && stop - at < 64);
    memcpy(room, at, (size_t)(stop - at));
    room[stop - at] = '\0';
    char *equals = strchr(room, '=');
    *ret_value = NULL;
    if (equals != NULL) {
        *equals = '\0';
        *ret_value = equals + 1;
    }
    return stop + 1;
}

static bool
condition_holds(const struct cli_request *request, const char *name, const char *value)
{
    const char *given = named_value(request, name);
    return given != NULL && (value == NULL || strcasecmp(given, value) == 0);
}

void
cli_template_print(FILE *out, const struct cli_request *request, const char *template)
{
    unsigned depth = 0;
    unsigned hidden = 0; /* the depth from which on nothing is shown; 0: all is */
    char room[64];
    const char *value;

    for (const char *at = template; *at != '\0';) {
        if (*at != '%') {
            if (hidden == 0) {
                (void)fputc(*at, out);
            }
            at++;
        } else if (at[1] == '?' || at[1] == '!') {
            const bool wanted = at[1] == '?';
            at = condition_read(at + 2, '{', room, &value);
            depth++;
            if (hidden == 0 && condition_holds(request, room, value) != wanted) {
                hidden = depth;
            }
        } else if (at[1] == '}') {
            hidden = hidden == depth ? 0 : hidden;
            depth--;
            at += 2;
        } else if (at[1] == '<') {
            at = condition_read(at + 2, '>', room, &value);
            const char *given = named_value(request, room);
            if (hidden == 0) {
                (void)fputs(given != NULL ? given : value, out);
            }
        } else {
            if (hidden == 0) {
                placeholder_print(out, request, at[1]);
            }
            at += 2;
        }
    }
    LP_ASSERT(depth == 0);
    (void)fputc('\n', out);
}

void
cli_banner_print(FILE *out, const struct cli_request *request)
{
    if (request->quiet || request->silent || !cli_for_people(request) ||
        request->command->banner == NULL) {
        return;
    }
    cli_template_print(out, request, request->command->banner);
    (void)fflush(out); /* before an error on the other stream */
}
