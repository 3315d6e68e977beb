# SPDX-License-Identifier: Apache-2.0
"""Errors' shape and scope, handshake, negotiation, frames and method order: C1 to C48."""
import struct
import time

import amqp_raw
from amqp_raw import BODY, HEADER, METHOD, Closed, EndOfStream, frame, method_frame
from semantics.base import Case
from stalls import Stalls

EXCLUSIVE = ("cannot obtain exclusive access to locked queue '%s' in vhost '/'. It could be "
             "originally declared on another connection or the exclusive property value does "
             "not match that of the original declaration.")


class Errors(Case):
    def test_C1_text_is_code_name_and_explanation_cut_to_255(self):
        channel = self.channel()
        channel.send("queue.declare", queue="q" * 250, passive=True)
        whole = "NOT_FOUND - no queue '%s' in vhost '/'" % ("q" * 250)
        self.channel_error(channel, 404, "queue.declare", whole[:252] + "...")

    def test_C2_soft_errors_close_the_channel_only(self):
        connection = self.connect()
        first, other = connection.channel(1), connection.channel(2)
        queue = self.queue(channel=first, exclusive=True)
        stranger = self.channel()
        stranger.send("queue.declare", queue=queue, passive=True)
        self.channel_error(stranger, 405, "queue.declare",
                           "RESOURCE_LOCKED - " + EXCLUSIVE % queue)
        first.send("exchange.declare", exchange="amq.nothing", type="direct")
        self.channel_error(first, 403, "exchange.declare", "ACCESS_REFUSED - exchange name "
                           "'amq.nothing' contains reserved prefix 'amq.*'")
        first.send("basic.consume", queue=self.prefix + "no")
        self.channel_error(first, 404, "basic.consume",
                           "NOT_FOUND - no queue '%sno' in vhost '/'" % self.prefix)
        first.send("basic.ack", delivery_tag=7)
        self.channel_error(first, 406, "basic.ack", "PRECONDITION_FAILED - unknown delivery tag 7")
        other.call("queue.declare", queue=queue, passive=True)

    def test_C3_hard_errors_close_the_connection(self):
        connection = self.connect()
        channel = connection.channel()
        connection.channel(2)
        channel.send("basic.qos", prefetch_size=1)
        self.connection_error(connection, 540, "basic.qos",
                              "NOT_IMPLEMENTED - prefetch_size!=0 (1)", channel=1)

    def test_C4_any_error_on_channel_0_closes_the_connection(self):
        connection = self.connect()
        connection.send(0, "queue.declare", queue=self.queue())
        self.connection_error(connection, 504, "queue.declare", "CHANNEL_ERROR - unexpected "
                              "method in connection state running")

    def test_C5_after_channel_close_input_is_ignored(self):
        channel, other = self.confirming(), None
        other = channel.connection.channel(2)
        queue = self.queue(channel=other)
        channel.send("basic.consume", queue=self.prefix + "no")
        channel.publish(b"lost", routing_key=queue)
        channel.send("queue.declare", queue=self.prefix + "no2", passive=True)
        self.check_close(channel.next("channel.close"), 404, "basic.consume",
                         "NOT_FOUND - no queue '%sno' in vhost '/'" % self.prefix)
        channel.publish(b"lost too", routing_key=queue)
        channel.send("channel.close", code=200)
        channel.next("channel.close-ok")
        channel.send("channel.close-ok")
        channel.call("channel.open")
        self.assertEqual(self.count(channel, queue), 0)
        self.assertEqual(channel.pending(), [])

    def test_C6_after_connection_close_input_is_ignored(self):
        connection = self.connect()
        channel = connection.channel()
        queue = self.queue(channel=channel)
        channel.send("basic.publish", immediate=True, routing_key=queue)
        connection.write(amqp_raw.content_frames(1, b"x"))
        channel.publish(b"lost", routing_key=queue)
        try:
            event = connection.next(1)
        except Closed as closed:
            event = closed.event
        self.assertEqual((event.name, event.code), ("connection.close", 540))
        channel.publish(b"lost", routing_key=queue)
        connection.send(1, "queue.declare", queue=queue, passive=True)
        connection.send(0, "connection.close-ok")
        self.assertEqual(connection.read_to_end(), b"")
        self.assertEqual(self.count(self.channel(), queue), 0)

    def test_C7_resources_are_named_by_kind_name_and_vhost(self):
        channel = self.channel()
        exchange = self.exchange(channel=channel)
        channel.send("exchange.declare", exchange=exchange, type="direct", durable=True)
        self.channel_error(channel, 406, "exchange.declare",
                           "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange '%s' in "
                           "vhost '/': received 'true' but current is 'false'" % exchange)
        rights = self.user(write="^$")
        limited = self.channel(**rights)
        limited.publish(b"x", routing_key="anything")
        verb = "write " if self.v40 else ""
        self.channel_error(limited, 403, "basic.publish",
                           "ACCESS_REFUSED - %saccess to exchange 'amq.default' in vhost '/' "
                           "refused for user '%s'" % (verb, rights["user"]))

    def unknown_method(self, payload):
        connection = self.connect()
        connection.channel()
        connection.write(frame(METHOD, 1, payload))
        if self.lepus:
            try:
                connection.next(1)
            except Closed as closed:
                self.assertEqual(closed.event.code, 503)
                self.assertTrue(closed.event.text.startswith("COMMAND_INVALID - "))
                return
        self.silent_close(connection)

    def test_C8_unknown_class_or_method(self):
        self.unknown_method(struct.pack(">HH", 60, 199))
        self.unknown_method(struct.pack(">HH", 77, 10))

    def test_C8_known_but_unimplemented_method_503(self):
        connection = self.connect()
        connection.channel()
        connection.write(method_frame(1, "queue.declare-ok", queue="t"))
        self.connection_error(connection, 503, "queue.declare-ok",
                              "COMMAND_INVALID - unimplemented method", channel=1)

    def test_C8_undecodable_arguments_501(self):
        for payload in (struct.pack(">HH", 50, 10) + b"\0\0\x40ab",
                        amqp_raw.encode_method("basic.recover") + b"more"):
            connection = self.connect()
            connection.channel()
            connection.write(frame(METHOD, 1, payload))
            event = self.first_close(connection, 501)
            ids = struct.unpack(">HH", payload[:4])
            self.assertEqual((event.class_id, event.method_id), ids)
            self.assertTrue(event.text.startswith("FRAME_ERROR - cannot decode <<"), event.text)

    def first_close(self, connection, code, channel=1):
        try:
            raise AssertionError("connection.close expected, got %r" % connection.next(channel))
        except Closed as closed:
            self.assertEqual(closed.event.code, code)
            return closed.event

    def test_C8_method_payload_under_4_bytes_501(self):
        connection = self.connect()
        connection.channel()
        connection.write(frame(METHOD, 1, b"\0\x3c"))
        event = self.first_close(connection, 501)
        self.assertIn("unknown_frame", event.text)


class Handshake(Case):
    def refused_header(self, header, expected):
        connection = self.dial()
        connection.write(header)
        got = connection.read_to_end()
        if self.lepus:      # AMQP 1.0 may not be there: then 0-9-1 is what it can offer
            self.assertIn(got, (b"AMQP\0\0\x09\x01", b"AMQP\x03\x01\0\0"))
        else:
            self.assertEqual(got, expected)

    def test_C9_header_0_9_is_taken_as_0_9_1(self):
        for header in (b"AMQP\0\0\x09\x01", b"AMQP\x01\x01\0\x09"):
            event = self.dial().start(header)
            self.assertEqual((event.major, event.minor), (0, 9))

    def test_C9_header_without_sasl_is_answered_and_closed(self):
        self.refused_header(b"AMQP\0\x01\0\0",
                            b"AMQP\x03\x01\0\0" if self.v40 else b"AMQP\0\0\x09\x01")

    def test_C10_other_headers_are_answered_and_closed(self):
        self.refused_header(b"AMQP\0\0\x0a\x01", b"AMQP\0\0\x09\x01")
        other = b"AMQP\x03\x01\0\0" if self.v40 else b"AMQP\0\0\x09\x01"
        self.refused_header(b"AMQP\x07\x07\x07\x07", other)
        self.refused_header(b"XXXXXXXX", other)

    def test_C11_tls_and_http_are_answered_and_closed(self):
        other = b"AMQP\x03\x01\0\0" if self.v40 else b"AMQP\0\0\x09\x01"
        self.refused_header(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", other)
        self.refused_header(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", other)

    def test_C12_server_properties(self):
        event = self.dial().start()
        for name in ("publisher_confirms", "exchange_exchange_bindings", "basic.nack",
                     "consumer_cancel_notify", "connection.blocked", "consumer_priorities",
                     "authentication_failure_close", "per_consumer_qos"):
            self.assertIs(event.arguments["properties"]["capabilities"].get(name), True, name)
        for name in ("product", "version", "platform", "copyright", "information", "cluster_name"):
            self.assertIsInstance(event.arguments["properties"].get(name), str, name)
        self.assertRegex(event.arguments["properties"]["version"], r"^\d+\.\d+")
        self.assertIn("PLAIN", event.mechanisms.split())
        self.assertIn("AMQPLAIN", event.mechanisms.split())
        self.assertEqual(event.locales, "en_US")

    def test_C13_bad_credentials_with_capability_403(self):
        for user, password in (("guest", "wrong"), ("nobody", "guest"), ("", "")):
            connection = self.dial()
            connection.start()
            connection.start_ok(user, password)
            event = connection.next(0)
            self.check_close(event, 403, None,
                             "ACCESS_REFUSED - Login was refused using authentication mechanism "
                             "PLAIN. For details see the broker logfile.")
            connection.send(0, "connection.close-ok")

    def test_C13_amqplain_logs_in(self):
        connection = self.dial()
        connection.start()
        table = amqp_raw.encode_table({"LOGIN": "guest", "PASSWORD": "guest"})[4:]
        connection.start_ok(mechanism="AMQPLAIN", response=table)
        self.assertEqual(connection.next(0).name, "connection.tune")

    def test_C14_bad_credentials_without_capability_silent(self):
        connection = self.dial()
        connection.start()
        connection.start_ok("guest", "wrong", capabilities=())
        self.silent_close(connection)

    def test_C14_malformed_plain_response_silent(self):
        connection = self.dial()
        connection.start()
        connection.start_ok(response="guest")
        self.silent_close(connection)

    def test_C15_anonymous_is_offered_and_is_guest(self):
        connection = self.dial()
        if self.broker.version < (4, 0):
            self.skipTest("4.0's")
        # 4.0.5 offers the first two in either order, by start; mostly in this one.
        offered = connection.start().mechanisms
        self.assertEqual(sorted(offered.split()), ["AMQPLAIN", "ANONYMOUS", "PLAIN"])
        if self.broker.flavour == "lepus":
            self.assertEqual(offered, "PLAIN AMQPLAIN ANONYMOUS")
        self.dial().handshake(mechanism="ANONYMOUS", response=b"me@example\0\xff")
        connection = self.connections[-1]
        connection.channel(1).call("queue.declare", queue="", exclusive=True)
        if self.broker.has_ctl:
            listed = self.broker.ctl("-q", "list_connections", "user", "auth_mechanism").stdout
            self.assertIn("guest\tANONYMOUS\n", listed)

    def test_C15_unknown_mechanism_silent(self):
        connections = []
        for mechanism in ("plain", "X-UNKNOWN", "anonymous"):
            connection = self.dial()
            connection.start()
            connection.start_ok(mechanism=mechanism)
            connections.append(connection)
        for connection in connections:
            self.silent_close(connection)

    def test_C17_slow_handshake_is_closed(self):
        silent, half = self.dial(), self.dial()
        half.start()
        began = time.monotonic()
        with Stalls() as stalls:
            self.assertEqual(silent.read_to_end(20), b"")
            self.silent_close(half, 20)
        self.assertLess(time.monotonic() - began, 15 + stalls.seconds)

    def test_C18_missing_vhost_530(self):
        connection = self.dial()
        with self.assertRaises(Closed) as caught:
            connection.handshake(vhost="no such")
        self.check_close(caught.exception.event, 530, "connection.open",
                         "NOT_ALLOWED - vhost no such not found")

    def test_C19_forbidden_vhost_530(self):
        rights = self.user(configure=None)
        connection = self.dial()
        with self.assertRaises(Closed) as caught:
            connection.handshake(**rights)
        self.check_close(caught.exception.event, 530, "connection.open",
                         "NOT_ALLOWED - access to vhost '/' refused for user '%s'" % rights["user"])

    def test_C21_tune_values(self):
        tune = self.connect().tune
        self.assertEqual((tune.channel_max, tune.frame_max, tune.heartbeat), (2047, 131072, 60))

    def refused_tune(self, **values):
        connection = self.dial()
        connection.start()
        connection.start_ok()
        connection.next(0)
        connection.send(0, "connection.tune-ok", **{"channel_max": 2047, "frame_max": 131072,
                                                    "heartbeat": 0, **values})
        connection.send(0, "connection.open", vhost="/")
        return connection

    def test_C22_channel_max_of_0_or_above_is_silently_refused(self):
        for connection in [self.refused_tune(channel_max=n) for n in (0, 2048)]:
            self.silent_close(connection)

    def test_C23_frame_max_outside_its_range_is_silently_refused(self):
        for connection in [self.refused_tune(frame_max=n) for n in (4095, 131073, 0)]:
            self.silent_close(connection)
        self.connect(frame_max=4096).channel()

    def test_C24_frames_over_4096_before_tune_are_refused(self):
        connection = self.dial()
        connection.start()
        connection.start_ok(password="p" * 4500)
        self.silent_close(connection)

    def test_C25_clients_heartbeat_wins(self):
        connection = self.connect(heartbeat=1)
        while not connection.heartbeats:
            connection.pump(time.monotonic() + 5)

    def test_C26_idle_server_sends_within_half_the_heartbeat(self):
        connection = self.connect(heartbeat=2)
        began = time.monotonic()
        with Stalls() as stalls:
            while len(connection.heartbeats) < 3:
                connection.write(frame(8, 0, b""))
                connection.pump(time.monotonic() + 5)
        gaps = [b - a for a, b in zip([began] + connection.heartbeats, connection.heartbeats)]
        self.assertLess(max(gaps), 1.6 + stalls.seconds)

    def test_C27_silent_client_is_dropped_between_2T_and_3T(self):
        connection = self.connect(heartbeat=1)
        began = time.monotonic()
        with Stalls() as stalls, self.assertRaises(EndOfStream):
            while True:
                connection.pump(time.monotonic() + 8)
        lasted = time.monotonic() - began
        self.assertGreater(lasted, 1.9)
        self.assertLess(lasted, 3.6 + stalls.seconds)
        self.assertFalse(connection.events[0], "no connection.close expected")

    def test_C27_any_byte_keeps_the_connection(self):
        connection = self.connect(heartbeat=1)
        whole = method_frame(1, "channel.open") + frame(8, 0, b"")
        heard = 0
        for byte in whole[:12]:     # one byte for each heartbeat heard: 6 s and more
            connection.write(bytes([byte]))
            while len(connection.heartbeats) <= heard:
                connection.pump(time.monotonic() + 5)
            heard = len(connection.heartbeats)
        connection.write(whole[12:])
        self.assertEqual(connection.next(1).name, "channel.open-ok")

    def test_C28_heartbeat_on_a_channel_505_and_with_payload_501(self):
        connection = self.connect()
        connection.channel()
        connection.write(frame(8, 1, b""))
        self.hard(connection, 505, "UNEXPECTED_FRAME - ", "type 8, all octets = <<>>")
        connection = self.connect()
        connection.write(frame(8, 0, b"x"))
        self.hard(connection, 501, "FRAME_ERROR - ", "type 8, all octets = <<\"x\">>")

    def hard(self, connection, code, start, within):
        try:
            event = connection.next(0)
        except Closed as closed:
            event = closed.event
        self.assertEqual((event.name, event.code), ("connection.close", code), event)
        self.assertTrue(event.text.startswith(start), event.text)
        self.assertIn(within, " ".join(event.text.split()))
        return event

    def test_C29_channel_max_counts_channels(self):
        """Also S48."""
        connection = self.connect(channel_max=3)
        for number in (1, 65535, 700):
            connection.channel(number)
        connection.send(9, "channel.open")
        self.connection_error(connection, 530, None, "NOT_ALLOWED - "
                              "number of channels opened (3) has reached the negotiated "
                              "channel_max (3)", channel=9)

    def test_C30_update_secret_is_answered(self):
        connection = self.connect()
        connection.send(0, "connection.update-secret", secret="guest", reason="renewed")
        self.assertEqual(connection.next(0).name, "connection.update-secret-ok")


class Frames(Case):
    def refused(self, data, code, start, within, **options):
        connection = self.connect(**options)
        connection.channel()
        connection.write(data)
        return self.hard(connection, code, start, within)

    hard = Handshake.hard

    def test_C31_wrong_end_octet_501(self):
        """Also S46."""
        bad = frame(METHOD, 1, amqp_raw.encode_method("channel.flow", active=True), end=b"\0")
        self.refused(bad, 501, "FRAME_ERROR - type 1, all octets = <<0,20,0,20,1>>",
                     "{invalid_frame_end_marker,")
        body = frame(BODY, 1, bytes(range(40)), end=b"\x01")
        self.refused(body, 501, "FRAME_ERROR - type 3, first 16 octets = <<",
                     "{invalid_frame_end_marker,")

    def test_C31_unknown_frame_type_501(self):
        self.refused(frame(9, 1, b"abc"), 501, "FRAME_ERROR - type 9, all octets = <<",
                     "unknown_frame")

    def test_C32_frame_above_frame_max_501(self):
        big = frame(BODY, 1, b"x" * 4200)
        event = self.refused(big, 501, "FRAME_ERROR - type 3, ", "{frame_too_large,4200,4088}",
                             frame_max=4096)
        self.assertEqual(event.class_id, 0)

    def test_C33_content_when_method_expected_505(self):
        for kind in (HEADER, BODY):
            payload = amqp_raw.encode_header(1) if kind == HEADER else b"x"
            connection = self.connect()
            connection.channel()
            connection.write(frame(kind, 1, payload))
            self.connection_error(connection, 505, None, "UNEXPECTED_FRAME - expected method "
                                  "frame, got non method frame instead", channel=1)

    def content(self, *frames):
        """publish, then these (kind, payload) frames; the connection."""
        connection = self.connect()
        connection.channel()
        connection.write(method_frame(1, "basic.publish", routing_key="nobody")
                         + b"".join(frame(kind, 1, payload) for kind, payload in frames))
        return connection

    def content_error(self, connection, text):
        self.connection_error(connection, 505, "basic.publish", "UNEXPECTED_FRAME - " + text,
                              channel=1)

    NOT_HEADER = "expected content header for class 60, got non content header frame instead"
    NOT_BODY = "expected content body, got non content body frame instead"

    def test_C34_no_header_after_publish_505(self):
        method = amqp_raw.encode_method("basic.qos")
        self.content_error(self.content((METHOD, method)), self.NOT_HEADER)
        self.content_error(self.content((BODY, b"x")), self.NOT_HEADER)
        weight = amqp_raw.encode_header(1, weight=1)
        self.content_error(self.content((HEADER, weight)), self.NOT_HEADER)
        other = amqp_raw.encode_header(1, class_id=50)
        self.content_error(self.content((HEADER, other)), "expected content header for class 60, "
                           "got one for class 50 instead")

    def test_C35_no_body_after_header_505(self):
        header = (HEADER, amqp_raw.encode_header(5))
        self.content_error(self.content(header, (BODY, b"ab"), header), self.NOT_BODY)
        method = (METHOD, amqp_raw.encode_method("basic.qos"))
        self.content_error(self.content(header, method), self.NOT_BODY)

    def test_C36_body_longer_than_announced_505(self):
        method = (METHOD, amqp_raw.encode_method("basic.qos"))  # RabbitMQ notices only then
        self.content_error(self.content((HEADER, amqp_raw.encode_header(3)), (BODY, b"abcd"),
                                        method), self.NOT_BODY)

    def test_C38_empty_bodies(self):
        """Also S38, S47."""
        channel = self.confirming()
        queue = self.queue(channel=channel)
        connection = channel.connection
        publish = method_frame(1, "basic.publish", routing_key=queue)
        connection.write(publish + frame(HEADER, 1, amqp_raw.encode_header(0))
                         + publish + frame(HEADER, 1, amqp_raw.encode_header(4))
                         + frame(BODY, 1, b"ab") + frame(BODY, 1, b"") + frame(BODY, 1, b"cd"))
        channel.confirmed(2)
        self.assertEqual(channel.call("basic.get", queue=queue, no_ack=True).body, b"")
        self.assertEqual(channel.call("basic.get", queue=queue, no_ack=True).body, b"abcd")
        connection.write(publish + frame(HEADER, 1, amqp_raw.encode_header(0))
                         + frame(BODY, 1, b""))
        try:
            channel.next("basic.ack")
        except Closed as closed:    # the ack may lose the race
            connection.events[0].append(closed.event)
        self.connection_error(connection, 505, None, "UNEXPECTED_FRAME - expected method frame, "
                              "got non method frame instead", channel=1)

    def test_C39_names_must_be_utf8_and_routing_keys_need_not(self):
        channel = self.channel()
        channel.send("queue.declare", queue=b"\xff\xfe")
        try:
            raise AssertionError(channel.next())
        except Closed as closed:
            self.assertEqual(closed.event.code, 501)
            self.assertIn("Malformed UTF-8 in shortstr", closed.event.text)
        channel = self.confirming()
        queue = self.queue(channel=channel)
        channel.call("queue.bind", queue=queue, exchange="amq.fanout")
        key = b"\xff\xfe".decode("utf-8", "surrogateescape")
        channel.publish(b"x", exchange="amq.fanout", routing_key=key,
                        properties={"content_type": b"\xff"})
        channel.confirmed()
        self.assertEqual(channel.call("basic.get", queue=queue).routing_key, key)

    def test_C40_method_on_an_unopened_channel_504(self):
        connection = self.connect()
        connection.send(1, "queue.declare", queue=self.prefix)
        self.connection_error(connection, 504, "queue.declare",
                              "CHANNEL_ERROR - expected 'channel.open'", channel=1)

    def test_C41_second_channel_open_504(self):
        connection = self.connect()
        connection.channel()
        connection.send(1, "channel.open")
        self.connection_error(connection, 504, "channel.open",
                              "CHANNEL_ERROR - second 'channel.open' seen", channel=1)

    def test_C42_channel_number_is_free_after_close_ok(self):
        channel = self.channel()
        for _ in range(20):
            channel.call("channel.close", code=200)
            channel.call("channel.open")
        channel.call("basic.qos", prefetch_count=1)

    def test_C43_connection_methods_while_running(self):
        connection = self.connect()
        connection.send(0, "connection.open", vhost="/")
        self.connection_error(connection, 504, "connection.open", "CHANNEL_ERROR - unexpected "
                              "method in connection state running")
        connection = self.connect()
        connection.channel()
        connection.send(1, "connection.open", vhost="/")
        self.connection_error(connection, 503, "connection.open",
                              "COMMAND_INVALID - unimplemented method", channel=1)

    def test_C44_flow_off_540_and_flow_on_ok(self):
        channel = self.channel()
        self.assertTrue(channel.call("channel.flow", active=True).active)
        channel.send("channel.flow", active=False)
        self.connection_error(channel.connection, 540, "channel.flow",
                              "NOT_IMPLEMENTED - active=false", channel=1)

    def test_C45_access_request_is_answered_with_ticket_1(self):
        self.assertEqual(self.channel().call("access.request", realm="/data").ticket, 1)

    def test_C46_ticket_and_no_local_are_ignored(self):
        channel = self.channel()
        queue = self.queue()
        channel.call("queue.declare", ticket=99, queue=queue)
        channel.call("basic.consume", queue=queue, no_local=True)
        channel.publish(b"own", routing_key=queue)
        self.assertEqual(channel.next("basic.deliver").body, b"own")

    def test_C47_nowait_has_no_ok_and_still_fails(self):
        channel = self.channel()
        queue = self.queue()
        channel.send("queue.declare", queue=queue, nowait=True)
        channel.send("queue.bind", queue=queue, exchange="amq.direct", routing_key=queue,
                     nowait=True)
        channel.send("basic.consume", queue=queue, nowait=True)
        channel.publish(b"x", exchange="amq.direct", routing_key=queue)
        event = channel.next("basic.deliver")
        self.assertTrue(event.consumer_tag.startswith("amq.ctag-"), event)
        channel.send("basic.cancel", consumer_tag=event.consumer_tag, nowait=True)
        channel.send("queue.purge", queue=queue, nowait=True)
        channel.send("queue.delete", queue=queue, nowait=True)
        self.assertEqual(channel.pending(), [])
        channel.send("basic.consume", queue=self.prefix + "no", nowait=True)
        self.channel_error(channel, 404, "basic.consume",
                           "NOT_FOUND - no queue '%sno' in vhost '/'" % self.prefix)

    def test_C48_pipelined_methods_run_in_order(self):
        channel = self.channel()
        queue, key = self.queue(channel=channel), self.prefix + "key"
        channel.call("confirm.select")
        channel.publish(b"before", exchange="amq.direct", routing_key=key)
        channel.send("queue.bind", queue=queue, exchange="amq.direct", routing_key=key)
        channel.publish(b"after", exchange="amq.direct", routing_key=key)
        channel.send("basic.get", queue=queue, no_ack=True)
        channel.send("basic.get", queue=queue, no_ack=True)
        replies = []
        while len(replies) < 3:
            event = channel.next()
            if event.name != "basic.ack":
                replies.append((event.name, event.body))
        self.assertEqual(replies, [("queue.bind-ok", b""), ("basic.get-ok", b"after"),
                                   ("basic.get-empty", b"")])
