auto_auth {
  method "jwt" {
    mount_path  = "auth/jwt/"
    min_backoff = "2s"
    max_backoff = "1m"
    exit_on_err = true
    config = {
      path                     = "/var/run/secrets/tokens/vault"
      role                     = "web"
      remove_jwt_after_reading = "false"
      jwt_read_period          = "5s"
    }
  }
}

template {
  contents             = <<-EOT
    {{- with secret "secret/data/web" }}
    export DB_PASSWORD='{{ .Data.data.password }}'
    export DATA="${HOME:-/srv}/data" # %{not a directive}
    {{- end }}
  EOT
  destination          = "/run/web/env"
  perms                = 0600
  error_on_missing_key = true
}
