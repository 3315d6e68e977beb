# SPDX-License-Identifier: Apache-2.0
"""The row about TLS: the same messages over it and without it, 1.3 with AES-256-GCM and a certificate of P-256, and
how much a new connection costs. Lepus and RabbitMQ have the same certificate, made here."""
import contextlib
import os
import shutil
import subprocess
import tempfile

import peers

BULK = "--size 16384 --auto-ack --backlog 200 "
SMALL = "--size 100 --auto-ack --backlog 1000 "
SLOW = "--size 100 --auto-ack --rate 1000 --publishers 100 "


@contextlib.contextmanager
def certificates(name):
    """A folder with ca.pem, server.pem and server.key, and its name as the broker sees it."""
    root = peers.rabbitmq.root() if name == "rabbitmq" else ""
    folder = tempfile.mkdtemp(prefix="lepus-bench-tls-", dir=root + "/tmp" if root else None)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run = lambda *words: subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    try:
        os.chmod(folder, 0o755)
        run("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
        run("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
        with open(os.path.join(folder, "server.ext"), "w") as file:
            file.write("subjectAltName=IP:127.0.0.1\n")
        run("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
            "server.pem", "-days", "2", "-extfile", "server.ext")
        os.chmod(os.path.join(folder, "server.key"), 0o644)
        yield folder, folder[len(root):]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tls_port(peer, asked):
    """Lepus says which one it took; RabbitMQ was told."""
    listeners = getattr(peer.broker, "listeners", [])
    found = [one for one in listeners if one.startswith("tls:")]
    return int(found[0].rpartition(":")[2]) if found else asked


def tls(bench, name):
    said = {}
    with certificates(name) as (folder, inside), peers.ports.hold() as holder:
        asked = peers.ports.number(holder)
        settings = ["listeners.ssl.default=127.0.0.1:%d" % asked, "ssl_options.certfile=%s/server.pem" % inside,
                    "ssl_options.keyfile=%s/server.key" % inside, "ssl_options.cacertfile=%s/ca.pem" % inside]
        with bench.fresh(name, settings=settings) as peer:
            over = "--port %d --tls-ca %s/ca.pem --tls-version 1.3 " % (tls_port(peer, asked), folder)
            for key, args in (("small", SMALL), ("bulk", BULK), ("slow", SLOW)):
                said[key] = bench.load(peer, args + bench.timing())
                said[key + "_tls"] = bench.load(peer, over + args + bench.timing())
    out = {}
    for key in ("small", "bulk", "slow"):
        out[key] = said[key]["broker_cpu_us"]
        out[key + "_tls"] = said[key + "_tls"]["broker_cpu_us"]
        out[key + "_ratio"] = out[key + "_tls"] / out[key]
    out["p50"], out["p50_tls"] = said["slow"]["delivery_us"]["p50"], said["slow_tls"]["delivery_us"]["p50"]
    return out
