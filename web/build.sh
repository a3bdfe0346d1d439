#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: web/build.sh DIRECTORY. Builds the page there, once for each state of the sources: packages
# come from the lock file, and only when it has changed since. Several builds may ask at once.
set -eu
web=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
exec 9>lock
flock 9
packages=$(cat "$web/package.json" "$web/package-lock.json" | sha256sum)
sources=$(cd "$web" && find src build.mjs tsconfig.json package-lock.json -type f | LC_ALL=C sort | xargs sha256sum | sha256sum)
if [ "$(cat sources.stamp 2>/dev/null)" = "$sources" ] && [ -e dist/app.js.gz ]; then
  exit 0
fi
rm -rf src dist sources.stamp
cp -R "$web/src" "$web/build.mjs" "$web/tsconfig.json" "$web/package.json" "$web/package-lock.json" .
if [ "$(cat packages.stamp 2>/dev/null)" != "$packages" ]; then
  rm -f packages.stamp
  # Nothing of a package runs while it is installed.
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
  echo "$packages" >packages.stamp
fi
npm run --silent check >&2
npm run --silent build >&2
echo "$sources" >sources.stamp
