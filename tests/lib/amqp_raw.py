# SPDX-License-Identifier: Apache-2.0
"""amqp_raw - an AMQP 0-9-1 client that shows every frame and hides nothing.

For tests that assert codes, class and method ids and texts, or that send what
a well-behaved library never would. Blocking, one thread, deadlines everywhere.
"""
import collections
import select
import socket
import struct
import time

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
HEADER_091 = b"AMQP\x00\x00\x09\x01"
DEADLINE_S = 15.0

_CLOSE = "code:short text:shortstr class_id:short method_id:short"
_SPEC = """
10,10 connection.start major:octet minor:octet properties:table mechanisms:longstr locales:longstr
10,11 connection.start-ok properties:table mechanism:shortstr response:longstr locale:shortstr
10,20 connection.secure challenge:longstr
10,21 connection.secure-ok response:longstr
10,30 connection.tune channel_max:short frame_max:long heartbeat:short
10,31 connection.tune-ok channel_max:short frame_max:long heartbeat:short
10,40 connection.open vhost:shortstr capabilities:shortstr insist:bit
10,41 connection.open-ok known_hosts:shortstr
10,50 connection.close """ + _CLOSE + """
10,51 connection.close-ok
10,60 connection.blocked reason:shortstr
10,61 connection.unblocked
10,70 connection.update-secret secret:longstr reason:shortstr
10,71 connection.update-secret-ok
20,10 channel.open out_of_band:shortstr
20,11 channel.open-ok channel_id:longstr
20,20 channel.flow active:bit
20,21 channel.flow-ok active:bit
20,40 channel.close """ + _CLOSE + """
20,41 channel.close-ok
30,10 access.request realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit
30,11 access.request-ok ticket:short
40,10 exchange.declare ticket:short exchange:shortstr type:shortstr passive:bit durable:bit auto_delete:bit internal:bit nowait:bit arguments:table
40,11 exchange.declare-ok
40,20 exchange.delete ticket:short exchange:shortstr if_unused:bit nowait:bit
40,21 exchange.delete-ok
40,30 exchange.bind ticket:short destination:shortstr source:shortstr routing_key:shortstr nowait:bit arguments:table
40,31 exchange.bind-ok
40,40 exchange.unbind ticket:short destination:shortstr source:shortstr routing_key:shortstr nowait:bit arguments:table
40,51 exchange.unbind-ok
50,10 queue.declare ticket:short queue:shortstr passive:bit durable:bit exclusive:bit auto_delete:bit nowait:bit arguments:table
50,11 queue.declare-ok queue:shortstr message_count:long consumer_count:long
50,20 queue.bind ticket:short queue:shortstr exchange:shortstr routing_key:shortstr nowait:bit arguments:table
50,21 queue.bind-ok
50,30 queue.purge ticket:short queue:shortstr nowait:bit
50,31 queue.purge-ok message_count:long
50,40 queue.delete ticket:short queue:shortstr if_unused:bit if_empty:bit nowait:bit
50,41 queue.delete-ok message_count:long
50,50 queue.unbind ticket:short queue:shortstr exchange:shortstr routing_key:shortstr arguments:table
50,51 queue.unbind-ok
60,10 basic.qos prefetch_size:long prefetch_count:short global_:bit
60,11 basic.qos-ok
60,20 basic.consume ticket:short queue:shortstr consumer_tag:shortstr no_local:bit no_ack:bit exclusive:bit nowait:bit arguments:table
60,21 basic.consume-ok consumer_tag:shortstr
60,30 basic.cancel consumer_tag:shortstr nowait:bit
60,31 basic.cancel-ok consumer_tag:shortstr
60,40 basic.publish ticket:short exchange:shortstr routing_key:shortstr mandatory:bit immediate:bit
60,50 basic.return code:short text:shortstr exchange:shortstr routing_key:shortstr
60,60 basic.deliver consumer_tag:shortstr delivery_tag:longlong redelivered:bit exchange:shortstr routing_key:shortstr
60,70 basic.get ticket:short queue:shortstr no_ack:bit
60,71 basic.get-ok delivery_tag:longlong redelivered:bit exchange:shortstr routing_key:shortstr message_count:long
60,72 basic.get-empty cluster_id:shortstr
60,80 basic.ack delivery_tag:longlong multiple:bit
60,90 basic.reject delivery_tag:longlong requeue:bit
60,100 basic.recover-async requeue:bit
60,110 basic.recover requeue:bit
60,111 basic.recover-ok
60,120 basic.nack delivery_tag:longlong multiple:bit requeue:bit
85,10 confirm.select nowait:bit
85,11 confirm.select-ok
90,10 tx.select
90,11 tx.select-ok
90,20 tx.commit
90,21 tx.commit-ok
90,30 tx.rollback
90,31 tx.rollback-ok
"""
BY_NAME, BY_ID = {}, {}
for _line in _SPEC.strip().splitlines():
    _ids, _name, *_fields = _line.split()
    _id = tuple(int(n) for n in _ids.split(","))
    BY_NAME[_name] = (_id, [tuple(f.split(":")) for f in _fields])
    BY_ID[_id] = (_name, BY_NAME[_name][1])

PROPERTIES = ["content_type:shortstr", "content_encoding:shortstr", "headers:table",
              "delivery_mode:octet", "priority:octet", "correlation_id:shortstr",
              "reply_to:shortstr", "expiration:shortstr", "message_id:shortstr",
              "timestamp:longlong", "type:shortstr", "user_id:shortstr", "app_id:shortstr",
              "cluster_id:shortstr"]
_INTEGERS = {"octet": ">B", "short": ">H", "long": ">I", "longlong": ">Q"}
_FIELD_INTEGERS = {"b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q",
                   "T": ">Q", "f": ">f", "d": ">d"}

Typed = collections.namedtuple("Typed", "kind value")  # a table value of a chosen AMQP type


def octets(text):
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def string(raw):
    return raw.decode("utf-8", "surrogateescape")


def encode_value(value):
    kind = value.kind if isinstance(value, Typed) else None
    value = value.value if kind else value
    if kind in _FIELD_INTEGERS:
        return kind.encode() + struct.pack(_FIELD_INTEGERS[kind], value)
    if kind == "D":
        return b"D" + struct.pack(">Bi", 0, value)
    if kind == "x":
        return b"x" + struct.pack(">I", len(value)) + value
    if value is None:
        return b"V"
    if isinstance(value, bool):
        return b"t" + bytes([value])
    if isinstance(value, int):
        small = -2**31 <= value < 2**31
        return b"I" + struct.pack(">i", value) if small else b"l" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"d" + struct.pack(">d", value)
    if isinstance(value, dict):
        return b"F" + encode_table(value)
    if isinstance(value, (list, tuple)):
        inner = b"".join(encode_value(v) for v in value)
        return b"A" + struct.pack(">I", len(inner)) + inner
    raw = octets(value)
    return b"S" + struct.pack(">I", len(raw)) + raw


def encode_table(table):
    out = b""
    for key, value in table.items():
        raw = octets(key)
        out += bytes([len(raw)]) + raw + encode_value(value)
    return struct.pack(">I", len(out)) + out


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        piece = self.data[self.at:self.at + count]
        if len(piece) != count:
            raise ValueError("the peer's method is shorter than its fields")
        self.at += count
        return piece

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def table(self):
        end = self.number(">I") + self.at
        out = {}
        while self.at < end:
            key = string(self.take(self.number(">B")))
            out[key] = self.value()
        return out

    def value(self):
        kind = chr(self.number(">B"))
        if kind in _FIELD_INTEGERS:
            return self.number(_FIELD_INTEGERS[kind])
        if kind == "t":
            return bool(self.number(">B"))
        if kind == "V":
            return None
        if kind == "F":
            return self.table()
        if kind == "A":
            end, out = self.number(">I") + self.at, []
            while self.at < end:
                out.append(self.value())
            return out
        if kind == "D":
            scale = self.number(">B")
            return self.number(">i") / 10**scale
        raw = self.take(self.number(">I"))
        return raw if kind == "x" else string(raw)

    def field(self, kind):
        if kind in _INTEGERS:
            return self.number(_INTEGERS[kind])
        if kind == "shortstr":
            return string(self.take(self.number(">B")))
        if kind == "longstr":
            return string(self.take(self.number(">I")))
        return self.table()


def encode_field(kind, value):
    if kind in _INTEGERS:
        return struct.pack(_INTEGERS[kind], value or 0)
    if kind == "table":
        return encode_table(value or {})
    raw = octets(value or "")
    return (bytes([len(raw)]) if kind == "shortstr" else struct.pack(">I", len(raw))) + raw


def encode_method(name, **arguments):
    ids, fields = BY_NAME[name]
    out, bits, bit_count = struct.pack(">HH", *ids), 0, 0
    for field, kind in fields:
        value = arguments.pop(field, None)
        if kind == "bit":
            bits |= bool(value) << bit_count
            bit_count += 1
            continue
        if bit_count:
            out, bits, bit_count = out + bytes([bits]), 0, 0
        out += encode_field(kind, value)
    if arguments:
        raise TypeError("%s has no field %s" % (name, sorted(arguments)))
    return out + (bytes([bits]) if bit_count else b"")


def decode_method(payload):
    ids = struct.unpack(">HH", payload[:4])
    name, fields = BY_ID[ids]
    reader, out, bits, bit_at = Reader(payload[4:]), {}, 0, 8
    for field, kind in fields:
        if kind == "bit":
            if bit_at == 8:
                bits, bit_at = reader.number(">B"), 0
            out[field] = bool(bits >> bit_at & 1)
            bit_at += 1
        else:
            bit_at = 8
            out[field] = reader.field(kind)
    return name, out


def encode_header(body_size, properties=None, class_id=60, weight=0):
    properties = dict(properties or {})
    flags, out = 0, b""
    for at, (field, kind) in enumerate(p.split(":") for p in PROPERTIES):
        if field in properties:
            flags |= 1 << 15 - at
            out += encode_field(kind, properties.pop(field))
    if properties:
        raise TypeError("no such property: %s" % sorted(properties))
    return struct.pack(">HHQH", class_id, weight, body_size, flags) + out


def decode_header(payload):
    _class_id, _weight, body_size, flags = struct.unpack(">HHQH", payload[:14])
    reader, out = Reader(payload[14:]), {}
    for at, (field, kind) in enumerate(p.split(":") for p in PROPERTIES):
        if flags >> 15 - at & 1:
            out[field] = reader.field(kind)
    return body_size, out


def frame(kind, channel, payload, end=b"\xce"):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


def method_frame(channel, name, **arguments):
    return frame(METHOD, channel, encode_method(name, **arguments))


def content_frames(channel, body, properties=None, piece_max=131064):
    body = octets(body)
    out = frame(HEADER, channel, encode_header(len(body), properties))
    for at in range(0, len(body), piece_max):
        out += frame(BODY, channel, body[at:at + piece_max])
    return out


def publish_frames(channel, body, properties=None, piece_max=131064, **arguments):
    return (method_frame(channel, "basic.publish", **arguments)
            + content_frames(channel, body, properties, piece_max))


class Event:
    """A method from the server, with its content where it has one."""

    def __init__(self, channel, name, arguments):
        self.channel, self.name, self.arguments = channel, name, arguments
        self.body, self.properties, self.body_size = b"", None, None
        self.header = b""   # the content header's octets

    def __getattr__(self, field):
        try:
            return self.__dict__["arguments"][field]
        except KeyError:
            raise AttributeError(field) from None

    def __repr__(self):
        return "<%s ch=%d %r %r>" % (self.name, self.channel, self.arguments, self.body[:40])


class Closed(Exception):
    """connection.close arrived (event) while something else was awaited."""

    def __init__(self, event):
        super().__init__(repr(event))
        self.event = event


class EndOfStream(Exception):
    """The server closed the socket."""


class Timeout(AssertionError):
    """Nothing came within the deadline."""


UNASKED = ("basic.deliver", "basic.return", "basic.ack", "basic.nack", "basic.cancel")
WITH_CONTENT = ("basic.deliver", "basic.get-ok", "basic.return")


def impatient(sock):
    """A peer that has nobody to say goodbye for it, its own TCP being dead, is missed in two seconds."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2),
                          (socket.TCP_USER_TIMEOUT, 2000)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


class Raw:
    """One connection. `events[channel]` holds what came and was not asked for yet."""

    patience = DEADLINE_S   # for whatever is waited for without another time

    def __init__(self, host, port, family=None):
        if family == socket.AF_UNIX:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(host)
        else:
            self.sock = socket.create_connection((host, port), timeout=self.patience)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""
        self.events = collections.defaultdict(collections.deque)
        self.partial = {}
        self.heartbeats = []
        self.server = {}
        self.tune, self.frame_max = None, 131072

    # bytes and frames

    def write(self, data):
        self.sock.settimeout(self.patience)
        self.sock.sendall(data)

    def read_some(self, until):
        left = until - time.monotonic()
        if left <= 0 or not select.select([self.sock], [], [], left)[0]:
            raise Timeout("the server sent nothing within the deadline")
        try:
            data = self.sock.recv(262144)
        except (ConnectionResetError, BrokenPipeError, TimeoutError):
            data = b""
        if not data:
            raise EndOfStream("the server closed the socket")
        self.input += data

    def read_exactly(self, count, seconds=DEADLINE_S):
        until = time.monotonic() + seconds
        while len(self.input) < count:
            self.read_some(until)
        data, self.input = self.input[:count], self.input[count:]
        return data

    def read_to_end(self, seconds=DEADLINE_S):
        """All bytes up to the end of the stream."""
        until = time.monotonic() + seconds
        try:
            while True:
                self.read_some(until)
        except EndOfStream:
            data, self.input = self.input, b""
            return data

    def read_frame(self, until):
        while len(self.input) < 7:
            self.read_some(until)
        kind, channel, size = struct.unpack(">BHI", self.input[:7])
        while len(self.input) < size + 8:
            self.read_some(until)
        payload, end = self.input[7:7 + size], self.input[7 + size]
        self.input = self.input[8 + size:]
        if end != 0xCE:
            raise AssertionError("the server's frame does not end in 0xCE")
        return kind, channel, payload

    # events

    def pump(self, until):
        """Take one frame in; returns nothing, see `events`."""
        kind, channel, payload = self.read_frame(until)
        if kind == HEARTBEAT:
            assert channel == 0 and payload == b"", "malformed heartbeat from the server"
            self.heartbeats.append(time.monotonic())
        elif kind == METHOD:
            assert channel not in self.partial, "method inside content"
            name, arguments = decode_method(payload)
            event = Event(channel, name, arguments)
            if name in WITH_CONTENT:
                self.partial[channel] = event
            else:
                self.events[channel].append(event)
        else:
            self._content(kind, channel, payload)

    def _content(self, kind, channel, payload):
        event = self.partial[channel]
        if kind == HEADER:
            assert event.properties is None, "two content headers"
            event.header = payload
            event.body_size, event.properties = decode_header(payload)
        else:
            assert kind == BODY and event.properties is not None and payload
            event.body += payload
        assert len(event.body) <= event.body_size, "body longer than announced"
        if len(event.body) == event.body_size:
            self.events[channel].append(self.partial.pop(channel))

    def next(self, channel, seconds=None):
        until = time.monotonic() + (seconds or self.patience)
        while not self.events[channel]:
            if channel and self.events[0] and self.events[0][0].name == "connection.close":
                raise Closed(self.events[0].popleft())
            self.pump(until)
        return self.events[channel].popleft()

    def send(self, channel, name, **arguments):
        self.write(method_frame(channel, name, **arguments))

    # life

    def start(self, header=HEADER_091):
        self.write(header)
        event = self.next(0)
        assert event.name == "connection.start", event
        self.server = event.arguments["properties"]
        return event

    def start_ok(self, user="guest", password="guest", mechanism="PLAIN", response=None,
                 capabilities=("authentication_failure_close", "consumer_cancel_notify",
                               "connection.blocked", "basic.nack")):
        if response is None:
            response = "\0%s\0%s" % (user, password)
        self.send(0, "connection.start-ok", mechanism=mechanism, response=response,
                  locale="en_US", properties={"product": "lepus tests",
                                              "capabilities": {c: True for c in capabilities}})

    def handshake(self, user="guest", password="guest", vhost="/", channel_max=None,
                  frame_max=None, heartbeat=0, capabilities=None, **more):
        self.start()
        if capabilities is not None:
            more["capabilities"] = capabilities
        self.start_ok(user, password, **more)
        self.tune = self.next(0)
        if self.tune.name == "connection.close":
            raise Closed(self.tune)
        assert self.tune.name == "connection.tune", self.tune
        self.frame_max = self.tune.frame_max if frame_max is None else frame_max
        self.send(0, "connection.tune-ok", heartbeat=heartbeat, frame_max=self.frame_max,
                  channel_max=self.tune.channel_max if channel_max is None else channel_max)
        self.send(0, "connection.open", vhost=vhost)
        event = self.next(0)
        if event.name == "connection.close":
            raise Closed(event)
        assert event.name == "connection.open-ok", event
        return self

    def channel(self, number=1):
        self.send(number, "channel.open")
        event = self.next(number)
        assert event.name == "channel.open-ok", event
        return Channel(self, number)

    def close(self):
        try:
            self.send(0, "connection.close", code=200, text="bye")
            while self.next(0).name != "connection.close-ok":
                pass
        except (EndOfStream, OSError, Closed):
            pass
        self.drop()

    def drop(self):
        self.sock.close()


class Channel:
    def __init__(self, connection, number):
        self.connection, self.number = connection, number

    def send(self, method, **arguments):
        self.connection.send(self.number, method, **arguments)

    def next(self, name=None, seconds=None):
        event = self.connection.next(self.number, seconds)
        if name and event.name != name:
            raise AssertionError("expected %s, got %r" % (name, event))
        return event

    def call(self, method, **arguments):
        """Send and wait for the method's own -ok, which must come next.

        Deliveries, confirms and the like may come first; they stay queued."""
        self.send(method, **arguments)
        wanted = [method + "-ok"] + ["basic.get-empty"] * (method == "basic.get")
        held = []
        while True:
            event = self.next()
            if event.name not in UNASKED:
                break
            held.append(event)
        self.connection.events[self.number].extendleft(reversed(held))
        if event.name not in wanted:
            raise AssertionError("expected %s, got %r" % (wanted[0], event))
        return event

    def publish(self, body=b"x", exchange="", routing_key="", properties=None, mandatory=False,
                immediate=False):
        self.connection.write(publish_frames(
            self.number, body, properties, self.connection.frame_max - 8, exchange=exchange,
            routing_key=routing_key, mandatory=mandatory, immediate=immediate))

    def confirmed(self, count=1):
        """Wait until `count` publishes more are acked; other events stay queued."""
        held, acked = [], []
        state = self.__dict__.setdefault("confirm_state", [0, set()])
        while len(acked) < count:
            event = self.next()
            if event.name != "basic.ack":
                assert event.name != "basic.nack" and not event.name.endswith(".close"), event
                held.append(event)
                continue
            floor, above = state
            tags = range(floor + 1, event.delivery_tag + 1) if event.multiple \
                else [event.delivery_tag]
            fresh = [t for t in tags if t not in above and t > floor]
            acked += fresh
            above.update(fresh)
            while state[0] + 1 in above:
                state[0] += 1
                above.discard(state[0])
        self.connection.events[self.number].extendleft(reversed(held))

    def pending(self):
        """What has come on this channel, after a round trip through the broker."""
        self.send("channel.flow", active=True)
        seen = []
        while True:
            event = self.next()
            if event.name == "channel.flow-ok":
                return seen
            seen.append(event)
