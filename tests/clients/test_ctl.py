#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every command of lepusctl, for real: what it prints on both streams, and its exit status.

    tests/clients/test_ctl.py [--only TEXT]
    LEPUS_RABBITMQ_ROOT=FOLDER tests/clients/test_ctl.py --external rabbitmq

The second runs the same tests with RabbitMQ's own tools against a private RabbitMQ, whose answers
the expected ones are. They were compared with 4.0.5; what 3.10 says otherwise is not what is wanted.
"""
import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import suite

FAMILIES = ["channels", "users", "vhosts", "policies", "operations", "checks", "node",
            "definitions", "latency", "secrets"]

if __name__ == "__main__":
    sys.exit(suite.main([importlib.import_module("ctl." + name) for name in FAMILIES]))
