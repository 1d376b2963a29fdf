#!/bin/sh
# Prepares Vault or OpenBao so that one IAM role, that of a function, may log in with
# a JWT that AWS signs (sts:GetWebIdentityToken), and read secret/app:
#
#   ISSUER=https://….tokens.sts.global.api.aws \
#   ROLE_ARN=arn:aws:iam::123456789012:role/my-function sh jwt-auth.sh
#
# The server needs no plugin and no credentials of AWS; it fetches the keys of the
# issuer over the internet. A second run changes nothing.
#
# Once per AWS account, and it prints the issuer:
#
#   aws iam enable-outbound-web-identity-federation
#
#   ISSUER     issuer of the account (aws iam get-outbound-web-identity-federation-info)
#   ROLE_ARN   the IAM role of the function
#   FUNCTION   when set, the ARN of the one function that may log in
#   AUDIENCE   what the token must be for: LATCHKEY_AUTH_AUDIENCE of the function
#              (the address of the server)
#   ROLE       name of the role in Vault: VAULT_AUTH_ROLE of the function (app)
#   MOUNT      path of the auth method: VAULT_AUTH_PROVIDER of the function (jwt)
#   VAULT      command line to use: vault, or bao (vault)
set -eu

: "${ISSUER:?set it to the issuer of the account}"
: "${ROLE_ARN:?set it to the ARN of the role of the function}"
ROLE=${ROLE:-app} MOUNT=${MOUNT:-jwt} VAULT=${VAULT:-vault}
AUDIENCE=${AUDIENCE:-${VAULT_ADDR:-${BAO_ADDR:?set AUDIENCE}}}
here=$(dirname "$0")

# has LIST NAME says whether a mount is there.
has() { "$VAULT" "$1" list -format=json | grep -q "\"$2/\""; }

has secrets secret || "$VAULT" secrets enable -path=secret -version=2 kv
has auth "$MOUNT" || "$VAULT" auth enable -path="$MOUNT" jwt
"$VAULT" policy write latchkey-sample "$here/policy.hcl"
"$VAULT" write "auth/$MOUNT/config" oidc_discovery_url="$ISSUER" bound_issuer="$ISSUER"

# The claims of AWS lie under a name with slashes, which a JSON pointer writes as ~1.
claims='{}'
if [ -n "${FUNCTION:-}" ]; then
	claims="{\"/https:~1~1sts.amazonaws.com~1/lambda_source_function_arn\": \"$FUNCTION\"}"
fi
"$VAULT" write "auth/$MOUNT/role/$ROLE" - <<ROLE
{
  "role_type": "jwt",
  "user_claim": "sub",
  "bound_audiences": ["$AUDIENCE"],
  "bound_subject": "$ROLE_ARN",
  "bound_claims": $claims,
  "token_policies": ["latchkey-sample"],
  "token_type": "batch",
  "token_ttl": "1h",
  "token_max_ttl": "4h"
}
ROLE
