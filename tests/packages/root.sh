# shellcheck shell=sh
# A root of one test's own, over the base tree, with the processes in it: all of it goes with this process, which ends
# when its standard input does. Runs in a copy of the base's mount namespace, as the first process of a new PID
# namespace. Says which process that is outside.
# Arguments: where the base's memory is mounted, the checkout, and the folder that cargo builds in.
set -eu
at=$1 checkout=$2 target=$3
[ $$ = 1 ]
read -r outside _ </proc/self/stat # still the machine's /proc

own=$at/own
mount -t tmpfs -o mode=0755 private "$own"
mkdir "$own/upper" "$own/work" "$own/root"
mount -t overlay -o "lowerdir=$at/base,upperdir=$own/upper,workdir=$own/work" private "$own/root"
cd "$own/root"

mount -t proc private proc
mount -t tmpfs -o mode=0755 private run
mkdir -m 1777 run/lock

mount -t tmpfs -o mode=0755 private dev
for node in null zero full random urandom tty; do
	touch "dev/$node"
	mount --bind "/dev/$node" "dev/$node"
done
mkdir dev/pts dev/shm
mount --bind /dev/pts dev/pts # the same terminals as outside: tests hold their other ends
mknod -m 0666 dev/ptmx c 5 2 2>/dev/null || ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 private dev/shm
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr

# To be read, and not to be written.
mkdir mnt/checkout mnt/target
mount --bind "$checkout" mnt/checkout
mount --bind "$target" mnt/target
mount -o remount,bind,ro mnt/checkout
mount -o remount,bind,ro mnt/target

# Only now is this process's root what is looked for by its number.
# shellcheck disable=SC2016 # for the inner shell
exec chroot . sh -c 'echo "$1"; read -r _ || true' sh "$outside"
