#!/usr/bin/env bash
# Installs the Debian packages that Mailrail is built and tested with; those that are there already
# are left alone. Needs root or sudo only if something is missing.
#
#   deploy/install_deps.sh
set -euo pipefail

packages=(
  # The build.
  bazel-bootstrap bazel-rules-java bazel-rules-proto bazel-skylib
  g++ git pkg-config protobuf-compiler protobuf-compiler-grpc python3
  # Libraries.
  libabsl-dev libcli11-dev libgmock-dev libgrpc++-dev libgtest-dev libprotobuf-dev libyaml-cpp-dev
  nlohmann-json3-dev
  # Checks and sanitizers.
  clang clang-format libclang-rt-14-dev
  # Models, and orders of memory (tests/model).
  gcc relacy-dev spin
  # What tests and examples use; perl-modules for its text.
  coreutils iproute2 iptables perl-modules-5.36 procps util-linux
)

if ! command -v dpkg-query >/dev/null; then
  echo "install_deps: this is not Debian; what is needed, by Debian's names: ${packages[*]}" >&2
  exit 1
fi

# dpkg-query lists what it knows and fails for what it does not: the list is what counts.
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null |
  sed -n 's/^installed //p' || true)
missing=()
for package in "${packages[@]}"; do
  grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "install_deps: all ${#packages[@]} packages are there"
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "install_deps: neither root nor sudo; install these as root: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "install_deps: installing ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -qy --no-install-recommends "${missing[@]}"
