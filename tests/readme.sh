#!/usr/bin/env bash
# Does what the README says, with the release build: ./run's weir up --demo and every command that it
# prints, weir up alone, and the weir.yml. The engine's lines are run by tests/guides.py.
set -euo pipefail
cd "$(dirname "$0")/.."
state=$(mktemp -d)
output=$(mktemp)
trap 'kill "$up" 2>/dev/null || true; rm -rf "$state" "$output" "$output.log"' EXIT

# start OPTION…: weir up until it is ready; what it says goes to $output.
start() {
  build/release/bin/weir up --state-dir "$state" "$@" >"$output.log" 2>"$output" &
  up=$!
  for _ in $(seq 100); do
    grep -q 'weir is up' "$output" && return
    kill -0 "$up" || { cat "$output"; exit 1; }
    sleep 0.1
  done
  exit 1
}

# said WORDS: the printed command that has them, as one would paste it.
said() {
  sed -n 's/^    //p' "$output" | grep -m 1 -- "$1" || { echo "nothing printed has: $1" >&2; exit 1; }
}

# What ./run starts, on ports that nobody has.
tail -n 1 run | grep -q 'weir up --demo "$@"'
start --demo --listen 127.0.0.1:0 --engine-listen 127.0.0.1:0 --health-listen 127.0.0.1:0
page=$(sed -n 's/^ *Open \(http.*\)$/\1/p' "$output")
curl -sSf -H 'Accept: text/html' "$page" | grep -qi '<!doctype html'
for _ in $(seq 100); do
  grep -q '"demo_published"' "$output.log" && break
  sleep 0.1
done
bash -c "$(said 'curl ')" | grep -q 'hello from behind a tunnel'
bash -c "$(said ' tunnels ')" | grep -q 'hello\.t\.localhost'
bash -c "$(said ' health ') --exit-zero" | grep -q '^hello-service  *demo  *'
bash -c "timeout 3 $(said ' events ') || [ \$? -eq 124 ]" | grep -q 'state\.initial'
[ "$(echo 'first line' | bash -c "timeout 20 $(said ' relay demo --state-dir ')" 2>/dev/null)" = 'echo: first line' ]
kill -TERM "$up"
wait "$up"

# weir up alone.
start --listen 127.0.0.1:0
port=$(sed -n 's/^ *relay .*localhost:\([0-9]*\)\/ws$/\1/p' "$output")
echoed=$(printf 'first line\nsecond line\n' |
  timeout 20 build/release/bin/weir relay demo --state-dir "$state" --port "$port" 2>"$output.demo")
[ "$echoed" = "echo: first line
echo: second line" ] || { echo "demo printed: $echoed"; cat "$output.demo"; exit 1; }
rm -f "$output.demo"
curl -sSf --cacert "$state/localhost.crt" "https://localhost:$port/health" | grep -q '"ok":true'
token=$(build/release/bin/weir token relay --state-dir "$state" --role client --workspace demo --target laptop)
[ -n "$token" ]
cat >"$state/registry.yml" <<END
machines: { here: { host: 127.0.0.1 } }
services:
  relay: { machine: here, health_check: { type: tcp, port: $port } }
END
build/release/bin/weir health --registry "$state/registry.yml" | grep -q '^relay  *here  *HEALTHY'
kill -TERM "$up"
wait "$up"

# The weir.yml of the README, on ports that nobody has.
sed -n '/^```yaml/,/^```/p' README.md | grep -v '^```' |
  sed -e "s|7781|0|; s|registry.yml|$state/registry.yml\n  listen: 127.0.0.1:0|" >"$state/weir.yml"
build/release/bin/weir config check up -c "$state/weir.yml" | grep -q '^up: fine$'
start -c "$state/weir.yml"
health=$(sed -n 's/^ *health  *http/http/p' "$output")
curl -sSf "$health/api/health/services/relay" | grep -q '"status"'
kill -TERM "$up"
wait "$up"
echo "fine"
