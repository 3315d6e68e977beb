#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# replay_corpus.sh TARGET CORPUS: run every input of the corpus once, and the empty input first.
set -eu
target=$1
corpus=$2
empty=$(mktemp)
trap 'rm -f "$empty"' EXIT
if [ -d "$corpus" ]; then
    find "$corpus" -type f -print0 | LC_ALL=C sort -z | xargs -0 "$target" "$empty"
else
    "$target" "$empty"
fi
