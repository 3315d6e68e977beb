#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Exact behaviour: codes, class and method ids, texts, order. See semantics/*.py."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import suite
from semantics import connection, deadletter, messages, properties, topology

if __name__ == "__main__":
    sys.exit(suite.main([connection, topology, messages, properties, deadletter]))
