# SPDX-License-Identifier: Apache-2.0
"""ports - a port of 127.0.0.1 that stays a test's own while nobody listens on it.

A port that the kernel chose is one of those that it chooses for everybody: while a broker restarts it may be given to
another broker, or to a connection of anybody's as its own end, even to one that looks for this very broker and finds
itself. The kernel does not give away what a socket is bound to, and who listens with SO_REUSEADDR, as brokers do, does
not mind one that is bound and does not listen.
"""
import socket


def hold():
    """A socket that is bound to a port of its own, until it is closed."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def number(holder):
    return holder.getsockname()[1]
