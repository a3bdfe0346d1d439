#!/usr/bin/env bash
# usage: tests/debian_chroot.sh [MIRROR]
# Installs, starts, upgrades and purges the packages of build/debian in a Debian 12 of their own, and
# runs what packaging/docker/install.sh makes of another. Needs root and a Debian mirror, so ./check
# leaves it out; it takes a few minutes, most of them to fetch Debian. Before: packaging/debian/build.sh
set -euo pipefail
cd "$(dirname "$0")/.."
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
  exec chroot "$root" env -i PATH=/usr/bin:/bin setpriv --reuid "$1" --regid "$1" --clear-groups env "${@:2}"
}

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
    RELAY_LISTEN_PORT=17781 weir relay >"$root/relay.log" 2>&1 &
  relay=$!
  for _ in $(seq 200); do
    grep -q relay_started "$root/relay.log" && break
    kill -0 "$relay" || { cat "$root/relay.log"; return 1; }
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
  mv "$base.new" "$base"
fi

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
[ -z "$(find "$root/etc/systemd/system" -name 'weir*')" ] || { echo "a unit is enabled"; exit 1; }

say "start"
(as_user weir RELAY_TLS=0 RELAY_VALIDATE_URL=http://127.0.0.1:9/validate weir config check relay)
relay_works weir

say "upgrade, while it runs"
echo RELAY_LISTEN_PORT=17781 >>"$root/etc/weir/relay.env"
inside chmod 700 /etc/weir
inside sh -c 'echo kept >/var/lib/weir/state && chown weir /var/lib/weir/state'
inside sh -ec "dpkg-deb -R /weir.deb /next
  sed -i 's/^Version: .*/Version: $version+next/' /next/DEBIAN/control
  echo '# of the next version' >>/next/etc/weir/relay.env
  dpkg-deb -b /next /next.deb && dpkg --force-confdef --force-confold -i /next.deb" >"$root/dpkg.log" 2>&1 ||
  { cat "$root/dpkg.log"; exit 1; }
[ "$(inside dpkg-query -W -f '${Version}' weir)" = "$version+next" ]
[ "$(tail -n 1 "$root/etc/weir/relay.env")" = RELAY_LISTEN_PORT=17781 ]
[ "$(inside stat -c %a /etc/weir)" = 700 ]
relay_ends
relay_works weir
relay_ends

say "remove and purge"
inside dpkg --remove weir >/dev/null
[ ! -e "$root/usr/bin/weir" ] && [ ! -e "$root/usr/bin/rstream" ]
[ -e "$root/etc/weir/relay.env" ] && [ -e "$root/var/lib/weir/state" ]
inside dpkg --purge weir >/dev/null
left=$(find "$root/etc" "$root/var/lib" "$root/usr" -name '*weir*' ! -path '*/apt/*')
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }

say "the image's file system"
fresh_root
cp packaging/docker/install.sh "$root/tmp/"
dpkg-deb --fsys-tarfile build/debian/weir_*.deb | tar -xO ./usr/bin/weir >"$root/tmp/weir"
inside /tmp/install.sh /tmp/weir >"$root/apt.log" 2>&1 || { cat "$root/apt.log"; exit 1; }
[ "$(inside id -u weir)" = 10001 ]
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
say "fine"
