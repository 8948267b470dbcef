# A cluster of PostgreSQL in the folder $1, with the programs in $2, on 127.0.0.1 and $5, port $3; the password of its one
# role is $4; with $6, a standby of the one at that address, on port $7. Does what is read, a word a line, and says
# "done" to each. Ends, with the cluster and the folder, when its input does, also where the test was killed. Runs as
# nobody: postgres does not run as root.
set -eu
folder=$1 bin=$2 port=$3 address=$5
PATH=$bin:$PATH
cd "$folder"
umask 077
printf '%s\n' "$4" >password
if [ -n "${6-}" ]; then
	PGPASSWORD=$4 pg_basebackup --no-sync --write-recovery-conf --checkpoint=fast --host="$6" --port="$7" --username=ykvald --pgdata=data >made 2>&1 || {
		cat made >&2
		exit 1
	}
else
	initdb --no-sync --no-locale --encoding=UTF8 --auth=scram-sha-256 --username=ykvald --pwfile=password --pgdata=data >made 2>&1 || {
		cat made >&2
		exit 1
	}
fi
cat >>data/postgresql.conf <<END
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
max_connections = 200
log_min_messages = log
END
# For others of a network of the tests' own.
if [ "$address" != 127.0.0.1 ]; then
	echo "listen_addresses = '127.0.0.1,$address'" >>data/postgresql.conf
	# A standby that lost its primary asks the next one soon, and not after five seconds: commits wait for it.
	echo "wal_retrieve_retry_interval = '200ms'" >>data/postgresql.conf
	[ -n "${6-}" ] || printf 'host %s all all scram-sha-256\n' all replication >>data/pg_hba.conf
fi
server=
# To the server and its processes.
signal() {
	kill "-$1" "$server"
	for child in $(cat "/proc/$server/task/$server/children"); do
		kill "-$1" "$child" 2>/dev/null || true # it may have ended since
	done
}
finish() {
	[ -z "$server" ] || signal CONT 2>/dev/null || true
	[ -z "$server" ] || kill -QUIT "$server" 2>/dev/null || true
	[ -z "$server" ] || wait "$server" || true
	server=
}
trap 'finish; rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM # the terminal's, which reach the test and us
while read -r word; do
	case $word in
		start)
			postgres -D data </dev/null >>log 2>&1 &
			server=$!
			until PGPASSWORD=$4 psql -h 127.0.0.1 -p "$port" -U ykvald -d postgres -c '' >/dev/null 2>&1; do
				kill -0 "$server" || {
					tail -n 20 log >&2
					exit 1
				}
				sleep 0.02
			done
			;;
		immediate) finish ;;
		keep) cp -a data kept ;;
		bring)
			rm -rf data
			cp -a kept data
			;;
		freeze) signal STOP ;;
		thaw) signal CONT ;;
		sql*) PGPASSWORD=$4 psql -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U ykvald -d postgres -c "${word#sql:}" >/dev/null ;;
		promote) PGPASSWORD=$4 psql -q -h 127.0.0.1 -p "$port" -U ykvald -d postgres -c 'SELECT pg_promote()' >/dev/null ;;
		database*) PGPASSWORD=$4 psql -q -h 127.0.0.1 -p "$port" -U ykvald -d postgres -c "CREATE DATABASE ${word#database:}" >/dev/null ;;
	esac
	echo "done"
done
