/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the trie agree with the definition of topic patterns?  A table of
 * patterns that people write, random patterns and keys against a matcher that
 * tries everything, and patterns made to cost as much as possible.
 */
#include "topology_rig.h"

#define TOPIC 1u

static void
rig_open_topic(struct rig *rig, uint64_t seed)
{
    rig_open_sized(rig, RIG_MEMORY_BYTES, seed);
    rig_exchange(rig, TOPIC, LP_EXCHANGE_TOPIC, "x");
    rig_queue(rig, 1, "q");
}

static const struct {
    const char *pattern;
    const char *key;
    bool match;
} cases[] = {
    /* literal words */
    {"a.b", "a.b", true},
    {"a.b", "a.B", false},
    {"a.b", "a", false},
    {"a.b", "a.b.c", false},
    {"ab", "a.b", false},
    /* one word */
    {"kern.*", "kern.critical", true},
    {"kern.*", "kern", false},
    {"kern.*", "kern.a.b", false},
    {"kern.*", "kern.", true},
    {"*.critical", "kern.critical", true},
    {"*.critical", "critical", false},
    {"*.orange.*", "quick.orange.rabbit", true},
    {"*.orange.*", "quick.orange.male.rabbit", false},
    {"*.*.rabbit", "lazy.orange.rabbit", true},
    {"*.*.rabbit", "lazy.orange.elephant", false},
    {"*", "a", true},
    {"*", "", false},
    {"*", "a.b", false},
    {"*.*", ".", true},
    /* any number of words */
    {"cron.#", "cron", true},
    {"cron.#", "cron.warning", true},
    {"cron.#", "cron.a.b.c", true},
    {"cron.#", "crontab", false},
    {"lazy.#", "lazy.orange.male.rabbit", true},
    {"lazy.#", "quick.lazy", false},
    {"#", "anything.at.all", true},
    {"#", "", true},
    {"#", ".", true},
    {"#.notImportant", "info.debug.notImportant", true},
    {"#.notImportant", "notImportant", true},
    {"#.notImportant", "notImportant.not", false},
    {"*.*.important", "error.warning.important", true},
    {"*.*.important", "warning.important", false},
    {"*.*.important", "a.b.c.important", false},
    {"eskazemi.news.#", "eskazemi.news", true},
    {"eskazemi.news.#", "eskazemi.news.sport.today", true},
    {"eskazemi.news.#", "eskazemi", false},
    {"Karbit.news.mq.*", "Karbit.news.mq.rabbit", true},
    {"Karbit.news.mq.*", "Karbit.news.mq", false},
    {"Karbit.news.mq.*", "Karbit.news.mq.a.b", false},
    {"eu.*.free_user", "eu.news.free_user", true},
    {"eu.*.free_user", "us.news.free_user", false},
    {"ru.#", "ru.culture.payed", true},
    {"*.culture.*", "eu.culture.free_user", true},
    {"*.culture.*", "eu.news.free_user", false},
    {"/#", "/#", true},
    {"/#", "anything", false},
    {"a.#.b", "a.b", true},
    {"a.#.b", "a.x.y.b", true},
    {"a.#.b", "a.b.c", false},
    {"a.#.b", "a.b.b", true},
    {"#.#", "", true},
    {"#.#", "a", true},
    {"#.*", "", false},
    {"#.*", "a.b", true},
    {"*.#", "", false},
    {"*.#", "a.b", true},
    {"*.#.*", "a", false},
    {"*.#.*", "a.b", true},
    {"#.a.#", "x.a.y", true},
    {"#.a.#", "a", true},
    {"#.a.#", "x.y", false},
    {"#.a.#.b.#.c.#", "x.a.x.b.c", true},
    {"#.a.#.b.#.c.#", "c.b.a", false},
    /* words may be empty; an empty key has none */
    {"", "", true},
    {"", ".", false},
    {".", ".", true},
    {"a..b", "a..b", true},
    {"a..b", "a.b", false},
    {"a.*.b", "a..b", true},
    {"a.", "a.", true},
    {"a.", "a", false},
    {"a.*", "a.", true},
    {"a.#", "a.", true},
    /* wildcards are whole words */
    {"a*", "ab", false},
    {"a*", "a*", true},
    {"##", "a", false},
    {"**", "**", true},
    {"a.b#", "a.b.c", false},
    /* a wildcard in a key is a word like any other */
    {"a.b", "a.*", false},
    {"a.b", "#", false},
    {"*", "#", true},
};

static void
each_pattern_matches_as_written(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_topic(&rig, 1);
    for (uint32_t i = 0; i < LP_COUNT_OF(cases); i++) {
        rig_bind(&rig, i + 1, TOPIC, 1, cases[i].pattern);
        const bool match = rig_route(&rig, "x", cases[i].key)[0] != '\0';
        if (match != cases[i].match) {
            print_error("pattern \"%s\" and key \"%s\"\n", cases[i].pattern, cases[i].key);
        }
        assert_int_equal(match, cases[i].match);
        lp_topology_bind_down(&rig.topology, i + 1);
    }
    rig_close(&rig);
}

/* All patterns of the table at once, a queue each: they must not disturb each other. */
static void
patterns_do_not_disturb_each_other(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_topic(&rig, 1);
    for (uint32_t i = 0; i < LP_COUNT_OF(cases); i++) {
        char name[8] = {'q', (char)('0' + i / 10), (char)('0' + i % 10)};
        rig_queue(&rig, i + 100, name);
        rig_bind(&rig, i + 1, TOPIC, i + 100, cases[i].pattern);
    }
    for (uint32_t i = 0; i < LP_COUNT_OF(cases); i++) {
        (void)rig_route(&rig, "x", cases[i].key);
        bool match = false;
        for (uint32_t found = 0; found < rig.topology.route_count; found++) {
            match |= rig.topology.route[found]->id == i + 100;
        }
        assert_int_equal(match, cases[i].match);
    }
    rig_close(&rig);
}

static void
several_matches_give_one_copy(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_topic(&rig, 1);
    rig_bind(&rig, 1, TOPIC, 1, "lazy.#");
    rig_bind(&rig, 2, TOPIC, 1, "*.*.rabbit");
    rig_bind(&rig, 3, TOPIC, 1, "#");
    rig_bind(&rig, 4, TOPIC, 1, "#.#.#.#");
    assert_string_equal(rig_route(&rig, "x", "lazy.orange.rabbit"), "q");
    rig_close(&rig);
}

/* ---- against a matcher that follows the definition ---- */

#define WORDS_MAX 40u

static uint32_t
split(const char *text, char words[WORDS_MAX][8])
{
    uint32_t count = 0;
    uint32_t at = 0;
    if (*text == '\0') {
        return 0;
    }
    for (;; text++) {
        if (*text == '.' || *text == '\0') {
            words[count++][at] = '\0';
            at = 0;
            if (*text == '\0') {
                return count;
            }
        } else {
            words[count][at++] = *text;
        }
    }
}

/* match[p][k]: the first p words of the pattern take the first k words of the key. */
static bool
naive_match(const char *pattern, const char *key)
{
    char pattern_words[WORDS_MAX][8];
    char key_words[WORDS_MAX][8];
    bool match[WORDS_MAX + 1][WORDS_MAX + 1] = {{false}};
    const uint32_t patterns = split(pattern, pattern_words);
    const uint32_t keys = split(key, key_words);
    match[0][0] = true;
    for (uint32_t p = 1; p <= patterns; p++) {
        const char *word = pattern_words[p - 1];
        for (uint32_t k = 0; k <= keys; k++) {
            if (strcmp(word, "#") == 0) {
                match[p][k] = match[p - 1][k] || (k > 0 && match[p][k - 1]);
            } else if (k > 0) {
                match[p][k] = match[p - 1][k - 1] &&
                              (strcmp(word, "*") == 0 || strcmp(word, key_words[k - 1]) == 0);
            }
        }
    }
    return match[patterns][keys];
}

static void
random_words(uint64_t *seed, bool wild, char *text)
{
    static const char *const words[] = {"a", "b", "", "ab", "*", "#"};
    const uint32_t count = rig_random(seed, 7);
    *text = '\0';
    for (uint32_t i = 0; i < count; i++) {
        strcat(text, i > 0 ? "." : "");
        strcat(text, words[rig_random(seed, wild ? 6 : 4)]);
    }
}

#define RANDOM_BINDINGS 60u

static void
compare_with_naive(struct rig *rig, uint64_t *seed, char patterns[][64])
{
    char key[64];
    for (uint32_t i = 0; i < 100; i++) {
        random_words(seed, false, key);
        (void)rig_route(rig, "x", key);
        uint32_t expected = 0;
        for (uint32_t b = 0; b < RANDOM_BINDINGS; b++) {
            if (patterns[b][0] != '!' && naive_match(patterns[b], key)) {
                const struct lp_queue_ref *queue = lp_topology_queue_by_id(&rig->topology, b + 10);
                assert_int_equal(queue->visited, rig->topology.routing);
                expected++;
            }
        }
        assert_int_equal(rig->topology.route_count, expected);
        rig->topology.epoch++; /* the trie is asked, not the cache */
    }
}

static void
random_patterns_match_as_the_naive_matcher_says(void **state)
{
    (void)state;
    char patterns[RANDOM_BINDINGS][64];
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct rig rig;
        uint64_t random = seed;
        rig_open_topic(&rig, seed);
        for (uint32_t b = 0; b < RANDOM_BINDINGS; b++) {
            char name[8] = {'p', (char)('0' + b / 10), (char)('0' + b % 10)};
            rig_queue(&rig, b + 10, name);
            random_words(&random, true, patterns[b]);
            rig_bind(&rig, b + 1, TOPIC, b + 10, patterns[b]);
        }
        compare_with_naive(&rig, &random, patterns);
        for (uint32_t i = 0; i < RANDOM_BINDINGS / 2; i++) {
            const uint32_t b = rig_random(&random, RANDOM_BINDINGS);
            lp_topology_bind_down(&rig.topology, b + 1);
            patterns[b][0] = '!';
        }
        compare_with_naive(&rig, &random, patterns);
        rig_close(&rig);
    }
}

/* ---- the worst that a peer can send ---- */

/* Backtracking would need about 2^60 steps for this; the sets of nodes need 128 * 254. */
static void
many_hashes_and_many_words_cost_little(void **state)
{
    (void)state;
    struct rig rig;
    char pattern[256] = "";
    char key[256] = "";
    rig_open_topic(&rig, 1);
    for (uint32_t i = 0; i < 63; i++) {
        strcat(pattern, "#.a.");
    }
    strcat(pattern, "b");
    for (uint32_t i = 0; i < 127; i++) {
        strcat(key, "a.");
    }
    strcat(key, "a");
    rig_bind(&rig, 1, TOPIC, 1, pattern);
    rig_bind(&rig, 2, TOPIC, 1, key);
    lp_topology_bind_down(&rig.topology, 2);
    assert_string_equal(rig_route(&rig, "x", key), "");
    key[strlen(key) - 1] = 'b';
    assert_string_equal(rig_route(&rig, "x", key), "q");
    /* Only dots: 256 empty words. */
    memset(key, '.', 255);
    key[255] = '\0';
    assert_string_equal(rig_route(&rig, "x", key), "");
    rig_bind(&rig, 3, TOPIC, 1, key);
    assert_string_equal(rig_route(&rig, "x", key), "q");
    rig_close(&rig);
}

static void
a_trie_of_wildcards_is_walked_once_for_each_word(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t seed = 5;
    char key[256] = "";
    rig_open_topic(&rig, 1);
    for (uint32_t i = 0; i < 1000; i++) {
        static const char *const words[] = {"*", "#", "a", "b"};
        char pattern[128] = "#";
        for (uint32_t w = 0; w < 20; w++) {
            strcat(pattern, ".");
            strcat(pattern, words[rig_random(&seed, 4)]);
        }
        rig_bind(&rig, i + 1, TOPIC, 1, pattern);
    }
    for (uint32_t i = 0; i < 126; i++) {
        strcat(key, i % 2 ? "b." : "a.");
    }
    strcat(key, "a");
    assert_string_equal(rig_route(&rig, "x", key), "q");
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_pattern_matches_as_written),
        cmocka_unit_test(patterns_do_not_disturb_each_other),
        cmocka_unit_test(several_matches_give_one_copy),
        cmocka_unit_test(random_patterns_match_as_the_naive_matcher_says),
        cmocka_unit_test(many_hashes_and_many_words_cost_little),
        cmocka_unit_test(a_trie_of_wildcards_is_walked_once_for_each_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
