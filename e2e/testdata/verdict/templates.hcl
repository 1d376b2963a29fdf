auto_auth {
  method "token_file" {
    config = { token_file_path = "/t" }
  }
}

template_config {
  exit_on_retry_failure         = true
  static_secret_render_interval = "10m"
  max_connections_per_host      = 20
  lease_renewal_threshold       = 0.8
}

template {
  source               = "/etc/app/a.ctmpl"
  destination          = "/run/app/a"
  create_dest_dirs     = true
  perms                = "0640"
  user                 = "root"
  group                = "root"
  error_on_missing_key = true
  error_fatal          = false
  backup               = true
  left_delimiter       = "[["
  right_delimiter      = "]]"
  sandbox_path         = "/etc/app"
  function_denylist    = ["plugin", "env"]
  wait {
    min = "2s"
    max = "10s"
  }
  exec {
    command = ["systemctl", "reload", "app"]
    timeout = "30s"
  }
}

template {
  contents        = "{{ with pkiCert \"pki/issue/web\" \"common_name=web.example.com\" }}{{ .Cert }}{{ .CA }}{{ .Key }}{{ end }}"
  destination     = "/run/app/web.pem"
  command         = "sh -c 'kill -HUP $(pidof app) || true'"
  command_timeout = "1m"
  wait            = "1s:5s"
}

template {
  contents    = "x"
  destination = "/run/app/x"
  exec = {
    command = "echo done"
  }
}
