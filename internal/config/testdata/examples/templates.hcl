/* Everything templates can do. */
exit_after_auth = true
log_level = "debug"
auto_auth {
  method "jwt" { mount_path = "auth/jwt-ci" config { path = "/run/ci/jwt", role = "deploy", remove_jwt_after_reading = "false" } }
}

template_config { exit_on_retry_failure = true  static_secret_render_interval = 120  lease_renewal_threshold = 0.75  max_connections_per_host = 20 }

template {
  destination = "/srv/app/env"
  perms       = 0600
  user        = "app"
  group       = "1000"
  backup      = true
  contents    = <<EOT
# rendered, do not edit
HOME_DIR=${HOME:-/srv}
LOG_FORMAT="%{Referer}i %{User-Agent}i"
ESCAPED=$${not_interpolated}
OPEN=${never closed
{{ with secret "secret/data/app" }}PASSWORD="{{ .Data.data.password }}"
{{ end }}
EOT
  exec {
    command = ["systemctl", "reload", "app"]
    timeout = "10s"
    env {
      pristine = true
      custom = ["A=1", "B=2",]
      allowlist = ["PATH"]
    }
  }
}

template {
  source = "/etc/ctmpl/nginx.ctmpl"
  destination = "/etc/nginx/conf.d/app.conf"
  create_dest_dirs = false
  error_on_missing_key = true
  error_fatal = false
  left_delimiter = "<<"
  right_delimiter = ">>"
  sandbox_path = "/etc/ctmpl"
  function_denylist = ["executeTemplate", "sprig_*"]
  command = "nginx -s reload"
  command_timeout = "45s"
  wait = "2s:30s"
}

template {
  contents = <<-EOF
    {{- with pkiCert "pki/issue/app" "common_name=app.example.com" -}}
    {{ .Cert }}{{ .CA }}{{ .Key }}
    {{- end }}
    EOF
  destination = "/srv/app/tls.pem"
  perms = "0640"
}
