#!/usr/bin/env bash
# Does what the README says, with the release build: ./run's weir up, the demo beside it, and a look at
# its health. The engine's lines are run by tests/engine_guide.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
state=$(mktemp -d)
output=$(mktemp)
build/release/bin/weir up --state-dir "$state" --listen 127.0.0.1:0 >"$output.log" 2>"$output" &
up=$!
trap 'kill "$up" 2>/dev/null || true; rm -rf "$state" "$output" "$output.log"' EXIT
for _ in $(seq 100); do
  grep -q 'weir is up' "$output" && break
  kill -0 "$up" || { cat "$output"; exit 1; }
  sleep 0.1
done
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
build/release/bin/weir up -c "$state/weir.yml" --state-dir "$state" >"$output.log" 2>"$output" &
up=$!
for _ in $(seq 100); do
  grep -q 'weir is up' "$output" && break
  kill -0 "$up" || { cat "$output"; exit 1; }
  sleep 0.1
done
health=$(sed -n 's/^ *health  *http/http/p' "$output")
curl -sSf "$health/api/health/services/relay" | grep -q '"status"'
kill -TERM "$up"
wait "$up"
echo "fine"
