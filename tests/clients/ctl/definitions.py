# SPDX-License-Identifier: Apache-2.0
"""definitions - everything that is defined goes into a file, and comes out of it elsewhere."""
import json
import os
import tempfile

import broker as broker_module
from ctl.base import CtlTest
from ctl.users import failed

EXPORT = 'export_definitions <file_path | "-"> [--format <json | erlang>] [--timeout <timeout>]'
CATEGORIES = ("users", "vhosts", "permissions", "topic_permissions", "parameters", "global_parameters",
              "policies", "queues", "exchanges", "bindings")


class Definitions(CtlTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, what):
        with open(self.path(name), "w") as out:
            out.write(what if isinstance(what, str) else json.dumps(what))
        return self.path(name)

    def exported(self):
        found = json.loads(self.does("export_definitions - -q").out)
        return {name: sorted(found[name], key=lambda item: json.dumps(item, sort_keys=True))
                for name in CATEGORIES}

    def imports(self, what):
        return self.run_tool(["import_definitions", self.write("in.json", what)])

    def define(self):
        """Something of everything."""
        self.vhost("v1")
        self.user("ctl_a", "a secret")
        for words in (
                "set_user_tags ctl_a monitoring management",
                ["set_user_limits", "ctl_a", '{"max-channels":7}'],
                "set_vhost_tags v1 x y",
                "set_permissions -p v1 ctl_a ^a b$ .*",
                "set_permissions -p v1 guest .* .* .*",
                "set_topic_permissions -p v1 ctl_a amq.topic ^w ^r",
                ["set_vhost_limits", "-p", "v1", '{"max-queues":50}'],
                ["set_policy", "-p", "v1", "p1", "^q", '{"max-length":5}', "--priority", "3"],
                ["set_operator_policy", "-p", "v1", "o1", "^q", '{"expires":60000}', "--apply-to", "queues"]):
            self.does(words)
        channel = self.connect("v1").channel()
        channel.exchange_declare("e1", "topic", durable=True, arguments={"alternate-exchange": "amq.fanout"})
        channel.exchange_declare("hidden", "fanout", durable=True, internal=True)
        channel.queue_declare("q1", durable=True, arguments={"x-max-priority": 3, "x-queue-type": "classic"})
        channel.queue_declare("q2", durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_declare("own", exclusive=True)
        channel.queue_bind("q1", "e1", "a.*.c")
        channel.queue_bind("q2", "amq.headers", "", arguments={"x-match": "any", "n": 5, "deep": {"t": True}})
        channel.exchange_bind("amq.fanout", "e1", "#")

    def test_what_is_exported_has_rabbitmqs_shape(self):
        self.define()
        found = self.exported()
        self.assertEqual([q for q in found["queues"] if q["vhost"] == "v1"], [
            {"vhost": "v1", "name": "q1", "type": "classic", "durable": True, "auto_delete": False,
             "arguments": {"x-max-priority": 3, "x-queue-type": "classic"}},
            {"vhost": "v1", "name": "q2", "type": "quorum", "durable": True, "auto_delete": False,
             "arguments": {"x-queue-type": "quorum"}}])
        self.assertEqual([e for e in found["exchanges"] if e["vhost"] == "v1"], [
            {"vhost": "v1", "name": "e1", "type": "topic", "durable": True, "auto_delete": False,
             "arguments": {"alternate-exchange": "amq.fanout"}}])
        self.assertIn({"source": "amq.headers", "vhost": "v1", "destination": "q2", "destination_type": "queue",
                       "routing_key": "", "arguments": {"x-match": "any", "n": 5, "deep": {"t": True}}},
                      found["bindings"])
        self.assertIn({"source": "e1", "vhost": "v1", "destination": "amq.fanout", "routing_key": "#",
                       "destination_type": "exchange", "arguments": {}}, found["bindings"])
        self.assertIn({"vhost": "v1", "name": "p1", "pattern": "^q", "apply-to": "all", "priority": 3,
                       "definition": {"max-length": 5}}, found["policies"])
        self.assertIn({"user": "ctl_a", "vhost": "v1", "configure": "^a", "write": "b$", "read": ".*"},
                      found["permissions"])
        self.assertIn({"user": "ctl_a", "vhost": "v1", "exchange": "amq.topic", "write": "^w", "read": "^r"},
                      found["topic_permissions"])
        user = [u for u in found["users"] if u["name"] == "ctl_a"][0]
        self.assertEqual((user["hashing_algorithm"], user["tags"], user["limits"]),
                         ("rabbit_password_hashing_sha256", ["monitoring", "management"], {"max-channels": 7}))
        self.assertEqual({p["component"] for p in found["parameters"] if p["vhost"] == "v1"},
                         {"operator_policy", "vhost-limits"})

    def test_another_broker_is_the_same_afterwards(self):
        if not self.is_lepus or self.broker.external:
            self.skipTest("it needs two brokers")
        self.define()
        file = self.path("all.json")
        self.says(["export_definitions", file],
                  'Exporting definitions in JSON to a file at "%s" ...\n' % file)
        self.assertEqual(os.stat(file).st_mode & 0o777, 0o600)
        wanted = self.exported()
        first, second = self.broker, broker_module.Broker()
        self.broker = second
        self.addCleanup(second.stop)
        self.addCleanup(setattr, self, "broker", first)   # before what was defined there is deleted
        for _ in range(2):   # the second time it changes nothing
            self.does(["import_definitions", file])
            self.assertEqual(self.exported(), wanted)
        self.does(["authenticate_user", "ctl_a", "a secret"])
        channel = self.connect("v1").channel()
        channel.basic_publish("e1", "a.b.c", b"x")
        channel.queue_declare("q1", durable=True, arguments={"x-max-priority": 3, "x-queue-type": "classic"})
        self.assertEqual(channel.basic_get("q1")[2], b"x")

    def test_what_is_there_already_is_kept_or_changed_as_rabbitmq_does(self):
        self.vhost("v1")
        self.user("ctl_a", "old")
        self.does("set_permissions -p v1 guest .* .* .*")
        self.connect("v1").channel().queue_declare("q1", durable=True)
        said = self.imports({
            "users": [{"name": "ctl_a", "password": "new", "tags": "monitoring"}],
            "queues": [{"vhost": "v1", "name": "q1", "durable": False, "arguments": {"x-max-length": 1}},
                       {"vhost": "v1", "name": "amq.gen-x", "durable": True}],
            "exchanges": [{"vhost": "v1", "name": "amq.direct", "type": "fanout"}]})
        self.assertEqual((said.code, said.err), (0, ""))
        self.does("authenticate_user ctl_a new")
        self.assertEqual(self.does("list_queues -p v1 -s name durable arguments").out,
                         'q1\ttrue\t[{"x-queue-type","classic"}]\n')
        self.assertEqual(self.run_tool("list_users -s").out.count("ctl_a\t[monitoring]"), 1)

    def test_mistakes_are_named(self):
        self.vhost("v1")
        file = self.path("in.json")
        banner = 'Importing definitions in JSON from a file at "%s" ...\n' % file
        for what, why in (
                ({"permissions": [{"user": "guest", "vhost": "nope", "configure": "", "write": "", "read": ""}]},
                 'Please create virtual host "nope" prior to importing definitions.'),
                ({"users": [{"name": "ctl_b"}]}, "tags_not_present"),
                ({"users": [{"name": "ctl_b", "tags": "", "password": "x", "password_hash": "y"}]},
                 "both_password_and_password_hash_are_provided"),
                ({"queues": [{"name": "q1"}]}, "invalid_definitions_file"),
                ({"queues": [{"vhost": "v1", "name": "q1", "arguments": {"x-max-length": -1}}]},
                 "precondition_failed: invalid arg 'x-max-length' for queue 'q1' in vhost 'v1': "
                 "{value_negative,-1}")):
            said = self.imports(what)
            self.assertEqual((said.out, said.err, said.code), (banner, failed(why), 69))
        said = self.imports("{nonsense")
        self.assertEqual(said.code, 65)
        self.assertIn("Failed to deserialise input (format: JSON)", said.err)
        self.says(["import_definitions", self.write("empty.json", "")],
                  banner.replace("in.json", "empty.json"),
                  failed("File %s is zero-sized" % self.path("empty.json")), 65)
        self.misused("export_definitions", "not enough arguments.", EXPORT)
        self.misused("export_definitions /no/such/x", "Bad argument: Directory /no/such does not exist",
                     EXPORT, 65)
        self.says("export_definitions /tmp -q", "", failed("Path /tmp is a directory"), 65)
