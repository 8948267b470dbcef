# shellcheck shell=sh
# Keeps a minimal Debian in a mount namespace of its own, in memory: it goes with this process, which ends when its
# standard input does, also where the test was killed. Says "ready".
# Arguments: a folder to mount at, suite, mirror (or nothing), and a file that keeps the tree for a day.
set -eu
at=$1 suite=$2 mirror=$3 kept=$4
ours=$(stat -L -c '%d:%i' /proc/self/ns/mnt)
# Nothing below may run in the namespace that we came from.
[ -n "$ours" ] && [ "$ours" != "$(stat -L -c '%d:%i' "/proc/$PPID/ns/mnt")" ]

mount -t tmpfs -o mode=0755 private "$at"
mkdir "$at/base" "$at/own"
if [ -n "$(find "$kept" -mmin -1440 2>/dev/null)" ]; then
	tar -C "$at/base" -xf "$kept"
else
	# sudo to log in by, make and binutils for `make install`, systemd for its journal alone, man-db; what the package recommends
	# shellcheck disable=SC2086 # no word where there is no mirror
	debootstrap --variant=minbase --include=sudo,make,binutils,systemd,ca-certificates,man-db "$suite" "$at/base" $mirror >"$at/log" 2>&1 || {
		tail -n 5 "$at/log" >&2
		exit 1
	}
	chroot "$at/base" sh -eu >"$at/log" 2>&1 <<'END' || { cat "$at/log" >&2; exit 1; }
apt-get clean
# Nothing that a package brings is started.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
useradd --create-home --shell /bin/sh --groups sudo alice
useradd --create-home --shell /bin/sh --groups sudo bob
printf '%s\n' 'alice:correct horse' 'bob:correct horse' 'root:battery staple' | chpasswd
# sudo: one question a call, so that a refusal ends it
echo 'Defaults passwd_tries=1, lecture=never' >/etc/sudoers.d/once
chmod 440 /etc/sudoers.d/once
END
	rm -f "${kept%-*}"-*.tar* # of other days
	tar -C "$at/base" -cf "$kept.$$" .
	mv "$kept.$$" "$kept"
fi
echo "127.0.0.1 localhost $(hostname)" >"$at/base/etc/hosts"

echo ready
read -r _ || true
