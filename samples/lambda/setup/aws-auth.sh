#!/bin/sh
# Prepares Vault so that one IAM role, that of a function, may log in with the AWS
# auth method and read secret/app:
#
#   ROLE_ARN=arn:aws:iam::123456789012:role/my-function sh aws-auth.sh
#
# It needs the vault command with VAULT_ADDR and a token that may do this. A second
# run changes nothing. OpenBao has no AWS method in its core: see jwt-auth.sh, or
# register the plugin auth-aws and run this with VAULT=bao.
#
#   ROLE_ARN   the IAM role of the function; with an assumed role, that one
#   ROLE       name of the role in Vault: VAULT_AUTH_ROLE of the function (app)
#   MOUNT      path of the auth method: VAULT_AUTH_PROVIDER of the function (aws)
#   SERVER_ID  when set, logins must name it: VAULT_IAM_SERVER_ID of the function.
#              It keeps a login that was recorded at another server out of this one
#   UNIQUE_ID  true: a role that was deleted and made again is another one; Vault
#              must then be allowed iam:GetRole (false)
#   VAULT      command line to use: vault, or bao (vault)
set -eu

: "${ROLE_ARN:?set it to the ARN of the role of the function}"
ROLE=${ROLE:-app} MOUNT=${MOUNT:-aws} VAULT=${VAULT:-vault}
here=$(dirname "$0")

# has LIST NAME says whether a mount is there.
has() { "$VAULT" "$1" list -format=json | grep -q "\"$2/\""; }

has secrets secret || "$VAULT" secrets enable -path=secret -version=2 kv
has auth "$MOUNT" || "$VAULT" auth enable -path="$MOUNT" aws
"$VAULT" policy write latchkey-sample "$here/policy.hcl"

# For functions that set no region, logins are signed for STS's global endpoint, the
# one Vault asks by default. Where functions set VAULT_STS_ENDPOINT_REGION, tell
# Vault: sts_endpoint=https://sts.<region>.amazonaws.com sts_region=<region>.
if [ -n "${SERVER_ID:-}" ]; then
	"$VAULT" write "auth/$MOUNT/config/client" iam_server_id_header_value="$SERVER_ID"
fi

# A function lives for hours and is often cold: tokens that end by themselves, and
# batch tokens, which cost the server no storage, fit that. With dynamic secrets
# (databases) use token_type=service: leases of a batch token cannot outlive it.
"$VAULT" write "auth/$MOUNT/role/$ROLE" \
	auth_type=iam \
	bound_iam_principal_arn="$ROLE_ARN" \
	resolve_aws_unique_ids="${UNIQUE_ID:-false}" \
	token_policies=latchkey-sample \
	token_type=batch token_ttl=1h token_max_ttl=4h
