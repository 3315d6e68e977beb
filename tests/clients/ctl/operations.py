# SPDX-License-Identifier: Apache-2.0
"""operations - what administrators do to queues and connections."""
import json

from ctl.base import CtlTest
from ctl.users import failed

DELETE = "delete_queue [--vhost <vhost>] <queue_name> [--if-empty|-e] [--if-unused|-u] [--timeout <timeout>]"
NOWHERE = "Object (queue, stream, exchange, etc) was not found\n"


class Queues(CtlTest):
    def setUp(self):
        self.vhost("v1")
        self.does("set_permissions -p v1 guest .* .* .*")
        self.connection = self.connect("v1")
        self.channel = self.connection.channel()

    def fill(self, name, count):
        self.channel.queue_declare(name, durable=True)
        for _ in range(count):
            self.channel.basic_publish("", name, b"x")
        self.channel.queue_declare(name, passive=True)

    def test_a_queue_is_purged(self):
        self.fill("q1", 3)
        self.all_say([
            ("purge_queue -p v1 q1", "Purging queue 'q1' in vhost 'v1' ...\n"),
            ("purge_queue -p v1 nope", "Purging queue 'nope' in vhost 'v1' ...\n", NOWHERE, 65),
            ("purge_queue -p nope q1 -q", "", NOWHERE, 65),
        ])
        self.assertEqual(self.channel.queue_declare("q1", passive=True).method.message_count, 0)
        self.misused("purge_queue", "not enough arguments.", "purge_queue <queue> [--timeout <timeout>]")

    def test_a_quorum_queue_is_purged(self):
        self.channel.queue_declare("q1", durable=True, arguments={"x-queue-type": "quorum"})
        self.channel.confirm_delivery()
        for _ in range(3):
            self.channel.basic_publish("", "q1", b"x")
        self.says("purge_queue -p v1 q1", "Purging queue 'q1' in vhost 'v1' ...\n")
        self.assertEqual(self.channel.queue_declare("q1", passive=True).method.message_count, 0)

    def test_a_queue_is_deleted_if_it_may_be(self):
        self.fill("q1", 2)
        self.fill("q2", 0)
        self.channel.basic_consume("q2", lambda *_: None)
        on = "Deleting queue '%s' on vhost 'v1' %s...\n"
        self.all_say([
            ("delete_queue -p v1 q1 --if-empty", on % ("q1", "if queue is empty "),
             failed("Queue is not empty"), 64),
            ("delete_queue -p v1 q1 -e -u", on % ("q1", "if queue is empty and if queue is unused "),
             failed("Queue is not empty"), 64),
            ("delete_queue -p v1 nope", on % ("nope", ""), failed("Queue not found"), 64),
            ("delete_queue -p v1 q1 -u", on % ("q1", "if queue is unused ")
             + "Queue was successfully deleted with 2 ready messages\n"),
            ("delete_queue -p v1 q2", on % ("q2", "")
             + "Queue was successfully deleted with 0 ready messages\n"),
        ])
        self.misused("delete_queue ''", "Bad argument: queue name cannot be an empty string", DELETE, 65)
        self.misused("delete_queue a b", "too many arguments.", DELETE)

    def test_the_exclusive_consumer_is_shown_and_no_other(self):
        for name in ("own", "shared", "idle"):
            self.channel.queue_declare(name, durable=True)
        self.channel.queue_declare("sole", arguments={"x-single-active-consumer": True})
        self.channel.basic_consume("own", lambda *_: None, consumer_tag="mine", exclusive=True)
        self.channel.basic_consume("shared", lambda *_: None, consumer_tag="ours")
        self.channel.basic_consume("sole", lambda *_: None, consumer_tag="active")
        rows = json.loads(self.does("list_queues -p v1 --formatter json name exclusive_consumer_tag "
                                    "exclusive_consumer_pid").out)
        self.assertEqual({row["name"]: row["exclusive_consumer_tag"] for row in rows},
                         {"own": "mine", "shared": "", "idle": "", "sole": ""})
        channels = json.loads(self.does("list_consumers -p v1 --formatter json channel_pid").out)
        pids = {row["name"]: row["exclusive_consumer_pid"] for row in rows}
        self.assertEqual(pids["own"], channels[0]["channel_pid"])
        self.assertEqual(pids["shared"], "")

    def test_queues_that_answer_are_not_unresponsive(self):
        self.fill("q1", 1)
        banner = "Listing unresponsive queues for vhost v1 ...\n"
        self.all_say([
            ("list_unresponsive_queues -p v1", banner),
            ("list_unresponsive_queues -p v1 --queue-timeout 5 name pid", banner),
            ("list_unresponsive_queues -p v1 --local -s",),
        ])
        self.misused("list_unresponsive_queues name size", "Info key(s) size are not supported",
                     "list_unresponsive_queues [--local] [--queue-timeout <milliseconds>] [<column> ...] "
                     "[--no-table-headers] [--timeout <timeout>]")


class Connections(CtlTest):
    def setUp(self):
        self.vhost("v1")
        for user in ("guest", "ctl_a"):
            if user != "guest":
                self.user(user)
            self.does(["set_permissions", "-p", "v1", user, ".*", ".*", ".*"])

    def expect_closed(self, connection, reason):
        """320, with the administrator's words."""
        import pika
        with self.assertRaises(pika.exceptions.ConnectionClosed) as caught:
            while True:
                connection.process_data_events(time_limit=20)
        self.assertEqual((caught.exception.reply_code, caught.exception.reply_text),
                         (320, "CONNECTION_FORCED - " + reason))

    def test_one_is_closed_by_its_pid(self):
        kept, other = self.connect("v1"), self.connect("v1", "ctl_a", "secret")
        rows = json.loads(self.does("list_connections --formatter json pid user").out)
        pid = [row["pid"] for row in rows if row["user"] == "ctl_a"][0]
        self.says(["close_connection", pid, "in the way"],
                  "Closing connection %s, reason: in the way...\n" % pid)
        self.expect_closed(other, "in the way")
        self.assertEqual(kept.channel().channel_number, 1)
        self.says("close_connection nonsense bye", "Closing connection nonsense, reason: bye...\n",
                  failed('Error:\n{:invalid_pid_syntax, "nonsense"}'), 69)

    def test_those_of_a_user_are_closed(self):
        kept, other = self.connect("v1"), self.connect("v1", "ctl_a", "secret")
        self.says("close_all_user_connections ctl_a bye",
                  "Closing connections of user ctl_a, reason: bye...\n")
        self.expect_closed(other, "bye")
        self.assertEqual(kept.channel().channel_number, 1)

    def test_those_of_a_virtual_host_are_closed_as_many_as_were_said(self):
        elsewhere = self.connect("/")
        here = [self.connect("v1") for _ in range(3)]
        self.says("close_all_connections -p v1 --limit 1 bye", "Closing 1 connections in vhost v1, "
                  "reason: bye...\nClosed 1 connections\n")
        self.says("close_all_connections -p v1 --per-connection-delay 1 bye", "Closing all connections "
                  "in vhost v1, reason: bye...\nClosed 2 connections\n")
        for connection in here:
            self.expect_closed(connection, "bye")
        self.assertEqual(elsewhere.channel().channel_number, 1)
        self.says("close_all_connections --global bye --formatter json",
                  '{"node":"NODE","result":"ok","value":"Closed 1 connections"}\n')
        self.expect_closed(elsewhere, "bye")
