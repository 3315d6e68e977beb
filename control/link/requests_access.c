/* SPDX-License-Identifier: Apache-2.0 */
/* requests_access.c - connections: who they are and what they may do. */
#include "control/link/requests.h"

#include <lepus/transport.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* ---- who tries too often ---- */

struct peer_text {
    char text[INET6_ADDRSTRLEN + 4];
};

static struct peer_text
peer_text(struct throttle_key peer)
{
    uint8_t ip[16] = {0};
    struct peer_text name = {"this machine"};
    memcpy(ip, &peer.prefix, sizeof(peer.prefix));
    if (peer.family == LP_ADDRESS_IPV4) {
        (void)inet_ntop(AF_INET, ip, name.text, sizeof(name.text)); /* fits */
    } else if (peer.family == LP_ADDRESS_IPV6) {
        char prefix[INET6_ADDRSTRLEN] = "";
        (void)inet_ntop(AF_INET6, ip, prefix, sizeof(prefix)); /* fits */
        (void)snprintf(name.text, sizeof(name.text), "%s/64", prefix);
    }
    return name;
}

static struct throttle_key
peer_read(struct lp_reader *fields)
{
    static const uint8_t nowhere[16];
    const uint8_t family = lp_reader_u8(fields);
    (void)lp_reader_u16le(fields); /* its port is another one each time */
    const uint8_t *ip = lp_reader_take(fields, sizeof(nowhere));
    return throttle_key_of(family, fields->failed ? nowhere : ip);
}

/* What is refused here is not logged a line each: its beginning and its end are. */
static bool
peer_admitted(struct lp_control *control, struct throttle_key peer)
{
    uint64_t refused;
    const enum throttle_verdict verdict =
        throttle_admit(&control->login, &control->tally_key, peer, control->now_ns, &refused);
    if (verdict == THROTTLE_ADMITTED_AGAIN) {
        control_log(control, LP_CONTROL_LOG_WARNING,
                    "logins from %s are looked at again; %llu were refused", peer_text(peer).text,
                    (unsigned long long)refused);
    }
    return verdict != THROTTLE_REFUSED;
}

static void
peer_failed(struct lp_control *control, struct throttle_key peer)
{
    const struct throttle_limits *limits = &control->options.settings.login;
    if (throttle_failed(&control->login, &control->tally_key, limits, peer, control->now_ns)) {
        control_log(control, LP_CONTROL_LOG_WARNING,
                    "%u logins from %s failed within %llu s: its logins are refused for %llu s",
                    limits->failures, peer_text(peer).text,
                    (unsigned long long)(limits->window_ns / 1000000000u),
                    (unsigned long long)(limits->penalty_ns / 1000000000u));
    }
}

/* Its shard found no name in the certificate, and says why in the place of a password. */
static bool
external_missing(const struct lp_auth_login *login)
{
    return lp_bytes_equal_text(login->mechanism, "EXTERNAL") && login->user.size == 0 &&
           login->password.size > 0;
}

/* Who has no name gets one, and its password: all else is as with any login. */
static bool
anonymous_named(const struct lp_control *control, struct lp_auth_login *login)
{
    const struct lp_control_settings *settings = &control->options.settings;
    if (!lp_bytes_equal_text(login->mechanism, "ANONYMOUS")) {
        return true;
    }
    if (settings->anonymous_user == NULL) {
        return false;
    }
    login->user = lp_bytes_of_text(settings->anonymous_user);
    login->password = lp_bytes_of_text(settings->anonymous_password);
    return true;
}

/* ---- requests ---- */

void
control_on_login(struct control_request *request)
{
    struct lp_control *control = request->control;
    struct lp_auth_login login = {
        .loopback_users = control->loopback_users,
        .loopback_user_count = control->loopback_user_count,
    };
    const char *why = "malformed";
    (void)lp_reader_u64le(&request->fields); /* the connection: not in the table before OPEN */
    login.mechanism = lp_reader_short(&request->fields);
    login.user = lp_reader_short(&request->fields);
    login.password = lp_reader_long_le(&request->fields);
    const struct throttle_key peer = peer_read(&request->fields);
    login.loopback = lp_reader_u8(&request->fields) != 0;
    const bool counts = !login.loopback || control->options.settings.login_loopback;
    bool good = !request->fields.failed || control_malformed(request);
    if (good && counts && !peer_admitted(control, peer)) {
        control_answer_now(request, lp_auth_refuse(&login, &request->fault));
        return;
    }
    if (good && external_missing(&login)) {
        good = lp_auth_refuse(&login, &request->fault);
        control_log(control, LP_CONTROL_LOG_ERROR, "EXTERNAL login refused: %.*s",
                    (int)login.password.size, (const char *)login.password.data);
        control_answer_now(request, good);
        return;
    }
    if (good && !anonymous_named(control, &login)) {
        good = lp_auth_refuse(&login, &request->fault);
        why = "anonymous_login_user is none";
    }
    if (good) {
        good = lp_auth_login(control->catalog, &login, &why, &request->fault);
        lp_writer_short(&request->reply, login.user);
        if (!good && counts) {
            peer_failed(control, peer);
        }
    }
    if (!good) {
        control_log(control, LP_CONTROL_LOG_ERROR, "%.*s login refused: user '%.*s' - %s",
                    (int)login.mechanism.size, (const char *)login.mechanism.data,
                    (int)login.user.size, (const char *)login.user.data, why);
    }
    control_answer_now(request, good);
}

/* enum lp_rights of a connection. */
static uint8_t
rights_of(const struct lp_control *control, const struct control_connection *connection,
          const struct lp_catalog_vhost *vhost)
{
    uint8_t rights = lp_auth_rights(control->catalog, connection->user, vhost);
    if (control->options.settings.channels_max != UINT64_MAX) {
        rights |= LP_RIGHTS_CHANNELS_LIMITED;
    }
    return rights;
}

/* What it may do: the fields that OPEN's reply and RIGHTS' have in common. */
static void
rights_write(struct control_request *request, const struct control_connection *connection,
             const struct lp_catalog_vhost *vhost)
{
    const struct lp_catalog *catalog = request->control->catalog;
    lp_writer_u8(&request->reply, lp_auth_unrestricted(catalog, connection->user, vhost));
    lp_writer_u32le(&request->reply, catalog->permission_epoch);
    lp_writer_u8(&request->reply, rights_of(request->control, connection, vhost));
}

/* One that was on its way when the application stopped. */
static bool
application_runs(struct control_request *request)
{
    return !control_application_stopped(request->control) ||
           lp_fault_set(&request->fault, LP_FAULT_CONNECTION_FORCED,
                        "broker forced connection closure with reason 'shutdown'");
}

void
control_on_open(struct control_request *request)
{
    struct lp_control *control = request->control;
    struct control_connection *connection = NULL;
    struct lp_catalog_vhost *vhost = NULL;
    bool good =
        control_connection_put(control, request->shard, &request->fields, false, &connection) ||
        control_malformed(request);
    good = good && application_runs(request) &&
           control_open_permitted(control, connection, &request->fault) &&
           lp_auth_vhost(control->catalog, connection->user, connection->vhost, &vhost,
                         &request->fault);
    if (good) {
        control_connection_opened(control, connection, vhost->id);
        lp_writer_u32le(&request->reply, vhost->id);
        rights_write(request, connection, vhost);
    }
    control_answer_committed(request, good);
}

void
control_on_rights(struct control_request *request)
{
    struct lp_catalog_actor actor;
    const uint64_t id = lp_reader_u64le(&request->fields);
    bool good = !request->fields.failed || control_malformed(request);
    const struct control_connection *connection = control_connection(request->control, id);
    good = good && control_actor_find(request, id, connection ? connection->vhost_id : 0, &actor);
    if (good) {
        LP_ASSERT(connection); /* else it was not found to be open */
        rights_write(request, connection, actor.vhost);
    }
    control_answer_now(request, good);
}

void
control_on_channel_open(struct control_request *request)
{
    struct lp_control *control = request->control;
    struct lp_catalog_actor actor;
    const uint64_t id = lp_reader_u64le(&request->fields);
    (void)lp_reader_u16le(&request->fields); /* its number does not matter */
    bool good = !request->fields.failed || control_malformed(request);
    struct control_connection *connection = control_connection(control, id);
    good = good && control_actor_find(request, id, connection ? connection->vhost_id : 0, &actor) &&
           control_channel_permitted(control, connection, &request->fault);
    if (good) {
        LP_ASSERT(connection); /* as above */
        /* Until its shard says how many it has. */
        control_channels_set(control, connection, connection->channels + 1);
    }
    control_answer_now(request, good);
}

void
control_on_closed(struct control_request *request)
{
    const uint64_t id = lp_reader_u64le(&request->fields);
    const bool good = !request->fields.failed || control_malformed(request);
    if (good) {
        control_connection_gone(request->control, id);
    }
    control_answer_committed(request, good);
}

void
control_on_permit(struct control_request *request)
{
    struct lp_control *control = request->control;
    struct lp_catalog_actor actor;
    struct lp_auth_question question;
    const uint64_t id = lp_reader_u64le(&request->fields);
    question.right = lp_reader_u8(&request->fields);
    question.resource = lp_reader_u8(&request->fields);
    question.name = lp_reader_short(&request->fields);
    const bool known = question.right == LP_PERMISSION_CONFIGURE ||
                       question.right == LP_PERMISSION_WRITE ||
                       question.right == LP_PERMISSION_READ;
    bool good = (!request->fields.failed && known && question.resource <= LP_RESOURCE_QUEUE) ||
                control_malformed(request);
    const struct control_connection *connection = control_connection(control, id);
    good = good && control_actor_find(request, id, connection ? connection->vhost_id : 0, &actor) &&
           lp_auth_check(control->catalog, &actor, &question, &request->fault);
    lp_writer_u32le(&request->reply, control->catalog->permission_epoch);
    control_answer_now(request, good);
}

void
control_on_permit_topic(struct control_request *request)
{
    struct lp_control *control = request->control;
    struct lp_catalog_actor actor;
    struct lp_auth_topic_question question;
    const uint64_t id = lp_reader_u64le(&request->fields);
    question.right = lp_reader_u8(&request->fields);
    question.exchange = lp_reader_short(&request->fields);
    question.key = lp_reader_short(&request->fields);
    const bool known =
        question.right == LP_PERMISSION_WRITE || question.right == LP_PERMISSION_READ;
    bool good = (!request->fields.failed && known) || control_malformed(request);
    const struct control_connection *connection = control_connection(control, id);
    good = good && control_actor_find(request, id, connection ? connection->vhost_id : 0, &actor) &&
           lp_auth_check_topic(control->catalog, &actor, &question, &request->fault);
    lp_writer_u32le(&request->reply, control->catalog->permission_epoch);
    control_answer_now(request, good);
}

void
control_on_update_secret(struct control_request *request)
{
    (void)lp_reader_u64le(&request->fields); /* the connection */
    (void)lp_reader_short(&request->fields); /* the user */
    (void)lp_reader_long_le(&request->fields);
    /* Passwords of the internal back end do not expire: any secret is fine (C30). */
    control_answer_now(request, !request->fields.failed || control_malformed(request));
}
