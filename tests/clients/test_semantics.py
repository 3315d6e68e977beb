#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Exact behaviour: codes, class and method ids, texts, order. See semantics/*.py."""
import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import suite
from semantics import rows


def modules():
    """Every file of semantics/ that has tests."""
    names = sorted(name[:-3] for name in os.listdir(os.path.join(HERE, "semantics"))
                   if name.endswith(".py") and name not in ("base.py", "rows.py", "__init__.py"))
    return [importlib.import_module("semantics." + name) for name in names]


if __name__ == "__main__":
    sys.exit(suite.main(modules(), rows.Table()))
