/* SPDX-License-Identifier: Apache-2.0 */
/* lepus-log - an operator's tool for logs; `lepus log` runs it.  logtool.h says how it is made. */
#include "logtool.h"

#include <stdlib.h>
#include <string.h>

void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "lepus-log: bug: %s does not hold (%s:%d)\n", expr, file, line);
    abort();
}

static void
help_print(FILE *out)
{
    static const char text[] =
        "lepus log - looks at the message logs of a broker, checks them, and gives up what is\n"
        "damaged\n"
        "\n"
        "  lepus log inspect [--batches] [--records] DIR\n"
        "        what there is: the root, segments, batches, records (kinds are numbers)\n"
        "  lepus log verify DIR\n"
        "        read everything: exit status 0 when all of it is whole, 1 when it is not, with\n"
        "        file and offset of each damage\n"
        "  lepus log repair --accept-loss [--cut SEGMENT:OFFSET] DIR\n"
        "        make a log that is damaged end before its damage, so that the broker starts:\n"
        "        ALL messages and acknowledgements that were written after it are given up, which\n"
        "        may bring back messages that were acknowledged. Copies of what is cut are kept "
        "in\n"
        "        lost-N in the shard's folder. A log without damage is left as it is, unless "
        "--cut\n"
        "        says where: for a broker that calls a place damaged that verify finds whole. DIR\n"
        "        then is the folder of one shard.\n"
        "\n"
        "DIR is the data directory (lepus --data DIR), or the folder of one shard's log in it. To\n"
        "verify and to repair the broker has to be stopped.\n"
        "\n"
        "What to do when the broker says that a log is damaged\n"
        "  1. copy the data directory: cp -a DIR DIR.copy\n"
        "  2. look at the disk: 'dmesg' and 'smartctl -a' know of bad blocks; a damaged log may "
        "be\n"
        "     the first sign of a disk that dies\n"
        "  3. lepus log verify DIR\n"
        "  4. if there is no better copy of the folder: lepus log repair --accept-loss DIR\n"
        "\n"
        "Damage before the last checkpoint (verify says where) is in single messages that still\n"
        "wait in a queue: the broker starts with it, and repair leaves it alone.\n";
    (void)fputs(text, out);
}

static int
usage(const char *what, const char *word)
{
    (void)fprintf(stderr, "lepus-log: %s%s; 'lepus log --help' has examples\n", what, word);
    return LOGTOOL_USAGE;
}

static bool
is_word(const char *word, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* SEGMENT:OFFSET, of a record or a batch. */
static bool
cut_parse(const char *word, struct lp_log_place *ret_place)
{
    char *rest;
    const unsigned long segment = strtoul(word, &rest, 10);
    if (rest == word || *rest != ':' || segment == 0 || segment > UINT32_MAX) {
        return false;
    }
    const char *text = rest + 1;
    const unsigned long long offset = strtoull(text, &rest, 10);
    if (rest == text || *rest != '\0' || offset / LP_LOG_UNIT_BYTES > UINT32_MAX) {
        return false;
    }
    ret_place->segment = (uint32_t)segment;
    ret_place->unit = (uint32_t)(offset / LP_LOG_UNIT_BYTES);
    return true;
}

/* What does not go with what.  0: all does. */
static int
options_check(const struct logtool_options *options)
{
    const bool repair = options->verb && strcmp(options->verb, "repair") == 0;
    if (!options->verb || !options->path) {
        return usage(options->verb ? "DIR is missing" : "a command is missing", "");
    }
    if ((options->batches || options->records) && strcmp(options->verb, "inspect") != 0) {
        return usage("--batches and --records are for inspect", "");
    }
    if ((options->accept_loss || options->cut.segment != 0) && !repair) {
        return usage("--accept-loss and --cut are for repair", "");
    }
    if (repair && !options->accept_loss) {
        return usage(
            "repair gives up messages for good: say --accept-loss if that is what you want", "");
    }
    return 0;
}

/* 0: go on. */
static int
options_parse(struct logtool_options *options, int argc, char **argv)
{
    static const char *const verbs[] = {"inspect", "verify", "repair"};
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--batches") == 0) {
            options->batches = true;
        } else if (strcmp(word, "--records") == 0) {
            options->records = true;
        } else if (strcmp(word, "--accept-loss") == 0) {
            options->accept_loss = true;
        } else if (strcmp(word, "--cut") == 0) {
            const char *place = ++i < argc ? argv[i] : "";
            if (!cut_parse(place, &options->cut)) {
                return usage("--cut needs SEGMENT:OFFSET, not ", place);
            }
        } else if (word[0] == '-') {
            return usage("there is no option ", word);
        } else if (!options->verb && !is_word(word, verbs, LP_COUNT_OF(verbs))) {
            return usage("inspect, verify or repair, not ", word);
        } else if (!options->verb) {
            options->verb = word;
        } else if (options->path) {
            return usage("one DIR, and not also ", word);
        } else {
            options->path = word;
        }
    }
    return options_check(options);
}

static int
one_folder(const struct logtool_options *options, const char *path)
{
    struct logtool_folder folder;
    int status = LOGTOOL_FAILED;
    if (logtool_folder_open(&folder, path)) {
        if (strcmp(options->verb, "inspect") == 0) {
            status = logtool_inspect(&folder, options);
        } else if (strcmp(options->verb, "verify") == 0) {
            status = logtool_verify(&folder);
        } else {
            status = logtool_repair(&folder, options);
        }
    }
    logtool_folder_close(&folder);
    return status;
}

static int
run(const struct logtool_options *options)
{
    static char paths[LOGTOOL_SHARDS_MAX][PATH_MAX];
    LP_ASSERT(options->verb && options->path); /* options_check() */
    const bool reads_only = strcmp(options->verb, "inspect") == 0;
    if (!reads_only && !logtool_lock(options->path)) {
        return LOGTOOL_FAILED;
    }
    if (reads_only && logtool_is_locked(options->path)) {
        (void)fprintf(stderr,
                      "lepus-log: a broker runs in %s: what it writes now may look broken\n",
                      options->path);
    }
    const uint32_t count = logtool_folders_find(options->path, paths, LOGTOOL_SHARDS_MAX);
    if (count > 1 && options->cut.segment != 0) {
        return usage("--cut is for the folder of one shard, as in DIR/log/shard-0", "");
    }
    int worst = count > 0 ? 0 : LOGTOOL_FAILED;
    for (uint32_t i = 0; i < count; i++) {
        const int status = one_folder(options, paths[i]);
        worst = LP_MAX(worst, status);
    }
    return worst;
}

int
main(int argc, char **argv)
{
    static const char *const help[] = {"help", "--help", "-h"};
    struct logtool_options options = {0};
    if (argc < 2 || is_word(argv[1], help, LP_COUNT_OF(help)) ||
        is_word(argv[argc - 1], help, LP_COUNT_OF(help))) {
        help_print(argc < 2 ? stderr : stdout);
        return argc < 2 ? LOGTOOL_USAGE : 0;
    }
    const int status = options_parse(&options, argc, argv);
    if (status != 0) {
        return status;
    }
    return run(&options);
}
