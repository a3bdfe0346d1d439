#!/usr/bin/env bash
# Does what docs/platform.md says, with the release build: every "sh" block, in one shell.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/build/release/bin:$PATH"
guide="$PWD/docs/platform.md"
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

# The guide's ports may be in use here: two that are free, and differ.
read -r platform_port relay_port < <(/usr/bin/python3 - <<'END'
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in held))
END
)
{
  # shellcheck disable=SC2016
  echo 'trap '\''kill $(jobs -p) 2>/dev/null || true; wait'\'' EXIT'
  awk '/^```sh$/ {on = 1; next} /^```$/ {on = 0} on' "$guide" |
    sed "s/17790/$platform_port/g; s/17781/$relay_port/g"
} >steps.sh
[ "$(grep -c . steps.sh)" -gt 20 ] || { echo "there are no steps in the guide"; exit 1; }
bash -euo pipefail steps.sh >said 2>&1 || { cat said platform.log relay.log; exit 1; }
for line in '"service":"platform"' '"daemonConnected":true' '"frames":\[{"id":' '"token":' '"daemonIssueGeneration":1' '"relayToken":' \
  'weir_platform_frames_published_total 1' 'published'; do
  grep -q "$line" said || { echo "the guide's steps did not print $line:"; cat said; exit 1; }
done
echo "fine"
