#!/usr/bin/env bash
# Does what docs/engine.md says, with the release build: every "sh" block, in one shell.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/build/release/bin:$PATH"
guide="$PWD/docs/engine.md"
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

# The guide's ports may be in use here.
free_port() {
  /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
{
  # shellcheck disable=SC2016
  echo 'trap '\''kill $(jobs -p) 2>/dev/null || true'\'' EXIT'
  awk '/^```sh$/ {on = 1; next} /^```$/ {on = 0} on' "$guide" |
    sed "s/18443/$(free_port)/g; s/19090/$(free_port)/g"
} >steps.sh
[ "$(grep -c . steps.sh)" -gt 30 ] || { echo "there are no steps in the guide"; exit 1; }
bash -euo pipefail steps.sh >said 2>&1 || { cat said engine.log; exit 1; }
for line in 'engine: fine' '"title":"' '\[\]' '404'; do
  grep -q "$line" said || { echo "the guide's steps did not print $line:"; cat said; exit 1; }
done
echo "fine"
