# SPDX-License-Identifier: Apache-2.0
"""celery_tasks - what the workers of test_celery.py can do.

    LEPUS_AMQP_URL   the broker
    LEPUS_WORK       a folder where tasks leave marks and wait for them
"""
import os
import time

import celery
import kombu

WORK = os.environ.get("LEPUS_WORK", "/nowhere")
DEADLINE_S = 30.0

app = celery.Celery("celery_tasks", broker=os.environ["LEPUS_AMQP_URL"], backend="rpc://")
app.conf.update(
    accept_content=["json"],
    broker_connection_retry=True,
    broker_heartbeat=10,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_queues=[kombu.Queue("celery"), kombu.Queue("ranks", queue_arguments={"x-max-priority": 10})],
    task_send_sent_event=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
)


def mark(name, text=""):
    """Leave a mark: a file that is there at once and whole."""
    path = os.path.join(WORK, name)
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def wait_for_mark(name, seconds=DEADLINE_S):
    until = time.monotonic() + seconds
    while not os.path.exists(os.path.join(WORK, name)):
        if time.monotonic() > until:
            raise TimeoutError("nobody left the mark " + name)
        time.sleep(0.005)   # marks are files: there is no event to wait for


@app.task
def add(x, y):
    return x + y


@app.task
def size(data):
    return len(data)


@app.task
def clock():
    return time.time()


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=5)
def try_again(self, times):
    if self.request.retries < times:
        raise self.retry(countdown=0.05)
    return self.request.retries


@app.task
def blocked(name):
    """Says that it runs, and waits until it may go on; gives the process that ran it."""
    mark(name + ".runs", str(os.getpid()))
    wait_for_mark(name + ".go")
    return os.getpid()


@app.task
def note(name):
    """Appends its name to the file `order`."""
    with open(os.path.join(WORK, "order"), "a") as file:
        file.write(name + "\n")
    return name


@app.task(bind=True)
def deliveries(self, name):
    """How often it was started, and whether the last delivery said so; dies the first time."""
    mark(name + ".%d" % os.getpid())
    if not self.request.delivery_info["redelivered"]:
        mark(name + ".first", str(os.getpid()))
        wait_for_mark(name + ".never")
    return self.request.delivery_info["redelivered"]
