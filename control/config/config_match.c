/* SPDX-License-Identifier: Apache-2.0 */
/* Which row of the table a key belongs to, and which row a misspelt one was meant for. */
#include "config.h"
#include "config_keys.h"

#include <stdio.h>
#include <string.h>

#define WORD_MAX_BYTES 96u

/* One word into `room`, up to a dot that no backslash protects; NULL: it is not a word, or too
 * long. */
static const char *
word_cut(const char *at, char *room, const char *room_end)
{
    char *to = room;

    for (; *at != '\0' && *at != '.'; at++) {
        if (at[0] == '\\' && at[1] == '.') {
            at++;
        }
        if ((unsigned char)*at <= ' ' || *at == '=' || *at == '#' || to + 1 >= room_end) {
            return NULL;
        }
        *to++ = *at;
    }
    *to = '\0';
    return to > room ? at : NULL;
}

bool
config_words_cut(struct config_words *words, const char *key)
{
    const char *const room_end = words->room + sizeof(words->room);
    char *room = words->room;

    words->count = 0;
    for (const char *at = key; words->count < CONFIG_WORDS_MAX && room < room_end; at++) {
        at = word_cut(at, room, room_end);
        if (at == NULL) {
            return false;
        }
        words->word[words->count++] = room;
        room += strlen(room) + 1;
        if (*at == '\0') {
            return true;
        }
    }
    return false;
}

static bool
pattern_matches(const struct config_words *pattern, const struct config_words *words,
                const char **ret_name)
{
    const char *name = "";

    for (unsigned i = 0; i < pattern->count; i++) {
        if (strcmp(pattern->word[i], "*") == 0) {
            *ret_name = name;
            return i < words->count;
        }
        if (i >= words->count) {
            return false;
        }
        if (pattern->word[i][0] == '$') {
            name = *name == '\0' ? words->word[i] : name;
        } else if (strcmp(pattern->word[i], words->word[i]) != 0) {
            return false;
        }
    }
    *ret_name = name;
    return pattern->count == words->count;
}

const struct config_key *
config_key_match(const struct config_words *words, const char **ret_name)
{
    for (size_t i = 0; i < config_key_count; i++) {
        struct config_words pattern = {0};
        /* A row whose own pattern cannot be cut matches nothing, and the test of all rows sees it.
         */
        if (config_words_cut(&pattern, config_keys[i].pattern) &&
            pattern_matches(&pattern, words, ret_name)) {
            return &config_keys[i];
        }
    }
    return NULL;
}

unsigned
lp_config_distance(const char *a, const char *b)
{
    unsigned row[3][WORD_MAX_BYTES + 1] = {{0}};
    const size_t a_bytes = strlen(a);
    const size_t b_bytes = strlen(b);

    if (a_bytes > WORD_MAX_BYTES || b_bytes > WORD_MAX_BYTES) {
        return UINT32_MAX;
    }
    for (size_t j = 0; j <= b_bytes; j++) {
        row[0][j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a_bytes; i++) {
        unsigned *now = row[i % 3];
        const unsigned *last = row[(i + 2) % 3];
        const unsigned *before = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            const unsigned change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            now[j] = LP_MIN(change, LP_MIN(last[j], now[j - 1]) + 1);
            const bool swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            now[j] = swap ? LP_MIN(now[j], before[j - 2] + 1) : now[j];
        }
    }
    return row[a_bytes % 3][b_bytes];
}

/* The pattern with the operator's own word where it has $x, so that names cost nothing. */
static void
pattern_fill(const char *pattern_text, const struct config_words *words, char *room,
             size_t room_bytes)
{
    struct config_words pattern = {0};
    size_t used = 0;
    const bool cut = config_words_cut(&pattern, pattern_text);
    LP_ASSERT(cut);

    room[0] = '\0';
    for (unsigned i = 0; i < pattern.count; i++) {
        const bool own = i < words->count && pattern.word[i][0] == '$';
        const int wrote = snprintf(room + used, room_bytes - used, "%s%s", i > 0 ? "." : "",
                                   own ? words->word[i] : pattern.word[i]);
        used = LP_MIN(used + (size_t)(wrote > 0 ? wrote : 0), room_bytes - 1);
    }
}

const char *
lp_config_key_nearest(const char *key, char *room, size_t room_bytes)
{
    struct config_words words = {0};
    const struct config_key *best = NULL;
    unsigned best_distance = UINT32_MAX;

    if (!config_words_cut(&words, key)) {
        return NULL;
    }
    for (size_t i = 0; i < config_key_count; i++) {
        char filled[CONFIG_KEY_MAX_BYTES] = "";
        if (config_keys[i].status != CONFIG_IMPLEMENTED) {
            continue; /* a hint that is refused or ignored next is no help */
        }
        pattern_fill(config_keys[i].pattern, &words, filled, sizeof(filled));
        const unsigned distance = lp_config_distance(key, filled);
        if (distance < best_distance) {
            best_distance = distance;
            best = &config_keys[i];
        }
    }
    if (best == NULL || best_distance > LP_MAX(2u, (unsigned)strlen(key) / 3)) {
        return NULL;
    }
    pattern_fill(best->pattern, &words, room, room_bytes);
    return room;
}

bool
lp_config_key_find(const char *key, size_t *ret_index)
{
    struct config_words words = {0};
    const char *name;

    if (!config_words_cut(&words, key)) {
        return false;
    }
    const struct config_key *found = config_key_match(&words, &name);
    if (found == NULL) {
        return false;
    }
    *ret_index = (size_t)(found - config_keys);
    return true;
}

size_t
lp_config_key_count(void)
{
    return config_key_count;
}

void
lp_config_key_at(size_t index, struct lp_config_key_info *ret_info)
{
    static const char *const status[] = {"implemented", "ignored", "not yet"};
    LP_ASSERT(index < config_key_count);
    const struct config_key *key = &config_keys[index];

    LP_ASSERT((unsigned)key->status < LP_COUNT_OF(status));
    *ret_info = (struct lp_config_key_info){
        .pattern = key->pattern,
        .type = config_type_text(key->type),
        .default_value = key->default_value,
        .default_name = key->default_name,
        .status = status[key->status],
        .unit = key->type == CONFIG_BYTES     ? "bytes"
                : key->type == CONFIG_TIME_MS ? "milliseconds"
                : key->type == CONFIG_TIME_S  ? "seconds"
                                              : "",
        .help = key->help,
        .choices = key->choices,
        .min = key->min,
        .max = key->max,
    };
}
