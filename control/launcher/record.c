/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.c - what a data directory is: the file lepus.data in it.
 *
 *   lepus 1                                  the format of the directory
 *   id = 0123456789abcdef0123456789abcdef    of this directory, and of no other
 *   shards = 4                               how many there are
 *   logs = 4                                 of how many a log was seen in it
 *
 * It is replaced as a whole, and on disk before anything relies on it. Numbers
 * of shards grow and never shrink: a queue stays on the shard in whose log its
 * messages are.
 */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define FORMAT 1u

static void __attribute__((format(printf, 2, 3))) complain(char *ret_why, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    (void)vsnprintf(ret_why, LAUNCHER_WHY_BYTES, format, list); /* a cut sentence is still one */
    va_end(list);
}

/* A whole number from `text` on, up to the end of its line. */
static bool
number_read(const char **text, unsigned long *ret_number)
{
    char *end;
    if (**text < '0' || **text > '9') {
        return false;
    }
    *ret_number = strtoul(*text, &end, 10); /* the largest there is, if it is larger */
    *text = end + 1;
    return *end == '\n';
}

static bool
words_skip(const char **text, const char *words)
{
    const size_t bytes = strlen(words);
    if (strncmp(*text, words, bytes) != 0) {
        return false;
    }
    *text += bytes;
    return true;
}

static bool
record_parse(struct launcher_record *record, const char *text, unsigned long *ret_format)
{
    unsigned long shards;
    unsigned long logs;
    *ret_format = 0;
    if (!words_skip(&text, "lepus ") || !number_read(&text, ret_format) || *ret_format != FORMAT ||
        !words_skip(&text, "id = ") || strspn(text, "0123456789abcdef") != 32) {
        return false;
    }
    memcpy(record->id, text, 32);
    record->id[32] = '\0';
    text += 32;
    if (!words_skip(&text, "\nshards = ") || !number_read(&text, &shards) || shards == 0 ||
        shards > LP_SHARDS_MAX || !words_skip(&text, "logs = ") || !number_read(&text, &logs) ||
        logs > shards) {
        return false;
    }
    record->shard_count = (uint32_t)shards;
    record->log_count = (uint32_t)logs;
    return *text == '\0';
}

/* LP_ERR_NOT_FOUND: there is none yet.  Else a sentence is in `ret_why`. */
static enum lp_err
record_read(struct launcher_record *record, const char *folder, char *ret_why)
{
    char path[PATH_MAX];
    char text[512];
    unsigned long format;
    (void)snprintf(path, sizeof(path), "%s/lepus.data", folder); /* the lock's name was longer */
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        const bool missing = errno == ENOENT;
        complain(ret_why, "cannot read %s: %s", path, strerrordesc_np(errno));
        return missing ? LP_ERR_NOT_FOUND : LP_ERR_IO;
    }
    const size_t bytes = fread(text, 1, sizeof(text) - 1, file);
    text[bytes] = '\0';
    (void)fclose(file); /* only read from */
    if (record_parse(record, text, &format)) {
        return LP_OK;
    }
    if (format > FORMAT) {
        complain(ret_why,
                 "%s was written by a newer version of Lepus (format %lu; this one knows %u): "
                 "start that version, or choose another --data DIR",
                 folder, format, FORMAT);
    } else {
        complain(ret_why,
                 "%s is damaged: it names neither the directory's format, its id nor the number "
                 "of its shards; put it back as it was, and nothing else needs to be done",
                 path);
    }
    return LP_ERR_BAD_RECORD;
}

bool
launcher_folder_sync(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    const bool good = fsync(fd) == 0 || errno == EINVAL; /* a file system without such a thing */
    const int error = errno;
    (void)close(fd); /* only synced */
    errno = error;
    return good;
}

/* To a file of another name first: there is a whole one at any time. */
static bool
record_write(const struct launcher_record *record, const char *folder, char *ret_why)
{
    char path[PATH_MAX];
    char fresh[PATH_MAX];
    char text[128];
    (void)snprintf(path, sizeof(path), "%s/lepus.data", folder);
    (void)snprintf(fresh, sizeof(fresh), "%s/lepus.new", folder);
    const int bytes = snprintf(text, sizeof(text), "lepus %u\nid = %s\nshards = %u\nlogs = %u\n",
                               FORMAT, record->id, record->shard_count, record->log_count);
    const int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, text, (size_t)bytes) == bytes && fsync(fd) == 0;
    const int error = errno;
    good = (fd < 0 || close(fd) == 0) && good;
    errno = error;
    if (!good || rename(fresh, path) != 0 || !launcher_folder_sync(folder)) {
        complain(ret_why, "cannot write %s: %s", path, strerrordesc_np(errno));
        return false;
    }
    return true;
}

static bool
id_make(struct launcher_record *record)
{
    uint8_t random[16];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return false;
    }
    for (size_t i = 0; i < sizeof(random); i++) {
        (void)snprintf(record->id + 2 * i, 3, "%02x", random[i]);
    }
    return true;
}

/* The number that the directory has is not the one that nobody asked for. */
static void
kept_say(const struct launcher_plan *plan, uint32_t kept)
{
    if (plan->shards_wanted != 0 || plan->shard_count == kept) {
        return;
    }
    launcher_say("the data directory has %u shard%s, and %u processor%s can be used%s", kept,
                 kept == 1 ? "" : "s", plan->shard_count, plan->shard_count == 1 ? "" : "s",
                 plan->shard_count > kept ? "; lepus.shards can raise their number" : "");
}

/* Of how many shards, from the first on, there is a log: drivers/host/disk.c makes them. */
static uint32_t
logs_count(const char *folder)
{
    char path[PATH_MAX + 64];
    uint32_t count = 0;
    do {
        (void)snprintf(path, sizeof(path), "%s/log/shard-%u/root.log", folder, count);
    } while (access(path, F_OK) == 0 && ++count < LP_SHARDS_MAX);
    return count;
}

static bool
topology_is_there(const char *folder)
{
    char path[PATH_MAX + 16];
    (void)snprintf(path, sizeof(path), "%s/topology.db", folder); /* fits */
    return access(path, F_OK) == 0;
}

/* Without what was in it the broker would begin as if nothing had been; so does one whose disk is
 * not mounted. */
static enum lp_err
logs_check(const struct launcher_plan *plan, bool known, uint32_t logs, char *ret_why)
{
    if (!known && logs > 0) {
        complain(ret_why,
                 "%s has message logs and no lepus.data, which belongs to them: put it back, or "
                 "choose another --data DIR",
                 plan->data);
        return LP_ERR_BAD_RECORD;
    }
    if (known && plan->record.log_count > 0 && !topology_is_there(plan->data)) {
        complain(ret_why,
                 "%s/topology.db is gone: without it nobody knows which queues the messages there "
                 "are of, and they would be dropped; put it back, or choose another --data DIR",
                 plan->data);
        return LP_ERR_BAD_RECORD;
    }
    if (known && logs < plan->record.log_count) {
        complain(ret_why,
                 "the log of shard %u is gone from %s/log, and with it messages that were "
                 "confirmed: is its disk mounted? To go on without them, set 'logs = 0' in "
                 "%s/lepus.data",
                 logs, plan->data, plan->data);
        return LP_ERR_BAD_RECORD;
    }
    return LP_OK;
}

bool
launcher_record_logs_note(struct launcher_plan *plan, char *ret_why)
{
    struct launcher_record *record = &plan->record;
    const uint32_t logs = LP_MIN(logs_count(plan->data), record->shard_count);
    if (logs <= record->log_count) {
        return true;
    }
    record->log_count = logs;
    return record_write(record, plan->data, ret_why);
}

enum lp_err
launcher_record_open(struct launcher_plan *plan, char *ret_why)
{
    struct launcher_record *record = &plan->record;
    enum lp_err err = record_read(record, plan->data, ret_why);
    if (err != LP_OK && err != LP_ERR_NOT_FOUND) {
        return err;
    }
    if (realpath(plan->data, plan->data_path) == NULL) {
        complain(ret_why, "cannot tell where %s is: %s", plan->data, strerrordesc_np(errno));
        return LP_ERR_IO;
    }
    const uint32_t logs = logs_count(plan->data);
    const enum lp_err wrong = logs_check(plan, err == LP_OK, logs, ret_why);
    if (wrong != LP_OK) {
        return wrong;
    }
    if (err == LP_ERR_NOT_FOUND && !id_make(record)) {
        complain(ret_why, "the kernel has no random numbers: %s", strerrordesc_np(errno));
        return LP_ERR_IO;
    }
    const uint32_t kept = err == LP_OK ? record->shard_count : 0;
    if (plan->shards_wanted != 0 && plan->shards_wanted < kept) {
        complain(ret_why,
                 "%s has the messages of %u shards, and lepus.shards is %u: set it to %u, or to "
                 "auto (to have fewer, begin with another --data DIR)",
                 plan->data, kept, plan->shards_wanted, kept);
        return LP_ERR_BAD_CONFIG;
    }
    if (plan->shards_wanted == 0 && kept != 0) {
        kept_say(plan, kept);
        plan->shard_count = kept;
    }
    if (plan->shard_count == kept && logs == record->log_count) {
        return LP_OK;
    }
    record->shard_count = plan->shard_count;
    record->log_count = LP_MIN(logs, record->shard_count);
    return record_write(record, plan->data, ret_why) ? LP_OK : LP_ERR_IO;
}
