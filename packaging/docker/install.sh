#!/bin/sh
# usage: install.sh BINARY, as root in a Debian 12. What the image is made of: the libraries that weir
# links, curl for the checks of compose and Kubernetes files, a user of its own, and the binary under
# all its names. The Dockerfile runs it, and so does tests/debian_chroot.sh.
set -eu
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  ca-certificates curl libcurl4 libjansson4 libnghttp2-14 libprotobuf-c1 libsqlite3-0 libssl3 \
  libyaml-0-2 libhiredis0.14 libpq5 libseccomp2 zlib1g >/dev/null
rm -rf /var/lib/apt/lists/*
useradd --system --uid 10001 --home-dir /var/lib/weir --create-home weir
chmod 750 /var/lib/weir
install -m 755 "$1" /usr/bin/weir
for name in rstream rstream-engine-ce portoser; do
  ln -s weir "/usr/bin/$name"
done
