# Sourced by ./run, ./check and what packs: names the Debian packages each of them needs and installs
# those that are missing. When everything is in place it asks no network.

weir_packages_build="gcc libc6-dev cmake ninja-build pkg-config libssl-dev node-llhttp
  libcurl4-openssl-dev libjansson-dev libprotobuf-c-dev libprotobuf-dev protobuf-c-compiler
  libnghttp2-dev libyaml-dev libsqlite3-dev libhiredis-dev libpq-dev libseccomp-dev zlib1g-dev nodejs npm"
weir_packages_test="libcmocka-dev libasan8 libubsan1 libtsan2 prometheus openssl curl python3
  python3-pytest python3-pytest-xdist python3-prometheus-client python3-hypothesis python3-websockets python3-h2 python3-cryptography python3-protobuf
  protobuf-compiler python3-selenium chromium chromium-driver python3-pil python3-numpy fonts-dejavu-core nginx-light redis-server redis-sentinel postgresql
  python3-psycopg2
  openssh-server openssh-client nghttp2-client nghttp2-server tmux procps systemd python3-yaml iproute2 zsh
  fish groff-base mandoc g++ haproxy libnginx-mod-stream libjson-validator-perl"
weir_packages_package="debhelper dpkg-dev fakeroot lintian"
weir_packages_chroot="debootstrap"

# npm comes in a package of its own in Debian, and with nodejs elsewhere.
weir_is_there() {
  dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed' ||
    { [ "$1" = npm ] && command -v npm >/dev/null; }
}

weir_need_packages() {
  local group package missing=""
  for group in "$@"; do
    local list="weir_packages_$group"
    for package in ${!list}; do
      weir_is_there "$package" || missing="$missing $package"
    done
  done
  [ -n "$missing" ] || return 0
  local root=""
  [ "$(id -u)" = 0 ] || root=sudo
  echo "installing:$missing" >&2
  $root apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
