#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes registry.inc: one X(name) a plug-in, for the one table that knows them all.
set -eu
echo '/* Generated from the list in meson.build beside the plug-ins. */'
for name in "$@"; do
    echo "X($name)"
done
