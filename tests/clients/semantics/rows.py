# SPDX-License-Identifier: Apache-2.0
"""rows - the list of behaviours that have to be shown, and the table that says which tests do.

A test names the rows it shows in its name (`test_C13_...`) or in its docstring
("Also C58, S4."). C rows are exact behaviour of AMQP 0-9-1 as RabbitMQ does it,
S rows what users of RabbitMQ do with it. `NOTES` says what a live RabbitMQ 3.10
did where it differs from 4.0, whose behaviour is Lepus's. `LATER` are rows that
belong to work which is not done yet, with the reason.
"""
import collections
import os
import re

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")

_C = """
1 the text of a close: code name, explanation, 255 octets at most
2 soft errors close the channel
3 hard errors close the connection
4 on channel 0 every error is the connection's
5 after channel.close the client's input is ignored
6 after connection.close the client's input is ignored, the socket goes soon
7 how queues and exchanges are named in texts
8 methods that are unknown, unimplemented or undecodable
9 protocol headers that are understood
10 protocol headers that are answered with another
11 TLS and HTTP on the plain port
12 server properties and capabilities
13 a bad login of a client that can hear of it
14 a bad login of a client that cannot
15 an unknown mechanism
16 a user of the local machine from afar
17 a handshake that takes too long
18 a virtual host that is not there
19 a virtual host that is not allowed
20 limits of connections: virtual host, user, node
21 what tune offers
22 channel_max of 0 or too high
23 frame_max too low, too high or 0
24 frames before tune are small
25 the heartbeat is what the client says
26 an idle server sends heartbeats
27 a silent client is dropped
28 heartbeats on channels, or with a payload
29 channel_max counts channels
30 connection.update-secret
31 a frame with a wrong end, or of an unknown type
32 a frame that is too large
33 content without a method
34 a method, or another class, instead of the header
35 something else instead of the body
36 a longer body than was announced
37 a header that announces too much
38 empty bodies and empty body frames
39 names that are not UTF-8
40 methods on a channel that is not open
41 a channel that is opened twice
42 a channel's number can be used again
43 connection methods in the middle of life
44 channel.flow
45 access.request
46 fields that mean nothing: ticket, no_local
47 nowait
48 methods of a channel are done in their order
49 a queue declared with another property
50 a queue declared with another argument
51 numbers of different width are the same argument
52 in which order declarations are compared
53 x-queue-type and its absence
54 an exchange declared again
55 somebody else's exclusive queue
56 a shared queue declared exclusive
57 an exclusive queue is gone when its connection is
58 queues and exchanges that are not there
59 the empty queue name
60 a queue whose node is gone
61 names that are reserved
62 the default exchange is left alone
63 exchanges of the system stay
64 an unknown exchange type
65 line ends in names
66 names that the server makes up
67 deleting what is not there
68 deleting if unused, if empty
69 purge
70 binding what is not there
71 queues that go with their last consumer
72 exchanges that go with their last binding
73 queues that go when they are not used
74 arguments with bad values
75 arguments of other queue types
76 other queue types with impossible properties
77 transient queues for everybody
78 topic patterns with many wildcards; one copy however many bindings match
79 x-match
80 passive declares ask for nothing but the name
81 the counts in declare-ok
82 limits of queues and exchanges
83 how patterns of rights match
84 a right that is missing
85 a right on a topic that is missing
86 reasons of other login services
87 rights for dead-letter and alternate exchanges
88 publishing to an internal exchange
89 a right that is taken away
90 user_id of a message
91 in which order a message is checked
92 immediate
93 a message that is too large
94 an expiration that is none
95 unroutable and not mandatory
96 unroutable and mandatory
97 alternate exchanges
98 exchanges bound to exchanges
99 CC and BCC
100 publishing to an exchange that is not there
101 order is kept
102 connection.blocked
103 numbers of confirms
104 confirms of many at once
105 when a message is confirmed
106 when a message is refused
107 confirms are quick
108 confirms and transactions exclude each other
109 transactions that were not asked for
110 publishing in a transaction
111 commit
112 rollback
113 confirm.select twice
114 consume-ok first, cancel-ok last
115 a consumer tag used twice
116 cancelling a consumer that is not there
117 what a cancelled consumer held
118 the server cancels a consumer
119 exclusive consumers
120 single active consumer
121 priorities of consumers
122 prefetch_size
123 prefetch of consumers and of channels
124 prefetch 0
125 consuming without acks
126 delivery tags
127 acks of unknown tags
128 reject and nack
129 recover
130 where a message goes that comes back
131 the redelivered mark
132 the limit of deliveries
133 what counts as a delivery
134 consumers that never ack
135 exchange and routing key of a delivery
136 passive declares without an answer
137 get
138 streams over AMQP 0-9-1
139 what a dead connection held
140 a connection closed by the operator
141 when messages expire
142 only the head of a queue expires
143 a time to live of 0
144 a time to live that is changed
145 expiration of dead letters
146 what counts for the length of a queue
147 the oldest make room
148 refusing instead
149 argument, policy and operator policy together
150 how safe dead-lettering is
151 a dead-letter exchange that is not there
152 the routing key of dead letters
153 dead letters in a circle
154 x-death
155 x-first-death and x-last-death
156 x-death from a client
157 what is deleted is not dead
158 priorities of messages
159 priorities in quorum queues
160 direct reply-to: its rules
161 direct reply-to: its addresses
162 direct reply-to cannot be bound
163 the firehose
"""

_S = """
1 messages cross protocols
2 work waits for workers
3 publishers name an exchange
4 the default exchange
5 the exchanges of a new virtual host
6 direct exchanges
7 fanout exchanges
8 topic exchanges
9 `x.#` matches `x`
10 `*` is one word
11 wildcards in front
12 `a.*` does not match `a`
13 patterns of several words
14 `#` is everything, `/#` is a word
15 headers exchanges
16 first in, first out
17 no route, no message
18 unroutable messages come back
19 alternate exchanges are not dead-letter exchanges
20 bindings are a set
21 many bindings, one copy
22 routing keys are the publisher's
23 exchanges feed exchanges
24 durable, auto-delete, exclusive
25 auto_delete belongs to what is declared
26 positional arguments of exchange_declare
27 both sides may declare
28 declaring again is fine if it is the same
29 names from the server
30 exclusive queues
31 exclusive is about the connection
32 a server-named queue alone stays
33 live feeds
34 one consumer, one queue
35 queueing and publish/subscribe on one broker
36 round-robin
37 prefetch protects slow consumers
38 bodies are octets
39 sizes of messages
40 tutorials: routing and topics
41 chat rooms
42 chains of services
43 no LIFO
44 callbacks of pika
45 only an ack says done
46 frames
47 messages in frames
48 channels share a connection
49 many channels are fine
50 queue_declare
51 exchange_declare
52 queue_bind
53 queue_bind by position
54 basic_publish
55 basic_consume
56 auto_ack
57 basic_ack
58 acks of many
59 nack, and channels that die
60 basic_qos
61 delivery_tag
62 redelivered
63 delivery_mode
64 durable queues, transient messages
65 what a publish without confirm promises
66 transactions
67 confirms
68 headers
69 RPC: reply_to and correlation_id
70 RPC client
71 RPC server
72 all properties
73 credentials
74 URIs
75 aiormq
76 client libraries
77 Celery
78 at least once
79 dead letters: rejected
80 dead letters: expired
81 dead letters: too many
82 dead letters: delivery limit
83 the dead-letter exchange is any exchange
84 what x-death says
85 x-first-death
86 looking at dead letters and sending them again
87 watching queues
88 delayed messages
"""


def _rows(letter, text):
    return {letter + n: title for n, title in
            (line.split(" ", 1) for line in text.strip().splitlines())}


ROWS = {**_rows("C", _C), **_rows("S", _S)}

# Shown by suites of their own.
ELSEWHERE = {
    "S75": "tests/clients/run",
    "S76": "tests/clients/run",
    "S77": "tests/clients/test_celery.py",
}
LATER = {
    "C60": "one node: clusters have an issue of their own",
    "C86": "one login service: others have an issue of their own",
    "C138": "streams have an issue of their own",
    "S1": "one protocol: others have issues of their own",
    "S64": "messages are kept in memory until the log comes, which has an issue of its own",
}

NOTES = {
    "C9": "without its AMQP 1.0 plug-in 3.10 answers `AMQP 0 0 9 1` to both headers of 1.0",
    "C10": "3.10 answers every other header with `AMQP 0 0 9 1`, and takes `AMQP 1 1 8 0` for 0-8",
    "C11": "3.10 answers `AMQP 0 0 9 1`",
    "C15": "3.10 does not offer ANONYMOUS, 4.0 does; Lepus does not",
    "C20": "3.10 has no limit for the node; RabbitMQ counts a channel for a moment after its close-ok",
    "C53": "3.10 does not add the default type to what it compares: `current is none`",
    "C64": "3.10 closes the connection with 503, which php-amqp's suite wants",
    "C84": "3.10 does not say which right is missing",
    "C85": "3.10 does not say which right is missing, and asks for the routing key only, not for CC and BCC",
    "C89": "3.10 and 4.0: a channel goes on with the names it used before; Lepus refuses at once",
    "C91": "3.10 looks at topic rights and user_id before the expiration, and at CC after user_id",
    "C93": "3.10: 134217728 octets; 4.0: 16777216",
    "C140": "a deleted vhost `is down` or `is deleted` in RabbitMQ, whichever process is first",
    "C145": "3.10 keeps the original expiration as it was written, 4.0 as a number",
    "C149": "3.10 refuses `overflow` in an operator policy, 4.0 takes it; of policies with the same priority "
            "RabbitMQ takes any, Lepus the first by name",
    "C110": "3.10 returns a mandatory message whose queue went before the commit, 4.0 does not",
    "C152": "3.10 removes the CC header when the queue has a key for dead letters, 4.0 does not",
    "C155": "3.10 has x-first-death-* only",
    "C156": "3.10 goes on counting in the client's table, 4.0 starts at 1; php-amqp's suite wants the former",
}

_NAMED = re.compile(r"(?<![A-Za-z0-9])([CS])(\d+)(?: to [CS](\d+))?(?![0-9A-Za-z])")


def named(text):
    """Rows that a name or docstring names; `C5 to C7` names three."""
    out = []
    for letter, first, last in _NAMED.findall(text.replace("_", " ")):
        out += [letter + str(n) for n in range(int(first), int(last or first) + 1)]
    return [row for row in out if row in ROWS]


def of_test(test):
    """The rows that a test shows."""
    method = getattr(test, test._testMethodName)
    return named(test._testMethodName + " " + (method.__doc__ or ""))


class Table:
    """Collects verdicts; says which rows nothing shows."""

    def __init__(self):
        self.shown = collections.defaultdict(list)      # row -> [(test, verdict, reason)]

    def add(self, test, verdict, reason=""):
        name = ".".join(test.id().split(".")[-3:])
        for row in dict.fromkeys(of_test(test)):
            self.shown[row].append((name, verdict, reason))

    def missing(self):
        return [row for row in ROWS if not (row in self.shown or row in LATER or os.path.exists(
            os.path.join(TOP, ELSEWHERE.get(row, "no such file"))))]

    def write(self, path, flavour):
        lines = ["# Rows and what shows them, on %s" % flavour, "", self.summary(), "",
                 "| row | | test | verdict | note |", "|---|---|---|---|---|"]
        for row, title in ROWS.items():
            tests = self.shown.get(row, [])
            note = NOTES.get(row, "")
            if not tests:
                where = ELSEWHERE.get(row, "")
                verdict = "later" if row in LATER else "see there" if where else "NO TEST"
                lines.append("| %s | %s | %s | %s | %s |" % (row, title, where, verdict,
                                                           LATER.get(row, note)))
            for name, verdict, reason in tests:
                lines.append("| %s | %s | %s | %s | %s |" % (
                    row, title, name, verdict, "; ".join(filter(None, (reason, note)))))
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n")

    def summary(self):
        verdicts = collections.Counter()
        for row in ROWS:
            found = {verdict for _, verdict, _ in self.shown.get(row, [])}
            verdicts["FAIL" if "FAIL" in found else "ok" if "ok" in found else
                     "skipped" if found else "later" if row in LATER else
                     "elsewhere" if row in ELSEWHERE else "without a test"] += 1
        return "%d rows: %s" % (len(ROWS), ", ".join(
            "%d %s" % (verdicts[v], v) for v in ("ok", "FAIL", "skipped", "later", "elsewhere",
                                                "without a test") if verdicts[v]))

