# AppRole, the way most machines start: a role_id that is delivered with the
# machine and a secret_id that is delivered once, by whoever starts it.
#
#   vault auth enable approle
#   vault write auth/approle/role/app token_policies=app token_ttl=1h
#   vault read  -field=role_id      auth/approle/role/app/role-id   > /etc/latchkey/role_id
#   vault write -field=secret_id -f auth/approle/role/app/secret-id > /etc/latchkey/secret_id
#   latchkey once -config approle.hcl

exit_after_auth = true

vault {
  address = "https://vault.example.com:8200"
  ca_cert = "/etc/latchkey/ca.pem"
}

auto_auth {
  method "approle" {
    config = {
      role_id_file_path   = "/etc/latchkey/role_id"
      secret_id_file_path = "/etc/latchkey/secret_id"

      # The secret_id is deleted after it was read. Let it be wrapped on the way
      # (vault write -wrap-ttl=5m ...) and name where it must come from: whoever
      # unwraps it in between is found out, because latchkey cannot any more.
      # secret_id_response_wrapping_path = "auth/approle/role/app/secret-id"
    }
  }

  sink "file" {
    config = {
      path = "/run/latchkey/token"
      mode = 0640
    }
  }
}
