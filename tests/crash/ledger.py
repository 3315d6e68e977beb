# SPDX-License-Identifier: Apache-2.0
"""ledger - what a broker was given and has said, and therefore owes.

Events go in as they happen; contradictions come out in `problems`. A *life* is that of a data plane: it ends
when that is killed. A *copy* is a message in one queue. What it may do after a life has ended:

    confirmed, nobody sent an ack          must be there
    not confirmed, or an ack was sent      may be there; when it once was, or was not, that is what it is
    acked, and the ack known to be stored  must not come back
    transient, in a classic queue          must not come back

An ack is known to be stored when a message that the same channel published to the same queue later was confirmed
(a fence), or a transaction that has it was answered. Quorum queues store transient messages, too, as RabbitMQ's.

With a `journal`, a function of (name, arguments), every event is told to it first: replay() makes a ledger of them.
"""
import collections

PROBLEMS_MAX = 20
OPEN, COMMITTING, COMMITTED, ROLLED_BACK = "open", "committing", "committed", "rolled back"


class Copy:
    __slots__ = ("publisher", "number", "queue", "life", "stored", "confirmed", "handed", "acked", "gone", "out",
                 "seen_life", "tx")

    def __init__(self, publisher, number, queue, life, stored, tx):
        self.publisher, self.number, self.queue, self.life = publisher, number, queue, life
        self.stored = stored        # it outlives a data plane
        self.confirmed = False
        self.handed = False         # to a client, in any life
        self.acked = None           # the life in which an ack was sent
        self.gone = None            # why it must not come again
        self.out = False            # a client of this life has it
        self.seen_life = -1         # the last in which it came
        self.tx = tx

    def __str__(self):
        return "message %d.%d of %s (published in life %d%s%s%s)" % (
            self.publisher, self.number, self.queue, self.life, "" if self.stored else ", transient",
            ", confirmed" if self.confirmed else "",
            ", acked in life %d" % self.acked if self.acked is not None else "")


class Tx:
    def __init__(self, queue, life):
        self.queue, self.life, self.state = queue, life, OPEN
        self.copies, self.acks = [], []
        self.certain = []           # of the acked: what would be there without this transaction


def event(method):
    name = method.__name__

    def told(self, *arguments):
        if self.journal:
            self.journal(name, arguments)
        return method(self, *arguments)
    return told


class Ledger:
    def __init__(self, journal=None, atomic=True, marks=True):
        self.journal = journal
        self.atomic = atomic        # a transaction that is torn by a crash, a delivery without its redelivered mark:
        self.marks = marks          # is a problem, or only counted
        self.life = 0
        self.queues = {}            # name -> type
        self.copies = collections.defaultdict(dict)     # queue -> {(publisher, number): Copy}
        self.messages = {}          # (publisher, number) -> queues, while not confirmed
        self.transactions = {}
        self.last = {}              # (consumer, publisher, queue) -> number of the last first delivery
        self.came = collections.defaultdict(list)       # queue -> copies in this drain, in order
        self.draining = set()
        self.forgotten = set()      # (queue, publisher, number)
        self.problems = []
        self.counts = collections.Counter()

    def problem(self, text):
        self.counts["problems"] += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append("life %d: %s" % (self.life, text))

    # what clients do and hear

    @event
    def queue_made(self, queue, kind):
        self.queues[queue] = kind

    @event
    def published(self, publisher, number, queues, persistent, tx=None):
        """About to be sent."""
        self.counts["published"] += 1
        for queue in queues:
            stored = persistent or self.queues[queue] == "quorum"
            work = None if tx is None else self.transactions[tx]
            copy = Copy(publisher, number, queue, self.life, stored, work)
            self.copies[queue][publisher, number] = copy
            if work:
                work.copies.append(copy)
        if tx is None:
            self.messages[publisher, number] = queues

    @event
    def confirmed(self, publisher, number):
        self.counts["confirmed"] += 1
        queues = self.messages.pop((publisher, number), None)
        if queues is None:
            self.problem("message %d.%d was confirmed twice, or never sent" % (publisher, number))
        for queue in queues or ():
            copy = self.copies[queue].get((publisher, number))
            if copy:
                copy.confirmed = True

    @event
    def delivered(self, consumer, queue, publisher, number, redelivered):
        """Gives False for what makes no sense."""
        self.counts["redelivered" if redelivered else "delivered"] += 1
        copy = self.copies[queue].get((publisher, number))
        if copy is None:
            self.problem("%s gave message %d.%d, which %s" % (
                queue, publisher, number, "was settled in an earlier life and is back"
                if (queue, publisher, number) in self.forgotten else "nobody sent there"))
            return False
        self._check_delivery(copy, consumer, redelivered)
        copy.handed = copy.out = True
        copy.seen_life = self.life
        if copy.life < self.life:
            copy.confirmed = True       # it came from the disk, and is there until it is acked
        copy.acked = None if copy.acked is not None and copy.acked < self.life else copy.acked
        if queue in self.draining:
            self.came[queue].append(copy)
        return True

    def _check_delivery(self, copy, consumer, redelivered):
        if copy.gone:
            self.problem("%s came back, though %s" % (copy, copy.gone))
        if copy.out:
            self.problem("%s came twice at once" % copy)
        if copy.acked == self.life:
            self.problem("%s came back in the life in which it was acked" % copy)
        if copy.handed and not redelivered:
            self.counts["unmarked"] += 1
            if self.marks:
                self.problem("%s came again without the redelivered mark" % copy)
        if copy.life < self.life and not copy.stored:
            self.problem("%s came back in a later life" % copy)
        if copy.tx and copy.tx.state == OPEN:
            self.problem("%s came before its transaction was committed" % copy)
        if redelivered or copy.handed:
            return
        key = (consumer, copy.publisher, copy.queue)
        if self.last.get(key, -1) > copy.number:
            self.problem("%s came for the first time after %d of the same publisher" % (copy, self.last[key]))
        self.last[key] = copy.number

    @event
    def acking(self, queue, publisher, number):
        """An ack is about to be sent."""
        self.counts["acked"] += 1
        copy = self.copies[queue].get((publisher, number))
        if copy:
            copy.acked, copy.out = self.life, False

    @event
    def requeuing(self, queue, publisher, number):
        self.counts["requeued"] += 1
        copy = self.copies[queue].get((publisher, number))
        if copy:
            copy.out = False

    @event
    def acks_stored(self, queue, ids):
        self.counts["acks stored"] += len(ids)
        for publisher, number in ids:
            copy = self.copies[queue].get((publisher, number))
            if copy and copy.acked is not None:
                copy.gone = "its ack was stored"

    # transactions of one queue

    @event
    def tx_begun(self, tx, queue):
        self.transactions[tx] = Tx(queue, self.life)

    @event
    def tx_committing(self, tx, acks):
        self.transactions[tx].state = COMMITTING
        for publisher, number in acks:
            copy = self.copies[self.transactions[tx].queue].get((publisher, number))
            if copy:
                copy.acked, copy.out = self.life, False
                self.transactions[tx].acks.append(copy)
                if copy.stored and copy.confirmed:
                    self.transactions[tx].certain.append(copy)

    @event
    def tx_rolling_back(self, tx):
        self.transactions[tx].state = ROLLED_BACK
        self._tx_copies_gone(self.transactions[tx])

    @event
    def tx_committed(self, tx):
        self.counts["transactions"] += 1
        work = self.transactions[tx]
        work.state = COMMITTED
        for copy in work.copies:
            copy.confirmed = True
        for copy in work.acks:
            copy.gone = "its ack was committed"

    def _tx_copies_gone(self, work):
        for copy in work.copies:
            copy.gone = "its transaction was " + work.state

    # deaths

    @event
    def connection_closed(self, copies):
        """[queue, publisher, number] that its channels held go back."""
        for queue, publisher, number in copies:
            copy = self.copies[queue].get((publisher, number))
            if copy:
                copy.out = False

    @event
    def crashed(self):
        self.life += 1
        self.messages.clear()
        self.last.clear()
        for copies in self.copies.values():
            for copy in copies.values():
                copy.out = False
        for work in self.transactions.values():
            if work.state == OPEN:
                work.state = ROLLED_BACK
                self._tx_copies_gone(work)

    # a drain: one consumer a queue takes all there is

    @event
    def drain_begins(self, queue):
        self.draining.add(queue)
        self.came[queue] = []

    @event
    def drain_ends(self, queue):
        """Everything that was in the queue has come."""
        self.draining.discard(queue)
        came = self.came.pop(queue)
        if self.queues[queue] == "classic":
            self._check_order(queue, came)
        here = {(copy.publisher, copy.number) for copy in came}
        self._check_transactions(queue)
        missing = []
        for key, copy in list(self.copies[queue].items()):
            if key in here:
                continue
            if copy.confirmed and copy.acked is None and not copy.gone and \
                    (copy.stored or copy.life == self.life):
                missing.append(copy)
            elif copy.life < self.life and copy.acked != self.life:
                copy.gone = copy.gone or "it was not there in life %d" % self.life
        if missing:
            self.problem("%s lost %d confirmed messages, the first: %s" % (queue, len(missing), missing[0]))
            for copy in missing:
                copy.gone = "it was lost in life %d" % self.life

    def _check_order(self, queue, came):
        last = {}
        for copy in came:
            if last.get(copy.publisher, -1) >= copy.number:
                self.problem("%s came after %d of the same publisher, of all there was in the queue" % (
                    copy, last[copy.publisher]))
            last[copy.publisher] = copy.number

    def _check_transactions(self, queue):
        """All or nothing, of those whose answer was not heard."""
        for tx, work in list(self.transactions.items()):
            if work.queue != queue or work.life == self.life or work.state == OPEN:
                continue
            if work.state == COMMITTING:
                # Some may have been delivered, and settled, before the answer could be heard.
                copies = [copy for copy in work.copies if copy.acked != work.life]
                there = [copy for copy in copies if copy.seen_life > work.life]
                undone = [copy for copy in work.certain if copy.seen_life > work.life]
                torn = not (len(there) == len(copies) and not undone or
                            not there and len(undone) == len(work.certain))
                self.counts["transactions cut"] += 1
                self.counts["transactions torn"] += torn
                if torn and self.atomic:
                    self.problem("a transaction of %s was torn: %d of %d messages came, %d of %d acks were undone"
                                 % (queue, len(there), len(work.copies), len(undone), len(work.certain)))
            del self.transactions[tx]

    @event
    def forget(self):
        """What can only be remembered for nothing: gone, and seen to be so by a drain."""
        for copies in self.copies.values():
            for key in [key for key, copy in copies.items() if copy.gone and copy.life < self.life - 3]:
                self.forgotten.add((copies.pop(key).queue, *key))

    def left(self):
        return sum(not copy.gone and copy.acked is None for copies in self.copies.values() for copy in copies.values())


def replay(events, **options):
    """A ledger of what a journal was told."""
    ledger = Ledger(**options)
    for name, arguments in events:
        getattr(ledger, name)(*arguments)
    return ledger
