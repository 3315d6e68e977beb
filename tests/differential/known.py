# SPDX-License-Identifier: Apache-2.0
"""known - the differences from RabbitMQ that remain, each with its reason.

A rule says of one difference (path, what RabbitMQ did, what Lepus did) whether
it is this one. `ends`: what follows cannot be compared, the script ends there.
"""
import collections
import re

Rule = collections.namedtuple("Rule", "name rows versions reason explains ends")
V310, V40 = (3, 10), (4, 0)
RULES = []


# What scripts do not do, as the rest of them could not be compared: (what, rows, reason).
LEFT_OUT = [
    ("a consumer without acks on a channel with a shared prefetch", "C123 C125",
     "when the shared prefetch is used up, RabbitMQ's queue stops serving the channel, also those "
     "of its consumers that need no acks, until one is acknowledged; Lepus goes on serving them"),
    ("a connection that goes and has several channels that hold messages or consume", "C139",
     "RabbitMQ ends the channels one by one, in any order: what one gives back another may still "
     "take; in Lepus they end together"),
    ("quorum queues, against 3.10", "C119 C120 C130 C132 C148",
     "3.10 has no default limit of deliveries, counts them from the first, returns messages to the "
     "back, and does not know arguments that 4.0 does"),
    ("rights on topics, against 3.10", "C85",
     "3.10 asks for the routing key only, 4.0 and Lepus for the keys of CC and BCC, too"),
    ("two policies of the same priority for one object", "C149",
     "RabbitMQ takes the one that its table happens to have first, Lepus the first by name"),
    ("how many consumers a quorum queue has", "C81",
     "RabbitMQ counts a basic.get whose message is not settled as one of them"),
    ("short times to live with priorities", "C142 C158",
     "RabbitMQ's priority queue looks at the time when a message comes into an empty queue or one "
     "is taken: one that is expired may stay, and be delivered; Lepus drops it in time"),
]

# What a few scripts meet (one in some hundred), and no rule can tell: (what, rows, reason).
SELDOM = [
    ("several messages given back at once", "C147 C158",
     "RabbitMQ puts back what one consumer had of a queue, all of it, then what the next one had (those "
     "of basic.get come first); after each the queue drops what is too much and delivers. Lepus puts "
     "all of it back in the order of delivery, then drops, then delivers. It shows where several "
     "consumers of a channel share a queue that has a length or priorities: `--steps 80 --features "
     "quorum,confirm,qos,dlx,burst,policies,operator,sac,length,ttl,tx,priorities,churn --seed 9648` "
     "on 4.0.5"),
]


# Features that are not compared with 3.10.
NOT_IN_310 = ("quorum", "topics")


def rule(name, rows, reason, versions=(V310, V40), ends=False):
    def add(explains):
        RULES.append(Rule(name, rows, versions, reason, explains, ends))
        return explains
    return add


def text_of(value):
    """The text of a close, whichever way it came."""
    if isinstance(value, str):
        return value
    return value[1] if isinstance(value, list) and len(value) == 4 else ""


@rule("verb in 403", "C84 C85", "4.0 says which right was missing (`write access to ...`), 3.10 "
      "does not", versions=(V310,))
def _verb(_path, theirs, ours):
    return re.sub(r"- (configure|write|read) access to", "- access to", text_of(ours)) == \
        text_of(theirs) != ""


@rule("x-last-death-*", "C155", "headers of 4.0 only", versions=(V310,))
def _last_death(path, theirs, _ours):
    return theirs is None and str(path[-1]).startswith("x-last-death-")


def explain(version, difference):
    """The rule for this difference, or None."""
    return next((r for r in RULES if version in r.versions and r.explains(*difference)), None)


def table():
    """The rules as a table for people."""
    out = ["| difference | rows | seen against | reason |", "|---|---|---|---|"]
    for one in RULES:
        out.append("| %s | %s | %s | %s |" % (
            one.name, one.rows, ", ".join("%d.%d" % v for v in one.versions),
            " ".join(one.reason.split())))
    for what, rows, reason in LEFT_OUT:
        out.append("| not in scripts: %s | %s | | %s |" % (what, rows, reason))
    for what, rows, reason in SELDOM:
        out.append("| in few scripts: %s | %s | | %s |" % (what, rows, reason))
    return "\n".join(out)
