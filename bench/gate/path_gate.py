#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench/gate/path_gate.py BUILD [VARIANT]... [--lower]

What a message takes on fixed traces, against path_limits.txt: instructions, blocks of memory, copied
bytes, cache lines between shards, system calls (bench/README.md says what each is and is not). None
depends on the clock or on what else the machine does. Set-up, warming up, clients and control are left
out. Proves, too, that no message costs a malloc, a lock, a system call or a look at the clock inside the
data plane: by the functions that ran, and by their machine code. Ends with `N passed, N failed`.

  VARIANT   only these, each with tables of functions
  --lower   write measured + 5 % where that is less than the limit
"""
import concurrent.futures
import math
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import path_runs

LIMITS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "path_limits.txt")
ROOM = 1.05
TOP = 70
TOP_OF = "plain"
# The columns of path_limits.txt, and their decimals.
METRICS = {"instructions": 0, "blocks": 2, "copied": 0, "lines": 2, "calls": 4}
UNIT = {"instructions": "instructions", "blocks": "blocks", "copied": "bytes copied", "lines": "lines",
        "calls": "system calls"}

CAUSE = {
    "instructions": "something on the path has become dearer by accident (compare the table with that of the\n"
                    "    same command on the commit before)",
    "blocks": "something is taken from lp_memory or a pool that was not, or no longer shared by a turn's messages",
    "copied": "bytes go through one more buffer than they did, or a name is written where a view would do",
    "lines": "shards exchange more records, or one looks at memory that the other writes",
    "calls": "a driver enters the kernel for each message instead of each turn, or for nothing",
}
TOO_MANY = """%s: %s %s a message, %.1f %% more than the limit of %s allows.
    Either %s;
    or it is for a reason: then write the new limit, measured + 5 %%, and the reason into
    bench/gate/path_limits.txt, and both numbers into the commit."""


def shown(metric, value):
    return "%.*f" % (METRICS[metric], value)


def limit_for(metric, price):
    scale = 10 ** METRICS[metric]
    return math.ceil(round(price * ROOM * scale, 6)) / scale


def read_limits():
    """{variant: ({metric: limit}, why)}"""
    limits = {}
    with open(LIMITS) as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                words = line.split(None, len(METRICS) + 1)
                if len(words) < len(METRICS) + 2:
                    sys.exit("%s: a line is a variant, %d limits (- where there is none) and a reason, not:\n%s"
                             % (LIMITS, len(METRICS), line.rstrip()))
                numbers = {metric: float(word) for metric, word in zip(METRICS, words[1:]) if word != "-"}
                limits[words[0]] = (numbers, words[-1].strip())
    return limits


def write_limits(limits):
    with open(LIMITS) as file:
        head = [line for line in file if line.startswith("#")]
    with open(LIMITS, "w") as file:
        file.writelines(head)
        for variant, (numbers, why) in limits.items():
            columns = [shown(metric, numbers[metric]) if metric in numbers else "-" for metric in METRICS]
            file.write("%-14s %12s %6s %6s %6s %7s  %s\n" % (variant, *columns, why))


def lower(limits, runs):
    for run in runs:
        numbers, why = limits.get(run.variant, ({}, "new: why it costs that belongs here"))
        for metric, price in run.price.items():
            numbers[metric] = min(numbers.get(metric, math.inf), limit_for(metric, price))
        limits[run.variant] = (numbers, why)
    write_limits(limits)


def table(run, metric):
    where = run.where.get(metric, {})
    total = sum(where.values())
    ranked = [(name, cost) for name, cost in sorted(where.items(), key=lambda item: -item[1]) if cost > 0]
    lines = ["    %10s  %5s  %s" % (metric, "", "function")] if ranked else []
    decimals = METRICS[metric] + 1
    for name, cost in ranked[:TOP]:
        lines.append("    %10.*f  %4.1f%%  %s" % (decimals, cost, 100 * cost / total, name))
    rest = ranked[TOP:]
    if rest:
        cost = sum(cost for _, cost in rest)
        lines.append("    %10.*f  %4.1f%%  %d others" % (decimals, cost, 100 * cost / total, len(rest)))
    return lines


def judge(run, limits, wordy):
    """True when it is within its limits; says what there is to say."""
    numbers = limits.get(run.variant, ({}, ""))[0]
    columns, remarks, bad, new, loose = [], [], [], [], False
    for metric in METRICS:
        price, limit = run.price.get(metric), numbers.get(metric)
        if price is None:
            continue
        columns.append("%s of %s %s" % (shown(metric, price), "-" if limit is None else shown(metric, limit),
                                       UNIT[metric]))
        if limit is None:
            new.append(metric)
        elif price > limit:
            bad.append(metric)
            percent = 100 * (price / limit - 1) if limit else math.inf
            remarks.append(TOO_MANY % (run.variant, shown(metric, price), UNIT[metric], percent,
                                       shown(metric, limit), CAUSE[metric]))
        else:
            loose = loose or limit_for(metric, price) * ROOM < limit
    print("%-14s %s%s" % (run.variant, ", ".join(columns), "   TOO MANY" if bad else ""))
    if new:
        print("%s: no limit for %s: let --lower write what it takes into bench/gate/path_limits.txt, and the "
              "reason yourself" % (run.variant, ", ".join(new)))
    if loose:
        print("    much less than a limit: lower it with bench/gate/path_gate.py BUILD --lower")
    for remark in remarks:
        print(remark)
    for metric in METRICS:
        if metric in run.where and (metric in bad or wordy):
            print("".join(line + "\n" for line in table(run, metric)), end="")
    return not bad and not new


def judge_path(rig, profiles):
    ran = set().union(*(profile.cost for profile in profiles))
    outside = set().union(*(profile.outside for profile in profiles))
    bad = sorted(set().union(*(path_runs.forbidden_functions(profile) for profile in profiles)))
    bad += path_runs.forbidden_code(path_runs.code_of(rig.path), ran - outside)
    if bad:
        print("the path of a message reaches what it must not (an allocation, a lock, a system call, a clock):")
        print("\n".join("    " + line for line in bad))
        return False
    print("no malloc, lock, system call or clock read: %d functions ran, outside the data plane only %s;"
          % (len(ran), ", ".join(sorted(outside)) or "none"))
    print("    no lock-prefixed instruction, rdtsc or syscall in their code but one fence a turn")
    return True


def main():
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    if not words or "--help" in sys.argv:
        sys.exit(__doc__)
    rig = path_runs.Rig(words[0])
    known = rig.variants()
    for word in words[1:]:
        if word not in known:
            sys.exit("there is no variant %s; there are %s" % (word, ", ".join(known)))
    variants = words[1:] or known
    limits = read_limits()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(pool.map(rig.run, variants))
    results = []
    for run in runs:
        if run.skipped:
            print("%-14s not measured: %s" % (run.variant, run.skipped))
        else:
            results.append(judge(run, limits, bool(words[1:]) or run.variant == TOP_OF))
    profiles = [run.profile for run in runs if run.profile]
    if profiles:
        results.append(judge_path(rig, profiles))
    if "--lower" in sys.argv:
        lower(limits, [run for run in runs if not run.skipped])
    print("%d passed, %d failed" % (sum(results), len(results) - sum(results)))
    return 0 if all(results) else 1


sys.exit(main())
