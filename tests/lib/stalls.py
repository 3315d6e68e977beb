# SPDX-License-Identifier: Apache-2.0
"""stalls - for how long did this machine not let anybody run?

    with Stalls() as stalls:
        ...
    self.assertLess(seconds, 3.6 + stalls.seconds)

A limit of time is the broker's to keep, and the machine's to give the time for. A thread that wants to run a hundred
times a second and gets to it late shows how much of that was missing.
"""
import threading
import time

EACH_S = 0.01
USUAL_S = 0.02      # late by so much is nobody's fault: other threads of this program hold its lock


class Stalls:
    def __init__(self):
        self.seconds, self.over = 0.0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        before = time.monotonic()
        while not self.over.wait(EACH_S):
            now = time.monotonic()
            late = now - before - EACH_S
            self.seconds += late if late > USUAL_S else 0.0
            before = now

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
