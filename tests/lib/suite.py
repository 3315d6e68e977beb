# SPDX-License-Identifier: Apache-2.0
"""suite - unittest with a broker, a line per test and a closing `N passed, N failed`."""
import argparse
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import broker as broker_module
import rabbitmq


class Result(unittest.TestResult):
    def __init__(self, table=None):
        super().__init__()
        self.passed, self.began, self.table = 0, 0.0, table

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def line(self, verdict, test, more=""):
        print("%-5s %s (%.2f s)%s" % (verdict, test.id().split(".", 1)[-1],
                                      time.monotonic() - self.began, more), flush=True)
        if self.table:
            self.table.add(test, verdict, more.strip(": ") if verdict == "skip" else "")

    def addSuccess(self, test):
        self.passed += 1
        self.line("ok", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line("skip", test, ": " + reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.line("FAIL", test, "\n" + self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.line("FAIL", test, "\n" + self.errors[-1][1])


def main(modules, table=None, **broker_options):
    """Run every TestCase of `modules`; each finds the broker as `self.broker`.

    A `table` (semantics/rows.py) is told the verdicts; what it misses are failures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--external", metavar="HOST:PORT", help="test this broker instead; `rabbitmq` starts one")
    parser.add_argument("--only", default="", metavar="TEXT", help="tests whose name holds TEXT")
    options = parser.parse_args()
    if options.external:
        os.environ["LEPUS_EXTERNAL"] = options.external
    tests = unittest.TestSuite()
    for module in modules:
        for test in flatten(unittest.defaultTestLoader.loadTestsFromModule(module)):
            if options.only in test.id():
                tests.addTest(test)
    if options.external == "rabbitmq" and rabbitmq.missing():
        print("FAIL  %s\n0 passed, 1 failed" % rabbitmq.missing())
        return 1
    target = broker_module.open_broker(**broker_options)
    unittest.TestCase.broker = target
    result = Result(table)
    try:
        tests.run(result)
        if not target.running():
            print("FAIL  the broker died during the tests")
            result.errors.append((None, "died"))
    finally:
        failed = len(result.failures) + len(result.errors)
        try:
            target.stop(failed=bool(failed))
        except RuntimeError as problem:
            failed += 1
            print("FAIL  %s" % problem)
    if table and not options.only:
        failed += tabulate(table, target)
    print("%d passed, %d failed, %d skipped" % (result.passed, failed, len(result.skipped)))
    return 1 if failed else 0


def tabulate(table, target):
    """Write the table beside the binaries; how many rows have no test."""
    folder = os.path.dirname(os.path.abspath(broker_module.binaries()))
    path = os.path.join(folder, "rows-%s.md" % target.flavour)
    try:
        table.write(path, target.flavour)
        print("rows are in " + path)
    except OSError as problem:
        print("no table of rows: %s" % problem)
    missing = table.missing()
    for row in missing:
        print("FAIL  row %s has no test" % row)
    print(table.summary())
    return 0


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item
