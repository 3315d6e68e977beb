/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator may write in a configuration file, and what he is told
 * when it is wrong.
 *
 * Method: files are written to a temporary folder and read back; tables of
 * good and bad lines; one test walks the whole table of keys.
 */
#include "config_rig.h"

struct pairs {
    char text[512];
};

static void
collect(void *context, const char *name, const char *value)
{
    struct pairs *pairs = context;
    const size_t used = strlen(pairs->text);
    (void)snprintf(pairs->text + used, sizeof(pairs->text) - used, "%s=%s;", name,
                   value ? value : "(null)");
}

static void
assert_each(const struct lp_config *config, const char *pattern, const char *expected)
{
    struct pairs pairs = {""};
    lp_config_each(config, pattern, collect, &pairs);
    assert_string_equal(pairs.text, expected);
}

static void
defaults_are_rabbitmqs(void **unused)
{
    struct lp_config *config = NULL;
    char why[WHY_BYTES];

    (void)unused;
    assert_int_equal(lp_config_open(NULL, &config, why, sizeof(why)), LP_OK);
    assert_int_equal(lp_config_integer(config, "heartbeat"), 60);
    assert_int_equal(lp_config_integer(config, "frame_max"), 131072);
    assert_int_equal(lp_config_integer(config, "channel_max"), 2047);
    assert_int_equal(lp_config_integer(config, "max_message_size"), 16777216);
    assert_int_equal(lp_config_integer(config, "handshake_timeout"), 10000);
    assert_int_equal(lp_config_integer(config, "lepus.shards"), 0);
    assert_string_equal(lp_config_text(config, "default_user"), "guest");
    assert_string_equal(lp_config_text(config, "default_permissions.read"), ".*");
    assert_each(config, "listeners.tcp.$name", "default=5672;");
    assert_each(config, "loopback_users.$user", "guest=true;");
    assert_each(config, "default_user_tags.$tag", "administrator=true;");
    assert_each(config, "lepus.listeners.unix.$name", "");
    assert_false(lp_config_given(config, "heartbeat"));
    lp_config_close(&config);
    assert_null(config);
}

static void
every_key_has_a_default_that_its_own_type_accepts(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < lp_config_key_count(); i++) {
        struct lp_config_key_info info;
        struct lp_config *config = NULL;
        char why[WHY_BYTES] = "";
        char key[128];
        char line[512];

        lp_config_key_at(i, &info);
        assert_true(*info.help != '\0');
        size_t index = SIZE_MAX;
        (void)snprintf(key, sizeof(key), "%s", info.pattern);
        for (char *at = key; *at != '\0'; at++) {
            *at = *at == '$' || *at == '*' ? 'x' : *at;
        }
        assert_true(lp_config_key_find(key, &index));
        /* An earlier row may hide a family below it on purpose, never a key of its own. */
        if (strpbrk(info.pattern, "$*") == NULL) {
            assert_int_equal(index, i);
        }
        if (strcmp(info.status, "implemented") != 0 || *info.default_value == '\0') {
            continue;
        }
        assert_int_equal(lp_config_open(NULL, &config, why, sizeof(why)), LP_OK);
        (void)snprintf(line, sizeof(line), "%s=%s", key, info.default_value);
        if (lp_config_set(config, line, why, sizeof(why)) != LP_OK) {
            fail_msg("%s", why);
        }
        lp_config_close(&config);
    }
}

static void
lines_are_read_as_rabbitmq_reads_them(void **unused)
{
    struct lp_config *config;

    (void)unused;
    config = good_text("# a comment\n\n"
                       "  heartbeat=30   # seconds\n"
                       "default_pass = 'se#cret '  # with a hash\n"
                       "default_user = a b\r\n"
                       "cluster_name =\n"
                       "loopback_users.my\\.user = true\n"
                       "listeners.tcp.lan = 10.0.0.1:5673\n"
                       "listeners.tcp.six = [::1]:5674\n"
                       "listeners.tcp.lan = 10.0.0.2:5673\n"
                       "max_message_size = 1MiB\n"
                       "vm_memory_high_watermark.relative = 0.55\n"
                       "handshake_timeout = 5s");
    assert_int_equal(lp_config_integer(config, "heartbeat"), 30);
    assert_true(lp_config_given(config, "heartbeat"));
    assert_string_equal(lp_config_text(config, "default_pass"), "se#cret ");
    assert_string_equal(lp_config_text(config, "default_user"), "a b");
    assert_string_equal(lp_config_text(config, "cluster_name"), "");
    assert_each(config, "loopback_users.$user", "my.user=true;");
    /* The last assignment wins, and keeps the first one's place. */
    assert_each(config, "listeners.tcp.$name", "lan=10.0.0.2:5673;six=[::1]:5674;");
    assert_int_equal(lp_config_integer(config, "max_message_size"), 1048576);
    assert_int_equal(lp_config_integer(config, "vm_memory_high_watermark.relative"), 550000);
    assert_int_equal(lp_config_integer(config, "handshake_timeout"), 5000);
    lp_config_close(&config);
}

static void
none_turns_a_pattern_off(void **unused)
{
    struct lp_config *config;

    (void)unused;
    config = good_text("listeners.tcp = none\nloopback_users = none\n");
    assert_each(config, "listeners.tcp.$name", "");
    assert_each(config, "loopback_users.$user", "");
    lp_config_close(&config);
}

static void
mistakes_are_named_with_file_line_and_remedy(void **unused)
{
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {
        {"\n\nlistener.tcp.default = 5672\n",
         "F:3: unknown key \"listener.tcp.default\"; did you mean \"listeners.tcp.default\"? "
         "'lepus config' lists all keys"},
        {"heartbaet = 3", "F:1: unknown key \"heartbaet\"; did you mean \"heartbeat\"? 'lepus "
                          "config' lists all keys"},
        {"lepus.shard = 3", "F:1: unknown key \"lepus.shard\"; did you mean \"lepus.shards\"? "
                            "'lepus config' lists all keys"},
        {"loopback_user.ann = true",
         "F:1: unknown key \"loopback_user.ann\"; did you mean \"loopback_users.ann\"? 'lepus "
         "config' lists all keys"},
        {"xyzzy = 3", "F:1: unknown key \"xyzzy\"; 'lepus config' lists all keys"},
        {"heartbeat", "F:1: \"heartbeat\" is not an assignment; lines are written: key = value"},
        {"a..b = 1", "F:1: \"a..b\" is not a key; a key is words joined by dots"},
        {" = 1", "F:1: \"\" is not a key; a key is words joined by dots"},
        {"default_pass = 'abc",
         "F:1: the value of \"default_pass\" begins with a quote that does not end"},
        {"heartbeat = soon", "F:1: \"heartbeat\" cannot be \"soon\": it must be seconds, or a "
                             "time such as 60s or 5m"},
        {"heartbeat = -1", "F:1: \"heartbeat\" cannot be \"-1\": it must be seconds, or a time "
                           "such as 60s or 5m"},
        {"heartbeat = 65536",
         "F:1: \"heartbeat\" cannot be \"65536\": it must be between 0 and 65535"},
        {"channel_max = 99999999999999999999",
         "F:1: \"channel_max\" cannot be \"99999999999999999999\": it must be a whole number"},
        {"lepus.transport = dpdk", "F:1: \"lepus.transport\" cannot be \"dpdk\": it must be one "
                                   "of auto|io_uring|epoll"},
        {"classic_queue.default_version = 1",
         "F:1: \"classic_queue.default_version\" cannot be \"1\": it must be between 2 and "
         "2147483647"},
        {"queue_index_embed_msgs_below = much",
         "F:1: \"queue_index_embed_msgs_below\" cannot be \"much\": it must be a size such as "
         "16777216, 512MB or 2GiB"},
        {"vm_memory_high_watermark_paging_ratio = 1.5",
         "F:1: \"vm_memory_high_watermark_paging_ratio\" cannot be \"1.5\": it must be between 0 "
         "and 1"},
        {"lepus.log.segment_bytes = 1000",
         "F:1: \"lepus.log.segment_bytes\" cannot be \"1000\": it must be between 1048576 and "
         "1073741824"},
        {"log.console = maybe",
         "F:1: \"log.console\" cannot be \"maybe\": it must be true or false"},
        {"vm_memory_high_watermark.relative = 1.5",
         "F:1: \"vm_memory_high_watermark.relative\" cannot be \"1.5\": it must be between 0 and "
         "1"},
        {"management.tcp.port = 15672",
         "F:1: \"management.tcp.port\" is RabbitMQ's, and is not implemented in this version (The "
         "HTTP API and the management pages.); remove it to start without"},
    };

    (void)unused;
    for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
        struct lp_config *config = NULL;
        char why[WHY_BYTES];

        assert_int_equal(read_text(cases[i].text, &config, why), LP_ERR_BAD_CONFIG);
        assert_string_equal(why, cases[i].why);
        assert_null(config);
    }
}

static void
mistakes_of_packet_devices_are_named(void **unused)
{
    static const struct {
        const char *text;
        const char *why;
    } bad[] = {
        {"lepus.net.port.0.address.0 = 10.0.0.2",
         "F:1: \"lepus.net.port.0.address.0\" cannot be \"10.0.0.2\": it must be an address and "
         "the bits of its network, such as 10.0.0.2/24 or 2001:db8::2/64"},
        {"lepus.net.port.0.address.0 = 10.0.0.2/33",
         "F:1: \"lepus.net.port.0.address.0\" cannot be \"10.0.0.2/33\": it must be an address and "
         "the bits of its network, such as 10.0.0.2/24 or 2001:db8::2/64"},
        {"lepus.net.port.0.mac = 01:00:00:00:00:00",
         "F:1: \"lepus.net.port.0.mac\" cannot be \"01:00:00:00:00:00\": it must be a station's "
         "address such as 02:00:00:00:00:01, with an even first octet"},
        {"lepus.net.port.0.exception = longer-than-15-c",
         "F:1: \"lepus.net.port.0.exception\" cannot be \"longer-than-15-c\": it must be the name "
         "of "
         "an interface such as lepus0: 1 to 15 characters, without spaces, / : or %"},
        {"lepus.net.port.0.exception = eth%d",
         "F:1: \"lepus.net.port.0.exception\" cannot be \"eth%d\": it must be the name of "
         "an interface such as lepus0: 1 to 15 characters, without spaces, / : or %"},
        {"lepus.net.port.0.gateway = router",
         "F:1: \"lepus.net.port.0.gateway\" cannot be \"router\": it must be an address such as "
         "10.0.0.1 or 2001:db8::1"},
    };
    struct lp_config *config = NULL;
    char why[WHY_BYTES];

    (void)unused;
    for (size_t i = 0; i < LP_COUNT_OF(bad); i++) {
        assert_int_equal(read_text(bad[i].text, &config, why), LP_ERR_BAD_CONFIG);
        assert_string_equal(why, bad[i].why);
    }
}

static void
what_lepus_does_anyway_is_no_error(void **unused)
{
    struct lp_config *config;
    struct pairs pairs = {""};

    (void)unused;
    config = good_text("log.file = false\nlisteners.ssl = none\n"
                       "password_hashing_module = rabbit_password_hashing_sha256\n"
                       "raft.wal_max_size_bytes = 1\nhipe_compile = true\n");
    lp_config_ignored_each(config, collect, &pairs);
    assert_string_equal(pairs.text, "raft.wal_max_size_bytes=There is no Raft log.;"
                                    "hipe_compile=Tunes the Erlang compiler.;");
    lp_config_close(&config);
}

static void
rabbitmqs_knobs_for_storage_are_taken_without_effect(void **unused)
{
    struct lp_config *config;
    struct pairs pairs = {""};

    (void)unused;
    config = good_text("classic_queue.default_version = 2\nqueue_index_embed_msgs_below = 4KiB\n"
                       "vm_memory_high_watermark_paging_ratio = 0.75\n"
                       "message_store_shutdown_timeout = 600000\n");
    lp_config_ignored_each(config, collect, &pairs);
    assert_string_equal(
        pairs.text,
        "classic_queue.default_version=Classic queues have one form; RabbitMQ's version 1 is gone "
        "since 4.0.;queue_index_embed_msgs_below=Messages of all sizes are in one log, each once.;"
        "vm_memory_high_watermark_paging_ratio=Not used by RabbitMQ since 4.0; "
        "lepus.log.backlog_bytes says what stays in memory.;message_store_shutdown_timeout=Nothing "
        "has to be written when the broker stops.;");
    lp_config_close(&config);
}

static void
limits_are_numbers_or_infinity(void **unused)
{
    (void)unused;
    struct lp_config *config = good_text("connection_max = 5\nvhost_max = infinity\n");
    char why[WHY_BYTES];
    assert_int_equal(lp_config_integer(config, "connection_max"), 5);
    assert_true(lp_config_integer(config, "vhost_max") == INT64_MAX);
    assert_true(lp_config_integer(config, "cluster_queue_limit") == INT64_MAX);
    lp_config_close(&config);
    assert_int_equal(read_text("vhost_max = many\n", &config, why), LP_ERR_BAD_CONFIG);
    assert_non_null(strstr(why, "it must be a whole number, or infinity"));
    assert_int_equal(read_text("default_users.a.read = (\n", &config, why), LP_ERR_BAD_CONFIG);
    assert_non_null(strstr(why, "it must be a regular expression"));
}

static void
a_family_is_read_name_by_name(void **unused)
{
    (void)unused;
    struct lp_config *config = good_text("default_users.b.password = pw\n"
                                         "default_users.a.read = ^x\n"
                                         "default_users.b.tags = one,two\n"
                                         "default_policies.operator.p.expires = 10s\n");
    struct pairs pairs = {""};
    int64_t number = 0;
    lp_config_names(config, "default_users.$name.", collect, &pairs);
    assert_string_equal(pairs.text, "b=(null);a=(null);");
    assert_string_equal(lp_config_text_named(config, "default_users.$name.tags", "b"), "one,two");
    assert_string_equal(lp_config_text_named(config, "default_users.$name.read", "a"), "^x");
    assert_string_equal(lp_config_text_named(config, "default_users.$name.read", "b"), ".*");
    assert_true(
        lp_config_integer_named(config, "default_policies.operator.$id.expires", "p", &number));
    assert_int_equal(number, 10000);
    assert_false(
        lp_config_integer_named(config, "default_policies.operator.$id.max_length", "p", &number));
    lp_config_close(&config);
}

static void
packet_devices_are_described_port_by_port(void **unused)
{
    struct lp_config *config = good_text("lepus.net.port.0.device = tap:lepus0\n"
                                         "lepus.net.port.0.address.0 = 10.0.0.2/24\n"
                                         "lepus.net.port.0.address.1 = 2001:db8::2/64\n"
                                         "lepus.net.port.0.gateway = 10.0.0.1\n"
                                         "lepus.net.port.1.device = net_af_packet0,iface=eth1\n"
                                         "lepus.net.port.1.mac = 02:00:00:00:00:0a\n"
                                         "lepus.net.route.0 = 10.1.0.0/16 via 10.0.0.1\n");
    char to[LP_CONFIG_PREFIX_BYTES];
    char gateway[LP_CONFIG_IP_BYTES];
    struct pairs pairs = {""};

    (void)unused;
    lp_config_names(config, "lepus.net.port.$number.", collect, &pairs);
    assert_string_equal(pairs.text, "0=(null);1=(null);");
    assert_each(config, "lepus.net.port.$number.address.$index", "0=10.0.0.2/24;0=2001:db8::2/64;");
    assert_string_equal(lp_config_text_named(config, "lepus.net.port.$number.device", "1"),
                        "net_af_packet0,iface=eth1");
    assert_true(lp_config_route("2001:db8:1::/48 via 2001:db8::1", to, gateway));
    assert_string_equal(to, "2001:db8:1::/48");
    assert_string_equal(gateway, "2001:db8::1");
    assert_false(lp_config_route("2001:db8:1::/48 via 10.0.0.1", to, gateway));
    assert_false(lp_config_route("10.0.0.0/8 10.0.0.1", to, gateway));
    lp_config_close(&config);
}

static void
addresses(void **unused)
{
    static const struct {
        const char *text;
        const char *ip; /* NULL: refused */
        uint16_t port;
    } cases[] = {
        {"5672", "", 5672},
        {"0", "", 0},
        {"127.0.0.1:5672", "127.0.0.1", 5672},
        {"[::1]:5672", "::1", 5672},
        {"::1:5672", "::1", 5672},
        {"[::]:0", "::", 0},
        {"65536", NULL, 0},
        {"", NULL, 0},
        {":5672", NULL, 0},
        {"127.0.0.1:", NULL, 0},
        {"127.0.0.1", NULL, 0},
        {"localhost:5672", NULL, 0},
        {"[127.0.0.1:5672", NULL, 0},
        {"1.2.3.4.5:1", NULL, 0},
        {"5672x", NULL, 0},
    };

    (void)unused;
    for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
        char ip[LP_CONFIG_IP_BYTES];
        uint16_t port = 1;
        assert_int_equal(lp_config_address(cases[i].text, ip, &port), cases[i].ip != NULL);
        if (cases[i].ip != NULL) {
            assert_string_equal(ip, cases[i].ip);
            assert_int_equal(port, cases[i].port);
        }
    }
}

static void
sizes_count_as_rabbitmq_counts(void **unused)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } cases[] = {
        {"lepus.memory=64MB", 64000000},         {"lepus.memory=64MiB", 67108864},
        {"lepus.memory=64m", 67108864},          {"lepus.memory=64 mib", 67108864},
        {"lepus.memory=1GB", 1000000000},        {"lepus.memory=1G", 1073741824},
        {"lepus.memory=33554432", 33554432},     {"lepus.memory=20000kB", 20000000},
        {"lepus.memory=20000k", 20000 * 1024LL}, {"lepus.memory=auto", 0},
    };

    (void)unused;
    for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
        struct lp_config *config = good_text("");
        char why[WHY_BYTES];
        assert_int_equal(lp_config_set(config, cases[i].text, why, sizeof(why)), LP_OK);
        assert_int_equal(lp_config_integer(config, "lepus.memory"), cases[i].bytes);
        lp_config_close(&config);
    }
}

static void
the_command_line_wins_over_the_file(void **unused)
{
    struct lp_config *config = good_text("heartbeat = 30\n");
    char why[WHY_BYTES];

    (void)unused;
    assert_int_equal(lp_config_set(config, "heartbeat=7", why, sizeof(why)), LP_OK);
    assert_int_equal(lp_config_integer(config, "heartbeat"), 7);
    assert_int_equal(lp_config_set(config, "default_pass=a#b'c", why, sizeof(why)), LP_OK);
    assert_string_equal(lp_config_text(config, "default_pass"), "a#b'c");
    assert_int_equal(lp_config_set(config, "heartbeat", why, sizeof(why)), LP_ERR_BAD_CONFIG);
    assert_string_equal(why, "--set: \"heartbeat\" is not an assignment; write --set KEY=VALUE");
    assert_int_equal(lp_config_set(config, "heartbeat=x", why, sizeof(why)), LP_ERR_BAD_CONFIG);
    /* A refused assignment changes nothing. */
    assert_int_equal(lp_config_integer(config, "heartbeat"), 7);
    lp_config_close(&config);
}

static void
a_missing_file_is_said_to_be_missing(void **unused)
{
    struct lp_config *config = NULL;
    char why[WHY_BYTES];

    (void)unused;
    assert_int_equal(lp_config_open("/nonexistent/lepus.conf", &config, why, sizeof(why)),
                     LP_ERR_NOT_FOUND);
    assert_string_equal(why,
                        "/nonexistent/lepus.conf: cannot be opened: No such file or directory");
}

static void
distance_counts_edits(void **unused)
{
    (void)unused;
    assert_int_equal(lp_config_distance("", ""), 0);
    assert_int_equal(lp_config_distance("abc", "abc"), 0);
    assert_int_equal(lp_config_distance("abc", ""), 3);
    assert_int_equal(lp_config_distance("abc", "acb"), 1);
    assert_int_equal(lp_config_distance("kitten", "sitting"), 3);
}

static void
data_directory_follows_option_then_environment(void **unused)
{
    char path[64];

    (void)unused;
    assert_int_equal(setenv("LEPUS_DATA", "/env", 1), 0);
    assert_int_equal(lp_config_data_dir("/opt", path, sizeof(path)), LP_OK);
    assert_string_equal(path, "/opt");
    assert_int_equal(lp_config_data_dir(NULL, path, sizeof(path)), LP_OK);
    assert_string_equal(path, "/env");
    assert_int_equal(lp_config_data_dir(NULL, path, 3), LP_ERR_NO_SPACE);
    assert_int_equal(unsetenv("LEPUS_DATA"), 0);
    assert_int_equal(setenv("XDG_STATE_HOME", "/state", 1), 0);
    assert_int_equal(lp_config_data_dir(NULL, path, sizeof(path)), LP_OK);
    assert_string_equal(path, geteuid() == 0 ? "/var/lib/lepus" : "/state/lepus");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_rabbitmqs),
        cmocka_unit_test(every_key_has_a_default_that_its_own_type_accepts),
        cmocka_unit_test(lines_are_read_as_rabbitmq_reads_them),
        cmocka_unit_test(none_turns_a_pattern_off),
        cmocka_unit_test(mistakes_are_named_with_file_line_and_remedy),
        cmocka_unit_test(what_lepus_does_anyway_is_no_error),
        cmocka_unit_test(rabbitmqs_knobs_for_storage_are_taken_without_effect),
        cmocka_unit_test(limits_are_numbers_or_infinity),
        cmocka_unit_test(a_family_is_read_name_by_name),
        cmocka_unit_test(mistakes_of_packet_devices_are_named),
        cmocka_unit_test(packet_devices_are_described_port_by_port),
        cmocka_unit_test(addresses),
        cmocka_unit_test(sizes_count_as_rabbitmq_counts),
        cmocka_unit_test(the_command_line_wins_over_the_file),
        cmocka_unit_test(a_missing_file_is_said_to_be_missing),
        cmocka_unit_test(distance_counts_edits),
        cmocka_unit_test(data_directory_follows_option_then_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
