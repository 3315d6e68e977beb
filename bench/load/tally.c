/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/histogram.h"
#include "load.h"

uint64_t
load_now_ns(void)
{
    struct timespec now;
    const int code = clock_gettime(CLOCK_MONOTONIC, &now);
    LP_ASSERT(code == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void
load_latency_add(struct load_latency *latency, uint64_t ns)
{
    latency->count++;
    latency->max_ns = LP_MAX(latency->max_ns, ns);
    latency->bucket[lp_histogram_bucket(ns, LOAD_BUCKETS)]++;
}

uint64_t
load_latency_quantile(const struct load_latency *latency, double share)
{
    const uint64_t wanted = (uint64_t)(share * (double)latency->count);
    uint64_t below = 0;
    for (uint32_t i = 0; i + 1 < LOAD_BUCKETS; i++) {
        below += latency->bucket[i];
        if (below > wanted) {
            /* The middle of the bucket, which is at most an eighth wide. */
            const uint64_t middle = (lp_histogram_lower(i) + lp_histogram_lower(i + 1)) / 2;
            return LP_MIN(middle, latency->max_ns);
        }
    }
    return latency->max_ns;
}

bool
load_tally_init(struct load_tally *tally, const struct load_options *options)
{
    *tally = (struct load_tally){.stream_count = options->publishers};
    tally->run = (uint16_t)(load_now_ns() / 1000u ^ (uint64_t)getpid() << 7);
    tally->streams = calloc(LP_MAX(options->publishers, 1u), sizeof(*tally->streams));
    return tally->streams != NULL;
}

void
load_tally_fini(struct load_tally *tally)
{
    for (uint32_t i = 0; tally->streams != NULL && i < tally->stream_count; i++) {
        free(tally->streams[i].seen);
    }
    free(tally->streams);
    tally->streams = NULL;
}

static bool
grow(struct load_stream *stream, uint64_t sequence)
{
    uint64_t bits = LP_MAX(stream->seen_bits, 65536u);
    while (bits <= sequence) {
        bits *= 2;
    }
    uint64_t *seen = realloc(stream->seen, bits / 8);
    if (seen == NULL) {
        return false;
    }
    memset(seen + stream->seen_bits / 64, 0, (bits - stream->seen_bits) / 8);
    stream->seen = seen;
    stream->seen_bits = bits;
    return true;
}

bool
load_stream_mark(struct load_stream *stream, uint64_t sequence)
{
    if (sequence >= stream->seen_bits && !grow(stream, sequence)) {
        (void)fprintf(stderr, "lepus-bench: out of memory for the check\n");
        _exit(2); /* nothing to undo but the queues, and the check is what we are for */
    }
    const uint64_t bit = 1ull << (sequence % 64);
    uint64_t *word = &stream->seen[sequence / 64];
    if ((*word & bit) != 0) {
        return false;
    }
    *word |= bit;
    stream->received++;
    return true;
}

void
load_queue_name(const struct load_options *options, uint32_t index, char name[256])
{
    const int written = options->name != NULL
                            ? snprintf(name, 256, "%s-%u", options->name, index)
                            : snprintf(name, 256, "lepus-bench-%d-%u", getpid(), index);
    LP_ASSERT(written > 0 && written < 256);
}

/* utime and stime are fields 14 and 15 of /proc/PID/stat, in ticks, all threads together. */
uint64_t
load_cpu_ns(int pid)
{
    char path[64];
    char text[1024];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    const size_t bytes = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file); /* read only */
    text[bytes] = '\0';

    /* The name, in brackets, may hold anything: count from the last bracket. */
    const char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 14; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL) {
        return 0;
    }
    char *end = NULL;
    const uint64_t user = strtoull(at, &end, 10);
    const uint64_t kernel = strtoull(end, NULL, 10);
    return (user + kernel) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}
