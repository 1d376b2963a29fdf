auto_auth {
  method {
    type = "token_file"
    config {
      token_file_path = "/home/app/.vault-token"
    }
  }
}

vault {
  address = "http://localhost:8200"
}

template_config {
  static_secret_render_interval = "5m"
  exit_on_retry_failure         = true
}

env_template "DB_PASSWORD" {
  contents             = "{{ with secret \"secret/data/db\" }}{{ .Data.data.password }}{{ end }}"
  error_on_missing_key = true
}

env_template "DB_USER" {
  source = "/etc/app/user.ctmpl"
}

exec {
  command                   = ["./app", "--port", "8080"]
  restart_on_secret_changes = "always"
  restart_stop_signal       = "SIGTERM"
  child_process_stdout      = "/var/log/app.out"
}
