/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the program around the data plane reads its arguments, chooses how to
 * wait from what the machine is like, makes good random numbers, and its loop
 * moves, blocks, wakes and stops a shard.
 *
 * Method: the host's files are compiled into this one, over a shard that only
 * echoes (fake_shard.h).  The loop runs in threads over the epoll driver.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <drivers/common/address.h>
#include <drivers/common/socket.h>
#include <drivers/epoll/epoll.h>

/* NOLINTBEGIN(bugprone-suspicious-include): the program has no library to link. */
#include "drivers/host/clock.c"
#include "drivers/host/entropy.c"
#include "drivers/host/loop.c"
#include "drivers/host/machine.c"
#include "drivers/host/net_options.c"
#include "drivers/host/options.c"
#include "drivers/host/recovery.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include "fake_shard.h"

void
host_panic_shard_set(uint32_t shard)
{
    (void)shard;
}

void
host_net_thread_enter(const struct host_shard *self)
{
    (void)self;
}

void
host_net_drain(struct host_shard *self)
{
    (void)self;
}

uint64_t
host_net_report_due_ns(const struct host_shard *self)
{
    (void)self;
    return UINT64_MAX;
}

void
host_net_report(struct host_shard *self, uint64_t now_ns)
{
    (void)self;
    (void)now_ns;
}

bool
host_disk_busy(const struct host_shard *self)
{
    return self->disk.self != NULL;
}

void
host_disk_drain(const struct host_shard *self)
{
    (void)self;
}

/* --- The time of day. ------------------------------------------------------------------------ */

static void
the_time_of_day_follows_the_monotonic_clock(void **state)
{
    (void)state;
    struct host_wall wall = {0};
    const uint64_t before = clock_ns(CLOCK_REALTIME);
    const uint64_t now = host_monotonic_ns();
    const uint64_t then = host_wall_ns(&wall, now);
    const uint64_t after = clock_ns(CLOCK_REALTIME);
    assert_true(then + 1000000u > before && then < after + 1000000u);

    /* A moment that is over, however long ago it is looked at, and one to come. */
    assert_true(host_wall_ns(&wall, wall.read_ns + 5) == then + (wall.read_ns + 5 - now));
    assert_true(host_wall_ns(&wall, wall.read_ns + 7) == then + (wall.read_ns + 7 - now));
}

static void
a_time_of_day_that_was_set_is_noticed_a_second_later(void **state)
{
    (void)state;
    const uint64_t now = host_monotonic_ns();
    struct host_wall wall = {.ahead_ns = 12345, .read_ns = now - WALL_AGE_NS};
    assert_true(host_wall_ns(&wall, now) == now + 12345);
    const uint64_t found = host_wall_ns(&wall, now + 1);
    assert_true(found > now + 12346);
    assert_true(found < clock_ns(CLOCK_REALTIME) + 1000000u);
    assert_true(wall.read_ns >= now);
}

/* --- Arguments. ------------------------------------------------------------------------------ */

#define NEEDED "--region-fd=3", "--control-wake-fd=4", "--shards=2", "--shard-wake-fds=5,6"

static void
the_launchers_arguments_are_understood(void **state)
{
    (void)state;
    static const char *const arguments[] = {"lepus-dataplane",
                                            NEEDED,
                                            "--listen=tcp:0.0.0.0:5672",
                                            "--listen=tcp:[::1]:0",
                                            "--listen=unix:/run/lepus.sock",
                                            "--transport=epoll",
                                            "--pin=no",
                                            "--poll=busy",
                                            "--memory-bytes=6000000000",
                                            "--watermark-bytes=5000000000",
                                            "--heartbeat-s=17",
                                            "--frame-max=8192",
                                            "--channel-max=100",
                                            "--max-message-size=12345",
                                            "--handshake-timeout-ms=1",
                                            "--control-timeout-ms=2",
                                            "--log-segment-bytes=8192",
                                            "--log-first-segment-bytes=4096",
                                            "--log-backlog-bytes=5000000000",
                                            "--log-max-delay-us=50",
                                            "--data=/var/lib/lepus",
                                            "--data-id=00112233445566778899aabbccddeeff",
                                            "--cluster-name=lepus@here",
                                            "--ready-fd=7"};
    struct host_options options;
    char why[HOST_WHY_BYTES];
    char *copy[LP_COUNT_OF(arguments)];
    for (size_t i = 0; i < LP_COUNT_OF(arguments); i++) {
        copy[i] = strdup(arguments[i]);
    }
    assert_true(host_options_parse(&options, (int)LP_COUNT_OF(arguments), copy, why));
    assert_string_equal(options.data, "/var/lib/lepus");
    for (size_t i = 0; i < LP_COUNT_OF(arguments); i++) {
        free(copy[i]);
    }
    assert_int_equal(options.data_id[1], 0x11);
    assert_int_equal(options.data_id[15], 0xff);
    assert_int_equal(options.shard.log_segment_bytes, 8192);
    assert_int_equal(options.shard.log_first_segment_bytes, 4096);
    assert_true(options.shard.log_backlog_bytes == 5000000000);
    assert_int_equal(options.shard.log_max_delay_us, 50);
    assert_int_equal(options.region_fd, 3);
    assert_int_equal(options.control_wake_fd, 4);
    assert_int_equal(options.ready_fd, 7);
    assert_int_equal(options.shard.count, 2);
    assert_int_equal(options.shard_wake_fd[1], 6);
    assert_int_equal(options.listener_count, 3);
    assert_int_equal(options.listener[0].port, 5672);
    assert_int_equal(options.listener[1].ip[15], 1);
    assert_string_equal(options.listener[2].path, "/run/lepus.sock");
    assert_int_equal(options.transport, HOST_TRANSPORT_EPOLL);
    assert_int_equal(options.pin, HOST_PIN_NO);
    assert_int_equal(options.poll, HOST_POLL_BUSY);
    assert_true(options.memory_bytes == 6000000000);
    assert_true(options.watermark_bytes == 5000000000);
    assert_int_equal(options.shard.heartbeat_s, 17);
    assert_int_equal(options.shard.frame_max_bytes, 8192);
    assert_int_equal(options.shard.channel_max, 100);
    assert_int_equal(options.shard.message_bytes_max, 12345);
    assert_int_equal(options.shard.handshake_timeout_ms, 1);
    assert_int_equal(options.shard.control_timeout_ms, 2);
    assert_string_equal(options.shard.cluster_name, "lepus@here");
}

static void
packet_devices_are_understood(void **state)
{
    (void)state;
    static const char *const arguments[] = {"lepus-dataplane",
                                            NEEDED,
                                            "--net-port=0:tap:lepus0",
                                            "--net-address=10.0.0.2/24",
                                            "--net-address=2001:db8::2/64",
                                            "--net-gateway=10.0.0.1",
                                            "--net-gateway=fe80::1",
                                            "--net-vlan=7",
                                            "--net-port=b:net_af_packet0,iface=eth1",
                                            "--net-mac=02:00:00:00:0a:FF",
                                            "--net-mtu=9000",
                                            "--net-route=10.1.0.0/16,10.0.0.1",
                                            "--net-memory-bytes=5000000000",
                                            "--net-exception=lepus9",
                                            "--net-congestion=newreno",
                                            "--net-ecn=off",
                                            "--net-addresses-wait=true",
                                            "--net-listen=tcp:0.0.0.0:5672"};
    struct host_options options;
    char why[HOST_WHY_BYTES] = "";
    char *copy[LP_COUNT_OF(arguments)];
    for (size_t i = 0; i < LP_COUNT_OF(arguments); i++) {
        copy[i] = strdup(arguments[i]);
    }
    assert_true(host_options_parse(&options, (int)LP_COUNT_OF(arguments), copy, why));
    const struct host_net_options *net = &options.net;
    assert_int_equal(net->port_count, 2);
    assert_string_equal(net->port[0].name, "0");
    assert_string_equal(net->port[0].device, "tap:lepus0");
    assert_int_equal(net->port[0].address_count, 2);
    assert_int_equal(net->port[0].address[0].bits, 24);
    assert_int_equal(net->port[0].address[1].family, LP_ADDRESS_IPV6);
    assert_int_equal(net->port[0].gateway[0].ip[3], 1);
    assert_int_equal(net->port[0].gateway[1].ip[0], 0xfe);
    assert_int_equal(net->port[0].vlan, 7);
    assert_string_equal(net->port[1].device, "net_af_packet0,iface=eth1");
    assert_int_equal(net->port[1].mac[5], 0xff);
    assert_int_equal(net->port[1].mtu_bytes, 9000);
    assert_int_equal(net->route[0].to.bits, 16);
    assert_int_equal(net->route[0].gateway.ip[0], 10);
    assert_true(net->memory_bytes == 5000000000);
    assert_int_equal(net->congestion, LP_NET_NEWRENO);
    assert_int_equal(net->ecn, LP_NET_ECN_OFF);
    assert_true(net->addresses_wait);
    assert_null(net->port[0].exception);
    assert_string_equal(net->port[1].exception, "lepus9");
    assert_int_equal(net->listener[0].port, 5672);
    assert_int_equal(options.listener_count, 0);
    for (size_t i = 0; i < LP_COUNT_OF(arguments); i++) {
        free(copy[i]);
    }
}

static void
an_argument_that_makes_no_sense_is_named(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "--listen=tcp:1.2.3.4",
        "--listen=tcp:1.2.3.4:65536",
        "--listen=tcp:[1.2.3.4]:1",
        "--listen=tcp:::1:1",
        "--listen=unix:",
        "--listen=udp:1.2.3.4:1",
        "--transport=uring",
        "--net-address=10.0.0.1/24",
        "--net-port=0",
        "--net-port=:tap:x",
        "--net-port=too-long-for-a-port:tap:x",
        "--net-route=10.0.0.0/8",
        "--net-route=10.0.0.0/8,fe80::1",
        "--net-route=10.0.0.0/33,10.0.0.1",
        "--net-congestion=bbr",
        "--net-ecn=on",
        "--net-addresses-wait=soon",
        "--net-other=1",
        "--pin=maybe",
        "--poll=",
        "--heartbeat-s=65536",
        "--heartbeat-s=-1",
        "--heartbeat-s=1s",
        "--frame-max=",
        "--shards=65",
        "--shard-wake-fds=1,,2",
        "--shard-wake-fds=1,2,",
        "--unknown=1",
        "--ready-fd",
        "ready-fd=1",
        "--=1",
        "",
        "--memory-bytes=99999999999999999999999",
        "--log-segment-bytes=4294967296",
        "--log-max-delay-us=-1",
        "--data=",
        "--data-id=00112233445566778899aabbccddeef",
        "--data-id=00112233445566778899aabbccddeeff0",
        "--data-id=00112233445566778899aabbccddeefg",
    };
    for (size_t i = 0; i < LP_COUNT_OF(wrong); i++) {
        struct host_options options;
        char why[HOST_WHY_BYTES] = "";
        char *argument = strdup(wrong[i]);
        char *argv[] = {NULL, argument};
        assert_false(host_options_parse(&options, 2, argv, why));
        assert_non_null(strstr(why, wrong[i]));
        free(argument);
    }
}

/* --- The machine. ---------------------------------------------------------------------------- */

static void
file_write(const char *root, const char *path, const char *text)
{
    char full[512];
    (void)snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = strchr(full + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(full, 0700); /* there already, as a rule */
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void
quota_steal_and_isolation_are_read(void **state)
{
    (void)state;
    char root[] = "/tmp/lepus-test-host-XXXXXX";
    assert_non_null(mkdtemp(root));
    file_write(root, "/proc/stat", "cpu  700 0 100 100 0 0 0 100 0 0\ncpu0 1 2 3\n");
    file_write(root, "/proc/self/cgroup", "1:cpu:/old\n0::/kube/pod\n");
    file_write(root, "/sys/fs/cgroup/kube/pod/cpu.max", "max 100000\n");
    file_write(root, "/sys/fs/cgroup/kube/cpu.max", "150000 100000\n");
    file_write(root, "/sys/fs/cgroup/cpu.max", "800000 100000\n");
    file_write(root, "/sys/devices/system/cpu/isolated", "0-1023\n");
    struct host_machine machine;
    host_machine_read(&machine, root);
    assert_int_equal(machine.steal_per_mille, 100);
    assert_int_equal(machine.quota_milli, 1500);
    assert_true(machine.processor_count > 0);
    assert_int_equal(machine.isolated_count, machine.processor_count);
    static const char *const made[] = {"/proc/stat",
                                       "/proc/self/cgroup",
                                       "/proc/self",
                                       "/proc",
                                       "/sys/fs/cgroup/kube/pod/cpu.max",
                                       "/sys/fs/cgroup/kube/pod",
                                       "/sys/fs/cgroup/kube/cpu.max",
                                       "/sys/fs/cgroup/kube",
                                       "/sys/fs/cgroup/cpu.max",
                                       "/sys/fs/cgroup",
                                       "/sys/fs",
                                       "/sys/devices/system/cpu/isolated",
                                       "/sys/devices/system/cpu",
                                       "/sys/devices/system",
                                       "/sys/devices",
                                       "/sys",
                                       ""};
    for (size_t i = 0; i < LP_COUNT_OF(made); i++) {
        char full[512];
        (void)snprintf(full, sizeof(full), "%s%s", root, made[i]);
        assert_int_equal(remove(full), 0);
    }
}

static void
only_processors_of_our_own_are_pinned_and_spun_on(void **state)
{
    (void)state;
    static const struct {
        struct host_machine machine;
        enum host_pin pin;
        enum host_poll poll;
        bool pinned;
        uint64_t block_ns;
    } cases[] = {
        {{.processor_count = 2}, HOST_PIN_AUTO, HOST_POLL_ADAPTIVE, false, 5000},
        {{.processor_count = 4, .isolated_count = 2},
         HOST_PIN_AUTO,
         HOST_POLL_ADAPTIVE,
         true,
         200000},
        {{.processor_count = 4, .isolated_count = 1},
         HOST_PIN_AUTO,
         HOST_POLL_ADAPTIVE,
         false,
         5000},
        {{.processor_count = 4, .isolated_count = 4, .quota_milli = 3000},
         HOST_PIN_AUTO,
         HOST_POLL_ADAPTIVE,
         false,
         5000},
        {{.processor_count = 4, .isolated_count = 4, .steal_per_mille = 11},
         HOST_PIN_AUTO,
         HOST_POLL_ADAPTIVE,
         false,
         5000},
        {{.processor_count = 4, .isolated_count = 4}, HOST_PIN_NO, HOST_POLL_SLEEP, false, 0},
        {{.processor_count = 2}, HOST_PIN_YES, HOST_POLL_SLEEP, true, 0},
        {{.processor_count = 1}, HOST_PIN_YES, HOST_POLL_ADAPTIVE, false, 5000},
    };
    for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
        const struct host_options options = {
            .shard = {.count = 2}, .pin = cases[i].pin, .poll = cases[i].poll};
        const struct host_idle idle = host_idle_choose(&cases[i].machine, &options);
        assert_int_equal(idle.pin, cases[i].pinned);
        assert_int_equal(idle.poll, cases[i].poll);
        assert_int_equal(LP_MAX(idle.spin_ns, idle.relax_ns), cases[i].block_ns);
    }
}

/* --- Randomness. ----------------------------------------------------------------------------- */

/* SPEC RFC 8439 A.1, vector 1: key, nonce and counter zero; the first half of the block is the next
 * key. */
static void
the_generator_is_chacha20(void **state)
{
    (void)state;
    static const uint8_t half[32] = {0xda, 0x41, 0x59, 0x7c, 0x51, 0x57, 0x48, 0x8d,
                                     0x77, 0x24, 0xe0, 0x3f, 0xb8, 0xd8, 0x4a, 0x37,
                                     0x6a, 0x43, 0xb8, 0xf4, 0x15, 0x18, 0xa1, 0x1c,
                                     0xc3, 0x87, 0xb6, 0x69, 0xb2, 0xee, 0x65, 0x86};
    struct host_entropy entropy = {.used = 64};
    const struct lp_entropy contract = host_entropy_contract(&entropy);
    uint8_t bytes[32];
    contract.fill(contract.self, bytes, 5);
    contract.fill(contract.self, bytes + 5, 27);
    assert_memory_equal(bytes, half, sizeof(half));
    contract.fill(contract.self, bytes, sizeof(bytes));
    assert_memory_not_equal(bytes, half, sizeof(half));
}

static void
two_generators_say_different_things(void **state)
{
    (void)state;
    struct host_entropy a;
    struct host_entropy b;
    uint8_t of_a[100];
    uint8_t of_b[100];
    assert_true(host_entropy_init_boot(&a));
    assert_true(host_entropy_init_boot(&b));
    host_entropy_contract(&a).fill(&a, of_a, sizeof(of_a));
    host_entropy_contract(&b).fill(&b, of_b, sizeof(of_b));
    assert_memory_not_equal(of_a, of_b, sizeof(of_a));
}

/* --- The loop. ------------------------------------------------------------------------------- */

static int
client_connect(const struct lp_listeners *listeners)
{
    struct sockaddr_storage kernel;
    const socklen_t bytes = lp_address_to_kernel(&listeners->address[0], &kernel);
    const int fd = socket(kernel.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&kernel, bytes), 0);
    return fd;
}

static void
echo_check(int fd, char byte)
{
    char back = 0;
    assert_int_equal(send(fd, &byte, 1, MSG_NOSIGNAL), 1);
    assert_int_equal(recv(fd, &back, 1, MSG_WAITALL), 1);
    assert_int_equal(back, byte);
}

/* However it waits: it answers, goes to sleep, hears a foreign eventfd, answers again, and stops.
 */
static void
a_shard_is_turned_put_to_sleep_woken_and_stopped(void **state)
{
    (void)state;
    static const enum host_poll polls[] = {HOST_POLL_ADAPTIVE, HOST_POLL_SLEEP, HOST_POLL_BUSY};
    for (size_t p = 0; p < LP_COUNT_OF(polls); p++) {
        struct host *host = calloc(1, sizeof(*host));
        struct host_shard *self = &host->shard[0];
        struct lp_address address;
        char why[LP_LISTENERS_WHY_BYTES];
        host->options = (struct host_options){.shard = {.count = 1}, .poll = polls[p]};
        host->machine.processor_count = 1;
        host->idle = host_idle_choose(&host->machine, &host->options);
        self->host = host;
        assert_true(lp_address_parse("tcp:127.0.0.1:0", &address));
        assert_int_equal(lp_listeners_open_boot(&host->listeners, &address, 1, 1, why), LP_OK);
        const struct lp_socket_options options = {
            .listeners = &host->listeners, .streams_max = 8, .wake_fd = -1};
        assert_int_equal(lp_epoll_open_boot(&options, &self->transport), LP_OK);
        const struct lp_shard_env env = {.transport = self->transport,
                                         .memory = calloc(1, sizeof(struct lp_shard)),
                                         .memory_bytes = sizeof(struct lp_shard)};
        const uint64_t now = host_monotonic_ns();
        assert_int_equal(lp_shard_init_boot(&host->options.shard, &env, now,
                                            host_wall_ns(&self->wall, now), &self->shard),
                         LP_OK);
        assert_int_equal(pthread_create(&self->thread, NULL, host_shard_run, self), 0);
        const int fd = client_connect(&host->listeners);
        for (int i = 0; i < 200; i++) {
            echo_check(fd, 'x');
            self->transport.ops->wake_any(self->transport.self);
        }
        /* An echo may follow the last at once; left alone, it sleeps sooner or later. */
        while (polls[p] != HOST_POLL_BUSY && lp_load_acquire(&self->shard->sleeps) == 0) {
            (void)sched_yield();
        }
        echo_check(fd, '!');
        assert_int_equal(pthread_join(self->thread, NULL), 0);
        assert_true(self->shard->measured > 200);
        assert_true((self->shard->sleeps > 0) == (polls[p] != HOST_POLL_BUSY));
        assert_int_equal(close(fd), 0);
        lp_epoll_close(&self->transport);
        lp_listeners_close(&host->listeners);
        free(env.memory);
        free(host);
    }
}

static void
wait_count(void *self, uint64_t timeout_ns)
{
    uint32_t *waits = self;
    (void)timeout_ns;
    (*waits)++;
}

/* The kernel may need our processor to end what it writes. */
static void
a_shard_whose_disk_works_sleeps_at_once_and_others_spin_first(void **state)
{
    (void)state;
    static const struct lp_transport_ops ops = {.wait = wait_count};
    uint32_t waits = 0;
    struct host *host = calloc(1, sizeof(*host));
    struct lp_shard *shard = calloc(1, sizeof(*shard));
    struct host_shard *self = &host->shard[0];
    assert_non_null(host);
    host->idle = (struct host_idle){.poll = HOST_POLL_ADAPTIVE, .spin_ns = 1000000};
    self->host = host;
    self->shard = shard;
    self->patience = PATIENCE_MAX;
    self->transport = (struct lp_transport){.ops = &ops, .self = &waits};
    idle(self, 1000, 5000, 6000);
    assert_int_equal(waits, 0);
    self->disk.self = shard; /* anything: host_disk_busy() above */
    idle(self, 1000, 5000, 6000);
    assert_int_equal(waits, 1);
    host->idle.poll = HOST_POLL_BUSY; /* never sleeps, but lets others run */
    idle(self, 1000, 5000, 6000);
    assert_int_equal(waits, 1);
    free(shard);
    free(host);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_time_of_day_follows_the_monotonic_clock),
        cmocka_unit_test(a_time_of_day_that_was_set_is_noticed_a_second_later),
        cmocka_unit_test(the_launchers_arguments_are_understood),
        cmocka_unit_test(packet_devices_are_understood),
        cmocka_unit_test(an_argument_that_makes_no_sense_is_named),
        cmocka_unit_test(quota_steal_and_isolation_are_read),
        cmocka_unit_test(only_processors_of_our_own_are_pinned_and_spun_on),
        cmocka_unit_test(the_generator_is_chacha20),
        cmocka_unit_test(two_generators_say_different_things),
        cmocka_unit_test(a_shard_whose_disk_works_sleeps_at_once_and_others_spin_first),
        cmocka_unit_test(a_shard_is_turned_put_to_sleep_woken_and_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
