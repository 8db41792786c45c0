# Sourced by .ci/run and tools/nightly: minutes by part, shown at the end however it ends.
parts="" part_name="" part_began=0 part_cpu=0 cpu=0

count_cpu() {  # CPU seconds of all that has ended; `times` in a subshell would count the subshell's
  times >"$part_file"
  cpu=$(tail -1 "$part_file" | awk '{ for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); s += 60 * t[1] + t[2] } print s }')
}

part() {  # part NAME: ends the one before and begins this one
  count_cpu
  if [ -n "$part_name" ]; then
    parts+=$(awk -v wall=$((SECONDS - part_began)) -v cpu="$cpu" -v before="$part_cpu" -v name="$part_name" \
      'BEGIN { printf "%5.1f min %5.1f CPU min  %s", wall / 60, (cpu - before) / 60, name }')$'\n'
  fi
  part_name="$1" part_began=$SECONDS part_cpu="$cpu"
  echo "+ $1"
}

part_file=$(mktemp)
trap 'part "the end"; printf "%s%5.1f min in all\n" "$parts" "$(awk "BEGIN { print $SECONDS / 60 }")"; rm -f "$part_file"' EXIT
