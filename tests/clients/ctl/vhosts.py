# SPDX-License-Identifier: Apache-2.0
"""vhosts - virtual hosts, their metadata, limits and tracing; limits of users; topic rights."""
import json

from ctl.base import CtlTest
from ctl.users import failed

ADD_VHOST = ("add_vhost <vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" "
             "--default-queue-type <quorum|classic|stream>]")
UPDATE_VHOST = ("update_vhost_metadata <vhost> [--description <description>] "
                "[--tags \"<tag1>,<tag2>,<...>\"] [--default-queue-type <quorum|classic|stream>]")
NO_VHOST = "Virtual host 'nope' does not exist\n"


class Vhosts(CtlTest):
    def tearDown(self):
        for name in ("v1", "v2", "v3"):
            self.run_tool(["delete_vhost", name])

    def test_virtual_hosts_come_and_go(self):
        self.all_say([
            ("add_vhost v1", 'Adding vhost "v1" ...\n'),
            ("add_vhost v1", 'Adding vhost "v1" ...\n'),
            ("add_vhost v2 -q",),
            ("add_vhost v3 --formatter json", '{"node":"NODE","result":"ok"}\n'),
            ("delete_vhost v2", 'Deleting vhost "v2" ...\n'),
            ("delete_vhost nope", 'Deleting vhost "nope" ...\n', NO_VHOST, 65),
        ])
        self.misused("add_vhost", "not enough arguments.", ADD_VHOST)
        self.misused("add_vhost a b", "too many arguments.", ADD_VHOST)
        said = self.does("list_vhosts")
        self.assertTrue(said.out.startswith("Listing vhosts ...\nname\n"))
        self.assertEqual(set(said.out.splitlines()[2:]), {"/", "v1", "v3"})
        self.assertIn({"name": "v1"}, json.loads(self.does("list_vhosts --formatter json").out))

    def test_metadata(self):
        self.all_say([
            ("add_vhost v1 --description 'Desc here' --tags qa,prod --default-queue-type classic",
             'Adding vhost "v1" ...\n'),
            ("add_vhost v2 -d short",  'Adding vhost "v2" ...\n'),
            ("set_vhost_tags v2 x y", 'Setting tags for virtual host "v2" to [x, y] ...\n'),
            ("set_vhost_tags nope x", 'Setting tags for virtual host "nope" to [x] ...\n',
             failed('Virtual host "nope" does not exist'), 65),
        ])
        columns = "list_vhosts name description tags default_queue_type tracing cluster_state -s"
        rows = self.does(columns).out.splitlines()
        self.assertIn("v1\tDesc here\t[qa, prod]\tclassic\tfalse\t[{NODE, running}]",
                      [row.replace("'NODE'", "NODE") for row in rows])
        self.assertIn("v2\tshort\t[x, y]\tclassic\tfalse\t[{NODE, running}]",
                      [row.replace("'NODE'", "NODE") for row in rows])
        self.all_say([
            ("update_vhost_metadata v2 --description d2", 'Updating metadata of vhost "v2" ...\n'),
            ("update_vhost_metadata v2 --tags k,l -q",),
            ("update_vhost_metadata nope --description x",
             'Updating metadata of vhost "nope" ...\n', NO_VHOST, 65),
            ("set_vhost_tags v1", 'Setting tags for virtual host "v1" to [] ...\n'),
        ])
        rows = json.loads(self.does("list_vhosts name tags description --formatter json").out)
        self.assertIn({"name": "v2", "tags": ["k", "l"], "description": "d2"}, rows)
        self.assertIn({"name": "v1", "tags": [], "description": "Desc here"}, rows)
        self.misused("update_vhost_metadata v1", "not enough arguments.", UPDATE_VHOST)
        self.misused("update_vhost_metadata v1 --default-queue-type bogus",
                     "Bad argument: Default queue type must be one of: quorum, stream, classic. "
                     "Provided: bogus", UPDATE_VHOST, 65)

    def test_types_of_queues_that_are_not_there_are_refused(self):
        """Not so in RabbitMQ: 4.0 prints a term of Erlang's and exits with 0."""
        if not self.is_lepus:
            self.skipTest("Lepus only")
        self.says("add_vhost v1 --default-queue-type bogus", 'Adding vhost "v1" ...\n',
                  failed("Unsupported default queue type"), 64)
        self.says("add_vhost v1 --default-queue-type stream", 'Adding vhost "v1" ...\n',
                  failed("queue type stream is not implemented yet"), 64)

    def test_tracing_is_switched_for_a_virtual_host(self):
        self.vhost("v1")
        self.says("trace_on -p v1",
                  'Starting tracing for vhost "v1" ...\nTrace enabled for vhost v1\n')
        self.assertIn("v1\ttrue", self.does("list_vhosts name tracing -s").out.splitlines())
        self.assertEqual(json.loads(self.does("trace_on -p v1 --formatter json").out),
                         {"node": "NODE", "result": "ok", "value": "Trace enabled for vhost v1"})
        self.says("trace_off -p v1 -q", "Trace disabled for vhost v1\n")
        self.assertIn("v1\tfalse", self.does("list_vhosts name tracing -s").out.splitlines())

    def test_a_virtual_host_that_is_not_there_cannot_be_traced(self):
        """Not so in RabbitMQ, which says that it does."""
        if not self.is_lepus:
            self.skipTest("Lepus only")
        self.says("trace_on -p nope", 'Starting tracing for vhost "nope" ...\n', NO_VHOST, 65)


class VhostLimits(CtlTest):
    def setUp(self):
        self.vhost("v1")
        self.vhost("v2")

    def test_limits_are_set_listed_and_cleared(self):
        both = '{"max-connections": 10, "max-queues": 5}'
        setting = 'Setting vhost limits to "%s" for vhost "%s" ...\n'
        clearing = 'Clearing vhost "%s" limits ...\n'
        listing = 'Listing limits for vhost "%s" ...\n'
        none = failed("Parameter does not exist")
        self.all_say([
            (["set_vhost_limits", "-p", "v1", both], setting % (both, "v1")),
            ("list_vhost_limits -p v1", listing % "v1" + '{"max-connections":10,"max-queues":5}\n'),
            ("list_vhost_limits -p v2", listing % "v2" + "\n"),
            ("list_vhost_limits -p nope", listing % "nope", NO_VHOST, 65),
            ("list_vhost_limits --global", "Listing limits for all vhosts ...\nvhost\tlimits\n"
             'v1\t{"max-connections":10,"max-queues":5}\n'),
            (["set_vhost_limits", "-p", "nope", both], setting % (both, "nope"), NO_VHOST, 65),
            ("clear_vhost_limits -p v1", clearing % "v1"),
            ("clear_vhost_limits -p v1", clearing % "v1", none, 69),
            ("clear_vhost_limits -p nope", clearing % "nope", none, 69),
        ])

    def test_limits_that_are_none_are_explained(self):
        for definition, why in (
                ('{"bogus": 10}', 'Unrecognised terms [{<<"bogus">>,10}] in limits'),
                ('{"max-connections": "x"}',
                 'max-connections should be a number, actually was <<"x">>')):
            self.says(["set_vhost_limits", "-p", "v1", definition],
                      'Setting vhost limits to "%s" for vhost "v1" ...\n' % definition,
                      failed("Validation failed\n\n%s\n" % why), 69)
        self.says("set_vhost_limits -p v1 notjson",
                  'Setting vhost limits to "notjson" for vhost "v1" ...\n', failed(
                      'Could not parse JSON document: {error,{failed_to_decode_json,<<"notjson">>}}'), 69)
        self.misused("set_vhost_limits", "not enough arguments.",
                     "set_vhost_limits [--vhost <vhost>] <definition>")

    def test_limits_in_json(self):
        self.does(["set_vhost_limits", "-p", "v1", '{"max-queues": 0}'])
        self.assertEqual(json.loads(self.does("list_vhost_limits -p v1 --formatter json").out),
                         {"node": "NODE", "result": "ok", "value": '{"max-queues":0}'})
        self.assertEqual(json.loads(self.does("list_vhost_limits --global --formatter json").out),
                         [{"vhost": "v1", "limits": '{"max-queues":0}'}])


class UserLimits(CtlTest):
    def setUp(self):
        self.user("u1")

    def test_limits_are_set_listed_and_cleared(self):
        both = '{"max-connections": 10, "max-channels": 5}'
        setting = 'Setting user limits to "%s" for user "%s" ...\n'
        listing = 'Listing limits for user "%s" ...\n'
        clearing = 'Clearing "%s" limit for user "%s" ...\n'
        nobody = failed('{:no_such_user, "nope"}')
        self.all_say([
            ("list_user_limits", listing % "guest" + "{}\n"),
            (["set_user_limits", "u1", both], setting % (both, "u1")),
            (["set_user_limits", "nope", both], setting % (both, "nope"), nobody, 69),
            ("list_user_limits --user u1",
             listing % "u1" + '{"max-channels":5,"max-connections":10}\n'),
            ("list_user_limits --user nope", listing % "nope", nobody, 69),
            ("list_user_limits --global", "Listing limits for all users ...\nuser\tlimits\n"
             'u1\t{"max-channels":5,"max-connections":10}\n'),
            ("clear_user_limits u1 max-connections", clearing % ("max-connections", "u1")),
            ("clear_user_limits u1 bogus", clearing % ("bogus", "u1")),
            ("clear_user_limits nope bogus", clearing % ("bogus", "nope"), nobody, 69),
            ("list_user_limits --user u1 -q", '{"max-channels":5}\n'),
            ("clear_user_limits u1 all", 'Clearing all limits for user "u1" ...\n'),
            ("list_user_limits --user u1 -q", "{}\n"),
        ])

    def test_limits_that_are_none_are_explained(self):
        for definition, why in (
                ('{"bogus": 10}', 'Unrecognised terms [{<<"bogus">>,10}] in user-limits'),
                ('{"max-connections": "x"}',
                 'max-connections should be a number, actually was <<"x">>'),
                ("notjson",
                 'Could not parse JSON document: {error,{failed_to_decode_json,<<"notjson">>}}')):
            self.says(["set_user_limits", "u1", definition],
                      'Setting user limits to "%s" for user "u1" ...\n' % definition, failed(why), 69)

    def test_limits_in_json(self):
        self.does(["set_user_limits", "u1", '{"max-connections": 1}'])
        self.assertEqual(json.loads(self.does("list_user_limits --user u1 --formatter json").out),
                         {"message": '{"max-connections":1}'})


class TopicPermissions(CtlTest):
    def setUp(self):
        self.user("u1")
        self.vhost("v1")

    def test_topic_permissions_are_set_listed_and_cleared(self):
        setting = 'Setting topic permissions on "%s" for user "%s" in vhost "%s" ...\n'
        clearing = 'Clearing topic permissions for user "%s" in vhost "%s" ...\n'
        self.all_say([
            ("list_topic_permissions -p v1", 'Listing topic permissions for vhost "v1" ...\n\n'),
            ("set_topic_permissions -p v1 u1 amq.topic ^a ^b", setting % ("amq.topic", "u1", "v1")),
            ("set_topic_permissions -p v1 u1 noexch ^a ^b", setting % ("noexch", "u1", "v1")),
            ("set_topic_permissions nope amq.topic ^a ^b", setting % ("amq.topic", "nope", "/"),
             failed("User nope does not exist"), 67),
            ("set_topic_permissions -p nope u1 amq.topic ^a ^b",
             setting % ("amq.topic", "u1", "nope"), failed("Virtual host nope does not exist"), 69),
            ("set_topic_permissions u1 amq.topic '(' ^b", setting % ("amq.topic", "u1", "/"),
             failed('{:invalid_regexp, "(", {~c"missing )", 1}}'), 69),
            ("list_topic_permissions -p v1", 'Listing topic permissions for vhost "v1" ...\n'
             "user\texchange\twrite\tread\nu1\tamq.topic\t^a\t^b\nu1\tnoexch\t^a\t^b\n"),
            ("list_topic_permissions -p nope", 'Listing topic permissions for vhost "nope" ...\n',
             NO_VHOST, 65),
            # This one has no header.
            ("list_user_topic_permissions u1", 'Listing topic permissions for user "u1" ...\n'
             "v1\tamq.topic\t^a\t^b\nv1\tnoexch\t^a\t^b\n"),
            ("list_user_topic_permissions nope", 'Listing topic permissions for user "nope" ...\n',
             failed('{:no_such_user, "nope"}'), 69),
            ("clear_topic_permissions -p v1 u1 noexch", 'Clearing topic permissions on "noexch" '
             'for user "u1" in vhost "v1" ...\n'),
            ("list_topic_permissions -p v1 -s", "u1\tamq.topic\t^a\t^b\n"),
            ("clear_topic_permissions -p v1 u1", clearing % ("u1", "v1")),
            ("clear_topic_permissions nope", clearing % ("nope", "/")),
            ("clear_topic_permissions -p nope u1", clearing % ("u1", "nope")),
            ("list_topic_permissions -p v1 --formatter json", "[]\n"),
        ])
        self.misused("set_topic_permissions u1 amq.topic a", "not enough arguments.",
                     "set_topic_permissions [--vhost <vhost>] <username> <exchange> <write> <read>")
        self.misused("clear_topic_permissions u1 a b", "too many arguments.",
                     "clear_topic_permissions [--vhost <vhost>] <username> [<exchange>]")

    def test_topic_permissions_in_json(self):
        self.does("set_topic_permissions -p v1 u1 amq.topic ^a ^b")
        self.assertEqual(json.loads(self.does("list_user_topic_permissions u1 --formatter json").out),
                         [{"vhost": "v1", "exchange": "amq.topic", "write": "^a", "read": "^b"}])
