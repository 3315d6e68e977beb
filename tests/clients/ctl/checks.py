# SPDX-License-Identifier: Apache-2.0
"""checks - what monitoring asks, when all is well and when it is not."""
import json
import socket

from ctl.base import CtlTest
from ctl.users import failed

RUNS = "RabbitMQ on node NODE is fully booted and running"
STOPPED = "RabbitMQ on node NODE is not running or has not fully booted yet (check with is_booting)"
BOOTED = ("RabbitMQ on node NODE is fully booted (check with is_running), stopped or has not started "
          "booting yet")


class Checks(CtlTest):
    def asks(self, table):
        self.all_say(table, program="rabbitmq-diagnostics")

    def json_of(self, words, code=0):
        """What is said in JSON: on success for standard output, else for standard error."""
        said = self.run_tool(words + " --formatter json", "rabbitmq-diagnostics")
        self.assertEqual(said.code, code, repr(said))
        return json.loads((said.err if code else said.out).splitlines()[-1])

    def a_free_port(self):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            return one.getsockname()[1]

    def test_a_node_that_runs(self):
        self.asks([
            ("check_running", "Checking if RabbitMQ is running on node NODE ...\n%s\n" % RUNS),
            ("is_running", "Asking node NODE for its status ...\n%s\n" % RUNS),
            ("is_booting", "Asking node NODE for its boot status ...\n%s\n" % BOOTED),
            ("check_virtual_hosts", "Checking if all vhosts are running on node NODE ...\n"
             "Node NODE reported all vhosts as running\n"),
            ("check_virtual_hosts -s",),
        ])
        self.assertEqual(self.json_of("is_running")["result"], True)
        self.assertEqual(self.json_of("is_booting")["result"], False)
        self.assertEqual(self.json_of("check_virtual_hosts"), {"result": "ok"})

    def test_no_alarm_is_well(self):
        banner = "Asking node NODE to report any local resource alarms ...\n"
        self.asks([
            ("alarms", "Asking node NODE to report any known resource alarms ...\n"
             "Node NODE reported no alarms, local or clusterwide\n"),
            ("check_alarms", banner + "Node NODE reported no alarms, local or clusterwide\n"),
            ("check_local_alarms", banner + "Node NODE reported no local alarms\n"),
            ("check_alarms -s",),
        ])
        self.assertEqual(self.json_of("check_local_alarms"), {"result": "ok"})

    def test_an_alarm_is_not(self):
        self.addCleanup(self.run_tool, "set_disk_free_limit 50MB")
        self.does("set_disk_free_limit mem_relative 100000.0")
        alarm = "Free disk space alarm on node NODE"
        banner = "Asking node NODE to report any local resource alarms ...\n"
        self.asks([
            ("alarms -q", alarm + "\n"),
            ("check_alarms", banner, alarm + "\n", 69),
            ("check_alarms -s", "", "", 69),
            ("check_local_alarms", banner, failed(alarm), 69),
            ("check_local_alarms -s", "", "", 69),
        ])
        found = self.json_of("check_local_alarms", 69)
        self.assertEqual((found["result"], found["local"]), ("error", [alarm]))
        self.does("set_disk_free_limit 50MB")
        self.asks([("check_alarms -s",)])

    def test_listeners_are_found_by_port_and_by_protocol(self):
        port, free = self.broker.port, self.a_free_port()
        asked = "Asking node NODE if there's an active listener "
        self.asks([
            ("check_port_listener %d" % port, asked + "on port %d ...\n" % port
             + "A listener for port %d is running on node NODE.\n" % port),
            ("check_protocol_listener amqp", asked + "for protocol amqp ...\n"
             "A listener for protocol amqp is running on node NODE.\n"),
        ])
        said = self.run_tool("check_port_listener %d" % free, "rabbitmq-diagnostics")
        self.assertEqual(said.code, 69)
        self.assertIn("No listener for port %d is active on node NODE. Found listeners that use the "
                      "following ports: " % free, said.err)
        self.assertEqual(self.json_of("check_protocol_listener nonsense", 69)["missing"], "nonsense")
        self.assertIn(port, [one["port"] for one in self.json_of("listeners")["listeners"]])
        self.misused("check_port_listener x", "Bad argument: Argument must be a positive integer",
                     "check_port_listener <port> [--timeout <timeout>]", 65, "rabbitmq-diagnostics")

    def test_listeners_can_be_connected_to(self):
        """Lepus's listeners are tried where they are; RabbitMQ's, at the node's name."""
        if not self.is_lepus:
            self.skipTest("the addresses are Lepus's")
        banner = "Testing TCP connections to all active listeners on node NODE using "
        if self.broker.net:
            ports = [where.rpartition(":")[2] for where in self.broker.listeners if where.startswith("tcp:")]
            said = self.run_tool("check_port_connectivity", "rabbitmq-diagnostics")
            self.assertIn("Will connect to %s:5672\n" % self.broker.host, said.out)
            self.assertEqual(sorted(said.out.partition("Successfully connected to ports ")[2].partition(" on")[0]
                                    .split(", ")), sorted(ports))
            self.skipTest("over a device the listeners have several addresses: all answered; the rest is loopback's")
        port = self.broker.port
        self.asks([
            ("check_port_connectivity", banner + "its listeners' addresses ...\n"
             "Will connect to 127.0.0.1:%d\nSuccessfully connected to ports %d on node NODE (using its "
             "listeners' addresses)\n" % (port, port)),
            ("check_port_connectivity --address localhost", banner + "localhost for node IP address ...\n"
             "Will connect to localhost:%d\nSuccessfully connected to ports %d on node NODE (using "
             "localhost for target IP address)\n" % (port, port)),
            ("check_port_connectivity -a 127.0.0.9", banner + "127.0.0.9 for node IP address ...\n"
             "Will connect to 127.0.0.9:%d\nError connecting to 127.0.0.9:%d: econnrefused\n" % (port, port),
             failed("Connection to ports of the following listeners on node NODE failed: \nInterface: "
                    "127.0.0.1, port: %d, protocol: amqp, purpose: AMQP 0-9-1" % port), 69),
        ])
        self.assertEqual(self.json_of("check_port_connectivity")["result"], "ok")
        self.assertEqual(self.json_of("check_port_connectivity -a 127.0.0.9", 69)["failures"][0]["port"], port)
