#!/usr/bin/env bash
# usage: packaging/debian/build.sh [--built DIRECTORY]
# Makes Debian packages of this tree in build/debian. --built takes what cmake --preset release has
# built in DIRECTORY, instead of building it again. The page of web/ is built before, with npm, so that
# dpkg-buildpackage itself asks no network.
set -euo pipefail
cd "$(dirname "$0")/../.."
source packaging/setup.sh
weir_need_packages build package
out=$PWD/build/debian
case "${1:-}" in
  "") ;;
  --built) WEIR_BUILD=$(realpath "$2"); export WEIR_BUILD ;;
  *) sed -n 2p "$0" >&2; exit 64 ;;
esac

rm -rf "$out"
mkdir -p "$out/weir/build/web"
tar -c --exclude=./build --exclude=./.git --exclude=node_modules --exclude=__pycache__ . | tar -x -C "$out/weir"
cp -R packaging/debian/debian "$out/weir/debian"
if [ -z "${WEIR_BUILD:-}" ]; then
  web/build.sh "$PWD/build/web"
  cp -R build/web/dist build/web/sources.stamp "$out/weir/build/web/"
fi
cd "$out/weir"
version=$(sed -n 's/^project(weir VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
[ "$(dpkg-parsechangelog -S Version)" = "$version" ] || { echo "debian/changelog is not of $version" >&2; exit 1; }
dpkg-buildpackage -us -uc -b
ls "$out"/*.deb
