/* SPDX-License-Identifier: Apache-2.0 */
/*
 * columns.h - the columns of listings, named once: command.c makes the texts
 * of usage and help of them, admin/ the tables of functions.
 *
 * Names and order are rabbitmqctl's.
 */
#pragma once

#define LP_COLUMNS_QUEUES(X)        \
    X(name)                         \
    X(durable)                      \
    X(auto_delete)                  \
    X(arguments)                    \
    X(policy)                       \
    X(operator_policy)              \
    X(effective_policy_definition)  \
    X(pid)                          \
    X(owner_pid)                    \
    X(exclusive)                    \
    X(exclusive_consumer_pid)       \
    X(exclusive_consumer_tag)       \
    X(messages_ready)               \
    X(messages_unacknowledged)      \
    X(messages)                     \
    X(messages_ready_ram)           \
    X(messages_unacknowledged_ram)  \
    X(messages_ram)                 \
    X(messages_persistent)          \
    X(message_bytes)                \
    X(message_bytes_ready)          \
    X(message_bytes_unacknowledged) \
    X(message_bytes_ram)            \
    X(message_bytes_persistent)     \
    X(head_message_timestamp)       \
    X(disk_reads)                   \
    X(disk_writes)                  \
    X(consumers)                    \
    X(consumer_utilisation)         \
    X(consumer_capacity)            \
    X(memory)                       \
    X(state)                        \
    X(type)                         \
    X(leader)                       \
    X(members)                      \
    X(online)                       \
    X(messages_paged_out)           \
    X(message_bytes_paged_out)

#define LP_COLUMNS_EXCHANGES(X) \
    X(name)                     \
    X(type)                     \
    X(durable)                  \
    X(auto_delete)              \
    X(internal)                 \
    X(arguments)                \
    X(policy)

#define LP_COLUMNS_BINDINGS(X) \
    X(source_name)             \
    X(source_kind)             \
    X(destination_name)        \
    X(destination_kind)        \
    X(routing_key)             \
    X(arguments)

#define LP_COLUMNS_CONNECTIONS(X) \
    X(pid)                        \
    X(name)                       \
    X(port)                       \
    X(host)                       \
    X(peer_port)                  \
    X(peer_host)                  \
    X(ssl)                        \
    X(ssl_protocol)               \
    X(ssl_key_exchange)           \
    X(ssl_cipher)                 \
    X(ssl_hash)                   \
    X(peer_cert_subject)          \
    X(peer_cert_issuer)           \
    X(peer_cert_validity)         \
    X(state)                      \
    X(channels)                   \
    X(protocol)                   \
    X(auth_mechanism)             \
    X(user)                       \
    X(vhost)                      \
    X(timeout)                    \
    X(frame_max)                  \
    X(channel_max)                \
    X(client_properties)          \
    X(recv_oct)                   \
    X(recv_cnt)                   \
    X(send_oct)                   \
    X(send_cnt)                   \
    X(send_pend)                  \
    X(connected_at)

#define LP_COLUMNS_CHANNELS(X) \
    X(pid)                     \
    X(connection)              \
    X(name)                    \
    X(number)                  \
    X(user)                    \
    X(vhost)                   \
    X(transactional)           \
    X(confirm)                 \
    X(consumer_count)          \
    X(messages_unacknowledged) \
    X(messages_uncommitted)    \
    X(acks_uncommitted)        \
    X(messages_unconfirmed)    \
    X(prefetch_count)

#define LP_COLUMNS_CONSUMERS(X) \
    X(queue_name)               \
    X(channel_pid)              \
    X(consumer_tag)             \
    X(ack_required)             \
    X(prefetch_count)           \
    X(active)                   \
    X(activity_status)          \
    X(arguments)

#define LP_COLUMNS_VHOSTS(X) \
    X(name)                  \
    X(description)           \
    X(tags)                  \
    X(default_queue_type)    \
    X(tracing)               \
    X(cluster_state)

#define LP_COLUMNS_UNRESPONSIVE(X) \
    X(name)                        \
    X(durable)                     \
    X(auto_delete)                 \
    X(arguments)                   \
    X(pid)

#define LP_COLUMNS_FEATURES(X) \
    X(name)                    \
    X(state)                   \
    X(stability)               \
    X(provided_by)             \
    X(desc)                    \
    X(doc_url)

#define LP_COLUMNS_DEPRECATED(X) \
    X(name)                      \
    X(deprecation_phase)         \
    X(provided_by)               \
    X(desc)                      \
    X(doc_url)
