# SPDX-License-Identifier: Apache-2.0
"""compare - where two observations differ, as paths to the smallest parts that do."""
import time

DAY_S = 86400


def steady(value):
    """The value without what no two runs have in common: times of now."""
    if isinstance(value, tuple) and len(value) == 2 and value[0] == "T":
        recent = isinstance(value[1], int) and abs(value[1] - time.time()) < DAY_S
        return ("T", "now") if recent else value
    if isinstance(value, dict):
        return {k: steady(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(steady(v) for v in value)
    return value


def differences(left, right, path=()):
    """[(path, left's part, right's part)]; a missing part is None."""
    if left == right:
        return []
    if isinstance(left, dict) and isinstance(right, dict):
        out = []
        for key in sorted(set(left) | set(right)):
            out += differences(left.get(key), right.get(key), (*path, key))
        return out
    alike = isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)) \
        and len(left) == len(right)
    if alike:
        out = []
        for at, (one, other) in enumerate(zip(left, right)):
            out += differences(one, other, (*path, at))
        return out
    return [(path, left, right)]


def observation(peer):
    """What a peer has seen since the step began, with nothing that depends on order of arrival."""
    seen = {}
    for where, streams in peer.seen.items():
        seen[where] = {}
        if "closed" in streams:     # it is chance which of the last words come before the close
            streams = {k: v for k, v in streams.items()
                       if k not in ("basic.ack", "basic.nack") and not k.startswith("to ")}
            # RabbitMQ's queues deliver to a channel that has just been closed, and opened again.
            streams["wrong"] = [text for text in streams.get("wrong", []) if "deliver" not in text]
            streams = {k: v for k, v in streams.items() if v}
        for stream, items in streams.items():
            unordered = stream in ("basic.ack", "basic.nack", "cancel", "wrong")
            seen[where][stream] = steady(sorted(items) if unordered else list(items))
    return {"seen": seen, "queues": dict(peer.counts)}
