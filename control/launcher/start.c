/* SPDX-License-Identifier: Apache-2.0 */
/* The children's command lines. */
#include "launcher.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MECHANISMS_MAX 16u
#define ARGUMENTS_MAX                                                                  \
    (LAUNCHER_SETTINGS_MAX + 2 * LAUNCHER_LISTENERS_MAX + LAUNCHER_NET_ARGUMENTS_MAX + \
     MECHANISMS_MAX + 32u)
/* Descriptors beside those of the region. */
#define EXTRA_FDS 3u

struct arguments {
    size_t count;
    uint32_t mechanisms;
    uint32_t named; /* mechanisms, whether they can be had or not */
    bool anonymous; /* there is a user for who has no name */
    bool failed;
    char *item[ARGUMENTS_MAX + 1]; /* NULL at the end */
};

static void __attribute__((format(printf, 2, 3)))
argument_add(struct arguments *arguments, const char *format, ...)
{
    va_list list;

    LP_ASSERT(arguments->count < ARGUMENTS_MAX);
    va_start(list, format);
    const int bytes = vasprintf(&arguments->item[arguments->count], format, list);
    va_end(list);
    if (bytes < 0) {
        arguments->failed = true;
        arguments->item[arguments->count] = NULL;
        return;
    }
    arguments->count++;
}

static void
arguments_fini(struct arguments *arguments)
{
    for (size_t i = 0; i < arguments->count; i++) {
        free(arguments->item[i]);
    }
    arguments->count = 0;
}

static void
region_add(struct arguments *arguments, const struct launcher_region *region)
{
    char list[LP_SHARDS_MAX * 12];
    size_t used = 0;

    for (uint32_t i = 0; i < region->shard_count; i++) {
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%d", i > 0 ? "," : "",
                                 region->shard_wake_fd[i]);
    }
    LP_ASSERT(used < sizeof(list)); /* 12 bytes hold any number and its comma */
    argument_add(arguments, "--region-fd=%d", region->memory_fd);
    argument_add(arguments, "--control-wake-fd=%d", region->control_wake_fd);
    argument_add(arguments, "--shard-wake-fds=%s", list);
    argument_add(arguments, "--shards=%u", region->shard_count);
}

static bool
start(struct launcher_child *child, const struct launcher_plan *plan,
      const struct launcher_region *region, struct arguments *arguments,
      const int extra_fd[EXTRA_FDS])
{
    int fds[LP_SHARDS_MAX + 2 + EXTRA_FDS];
    size_t count = 0;
    char path[PATH_MAX + 32];
    bool good = false;

    fds[count++] = region->memory_fd;
    fds[count++] = region->control_wake_fd;
    for (uint32_t i = 0; i < region->shard_count; i++) {
        fds[count++] = region->shard_wake_fd[i];
    }
    for (uint32_t i = 0; i < EXTRA_FDS; i++) {
        if (extra_fd[i] >= 0) {
            fds[count++] = extra_fd[i];
        }
    }
    (void)snprintf(path, sizeof(path), "%s/%s", plan->programs, child->name);
    if (arguments->failed) {
        launcher_warn("%s cannot be started: out of memory", child->name);
    } else {
        good = launcher_child_start(
            child, &(struct launcher_spawn){path, arguments->item, fds, count, child->bare});
    }
    arguments_fini(arguments);
    return good;
}

/* What is named, or RabbitMQ's default; without a user for it there is no ANONYMOUS. */
static void
mechanism_add(void *context, const char *name, const char *value)
{
    struct arguments *arguments = context;
    (void)name;
    arguments->named++;
    /* There are four of them: who names more has named some twice. */
    if (arguments->mechanisms < MECHANISMS_MAX &&
        (strcmp(value, "ANONYMOUS") != 0 || arguments->anonymous)) {
        arguments->mechanisms++;
        argument_add(arguments, "--auth-mechanism=%s", value);
    }
}

static void
mechanisms_add(struct arguments *arguments, const struct lp_config *config)
{
    static const char *const defaults[] = {"PLAIN", "AMQPLAIN", "ANONYMOUS"};
    arguments->anonymous = strcmp(lp_config_text(config, "anonymous_login_user"), "none") != 0;
    lp_config_each(config, "auth_mechanisms.$name", mechanism_add, arguments);
    if (arguments->named == 0) {
        for (size_t i = 0; i < LP_COUNT_OF(defaults); i++) {
            mechanism_add(arguments, NULL, defaults[i]);
        }
    }
}

bool
launcher_start_dataplane(struct launcher_child *child, const struct launcher_plan *plan,
                         const struct launcher_region *region, int ready_fd)
{
    const struct lp_config *config = plan->config;
    struct arguments arguments = {0};

    argument_add(&arguments, "%s", child->name);
    region_add(&arguments, region);
    for (size_t i = 0; i < plan->listener_count; i++) {
        argument_add(&arguments, "--listen=%s", plan->listener[i]);
    }
    for (size_t i = 0; i < plan->net_argument_count; i++) {
        argument_add(&arguments, "%s", plan->net_argument[i]);
    }
    for (size_t i = 0; i < plan->net_listener_count; i++) {
        argument_add(&arguments, "--net-listen=%s", plan->net_listener[i]);
    }
    argument_add(&arguments, "--transport=%s", lp_config_text(config, "lepus.transport"));
    argument_add(&arguments, "--pin=%s", lp_config_text(config, "lepus.pin"));
    argument_add(&arguments, "--poll=%s", lp_config_text(config, "lepus.poll"));
    argument_add(&arguments, "--memory-bytes=%llu", (unsigned long long)plan->memory_bytes);
    argument_add(&arguments, "--watermark-bytes=%llu", (unsigned long long)plan->watermark_bytes);
    static const struct {
        const char *option;
        const char *key;
    } numbers[] = {
        {"heartbeat-s", "heartbeat"},
        {"frame-max", "frame_max"},
        {"channel-max", "channel_max"},
        {"max-message-size", "max_message_size"},
        {"handshake-timeout-ms", "handshake_timeout"},
        {"control-timeout-ms", "lepus.control_timeout"},
        {"log-max-delay-us", "lepus.log.max_delay"},
    };
    for (size_t i = 0; i < LP_COUNT_OF(numbers); i++) {
        argument_add(&arguments, "--%s=%lld", numbers[i].option,
                     (long long)lp_config_integer(config, numbers[i].key));
    }
    const int64_t consumers_max = lp_config_integer(config, "consumer_max_per_channel");
    argument_add(&arguments, "--consumer-max=%lld",
                 consumers_max == INT64_MAX ? 0 : (long long)consumers_max); /* 0: infinity */
    argument_add(&arguments, "--log-segment-bytes=%llu", (unsigned long long)plan->segment_bytes);
    argument_add(&arguments, "--log-first-segment-bytes=%llu",
                 (unsigned long long)plan->first_segment_bytes);
    argument_add(&arguments, "--log-backlog-bytes=%llu",
                 (unsigned long long)launcher_backlog_bytes(plan));
    argument_add(&arguments, "--data=%s", plan->data_path);
    argument_add(&arguments, "--data-id=%s", plan->record.id);
    argument_add(&arguments, "--cluster-name=%s", plan->cluster_name);
    argument_add(&arguments, "--ready-fd=%d", ready_fd);
    mechanisms_add(&arguments, config);
    const int tls_fd = plan->tls == NULL ? -1 : launcher_tls_open(plan);
    if (tls_fd >= 0) {
        argument_add(&arguments, "--tls-fd=%d", tls_fd);
    }
    arguments.failed |= plan->tls != NULL && tls_fd < 0;
    if (plan->net_ledger_fd >= 0) {
        argument_add(&arguments, "--ledger-fd=%d", plan->net_ledger_fd);
    }
    const bool good = start(child, plan, region, &arguments,
                            (const int[EXTRA_FDS]){ready_fd, tls_fd, plan->net_ledger_fd});
    if (tls_fd >= 0) {
        (void)close(tls_fd); /* the child has its own */
    }
    return good;
}

bool
launcher_start_control(struct launcher_child *child, const struct launcher_plan *plan,
                       const struct launcher_region *region,
                       const struct launcher_control_start *how)
{
    const struct launcher_options *options = plan->options;
    struct arguments arguments = {0};

    argument_add(&arguments, "%s", child->name);
    region_add(&arguments, region);
    argument_add(&arguments, "--data=%s", plan->data);
    argument_add(&arguments, "--data-id=%s", plan->record.id);
    argument_add(&arguments, "--generation=%u", how->generation);
    if (how->fresh) {
        argument_add(&arguments, "--fresh");
    }
    if (options->config_path != NULL) {
        argument_add(&arguments, "--config=%s", options->config_path);
    }
    for (size_t i = 0; i < options->setting_count; i++) {
        /* Not to be seen once more, and no business of its. */
        if (strncmp(options->setting[i], "ssl_options.password", 20) == 0) {
            continue;
        }
        argument_add(&arguments, "--set=%s", options->setting[i]);
    }
    if (how->ready_fd >= 0) {
        argument_add(&arguments, "--ready-fd=%d", how->ready_fd);
    }
    return start(child, plan, region, &arguments, (const int[EXTRA_FDS]){how->ready_fd, -1, -1});
}
