# The configuration of latchkey.service: a token for programs that speak to Vault
# themselves, and a file of settings for one that does not.

vault {
  address = "https://vault.example.com:8200"
}

# For 'latchkey status -socket /run/latchkey/status.sock'.
status_socket = "/run/latchkey/status.sock"

auto_auth {
  method "approle" {
    config = {
      role_id_file_path   = "/etc/latchkey/role_id"
      secret_id_file_path = "/etc/latchkey/secret_id"

      # /etc is read-only for the service, and a restart needs it again. A new
      # file is noticed, and leads to a new login.
      remove_secret_id_file_after_reading = false
    }
  }

  sink "file" {
    config = {
      path = "/run/latchkey/token"
      mode = 0640
    }
  }
}

template {
  contents    = "{{ with secret \"secret/data/app\" }}PASSWORD={{ .Data.data.password }}{{ end }}"
  destination = "/run/latchkey/app.env"
  perms       = "0640"
}

template_config {
  static_secret_render_interval = "1m"
}
