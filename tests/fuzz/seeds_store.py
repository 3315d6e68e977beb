#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tests/fuzz/seeds_store.py: writes the corpus of fuzz_store, records of a shard's log.

One file each; see fuzz_store.c and dataplane/broker/store/records.h. Files that fuzzing found (regress-*) are left
alone.
"""
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))

PRIORITIES, SMALL, KILL, FAR, LITTLE = 1, 2, 4, 8, 16
MESSAGE, MORE, ENQUEUE, ACKS, RETURN, GIVEN, DROP, PAGE, UNPAGE, QUEUE = range(1, 11)
FIX, LARGE, CHAIN, SEAL = 0x10, 0x20, 0x40, 0x80
PERSISTENT, IS_PAGE = 2, 16      # enum lp_entry_flag
Q, QUORUM, NOBODYS, DELAYED = 50, 51, 77, 0xffffffff
NEVER = 0xffffffff


def step(kind, content=b"", how=SEAL):
    return struct.pack("<BH", kind | how, len(content)) + content


def annotation(tag, content):
    return struct.pack("<BI", tag, len(content)) + content


def message(position, queue=Q, body=b"12345678", how=SEAL, large=0, entry=PERSISTENT, said=1, expires_ms=0, level=0,
            moved=0, returns=0, key="q", annotations=b"", properties=b"\0\0", body_bytes=None, protocol=1):
    """A message; the rest of it is STEP_LARGE's and MORE's."""
    own = (struct.pack("<Q", 5000) if said & 2 else b"") + b"\0" + bytes([len(key)]) + key.encode() + properties
    head = struct.pack("<IIQQIIBBBBBBH", queue, len(body) + large if body_bytes is None else body_bytes, position,
                       expires_ms, len(own), len(annotations), protocol, said, 0, level, entry, moved, returns)
    return step(MESSAGE, head + own + annotations + body, how)


def item(number, body=8, low=0, level=0, entry=PERSISTENT, returns=0, expires_ms=0, record_bytes=0, unit=0):
    return struct.pack("<IIIIQIBBH", number, unit, record_bytes, body, expires_ms, low, level, entry, returns)


def enqueue(position, number, queue=Q, kind=ENQUEUE, moved=0, **more):
    return step(kind, struct.pack("<IIQ", queue, moved, position) + item(number, **more), FIX | SEAL)


def acks(first, count, queue=Q):
    return step(ACKS, struct.pack("<IIQ", queue, count, first))


def page(first, items, queue=Q):
    return step(PAGE, struct.pack("<IIQ", queue, len(items), first) + b"".join(items), FIX | SEAL)


def queue_record(entries, queue=Q, first=1, given=0, following=100):
    return step(QUEUE, struct.pack("<IBBBBQQ", queue, first, 0, 0, 0, given, following) + b"".join(entries),
                FIX | SEAL)


def held(position, number, **more):
    return struct.pack("<Q", position) + item(number, **more)


def paged(position, number, holes=(), level=0, made=0, last=0):
    return (struct.pack("<Q", position) + item(number, body=0, level=level, entry=PERSISTENT | IS_PAGE)
            + struct.pack("<QQIIII", last, 0, made, len(holes), 0, 0) + bytes(6 * 16)
            + b"".join(struct.pack("<Q", hole) for hole in holes))


def some(count, queue=Q, **more):
    return b"".join(message(1 + i, queue, struct.pack("<Q", i + 1), **more) for i in range(count))


def logs():
    """name: (flags, records)"""
    out = {}
    out["some"] = (0, some(6))
    out["some-killed"] = (KILL | SMALL, some(6))
    out["both"] = (FAR, some(4) + some(4, QUORUM, entry=0, said=0, returns=3))
    out["acks"] = (0, some(8) + acks(2, 3) + acks(7, 1) + acks(7, 1) + acks(100, 65536))
    out["fan"] = (KILL, message(1, how=0) + enqueue(1, 0, QUORUM) + enqueue(2, 0, QUORUM) + acks(1, 1))
    out["returns"] = (0, some(3, QUORUM) + enqueue(2, 1, QUORUM, RETURN, returns=4) + enqueue(9, 1, QUORUM, RETURN))
    out["given"] = (0, some(4) + step(GIVEN, struct.pack("<IIQ", Q, 0, 3)))
    out["dropped"] = (0, some(4) + step(DROP, struct.pack("<I", Q)) + some(2, QUORUM))
    out["nobodys"] = (0, some(4, NOBODYS) + some(2, 0))
    out["large"] = (0, message(1, body=b"1" * 100, large=65536 * 3, how=LARGE | CHAIN) + step(MORE, how=LARGE | CHAIN)
                    + step(MORE, how=LARGE))
    out["half"] = (0, message(1, body=b"1" * 100, large=65536 * 3, how=LARGE | CHAIN) + step(MORE, how=LARGE | CHAIN)
                   + message(2))
    out["half-then-more"] = (0, message(1, body_bytes=500, how=0) + message(2, how=0) + step(MORE, bytes(20)))
    items = [item(i, low=i) for i in range(6)]
    out["page"] = (SMALL, some(6) + page(1, items))
    out["page-killed"] = (SMALL | KILL, some(6) + page(1, items) + message(7) + acks(2, 2))
    out["page-acked"] = (0, some(6) + page(1, items) + acks(1, 6))
    out["page-unpaged"] = (0, some(6) + page(1, items) + step(UNPAGE, struct.pack("<IIQ", Q, 0, 1)) + message(7))
    out["page-returned"] = (0, some(6, QUORUM) + page(1, items, QUORUM) + enqueue(3, 2, QUORUM, RETURN, returns=1))
    out["page-twice"] = (0, some(6) + page(1, items) + page(3, [item(2), item(3, low=1)]) + acks(3, 1))
    out["page-moved"] = (0, some(6) + page(1, items) + message(3, moved=1) + enqueue(4, 0, moved=1))
    out["page-levels"] = (PRIORITIES, some(6, level=2) + page(1, [item(i, low=i, level=2) for i in range(6)]))
    out["page-disorder"] = (0, some(6) + page(1, [item(0), item(2, low=2), item(1, low=1)]))
    out["page-expires"] = (FAR, some(3) + page(1, [item(i, low=i, expires_ms=1700000001000) for i in range(3)]))
    out["checkpoint"] = (0, some(6) + queue_record([held(1, 0), held(3, 2), held(5, 4)], given=2))
    out["checkpoint-twice"] = (0, some(6) + queue_record([held(1, 0), held(1, 1)]))
    out["checkpoint-goes-on"] = (0, some(4) + queue_record([held(1, 0)]) + queue_record([held(2, 1)], first=0))
    out["checkpoint-page"] = (0, some(6) + page(1, items) + queue_record([paged(1, 6)], given=9) + acks(2, 1))
    out["checkpoint-holes"] = (KILL, some(6) + page(1, items) + queue_record([paged(1, 6, [2, 3]), held(2, 1)]))
    out["checkpoint-holes-beyond"] = (0, some(6) + page(1, items) + queue_record([paged(1, 6, [70, 2, 70])]))
    out["checkpoint-not-a-page"] = (0, some(6) + page(1, items) + queue_record([paged(1, 2, made=4, last=9)]))
    out["checkpoint-expires"] = (FAR, some(3) + queue_record([held(1, 0, expires_ms=1700000000500),
                                                             held(2, 1, expires_ms=1)]))
    out["checkpoint-other-sizes"] = (0, some(3) + queue_record([held(1, 0, body=7), held(2, 1)]))
    vhost = annotation(5, struct.pack("<I", 1))
    start = annotation(4, b"fan")
    late = {"queue": DELAYED, "expires_ms": 1700000001000}
    out["delayed"] = (0, message(1, annotations=vhost + start, **late) + message(2, annotations=vhost, **late))
    out["delayed-killed"] = (KILL, message(1, annotations=vhost + start, **late) + enqueue(3, 0, DELAYED))
    out["delayed-acked"] = (0, message(1, annotations=vhost, **late) + acks(1, 1, DELAYED))
    out["delayed-page"] = (0, message(1, annotations=vhost, **late) + page(1, [item(0)], DELAYED))
    out["delayed-large"] = (SMALL, message(1, annotations=vhost, body=b"1" * 50, large=65536 * 2, how=LARGE | CHAIN,
                                           **late) + step(MORE, how=LARGE))
    out["delayed-nowhere"] = (0, message(1, annotations=annotation(5, b"\xff" * 4), **late) + message(2, **late))
    out["delayed-checkpoint"] = (0, message(1, annotations=vhost, **late)
                                 + queue_record([held(1, 0, expires_ms=1700000001000)], DELAYED))
    out["annotations-broken"] = (0, message(1, annotations=b"\3\xff\xff\xff\xff1234")
                                 + message(2, annotations=annotation(3, b"\xff" * 40))
                                 + message(3, annotations=annotation(1, b"\xff" * 9)))
    deep = b"\x20\x00" + struct.pack(">I", 100) + b"\x07x-death" + b"A" + struct.pack(">I", 4000)
    out["properties-broken"] = (0, message(1, properties=deep) + message(2, properties=b"")
                                + message(3, properties=b"\xff\xff\1"))
    out["unreadable-expired"] = (0, message(1, properties=deep, expires_ms=93) + message(2, expires_ms=93))
    out["expiration"] = (FAR, message(1, said=3) + message(2, said=2, entry=0, queue=QUORUM))
    out["own"] = (0, message(1, said=5) + message(2, said=0xff))
    out["protocol"] = (0, message(1, protocol=0) + message(2, protocol=200))
    out["empty-body"] = (0, message(1, body=b""))
    out["nowhere"] = (0, some(2) + enqueue(5, NEVER) + enqueue(6, 0x1000))
    out["no-segment"] = (0, step(ENQUEUE, struct.pack("<IIQ", Q, 0, 5) + item(0)) + some(1))
    out["itself"] = (0, enqueue(5, 1, unit=3, record_bytes=16) + some(1))
    out["no-bytes"] = (0, step(ENQUEUE, struct.pack("<IIQ", Q, 0, 5) + item(1, unit=9)) + some(1))
    out["many-bytes"] = (0, some(1) + enqueue(5, 0, record_bytes=0xffffffff))
    out["positions-end"] = (0, message(2**64 - 1) + message(2**64 - 2) + message(0) + acks(2**64 - 3, 2))
    out["next-position-end"] = (0, some(1) + queue_record([held(1, 0)], given=2**64 - 1, following=2**64 - 1))
    out["levels"] = (PRIORITIES, message(1, level=9) + message(2, level=255) + message(3, level=1))
    out["kinds"] = (0, step(12, b"1234"))
    out["empty"] = (0, b"")
    out["little"] = (LITTLE, some(20) + page(1, items) + message(30, large=65536, how=LARGE))
    return out


def main():
    folder = os.path.join(HERE, "corpus", "fuzz_store")
    os.makedirs(folder, exist_ok=True)
    for name, (how, records) in logs().items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(bytes([how]) + records)


if __name__ == "__main__":
    main()
