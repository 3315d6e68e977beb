/* SPDX-License-Identifier: Apache-2.0 */
#include "config_keys.h"

#include <lepus/control_region.h>

#define MIB ((int64_t)1024 * 1024)
#define GIB (1024 * MIB)

#define KEY(pattern, type, preset, least, most, help)                            \
    {                                                                            \
        pattern, type, CONFIG_IMPLEMENTED, preset, least, most, NULL, NULL, help \
    }
#define TEXT(pattern, preset, help)   KEY(pattern, CONFIG_TEXT, preset, 0, 0, help)
#define SECRET(pattern, preset, help) KEY(pattern, CONFIG_SECRET, preset, 0, 0, help)
#define ENUM(pattern, preset, choices, help)                                        \
    {                                                                               \
        pattern, CONFIG_ENUM, CONFIG_IMPLEMENTED, preset, 0, 0, choices, NULL, help \
    }
#define EACH(pattern, type, name, preset, help)                           \
    {                                                                     \
        pattern, type, CONFIG_IMPLEMENTED, preset, 0, 0, NULL, name, help \
    }
/* NOT_YET's second argument: the values that already describe what Lepus does. */
#define NOT_YET(pattern, harmless, help)                                     \
    {                                                                        \
        pattern, CONFIG_TEXT, CONFIG_REFUSED, "", 0, 0, harmless, NULL, help \
    }
/* A family: one entry for each name, none unless it is given. */
#define NAMED(pattern, type, preset, least, most, help)                          \
    {                                                                            \
        pattern, type, CONFIG_IMPLEMENTED, preset, least, most, NULL, NULL, help \
    }
#define IGNORED(pattern, help)                                           \
    {                                                                    \
        pattern, CONFIG_TEXT, CONFIG_IGNORED, "", 0, 0, NULL, NULL, help \
    }
/* A family whose values are words. */
#define WORDS(pattern, choices, help)                                           \
    {                                                                           \
        pattern, CONFIG_ENUM, CONFIG_IMPLEMENTED, "", 0, 0, choices, NULL, help \
    }
/* The same, and as RabbitMQ it takes no nonsense. */
#define TUNES(pattern, type, least, most, help)                          \
    {                                                                    \
        pattern, type, CONFIG_IGNORED, "", least, most, NULL, NULL, help \
    }

/*
 * Order: what an operator meets first comes first, families last, since a
 * family ("management.*") must not hide a key of its own below it.
 */
const struct config_key config_keys[] = {
    /* clang-format off */
    EACH("listeners.tcp.$name", CONFIG_ADDRESS, "default", "5672",
         "Where AMQP clients connect: a port (all interfaces, IPv4 and IPv6), or address:port; $name is any word. Port 0 picks a free one."),
    ENUM("listeners.tcp", "", "none", "\"none\" turns TCP listeners off, the default one too."),
    EACH("listeners.ssl.$name", CONFIG_ADDRESS, NULL, "",
         "Where AMQP clients connect over TLS, 5671 as a rule: a port, or address:port. It needs ssl_options.certfile and keyfile."),
    ENUM("listeners.ssl", "", "none", "\"none\" turns TLS listeners off."),
    EACH("lepus.listeners.unix.$name", CONFIG_PATH, NULL, "",
         "A Unix socket for AMQP clients on this machine: the path to make it at."),

    KEY("ssl_options.certfile", CONFIG_PATH, "", 0, 0, "The broker's certificate, and those between it and its authority's, in PEM. Read anew when it changes."),
    KEY("ssl_options.keyfile", CONFIG_PATH, "", 0, 0, "Its private key, in PEM; default: it is in certfile."),
    KEY("ssl_options.cacertfile", CONFIG_PATH, "", 0, 0, "Certificates of those whose clients are believed, in PEM."),
    SECRET("ssl_options.password", "", "What keyfile is encrypted with."),
    ENUM("ssl_options.verify", "verify_none", "verify_peer|verify_none", "verify_peer: clients are asked for a certificate, and one that is not believed ends the handshake."),
    ENUM("ssl_options.fail_if_no_peer_cert", "", "true|false", "With verify_peer: clients that have no certificate are refused; default: true then."),
    KEY("ssl_options.depth", CONFIG_INTEGER, "10", 0, 255, "Certificates between a client's and the one in cacertfile."),
    WORDS("ssl_options.versions.$version", "tlsv1.3|tlsv1.2", "A version to offer, one a key; default: both."),
    NAMED("ssl_options.ciphers.$cipher", CONFIG_TEXT, "", 0, 0, "A cipher suite to offer, by OpenSSL's or IANA's name, one a key; a version without any is not offered."),
    KEY("ssl_options.honor_cipher_order", CONFIG_BOOL, "false", 0, 0, "The broker's order of cipher suites and curves counts, and not the client's."),
    ENUM("ssl_options.honor_ecc_order", "", "true|false", "The same for curves; it cannot differ from honor_cipher_order."),
    KEY("ssl_options.reuse_sessions", CONFIG_BOOL, "true", 0, 0, "Clients that come back get by with a short handshake."),
    KEY("ssl_options.dhfile", CONFIG_PATH, "", 0, 0, "Parameters for finite-field Diffie-Hellman, in PEM; default: by the size of the key."),
    KEY("ssl_handshake_timeout", CONFIG_TIME_MS, "5000", 1, 3600000, "Milliseconds for a TLS handshake."),
    WORDS("auth_mechanisms.$name", "PLAIN|AMQPLAIN|ANONYMOUS|EXTERNAL", "A way to log in, one a key; default: PLAIN, AMQPLAIN and ANONYMOUS. EXTERNAL is by certificate, over TLS."),
    TEXT("anonymous_login_user", "guest", "Whom a client is that logs in with ANONYMOUS, and so without a password; none: there is no ANONYMOUS. loopback_users count for it, too."),
    SECRET("anonymous_login_pass", "guest", "That user's password, which is looked at."),
    ENUM("ssl_cert_login_from", "distinguished_name", "distinguished_name|common_name|subject_alternative_name|subject_alt_name", "What of a client's certificate is its user's name, for EXTERNAL."),
    ENUM("ssl_cert_login_san_type", "dns", "dns|ip|email|uri|other_name", "Which kind of alternative name."),
    KEY("ssl_cert_login_san_index", CONFIG_INTEGER, "0", 0, 65535, "Which one of that kind, from 0 on."),
    KEY("lepus.tls.threads", CONFIG_INTEGER, "1", 0, 16, "Threads in which TLS handshakes run. 0: in the shards, a few steps at a time."),

    TEXT("default_user", "guest", "The user made when the data directory is new."),
    SECRET("default_pass", "guest", "Its password."),
    TEXT("default_vhost", "/", "The virtual host made when the data directory is new."),
    TEXT("default_permissions.configure", ".*", "What default_user may declare and delete there: a regular expression."),
    TEXT("default_permissions.write", ".*", "What default_user may publish to and bind: a regular expression."),
    TEXT("default_permissions.read", ".*", "What default_user may consume from: a regular expression."),
    EACH("default_user_tags.$tag", CONFIG_BOOL, "administrator", "true", "Tags of default_user: administrator, monitoring, policymaker, management."),
    ENUM("loopback_users", "", "none", "\"none\" lets every user log in from anywhere."),
    EACH("loopback_users.$user", CONFIG_BOOL, "guest", "true", "true: this user may log in from this machine only."),

    KEY("heartbeat", CONFIG_TIME_S, "60", 0, 65535, "Seconds between heartbeats that Lepus proposes; a client's own choice wins. 0: none."),
    KEY("frame_max", CONFIG_BYTES, "131072", 4096, 16 * MIB, "The largest AMQP frame, in bytes."),
    KEY("channel_max", CONFIG_INTEGER, "2047", 1, 65535, "Channels on one connection."),
    KEY("max_message_size", CONFIG_BYTES, "16777216", 0, 512 * MIB, "The largest message body, in bytes."),
    KEY("handshake_timeout", CONFIG_TIME_MS, "10000", 100, 3600000, "Milliseconds from accepting a connection to its connection.open."),
    KEY("connection_max", CONFIG_LIMIT, "infinity", 0, INT32_MAX, "Open connections of the node, or \"infinity\"."),
    KEY("channel_max_per_node", CONFIG_LIMIT, "infinity", 0, INT32_MAX, "Open channels of the node, or \"infinity\"."),
    KEY("consumer_max_per_channel", CONFIG_LIMIT, "infinity", 1, INT32_MAX, "Consumers of a channel, or \"infinity\"."),
    KEY("vhost_max", CONFIG_LIMIT, "infinity", 0, INT32_MAX, "Virtual hosts, or \"infinity\"; those that are there stay."),
    KEY("cluster_queue_limit", CONFIG_LIMIT, "infinity", 0, INT32_MAX, "Queues of all virtual hosts, or \"infinity\"; those that are there stay."),
    KEY("cluster_exchange_limit", CONFIG_LIMIT, "infinity", 0, INT32_MAX, "Exchanges of all virtual hosts, or \"infinity\"; those that are there stay."),
    ENUM("default_queue_type", "classic", "classic|quorum|rabbit_classic_queue|rabbit_quorum_queue", "The type of queues whose clients name none, where their properties allow it."),
    KEY("consumer_timeout", CONFIG_TIME_MS, "1800000", 1, INT64_C(1) << 53, "Milliseconds after which a delivery that was not acknowledged closes its channel."),
    ENUM("password_hashing_module", "rabbit_password_hashing_sha256", "rabbit_password_hashing_sha256|rabbit_password_hashing_sha512|rabbit_password_hashing_md5", "How new passwords are hashed; the others keep what they have."),
    ENUM("credential_validator.validation_backend", "rabbit_credential_validator_accept_everything", "rabbit_credential_validator_accept_everything|rabbit_credential_validator_min_password_length|rabbit_credential_validator_password_regexp", "What new passwords have to keep to."),
    KEY("credential_validator.min_length", CONFIG_INTEGER, "5", 0, 255, "Bytes of a password, for rabbit_credential_validator_min_password_length."),
    KEY("credential_validator.regexp", CONFIG_PATTERN, "", 0, 0, "What a password has to match, for rabbit_credential_validator_password_regexp."),
    NAMED("default_users.$name.vhost_pattern", CONFIG_PATTERN, ".*", 0, 0, "In new virtual hosts whose names match, this user has rights; it is made when it does not exist."),
    NAMED("default_users.$name.password", CONFIG_SECRET, "", 0, 0, "Its password; without one it cannot log in with a password."),
    NAMED("default_users.$name.configure", CONFIG_PATTERN, ".*", 0, 0, "What it may declare and delete there."),
    NAMED("default_users.$name.write", CONFIG_PATTERN, ".*", 0, 0, "What it may publish to and bind there."),
    NAMED("default_users.$name.read", CONFIG_PATTERN, ".*", 0, 0, "What it may consume from there."),
    NAMED("default_users.$name.tags", CONFIG_TEXT, "", 0, 0, "Its tags, separated by commas."),
    NAMED("default_policies.operator.$id.vhost_pattern", CONFIG_PATTERN, ".*", 0, 0, "New virtual hosts whose names match get this operator policy."),
    NAMED("default_policies.operator.$id.queue_pattern", CONFIG_PATTERN, ".*", 0, 0, "The queues that it is for."),
    NAMED("default_policies.operator.$id.expires", CONFIG_TIME_MS, "", 1, INT64_C(1) << 53, "Its expires."),
    NAMED("default_policies.operator.$id.message_ttl", CONFIG_TIME_MS, "", 0, INT64_C(1) << 53, "Its message-ttl."),
    NAMED("default_policies.operator.$id.max_length", CONFIG_INTEGER, "", 1, INT64_C(1) << 53, "Its max-length."),
    NAMED("default_policies.operator.$id.max_length_bytes", CONFIG_BYTES, "", 1, INT64_C(1) << 53, "Its max-length-bytes."),
    NAMED("default_policies.operator.$id.max_in_memory_bytes", CONFIG_BYTES, "", 1, INT64_C(1) << 53, "Its max-in-memory-bytes, which has no effect."),
    NAMED("default_policies.operator.$id.max_in_memory_length", CONFIG_INTEGER, "", 1, INT64_C(1) << 53, "Its max-in-memory-length, which has no effect."),
    NAMED("default_policies.operator.$id.delivery_limit", CONFIG_INTEGER, "", 1, INT64_C(1) << 53, "Its delivery-limit."),
    NAMED("default_policies.operator.$id.classic_queues.queue_version", CONFIG_INTEGER, "", 1, 2, "Its queue-version, which has no effect."),
    NAMED("default_limits.vhosts.$id.pattern", CONFIG_PATTERN, ".*", 0, 0, "New virtual hosts whose names match get these limits; the first that matches counts."),
    NAMED("default_limits.vhosts.$id.max_connections", CONFIG_INTEGER, "", 1, INT32_MAX, "Connections of such a virtual host."),
    NAMED("default_limits.vhosts.$id.max_queues", CONFIG_INTEGER, "", 1, INT32_MAX, "Queues of such a virtual host."),
    TEXT("cluster_name", "", "The name that clients see in the server properties; default: lepus@ and this machine's name."),

    KEY("vm_memory_high_watermark.relative", CONFIG_SHARE, "auto", 1, 1000000, "Publishers wait when messages take this share of the machine's memory; default: four fifths of lepus.memory."),
    KEY("vm_memory_high_watermark.absolute", CONFIG_BYTES, "auto", 8 * MIB, 65536 * GIB, "The same as a size; it wins over the share."),
    KEY("total_memory_available_override_value", CONFIG_BYTES, "auto", 64 * MIB, 65536 * GIB, "The machine's memory, when what the kernel and the cgroup say is not what Lepus may reckon with."),

    KEY("disk_free_limit.absolute", CONFIG_BYTES, "50MB", 0, 65536 * GIB, "Publishers wait while the disk of the data directory has less room than this."),
    KEY("disk_free_limit.relative", CONFIG_SHARE, "auto", 1, 100 * 1000000, "The same as a share of the machine's memory, such as 1.5; the size wins over it."),

    KEY("log.console", CONFIG_BOOL, "true", 0, 0, "Write the log to standard output and error."),
    ENUM("log.console.level", "info", "debug|info|notice|warning|error|critical|none", "The least severe lines to log."),

    KEY("lepus.shards", CONFIG_INTEGER, "auto", 1, LP_SHARDS_MAX, "Threads that serve clients, each with its own connections and queues; default: as many as the data directory has, in a new one the processors that this process may use."),
    ENUM("lepus.transport", "auto", "auto|io_uring|epoll", "How sockets are driven; auto takes io_uring where the kernel has it."),
    ENUM("lepus.poll", "adaptive", "adaptive|busy|sleep", "What an idle shard does: spin a little then sleep, spin for ever, or sleep at once."),
    ENUM("lepus.pin", "auto", "auto|yes|no", "Whether each shard keeps to a processor of its own; auto decides by the machine."),
    KEY("lepus.memory", CONFIG_BYTES, "auto", 16 * MIB, 65536 * GIB, "Memory of the data plane, all shards together, never exceeded; default: 40 % of the machine's."),
    KEY("lepus.control_timeout", CONFIG_TIME_MS, "30000", 100, 3600000, "Milliseconds that a login or a declare waits for the control process to come back."),
    KEY("lepus.log.segment_bytes", CONFIG_BYTES, "67108864", MIB, GIB, "Size that files of a shard's log grow to, in bytes; a multiple of 4096."),
    KEY("lepus.log.first_segment_bytes", CONFIG_BYTES, "4194304", MIB, GIB, "Size of the first of them; each next one is twice as large, up to lepus.log.segment_bytes."),
    KEY("lepus.log.backlog_bytes", CONFIG_BYTES, "auto", MIB, 65536 * GIB, "Memory that messages which wait in long queues may take, all shards together, before they are on disk only; default: 64 MiB a shard, or a quarter of the watermark if that is less."),
    KEY("lepus.log.max_delay", CONFIG_INTEGER, "0", 0, 1000000, "Microseconds that a shard may wait for more to write before it writes. 0: never."),
    KEY("lepus.login.failures", CONFIG_INTEGER, "100", 0, 1000000, "Failed logins from one address (IPv6: one /64) in lepus.login.window after which its logins are refused for lepus.login.penalty. 0: never."),
    KEY("lepus.login.window", CONFIG_TIME_S, "60", 1, 86400, "Seconds in which failed logins of an address are counted together."),
    KEY("lepus.login.penalty", CONFIG_TIME_S, "60", 1, 86400, "Seconds for which its logins are then refused, right or wrong, as a wrong password is."),
    KEY("lepus.login.loopback", CONFIG_BOOL, "false", 0, 0, "Whether logins from this machine count as well. Say true only when no proxy here connects for others."),

    NAMED("lepus.net.port.$number.device", CONFIG_TEXT, "", 0, 0, "A packet device for TCP/IP of our own: tap:NAME for a tap of the kernel, or with DPDK a PCI address such as 0000:3b:00.0 or a virtual device such as net_af_packet0,iface=eth1."),
    NAMED("lepus.net.port.$number.address.$index", CONFIG_PREFIX, "", 0, 0, "An address of ours there, such as 10.0.0.2/24 or 2001:db8::2/64; $index is any word."),
    NAMED("lepus.net.port.$number.gateway", CONFIG_IP, "", 0, 0, "The router there for everything else, IPv4."),
    NAMED("lepus.net.port.$number.gateway6", CONFIG_IP, "", 0, 0, "The same, IPv6."),
    NAMED("lepus.net.port.$number.queues", CONFIG_INTEGER, "", 1, LP_SHARDS_MAX, "Queue pairs of the device; each shard has one, so it must be lepus.shards, which is the default."),
    NAMED("lepus.net.port.$number.vlan", CONFIG_INTEGER, "", 1, 4094, "The 802.1Q tag of all its frames; default: none."),
    NAMED("lepus.net.port.$number.mtu", CONFIG_INTEGER, "", 576, 65535, "The longest IP packet there; default: the device's."),
    NAMED("lepus.net.port.$number.mac", CONFIG_MAC, "", 0, 0, "Our station's address there; default: the device's, and of a tap one next to the kernel's."),
    NAMED("lepus.net.port.$number.exception", CONFIG_INTERFACE, "", 0, 0, "An interface of the kernel's, made for what is not ours there (ssh, other addresses and protocols); its addresses are the operator's to give. Default: there is none, and such frames are dropped or refused."),
    NAMED("lepus.net.route.$number", CONFIG_ROUTE, "", 0, 0, "A network behind a router: 10.1.0.0/16 via 10.0.0.1."),
    ENUM("lepus.net.listeners", "both", "both|net|kernel", "Where TCP listeners without an address are: on our ports and the kernel's interfaces, or only on one of them. One with an address of a port's is there only."),
    KEY("lepus.net.memory", CONFIG_BYTES, "auto", 8 * MIB, 65536 * GIB, "Memory for connections over lepus.net ports, all shards together; default: an eighth of lepus.memory, or 64 MiB a shard if that is more."),
    KEY("lepus.net.dpdk.memory", CONFIG_BYTES, "128MiB", 16 * MIB, 32768 * MIB, "Memory of DPDK's own, for frames: huge pages where there are enough."),
    KEY("lepus.net.dpdk.arguments", CONFIG_TEXT, "", 0, 0, "Words for DPDK's environment that no key here stands for."),
    KEY("lepus.net.addresses_wait", CONFIG_BOOL, "false", 0, 0, "Whether addresses of ours are used only when nobody on the link has objected to them, seconds after the start. Otherwise they are used at once, and given up when somebody objects."),
    ENUM("lepus.net.congestion", "cubic", "cubic|newreno", "How senders react to loss."),
    ENUM("lepus.net.ecn", "passive", "passive|active|off", "Whether routers may mark packets instead of dropping them (ECN): when a client asks for it, also when we open a connection, or never."),

    NOT_YET("ssl_options", "none", "There is none but \"none\"; the keys below it are meant."),
    NOT_YET("ssl_options.client_renegotiation", "false", "Renegotiation is always refused."),
    NOT_YET("ssl_options.secure_renegotiate", "true", "Renegotiation is always refused."),
    NOT_YET("ssl_options.crl_check", "false", "Lists of revoked certificates are not read."),
    NOT_YET("ssl_options.psk_identity", NULL, "Shared keys instead of certificates."),
    NOT_YET("ssl_options.cert", NULL, "Use ssl_options.certfile."),
    NOT_YET("ssl_options.key.*", NULL, "Use ssl_options.keyfile."),
    NOT_YET("ssl_options.cacerts.$name", NULL, "Use ssl_options.cacertfile."),
    NOT_YET("ssl_options.dh", NULL, "Use ssl_options.dhfile."),
    NOT_YET("auth_backends.$num", "internal|rabbit_auth_backend_internal", "Users live in the broker's own store."),
    NOT_YET("auth_backends.$num.authn", "internal|rabbit_auth_backend_internal", "Users live in the broker's own store."),
    NOT_YET("auth_backends.$num.authz", "internal|rabbit_auth_backend_internal", "Users live in the broker's own store."),
    NOT_YET("default_policies.*", NULL, "Classic queues are not mirrored since RabbitMQ 4.0."),
    SECRET("lepus.config_entry_decoder.passphrase", "", "What values that begin with encrypted: are encrypted with, for default_pass, default_users, ssl_options.password, anonymous_login_pass. `lepusctl encrypt_conf_value` makes them."),
    KEY("lepus.config_entry_decoder.passphrase_file", CONFIG_PATH, "", 0, 0, "The same, as a file's first line."),
    TEXT("lepus.config_entry_decoder.cipher", "aes_128_cbc", "As with encrypt_conf_value's --cipher; `lepusctl list_ciphers` lists them."),
    TEXT("lepus.config_entry_decoder.hash", "sha256", "As with its --hash; `lepusctl list_hashes` lists them."),
    KEY("lepus.config_entry_decoder.iterations", CONFIG_INTEGER, "1", 1, 1000000000, "As with its --iterations."),
    NOT_YET("load_definitions", NULL, "Say 'lepusctl import_definitions' when the broker runs."),
    NOT_YET("definitions.*", NULL, "Say 'lepusctl import_definitions' when the broker runs."),
    NOT_YET("max_connections", "infinity", "A limit on connections."),
    NOT_YET("max_channels_per_connection", NULL, "Use channel_max."),
    NOT_YET("ranch_connection_max", "infinity", "Use connection_max."),
    NOT_YET("session_max_per_connection", NULL, "AMQP 1.0."),
    NOT_YET("link_max_per_session", NULL, "AMQP 1.0."),
    NOT_YET("runtime_parameters.limits.$category", NULL, "Limits on parameters."),
    NOT_YET("cluster_tags.$tag", NULL, "Tags of clusters."),
    NOT_YET("node_tags.$tag", NULL, "Tags of nodes."),
    NOT_YET("initial_frame_max", "4096", "The largest frame before tune-ok."),
    TUNES("classic_queue.default_version", CONFIG_INTEGER, 2, INT32_MAX, "Classic queues have one form; RabbitMQ's version 1 is gone since 4.0."),
    NOT_YET("quorum_queue.*", NULL, "Quorum queues."),
    NOT_YET("stream.*", NULL, "Streams."),
    NOT_YET("cluster_formation.*", NULL, "Clusters."),
    NOT_YET("proxy_protocol", "false", "The proxy protocol."),
    NOT_YET("reverse_dns_lookups", "false", "Peers are logged by address."),
    NOT_YET("collect_statistics", "none|coarse", "Statistics by channel."),
    NOT_YET("message_interceptors.*", NULL, "Message interceptors."),
    NOT_YET("deprecated_features.*", NULL, "Switches for deprecated features."),
    NOT_YET("motd_file", NULL, "A message of the day."),
    NOT_YET("product.name", NULL, "Another product name."),
    NOT_YET("product.version", NULL, "Another product version."),
    NOT_YET("log.dir", NULL, "Log files; the log goes to the console."),
    NOT_YET("log.file", "false", "Log files; the log goes to the console."),
    NOT_YET("log.file.*", NULL, "Log files; the log goes to the console."),
    NOT_YET("log.exchange", "false", "The log as messages."),
    NOT_YET("log.exchange.*", NULL, "The log as messages."),
    NOT_YET("log.journald", "false", "The journal's own protocol; the console is journalled as it is."),
    NOT_YET("log.journald.*", NULL, "The journal's own protocol."),
    NOT_YET("log.syslog", "false", "Syslog."),
    NOT_YET("log.syslog.*", NULL, "Syslog."),

    IGNORED("log.console.*", "The console's format is fixed."),
    IGNORED("log.$category.*", "Log categories share the console's level."),
    IGNORED("num_acceptors.tcp", "Each shard accepts for itself."),
    IGNORED("num_acceptors.ssl", "Each shard accepts for itself."),
    IGNORED("ssl_options.log_level", "Failed handshakes are logged, some lines a second."),
    IGNORED("ssl_options.log_alert", "Failed handshakes are logged, some lines a second."),
    IGNORED("ssl_options.bypass_pem_cache", "There is no PEM cache: files are read anew when they change."),
    IGNORED("tcp_listen_options", "Socket options are chosen by the transport."),
    IGNORED("tcp_listen_options.*", "Socket options are chosen by the transport."),
    IGNORED("socket_writer.*", "Tunes the Erlang garbage collector."),
    TUNES("vm_memory_high_watermark_paging_ratio", CONFIG_SHARE, 0, 1000000, "Not used by RabbitMQ since 4.0; lepus.log.backlog_bytes says what stays in memory."),
    IGNORED("vm_memory_calculation_strategy", "Memory is counted exactly."),
    IGNORED("memory_monitor_interval", "Memory is counted at each message."),
    IGNORED("collect_statistics_interval", "Counters are read when somebody asks."),
    IGNORED("default_worker_pool_size", "Tunes Erlang worker pools."),
    IGNORED("delegate_count", "Tunes Erlang delegates."),
    IGNORED("channel_operation_timeout", "Tunes Erlang calls."),
    IGNORED("hipe_compile", "Tunes the Erlang compiler."),
    IGNORED("background_gc_enabled", "Tunes the Erlang garbage collector."),
    IGNORED("background_gc_target_interval", "Tunes the Erlang garbage collector."),
    IGNORED("mnesia_table_loading_retry_timeout", "There is no Mnesia."),
    IGNORED("mnesia_table_loading_retry_limit", "There is no Mnesia."),
    TUNES("message_store_shutdown_timeout", CONFIG_INTEGER, 1, INT64_MAX, "Nothing has to be written when the broker stops."),
    TUNES("queue_index_embed_msgs_below", CONFIG_BYTES, 0, 0, "Messages of all sizes are in one log, each once."),
    IGNORED("metadata_store.khepri.*", "There is no Khepri."),
    IGNORED("vhost_restart_strategy", "Virtual hosts are not processes."),
    IGNORED("net_ticktime", "Tunes the Erlang distribution."),
    IGNORED("cluster_partition_handling", "One node has no partitions."),
    IGNORED("cluster_partition_handling.*", "One node has no partitions."),
    IGNORED("cluster_keepalive_interval", "One node has no peers."),
    IGNORED("queue_master_locator", "One node has all queues."),
    IGNORED("queue_leader_locator", "One node has all queues."),
    IGNORED("mirroring_sync_batch_size", "There is no queue mirroring."),
    IGNORED("mirroring_sync_max_throughput", "There is no queue mirroring."),
    IGNORED("erlang.*", "Tunes the Erlang machine."),
    IGNORED("distribution.*", "Tunes the Erlang distribution."),
    IGNORED("sysmon_handler.*", "Tunes the Erlang machine."),
    IGNORED("raft.*", "There is no Raft log."),

    NOT_YET("ssl_options.*", NULL, "No such option of TLS."),
    NOT_YET("ssl_allow_poodle_attack", "false", "There is no SSL 3.0."),
    NOT_YET("management.*", NULL, "The HTTP API and the management pages."),
    NOT_YET("management_agent.*", NULL, "The HTTP API and the management pages."),
    NOT_YET("prometheus.*", NULL, "Metrics over HTTP."),
    NOT_YET("mqtt.*", NULL, "MQTT."),
    NOT_YET("web_mqtt.*", NULL, "MQTT over WebSocket."),
    NOT_YET("stomp.*", NULL, "STOMP."),
    NOT_YET("web_stomp.*", NULL, "STOMP over WebSocket."),
    NOT_YET("amqp1_0.*", NULL, "AMQP 1.0."),
    NOT_YET("auth_ldap.*", NULL, "LDAP."),
    NOT_YET("auth_http.*", NULL, "Authorisation over HTTP."),
    NOT_YET("auth_oauth2.*", NULL, "OAuth 2."),
    NOT_YET("auth_cache.*", NULL, "A cache before another back end."),
    NOT_YET("federation.*", NULL, "Federation."),
    NOT_YET("shovel.*", NULL, "Shovels."),
    NOT_YET("trust_store.*", NULL, "Trust stores."),
    NOT_YET("event_exchange.*", NULL, "The event exchange."),
    NOT_YET("aws.*", NULL, "AWS."),
    /* clang-format on */
};

const size_t config_key_count = LP_COUNT_OF(config_keys);
