#!/usr/bin/env bash
# Drives `mailrail region` as scripts do.
# Usage: region_commands_test.sh PROGRAM
# shellcheck source=node/cli/cli_testing.sh
source "$(dirname "${BASH_SOURCE[0]}")/cli_testing.sh" "$1"

every_command_has_help_with_an_example() {
  local command
  for command in region "region create" "region ls" "region stat" "region read" "region write" \
    "region watch" "region destroy"; do
    # shellcheck disable=SC2086
    exits 0 $command --help && grep -A1 'Example:' "$dir/out" | grep -q "mailrail region" ||
      return 1
  done
}
check EveryCommandHasHelpWithAnExample every_command_has_help_with_an_example

wrong_arguments_exit_with_3() {
  exits 3 region && exits 3 region create r && says -- --bytes && exits 3 region create r --bytes x &&
    exits 3 region read && exits 3 region read r --memory --newer 1 && says excludes &&
    exits 3 region ls -o xml && exits 14 region ls && exits 14 region read r && says 'mailrail agent'
}
check WrongArgumentsExitWith3 wrong_arguments_exit_with_3

"$mailrail" agent --node alpha 2>"$dir/alpha.log" &
pids+=("$!")
eventually exits 0 nodes

# writes TEXT ARGUMENTS...: as `region write`, with this input.
writes() {
  local text=$1 got=0
  shift
  printf '%s' "$text" | "$mailrail" region write "$@" >"$dir/out" 2>"$dir/err" || got=$?
  echo "mailrail region write $*: exit code $got: $(cat "$dir/err")"
  return "$got"
}
# regions EXPRESSION: of the rows by name (`r`).
regions() { exits 0 region ls -o json && json "(lambda r: $1)({x['name']: x for x in j})"; }

what_is_written_is_read() {
  exits 0 region create prices --bytes 64K && exits 5 region read prices && says 'no version' &&
    writes "apples 3" prices && prints "1
" && exits 0 region read prices --text && prints "apples 3" && writes "pears" prices && prints "2
" && exits 0 region read prices --text && prints "pears" &&
    exits 0 region read prices && (($(wc -c <"$dir/out") == 65536))
}
check WhatIsWrittenIsRead what_is_written_is_read

a_part_is_written() {
  exits 0 region create part --bytes 4K && writes "0123456789" part && writes "xyz" part --at 4 &&
    prints "2
" && exits 0 region read part --text && prints "0123xyz789" && writes "ab" part --at 1 --no-publish &&
    prints "" && exits 0 region read part --text && prints "0123xyz789" &&
    exits 0 region read part --memory --text && prints "0ab3xyz789" &&
    ! writes "x" part --at 5K && says 4096 && ! writes "abcdef" part --at 4092 && says larger
}
check APartIsWritten a_part_is_written

names_and_sizes_are_checked() {
  exits 0 region create prices --bytes 64K && exits 6 region create prices --bytes 64K --exclusive &&
    exits 9 region create prices --bytes 8K && says 65536 && exits 3 region create 1x --bytes 8K &&
    exits 8 region create much --bytes 100G && exits 5 region read nothing &&
    says 'region ls' && exits 7 region create prices@beta --bytes 8K && exits 5 region destroy nothing
}
check NamesAndSizesAreChecked names_and_sizes_are_checked

rows_are_shown() {
  regions "r['prices']['bytes'] == 65536 and r['prices']['version'] == 2" &&
    regions "r['prices']['kind'] == 'region' and r['prices']['home'] == ''" &&
    exits 0 region stat prices -o json && json "j['name'] == 'prices' and j['opens'] == 0" &&
    exits 0 region stat prices@alpha -o json && exits 0 region ls && exits 0 region stat prices &&
    grep -q 'version  *2' "$dir/out" && exits 5 region stat nothing && exits 5 region stat prices@beta
}
check RowsAreShown rows_are_shown

versions_are_watched() {
  exits 0 region create seen --bytes 4K
  "$mailrail" region watch seen --newer 0 --count 2 >"$dir/watched" &
  local watch=$!
  pids+=("$watch")
  eventually regions "r['seen']['opens'] == 1" && writes one seen || return 1
  eventually grep -q 1 "$dir/watched" && writes two seen && wait "$watch" &&
    diff <(printf '1\n2\n') "$dir/watched" && exits 0 region watch seen --newer 0 --count 1 &&
    prints "2
" && exits 4 region watch seen --timeout 50ms && exits 4 region read seen --newer 2 --timeout 50ms &&
    exits 0 region read seen --newer 1 --text && prints two
}
check VersionsAreWatched versions_are_watched

who_waits_is_told_of_its_end() {
  exits 0 region create short --bytes 4K
  "$mailrail" region read short --newer 0 >"$dir/waited" 2>&1 &
  local waits=$! got=0
  pids+=("$waits")
  eventually regions "r['short']['opens'] == 1" && exits 0 region destroy short || return 1
  wait "$waits" || got=$?
  ((got == 14)) && grep -q destroyed "$dir/waited" && regions "'short' not in r"
}
check WhoWaitsIsToldOfItsEnd who_waits_is_told_of_its_end

writers_take_turns() {
  exits 0 region create turns --bytes 4K
  local i writers=()
  for i in 1 2 3 4 5 6; do
    (printf '%s' "$i" | "$mailrail" region write turns >>"$dir/turns") &
    writers+=("$!")
  done
  wait "${writers[@]}" && diff <(seq 6) <(sort -n "$dir/turns")
}
check WritersTakeTurns writers_take_turns

exit "$failed"
