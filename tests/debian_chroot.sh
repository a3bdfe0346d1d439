#!/usr/bin/env bash
# usage: tests/debian_chroot.sh [--can] [MIRROR]
# Installs, starts, upgrades and purges the packages of build/debian in a Debian 12 of their own, and
# runs what packaging/docker/install.sh makes of another. Before: packaging/debian/build.sh
# Needs root, mounts and a Debian mirror; --can says on standard error what is not there, and ends with
# 1. Two minutes, one of them to fetch Debian once; build/chroot/base keeps it.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --can ]; then
  mirror=${2:-http://deb.debian.org/debian}
  cannot() { echo "$*" >&2; exit 1; }
  [ "$(id -u)" = 0 ] || cannot "only root can"
  unshare --mount --pid --fork true 2>/dev/null || cannot "no mounts of its own: unshare is not allowed"
  mkdir -p build/chroot
  rm -f build/chroot/null
  { mknod build/chroot/null c 1 3 && echo device >build/chroot/null; } 2>/dev/null ||
    cannot "no devices can be made in $PWD/build/chroot, which debootstrap does"
  rm -f build/chroot/null
  curl -sSf -m 20 -o /dev/null "$mirror/dists/bookworm/InRelease" || cannot "no Debian at $mirror"
  exit 0
fi
if [ "${WEIR_CHROOT_APART:-}" = "" ]; then
  # Mounts end with it, and so does whatever still runs in the chroot.
  WEIR_CHROOT_APART=1 exec unshare --mount --pid --fork --kill-child "$0" "$@"
fi
source packaging/setup.sh
weir_need_packages package chroot
mirror=${1:-http://deb.debian.org/debian}
base=$PWD/build/chroot/base
root=$PWD/build/chroot/root
say() { printf '== %s\n' "$*"; }
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
# USER NAME=VALUE... COMMAND; in the background it is the command's own process.
as_user() {
  # shellcheck disable=SC2086
  exec chroot "$root" env -i PATH=/usr/bin:/bin setpriv --reuid "$1" --regid "$1" --clear-groups $less env "${@:2}"
}
less=""

fresh_root() {
  mountpoint -q "$root/proc" && umount "$root/proc"
  rm -rf "$root"
  cp -a "$base" "$root"
  mount -t proc proc "$root/proc"
  # Nothing is started by the installation: there is no systemd to start it.
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod +x "$root/usr/sbin/policy-rc.d"
}

# A relay in the foreground, as this user, which answers to /health and ends when it is told to.
relay_works() {
  as_user "$1" RELAY_TLS=0 RELAY_VALIDATE_URL=http://127.0.0.1:9/validate RELAY_LISTEN_HOST=127.0.0.1 \
    RELAY_LISTEN_PORT=17781 weir relay >"$root.relay.log" 2>&1 &
  relay=$!
  for _ in $(seq 200); do
    grep -q relay_started "$root.relay.log" && break
    kill -0 "$relay" || { cat "$root.relay.log"; return 1; }
    sleep 0.1
  done
  answer=$(inside bash -c 'exec 3<>/dev/tcp/127.0.0.1/17781
    printf "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" >&3; cat <&3')
  [[ $answer == "HTTP/1.1 200 "*'"ok":true'* ]] || { echo "$answer"; return 1; }
}
relay_ends() { kill -TERM "$relay" && wait "$relay"; }

if [ ! -e "$base/etc/debian_version" ]; then
  say "a Debian 12 from $mirror"
  mkdir -p "$(dirname "$base")"
  rm -rf "$base.new"
  debootstrap --variant=minbase bookworm "$base.new" "$mirror" >"$base.log" || { tail "$base.log"; exit 1; }
  # What packages fetch is not worth an fsync each: it is thrown away.
  echo force-unsafe-io >"$base.new/etc/dpkg/dpkg.cfg.d/unsafe-io"
  mv "$base.new" "$base"
fi

# All there is below the root, but for books of dpkg, apt, debconf and the linker, and for users, who stay.
everything() {
  (cd "$root" && find . -xdev ! -path './proc/*' ! -path './var/lib/dpkg/*' ! -path './var/lib/apt/*' \
    ! -path './var/cache/*' ! -path './var/log/*' ! -path './run/*' ! -path './tmp/*' \
    ! -path './etc/passwd*' ! -path './etc/group*' ! -path './etc/shadow*' ! -path './etc/gshadow*' \
    ! -path './etc/subuid*' ! -path './etc/subgid*' ! -name '*.deb' ! -name '*.log' | LC_ALL=C sort)
}

say "install"
fresh_root
cp build/debian/weir_*.deb "$root/weir.deb"
inside apt-get update -qq
inside apt-get install -y -qq --no-install-recommends /weir.deb >"$root/apt.log" 2>&1 || { cat "$root/apt.log"; exit 1; }
version=$(inside dpkg-query -W -f '${Version}' weir)
[ "$(inside weir --version)" = "$version" ]
for name in rstream rstream-engine-ce portoser; do
  [ "$(inside readlink -f "/usr/bin/$name")" = /usr/bin/weir ]
done
[ "$(inside stat -c '%U:%G %a' /etc/weir /var/lib/weir | paste -sd' ')" = "root:weir 750 weir:weir 750" ]
# What a purge may leave: what came with other packages.
everything | grep -v weir >"$base.others"
[ -z "$(find "$root/etc/systemd/system" -name 'weir*')" ] || { echo "a unit is enabled"; exit 1; }

say "start"
(as_user weir RELAY_TLS=0 RELAY_VALIDATE_URL=http://127.0.0.1:9/validate weir config check relay)
relay_works weir
relay_ends

say "weir init, and all parts in one process" # the libraries that are loaded late are there, too
inside weir init --dir /etc/weir --host edge.test --no-checks --relay-listen 127.0.0.1:17781 \
  --engine-listen 127.0.0.1:17443 --health-listen 127.0.0.1:17988 >"$root/init.log"
grep -q "^User=weir$" "$root/etc/weir/weir.service"
sed -i 's/127.0.0.1:9464/127.0.0.1:17464/' "$root/etc/weir/weir.yml"
as_user weir weir up -c /etc/weir/weir.yml >"$root/up.log" 2>&1 &
up=$!
seen() {
  for _ in $(seq 200); do
    grep -q "$2" "$1" && return
    kill -0 "$3" || break
    sleep 0.1
  done
  cat "$1"
  return 1
}
for part in platform relay engine health; do
  seen "$root/up.log" "${part}_started" "$up"
done
kill -TERM "$up" && wait "$up"
[ -e "$root/etc/weir/state/platform.db" ] && [ -e "$root/etc/weir/state/health.db" ]
inside sh -c 'cd /etc/weir && rm -r weir.yml weir.service weir.crt weir.key agent-token registry.yml state'
if said=$(as_user weir WEIR_PLATFORM_DATABASE=postgresql://127.0.0.1:9/none weir platform 2>&1); then
  echo "a platform without its PostgreSQL runs"
  exit 1
fi
[[ $said != *libpq* ]] || { echo "$said"; exit 1; }

say "upgrade, while it runs"
echo RELAY_DRAIN_TIME_MS=0 >>"$root/etc/weir/relay.env"
inside chmod 700 /etc/weir
inside sh -c 'echo kept >/var/lib/weir/state && chown weir /var/lib/weir/state'
inside sh -ec "dpkg-deb -R /weir.deb /next
  sed -i 's/^Version: .*/Version: $version+next/' /next/DEBIAN/control
  echo '# of the next version' >>/next/etc/weir/relay.env
  dpkg-deb -Znone -b /next /next.deb >/dev/null && rm -r /next"
tests/chroot_upgrade.py "$root" next.deb
[ "$(inside dpkg-query -W -f '${Version}' weir)" = "$version+next" ]
grep -qx RELAY_DRAIN_TIME_MS=0 "$root/etc/weir/relay.env"
! grep -q "next version" "$root/etc/weir/relay.env"
[ "$(inside stat -c %a /etc/weir)" = 700 ]
relay_works weir
relay_ends

say "remove and purge"
rm "$root/run/systemctl.calls"
inside dpkg --remove weir >/dev/null
grep -qx "stop.* weir-relay.socket .* weir.service" "$root/run/systemctl.calls"
rm -r "$root/run/systemd" "$root/usr/bin/systemctl"
[ ! -e "$root/usr/bin/weir" ] && [ ! -e "$root/usr/bin/rstream" ]
[ -e "$root/etc/weir/relay.env" ] && [ -e "$root/var/lib/weir/state" ]
inside dpkg --purge weir >/dev/null
left=$(everything | LC_ALL=C comm -13 "$base.others" -)
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }

say "the image's file system"
fresh_root
cp packaging/docker/install.sh "$root/tmp/"
dpkg-deb --fsys-tarfile build/debian/weir_*.deb | tar -xO ./usr/bin/weir >"$root/tmp/weir"
inside /tmp/install.sh /tmp/weir >"$root/apt.log" 2>&1 || { cat "$root/apt.log"; exit 1; }
[ "$(inside id -u weir)" = 10001 ]
# As the compose files have it: nothing can be written, and nobody may get rights.
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
less="--no-new-privs --inh-caps=-all --bounding-set=-all"
environment="WEIR_STATE_DIR=/var/lib/weir RELAY_TLS=0 RELAY_LISTEN_PORT=17781 RELAY_VALIDATE_URL=http://127.0.0.1:9/validate"
# shellcheck disable=SC2086
asked() { (as_user weir $environment weir relay health) >/dev/null 2>&1; }
if asked; then echo "a relay that is not there is well"; exit 1; fi
relay_works weir
asked
relay_ends
for words in "health --help" "engine --help" "platform --help" "up --help"; do
  # shellcheck disable=SC2086
  (as_user weir weir $words) >/dev/null
done
# What keeps something has a volume there.
mount -t tmpfs -o uid=10001,gid=10001,mode=750 none "$root/var/lib/weir"
as_user weir WEIR_STATE_DIR=/var/lib/weir WEIR_PLATFORM_LISTEN=127.0.0.1:17790 weir platform >"$root.platform.log" 2>&1 &
platform=$!
seen "$root.platform.log" platform_started "$platform"
kill -TERM "$platform" && wait "$platform"
[ -e "$root/var/lib/weir/platform.db" ]
say "fine"
