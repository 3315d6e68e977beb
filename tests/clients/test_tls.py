#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS with real clients: versions, ciphers, certificates of both sides, logins by certificate,
sessions, certificates that change; commands, load, packets of our own. See tls/*.py."""
import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import suite

if __name__ == "__main__":
    sys.exit(suite.main([importlib.import_module("tls." + name)
                         for name in ("connections", "certificates", "hostile", "commands", "load", "packets")]))
