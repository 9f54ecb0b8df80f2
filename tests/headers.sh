#!/usr/bin/env bash
# Checks that each public header compiles alone, without a warning, with g++ and with clang++, and
# that none leads to gRPC, nor, but for protobuf.h, to protobuf. Each header counts as one case per
# compiler and one for what it includes; the last line is "N passed, N failed".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

flags=(-std=c++20 -Wall -Wextra -Wconversion -Werror -fsyntax-only -Icore/include)
passed=0
failed=0
for header in core/include/mailrail/*.h; do
  [[ -f $header ]] || { echo "there are no public headers"; exit 1; }
  include=${header#core/include/}
  for compiler in g++ clang++; do
    if "$compiler" "${flags[@]}" -x c++ - <<<"#include \"$include\""; then
      passed=$((passed + 1))
    else
      echo "FAILED $compiler $header"
      failed=$((failed + 1))
    fi
  done
  forbidden='grpcp?p?/|google/protobuf/'
  [[ $include != mailrail/protobuf.h ]] || forbidden='grpcp?p?/'
  if g++ -std=c++20 -Icore/include -M -x c++ - <<<"#include \"$include\"" | grep -E "$forbidden"; then
    echo "FAILED includes of $header"
    failed=$((failed + 1))
  else
    passed=$((passed + 1))
  fi
done
echo "$passed passed, $failed failed"
((failed == 0))
