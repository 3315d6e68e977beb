/* SPDX-License-Identifier: Apache-2.0 */
/* connectivity.c - can the broker's listeners be reached from here? */
#include "cli.h"
#include "cli_local.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_S 30
#define HOST_BYTES        256

/* 0, or why not. */
static int
connect_wait(int fd, int timeout_ms)
{
    struct pollfd room = {fd, POLLOUT, 0};
    int why = ETIMEDOUT;
    socklen_t bytes = sizeof(why);
    const int ready = poll(&room, 1, timeout_ms);
    if (ready < 0) {
        return errno;
    }
    if (ready > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &bytes) != 0) {
        return errno;
    }
    return why;
}

static int
address_try(const struct addrinfo *address, int timeout_ms)
{
    const int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno;
    }
    int why = connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (why == EINPROGRESS) {
        why = connect_wait(fd, timeout_ms);
    }
    (void)close(fd);
    return why;
}

/* Any of the name's addresses will do.  NULL, or why not, as Erlang names it. */
static const char *
host_try(const char *host, int port, int timeout_ms, char room[32])
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char service[16];
    int why = EHOSTUNREACH;
    (void)snprintf(service, sizeof(service), "%d", port); /* fits */
    if (getaddrinfo(host, service, &hints, &found) != 0) {
        return "nxdomain";
    }
    for (const struct addrinfo *at = found; at != NULL && why != 0; at = at->ai_next) {
        why = address_try(at, timeout_ms);
    }
    freeaddrinfo(found);
    if (why == 0) {
        return NULL;
    }
    const char *name = strerrorname_np(why);
    (void)snprintf(room, 32, "%s", name != NULL ? name : "unknown");
    for (char *at = room; *at != '\0'; at++) {
        *at = (char)tolower((unsigned char)*at);
    }
    return room;
}

/* Where a listener is: its address without brackets, or this machine for one on all addresses. */
static void
host_of(const json_t *listener, char ret_host[HOST_BYTES])
{
    const char *interface = json_string_value(json_object_get(listener, "interface"));
    const bool bracketed = interface[0] == '[';
    (void)snprintf(ret_host, HOST_BYTES, "%s", interface + bracketed);
    ret_host[strcspn(ret_host, "]")] = '\0';
    if (strcmp(ret_host, "0.0.0.0") == 0) {
        (void)snprintf(ret_host, HOST_BYTES, "127.0.0.1");
    } else if (strcmp(ret_host, "::") == 0) {
        (void)snprintf(ret_host, HOST_BYTES, "::1");
    }
}

static bool
listener_try(const struct cli_request *request, const struct cli_io *io, const json_t *listener,
             int timeout_ms)
{
    const char *target = cli_option_value(request, "address");
    const int port = (int)json_integer_value(json_object_get(listener, "port"));
    char host[HOST_BYTES];
    char room[32];
    if (target != NULL) {
        (void)snprintf(host, sizeof(host), "%s", target);
    } else {
        host_of(listener, host);
    }
    (void)fprintf(io->out, "Will connect to %s:%d\n", host, port);
    const char *why = host_try(host, port, timeout_ms, room);
    if (why != NULL) {
        (void)fprintf(io->out, "Error connecting to %s:%d: %s\n", host, port, why);
    }
    return why == NULL;
}

/* A number as text, in order among the others. */
static void
port_add(json_t *ports, json_int_t port)
{
    size_t at = 0;
    while (at < json_array_size(ports) && json_integer_value(json_array_get(ports, at)) < port) {
        at++;
    }
    const int failed = json_array_insert_new(ports, at, json_integer(port));
    LP_ASSERT(failed == 0);
}

static json_t *
success_make(const struct cli_request *request, const json_t *ports, json_t *listeners)
{
    char list[1024] = "";
    size_t used = 0;
    size_t i;
    const json_t *port;
    json_array_foreach(ports, i, port)
    {
        const int bytes = snprintf(list + used, sizeof(list) - used, "%s%d", i > 0 ? ", " : "",
                                   (int)json_integer_value(port));
        LP_ASSERT(bytes > 0 && used + (size_t)bytes < sizeof(list)); /* LP_LISTENERS_MAX is small */
        used += (size_t)bytes;
    }
    const char *target = cli_option_value(request, "address");
    json_t *text = json_sprintf("Successfully connected to ports %s on node %s (using %s%s)", list,
                                request->node, target != NULL ? target : "its listeners' addresses",
                                target != NULL ? " for target IP address" : "");
    return json_pack("{s:b, s:o, s:{s:o, s:s, s:s}}", "ok", 1, "text", text, "data", "listeners",
                     listeners, "node", request->node, "result", "ok");
}

/* Takes the failures. */
static json_t *
failure_make(const struct cli_request *request, json_t *failures)
{
    size_t i;
    const json_t *entry;
    json_t *text = json_sprintf(
        "Connection to ports of the following listeners on node %s failed: ", request->node);
    json_array_foreach(failures, i, entry)
    {
        json_t *longer = json_sprintf("%s\nInterface: %s, port: %d, protocol: %s, purpose: %s",
                                      json_string_value(text),
                                      json_string_value(json_object_get(entry, "interface")),
                                      (int)json_integer_value(json_object_get(entry, "port")),
                                      json_string_value(json_object_get(entry, "protocol")),
                                      json_string_value(json_object_get(entry, "purpose")));
        json_decref(text);
        text = longer;
    }
    return json_pack("{s:b, s:i, s:o, s:{s:o, s:s, s:s}}", "ok", 0, "exit", CLI_EXIT_UNAVAILABLE,
                     "error", text, "data", "failures", failures, "node", request->node, "result",
                     "error");
}

/* What became of it, as an answer of the broker's would say it. */
static json_t *
listeners_try(const struct cli_request *request, const struct cli_io *io, json_t *listeners)
{
    json_t *ports = json_array();
    json_t *failures = json_array();
    json_t *tried = json_array();
    const int timeout_ms =
        (int)(request->timeout_s * 1000 / (double)(json_array_size(listeners) + 1));
    size_t i;
    json_t *listener;
    json_array_foreach(listeners, i, listener)
    {
        const json_int_t port = json_integer_value(json_object_get(listener, "port"));
        if (port == 0) {
            continue; /* a path: this tool came by one itself */
        }
        port_add(ports, port);
        const int failed =
            json_array_append(tried, listener) + (listener_try(request, io, listener, timeout_ms)
                                                      ? 0
                                                      : json_array_append(failures, listener));
        LP_ASSERT(failed == 0);
    }
    (void)fflush(io->out); /* before an error on the other stream */
    json_t *answer;
    if (json_array_size(failures) == 0) {
        answer = success_make(request, ports, tried);
        json_decref(failures);
    } else {
        answer = failure_make(request, failures);
        json_decref(tried);
    }
    json_decref(ports);
    return answer;
}

int
cli_local_check_port_connectivity(struct cli_request *request, const struct cli_io *io)
{
    int code;
    if (!request->timeout_given || request->timeout_s <= 0) {
        request->timeout_s = CONNECT_TIMEOUT_S;
    }
    json_t *answer = cli_local_ask(request, io, "listeners", &code);
    if (answer == NULL) {
        return code;
    }
    cli_banner_print(io->out, request);
    json_t *result =
        listeners_try(request, io, json_object_get(json_object_get(answer, "data"), "listeners"));
    json_decref(answer);
    code = cli_answer_print(request, io, result);
    json_decref(result);
    return code;
}
