# The configuration of the service that README.md installs. Slashes work in
# paths; a backslash would have to be doubled.

vault {
  address = "https://vault.example.com:8200"
}

log_file             = "C:/ProgramData/latchkey/logs/latchkey.log"
log_rotate_max_files = 7

auto_auth {
  method "approle" {
    config = {
      role_id_file_path   = "C:/ProgramData/latchkey/role_id"
      secret_id_file_path = "C:/ProgramData/latchkey/secret_id"

      remove_secret_id_file_after_reading = false
    }
  }

  sink "file" {
    config = { path = "C:/ProgramData/latchkey/token" }
  }
}

template {
  secret      = "secret/app"
  format      = "json"
  destination = "C:/ProgramData/latchkey/app.json"
}
