#!/bin/sh
# Yubico's ykclient, which asks by libykclient.
url=$1 id=$2 key=$3
while read -r otp; do
    if ykclient --url "$url" --apikey "$key" "$id" "$otp" >/dev/null 2>&1; then echo yes; else echo "no exit status $?"; fi
done
