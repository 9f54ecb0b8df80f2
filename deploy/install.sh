#!/usr/bin/env bash
# Installs the program, the shared library and the public headers.
#
#   deploy/install.sh [--prefix DIR]     (default /usr/local; needs the right to write there)
#
# A program is then built with: g++ -std=c++20 hello.cc $(pkg-config --cflags --libs mailrail)
set -euo pipefail
source_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
prefix=/usr/local
built=
while (($# > 0)); do
  case $1 in
    --prefix)
      prefix=$2
      shift 2
      ;;
    --built) # a folder with what was built already: for tests
      built=$2
      shift 2
      ;;
    *)
      sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | head -n -1
      exit $([[ $1 == --help ]] && echo 0 || echo 3)
      ;;
  esac
done

if [[ -z $built ]]; then
  "$source_folder/deploy/install_deps.sh"
  cd "$source_folder"
  bazel build --config=opt //node/cli:mailrail //deploy:libmailrail.so
  built=$(bazel info --config=opt bazel-bin)
fi

install -d "$prefix/bin" "$prefix/lib/pkgconfig" "$prefix/include/mailrail"
install -m 755 "$built/node/cli/mailrail" "$prefix/bin/mailrail"
install -m 644 "$built/deploy/libmailrail.so" "$prefix/lib/libmailrail.so"
install -m 644 "$source_folder"/core/include/mailrail/*.h "$prefix/include/mailrail/"
cat >"$prefix/lib/pkgconfig/mailrail.pc" <<PC
prefix=$prefix
Name: mailrail
Description: Messages between processes of one host and of several
Version: 0.1.0
Requires: absl_status absl_statusor absl_strings absl_time absl_span
Cflags: -I\${prefix}/include
Libs: -L\${prefix}/lib -Wl,-rpath,\${prefix}/lib -lmailrail
PC
echo "installed in $prefix: bin/mailrail, lib/libmailrail.so, include/mailrail, lib/pkgconfig/mailrail.pc"
