# SPDX-License-Identifier: Apache-2.0
"""channels - channels, consumers, what is done to their queues; and the node in one text."""
import json

from ctl.base import CtlTest


class Channels(CtlTest):
    def setUp(self):
        self.vhost("v1")
        self.does("set_permissions -p v1 guest .* .* .*")

    def test_channels_are_listed_with_what_they_hold(self):
        connection = self.connect("v1")
        holder, committer = connection.channel(), connection.channel()
        holder.queue_declare("q1", durable=True)
        for _ in range(3):
            holder.basic_publish("", "q1", b"x")
        holder.basic_qos(prefetch_count=2)
        holder.basic_consume("q1", lambda *_: None)
        committer.tx_select()
        committer.basic_publish("", "q1", b"y")
        committer.queue_declare("q1", passive=True)
        columns = ("number user vhost transactional confirm consumer_count messages_unacknowledged "
                   "messages_uncommitted prefetch_count")
        rows = json.loads(self.does("list_channels --formatter json " + columns).out)
        mine = {row["number"]: row for row in rows if row["vhost"] == "v1"}
        self.assertEqual(
            (mine[1]["consumer_count"], mine[1]["messages_unacknowledged"], mine[1]["transactional"]),
            (1, 2, False))
        self.assertEqual(
            (mine[2]["consumer_count"], mine[2]["messages_uncommitted"], mine[2]["transactional"]),
            (0, 1, True))
        connection.close()

    def test_the_active_one_of_several_consumers_is_shown(self):
        connection = self.connect("v1")
        channel = connection.channel()
        channel.queue_declare("one", arguments={"x-single-active-consumer": True})
        channel.queue_declare("many")
        channel.basic_consume("one", lambda *_: None, consumer_tag="first")
        channel.basic_consume("one", lambda *_: None, consumer_tag="second")
        channel.basic_consume("many", lambda *_: None, consumer_tag="third", auto_ack=True)
        rows = self.does("list_consumers -p v1 -s queue_name consumer_tag ack_required active "
                         "activity_status").out.splitlines()
        self.assertEqual(set(rows), {"one\tfirst\ttrue\ttrue\tsingle_active",
                                     "one\tsecond\ttrue\tfalse\twaiting",
                                     "many\tthird\tfalse\ttrue\tup"})
        channel.basic_cancel("first")
        rows = self.does("list_consumers -p v1 -s consumer_tag active").out.splitlines()
        self.assertEqual(set(rows), {"second\ttrue", "third\ttrue"})
        connection.close()

    def test_a_queue_is_purged_and_deleted(self):
        connection = self.connect("v1")
        channel = connection.channel()
        channel.queue_declare("q1", durable=True)
        channel.basic_publish("", "q1", b"x")
        channel.queue_declare("q1", passive=True)
        self.assertEqual(self.run_tool("delete_queue -p v1 q1 --if-empty", "rabbitmqctl", "").code, 64)
        self.does("purge_queue -p v1 q1")
        self.assertEqual(channel.queue_declare("q1", passive=True).method.message_count, 0)
        self.does("delete_queue -p v1 q1 --if-empty")
        self.assertEqual(self.does("list_queues -p v1 -s name").out.strip(), "")
        connection.close()


class Texts(CtlTest):
    """What RabbitMQ prints here are its own settings, as Erlang terms: only Lepus is looked at."""

    def setUp(self):
        if not self.is_lepus:
            self.skipTest("Lepus's own texts")

    def test_settings_are_shown_and_passwords_are_not(self):
        lines = self.does("environment").out.splitlines()
        self.assertEqual(lines[0], "Application environment of node NODE ...")
        self.assertIn("lepus.shards = %d" % self.broker.shards, lines)
        self.assertIn("default_user = guest", lines)
        self.assertIn("default_pass = ******", lines)
        settings = json.loads(self.does("environment --formatter json").out)
        self.assertEqual(settings["heartbeat"], "60")

    def test_a_report_holds_what_the_other_commands_say_for_every_virtual_host(self):
        self.vhost("v1")
        report = self.does("report").out
        for part in ("Reporting server status of node NODE ...", "Status of node NODE ...",
                     "Application environment of node NODE ...", "Listing channels ...",
                     "Listing queues for vhost / ...", "Listing queues for vhost v1 ..."):
            self.assertIn(part, report)
