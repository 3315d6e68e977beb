/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lepusctl asks, and what it prints: the same as rabbitmqctl 3.10 printed
 * in the same situation, byte for byte, unless a comment says otherwise.
 *
 * Method: a thread is the broker's end of the socket; it notes the question
 * and gives the answer that the test wrote down.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/cli/cli.h"

#define WORDS_MAX 16

struct broker {
    int listener;
    char folder[64];
    char path[96];
    const char *check;  /* the answer to whether it may run */
    const char *answer; /* NULL: hang up */
    char question[1024];
    pthread_t thread;
};

/* The next line of a client's; false: it is gone. */
static bool
line_receive(int fd, char *room, size_t room_bytes)
{
    size_t used = 0;
    while (used < room_bytes - 1) {
        const ssize_t bytes = recv(fd, room + used, 1, 0);
        if (bytes <= 0) {
            return false;
        }
        if (room[used] == '\n') {
            room[used] = '\0';
            return true;
        }
        used++;
    }
    return false;
}

/* Without the name of this machine. */
static void
question_note(struct broker *broker, json_t *question)
{
    json_object_del(question, "node");
    char *text = json_dumps(question, JSON_COMPACT);
    (void)snprintf(broker->question, sizeof(broker->question), "%s", text);
    free(text);
}

/* One client: may it? it may; then a question and an answer. */
static void *
broker_serve(void *context)
{
    struct broker *broker = context;
    char room[2048];
    const int fd = accept(broker->listener, NULL, NULL);

    if (fd < 0) {
        return NULL; /* the test ended without asking */
    }
    while (line_receive(fd, room, sizeof(room))) {
        json_t *question = json_loads(room, 0, NULL);
        const bool check = json_is_true(json_object_get(question, "check"));
        const char *answer = check ? broker->check : broker->answer;
        question_note(broker, question);
        json_decref(question);
        if (answer == NULL) {
            break;
        }
        (void)send(fd, answer, strlen(answer), MSG_NOSIGNAL);
        (void)send(fd, "\n", 1, MSG_NOSIGNAL);
    }
    (void)close(fd);
    return NULL;
}

static void
broker_start(struct broker *broker, const char *check, const char *answer)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *broker = (struct broker){.check = check, .answer = answer, .folder = "/tmp/lepus-cli-XXXXXX"};
    assert_non_null(mkdtemp(broker->folder));
    (void)snprintf(broker->path, sizeof(broker->path), "%s/lepus.sock", broker->folder);
    memcpy(address.sun_path, broker->path, strlen(broker->path) + 1);
    broker->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(broker->listener >= 0);
    assert_int_equal(bind(broker->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(broker->listener, 1), 0);
    assert_int_equal(pthread_create(&broker->thread, NULL, broker_serve, broker), 0);
}

static void
broker_stop(struct broker *broker)
{
    (void)shutdown(broker->listener, SHUT_RDWR); /* wakes accept() when nobody asked */
    assert_int_equal(pthread_join(broker->thread, NULL), 0);
    assert_int_equal(close(broker->listener), 0);
    assert_int_equal(unlink(broker->path), 0);
    assert_int_equal(rmdir(broker->folder), 0);
}

struct session {
    const char *line;    /* words, parted by '|' */
    const char *input;   /* standard input, or NULL */
    const char *program; /* NULL: rabbitmqctl */
    char question[1024];
    char *out;
    char *err;
    int code;
};

static void
session_run(struct session *session, const char *data)
{
    char words[512];
    char *argv[WORDS_MAX + 4];
    int argc = 0;
    char name[64];
    size_t out_bytes;
    size_t err_bytes;
    char nothing[] = "";

    (void)snprintf(words, sizeof(words), "%s", session->line);
    (void)snprintf(name, sizeof(name), "%s", session->program ? session->program : "rabbitmqctl");
    assert_int_equal(setenv("LEPUS_DATA", data, 1), 0);
    argv[argc++] = name;
    for (char *at = words; *session->line != '\0' && at != NULL && argc < WORDS_MAX;) {
        argv[argc++] = strsep(&at, "|");
    }
    argv[argc] = NULL;
    char *input = session->input != NULL ? strdup(session->input) : strdup(nothing);
    FILE *in = fmemopen(input, strlen(input), "r");
    const struct cli_io io = {in, open_memstream(&session->out, &out_bytes),
                              open_memstream(&session->err, &err_bytes)};
    assert_true(in != NULL && io.out != NULL && io.err != NULL);
    session->code = cli_run(&io, argc, argv);
    (void)fclose(io.out);
    (void)fclose(io.err);
    (void)fclose(in);
    free(input);
}

static void
session_fini(struct session *session)
{
    free(session->out);
    free(session->err);
}

static void
ask(struct session *session, const char *check, const char *answer)
{
    struct broker broker;

    broker_start(&broker, check, answer);
    session_run(session, broker.folder);
    broker_stop(&broker);
    (void)snprintf(session->question, sizeof(session->question), "%s", broker.question);
}

struct golden {
    const char *line;
    const char *question; /* NULL: whatever */
    const char *answer;
    const char *out;
    const char *err;
    int code;
};

static void
goldens_check(const struct golden *goldens, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct session session = {.line = goldens[i].line};

        ask(&session, "{\"ok\":true}", goldens[i].answer);
        assert_string_equal(session.out, goldens[i].out);
        assert_string_equal(session.err, goldens[i].err);
        assert_int_equal(session.code, goldens[i].code);
        if (goldens[i].question != NULL) {
            assert_string_equal(session.question, goldens[i].question);
        }
        session_fini(&session);
    }
}

#define QUEUES \
    "{\"ok\":true,\"columns\":[\"name\",\"messages\"],\"rows\":[[\"q1\",0],[\"q2 x\",17]]}"
#define ARGUMENTS                                                                               \
    "{\"ok\":true,\"columns\":[\"name\",\"arguments\"],\"rows\":[[\"q1\",[]],[\"q2\","          \
    "[[\"x-max-length\",\"signedint\",5],[\"k\",\"longstr\",\"v\\\"q\"],[\"b\",\"bool\",true]," \
    "[\"t\",\"table\",[[\"a\",\"signedint\",1]]]]],[\"q3\",{\"k\":1}]]}"
#define USERS \
    "{\"ok\":true,\"columns\":[\"user\",\"tags\"],\"rows\":[[\"guest\",[\"administrator\"]]]}"

static void
listings_look_like_rabbitmqctls(void **unused)
{
    static const struct golden goldens[] = {
        {"list_queues",
         "{\"command\":\"list_queues\",\"args\":[],\"options\":{\"vhost\":\"/\",\"timeout\":60.0}}",
         QUEUES,
         "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\nname\tmessages\nq1\t0\nq2 "
         "x\t17\n",
         "", 0},
        {"list_queues|-p|v|name|messages|--online|-t|5",
         "{\"command\":\"list_queues\",\"args\":[\"name\",\"messages\"],\"options\":{\"vhost\":"
         "\"v\",\"online\":true,\"timeout\":5.0}}",
         QUEUES,
         "Timeout: 5.0 seconds ...\nListing queues for vhost v ...\nname\tmessages\nq1\t0\nq2 "
         "x\t17\n",
         "", 0},
        {"list_queues|-q", NULL, QUEUES, "name\tmessages\nq1\t0\nq2 x\t17\n", "", 0},
        {"-s|list_queues", NULL, QUEUES, "q1\t0\nq2 x\t17\n", "", 0},
        {"list_queues|--no-table-headers", NULL, QUEUES,
         "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\nq1\t0\nq2 x\t17\n", "", 0},
        /* No rows, no header: as 3.10 does it. */
        {"list_queues", NULL, "{\"ok\":true,\"columns\":[\"name\",\"messages\"],\"rows\":[]}",
         "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\n", "", 0},
        {"list_queues|name|arguments|-q", NULL, ARGUMENTS,
         "name\targuments\nq1\t[]\n"
         "q2\t[{\"x-max-length\",5},{\"k\",\"v\\\"q\"},{\"b\",true},{\"t\",[{\"a\",1}]}]\n"
         "q3\t[{<<\"k\">>, 1}]\n",
         "", 0},
        {"list_queues|--formatter|json", NULL, QUEUES,
         "[\n{\"name\":\"q1\",\"messages\":0}\n,{\"name\":\"q2 x\",\"messages\":17}\n]\n", "", 0},
        {"list_queues|--formatter=csv|name|arguments", NULL, ARGUMENTS,
         "\"name\",\"arguments\"\n\"q1\",\"[]\"\n"
         "\"q2\",\"[{\"\"x-max-length\"\",5},{\"\"k\"\",\"\"v\\\"\"q\"\"},{\"\"b\"\",true},"
         "{\"\"t\"\",[{\"\"a\"\",1}]}]\"\n\"q3\",\"[{<<\"\"k\"\">>, 1}]\"\n",
         "", 0},
        /* rabbitmqctl draws with a terminal's own line characters; these are Unicode's. */
        {"list_queues|--formatter|pretty_table|-q", NULL, QUEUES,
         "┌──────┬──────────┐\n│ name │ messages │\n├──────┼──────────┤\n│ q1   │ 0        │\n"
         "├──────┼──────────┤\n│ q2 x │ 17       │\n└──────┴──────────┘\n",
         "", 0},
        {"list_users",
         "{\"command\":\"list_users\",\"args\":[],\"options\":{\"vhost\":\"/\",\"timeout\":60.0}}",
         USERS, "Listing users ...\nuser\ttags\nguest\t[administrator]\n", "", 0},
        {"list_users|--formatter|json", NULL, USERS,
         "[\n{\"user\":\"guest\",\"tags\":[\"administrator\"]}\n]\n", "", 0},
        {"list_bindings", NULL,
         "{\"ok\":true,\"columns\":[\"source_name\",\"arguments\"],\"rows\":[[\"\",[]]]}",
         "Listing bindings for vhost /...\nsource_name\targuments\n\t[]\n", "", 0},
        {"list_connections", NULL,
         "{\"ok\":true,\"columns\":[\"user\",\"peer_host\",\"peer_port\",\"state\"],\"rows\":"
         "[[\"guest\",\"127.0.0.1\",34074,\"running\"]]}",
         "Listing connections ...\nuser\tpeer_host\tpeer_port\tstate\nguest\t127.0.0.1\t34074\t"
         "running\n",
         "", 0},
        {"list_permissions|-p|v", NULL,
         "{\"ok\":true,\"columns\":[\"user\",\"configure\"],\"rows\":[[\"x\",null]]}",
         "Listing permissions for vhost \"v\" ...\nuser\tconfigure\nx\t\n", "", 0},
    };
    (void)unused;
    goldens_check(goldens, LP_COUNT_OF(goldens));
}

static void
changes_say_what_rabbitmqctl_says(void **unused)
{
    static const struct golden goldens[] = {
        {"add_user|x|y",
         "{\"command\":\"add_user\",\"args\":[\"x\",\"y\"],\"options\":{\"vhost\":\"/\","
         "\"timeout\":60.0}}",
         "{\"ok\":true}",
         "Adding user \"x\" ...\nDone. Don't forget to grant the user permissions to some virtual "
         "hosts! See 'rabbitmqctl help set_permissions' to learn more.\n",
         "", 0},
        {"add_user|x|y|-q", NULL, "{\"ok\":true}", "", "", 0},
        {"add_user|x|y", NULL,
         "{\"ok\":false,\"exit\":70,\"error\":\"User \\\"x\\\" already exists\"}",
         "Adding user \"x\" ...\n", "Error:\nUser \"x\" already exists\n", 70},
        {"set_user_tags|x|administrator|a", NULL, "{\"ok\":true}",
         "Setting tags for user \"x\" to [administrator, a] ...\n", "", 0},
        {"set_user_tags|x", NULL, "{\"ok\":true}", "Setting tags for user \"x\" to [] ...\n", "",
         0},
        {"set_permissions|-p|/|x|.*|.*|",
         "{\"command\":\"set_permissions\",\"args\":[\"x\",\".*\","
         "\".*\",\"\"],\"options\":{\"vhost\":\"/\",\"timeout\":60.0}}",
         "{\"ok\":true}", "Setting permissions for user \"x\" in vhost \"/\" ...\n", "", 0},
        {"clear_permissions|x", NULL,
         "{\"ok\":false,\"exit\":67,\"error\":\"User x does not exist\"}",
         "Clearing permissions for user \"x\" in vhost \"/\" ...\n",
         "Error:\nUser x does not exist\n", 67},
        {"authenticate_user|x|y|-q", NULL, "{\"ok\":true}", "Success\n", "", 0},
        {"delete_user|x", NULL, "{\"ok\":true}", "Deleting user \"x\" ...\n", "", 0},
        {"change_password|x|z", NULL, "{\"ok\":true}", "Changing password for user \"x\" ...\n", "",
         0},
        {"add_vhost|v", NULL, "{\"ok\":true}", "Adding vhost \"v\" ...\n", "", 0},
        {"delete_vhost|v", NULL, "{\"ok\":true}", "Deleting vhost \"v\" ...\n", "", 0},
        {"stop|-n|rabbit@h", NULL, "{\"ok\":true}", "Stopping and halting node rabbit@h ...\n", "",
         0},
        {"ping|-n|rabbit@h", NULL, "{\"ok\":true}",
         "Will ping rabbit@h. This only checks if the OS process is running and its control "
         "process answers. Timeout: 60000 ms.\n"
         "Ping succeeded\n",
         "", 0},
        {"status|-n|rabbit@h", NULL, "{\"ok\":true,\"text\":\"Runtime\\n\\nOS PID: 1\"}",
         "Status of node rabbit@h ...\nRuntime\n\nOS PID: 1\n", "", 0},
        {"status|--formatter|json", NULL, "{\"ok\":true,\"text\":\"t\",\"data\":{\"pid\":1}}",
         "{\"pid\":1}\n", "", 0},
        /* Some failures have words of their own in JSON, and then exit with 69. */
        {"change_password|x|y|--formatter|json", NULL,
         "{\"ok\":false,\"exit\":67,\"error\":\"no\",\"data\":{\"message\":\"not\",\"result\":"
         "\"error\"}}",
         "", "{\"message\":\"not\",\"result\":\"error\"}\n", 69},
        {"delete_user|x|--formatter|json", NULL, "{\"ok\":false,\"exit\":69,\"error\":\"no\"}", "",
         "Error:\nno\n", 69},
        {"delete_user|x|-n|h@i|--formatter|json", NULL, "{\"ok\":true}",
         "{\"node\":\"h@i\",\"result\":\"ok\"}\n", "", 0},
        {"list_permissions|-q", NULL,
         "{\"ok\":false,\"exit\":65,\"error\":\"Virtual host 'v' does not exist\",\"bare\":true}",
         "", "Virtual host 'v' does not exist\n", 65},
        {"list_queues|nosuch|-q", NULL,
         "{\"ok\":false,\"exit\":64,\"validation\":\"Info key(s) nosuch are not supported\"}", "",
         "Error (argument validation): Info key(s) nosuch are not supported\nArguments given:\n\t"
         "list_queues nosuch -q\n\nUsage\n\nrabbitmqctl [--node <node>] [--longnames] [--quiet] "
         "list_queues [--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] "
         "[<column>, ...] [--timeout <timeout>]\n",
         64},
    };
    (void)unused;
    goldens_check(goldens, LP_COUNT_OF(goldens));
}

static void
a_broker_that_answers_nonsense_is_survived(void **unused)
{
    static const struct golden goldens[] = {
        {"delete_user|x|-q", NULL, NULL, "",
         "Error: the broker ended the connection without an answer; it may be stopping, or its "
         "control process was just restarted. Try again.\n",
         69},
        {"delete_user|x|-q", NULL, "not json", "",
         "Error: the broker's answer cannot be understood; are rabbitmqctl and lepus of the same "
         "version?\n",
         70},
        {"delete_user|x|-q", NULL, "{}", "", "Error:\nno reason was given\n", 70},
        {"list_users|-q", NULL, "{\"ok\":true,\"columns\":[\"a\",\"b\"],\"rows\":[[1],7,[2,3,4]]}",
         "a\tb\n1\t\n\t\n2\t3\n", "", 0},
    };
    (void)unused;
    goldens_check(goldens, LP_COUNT_OF(goldens));
}

static void
mistakes_on_the_command_line_ask_nobody(void **unused)
{
    static const struct {
        const char *line;
        const char *err; /* its beginning */
        int code;
    } cases[] = {
        {"list_queue", "\nCommand 'list_queue' not found. \nDid you mean 'list_queues'? \n\n", 64},
        {"nosuch_at_all", "\nCommand 'nosuch_at_all' not found. \n\nUsage\n", 64},
        {"add_user",
         "Error (argument validation): not enough arguments.\nArguments given:\n\t"
         "add_user\n\nUsage\n\nrabbitmqctl [--node <node>] [--longnames] [--quiet] "
         "add_user <username> [<password>] [<password_hash> --pre-hashed-password]\n",
         64},
        {"add_user|a|secret|c",
         "Error (argument validation): too many arguments.\nArguments "
         "given:\n\tadd_user a <password> c\n",
         64},
        {"set_permissions|x", "Error (argument validation): not enough arguments.\n", 64},
        {"list_queues|--bogus",
         "Error (argument validation): Invalid options for this "
         "command:\n--bogus : \nArguments given:\n\tlist_queues --bogus\n",
         64},
        {"list_users|--online",
         "Error (argument validation): Invalid options for this "
         "command:\n--online : \n",
         64},
        {"list_users|--formatter|erlang", "Error (argument validation): --formatter must be one",
         64},
        {"list_users|-t|0",
         "Error (argument validation): Invalid options for this command:\n-t : 0\nArguments", 64},
        {"list_users|-t|x|--bogus=1",
         "Error (argument validation): Invalid options for this command:\n-t : x\n--bogus : 1\n",
         64},
        {"eval_file|f", "Error:\neval_file is not for Lepus: there is no Erlang machine", 69},
        {"list_users|-p", "Error (argument validation): -p needs a value\n", 64},
        {"help|nosuch", "Error:\n\nCommand 'nosuch' not found.\n", 64},
        {"", "\nUsage\n\nrabbitmqctl [--node <node>]", 64},
        {"status|-q|-n|rabbit@h",
         "Error: unable to perform an operation on node 'rabbit@h': no broker answers at "
         "/nonexistent/lepus.sock (No such file or directory).\n",
         69},
    };
    (void)unused;
    for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
        struct session session = {.line = cases[i].line};
        session_run(&session, "/nonexistent");
        session.err[LP_MIN(strlen(session.err), strlen(cases[i].err))] = '\0';
        assert_string_equal(session.err, cases[i].err);
        assert_int_equal(session.code, cases[i].code);
        session_fini(&session);
    }
}

static void
a_password_may_come_from_standard_input(void **unused)
{
    struct session session = {.line = "add_user|x|-q", .input = "se cret\n"};
    struct session empty = {.line = "change_password|x"};

    (void)unused;
    ask(&session, "{\"ok\":true}", "{\"ok\":true}");
    assert_string_equal(session.question, "{\"command\":\"add_user\",\"args\":[\"x\",\"se cret\"],"
                                          "\"options\":{\"vhost\":\"/\",\"timeout\":60.0}}");
    assert_int_equal(session.code, 0);
    session_fini(&session);

    ask(&empty, "{\"ok\":true}", "{\"ok\":true}");
    assert_string_equal(empty.out, "Changing password for user \"x\" ...\nPassword: \n");
    assert_string_equal(empty.err, "Error:\nPassword is not provided via argument or stdin\n");
    assert_int_equal(empty.code, CLI_EXIT_SOFTWARE);
    session_fini(&empty);
}

static void
what_the_broker_would_refuse_has_no_banner(void **unused)
{
    struct session session = {.line = "list_queues"};

    (void)unused;
    ask(&session, "{\"ok\":false,\"exit\":64,\"environment\":\"it is stopped\"}", NULL);
    assert_string_equal(session.out, "");
    assert_ptr_equal(strstr(session.err, "Error: it is stopped\nArguments given:\n\tlist_queues\n"),
                     session.err);
    assert_int_equal(session.code, 64);
    session_fini(&session);
}

static void
a_tool_has_the_commands_of_its_name(void **unused)
{
    char name[] = "/usr/bin/rabbitmq-diagnostics";
    char word[] = "add_user";
    char *argv[] = {name, word, NULL};
    char *err = NULL;
    size_t err_bytes;
    const struct cli_io io = {stdin, stdout, open_memstream(&err, &err_bytes)};

    (void)unused;
    assert_non_null(io.err);
    assert_int_equal(cli_run(&io, 2, argv), 64);
    (void)fclose(io.err);
    assert_ptr_equal(strstr(err, "\nCommand 'add_user' not found. \n"), err);
    free(err);
}

static void
help_of_every_command_shows_its_usage(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < lp_command_count; i++) {
        char line[64];
        char usage[64];
        struct session session = {.line = line, .program = "lepusctl"};

        (void)snprintf(line, sizeof(line), "help|%s", lp_commands[i].name);
        (void)snprintf(usage, sizeof(usage), "[--quiet] %s", lp_commands[i].name);
        session_run(&session, "/nonexistent");
        assert_int_equal(session.code, 0);
        assert_non_null(strstr(session.out, usage));
        assert_non_null(strstr(session.out, "General Options"));
        session_fini(&session);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listings_look_like_rabbitmqctls),
        cmocka_unit_test(changes_say_what_rabbitmqctl_says),
        cmocka_unit_test(a_broker_that_answers_nonsense_is_survived),
        cmocka_unit_test(mistakes_on_the_command_line_ask_nobody),
        cmocka_unit_test(a_password_may_come_from_standard_input),
        cmocka_unit_test(what_the_broker_would_refuse_has_no_banner),
        cmocka_unit_test(a_tool_has_the_commands_of_its_name),
        cmocka_unit_test(help_of_every_command_shows_its_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
