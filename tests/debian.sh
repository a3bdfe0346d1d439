#!/usr/bin/env bash
# The Debian packages, made of the release build: lintian's judgement, and that what is in them works
# where it lies. tests/debian_chroot.sh installs them.
set -euo pipefail
cd "$(dirname "$0")/.."
source packaging/setup.sh
weir_need_packages package
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

DEB_BUILD_OPTIONS=noautodbgsym packaging/debian/build.sh --built build/release >"$work/log" 2>&1 ||
  { tail -30 "$work/log"; exit 1; }
lintian --allow-root --fail-on error,warning build/debian/weir_*.changes

for package in build/debian/*.deb; do
  dpkg-deb -x "$package" "$work/root"
done
weir=$(echo build/debian/weir_*.deb)
root=$work/root
[ "$("$root/usr/bin/weir" --version)" = "$(dpkg-deb -f "$weir" Version)" ]
"$root/usr/bin/weir" help --man-dir "$work" >/dev/null
for page in "$work"/*.1; do
  zcat "$root/usr/share/man/man1/$(basename "$page").gz" | cmp - "$page"
done
for name in rstream rstream-engine-ce portoser; do
  zcat "$root/usr/share/man/man1/$name.1.gz" | cmp - "$work/weir.1"
done
# Shells find their completions under the name of what they complete.
for name in weir rstream; do
  "$root/usr/bin/$name" completion bash | cmp - "$root/usr/share/bash-completion/completions/$name"
  "$root/usr/bin/$name" completion zsh | cmp - "$root/usr/share/zsh/vendor-completions/_$name"
  "$root/usr/bin/$name" completion fish | cmp - "$root/usr/share/fish/vendor_completions.d/$name.fish"
done
"$root/usr/bin/rstream" --help | grep '^rstream' >/dev/null
"$root/usr/bin/portoser" --help | grep '^portoser' >/dev/null
[ "$("$root/usr/bin/rstream-engine-ce" version)" = "$("$root/usr/bin/weir" --version)" ]

# The pages are there to be read, by the names that they have for each other.
for page in README.md CHANGELOG.md $(find docs -name '*.md'); do
  cmp "$page" "$root/usr/share/doc/weir/$page"
done

# The settings that are shipped: nothing is set, and what is commented out would be taken.
[ "$(grep -vcE '^(#|$)' "$root/etc/weir/relay.env")" = 0 ]
# shellcheck disable=SC2046
env -i $(sed -n 's/^#\([A-Z_]*=\)/\1/p' "$root/etc/weir/relay.env") "$root/usr/bin/weir" config check relay

# Every unit is there. An upgrade restarts the services that run, once, and leaves the sockets alone.
units=""
for unit in packaging/systemd/*.service packaging/systemd/*.socket; do
  cmp "$unit" "$root/lib/systemd/system/$(basename "$unit")"
  units="$units$(basename "$unit") "
done
dpkg-deb -e "$weir" "$work/control"
invoked() { sed -n "s/^.*deb-systemd-invoke $1 \(.*\) >.*/\1/p" "$work/control/$2" | tr -d "'" | xargs -n 1 | sort; }
[ "$(invoked try-restart postinst)" = "$(printf '%s\n' $units | grep service | sort)" ]
grep -q "deb-systemd-invoke stop .*weir\*.socket weir\*.service" "$work/control/prerm"
[ "$(cat "$work/control"/p* | grep -c deb-systemd-invoke)" = 2 ]
for state in $(sed -n 's/^StateDirectory=//p' packaging/systemd/*.service); do
  grep -qw "rm -rf.*/var/lib/$state" "$work/control/postrm" || { echo "a purge leaves /var/lib/$state"; exit 1; }
done
[ "$(cat "$work/control/conffiles")" = /etc/weir/relay.env ]

# A program is built against the library as it is packed.
libraries=$(dirname "$(find "$root" -name weir-agent.pc)")
flags=$(PKG_CONFIG_PATH=$libraries pkg-config --define-variable=prefix="$root/usr" --cflags --libs weir-agent)
# shellcheck disable=SC2086
cc -o "$work/publish" examples/publish.c $flags
LD_LIBRARY_PATH=$libraries/.. ldd "$work/publish" | grep "$root.*libweir-agent.so.0" >/dev/null
echo "fine"
