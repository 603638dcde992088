#!/bin/sh
# Measures all there is: under 20 minutes, or with --quick under 2. What cannot be measured on this machine is said at the end;
# the exit status is 0 if shunt itself could be, each way.
set -u
cd "$(dirname "$0")/.."
programs=target/release
missing=""
failed=""

# measure [-p] NAME COMMAND...: -p: what it measures is not shunt itself, or needs what a machine may lack.
measure() {
	is_peer=no
	[ "$1" = -p ] && is_peer=yes && shift
	name=$1
	shift
	began=$(date +%s)
	echo "== $name"
	if "$@"; then
		echo "== $name: $(($(date +%s) - began)) s"
	elif [ $is_peer = yes ]; then
		missing="$missing $name"
	else
		failed="$failed $name"
	fi
}

[ "$(id -u)" -eq 0 ] || echo "== WITHOUT ROOT nothing on veth can be measured." >&2

case "${1:-}" in
"")
	measure memory $programs/memory
	measure -p instructions $programs/count
	measure stall $programs/stall "${STALL:-300}"
	measure -p criterion "${CARGO:-cargo}" bench --locked -p shunt-bench --bench pass -- --quick '^(stage|family)/'
	measure veth $programs/wire
	measure -p copy-mode $programs/tune
	measure scale $programs/scale
	measure idle $programs/idle
	measure plots $programs/plot
	;;
--quick)
	measure memory $programs/memory --quick
	measure veth $programs/wire --quick --output quick-veth.csv
	measure scale $programs/scale --quick --output quick-scale.csv
	;;
*)
	echo "usage: $0 [--quick]" >&2
	exit 2
	;;
esac

[ -z "$missing" ] || echo "== NOT MEASURED on this machine:$missing" >&2
if [ -n "$failed" ]; then
	echo "== SHUNT ITSELF COULD NOT BE MEASURED:$failed. What each said is above." >&2
	exit 1
fi
