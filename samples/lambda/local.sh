#!/bin/sh
# Runs a function under AWS's emulator, with the layer beside it:
#
#   VAULT_ADDR=http://127.0.0.1:8201 ROLE_ID=... SECRET_ID=... \
#       samples/lambda/local.sh ./aws-lambda-rie samples/lambda/go/function
#   curl -d '{}' http://127.0.0.1:8080/2015-03-31/functions/function/invocations
#
# It needs unshare (util-linux), and root or user namespaces: /opt and /tmp are of its
# own, and gone afterwards. The first request starts the function, and the extension
# before it; SIGTERM to the emulator is the end of both.
set -eu

if [ $# -lt 2 ]; then
	sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
	exit 2
fi
: "${VAULT_ADDR:?set it to the URL of the server}"
: "${ROLE_ID:?an AppRole that may read secret/data/app}" "${SECRET_ID:?its secret_id}"

absolute() { (cd "$(dirname "$1")" && echo "$(pwd)/$(basename "$1")"); }

case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
*) echo "local.sh: no layer is made for $(uname -m)" >&2 && exit 1 ;;
esac
layer=$(absolute "${LAYER:-$(dirname "$0")/../../dist/latchkey-extension-$arch}")
if [ ! -x "$layer/latchkey-exec" ]; then
	echo "local.sh: there is no $layer: run make layer" >&2
	exit 1
fi
rie=$(absolute "$1") function=$(absolute "$2")
shift 2

# What lies in /opt and /tmp now is out of sight below; so all is copied into /opt
# through a directory that is not.
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cp -R "$layer/." "$stage/"
cp "$rie" "$stage/aws-lambda-rie"
cp "$function" "$stage/function"

own=--map-root-user
[ "$(id -u)" != 0 ] || own=''

# Not exec, for the directory goes at the end; the emulator gets our signals.
# shellcheck disable=SC2016,SC2086 # the inner shell expands; $own may be nothing
unshare $own --mount sh -c '
	mount -t tmpfs opt /opt
	cp -R "$1/." /opt/
	mount -t tmpfs tmp /tmp
	shift
	cd /
	exec env \
		AWS_LAMBDA_FUNCTION_NAME=latchkey-sample AWS_LAMBDA_FUNCTION_TIMEOUT=10 AWS_REGION=us-east-1 \
		VLE_VAULT_ADDR="$VAULT_ADDR" VAULT_ADDR=http://127.0.0.1:8200 \
		LATCHKEY_AUTH_METHOD=approle LATCHKEY_AUTH_ROLE_ID="$ROLE_ID" LATCHKEY_AUTH_SECRET_ID="$SECRET_ID" \
		VAULT_SECRET_PATH_DB=secret/data/app VAULT_SECRET_FILE_DB=/tmp/vault/db.json \
		AWS_LAMBDA_EXEC_WRAPPER=/opt/latchkey-exec \
		"DB_USERNAME=vault:secret/data/app#username" "DB_PASSWORD=vault:secret/data/app#password" \
		/opt/aws-lambda-rie /opt/latchkey-exec /opt/function "$@"
' sh "$stage" "$@" &
pid=$!
trap 'kill -TERM "$pid" 2>/dev/null || true' TERM INT
wait "$pid" || true
wait "$pid" 2>/dev/null || true # the first one ends when a signal comes
