#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tests/fuzz/seeds.py: writes the corpora of the targets that speak in conversations.

Conversations as clients and the control process have them, one file each. Files that fuzzing found
(regress-*) are left alone.
"""
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))

# ---- clients ----

OPEN, TWO, APART, SLOW, CONTROL, LATE, HURRY, WHOLE = (1 << bit for bit in range(8))


def short(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack(">B", len(data)) + data


def long(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack(">I", len(data)) + data


def field(name, value):
    if isinstance(value, bool):
        return short(name) + b"t" + struct.pack(">B", value)
    if isinstance(value, int):
        return short(name) + b"I" + struct.pack(">i", value)
    if isinstance(value, dict):
        return short(name) + b"F" + table(value)
    if isinstance(value, list):
        return short(name) + b"A" + long(b"".join(b"S" + long(text) for text in value))
    return short(name) + b"S" + long(value)


def table(values=None):
    return long(b"".join(field(name, value) for name, value in (values or {}).items()))


def frame(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(class_id, method_id, arguments=b"", channel=1):
    return frame(1, channel, struct.pack(">HH", class_id, method_id) + arguments)


def publish(key, body=b"", exchange="", mandatory=False, properties=b"\x00\x00", channel=1, pieces=1):
    said = method(60, 40, b"\0\0" + short(exchange) + short(key) + bytes([mandatory]), channel)
    said += frame(2, channel, struct.pack(">HHQ", 60, 0, len(body)) + properties)
    step = max(1, (len(body) + pieces - 1) // pieces)
    for at in range(0, len(body), step):
        said += frame(3, channel, body[at:at + step])
    return said


def with_headers(headers):
    """Properties: only headers."""
    return b"\x20\x00" + table(headers)


def with_expiration(text):
    return b"\x01\x00" + short(text)


def with_priority(priority):
    return b"\x08\x00" + bytes([priority])


def with_reply_to(text):
    return b"\x02\x00" + short(text)


TX_SELECT, TX_COMMIT, TX_ROLLBACK = (method(90, number) for number in (10, 20, 30))


def queue_declare(name, bits=0, arguments=None, channel=1):
    return method(50, 10, b"\0\0" + short(name) + bytes([bits]) + table(arguments), channel)


def exchange_declare(name, kind, bits=0, arguments=None):
    return method(40, 10, b"\0\0" + short(name) + short(kind) + bytes([bits]) + table(arguments))


def queue_bind(queue, exchange, key, arguments=None):
    return method(50, 20, b"\0\0" + short(queue) + short(exchange) + short(key) + b"\0" + table(arguments))


def queue_unbind(queue, exchange, key):
    return method(50, 50, b"\0\0" + short(queue) + short(exchange) + short(key) + table())


def exchange_bind(to, source, key, unbind=False):
    return method(40, 40 if unbind else 30, b"\0\0" + short(to) + short(source) + short(key) + b"\0" + table())


def queue_purge(name):
    return method(50, 30, b"\0\0" + short(name) + b"\0")


def queue_delete(name, bits=0):
    return method(50, 40, b"\0\0" + short(name) + bytes([bits]))


def exchange_delete(name, bits=0):
    return method(40, 20, b"\0\0" + short(name) + bytes([bits]))


def consume(queue, tag, bits=0, arguments=None, channel=1):
    return method(60, 20, b"\0\0" + short(queue) + short(tag) + bytes([bits]) + table(arguments), channel)


def cancel(tag, bits=0):
    return method(60, 30, short(tag) + bytes([bits]))


def get(queue, bits=0, channel=1):
    return method(60, 70, b"\0\0" + short(queue) + bytes([bits]), channel)


def ack(tag, multiple=False, channel=1):
    return method(60, 80, struct.pack(">QB", tag, multiple), channel)


def nack(tag, bits):
    return method(60, 120, struct.pack(">QB", tag, bits))


def reject(tag, requeue):
    return method(60, 90, struct.pack(">QB", tag, requeue))


def qos(count, shared=False, channel=1):
    return method(60, 10, struct.pack(">IHB", 0, count, shared), channel)


def channel_open(channel):
    return method(20, 10, short(""), channel)


def channel_close(channel=1):
    return method(20, 40, struct.pack(">H", 200) + short("bye") + struct.pack(">HH", 0, 0), channel)


def connection_close():
    return method(10, 50, struct.pack(">H", 200) + short("bye") + struct.pack(">HH", 0, 0), 0)


RECOVER = method(60, 110, b"\1")
CONFIRM = method(85, 10, b"\0")
HEARTBEAT = frame(8, 0, b"")
HEADER = b"AMQP\0\0\x09\x01"


def start_ok(mechanism="PLAIN", response=b"\0guest\0guest"):
    capabilities = {"capabilities": {"basic.nack": True, "consumer_cancel_notify": True,
                                     "connection.blocked": True, "publisher_confirms": True},
                    "product": "seeds"}
    return method(10, 11, table(capabilities) + short(mechanism) + long(response) + short("en_US"), 0)


def tune_ok(channel_max=2047, frame_max=131072, heartbeat=0):
    return method(10, 31, struct.pack(">HIH", channel_max, frame_max, heartbeat), 0)


def connection_open(vhost="/"):
    return method(10, 40, short(vhost) + short("") + b"\0", 0)


DURABLE, EXCLUSIVE, AUTO_DELETE = 2, 4, 8
NO_ACK, EXCLUSIVE_CONSUMER = 2, 4
PROPERTIES = (b"\xff\xfc" + short("text/plain") + short("gzip")
              + table({"a": 1, "b": "text"}) + b"\x02\x05" + short("correlation") + short("reply.to")
              + short("") + short("message-id") + struct.pack(">Q", 1700000000) + short("type") + short("guest")
              + short("application") + short("cluster"))
PLAIN_PROPERTIES = b"\x98\x40" + short("text/plain") + b"\x01" + b"\x03" + struct.pack(">Q", 1)
HEADERS = b"\x20\x00" + table({"format": "pdf", "pages": 3})
# How often and why a message died, and its properties.
REWRITE = {
    "none": (0, b"\0\0"),
    "everything": (5, PROPERTIES),
    "plain": (1, PLAIN_PROPERTIES),
    "copies": (10, with_headers({"CC": ["a", "bb"], "x": 1, "BCC": ["ccc"]})),
    "copies-alone": (3, with_headers({"BCC": ["c"]})),
    "copies-wrong": (0, with_headers({"CC": "text", "BCC": 5})),
    "delay": (9, with_headers({"x-delay": 5000, "y": {"x-delay": 1}})),
    "delay-text": (2, with_headers({"x-delay": "5000"})),
    "made-up": (31, with_headers({"x-death": ["no"], "x-first-death-queue": "q", "x-last-death-reason": 7, "z": 1})),
    "expiration": (8, with_expiration("60000")),
}


def connections():
    """name: (flags, first client's bytes, second client's bytes)"""
    out = {}
    amqplain = (short("LOGIN") + b"S" + long("guest") + short("PASSWORD") + b"S" + long("guest"))
    out["handshake"] = (0, HEADER + start_ok() + tune_ok() + connection_open() + channel_open(1)
                        + queue_declare("q", EXCLUSIVE) + channel_close() + connection_close(), b"")
    out["handshake-amqplain"] = (WHOLE, HEADER + start_ok("AMQPLAIN", amqplain) + tune_ok(10, 4096, 1)
                                 + connection_open() + HEARTBEAT, b"")
    out["handshake-refused"] = (0, HEADER + start_ok(response=b"\0guest\0wrong"), b"")
    out["handshake-late"] = (LATE, HEADER + start_ok(), b"")
    out["vhost-missing"] = (0, HEADER + start_ok() + tune_ok() + connection_open("nowhere"), b"")
    out["other-protocol"] = (0, b"GET / HTTP/1.1\r\n\r\n", b"")
    out["hello"] = (OPEN, queue_declare("hello") + publish("hello", b"Hello!") + get("hello", 1)
                    + queue_delete("hello"), b"")
    out["work-queue"] = (OPEN | TWO, queue_declare("tasks", DURABLE) + CONFIRM
                         + b"".join(publish("tasks", b"task %d" % i, properties=PLAIN_PROPERTIES) for i in range(8)),
                         queue_declare("tasks", DURABLE) + qos(1) + consume("tasks", "worker")
                         + b"".join(ack(tag) for tag in range(1, 6)) + cancel("worker") + RECOVER)
    out["work-queue-apart"] = (OPEN | TWO | APART, *out["work-queue"][1:])
    out["work-queue-orphaned"] = (OPEN | TWO | APART | CONTROL, *out["work-queue"][1:])
    out["fanout"] = (OPEN, exchange_declare("logs", "fanout") + queue_declare("", EXCLUSIVE | AUTO_DELETE)
                     + queue_bind("", "logs", "") + queue_declare("copy", AUTO_DELETE)
                     + queue_bind("copy", "logs", "x") + consume("copy", "c", NO_ACK) + consume("", "d")
                     + publish("", b"to both", "logs") + ack(1) + nack(2, 3) + cancel("c")
                     + exchange_delete("logs", 1), b"")
    out["topic"] = (OPEN, exchange_declare("t", "topic", AUTO_DELETE // 2) + queue_declare("q")
                    + queue_bind("q", "t", "*.orange.*") + queue_bind("q", "t", "lazy.#")
                    + queue_bind("q", "t", "#.x.#.*") + publish("quick.orange.rabbit", b"1", "t")
                    + publish("lazy.a.b.x.c.d", b"2", "t") + publish("none", b"3", "t", True)
                    + queue_unbind("q", "t", "lazy.#") + queue_purge("q") + exchange_delete("t")
                    + queue_delete("q", 3), b"")
    out["headers"] = (OPEN, exchange_declare("h", "headers", DURABLE) + queue_declare("q")
                      + queue_bind("q", "h", "", {"x-match": "any", "format": "pdf", "pages": 4})
                      + publish("", b"match", "h", properties=HEADERS) + get("q") + reject(1, 1)
                      + get("q", 1), b"")
    out["alternate"] = (OPEN, exchange_declare("ae", "fanout") + exchange_declare(
        "x", "direct", arguments={"alternate-exchange": "ae"}) + queue_declare("q") + queue_bind("q", "ae", "")
        + exchange_bind("ae", "x", "k") + CONFIRM + publish("k", b"1", "x") + publish("other", b"2", "x", True)
        + exchange_bind("ae", "x", "k", True) + exchange_delete("ae"), b"")
    out["confirms"] = (OPEN, queue_declare("q") + CONFIRM + b"".join(publish("q", b"%d" % i) for i in range(20))
                       + publish("nobody", b"returned", mandatory=True), b"")
    out["properties"] = (OPEN, queue_declare("q") + publish("q", b"body", properties=PROPERTIES)
                         + publish("q", b"body", properties=PLAIN_PROPERTIES) + get("q", 1), b"")
    out["long-body"] = (OPEN, queue_declare("q") + publish("q", b"0123456789" * 900, pieces=3)
                        + publish("q") + consume("q", "c") + ack(2, True), b"")
    out["slow-reader"] = (OPEN | SLOW | TWO, queue_declare("q") + consume("q", "c") + ack(1),
                          b"".join(publish("q", b"x" * 3000) for _ in range(12)))
    out["acks"] = (OPEN, queue_declare("q") + b"".join(publish("q", b"%d" % i) for i in range(12)) + qos(5)
                   + consume("q", "a") + consume("q", "b") + qos(7, True) + consume("q", "c", arguments={
                       "x-priority": 5}) + ack(3) + nack(2, 2) + reject(1, 0) + RECOVER + ack(5, True) + ack(0, True)
                   + cancel("a") + cancel("b"), b"")
    out["ack-unknown"] = (OPEN, queue_declare("q") + publish("q", b"1") + get("q") + ack(1) + ack(1)
                          + channel_open(1) + get("q"), b"")
    out["exclusive"] = (OPEN | TWO, queue_declare("mine", EXCLUSIVE) + consume("mine", "c", EXCLUSIVE_CONSUMER),
                        queue_declare("mine") + channel_open(2) + consume("mine", "c", channel=2))
    out["exclusive-consumer"] = (OPEN | TWO | APART, queue_declare("q") + consume("q", "c", EXCLUSIVE_CONSUMER),
                                 queue_declare("q") + consume("q", "c") + channel_open(1))
    out["channels"] = (OPEN, channel_open(2) + channel_open(3) + queue_declare("q", channel=2)
                       + publish("q", b"from 3", channel=3) + consume("q", "c", channel=2) + ack(1, channel=2)
                       + channel_close(2) + channel_close(3) + channel_open(3) + get("q", channel=3), b"")
    out["mismatch"] = (OPEN, queue_declare("q", DURABLE) + queue_declare("q", AUTO_DELETE) + channel_open(1)
                       + exchange_declare("amq.direct", "fanout") + channel_open(1)
                       + queue_declare("amq.mine") + channel_open(1) + queue_declare("r", arguments={
                           "x-message-ttl": 1000}), b"")
    out["passive"] = (OPEN, queue_declare("q", 1) + channel_open(1) + queue_declare("q", 16) + publish("q", b"1")
                      + queue_declare("q", 1) + exchange_declare("amq.topic", "topic", 1)
                      + exchange_declare("none", "x-what"), b"")
    out["auto-delete"] = (OPEN | TWO | APART, queue_declare("q", AUTO_DELETE) + consume("q", "c") + cancel("c")
                          + queue_declare("q", AUTO_DELETE), publish("q", b"1") + consume("q", "d")
                          + channel_close())
    out["deleted-under-consumer"] = (OPEN | TWO | APART, queue_declare("q") + consume("q", "c") + publish("q", b"1")
                                     + ack(1), queue_delete("q") + queue_delete("q", 1))
    out["no-wait"] = (OPEN, queue_declare("q", 16) + queue_bind("q", "amq.direct", "k")
                      + consume("q", "c", 8) + publish("k", b"1", "amq.direct") + cancel("c", 1)
                      + queue_delete("q", 4), b"")
    letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    out["dead-letters"] = (OPEN, queue_declare("dead") + queue_declare("q", arguments=letters) + publish("q", b"1")
                           + publish("q", b"2", properties=with_headers({"x": 1})) + get("q") + get("q") + nack(2, 1)
                           + get("dead") + get("dead"), b"")
    out["dead-letters-round"] = (OPEN | TWO | APART, queue_declare("a", arguments={
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "b", "x-message-ttl": 0})
        + queue_declare("b", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "a"})
        + publish("a", b"1") + get("b") + reject(1, 0) + get("b") + reject(2, 0), consume("b", "c") + reject(1, 0))
    out["ttl"] = (OPEN | LATE, queue_declare("q", arguments=dict(letters, **{"x-message-ttl": 1000}))
                  + queue_declare("dead") + publish("q", b"1") + publish("q", b"2", properties=with_expiration("5"))
                  + publish("dead", b"3", properties=with_expiration("0")), b"")
    out["bad-expiration"] = (OPEN, queue_declare("q") + publish("q", b"1", properties=with_expiration("-1.5"))
                             + channel_open(1) + publish("q", b"1", properties=with_expiration("+007")), b"")
    out["limits"] = (OPEN, queue_declare("dead") + queue_declare("q", arguments=dict(
        letters, **{"x-max-length": 2, "x-max-length-bytes": 10})) + b"".join(
            publish("q", b"%d" % n) for n in range(5)) + queue_declare("r", arguments=dict(
                letters, **{"x-max-length": 1, "x-overflow": "reject-publish-dlx"})) + CONFIRM
        + publish("r", b"1") + publish("r", b"2") + get("dead"), b"")
    out["priorities"] = (OPEN, queue_declare("q", arguments={"x-max-priority": 5}) + b"".join(
        publish("q", b"%d" % n, properties=with_priority(n)) for n in (1, 9, 0, 3)) + get("q") + nack(1, 2)
        + consume("q", "c") + ack(4, True), b"")
    out["single-active"] = (OPEN | TWO | APART, queue_declare("q", arguments={"x-single-active-consumer": True})
                            + consume("q", "a") + consume("q", "b") + publish("q", b"1") + cancel("a")
                            + publish("q", b"2") + ack(0, True), consume("q", "c") + publish("q", b"3"))
    out["expires"] = (OPEN | LATE, queue_declare("q", arguments={"x-expires": 20}) + publish("q", b"1") + get("q"), b"")
    out["quorum"] = (OPEN, queue_declare("q", DURABLE, arguments={"x-queue-type": "quorum", "x-delivery-limit": 1})
                     + publish("q", b"1") + get("q") + nack(1, 2) + get("q") + nack(2, 2) + get("q"), b"")
    out["tx"] = (OPEN, queue_declare("q") + TX_SELECT + publish("q", b"1") + publish("none", b"2", mandatory=True)
                 + TX_COMMIT + get("q") + ack(1) + publish("q", b"3") + TX_ROLLBACK + ack(1) + TX_COMMIT, b"")
    out["tx-and-confirms"] = (OPEN, TX_COMMIT + channel_open(1) + TX_SELECT + CONFIRM + channel_open(1)
                              + CONFIRM + TX_SELECT, b"")
    out["tx-refused"] = (OPEN, queue_declare("q", arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
                         + TX_SELECT + publish("q", b"1") + TX_COMMIT + channel_close(), b"")
    out["copies"] = (OPEN, queue_declare("a") + queue_declare("b") + queue_declare("c") + publish(
        "a", b"1", properties=with_headers({"CC": ["b", "x"], "BCC": ["c"]})) + get("a") + get("b") + get("c")
        + publish("a", b"2", properties=with_headers({"CC": "b"})), b"")
    out["replies"] = (OPEN | TWO | APART, consume("amq.rabbitmq.reply-to", "r", 2) + publish(
        "rpc", b"ask", properties=with_reply_to("amq.rabbitmq.reply-to"))
        + queue_declare("amq.rabbitmq.reply-to", 1), queue_declare("rpc") + consume("rpc", "s", 2) + publish(
            "amq.rabbitmq.reply-to.AQAAgAAAAAAAAAAAAAAA", b"answer", mandatory=True))
    out["replies-refused"] = (OPEN, publish("q", b"1", properties=with_reply_to("amq.rabbitmq.reply-to"))
                              + channel_open(1) + consume("amq.rabbitmq.reply-to", "r"), b"")
    out["relics"] = (OPEN, method(20, 20, b"\1") + method(30, 10, short("/data") + b"\0") + method(60, 100, b"\1")
                     + method(10, 70, long("secret") + short("reason"), 0), b"")
    out["close-hurried"] = (OPEN | HURRY, queue_declare("q") + publish("q", b"1") + consume("q", "c")
                            + connection_close(), b"")
    out["frames-out-of-turn"] = (OPEN, method(60, 40, b"\0\0" + short("") + short("q") + b"\0")
                                 + queue_declare("q"), b"")
    out["control-dead"] = (OPEN | CONTROL | LATE, queue_declare("a") + publish("a", b"1") + queue_declare("b")
                           + publish("b", b"2") + get("b") + exchange_declare("x", "direct"), b"")
    return out


# ---- control records ----

def str8(text):
    return short(text)


def blob(data=b""):
    return struct.pack("<I", len(data)) + data


def record(kind, payload=b"", sequence=0):
    return struct.pack("<BBH", kind, sequence, len(payload)) + payload


def says(data):
    """Bytes of the client, between records."""
    return struct.pack("<BBH", 0, 0, len(data)) + data


def queue_up(number, name, shard=0, flags=0, owner=0, vhost=1, arguments=b""):
    return record(71, struct.pack("<II", number, vhost) + str8(name)
                  + struct.pack("<HBQ", shard, flags, owner) + blob(arguments))


def exchange_up(number, name, kind=0, flags=0, alternate="", vhost=1):
    return record(69, struct.pack("<II", number, vhost) + str8(name) + bytes([kind, flags]) + str8(alternate)
                  + blob())


def bind_up(number, source, resource, destination, key, arguments=b""):
    return record(73, struct.pack("<QIBI", number, source, resource, destination) + str8(key) + blob(arguments))


def reply(sequence, code=0, text="", fields=b""):
    return record(77, struct.pack("<H", code) + str8(text) + fields, sequence)


def down(kind, number, wide=False):
    return record(kind, struct.pack("<Q" if wide else "<I", number))


ATTACH = record(64, struct.pack("<IQI", 7, 1, 1))


def controls():
    """name: (flags, ops); see fuzz_control_record.c"""
    out = {}
    sync = ATTACH + record(65, sequence=9) + record(67, struct.pack("<I", 1) + str8("/"))
    out["sync"] = (0, sync + exchange_up(1, "") + exchange_up(2, "amq.topic", 2) + queue_up(1, "q")
                   + bind_up(1, 2, 1, 1, "a.*.#") + record(66) + record(75, sequence=9))
    out["sync-empty"] = (1, ATTACH + record(65) + record(66))
    out["topology"] = (1, exchange_up(100, "x", 3) + exchange_up(101, "y", 1, alternate="x") + queue_up(100, "n")
                       + queue_up(101, "far", 1) + bind_up(100, 100, 1, 100, "") + bind_up(101, 101, 0, 100, "k")
                       + says(publish("n", b"1") + publish("", b"2", "y")) + down(74, 100, True) + down(70, 100)
                       + down(72, 100) + down(72, 101))
    out["replies"] = (0, sync + says(HEADER + start_ok()) + reply(1, fields=str8("guest")) + says(tune_ok())
                      + says(connection_open()) + reply(2, fields=struct.pack("<IBI", 1, 7, 1)) + says(channel_open(1))
                      + says(queue_declare("q")) + queue_up(1, "q")
                      + reply(3, fields=struct.pack("<IB", 1, 1)) + says(consume("q", "c") + publish("q", b"1")))
    out["refusals"] = (1, says(queue_declare("zz")) + b"".join(reply(n, 404, "NOT_FOUND - no") for n in range(1, 20))
                       + says(channel_open(1) + exchange_declare("e", "direct"))
                       + b"".join(reply(n, 530, "no") for n in range(1, 20)))
    out["delete-check"] = (1, record(78, struct.pack("<IBB", 1, 1, 1), 5) + record(78, struct.pack("<IBB", 1, 0, 0), 6)
                           + says(publish("q", b"1")) + down(72, 1))
    out["epoch"] = (1, record(76, struct.pack("<I", 99)) + says(publish("q", b"1")) + record(76))
    out["lists"] = (1, record(80, sequence=3) + record(81, sequence=4) + record(80) * 3)
    out["close"] = (1, record(79, struct.pack("<QH", 1, 320) + str8("CONNECTION_FORCED - go"))
                    + record(79, struct.pack("<QH", 2, 320) + str8("CONNECTION_FORCED - go")))
    out["close-without-code"] = (1, record(79, struct.pack("<QH", 1, 0) + str8("why?")))
    out["stop"] = (1, record(82, struct.pack("<I", 1000)) + says(publish("q", b"1")))
    out["vhost-down"] = (1, down(68, 1) + says(publish("q", b"1")) + record(67, struct.pack("<I", 2) + str8("/")))
    out["same-again"] = (1, queue_up(1, "q") + queue_up(1, "other") + queue_up(50, "q") + exchange_up(1, "")
                         + exchange_up(1, "x", 1))
    out["raw"] = (2, b"\x10\0\0\0" + b"\1" + struct.pack("<H", 71) + b"\0" + b"\0" * 8 + b"\xff" * 40)
    return out


# ---- shards, to the control process ----

ADDRESS = struct.pack("<BH", 0, 1) + b"\x7f\0\0\1" + b"\0" * 12
CONNECTION = struct.pack("<Q", 1)


def declare_request(sequence, name, flags=0, arguments=b""):
    return record(7, CONNECTION + struct.pack("<I", 1) + str8(name) + bytes([flags]) + blob(arguments)
                  + struct.pack("<H", 0), sequence)


def bind_request(sequence, kind, source, resource, to, key):
    return record(kind, CONNECTION + struct.pack("<I", 1) + str8(source) + bytes([resource]) + str8(to) + str8(key)
                  + blob(), sequence)


def requests():
    """name: (flags, records); see fuzz_control_request.c"""
    out = {}
    arguments = b"".join(field(name, value) for name, value in (
        ("x-message-ttl", 1000), ("x-dead-letter-exchange", "x"), ("x-max-length", 3), ("x-expires", 10),
        ("x-overflow", "reject-publish"), ("x-max-priority", 9), ("x-single-active-consumer", True)))
    out["declare"] = (1, declare_request(3, "q") + declare_request(4, "q", 1) + declare_request(5, "e", 4)
                      + declare_request(6, "p", 1, arguments) + record(11, struct.pack("<I", 9), 7)
                      + record(13, struct.pack("<I", 10), 8))
    out["exchange"] = (1, record(5, CONNECTION + struct.pack("<I", 1) + str8("x") + str8("topic") + b"\1"
                                 + blob(field("alternate-exchange", "y")), 3)
                       + declare_request(4, "q") + bind_request(5, 9, "x", 1, "q", "a.#")
                       + bind_request(6, 10, "x", 1, "q", "a.#") + record(6, CONNECTION + struct.pack("<I", 1)
                                                                          + str8("x") + b"\0", 7))
    out["delete"] = (1, declare_request(3, "q") + record(8, CONNECTION + struct.pack("<I", 1) + str8("q") + b"\0\0", 4)
                     + record(3, CONNECTION, 5))
    out["rights"] = (1, record(4, CONNECTION + b"\2\0" + str8("x"), 3) + record(14, CONNECTION + struct.pack("<H", 1), 4)
                     + record(15, CONNECTION + b"\2" + str8("amq.topic") + str8("a.b"), 5) + record(16, CONNECTION, 6)
                     + record(12, CONNECTION + str8("guest") + blob(b"guest"), 7))
    out["news"] = (1, record(43, CONNECTION + struct.pack("<H", 3)) + record(42, b"\2" + blob(b"a line"))
                   + record(35, sequence=9) + record(36, b"\0" + struct.pack("<I", 7), 1) + record(44, b"\0" * 6, 1)
                   + record(40, b"\0" * 12))
    out["rows"] = (1, declare_request(3, "q") + record(37, struct.pack("<IQQIQB", 9, 1, 2, 3, 4, 0), 1)
                   + record(38, CONNECTION + struct.pack("<HQQB", 1, 2, 3, 1), 2) + record(39, sequence=2))
    out["hello-again"] = (0, record(32, struct.pack("<I", 1)) + record(33, CONNECTION + str8("/") + str8("AMQP 0-9-1")
                          + ADDRESS + ADDRESS + blob() + struct.pack("<HIHQ", 60, 131072, 2047, 5) + str8("guest")
                          + struct.pack("<I", 1)) + record(34))
    return out


# ---- administrators ----

ADMIN = {
    "users": "add_user\nu\np\n\nset_permissions\nu\n.*\n\n^a\n\nset_user_tags\nu\nadministrator\n\nlist_users\n\n"
             "list_user_permissions\nu\n\nauthenticate_user\nu\np\n\nchange_password\nu\nq\n\n"
             "set_topic_permissions\nu\namq.topic\n^{username}\n.*\n\nclear_permissions\nu\n\ndelete_user\nu",
    "policies": 'set_policy\np\n^q\n{"message-ttl":1000,"max-length":5,"overflow":"reject-publish"}\n-priority=3\n'
                '-apply-to=queues\n\nset_operator_policy\no\n.*\n{"max-length":2}\n\nlist_policies\n\n'
                'list_operator_policies\n\nclear_policy\np\n\nclear_operator_policy\no',
    "policies-bad": 'set_policy\np\n(\n{"message-ttl":1}\n\nset_policy\np\n.*\n{"message-ttl":-1}\n\nset_policy\np\n.*\n'
                    '{"nonsense":[1,{"a":null}]}\n\nset_policy\np\n.*\n{}\n\nset_policy\np\n.*\n[1]',
    "parameters": 'set_parameter\nfederation\nn\n{"uri":"amqp://"}\n\nlist_parameters\n\nclear_parameter\nfederation\nn'
                  '\n\nset_global_parameter\ng\n"x"\n\nlist_global_parameters\n\nclear_global_parameter\ng',
    "limits": 'set_vhost_limits\n{"max-connections":1,"max-queues":2}\n\nlist_vhost_limits\n\nclear_vhost_limits\n\n'
              'set_user_limits\nguest\n{"max-channels":3}\n\nlist_user_limits\n\nclear_user_limits\nguest\nall',
    "vhosts": "add_vhost\nv\n\nlist_vhosts\nname\ntracing\n\ntrace_on\n-vhost=v\n\ntrace_off\n-vhost=v\n\ndelete_vhost\nv",
    "lists": "list_queues\nname\nmessages\narguments\n\nlist_exchanges\n\nlist_bindings\n\nlist_connections\npid\n\n"
             "list_channels\n\nlist_consumers\n\nlist_permissions\n\nstatus\n\nenvironment\n\nreport\n\nping",
    "orders": "purge_queue\nq\n\ndelete_queue\nq\n\nclose_connection\n<x.1.2.3>\nwhy\n\nclose_all_connections\nwhy\n\n"
              "set_vm_memory_high_watermark\n0.4\n\nset_vm_memory_high_watermark\nabsolute\n1GiB\n\n"
              "set_disk_free_limit\n1MB\n\nstop_app\n\nstart_app\n\nreset\n\neval\n1.",
    "raw": '{"command":"list_users","args":["user"],"options":{"formatter":"json"}}\n\n[]\n\n{"command":1}\n\n'
           '{"command":"add_user","args":[1,null]}\n\n{"command":"ping","options":[]}',
    "check": '{"check":"list_queues","args":["nonsense"]}\n\n{"check":"set_policy"}',
}

CONFIG = {
    "rabbitmq": "# comment\nlisteners.tcp.default = 5672\nlisteners.tcp.lan = 10.0.0.1:5673\nheartbeat = 30\n"
                "default_user = me\nloopback_users = none\nvm_memory_high_watermark.relative = 0.5\n"
                "disk_free_limit.absolute = 2GB\nlog.console = true\nchannel_max = 100\n",
    "lepus": "lepus.shards = 4\nlepus.transport=epoll\nlepus.memory = 1GiB\nlepus.listeners.unix.a=/tmp/x\0"
             "lepus.poll=busy\nlepus.shards=65\nnonsense",
    "bad": "listeners.tcp.default = 99999\nheartbeat = many\n= 3\nkey\nlisteners.tcp.default = [::1]:1\n",
}

CLI = {
    "list": "-p\n/\n--formatter\njson\nlist_queues\nname\nmessages\n-q",
    "policy": "set_policy\n--priority\n3\n--apply-to=queues\np\n.*\n{}",
    "help": "help\nlist_queues",
    "node": "-n\nrabbit@host\n--timeout\n5\n--silent\nstatus\n--no-table-headers",
    "bad": "--nonsense\nlist_queus\n-t\nx",
}


# ---- the log's files: fuzz_log.c makes the checksums right ----

BLOCK = 4096


def root(number, generations, lsn=1, segment=0, offset=0, durable=0, following=1, closed=0, previous=0):
    """The slot that version `number` is in, in a root of two."""
    slot = struct.pack("<QHHIQQIIIIQQQII", 0x746f6f527375704c, 1, closed, 1, number, 77, generations[-1][0],
                       len(generations), segment, previous, offset, lsn, durable, following, 0)
    slot += b"".join(struct.pack("<IIQ", generation, 0, first) for generation, first in generations)
    slot = slot.ljust(BLOCK, b"\0")
    return bytes(BLOCK) + slot if number % 2 else slot + bytes(BLOCK)


def batch(segment, offset, lsn, contents, generation=1, durable=None, continues=0, previous=0):
    records = b"".join(struct.pack("<II", 0, kind << 24 | len(content)) + content.ljust((len(content) + 7) // 8 * 8, b"\0")
                       for kind, content in contents)
    head = struct.pack("<QHHIIIQQQIIIIII", 0x6863746142757065, 1, continues, 1, segment, generation, offset, lsn,
                       lsn - 1 if durable is None else durable, 72 + len(records), len(contents), previous, 0, 0, 0)
    return (head + records).ljust((72 + len(records) + BLOCK - 1) // BLOCK * BLOCK, b"\0")


def log_file(number, blocks, data):
    return struct.pack("<BBH", number, blocks - 1, len(data)) + data


def logs():
    # Only a first batch's checksum of the one before it, which is 0, is known here.
    one = batch(1, 0, 1, [(1, b"hello"), (2, b""), (3, b"x" * 300)])
    fresh = log_file(0, 2, root(1, [(1, 1)]))
    runs = root(4, [(1, 1), (3, 2)], durable=1, following=3)
    late = root(6, [(2, 5)], 5, 3, BLOCK, 4, 4)
    return {
        "empty": b"\1",
        "fresh": b"\1" + fresh,
        "one": b"\1" + fresh + log_file(1, 4, one),
        "chain": b"\3" + fresh + log_file(1, 4, batch(1, 0, 1, [(1, b"a")], continues=1)),
        "torn": b"\1" + fresh + log_file(1, 4, batch(1, 0, 1, [(255, b"no sense")])),
        "hole": b"\1" + fresh + log_file(1, 4, bytes(BLOCK) + batch(1, BLOCK, 2, [(1, b"a")], durable=0)),
        "damage": b"\1" + fresh + log_file(1, 4, bytes(BLOCK) + batch(1, BLOCK, 2, [(1, b"a")])),
        "runs": b"\1" + log_file(0, 2, runs) + log_file(1, 4, one) + log_file(2, 4, b""),
        "late": b"\1" + log_file(0, 2, late) + log_file(3, 4, bytes(BLOCK) + batch(3, BLOCK, 5, [(9, b"b")], 2)),
        "newer": b"\1" + fresh + log_file(1, 4, batch(1, 0, 1, [(1, b"a")], 7)),
        "closed": b"\1" + log_file(0, 2, root(3, [(1, 1)], durable=1, following=2, closed=1)) + log_file(1, 4, one),
        "short": b"\0" + log_file(0, 1, b"") + log_file(200, 1, one[:200]),
        "no-root": b"\0" + log_file(5, 4, one),
    }


def write(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


def main():
    for index, (name, (flags, first, second)) in enumerate(connections().items()):
        write("fuzz_connection", name, struct.pack(">BBH", flags, index, len(first)) + first + second)
    for name, (flags, ops) in controls().items():
        write("fuzz_control_record", name, bytes([flags]) + ops)
    for name, (flags, records) in requests().items():
        write("fuzz_control_request", name, bytes([flags]) + records)
    for target, corpus in (("fuzz_admin", ADMIN), ("fuzz_config", CONFIG), ("fuzz_cli", CLI)):
        for name, text in corpus.items():
            write(target, name, text.encode())
    for name, (how, raw) in REWRITE.items():
        write("fuzz_rewrite", name, bytes([how]) + raw)
    for name, files in logs().items():
        write("fuzz_log", name, files)
    settings = struct.pack("<QQQQQQBBBBB", 1000, 5000, 3, 100, 2, 9, 1, 5, 1, 1, 1) + str8("x") + str8("k")
    write("fuzz_settings", "settings", settings)
    write("fuzz_settings", "deaths", b"".join(bytes([why, 2]) + b"q%d" % (why % 2) for why in (0, 1, 0, 2, 1, 3)))


main()
