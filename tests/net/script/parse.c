/* SPDX-License-Identifier: Apache-2.0 */
#include "script.h"

#include <stdlib.h>
#include <string.h>

/* A line's words, taken one by one. */
struct words {
    char text[256];
    char *rest;
};

static char *
word_next(struct words *words)
{
    return strtok_r(NULL, " \t\n", &words->rest);
}

static bool
number_read(const char *word, uint32_t *ret_number)
{
    char *end = NULL;
    const unsigned long value = word == NULL ? 0 : strtoul(word, &end, 0);
    *ret_number = (uint32_t)value;
    return word != NULL && end != word && *end == '\0';
}

static bool
wanted_read(const char *word, struct script_number *ret_number)
{
    if (word != NULL && strcmp(word, "*") == 0) {
        ret_number->want = SCRIPT_ANY;
        return true;
    }
    ret_number->want = SCRIPT_VALUE;
    return number_read(word, &ret_number->value);
}

/* "SA": the letters of RFC 9293, E and W for ECE and CWR; "-": none. */
static bool
flags_read(const char *word, uint8_t *ret_flags)
{
    static const char letters[] = "FSRPAUEW";
    *ret_flags = 0;
    for (const char *c = word; word != NULL && *c != '\0'; c++) {
        const char *found = strchr(letters, *c);
        if (found == NULL && *c != '-') {
            return false;
        }
        *ret_flags |= found == NULL ? 0 : (uint8_t)(1u << (found - letters));
    }
    return word != NULL;
}

/* "100:0": of ours any may be "*". */
static bool
stamps_read(char *word, struct script_segment *segment)
{
    char *colon = word == NULL ? NULL : strchr(word, ':');
    if (colon == NULL) {
        return false;
    }
    *colon = '\0';
    return wanted_read(word, &segment->stamp) && wanted_read(colon + 1, &segment->echo);
}

/* "1001-2001,3001-4001" */
static bool
sacks_read(char *word, struct script_segment *segment)
{
    char *rest = NULL;
    segment->sack = SCRIPT_VALUE;
    for (char *block = word == NULL ? NULL : strtok_r(word, ",", &rest); block != NULL;
         block = strtok_r(NULL, ",", &rest)) {
        char *dash = strchr(block, '-');
        if (dash == NULL || segment->sack_count == SCRIPT_SACKS_MAX) {
            return false;
        }
        *dash = '\0';
        uint32_t *range = &segment->sack_range[2 * segment->sack_count++];
        if (!number_read(block, &range[0]) || !number_read(dash + 1, &range[1])) {
            return false;
        }
    }
    return segment->sack_count > 0;
}

static bool
absence_read(const char *name, struct script_segment *segment)
{
    if (strcmp(name, "mss") == 0) {
        segment->mss.want = SCRIPT_ABSENT;
    } else if (strcmp(name, "ws") == 0) {
        segment->shift.want = SCRIPT_ABSENT;
    } else if (strcmp(name, "ts") == 0) {
        segment->stamp.want = SCRIPT_ABSENT;
    } else if (strcmp(name, "sackok") == 0) {
        segment->sack_permitted = SCRIPT_ABSENT;
    } else if (strcmp(name, "sack") == 0) {
        segment->sack = SCRIPT_ABSENT;
    } else {
        return false;
    }
    return true;
}

static bool
field_read(const char *name, struct words *words, struct script_segment *segment)
{
    if (name[0] == '!') {
        return absence_read(name + 1, segment);
    }
    if (strcmp(name, "sackok") == 0) {
        segment->sack_permitted = SCRIPT_VALUE;
        return true;
    }
    if (strcmp(name, "badsum") == 0) {
        segment->bad_checksum = true;
        return true;
    }
    char *value = word_next(words);
    if (strcmp(name, "ts") == 0) {
        return stamps_read(value, segment);
    }
    if (strcmp(name, "sack") == 0) {
        return sacks_read(value, segment);
    }
    if (strcmp(name, "cut") == 0) {
        return number_read(value, &segment->cut);
    }
    const struct {
        const char *name;
        struct script_number *number;
    } fields[] = {{"seq", &segment->seq},    {"ack", &segment->ack}, {"win", &segment->window},
                  {"len", &segment->length}, {"mss", &segment->mss}, {"ws", &segment->shift},
                  {"ecn", &segment->ecn}};
    for (size_t i = 0; i < LP_COUNT_OF(fields); i++) {
        if (strcmp(name, fields[i].name) == 0) {
            return wanted_read(value, fields[i].number);
        }
    }
    return false;
}

static bool
segment_read(struct words *words, struct script_line *line)
{
    line->segment.flow = line->flow;
    if (!flags_read(word_next(words), &line->segment.flags)) {
        return false;
    }
    for (const char *name = word_next(words); name != NULL; name = word_next(words)) {
        if (!field_read(name, words, &line->segment)) {
            return false;
        }
    }
    return true;
}

/* "toobig MTU SEQ", "unreachable CODE SEQ" */
static bool
icmp_read(struct words *words, struct script_line *line)
{
    const char *kind = word_next(words);
    uint32_t value = 0;
    line->icmp.flow = line->flow;
    if (kind == NULL || !number_read(word_next(words), &value) ||
        !number_read(word_next(words), &line->icmp.seq)) {
        return false;
    }
    line->icmp.too_big = strcmp(kind, "toobig") == 0;
    line->icmp.mtu_bytes = (uint16_t)value;
    line->icmp.code = (uint8_t)value;
    return line->icmp.too_big || strcmp(kind, "unreachable") == 0;
}

/* "+200ms", "+5us", "+3s" */
static bool
wait_read(const char *word, struct script_line *line)
{
    char *end = NULL;
    const unsigned long value = strtoul(word + 1, &end, 10);
    const uint64_t unit = strcmp(end, "s") == 0    ? 1000000000u
                          : strcmp(end, "ms") == 0 ? 1000000u
                          : strcmp(end, "us") == 0 ? 1000u
                                                   : 0;
    line->verb = SCRIPT_WAIT;
    line->wait_ns = value * unit;
    return end != word + 1 && unit != 0;
}

static bool
pair_read(struct words *words, struct script_line *line)
{
    const char *name = word_next(words);
    const char *value = word_next(words);
    if (name == NULL || value == NULL) {
        return false;
    }
    (void)snprintf(line->name, sizeof(line->name), "%s", name);
    (void)snprintf(line->value, sizeof(line->value), "%s", value);
    return true;
}

enum rest {
    REST_NOTHING,
    REST_NUMBER,
    REST_SEGMENT,
    REST_ICMP,
    REST_PAIR,
};

static const struct {
    const char *word;
    enum script_verb verb;
    enum rest rest;
    enum lp_transport_event_kind event;
} verbs[] = {
    {"config", SCRIPT_CONFIG, REST_PAIR, 0},
    {"in", SCRIPT_IN, REST_SEGMENT, 0},
    {"out", SCRIPT_OUT, REST_SEGMENT, 0},
    {"none", SCRIPT_NONE, REST_NOTHING, 0},
    {"drop", SCRIPT_DROP, REST_NUMBER, 0},
    {"accepted", SCRIPT_EVENT, REST_NOTHING, LP_TRANSPORT_ACCEPTED},
    {"connected", SCRIPT_EVENT, REST_NOTHING, LP_TRANSPORT_CONNECTED},
    {"received", SCRIPT_EVENT, REST_NUMBER, LP_TRANSPORT_RECEIVED},
    {"sent", SCRIPT_EVENT, REST_NUMBER, LP_TRANSPORT_SENT},
    {"ended", SCRIPT_EVENT, REST_NOTHING, LP_TRANSPORT_ENDED},
    {"closed", SCRIPT_EVENT, REST_NOTHING, LP_TRANSPORT_CLOSED},
    {"send", SCRIPT_SEND, REST_NUMBER, 0},
    {"close", SCRIPT_CLOSE, REST_NOTHING, 0},
    {"stop", SCRIPT_STOP, REST_NOTHING, 0},
    {"start", SCRIPT_START, REST_NOTHING, 0},
    {"connect", SCRIPT_CONNECT, REST_NOTHING, 0},
    {"accept_stop", SCRIPT_ACCEPT_STOP, REST_NOTHING, 0},
    {"icmp", SCRIPT_ICMP, REST_ICMP, 0},
    {"counter", SCRIPT_COUNTER, REST_PAIR, 0},
};

static bool
rest_read(enum rest rest, struct words *words, struct script_line *line)
{
    switch (rest) {
    case REST_NOTHING:
        return true;
    case REST_NUMBER:
        return number_read(word_next(words), &line->number);
    case REST_SEGMENT:
        return segment_read(words, line);
    case REST_ICMP:
        return icmp_read(words, line);
    case REST_PAIR:
        return pair_read(words, line);
    }
    return false;
}

static bool
verb_read(const char *word, struct words *words, struct script_line *line)
{
    if (word[0] == '+') {
        return wait_read(word, line);
    }
    for (size_t i = 0; i < LP_COUNT_OF(verbs); i++) {
        if (strcmp(word, verbs[i].word) == 0) {
            line->verb = verbs[i].verb;
            line->event = verbs[i].event;
            return rest_read(verbs[i].rest, words, line) && word_next(words) == NULL;
        }
    }
    return false;
}

bool
script_line_parse(const char *text, struct script_line *ret_line, char *ret_why)
{
    struct words words;
    (void)snprintf(words.text, sizeof(words.text), "%s", text);
    char *comment = strchr(words.text, '#');
    if (comment != NULL) {
        *comment = '\0';
    }
    *ret_line = (struct script_line){.verb = SCRIPT_NOTHING};
    const char *word = strtok_r(words.text, " \t\n", &words.rest);
    if (word == NULL) {
        return true;
    }
    if (word[0] == '@') {
        if (!number_read(word + 1, &ret_line->flow) || ret_line->flow >= SCRIPT_FLOWS_MAX) {
            (void)snprintf(ret_why, SCRIPT_WHY_BYTES, "\"%s\" is no flow from @0 to @%u", word,
                           SCRIPT_FLOWS_MAX - 1);
            return false;
        }
        word = word_next(&words);
    }
    if (word == NULL || !verb_read(word, &words, ret_line)) {
        (void)snprintf(ret_why, SCRIPT_WHY_BYTES, "not understood (README.md has the language)");
        return false;
    }
    return true;
}
