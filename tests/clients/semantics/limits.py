# SPDX-License-Identifier: Apache-2.0
"""Limits of users and virtual hosts, and what their deletion does: C20, C82, C140."""
import json
import re
import time
import uuid

from amqp_raw import DEADLINE_S
from semantics.base import Case, Closed


class Limits(Case):
    def vhost(self):
        """A virtual host of this test's own, in which `guest` may do everything."""
        if not self.broker.has_ctl:
            self.skipTest("needs the broker's command-line tool")
        name = "v" + uuid.uuid4().hex[:8]
        self.broker.ctl("add_vhost", name)
        self.addCleanup(lambda: self.broker.ctl("delete_vhost", name, check=False))
        self.broker.ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return name

    def limit(self, command, *arguments):
        result = self.broker.ctl(command, *arguments, check=False)
        if self.lepus and result.returncode == 64:
            self.skipTest("no %s yet" % command)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def open_refused(self, text, **options):
        """connection.open is answered with 530 and this text."""
        with self.assertRaises(Closed) as caught:
            self.connect(**options)
        self.check_close(caught.exception.event, 530, "connection.open", "NOT_ALLOWED - " + text)

    def until_open(self, **options):
        """RabbitMQ counts a closed connection for a moment longer."""
        until = time.monotonic() + DEADLINE_S
        while True:
            try:
                return self.connect(**options)
            except Closed:
                self.assertLess(time.monotonic(), until, "still refused")

    def test_C20_connections_in_a_vhost_530(self):
        vhost = self.vhost()
        self.limit("set_vhost_limits", "-p", vhost, json.dumps({"max-connections": 1}))
        first = self.connect(vhost=vhost)
        text = ("access to vhost '%s' refused for user 'guest': connection limit (1) is reached"
                % vhost)
        self.open_refused(text, vhost=vhost)
        first.close()
        self.until_open(vhost=vhost)

    def test_C20_connections_of_a_user_530(self):
        who = self.user()
        self.limit("set_user_limits", who["user"], json.dumps({"max-connections": 1}))
        first = self.connect(**who)
        text = ("connection refused for user '%s': user connection limit (1) is reached"
                % who["user"])
        self.open_refused(text, **who)
        first.close()
        self.until_open(**who)

    def test_C82_queues_in_a_vhost_406(self):
        vhost = self.vhost()
        self.limit("set_vhost_limits", "-p", vhost, json.dumps({"max-queues": 1}))
        channel = self.connect(vhost=vhost).channel(1)
        channel.call("queue.declare", queue="a")
        channel.call("queue.declare", queue="a")
        channel.send("queue.declare", queue="b")
        self.channel_error(channel, 406, "queue.declare", "PRECONDITION_FAILED - cannot declare "
                           "queue 'b': queue limit in vhost '%s' (1) is reached" % vhost)
        self.limit("clear_vhost_limits", "-p", vhost)
        channel.call("queue.declare", queue="b")

    def test_C20_channels_of_a_user_530(self):
        who = self.user()
        self.limit("set_user_limits", who["user"], json.dumps({"max-channels": 2}))
        first, second = self.connect(**who), self.connect(**who)
        first.channel(1)
        second.channel(1)
        second.send(2, "channel.open")
        # RabbitMQ 4.0 means to name the user and names the node.
        name = who["user"] if self.lepus or not self.v40 else "[^']+"
        self.connection_error(second, 530, None, lambda text:
                              re.fullmatch("NOT_ALLOWED - number of channels opened for user '%s' "
                                           "has reached the maximum allowed user limit of \\(2\\)"
                                           % name, text))
        self.limit("clear_user_limits", who["user"], "all")
        first.channel(2)

    def test_C20_limits_hold_when_the_control_process_comes_back(self):
        if not self.lepus or self.broker.external:
            self.skipTest("kills a process of a Lepus of our own")
        who = self.user()
        self.limit("set_user_limits", who["user"],
                   json.dumps({"max-connections": 1, "max-channels": 1}))
        connection = self.connect(**who)
        connection.channel(1)
        self.assertTrue(self.broker.kill_control())
        self.open_refused("connection refused for user '%s': user connection limit (1) is reached"
                          % who["user"], **who)
        connection.send(2, "channel.open")
        self.connection_error(connection, 530, None, lambda text: "user limit of (1)" in text)
        self.until_open(**who)

    def test_C140_connections_of_a_deleted_user_320(self):
        who = self.user()
        connection = self.connect(**who)
        self.broker.ctl("delete_user", who["user"])
        self.connection_error(connection, 320, None,
                              "CONNECTION_FORCED - user '%s' is deleted" % who["user"])

    def test_C140_connections_of_a_deleted_vhost_320(self):
        vhost = self.vhost()
        connection = self.connect(vhost=vhost)
        self.broker.ctl("delete_vhost", vhost)
        closed = connection.next(0)
        # In RabbitMQ two processes tell the connection; which one is first is chance.
        why = "deleted" if not self.lepus and closed.text.endswith("deleted") else "down"
        self.check_close(closed, 320, None, "CONNECTION_FORCED - vhost '%s' is %s" % (vhost, why))
