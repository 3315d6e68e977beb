# SPDX-License-Identifier: Apache-2.0
"""duel - runs a script on two brokers step by step and stops where they differ."""
import time

import amqp_raw
import known
from amqp_raw import frame, method_frame
from compare import differences, observation
from generate import EXCHANGES, QUEUES, SHORT_TTL
from peer import Peer

PATIENCE_S = 1.0        # how long two brokers that are quiet may still disagree
LINGER_S = SHORT_TTL / 1000 + 0.03
DRAIN_MAX = 200         # messages of one queue that the end of a script looks at

FRAMES = {
    "end": lambda at: frame(8, 0, b"", b"\xcd"),
    "type": lambda at: frame(5, at, b"abc"),
    "header": lambda at: frame(2, at, amqp_raw.encode_header(0)),
    "body": lambda at: method_frame(at, "basic.publish") + frame(3, at, b"abc"),
    "unopened": lambda at: method_frame(9, "basic.get", queue="q0"),
    "twice": lambda at: method_frame(at, "channel.open"),
    "long": lambda at: method_frame(at, "basic.publish") + frame(
        2, at, amqp_raw.encode_header(1)) + frame(3, at, b"abc") + method_frame(at, "basic.qos"),
    "class": lambda at: method_frame(at, "basic.publish") + frame(
        2, at, amqp_raw.encode_header(0, class_id=50)),
}


class Verdict:
    """How a script ended: `step` is None when it was done whole."""

    def __init__(self, step, found, met):
        self.step, self.found, self.met = step, found, met

    def __bool__(self):
        return not self.found


class Duel:
    def __init__(self, reference, lepus):
        self.brokers = (reference, lepus)
        self.peers = ()

    def run(self, features, steps):
        """Do all steps; a Verdict."""
        met, step = set(), None
        self.lingers = False
        other = {"user": "other", "password": "other"}
        users = ({}, other if "rights" in features else {})
        self.peers = tuple(Peer(broker) for broker in self.brokers)
        try:
            for broker in self.brokers:
                prepare(broker, features)
            for peer in self.peers:
                peer.begin(users)
            for step in [*steps, {"n": 0, "do": "end", "at": [0, 1]}]:
                over, found = self.step(step, met)
                if found:
                    return Verdict(step, found, met)
                if over:
                    break
            return Verdict(None, [], met)
        finally:
            for peer in self.peers:
                peer.end()
            for peer in self.peers:
                clean(peer, features)

    def step(self, step, met):
        """(whether the script is over, differences that nothing explains)"""
        for peer in self.peers:
            peer.seen = {}
        getattr(self, "do_" + step["do"])(step)
        found = self.settle_down(step)
        over, unknown = False, []
        for difference in found:
            explained = known.explain(self.brokers[0].version, difference)
            if explained:
                met.add(explained.name)
                over = over or explained.ends
            else:
                unknown.append(difference)
        return over, [] if over else unknown

    def settle_down(self, step):
        """Wait until both are quiet and agree, or are quiet and do not for too long."""
        self.lingers = self.lingers or uses_short_ttl(step)
        for peer in self.peers:
            peer.quiet()
        if self.lingers:
            self.linger()
        until = time.monotonic() + PATIENCE_S
        while True:
            found = differences(*(observation(peer) for peer in self.peers))
            unexplained = [f for f in found if not known.explain(self.brokers[0].version, f)]
            if not unexplained or time.monotonic() > until:
                return found
            for peer in self.peers:
                peer.round()

    def linger(self):
        """Rounds until nothing has happened for as long as a short time to live."""
        since, before = time.monotonic(), None
        while time.monotonic() - since < LINGER_S:
            for peer in self.peers:
                peer.round()
            now = [peer.news for peer in self.peers]
            if now != before:
                since, before = time.monotonic(), now

    # the kinds of steps

    def do_method(self, step):
        connection, channel = step["at"]
        for peer in self.peers:
            peer.send_method(step, peer.links[connection], channel)

    def do_burst(self, step):
        connection, channel = step["at"]
        for peer in self.peers:
            for one in step["methods"]:
                peer.send_method(one, peer.links[connection], channel)

    def do_settle(self, step):
        connection, channel = step["at"]
        links = [peer.links[connection] for peer in self.peers]
        lists = [sorted(link.chans[channel].outstanding, key=lambda e: (e[1:], e[0]))
                 for link in links]
        if not all(lists):
            return
        picks = [entries[step["pick"] % len(entries)] for entries in lists]
        upto = [[e for e in entries if e[0] <= pick[0]] for entries, pick in zip(lists, picks)]
        # Two queues may deliver to one channel in either order: then `multiple` means two things.
        multiple = step["multiple"] and \
            len({tuple(sorted(tuple(e[1:]) for e in one)) for one in upto}) == 1
        for peer, link, pick, lower in zip(self.peers, links, picks, upto):
            peer.settle(step, link, channel, lower if multiple else [pick], multiple)

    def do_answer(self, step):
        """An answer to the last direct request that was seen."""
        connection, channel = step["at"]
        if not all("reply-to" in peer.real for peer in self.peers):
            return
        more = {"method": "basic.publish", "args": {"routing_key": "reply-to"}}
        for peer in self.peers:
            peer.send_method({**step, **more}, peer.links[connection], channel)

    def do_reopen(self, step):
        for peer in self.peers:
            peer.reopen(*step["at"])

    def hush(self, number):
        """Let at most one channel of a connection hold messages or consume (known.LEFT_OUT)."""
        busy = [n for n, chan in self.peers[0].links[number].chans.items()
                if chan.consumers or chan.unnamed or chan.outstanding]
        for channel in busy[1:]:
            for peer in self.peers:
                peer.reopen(number, channel)
                peer.quiet()

    def do_drop(self, step):
        self.hush(step["at"][0])
        for peer in self.peers:
            peer.drop(step["at"][0])

    def do_close(self, step):
        self.hush(step["at"][0])
        for peer in self.peers:
            peer.close(step["at"][0])

    def do_frames(self, step):
        connection, channel = step["at"]
        for peer in self.peers:
            link = peer.links[connection]
            peer.write(link, FRAMES[step["what"]](channel))
            peer.until_closed(link)

    def do_ctl(self, step):
        results = [peer.broker.ctl(*step["words"], check=False) for peer in self.peers]
        for peer, result in zip(self.peers, results):
            peer.note("ctl", "exit", result.returncode)

    def do_end(self, step):
        """Everything goes back to its queues; what is in them?"""
        for number in self.peers[0].links:
            self.do_close({"at": [number, 0]})
        for peer in self.peers:
            peer.users = ({}, {})
        self.do_close({"at": [0, 0]})
        for peer in self.peers:
            peer.quiet()
        if self.lingers:
            self.linger()
        for peer in self.peers:
            for name in EXCHANGES:
                peer.ask(0, "exchange.declare", exchange=name, type="direct", passive=True)
            for name in sorted(n for n, c in peer.counts.items() if isinstance(c, list)):
                peer.drain(0, name, DRAIN_MAX)


def uses_short_ttl(step):
    inside = step.get("methods", [step])
    return any(one.get("props", {}).get("expiration") in ("0", str(SHORT_TTL)) or one.get(
        "args", {}).get("arguments", {}).get("x-message-ttl") in (0, SHORT_TTL) for one in inside)


def prepare(broker, features):
    if "rights" in features:
        broker.ctl("add_user", "other", "other", check=False)
        broker.ctl("set_permissions", "-p", "/", "other", ".*", ".*", ".*")
        broker.ctl("set_user_tags", "other")
        broker.ctl("clear_topic_permissions", "-p", "/", "other")


def clean(peer, features):
    """Remove what a script may have left behind."""
    raw = amqp_raw.Raw(peer.broker.host, peer.broker.port).handshake()
    channel = raw.channel()
    gens = [real for real, name in peer.names.items() if name.startswith("gen@")]
    for name in [*QUEUES, *gens]:
        channel.call("queue.delete", queue=name)
    for name in EXCHANGES:
        channel.call("exchange.delete", exchange=name)
    raw.close()
    if "policies" in features:
        for name in ("p0", "p1"):
            peer.broker.ctl("clear_policy", name, check=False)
            peer.broker.ctl("clear_operator_policy", name, check=False)
