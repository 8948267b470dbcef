#!/bin/sh
# pam_yubico in the real libpam. $PAM_DRIVE is the application, $PAM_YUBICO the module, $FOLDER a place for files.
url=$1 id=$2 key=$3
mkdir -p "$FOLDER/pam.d"
while read -r otp; do
    echo "alice:$(printf %s "$otp" | cut -c 1-12)" >"$FOLDER/mapping"
    echo "auth required $PAM_YUBICO mode=client id=$id key=$key urllist=$url authfile=$FOLDER/mapping" >"$FOLDER/pam.d/otp"
    said=$("$PAM_DRIVE" --confdir "$FOLDER/pam.d" --service otp --user alice -- "$otp" 2>&1 | grep '^authenticate')
    if [ "$said" = "authenticate PAM_SUCCESS" ]; then echo yes; else echo "no $said"; fi
done
