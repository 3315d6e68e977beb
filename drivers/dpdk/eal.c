/* SPDX-License-Identifier: Apache-2.0 */
#include "dpdk.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_version.h>

#define WORDS_MAX  48
#define WORD_BYTES 320
#define HUGE_FREE  "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"

struct words {
    int count;
    char text[WORDS_MAX][WORD_BYTES];
    char *argv[WORDS_MAX + 1];
};

static bool started;

static void
word_add(struct words *words, const char *text)
{
    if (words->count < WORDS_MAX) {
        (void)snprintf(words->text[words->count], WORD_BYTES, "%s", text);
        words->argv[words->count] = words->text[words->count];
        words->count++;
    }
}

static void
number_add(struct words *words, const char *name, uint32_t value)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%u", value);
    word_add(words, name);
    word_add(words, text);
}

/* "0000:3b:00.0", "3b:00.0" */
static bool
is_pci(const char *device)
{
    unsigned domain;
    unsigned bus;
    unsigned slot;
    unsigned function;
    int end = 0;
    return (sscanf(device, "%x:%x:%x.%x%n", &domain, &bus, &slot, &function, &end) == 4 &&
            device[end] == '\0') ||
           (sscanf(device, "%x:%x.%x%n", &bus, &slot, &function, &end) == 3 && device[end] == '\0');
}

static bool
huge_pages_free(uint32_t memory_mb)
{
    long pages = 0;
    FILE *file = fopen(HUGE_FREE, "r");
    if (file != NULL) {
        char text[32];
        pages = fgets(text, sizeof(text), file) != NULL ? strtol(text, NULL, 10) : 0;
        (void)fclose(file);
    }
    return pages * 2 >= (long)memory_mb;
}

/* Without huge pages there is no memory that a card could write to: only virtual devices work. */
static void
memory_add(struct words *words, const struct lp_dpdk_options *options, uint32_t memory_mb)
{
    if (huge_pages_free(memory_mb)) {
        word_add(words, "--in-memory");
        if (options->shared_memory) {
            word_add(words, "--single-file-segments");
        }
    } else {
        word_add(words, "--no-huge");
        word_add(words, "--no-shconf");
    }
    number_add(words, "-m", memory_mb);
}

static bool
devices_add(struct words *words, const struct lp_dpdk_options *options)
{
    bool pci = false;
    for (uint32_t i = 0; i < options->device_count; i++) {
        const bool card = is_pci(options->device[i]);
        pci = pci || card;
        word_add(words, card ? "-a" : "--vdev");
        word_add(words, options->device[i]);
    }
    return pci;
}

static void
extra_add(struct words *words, const char *extra)
{
    char copy[WORD_BYTES];
    char *rest = NULL;
    (void)snprintf(copy, sizeof(copy), "%s", extra);
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        word_add(words, word);
    }
}

static void
words_make(struct words *words, const struct lp_dpdk_options *options, uint32_t memory_mb)
{
    word_add(words, "lepus-dataplane");
    word_add(words, "--no-telemetry");
    number_add(words, "-l", 0); /* of processors that EAL would run threads on: none but this one */
    if (!devices_add(words, options)) {
        word_add(words, "--no-pci");
        word_add(words, "--iova-mode=va");
    }
    memory_add(words, options, memory_mb);
    word_add(words, "--log-level=lib.eal:error");
    word_add(words, "--log-level=pmd.*:error");
    if (options->extra != NULL) {
        extra_add(words, options->extra);
    }
    words->argv[words->count] = NULL;
}

enum lp_err
lp_dpdk_start_boot(const struct lp_dpdk_options *options, char *ret_why)
{
    const uint32_t memory_mb = options->memory_mb != 0 ? options->memory_mb : 128;
    if (started) {
        (void)snprintf(ret_why, LP_DPDK_WHY_BYTES, "DPDK is started once a process");
        return LP_ERR_REFUSED;
    }
    struct words *words = calloc(1, sizeof(*words));
    if (words == NULL) {
        (void)snprintf(ret_why, LP_DPDK_WHY_BYTES, "out of memory");
        return LP_ERR_NO_MEMORY;
    }
    words_make(words, options, memory_mb);
    /* EAL pins who starts it; our threads are pinned by whoever made them. */
    cpu_set_t before;
    const bool known = pthread_getaffinity_np(pthread_self(), sizeof(before), &before) == 0;
    const int result = rte_eal_init(words->count, words->argv);
    if (known) {
        (void)pthread_setaffinity_np(pthread_self(), sizeof(before), &before); /* as it was */
    }
    /* EAL keeps pointers to its words. */
    started = true;
    if (result < 0) {
        (void)snprintf(ret_why, LP_DPDK_WHY_BYTES,
                       "DPDK does not start: %s; it needs root or CAP_NET_ADMIN and CAP_IPC_LOCK, "
                       "the device, and %u MiB of memory (`scripts/appliance` looks at all of it)",
                       rte_strerror(rte_errno), memory_mb);
        return LP_ERR_REFUSED;
    }
    return LP_OK;
}

void
lp_dpdk_stop(void)
{
    if (started) {
        (void)rte_eal_cleanup(); /* the process ends */
    }
}

bool
lp_dpdk_thread_enter(void)
{
    return rte_lcore_id() != LCORE_ID_ANY || rte_thread_register() == 0;
}

const char *
lp_dpdk_version(void)
{
    return rte_version();
}
