# SPDX-License-Identifier: Apache-2.0
"""recording - what a data plane asked of its disks, and what a loss of power could have left of it.

The file is drivers/host/record.c's, with entries of our own between: what a client was about to do, or had heard.
Entries are in the order in which things happened, so all in front of a cut had happened, and nothing behind it.

What include/lepus/disk.h lets a disk do at a cut:

    write, completed            there
    write, under way or failed  any of its sectors of 512 bytes new or old
    create, completed           the file is there, with zeros or what a removed file of its size held
    create, under way           the same, or nothing
    remove, or under way        gone, or still there until the next create has completed
"""
import json
import os
import random
import struct

ENTRY = struct.Struct("<IBBHQQIIiI")
MAGIC = 0x4B534944
SUBMIT, COMPLETE, CLIENT = 1, 2, 3
READ, WRITE, CREATE, REMOVE = range(4)
SECTOR = 512


class Journal:
    """Appends a ledger's events to the recording that the data plane writes to."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __call__(self, name, arguments):
        data = json.dumps([name, arguments]).encode()
        os.write(self.fd, ENTRY.pack(MAGIC, CLIENT, 0, 0, 0, 0, 0, 0, 0, len(data)) + data)

    def close(self):
        os.close(self.fd)


class Op:
    __slots__ = ("kind", "shard", "file", "offset", "bytes", "data", "began", "ended", "failed")


class Recording:
    """`ops`, `events` [(position, name, arguments)] and `end`, positions being numbers of entries."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = memoryview(file.read())
        self.ops, self.events, pending = [], [], {}
        at = position = 0
        while len(data) - at >= ENTRY.size:
            magic, what, kind, shard, number, offset, name, size, err, data_bytes = ENTRY.unpack_from(data, at)
            if magic != MAGIC:
                raise ValueError("%s: no entry at %d" % (path, at))
            content = data[at + ENTRY.size:at + ENTRY.size + data_bytes]
            if len(content) < data_bytes:
                break       # it was killed while it wrote that
            at += ENTRY.size + data_bytes
            if what == CLIENT:
                self.events.append((position, *json.loads(bytes(content))))
            elif what == SUBMIT:
                op = pending[shard, number] = Op()
                op.kind, op.shard, op.file, op.offset, op.bytes = kind, shard, name, offset, size
                op.data, op.began, op.ended, op.failed = content, position, None, False
                self.ops.append(op)
            else:
                op = pending.pop((shard, number))
                op.ended, op.failed = position, err != 0
            position += 1
        self.end = position

    def position_of(self, event):
        """Of the first event of this name."""
        return next(position for position, name, _ in self.events if name == event)

    def events_before(self, cut):
        return [(name, arguments) for position, name, arguments in self.events if position < cut]

    def in_flight(self, cut):
        return [op for op in self.ops if op.began < cut and (op.ended is None or op.ended >= cut) and op.kind != READ]


class Folder:
    """The files of one shard's log while a recording is played."""

    def __init__(self, chance):
        self.chance = chance
        self.files = {}         # number -> bytearray
        self.removed = {}       # the same, of those that may come back
        self.spares = []        # what removed files held

    def made(self, size):
        """What a new file holds."""
        old = [content for content in self.spares if len(content) == size]
        return bytearray(self.chance.choice(old)) if old and self.chance.random() < 0.5 else bytearray(size)

    def write(self, op, sectors=None):
        """All of it, or some sectors."""
        content = self.files.get(op.file)
        if content is None or op.offset + op.bytes > len(content):
            raise ValueError("a write to file %d at %d that cannot be" % (op.file, op.offset))
        if sectors is None:
            content[op.offset:op.offset + op.bytes] = op.data
            return
        for sector in sectors:
            at = sector * SECTOR
            content[op.offset + at:op.offset + at + SECTOR] = op.data[at:at + SECTOR]

    def create(self, op):
        self.files[op.file] = self.made(op.bytes)

    def remove(self, op):
        content = self.files.pop(op.file, None)
        if content is not None:
            self.removed[op.file] = content
            self.spares.append(content)


def torn(op, chance):
    """Which sectors of a write under way are new."""
    count = op.bytes // SECTOR
    draw = chance.random()
    if draw < 0.25:
        return []
    if draw < 0.5:
        return range(count)
    if draw < 0.65:
        return range(chance.randrange(count + 1))                   # a beginning
    if draw < 0.8:
        return range(chance.randrange(count + 1), count)            # an end
    share = chance.choice((0.1, 0.5, 0.9))
    return [sector for sector in range(count) if chance.random() < share]


def state_at(recording, cut, base, chance, lying=False):
    """{shard: {file: content}} of one state that is legal at this cut; `base` is what was there before.

    A `lying` disk had said of its last writes what was not so: no broker can stand that, and the tests must see it."""
    folders = {shard: Folder(chance) for shard in base}
    for shard, files in base.items():
        folders[shard].files = {number: bytearray(content) for number, content in files.items()}
    done = [op for op in recording.ops if op.ended is not None and op.ended < cut and not op.failed]
    done.sort(key=lambda op: op.ended)
    if lying:
        done = [op for op in done if op.kind != WRITE] + [op for op in done if op.kind == WRITE][:-2]
        done.sort(key=lambda op: op.ended)
    for op in done:
        folder = folders.setdefault(op.shard, Folder(chance))
        if op.kind == CREATE:
            folder.create(op)
            folder.removed.clear()      # the folder was synced
        elif op.kind == WRITE:
            folder.write(op)
        elif op.kind == REMOVE:
            folder.remove(op)
    failed = [op for op in recording.ops if op.failed and op.ended < cut]
    for op in failed + recording.in_flight(cut):
        under_way(folders.setdefault(op.shard, Folder(chance)), op, chance)
    for folder in folders.values():
        for number, content in folder.removed.items():
            if number not in folder.files and chance.random() < 0.5:
                folder.files[number] = content
    return {shard: folder.files for shard, folder in folders.items()}


def under_way(folder, op, chance):
    if op.kind == CREATE:
        if op.file not in folder.files and chance.random() < 0.5:
            folder.create(op)
    elif op.kind == WRITE:
        folder.write(op, torn(op, chance))
    elif op.kind == REMOVE:
        folder.remove(op)       # and may come back, as all that were


# Names as drivers/common/segments.h gives them.


def file_name(number):
    return "%08u.log" % number if number else "root.log"


def folder_of(data, shard):
    return os.path.join(data, "log", "shard-%d" % shard)


def read_base(data):
    """{shard: {file: content}} of a data directory."""
    out = {}
    for name in sorted(os.listdir(os.path.join(data, "log"))):
        if not name.startswith("shard-"):
            continue
        files = out[int(name[6:])] = {}
        for entry in os.listdir(os.path.join(data, "log", name)):
            stem, _, tail = entry.partition(".")
            if tail == "log":
                with open(os.path.join(data, "log", name, entry), "rb") as file:
                    files[0 if stem == "root" else int(stem)] = file.read()
    return out


def write_state(data, state):
    """Instead of what the data directory has."""
    for shard, files in state.items():
        folder = folder_of(data, shard)
        os.makedirs(folder, exist_ok=True)
        for entry in os.listdir(folder):
            os.unlink(os.path.join(folder, entry))
        for number, content in files.items():
            write_sparse(os.path.join(folder, file_name(number)), content)


def write_sparse(path, content):
    """Zeros are left out: most of a segment was never written."""
    piece, view = 65536, memoryview(content)
    with open(path, "wb") as file:
        file.truncate(len(view))
        for at in range(0, len(view), piece):
            part = bytes(view[at:at + piece])
            if part.strip(b"\0"):
                file.seek(at)
                file.write(part)


def some_cut(recording, first, chance):
    """A place to cut: where something was just promised, where something was under way, or anywhere."""
    promises = [position + 1 for position, name, _ in recording.events
                if name in ("confirmed", "acks_stored", "tx_committed") and position >= first]
    ops = [op for op in recording.ops if op.began >= first and op.kind != READ]
    draw = chance.random()
    if promises and draw < 0.4:
        return chance.choice(promises)
    if ops and draw < 0.9:
        op = chance.choice(ops)
        return chance.randrange(op.began + 1, (op.ended or op.began) + 2)
    return chance.randrange(first, recording.end + 1)


def source(seed, *words):
    """A source of chance that depends on all of these."""
    return random.Random("%s %s" % (seed, " ".join(map(str, words))))
