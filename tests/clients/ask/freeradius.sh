#!/bin/sh
# FreeRADIUS with rlm_yubikey, asked by radclient. $LIBDIR has the module, $PORT is free, $FOLDER is a place for files.
url=$1 id=$2 key=$3
sed -e "s|@LIBDIR@|$LIBDIR|; s|@FOLDER@|$FOLDER|; s|@URL@|$url|; s|@ID@|$id|; s|@KEY@|$key|; s|@PORT@|$PORT|" \
    "$(dirname "$0")/../../src/radiusd.conf" >"$FOLDER/radiusd.conf"
freeradius -f -l stdout -d "$FOLDER" </dev/null >"$FOLDER/log" 2>&1 &
server=$!
trap 'kill $server' EXIT
until grep -q 'Ready to process requests' "$FOLDER/log"; do
    kill -0 $server || exit
    sleep 0.05
done
while read -r otp; do
    said=$(printf 'User-Name = "alice"\nUser-Password = "%s"\n' "$otp" |
        radclient -x -r 1 -t 12 "127.0.0.1:$PORT" auth testing123 2>&1)
    case $said in *"Received Access-Accept"*) echo yes ;; *"Received Access-Reject"*) echo no Access-Reject ;; *) echo no nothing ;; esac
done
