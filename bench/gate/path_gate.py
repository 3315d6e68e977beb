#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench/gate/path_gate.py BUILD [VARIANT]... [--lower]

Instructions that a shard spends on a message, for each variant of bench/gate/path.c, against
path_limits.txt. callgrind counts inside lp_shard_turn() only, and only in the second half of the run, so
that neither clients, control, set-up nor warming up is in it. Proves, too, that no message costs an
allocation, a lock, a system call or a look at the clock: by the functions that ran, and by their machine
code. Ends with `N passed, N failed`.

  VARIANT   only these, each with its table of functions
  --lower   write measured + 5 % where that is less than the limit
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LIMITS = os.path.join(HERE, "path_limits.txt")
COUNT = 3200  # messages warming up, and again measured
ROOM = 1.05
TOP = 70
TOP_OF = "plain"
# What may run outside the program itself: blocks of memory, and nothing that could wait or ask.
LIBRARY = re.compile(r"_*(mem(cpy|move|set|cmp)|strlen)(_\w+|@\S+)?$")
FORBIDDEN = re.compile(r"(malloc|calloc|realloc|free|pthread_|mutex|sem_|futex|syscall|clock_|gettimeofday|"
                       r"time$|nanosleep|sched_|mmap|munmap|brk)")
FORBIDDEN_CODE = re.compile(r"\b(lock|mfence|xchg\s.*\(|rdtscp?|syscall|sysenter|int\s+\$0x80)\b")
# One full fence a turn, before the flags of sleepers are read: it is what the mesh's wake-up rests on.
FENCES = {"lp_shard_turn": 1}
# libc chooses by processor how to copy; without these it copies alike everywhere.
SAME_COPY = ("glibc.cpu.hwcaps=-AVX2,-AVX,-ERMS,-FSRM,-AVX2_Usable,-AVX_Usable,-AVX_Fast_Unaligned_Load,"
             "-AVX512F,-AVX512VL")


class Profile:
    """Self cost by function, from the part of a callgrind file that was measured."""

    def __init__(self, text, program):
        self.cost = {}
        self.outside = set()
        self.rig = 0
        self.program = os.path.realpath(program)
        self.parse(text)

    def parse(self, text):
        names = {}
        at = {"ob": "", "fl": "", "fn": ""}
        skip = False
        for line in text.split("\n"):
            named = re.match(r"(c?)(ob|fl|fi|fe|fn)=\((\d+)\)(?: (.*))?$", line)
            if named:
                kind = {"fi": "fl", "fe": "fl"}.get(named.group(2), named.group(2))
                if named.group(4) is not None:
                    names[kind, named.group(3)] = named.group(4)
                if not named.group(1) and named.group(2) in at:
                    at[kind] = names[kind, named.group(3)]
            elif re.match(r"cfi=|cfl=|cfe=", line):
                entry = re.match(r"cf\w=\((\d+)\)(?: (.*))?$", line)
                if entry.group(2) is not None:
                    names["fl", entry.group(1)] = entry.group(2)
            elif line.startswith("calls="):
                skip = True  # the next line is what the callee cost
            elif re.match(r"[+*\-\d]", line):
                fields = line.split()
                if not skip and len(fields) > 1:
                    self.add(at, int(fields[1]))
                skip = False

    def add(self, at, cost):
        if at["fl"].endswith("tests/lib/rig.c"):
            self.rig += cost
            return
        name = re.sub(r"\.(constprop|isra|part|cold)\.?\d*|'\d+$", "", at["fn"])
        self.cost[name] = self.cost.get(name, 0) + cost
        if os.path.realpath(at["ob"]) != self.program:
            self.outside.add(name)


def measure(program, variant):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "callgrind")
        done = subprocess.run(["valgrind", "--tool=callgrind", "--toggle-collect=lp_shard_turn",
                               "--dump-before=path_measured*", "--callgrind-out-file=" + out,
                               program, variant, str(COUNT)], capture_output=True, text=True,
                              env=dict(os.environ, GLIBC_TUNABLES=SAME_COPY))
        if done.returncode != 0 or not os.path.exists(out + ".1"):
            sys.exit("path %s failed:\n%s" % (variant, (done.stdout + done.stderr).strip()))
        with open(out, errors="replace") as file:
            return Profile(file.read(), program)


def table(profile):
    lines = ["    %8s  %5s  %s" % ("a message", "", "function")]
    total = sum(profile.cost.values())
    ranked = sorted(profile.cost.items(), key=lambda item: -item[1])
    for name, cost in ranked[:TOP]:
        lines.append("    %9.1f  %4.1f%%  %s" % (cost / COUNT, 100 * cost / total, name))
    rest = sum(cost for _, cost in ranked[TOP:])
    lines.append("    %9.1f  %4.1f%%  %d others" % (rest / COUNT, 100 * rest / total, len(ranked[TOP:])))
    return "\n".join(lines)


def forbidden_functions(profile):
    """Names that a message must not reach."""
    return sorted(name for name in profile.cost
                  if (name in profile.outside and not LIBRARY.match(name))
                  or (name not in profile.outside and not name.startswith(("lp_", "amqp091_", "classic_", "engine_"))
                      and FORBIDDEN.match(name)))


def code_of(program):
    """{function: its instructions} of the program."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program], check=True, capture_output=True,
                          text=True).stdout
    code = {}
    name = None
    for line in text.split("\n"):
        head = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        if head:
            name = re.sub(r"\.(constprop|isra|part|cold)\.?\d*", "", head.group(1))
        elif name and "\t" in line:
            code.setdefault(name, []).append(line.split("\t", 1)[1])
    return code


def forbidden_code(code, names):
    found = []
    for name in sorted(names):
        hits = [line.strip() for line in code.get(name, []) if FORBIDDEN_CODE.search(line)]
        if len(hits) > FENCES.get(name, 0):
            found.append("%s: %s" % (name, "; ".join(hits)))
    return found


def read_limits():
    limits = {}
    with open(LIMITS) as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                variant, limit, why = line.split(None, 2)
                limits[variant] = (int(limit), why.strip())
    return limits


def write_limits(limits):
    with open(LIMITS) as file:
        head = [line for line in file if line.startswith("#")]
    with open(LIMITS, "w") as file:
        file.writelines(head)
        for variant, (limit, why) in limits.items():
            file.write("%-14s %6d  %s\n" % (variant, limit, why))


TOO_MANY = """%s: a message takes %.0f instructions, %.1f %% more than the limit of %d allows.
    Either something on the path has become dearer by accident (the table shows where they go; compare it
    with the same command on the commit before), or it does more for a reason: then write the new limit,
    measured + 5 %%, and the reason into bench/gate/path_limits.txt, and both numbers into the commit."""


def judge(variant, profile, limits, wordy):
    """True when it is within its limit; says what there is to say."""
    price = sum(profile.cost.values()) / COUNT
    limit = limits.get(variant, (None, ""))[0]
    if limit is None:
        print("%-16s %7.0f instructions a message, and no limit: give it one in path_limits.txt"
              % (variant, price))
        return False
    good = price <= limit
    print("%-16s %7.0f instructions a message, at most %d%s" % (variant, price, limit, "" if good else "   TOO MANY"))
    if price < limit / ROOM / ROOM:
        print("    much less than the limit: lower it with bench/gate/path_gate.py BUILD --lower")
    if not good:
        print(TOO_MANY % (variant, price, 100 * (price / limit - 1), limit))
    if wordy or not good:
        print(table(profile))
    return good


def main():
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    if not words or "--help" in sys.argv:
        sys.exit(__doc__)
    program = os.path.join(words[0], "bench", "gate", "path")
    if not os.path.exists(program):
        sys.exit("%s is not there: run scripts/build first" % program)
    listed = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout
    variants = words[1:] or [line.split()[0] for line in listed.strip().split("\n")]
    limits = read_limits()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        profiles = dict(zip(variants, pool.map(lambda variant: measure(program, variant), variants)))
    results = [judge(variant, profiles[variant], limits, bool(words[1:]) or variant == TOP_OF)
               for variant in variants]

    ran = set().union(*(profile.cost for profile in profiles.values()))
    outside = set().union(*(profile.outside for profile in profiles.values()))
    bad = sorted(set().union(*(forbidden_functions(profile) for profile in profiles.values())))
    bad += forbidden_code(code_of(program), ran - outside)
    results.append(not bad)
    if bad:
        print("the path of a message reaches what it must not (an allocation, a lock, a system call, a clock):")
        print("\n".join("    " + line for line in bad))
    else:
        print("no malloc, lock, system call or clock read: %d functions ran, outside the data plane only %s;"
              % (len(ran), ", ".join(sorted(outside)) or "none"))
        print("    no lock-prefixed instruction, rdtsc or syscall in their code but one fence a turn")
    if "--lower" in sys.argv:
        for variant, profile in profiles.items():
            limit, why = limits.get(variant, (1 << 30, "new"))
            limits[variant] = (min(limit, round(sum(profile.cost.values()) / COUNT * ROOM)), why)
        write_limits(limits)
    print("%d passed, %d failed" % (sum(results), len(results) - sum(results)))
    return 0 if all(results) else 1


sys.exit(main())
