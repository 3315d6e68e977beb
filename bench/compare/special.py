# SPDX-License-Identifier: Apache-2.0
"""Rows that take more than one call of lepus-bench: (bench, peer's name) -> {figure: number}.

With --quick those with many things take a tenth of them.
"""
import json

TRIES = 12      # to find connections on the shards that a row needs


def idle_connection(bench, name):
    count = 500 if bench.quick else 5000
    with bench.fresh(name) as peer:
        said = bench.load(peer, "--publishers 0 --consumers 0 --seconds 1 --idle-connections %d" % count)
    return {"bytes": (said["broker_bytes_after"] - said["broker_bytes_before"]) / count}


def queued(bench, name):
    count = 100000 if bench.quick else 1000000
    with bench.fresh(name) as peer:
        # Confirmed, so that at the end all are in the queue and none in a socket.
        said = bench.load(peer, "--consumers 0 --size 100 --confirm --window 5000 --messages %d" % count)
    return {"bytes": (said["broker_bytes_after"] - said["broker_bytes_before"]) / count}


def idle_cpu(bench, name):
    with bench.fresh(name) as peer:
        said = bench.load(peer, "--publishers 0 --consumers 0 --warmup 1 --seconds %d"
                          % (3 if bench.quick else 15))
    return {"share": said["broker_cpu_share"] * 100}


def start(bench, name):
    with bench.fresh(name) as peer:
        return {"ms": peer.start_s * 1e3}


def shards(bench, name):
    """Nothing is pinned: two shards and the generator share what there is."""
    args = ("--size 100 --auto-ack --publishers 8 --queues 8 --consumers 8 --place consumer --backlog 20000 "
            + bench.timing())
    said = {}
    for count in (1, 2):
        with bench.fresh(name, cpu=None, shards=count) as peer:
            said[count] = bench.load(peer, args, pin=False)
    one, two = said[1], said[2]
    return {"speedup": two["delivered_per_s"] / one["delivered_per_s"],
            "cpu_ratio": two["broker_cpu_us"] / one["broker_cpu_us"],
            "cpu_1": one["broker_cpu_us"], "cpu_2": two["broker_cpu_us"]}


def places(peer):
    """Shards of admin, publisher and consumer, told apart by what went through their connections."""
    listed = json.loads(peer.broker.ctl("list_connections", "pid", "recv_oct", "send_oct", "--formatter",
                                        "json").stdout)
    shard = lambda one: int(one["pid"].strip("<>").split(".")[-1]) & 63
    publisher = max(listed, key=lambda one: one["recv_oct"])
    consumer = max(listed, key=lambda one: one["send_oct"])
    admin = [one for one in listed if one not in (publisher, consumer)]
    if len(listed) != 3 or len(admin) != 1:
        return None
    return shard(admin[0]), shard(publisher), shard(consumer)


def far(bench, name):
    """The queue is where the connection is that declared it; which that is, the kernel decides."""
    found = {"near": [], "far": []}
    args = "--size 100 --auto-ack --backlog 20000 " + bench.timing()
    with bench.fresh(name, shards=2) as peer:
        for _ in range(TRIES * (1 if bench.quick else 2)):
            process = bench.load_start(peer, args)
            bench.wait_flowing(process)
            where = places(peer)
            said = bench.load_end(process)
            if where and where[1] == where[2]:
                found["near" if where[0] == where[1] else "far"].append(said["broker_cpu_us"])
            if all(found.values()) and (bench.quick or all(len(v) > 2 for v in found.values())):
                break
    if not all(found.values()):
        return {}
    near, away = (bench.median(found[kind]) for kind in ("near", "far"))
    return {"cpu_ratio": away / near, "cpu_near": near, "cpu_far": away}


def topic(bench, name):
    bindings = 1000 if bench.quick else 10000
    base = "--size 16 --auto-ack --backlog 20000 --exchange topic --timeout 120 " + bench.timing()
    more = base + " --keep --idle-bindings %d" % bindings  # nothing to delete: the broker ends, too
    with bench.fresh(name) as peer:
        plain = bench.load(peer, base)["broker_cpu_us"]
        cached = bench.load(peer, more)["broker_cpu_us"]
        fresh = bench.load(peer, more + " --keys 100000000")["broker_cpu_us"]
    return {"cpu": plain, "added_cached": cached - plain, "added_new": fresh - plain}


def objects(bench, name):
    queues, connections = (10000, 1000) if bench.quick else (100000, 10000)
    args = "--size 16 --auto-ack --backlog 20000 " + bench.timing()
    with bench.fresh(name) as peer:
        alone = bench.load(peer, args)
        among = bench.load(peer, args + " --keep --timeout 60 --idle-queues %d --idle-connections %d"
                           % (queues, connections))
    return {"open_s": among["open_s"], "cpu_ratio": among["broker_cpu_us"] / alone["broker_cpu_us"]}
