# SPDX-License-Identifier: Apache-2.0
"""The edges of connections and channels: C5, C6, C10, C13, C14, C34, C39, C42,
C43, C57."""
import struct
import time

from amqp_raw import BODY, HEADER, METHOD, EndOfStream, encode_header, frame, method_frame
from semantics.base import Case


class Edges(Case):
    def opening(self):
        """A connection that has everything but its connection.open."""
        connection = self.dial()
        connection.start()
        connection.start_ok()
        tune = connection.next(0)
        connection.send(0, "connection.tune-ok", channel_max=tune.channel_max,
                        frame_max=tune.frame_max, heartbeat=0)
        return connection

    def refused(self):
        """A channel that the server has closed and that waits for our close-ok."""
        channel = self.channel()
        channel.send("basic.get", queue=self.prefix + "no")
        self.assertEqual(channel.next("channel.close").code, 404)
        return channel

    def test_C5_open_before_close_ok_504(self):
        channel = self.refused()
        channel.send("channel.open")
        self.connection_error(channel.connection, 504, "channel.open",
                              "CHANNEL_ERROR - second 'channel.open' seen", channel=1)

    def test_C5_contents_on_a_closed_channel_are_counted_off(self):
        channel = self.refused()
        publish = method_frame(1, "basic.publish", routing_key="k")
        for size in (0, 5):
            channel.connection.write(publish + frame(HEADER, 1, encode_header(size))
                                     + (frame(BODY, 1, b"x" * size) if size else b""))
        channel.send("channel.close")
        channel.next("channel.close-ok")
        channel.connection.write(publish + frame(HEADER, 1, encode_header(5)))
        channel.send("channel.close-ok")
        self.connection_error(channel.connection, 505, "basic.publish", "UNEXPECTED_FRAME - "
                              "expected content body, got non content body frame instead",
                              channel=1)

    def test_C5_a_body_out_of_turn_on_a_closed_channel_505(self):
        channel = self.refused()
        channel.connection.write(frame(BODY, 1, b"x"))
        self.connection_error(channel.connection, 505, None, "UNEXPECTED_FRAME - expected method "
                              "frame, got non method frame instead", channel=1)

    def test_C42_frames_behind_a_close_are_not_for_a_new_channel(self):
        connection = self.connect()
        for _ in range(20):
            connection.channel()
            connection.write(method_frame(1, "channel.close", code=200)
                             + method_frame(1, "basic.qos") + method_frame(1, "basic.recover"))
            self.assertEqual(connection.next(1).name, "channel.close-ok")

    def test_C6_garbage_after_the_close_ends_it_in_3_s(self):
        channel = self.channel()
        channel.send("basic.recover", requeue=False)
        self.assertEqual(channel.connection.next(0).code, 540)
        channel.connection.write(b"garbage garbage garbage ")
        self.silent_close(channel.connection, 8.0)

    def test_C6_the_stream_is_the_clients_to_close_once_it_has_its_close_ok(self):
        """Its other threads may have written more: a reset could take close-ok with it."""
        channel = self.channel()
        connection = channel.connection
        connection.write(method_frame(0, "connection.close", code=200))
        self.assertEqual(connection.next(0).name, "connection.close-ok")
        for _ in range(100):
            channel.publish(b"lost", routing_key=self.prefix + "no")
        connection.write(method_frame(0, "connection.close", code=200))
        self.assertEqual(connection.next(0).name, "connection.close-ok")
        connection.send(0, "connection.close-ok")
        self.assertEqual(connection.read_to_end(), b"")

    def test_C6_a_client_that_keeps_its_stream_is_dropped_after_a_heartbeat(self):
        connection = self.connect(heartbeat=2)
        connection.send(0, "connection.close", code=200)
        self.assertEqual(connection.next(0).name, "connection.close-ok")
        began = time.monotonic()
        with self.assertRaises(EndOfStream):
            while True:
                connection.pump(began + 10)
        self.assertGreater(time.monotonic() - began, 1.5)
        self.assertFalse(connection.events[0])

    def test_C6_a_client_that_does_not_answer_a_close_is_dropped_after_a_heartbeat(self):
        connection = self.connect(heartbeat=2)
        connection.channel().send("basic.recover", requeue=False)
        self.assertEqual(connection.next(0).code, 540)
        began = time.monotonic()
        with self.assertRaises(EndOfStream):
            while True:
                connection.pump(began + 10)
        self.assertGreater(time.monotonic() - began, 1.5)

    def test_C10_what_is_not_understood_is_told_of_1_0(self):
        other = b"AMQP\x03\x01\0\0" if self.v40 else b"AMQP\0\0\x09\x01"
        for header in (b"AMQP\0\0\x08\0", b"AMQP\x01\x01\0\x0a", b"HTTP/1.1", b"\0" * 8,
                       b"\x16\x03\x01\x02\0\x01\0\x01"):
            connection = self.dial()
            connection.write(header)
            self.assertEqual(connection.read_to_end(), other)
        for header in (b"AMQP\0\0\x09\0", b"AMQP\0\0\xff\xff"):
            connection = self.dial()
            connection.write(header)
            self.assertEqual(connection.read_to_end(), b"AMQP\0\0\x09\x01")

    def test_C14_close_in_a_handshake_is_out_of_turn(self):
        connection = self.dial()
        connection.start()
        connection.send(0, "connection.close", code=200)
        self.silent_close(connection)
        connection = self.dial()
        connection.start()
        connection.start_ok()
        connection.next(0)
        connection.send(0, "connection.close", code=200)
        self.silent_close(connection)
        connection = self.opening()
        connection.send(0, "connection.close", code=200)
        self.connection_error(connection, 504, "connection.close", "CHANNEL_ERROR - unexpected "
                              "method in connection state opening")

    def test_C13_nobody_has_a_name_that_long(self):
        connection = self.dial()
        connection.start()
        connection.start_ok("u" * 300, "p")
        self.check_close(connection.next(0), 403, None, "ACCESS_REFUSED - Login was refused using "
                         "authentication mechanism PLAIN. For details see the broker logfile.")

    def test_C34_weight_is_looked_at_before_the_class(self):
        channel = self.channel()
        channel.send("basic.publish")
        channel.connection.write(frame(HEADER, 1, encode_header(0, class_id=50, weight=3)))
        self.connection_error(channel.connection, 505, "basic.publish",
                              "UNEXPECTED_FRAME - expected content header for class 60, got non "
                              "content header frame instead", channel=1)

    def test_C39_a_vhost_that_is_not_utf8_501(self):
        connection = self.opening()
        connection.send(0, "connection.open", vhost=b"\xff")
        self.connection_error(connection, 501, "connection.open",
                              "FRAME_ERROR - Malformed UTF-8 in shortstr")

    def test_C43_methods_of_servers_on_channel_0_504(self):
        for method, arguments in (("connection.open-ok", b"\0"), ("connection.unblocked", b""),
                                  ("connection.update-secret-ok", b""),
                                  ("channel.open-ok", b"\0\0\0\0")):
            connection = self.connect()
            payload = struct.pack(">HH", *self.method_ids(method)) + arguments
            connection.write(frame(METHOD, 0, payload))
            self.connection_error(connection, 504, method, "CHANNEL_ERROR - unexpected method in "
                                  "connection state running")

    def test_C57_exclusive_queues_are_gone_before_the_server_says_why_it_closes(self):
        for _ in range(10):
            channel = self.channel()
            queue = self.queue("q", channel=channel, exclusive=True)
            channel.call("basic.consume", queue=queue, consumer_tag="t")
            channel.send("basic.consume", queue=queue, consumer_tag="t")
            self.assertEqual(channel.connection.next(0).code, 530)
            self.channel().call("queue.declare", queue=queue, exclusive=True)
            self.connections[-1].close()

    def test_C57_exclusive_queues_are_gone_before_a_close_of_both_sides_is_answered(self):
        if not self.lepus:
            self.skipTest("3.10 and 4.0 do not answer the client's close when theirs crossed it")
        for _ in range(10):
            channel = self.channel()
            queue = self.queue("both", channel=channel, exclusive=True)
            channel.connection.write(method_frame(1, "basic.recover", requeue=False)
                                     + method_frame(0, "connection.close", code=200))
            self.assertEqual(channel.connection.next(0).code, 540)
            self.assertEqual(channel.connection.next(0).name, "connection.close-ok")
            self.channel().call("queue.declare", queue=queue, exclusive=True)
            self.connections[-1].close()
