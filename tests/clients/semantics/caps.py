# SPDX-License-Identifier: Apache-2.0
"""Where the broker says enough: C16, C37, C93, C102, S39."""
import socket
import time

import amqp_raw
import broker as broker_module
from amqp_raw import Closed, Raw, Timeout, frame, method_frame
from semantics.base import Case

MIB = 1 << 20
PIECE = MIB // 4     # small enough for the sockets when nobody reads


class Sizes(Case):
    def test_C93_a_message_that_is_too_large(self):
        """Also S39; the largest is fine. Only the whole content shows that it is too large."""
        largest = (16 if self.v40 else 128) * MIB
        if not self.v40:
            self.skipTest("128 MiB: seen once by hand, 406 with this text")
        channel = self.confirming()
        queue = self.queue(channel=channel)
        body = b"x" * (largest + 1)
        channel.publish(body[1:], routing_key=queue)
        channel.confirmed()
        self.assertEqual(len(channel.call("basic.get", queue=queue, no_ack=True).body), largest)
        channel.publish(body, routing_key=queue)
        self.channel_error(channel, 406, "basic.publish", "PRECONDITION_FAILED - message size %d "
                           "is larger than configured max size %d" % (largest + 1, largest))
        self.assertEqual(self.count(channel, queue), 0)

    def test_C37_a_header_that_announces_more_than_ever_comes(self):
        # RabbitMQ does not mind: it would notice when all of it had come.
        connection = self.connect()
        channel = connection.channel()
        connection.write(method_frame(1, "basic.publish", routing_key="k")
                         + frame(amqp_raw.HEADER, 1, amqp_raw.encode_header(2**40)))
        other = connection.channel(2)
        self.assertEqual(other.pending(), [])
        connection.write(frame(amqp_raw.BODY, 1, b"x" * 1000))
        self.assertEqual(other.pending(), [])
        connection.close()


class Afar(Case):
    def address(self):
        """An address of this machine that is not a loopback address."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))     # nothing is sent
                found = probe.getsockname()[0]
            except OSError:
                found = "127.0.0.1"
        if found.startswith("127."):
            self.skipTest("this machine has loopback addresses only")
        return found

    def test_C16_guest_is_for_this_machine_only(self):
        if not self.lepus or self.broker.external:
            self.skipTest("needs a listener on another address")
        address = self.address()
        target = broker_module.Broker(settings=["listeners.tcp.afar=%s:0" % address])
        self.addCleanup(target.stop)
        where = next(l for l in target.listeners if address in l)
        for mechanism in ("PLAIN", "ANONYMOUS"):
            connection = Raw(address, int(where.rpartition(":")[2]))
            self.connections.append(connection)
            try:
                connection.handshake(mechanism=mechanism)
                self.fail("logged in")
            except Closed as closed:
                self.check_close(closed.event, 403, None, "ACCESS_REFUSED - Login was refused using authentication "
                                 "mechanism %s. For details see the broker logfile." % mechanism)
        Raw(target.host, target.port).handshake().close()


class Blocked(Case):
    def own(self, **options):
        """A broker of this test only: what it does holds everybody up."""
        self.broker = broker_module.Broker(**options)
        self.addCleanup(self.broker.stop)
        self.addCleanup(self.leave)    # before it stops, which waits for clients

    def leave(self):
        for connection in self.connections:
            connection.drop()
        self.connections.clear()

    def test_C102_publishers_are_told_and_wait(self):
        """Consumers go on, and new connections are taken."""
        if self.broker.external or not self.lepus:
            self.skipTest("needs a broker whose memory is small")
        self.own(shards=1, settings=["lepus.memory=128MiB", "vm_memory_high_watermark.absolute=64MiB",
                                     "lepus.log.backlog_bytes=1GB"])      # no message goes to disk
        channel, queue = self.confirming(), self.prefix + "q"
        deaf = self.channel(capabilities=())
        channel.call("queue.declare", queue=queue)
        connection, sent = channel.connection, 0
        while not connection.events[0]:
            self.assertLess(sent * PIECE, 128 * MIB)
            channel.publish(b"x" * PIECE, routing_key=queue)
            sent += 1
            self.news(connection, 0.02)
        event = connection.next(0)
        self.assertEqual((event.name, event.reason), ("connection.blocked", "low on memory"))
        deaf.publish(b"deaf", routing_key=queue)
        taker = self.channel()
        taker.call("basic.consume", queue=queue, no_ack=True)
        bodies = [e.body for e in self.deliveries(taker, sent + 1)]
        self.assertEqual(sorted(len(b) for b in bodies), [4] + [PIECE] * sent)
        self.assertEqual(connection.next(0).name, "connection.unblocked")
        channel.confirmed(sent)
        self.assertEqual(deaf.pending(), [])
        self.assertEqual(list(deaf.connection.events[0]), [])

    def test_C102_a_disk_with_little_room_is_an_alarm_of_its_own(self):
        """It begins and ends with the limit; who only consumes is not told."""
        if not self.broker.has_ctl:
            self.skipTest("needs rabbitmqctl")
        if not self.broker.external:
            self.own()
        self.addCleanup(lambda: self.broker.ctl("set_disk_free_limit", "50MB"))
        channel, taker, queue = self.confirming(), self.channel(), self.prefix + "q"
        channel.call("queue.declare", queue=queue)
        taker.call("basic.consume", queue=queue, no_ack=True)
        channel.publish(b"before", routing_key=queue)
        channel.confirmed(1)
        self.broker.ctl("set_disk_free_limit", "1000000000GB")
        self.assertIn("disk", self.broker.ctl("status").stdout.partition("Alarms")[2].partition("Memory")[0])
        channel.publish(b"held", routing_key=queue)
        event = channel.connection.next(0)
        self.assertEqual((event.name, event.reason), ("connection.blocked", "low on disk"))
        self.assertEqual([e.body for e in self.deliveries(taker, 1)], [b"before"])
        self.assertEqual(self.channel().call("queue.declare", queue=queue, passive=True).queue, queue)
        self.broker.ctl("set_disk_free_limit", "1kB")
        self.assertEqual(channel.connection.next(0).name, "connection.unblocked")
        channel.confirmed(1)
        self.assertEqual([e.body for e in self.deliveries(taker, 1)], [b"held"])
        self.assertEqual(list(taker.connection.events[0]), [])

    def alarm(self, verb, resource):
        about = "{resource_limit, %s, node()}" % resource
        form = {"set": "rabbit_alarm:set_alarm({%s, []}).", "clear": "rabbit_alarm:clear_alarm(%s)."}[verb]
        self.assertEqual(self.broker.ctl("eval", form % about).stdout, "ok\n")

    def test_C102_an_alarm_may_be_asked_for_as_test_suites_of_clients_do(self):
        """Java's and others' evaluate these on the node."""
        if not self.broker.has_ctl:
            self.skipTest("needs rabbitmqctl")
        if not self.broker.external:
            self.own()
        for resource in ("memory", "disk"):
            self.addCleanup(self.alarm, "clear", resource)
        channel, queue = self.confirming(), self.prefix + "q"
        channel.call("queue.declare", queue=queue)
        for resource in ("memory", "disk"):
            self.alarm("set", resource)
            channel.publish(b"held", routing_key=queue)
            event = channel.connection.next(0)
            self.assertEqual((event.name, event.reason), ("connection.blocked", "low on " + resource))
            alarms = self.broker.ctl("status").stdout.partition("Alarms")[2].partition("Memory\n")[0]
            self.assertIn(resource, alarms.lower())
            self.assertEqual(self.count(self.channel(), queue), 0)
            self.alarm("clear", resource)
            self.assertEqual(channel.connection.next(0).name, "connection.unblocked")
            channel.call("queue.purge", queue=queue)

    def test_C21_channel_max_may_be_set_for_clients_to_come(self):
        if not self.broker.has_ctl:
            self.skipTest("needs rabbitmqctl")
        if not self.broker.external:
            self.own()
        form = "application:set_env(rabbit, channel_max, %d)."
        self.addCleanup(lambda: self.broker.ctl("eval", form % 2047))
        before = self.channel()
        for channel_max in (7, 0):
            self.assertEqual(self.broker.ctl("eval", form % channel_max).stdout, "ok\n")
            self.assertEqual(self.connect().tune.channel_max, channel_max)
            if self.lepus:
                self.assertIn("\nchannel_max = %d\n" % channel_max, self.broker.ctl("environment").stdout)
        before.connection.channel(2047)

    def test_C16_who_may_come_from_this_machine_only_may_be_set_for_logins_to_come(self):
        """Java's evaluates these on the node, and puts back what it got, line feed and all."""
        if not self.broker.has_ctl:
            self.skipTest("needs rabbitmqctl")
        if not self.broker.external:
            self.own()
        get = "application:get_env(rabbit, loopback_users)"
        form = "application:set_env(rabbit, loopback_users, %s)."
        before = self.broker.ctl("eval", "{ok, V} = %s, V." % get).stdout
        self.addCleanup(lambda: self.broker.ctl("eval", form % before))
        for users in ('[]', '[<<"ann">>,<<"guest">>]'):
            self.assertEqual(self.broker.ctl("eval", form % users).stdout, "ok\n")
            self.assertEqual(self.broker.ctl("eval", get + ".").stdout, "{ok,%s}\n" % users)
        if self.lepus:
            self.assertIn("\nloopback_users.ann = true\n", self.broker.ctl("environment").stdout)
        self.assertEqual(self.broker.ctl("eval", form % before).stdout, "ok\n")
        self.assertEqual(self.broker.ctl("eval", "{ok, Was} = %s, Was." % get).stdout, before)

    def news(self, connection, seconds):
        """Take in what comes within a moment: nothing may come."""
        until = time.monotonic() + seconds
        try:
            while not connection.events[0]:
                connection.pump(until)
        except Timeout:
            pass
