#!/bin/sh
# Installs the Debian packages that building shunt and its lab need, those that are missing only.
set -eu

# To build: clang compiles the XDP program; it and the others (llvm, m4, libelf, zlib) are for libxdp, which xsk-rs builds.
build="clang llvm gcc libc6-dev libbpf-dev libelf-dev zlib1g-dev pkg-config m4 make"
# For the lab: namespaces, captures, real servers and clients.
# haproxy, Exim, dnsmasq and OpenSSH are what health checks are made of; keepalived is the director to get along with;
# prometheus (with promtool) is who reads the metrics; ethtool changes the number of queues; net-tools and iputils-ping are what an old
# script calls; tshark reads what shunt captures.
lab="iproute2 procps tcpdump nginx-light curl iptables nftables iperf3 haproxy exim4-daemon-light dnsmasq-base openssh-server openssh-client openssl keepalived prometheus net-tools iputils-ping ethtool tshark"
# For the package and the unit: what builds, judges and reads them.
packaging="dpkg-dev binutils lintian systemd man-db"

# To count instructions.
counting="valgrind"
# For the comparison on veth: the peers. Debian has the version of DPDK in the names of its drivers.
bench="$counting dpdk librte-net-af-xdp* librte-mempool-ring* librte-bus-vdev*"

case "${1:-}" in
"") wanted="$build $lab $packaging" ;;
counting) wanted="$counting" ;;
bench) wanted="$bench" ;;
*)
	echo "usage: $0 [counting|bench]" >&2
	exit 2
	;;
esac

# Patterns are for dpkg and apt, not for the shell.
set -f
missing=""
for package in $wanted; do
	dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "These packages are missing:$missing" >&2
	echo "Install them as root:  apt-get install$missing" >&2
	exit 1
fi
echo "== Installing:$missing"
# The packages of nginx, keepalived and prometheus start services on this machine, which the lab does not want: Debian's policy-rc.d says no
# (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get install -y -qq --no-install-recommends $missing
# Nor at the next start of the machine.
for service in nginx keepalived prometheus; do
	case "$missing" in
	*$service*) command -v systemctl >/dev/null && systemctl disable --quiet $service 2>/dev/null || true ;;
	esac
done
