# SPDX-License-Identifier: Apache-2.0
"""The machine on which figures were taken."""
import os
import platform
import re


def first(path, pattern):
    try:
        with open(path) as file:
            match = re.search(pattern, file.read(), re.M)
    except OSError:
        return None
    return match.group(1).strip() if match else None


def describe():
    flags = first("/proc/cpuinfo", r"^flags\s*: (.*)$") or ""
    kilobytes = int(first("/proc/meminfo", r"^MemTotal:\s*(\d+)") or 0)
    return {
        "processor": first("/proc/cpuinfo", r"^model name\s*: (.*)$") or platform.machine(),
        "processors": os.cpu_count(),
        "mhz": first("/proc/cpuinfo", r"^cpu MHz\s*: (\d+)"),
        "virtual": "hypervisor" in flags.split(),
        "memory_gb": round(kilobytes / 1e6, 1),
        "kernel": platform.release(),
        "system": first("/etc/os-release", r'^PRETTY_NAME="(.*)"$'),
        "load_before": os.getloadavg()[0],
    }


def words(it):
    return "%d x %s%s%s, %s GB, Linux %s, %s" % (
        it["processors"], it["processor"], " %s MHz" % it["mhz"] if it["mhz"] else "",
        " (virtual)" if it["virtual"] else "", it["memory_gb"], it["kernel"], it["system"])
