#!/usr/bin/env bash
# Label a few shipped seeds with the `echo` teacher, which is free, and look at everything on the way.
#
#     examples/label_and_inspect.sh [DIRECTORY]      where to write; default: a new temporary directory
set -euo pipefail

out=${1:-$(mktemp -d)}/answers.jsonl
run() { printf '\n$ %s\n' "$*"; "$@"; }
label() { run distill-data label @instructions --recipe answer --teacher echo --limit 5 --output "$out"; }

run distill-data recipes
run distill-data show answer --seeds @instructions
label
run head -n 1 "$out"
run distill-data status "$out"

before=$(cksum <"$out")
label # nothing is sent: every answer is on disk
[[ $(cksum <"$out") == "$before" ]]
echo "The second run changed nothing: $out"
