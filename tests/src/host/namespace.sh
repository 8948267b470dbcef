# Turns a new mount namespace into the private host: what is written below stays in memory, and goes with it.
# Argument: a folder of ours. Says "ready", and ends when its standard input does, also where the test was killed.
set -eu
dir=$1
identity='%d:%i'
ours=$(stat -L -c "$identity" /proc/self/ns/mnt)
# Nothing below may run in the namespace that we came from.
[ -n "$ours" ] && [ "$ours" != "$(stat -L -c "$identity" "/proc/$PPID/ns/mnt")" ]

private=$dir/private
mkdir "$private"
mount -t tmpfs -o mode=0700 private "$private"

# Overlays, not empty folders: a checkout under /home or /root stays visible.
for lower in /etc /home /root /var/lib /var/log /var/mail; do
	[ -d "$lower" ] || continue
	layer=$private/$(echo "$lower" | tr / _)
	mkdir -p "$layer/work" "$layer/upper"
	chown --reference "$lower" "$layer/upper"
	chmod --reference "$lower" "$layer/upper"
	mount -t overlay -o "lowerdir=$lower,upperdir=$layer/upper,workdir=$layer/work" private "$lower"
done

# Empty: no socket of the real host's daemons.
mount -t tmpfs -o mode=0755 private /run
mkdir /run/sshd /run/lock

# A /dev with room for a log socket.
dev=$private/dev
mkdir "$dev"
mount -t tmpfs -o mode=0755 private "$dev"
for node in null zero full random urandom tty; do
	touch "$dev/$node"
	mount --bind "/dev/$node" "$dev/$node"
done
mkdir "$dev/pts" "$dev/shm"
mount --bind /dev/pts "$dev/pts" # the same terminals as outside: tests hold their other ends
# A device of its own: the kernel looks for `pts` beside the node, which a bind mount leads astray.
mknod -m 0666 "$dev/ptmx" c 5 2 2>/dev/null || ln -s pts/ptmx "$dev/ptmx"
mount -t tmpfs -o mode=1777 private "$dev/shm"
ln -s /proc/self/fd "$dev/fd"
ln -s /proc/self/fd/0 "$dev/stdin"
ln -s /proc/self/fd/1 "$dev/stdout"
ln -s /proc/self/fd/2 "$dev/stderr"
mount --move "$dev" /dev

echo ready
read -r _ || true

# Whoever is still in the namespace was started in it.
for process in $(stat -L -c "$identity %n" /proc/[0-9]*/ns/mnt 2>/dev/null | sed -n "s|^$ours /proc/\([0-9]*\)/.*|\1|p"); do
	[ "$process" = $$ ] || kill -KILL "$process" 2>/dev/null || true
done
