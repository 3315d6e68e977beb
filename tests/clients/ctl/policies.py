# SPDX-License-Identifier: Apache-2.0
"""policies - policies, operator policies, parameters."""
import json

from ctl.base import CtlTest
from ctl.users import failed
from ctl.vhosts import NO_VHOST

SETTING = 'Setting policy "%s" for pattern "%s" to "%s" with priority "%d" for vhost "%s" ...\n'
NOT_THERE = failed("Parameter does not exist")


def invalid(text):
    return failed("Validation failed\n\n%s\n" % text)


class Policies(CtlTest):
    def setUp(self):
        self.vhost("v1")

    def set_policy(self, name, pattern, definition, *options):
        return ["set_policy", "-p", "v1", name, pattern, definition, *options]

    def test_policies_are_set_listed_and_cleared(self):
        long = '{"max-length":10,"dead-letter-exchange":"dlx","message-ttl":1000}'
        short = '{"max-length":10}'
        header = 'Listing policies for vhost "%s" ...\n'
        self.all_say([
            ("list_policies -p v1", header % "v1" + "\n"),
            (self.set_policy("p1", "^a", long), SETTING % ("p1", "^a", long, 0, "v1")),
            (self.set_policy("p2", "^b", short, "--priority", "5", "--apply-to", "queues"),
             SETTING % ("p2", "^b", short, 5, "v1")),
            (["set_policy", "-p", "nope", "p", "^b", short],
             SETTING % ("p", "^b", short, 0, "nope"), NO_VHOST, 65),
            ("list_policies -p v1", header % "v1" +
             "vhost\tname\tpattern\tapply-to\tdefinition\tpriority\n"
             'v1\tp1\t^a\tall\t{"dead-letter-exchange":"dlx","max-length":10,"message-ttl":1000}\t0\n'
             'v1\tp2\t^b\tqueues\t{"max-length":10}\t5\n'),
            ("list_policies -p nope", header % "nope", NO_VHOST, 65),
            ("clear_policy -p v1 p1", 'Clearing policy "p1" on vhost "v1" ...\n'),
            ("clear_policy -p v1 p1", 'Clearing policy "p1" on vhost "v1" ...\n', NOT_THERE, 69),
            ("clear_policy -p nope p1", 'Clearing policy "p1" on vhost "nope" ...\n', NOT_THERE, 69),
        ])
        self.assertEqual(json.loads(self.does("list_policies -p v1 --formatter json").out),
                         [{"vhost": "v1", "name": "p2", "pattern": "^b", "apply-to": "queues",
                           "definition": '{"max-length":10}', "priority": 5}])

    def test_policies_that_are_none_are_explained(self):
        for pattern, definition, options, why in (
                ("^b", '{"max-length":10}', ["--apply-to", "bogus"],
                 "apply-to 'bogus' unrecognised; should be one of: 'queues', 'classic_queues',  "
                 "'quorum_queues', 'streams', 'exchanges', or 'all'"),
                ("(", '{"max-length":10}', [],
                 'pattern should be regular expression but is invalid: {"missing )",1}'),
                ("^b", "{}", [], "no policy provided"),
                ("^b", '{"bogus":10}', [],
                 '[{<<"bogus">>,10}] are not recognised policy settings'),
                ("^b", '{"max-length":"x"}', [], '<<"x">> is not a valid maximum length'),
                ("^b", '{"max-length":-1}', [], "-1 is not a valid maximum length")):
            self.says(self.set_policy("p3", pattern, definition, *options),
                      SETTING % ("p3", pattern, definition, 0, "v1"), invalid(why), 69)
        self.says(self.set_policy("p3", "^b", "notjson"), SETTING % ("p3", "^b", "notjson", 0, "v1"),
                  failed('Could not parse JSON document: {error,{failed_to_decode_json,<<"notjson">>}}'),
                  69)
        usage = ("set_policy [--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] "
                 "<name> <pattern> <definition>")
        self.misused("set_policy p ^b x --priority x",
                     "Invalid options for this command:\n--priority : x", usage)
        self.misused("set_policy p ^b", "not enough arguments.", usage)

    def test_operator_policies(self):
        setting = ('Setting operator policy override "%s" for pattern "%s" to "%s" with priority '
                   '"%d" for vhost "%s" ...\n')
        length = '{"max-length":3}'
        dead = '{"dead-letter-exchange":"x"}'
        clearing = 'Clearing operator policy "o1" on vhost "v1" ...\n'
        self.all_say([
            (["set_operator_policy", "-p", "v1", "o1", "^q", length],
             setting % ("o1", "^q", length, 0, "v1")),
            (["set_operator_policy", "-p", "v1", "o2", "^q", length, "--priority", "3",
              "--apply-to", "queues"], setting % ("o2", "^q", length, 3, "v1")),
            (["set_operator_policy", "-p", "v1", "o3", "^q", dead],
             setting % ("o3", "^q", dead, 0, "v1"),
             invalid('[{<<"dead-letter-exchange">>,<<"x">>}] are not recognised policy settings'), 69),
            ("list_operator_policies -p v1",
             'Listing operator policy overrides for vhost "v1" ...\n'
             "vhost\tname\tpattern\tapply-to\tdefinition\tpriority\n"
             'v1\to1\t^q\tall\t{"max-length":3}\t0\nv1\to2\t^q\tqueues\t{"max-length":3}\t3\n'),
            ("clear_operator_policy -p v1 o1", clearing),
            ("clear_operator_policy -p v1 o1", clearing, NOT_THERE, 69),
            # RabbitMQ keeps them as parameters.
            ("list_parameters -p v1", 'Listing runtime parameters for vhost "v1" ...\n'
             'component\tname\tvalue\noperator_policy\to2\t{"pattern":"^q","definition":'
             '{"max-length":3},"priority":3,"apply-to":"queues"}\n'),
        ])

    def test_what_applies_is_listed_with_queues_and_exchanges(self):
        self.does("set_permissions -p v1 guest .* .* .*")
        channel = self.connect("v1").channel()
        channel.queue_declare("q1", durable=True)
        channel.queue_declare("other", durable=True)
        channel.exchange_declare("q-exchange", "topic", durable=True)
        self.does(self.set_policy("p1", "^q", '{"max-length":10,"overflow":"reject-publish"}',
                                  "--apply-to", "queues"))
        self.does(self.set_policy("p2", "^q", '{"alternate-exchange":"ae"}', "--apply-to", "exchanges"))
        self.does(["set_operator_policy", "-p", "v1", "o1", "^q", '{"max-length":3}'])
        columns = "name policy operator_policy effective_policy_definition"
        rows = self.does("list_queues -p v1 -s " + columns).out.splitlines()
        self.assertEqual(set(rows), {
            'q1\tp1\to1\t[{<<"max-length">>, 3}, {<<"overflow">>, reject-publish}]',
            "other\t\t\t[]"})
        rows = json.loads(self.does("list_queues -p v1 --formatter json " + columns).out)
        self.assertIn({"name": "q1", "policy": "p1", "operator_policy": "o1",
                       "effective_policy_definition": {"max-length": 3, "overflow": "reject-publish"}},
                      rows)
        rows = self.does("list_exchanges -p v1 -s name policy").out.splitlines()
        self.assertIn("q-exchange\tp2", rows)
        self.assertIn("amq.topic\t", rows)


class Parameters(CtlTest):
    def setUp(self):
        self.vhost("v1")

    def test_parameters_of_components_that_are_not_there_are_refused(self):
        setting = 'Setting runtime parameter "%s" for component "%s" to "%s" in vhost "v1" ...\n'
        self.all_say([
            (["set_parameter", "-p", "v1", "bogus", "name", '{"a":1}'],
             setting % ("name", "bogus", '{"a":1}'), invalid("component bogus not found"), 69),
            (["set_parameter", "-p", "v1", "bogus", "name", "notjson"],
             setting % ("name", "bogus", "notjson"), failed(
                 'Could not parse JSON document: {error,{failed_to_decode_json,<<"notjson">>}}'), 69),
            ("clear_parameter -p v1 bogus name", 'Clearing runtime parameter "name" for component '
             '"bogus" on vhost "v1" ...\n', NOT_THERE, 69),
            ("list_parameters -p v1", 'Listing runtime parameters for vhost "v1" ...\n\n'),
            ("list_parameters -p nope", 'Listing runtime parameters for vhost "nope" ...\n',
             NO_VHOST, 65),
        ])
        self.misused("set_parameter federation", "not enough arguments.",
                     "set_parameter [--vhost <vhost>] <component_name> <name> <value>")

    def test_global_parameters(self):
        setting = 'Setting global runtime parameter "%s" to "%s" ...\n'
        clearing = 'Clearing global runtime parameter "gp1" ...\n'
        self.addCleanup(lambda: self.run_tool("clear_global_parameter gp2"))
        self.all_say([
            (["set_global_parameter", "gp1", '{"a":1,"b":"x"}'], setting % ("gp1", '{"a":1,"b":"x"}')),
            (["set_global_parameter", "gp2", '"str"'], setting % ("gp2", '"str"')),
            (["set_global_parameter", "gp3", "notjson"], setting % ("gp3", "notjson"), failed(
                'Could not parse JSON document: {error,{failed_to_decode_json,<<"notjson">>}}'), 69),
        ])
        rows = self.does("list_global_parameters").rows()
        self.assertIn(("gp1", '{"a":1,"b":"x"}'), rows)
        self.assertIn(("gp2", '"str"'), rows)
        self.says("clear_global_parameter gp1", clearing)
        self.says("clear_global_parameter gp1", clearing, NOT_THERE, 69)
        self.misused("set_global_parameter gp3", "not enough arguments.",
                     "set_global_parameter <name> <value>")
