# A daemon that keeps a token and a file right for as long as it runs.
#
#   latchkey daemon -config daemon.hcl
#   latchkey status -config daemon.hcl
#   kill -HUP ...                          reads this file again

pid_file      = "/run/latchkey/latchkey.pid"
status_socket = "/run/latchkey/status.sock"

vault {
  address = "https://vault.example.com:8200"
  ca_cert = "/etc/latchkey/ca.pem"
}

auto_auth {
  method "approle" {
    config = {
      role_id_file_path   = "/etc/latchkey/role_id"
      secret_id_file_path = "/etc/latchkey/secret_id"
    }
  }

  # The secret_id is deleted once it was read, so a restart has none. The token
  # is handed over to the next start instead, encrypted with a key:
  #   head -c 32 /dev/urandom > /etc/latchkey/handover.key
  handover {
    path     = "/var/lib/latchkey/token.sealed"
    key_file = "/etc/latchkey/handover.key"
  }

  sink "file" {
    config = {
      path = "/run/latchkey/token"
      mode = 0640
    }

    # Who reads the token may want to know that there is a new one.
    command = ["systemctl", "reload", "app"]
  }
}

template {
  source      = "/etc/latchkey/app.conf.ctmpl"
  destination = "/run/latchkey/app.conf"
  perms       = "0640"

  error_on_missing_key = true

  exec {
    command = ["systemctl", "reload", "app"]
    timeout = "30s"
  }
}

template_config {
  # How often a secret without a lease is looked at: only its version, and the
  # secret itself when that moved.
  static_secret_render_interval = "1m"
}

# /agent/v1/metrics for Prometheus; the status socket answers all the rest.
listener "tcp" {
  address     = "127.0.0.1:8250"
  tls_disable = true
  role        = "metrics_only"
}

telemetry {
  prometheus_retention_time = "24h"
  disable_hostname          = true
}
