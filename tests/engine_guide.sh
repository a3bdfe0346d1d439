#!/usr/bin/env bash
# Does what docs/engine.md says, with the release build: every "sh" block, in one shell.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/build/release/bin:$PATH"
guide="$PWD/docs/engine.md"
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

# The guide's ports may be in use here: three that are free, and differ.
read -r tls_port metrics_port site_port < <(/usr/bin/python3 - <<'END'
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(one.getsockname()[1] for one in held))
END
)
{
  # shellcheck disable=SC2016
  echo 'trap '\''kill $(jobs -p) 2>/dev/null || true'\'' EXIT'
  awk '/^```sh$/ {on = 1; next} /^```$/ {on = 0} on' "$guide" |
    sed "s/18443/$tls_port/g; s/19090/$metrics_port/g; s/18080/$site_port/g"
} >steps.sh
[ "$(grep -c . steps.sh)" -gt 30 ] || { echo "there are no steps in the guide"; exit 1; }
bash -euo pipefail steps.sh >said 2>&1 || { cat said engine.log; exit 1; }
for line in 'engine: fine' '"title":"' '\[\]' '404' 'hello from behind NAT' '"hostname":"demo\.t\.'; do
  grep -q "$line" said || { echo "the guide's steps did not print $line:"; cat said; exit 1; }
done
echo "fine"
