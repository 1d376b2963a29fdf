# What the function may do in Vault or OpenBao: read one secret. Its token needs no
# right to renew or look up itself that the policy "default" does not give.
path "secret/data/app" {
  capabilities = ["read"]
}
