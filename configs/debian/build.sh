#!/bin/sh
# Makes a Debian package of a shunt that has been built:  build.sh BINARY FOLDER  prints FOLDER/shunt_VERSION_ARCH.deb.
# The same binary gives the same package, to the byte. Needs dpkg-dev and binutils.
set -eu
umask 022

binary=$(realpath "$1")
mkdir -p "$2"
folder=$(realpath "$2")
here=$(dirname "$(realpath "$0")")
configs=$(dirname "$here")
top=$(dirname "$configs")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
doc=$root/usr/share/doc/shunt
mkdir -p "$root/DEBIAN" "$doc/examples" "$work/debian" "$root/usr/share/man/man8"

version=$(dpkg-parsechangelog -l "$here/changelog" -S Version)
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l "$here/changelog" -S Timestamp)
export SOURCE_DATE_EPOCH
architecture=$(dpkg --print-architecture)

file() { # MODE FROM TO
	mkdir -p "$root/$(dirname "$3")"
	install -m "$1" "$2" "$root/$3"
}
file 755 "$binary" usr/sbin/shunt
strip --remove-section=.comment --remove-section=.note "$root/usr/sbin/shunt"
file 644 "$configs/systemd/shunt.service" lib/systemd/system/shunt.service
mkdir -p "$root/etc/shunt"
cat "$here/example.toml" "$configs/minimal.toml" >"$root/etc/shunt/example.toml"
"$binary" man "$root/usr/share/man/man8"
for shell in bash:usr/share/bash-completion/completions/shunt zsh:usr/share/zsh/vendor-completions/_shunt \
	fish:usr/share/fish/vendor_completions.d/shunt.fish; do
	mkdir -p "$root/$(dirname "${shell#*:}")"
	"$binary" completions "${shell%%:*}" >"$root/${shell#*:}"
done
for example in reference pair; do file 644 "$configs/$example.toml" "usr/share/doc/shunt/examples/$example.toml"; done
file 644 "$configs/shunt.schema.json" usr/share/doc/shunt/examples/shunt.schema.json
file 644 "$configs/KEEPALIVED.md" usr/share/doc/shunt/KEEPALIVED.md
file 644 "$configs/PROTOCOL.md" usr/share/doc/shunt/PROTOCOL.md
file 644 "$configs/README.md" usr/share/doc/shunt/configuration.md
file 644 "$here/changelog" usr/share/doc/shunt/changelog
file 644 "$top/CHANGELOG.md" usr/share/doc/shunt/CHANGELOG.md
{
	cat "$here/copyright"
	echo "License: Expat"
	sed -n '/^Permission is hereby/,$s/^$/./; /^Permission is hereby/,$s/^/ /p' "$top/LICENSE"
} >"$doc/copyright"
gzip -9n "$doc/changelog" "$doc/CHANGELOG.md" "$doc/KEEPALIVED.md" "$doc/PROTOCOL.md" "$doc/configuration.md" "$root"/usr/share/man/man8/*

# dpkg-shlibdeps wants the source's control file.
printf 'Source: shunt\n\nPackage: shunt\nArchitecture: any\n' >"$work/debian/control"
libraries=$(cd "$work" && dpkg-shlibdeps -O -e root/usr/sbin/shunt | sed -n 's/^shlibs:Depends=//p')
for script in postinst prerm postrm; do install -m 755 "$here/$script" "$root/DEBIAN/$script"; done
install -m 644 "$here/conffiles" "$root/DEBIAN/conffiles"
cat >"$root/DEBIAN/control" <<END
Package: shunt
Version: $version
Architecture: $architecture
Maintainer: The shunt authors <shunt@example.org>
Installed-Size: $(du -k -s --apparent-size --exclude=DEBIAN "$root" | cut -f1)
Depends: $libraries, init-system-helpers (>= 1.54~)
Section: net
Priority: optional
Description: layer-4 director with direct server return over AF_XDP
 Spreads TCP, UDP and SCTP connections over real servers, which answer their
 clients directly. Checks the health of the real servers, holds the virtual
 addresses together with other directors by VRRP, and is changed while it
 runs. Reads keepalived.conf.
 .
 It starts once there is a configuration: /etc/shunt/shunt.toml.
END
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group --build "$root" "$folder/shunt_${version}_$architecture.deb" >/dev/null
echo "$folder/shunt_${version}_$architecture.deb"
