# SPDX-License-Identifier: Apache-2.0
"""node - the node's life: wait, stop_app, start_app, reset, stop, shutdown; a broker for each test."""
import os
import select
import socket
import subprocess
import unittest

import pika

import broker as broker_module
from ctl.base import CtlTest
from ctl.checks import RUNS, STOPPED
from ctl.users import failed

WAIT = "wait [<pidfile>] [--pid|-P <pid>] [--timeout <timeout>]"
TO_STOP = ("Error: this command requires the 'rabbit' app to be stopped on the target node. Stop it with "
           "'rabbitmqctl stop_app'.")
TO_RUN = ("Error: this command requires the 'rabbit' app to be running on the target node. Start it with "
          "'rabbitmqctl start_app'.")


class Life(CtlTest):
    def setUp(self):
        if self.broker.external:
            raise unittest.SkipTest("it stops brokers")
        self.broker = broker_module.Broker()
        self.addCleanup(self.broker.stop)
        self.pid = self.broker.process.pid

    def ends(self):
        self.assertEqual(self.broker.process.wait(30), 0)

    def a_dead_pid(self):
        one = subprocess.Popen(["true"])
        one.wait()
        return one.pid

    def refuses(self, words, why):
        said = self.run_tool(words)
        self.assertEqual((said.code, said.err.splitlines()[0]), (64, why))

    def waited(self, pid, file=None):
        first = "Waiting for pid file '%s' to appear\npid is %d\n" % (file, pid) if file else ""
        return first + (
            "Waiting for erlang distribution on node 'NODE' while OS process '%d' is running\n"
            "Waiting for applications 'rabbit_and_plugins' to start on node 'NODE'\n"
            "Applications 'rabbit_and_plugins' are running on node 'NODE'\n" % pid)

    def test_the_application_stops_and_starts(self):
        channel = self.connect().channel()
        channel.queue_declare("kept", durable=True)
        self.says("stop_app", "Stopping rabbit application on node NODE ...\n")
        with self.assertRaises(Exception):
            channel.queue_declare("kept", passive=True)
        for words in ("list_queues", "set_log_level debug", "list_channels"):
            self.refuses(words, TO_RUN)
        self.all_say([
            ("check_running", "Checking if RabbitMQ is running on node NODE ...\n", failed(STOPPED), 69),
            ("is_running -q", STOPPED + "\n"),
            ("ping -q", "Ping succeeded\n"),
        ], program="rabbitmq-diagnostics")
        self.all_say([
            ("stop_app", "Stopping rabbit application on node NODE ...\n"),
            ("start_app", "Starting node NODE ...\n"),
            ("start_app", "Starting node NODE ...\n"),
            ("await_startup",),
            ("list_queues -s name", "kept\n"),
        ])
        self.says("check_running -q", RUNS + "\n", program="rabbitmq-diagnostics")
        self.connect().close()

    def test_messages_of_quorum_queues_outlive_the_application(self):
        connection = self.connect()
        channel = connection.channel()
        channel.confirm_delivery()
        for kind in ("classic", "quorum"):
            channel.queue_declare(kind, durable=True, arguments={"x-queue-type": kind})
            for mode in (1, 2):
                channel.basic_publish("", kind, b"x", pika.BasicProperties(delivery_mode=mode))
        connection.close()
        self.does("stop_app")
        self.does("start_app")
        channel = self.connect().channel()
        self.assertEqual([channel.queue_declare(kind, passive=True).method.message_count
                          for kind in ("classic", "quorum")], [1, 2])

    def test_the_port_is_closed_while_the_application_is_stopped(self):
        for _ in range(3):
            self.does("stop_app")
            for _ in range(20):
                with self.assertRaises(ConnectionRefusedError):
                    socket.create_connection((self.broker.host, self.broker.port), 5).close()
            self.does("start_app")
            for _ in range(5):
                self.connect().close()

    def test_a_reset_wants_it_stopped_and_leaves_nothing(self):
        self.does("add_vhost v1")
        self.does("add_user ada secret")
        connection = self.connect()
        connection.channel().queue_declare("gone", durable=True)
        connection.close()
        self.refuses("reset", TO_STOP)
        self.refuses("force_reset", TO_STOP)
        self.does("stop_app")
        self.says("reset", "Resetting node NODE ...\n")
        self.says("force_reset", "Forcefully resetting node NODE ...\n")
        self.does("start_app")
        self.all_say([
            ("list_vhosts -s", "/\n"),
            ("list_users -s", "guest\t[administrator]\n"),
            ("list_queues -s",),
        ])
        self.connect().close()

    def test_wait_wants_a_process_or_a_file_that_names_one(self):
        file = os.path.join(self.broker.data, "lepus.pid")
        self.all_say([
            ("wait --pid %d" % self.pid, self.waited(self.pid)),
            ("wait -P %d -q" % self.pid,),
            (["wait", file], self.waited(self.pid, file)),
        ])
        self.misused("wait", "No pid or pidfile specified", WAIT)
        self.misused("wait -P 1 x", "Cannot specify both pid and pidfile", WAIT)
        self.misused("wait x y", "too many arguments.", WAIT)

    def test_wait_ends_when_nothing_will_come(self):
        garbage = os.path.join(self.broker.work, "garbage")
        with open(garbage, "w") as out:
            out.write("nonsense\n")
        self.says(["wait", "-q", garbage], "", failed("Error: garbage in pid file."), 69)
        late = "Error: operation wait on node NODE timed out. Timeout value used: 200\n"
        self.says(["wait", "-q", "-t", "0.2", garbage + "-not-there"], "", late, 75)
        self.does("stop")
        self.ends()
        self.says("wait -q -P %d" % self.a_dead_pid(), "", failed("Error: process is not running."), 69)
        self.says("wait -q -t 0.2 -P %d" % os.getpid(), "", late, 75)

    def test_wait_sees_a_broker_that_comes(self):
        self.does("stop")
        self.ends()
        line, environment = self.line("rabbitmqctl")
        file = os.path.join(self.broker.data, "lepus.pid")
        waiting = subprocess.Popen([*line, "wait", "-t", "30", file], env=environment,
                                   stdout=subprocess.PIPE, text=True)
        self.addCleanup(waiting.stdout.close)
        self.assertIn("to appear", waiting.stdout.readline())
        self.broker.start()
        self.assertEqual(waiting.wait(30), 0)
        self.assertIn("pid is %d\n" % self.broker.process.pid, waiting.stdout.read())

    def test_shutdown_returns_when_the_process_is_gone(self):
        gone = os.pidfd_open(self.pid)
        self.addCleanup(os.close, gone)
        self.does("stop_app")   # with the application or without
        self.says("shutdown", "Shutting down RabbitMQ node NODE running at PID %d\nWaiting for PID %d to "
                  "terminate\nRabbitMQ node NODE running at PID %d successfully shut down\n"
                  % ((self.pid,) * 3))
        self.assertTrue(select.select([gone], [], [], 0)[0])
        self.ends()
        self.assertEqual(self.run_tool("shutdown").code, 69)
        self.assertEqual(self.run_tool("shutdown --no-wait").code, 69)

    def test_shutdown_need_not_wait(self):
        self.says("shutdown --no-wait")
        self.ends()

    def test_stop_waits_for_the_process_of_a_file(self):
        gone = os.pidfd_open(self.pid)
        self.addCleanup(os.close, gone)
        file = os.path.join(self.broker.data, "lepus.pid")
        self.says(["stop", file], "Stopping and halting node NODE (will monitor pid file %s) ...\nprocess "
                  "%d (take from pid file %s) is no longer running\n" % (file, self.pid, file))
        self.assertTrue(select.select([gone], [], [], 0)[0])
        self.ends()
        banner = "Stopping and halting node NODE ...\n"
        self.says("stop --idempotent", banner + "Node NODE is no longer running\n")
        self.assertEqual(self.run_tool("stop").code, 69)
