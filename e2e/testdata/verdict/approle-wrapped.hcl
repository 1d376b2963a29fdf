auto_auth {
  method {
    type      = "approle"
    namespace = "team-a/"
    config {
      role_id_file_path                = "/etc/app/role_id"
      secret_id_file_path              = "/run/app/wrapped_secret_id"
      secret_id_response_wrapping_path = "auth/approle/role/app/secret-id"
    }
  }

  sink {
    type = "file"
    config {
      path  = "/run/app/token"
      mode  = 0600
      owner = 1000
      group = 1000
    }
  }

  sink "file" {
    wrap_ttl    = "5m"
    dh_type     = "curve25519"
    dh_path     = "/run/app/reader.json"
    derive_key  = true
    aad_env_var = "APP_AAD"
    config = {
      path = "/run/app/token.sealed"
    }
  }
}
