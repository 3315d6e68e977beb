#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# client_tools.sh - the command-line tools of librabbitmq against a broker.
#
#   client_tools.sh HOST PORT
#
# Prints a line for each test and a closing `N passed, N failed`.
set -u
host=$1 port=$2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
queue=tools.$$
passed=0 failed=0
at="-s $host --port=$port"

verdict() {     # NAME STATUS
    if [ "$2" = 0 ]; then
        passed=$((passed + 1)); echo "ok    $1"
    else
        failed=$((failed + 1)); echo "FAIL  $1"
    fi
}

declared_queue_is_named() {
    [ "$(amqp-declare-queue $at -q "$queue")" = "$queue" ]
}
publish_and_get() {
    amqp-publish $at -r "$queue" -b 'first words' &&
        [ "$(amqp-get $at -q "$queue")" = 'first words' ]
}
get_of_an_empty_queue_fails() {
    ! amqp-get $at -q "$queue" >"$work/none" && [ ! -s "$work/none" ]
}
large_body_goes_through() {
    head -c 1000000 /dev/urandom >"$work/in" &&
        amqp-publish $at -r "$queue" -C application/octet-stream -p <"$work/in" &&
        amqp-get $at -q "$queue" >"$work/out" && cmp "$work/in" "$work/out"
}
consumer_runs_a_program_for_each_message() {
    for n in 1 2 3; do amqp-publish $at -r "$queue" -b "$n " || return 1; done
    [ "$(timeout 30 amqp-consume $at -q "$queue" -c 3 cat)" = '1 2 3 ' ]
}
failed_program_leaves_the_message() {
    amqp-publish $at -r "$queue" -b kept || return 1
    timeout 30 amqp-consume $at -q "$queue" -c 1 false
    [ "$(timeout 30 amqp-consume $at -q "$queue" -c 1 cat)" = kept ]
}
bound_consumer_gets_what_an_exchange_routes() {
    amqp-declare-queue $at -q "$queue.b" >/dev/null || return 1
    mkfifo "$work/said" || return 1
    timeout 30 amqp-consume $at -e amq.topic -r "$queue.#" -c 1 tee "$work/said" >/dev/null 2>&1 &
    consumer=$!
    # The binding is there once a publish reaches the program: keep publishing till then.
    (while kill -0 $consumer 2>/dev/null; do
        amqp-publish $at -e amq.topic -r "$queue.x.y" -b routed || exit
    done) &
    got=$(timeout 30 cat "$work/said")
    wait
    amqp-delete-queue $at -q "$queue.b" >/dev/null
    [ "$got" = routed ]
}
deleted_queue_is_gone() {
    amqp-delete-queue $at -q "$queue" >/dev/null && ! amqp-get $at -q "$queue" 2>"$work/why" &&
        grep -q 404 "$work/why"
}
wrong_password_is_refused() {
    ! amqp-publish $at --username guest --password wrong -r "$queue" -b x 2>"$work/why" &&
        grep -q 403 "$work/why"
}

for test in declared_queue_is_named publish_and_get get_of_an_empty_queue_fails \
    large_body_goes_through consumer_runs_a_program_for_each_message \
    failed_program_leaves_the_message bound_consumer_gets_what_an_exchange_routes \
    deleted_queue_is_gone wrong_password_is_refused; do
    $test
    verdict $test $?
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
