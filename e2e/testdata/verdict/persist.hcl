auto_auth {
  method "kubernetes" {
    config = {
      role = "web"
    }
  }
}

cache {
  persist "kubernetes" {
    path              = "/vault/agent-cache"
    keep_after_import = true
    exit_on_err       = true
  }
}

api_proxy {
  use_auto_auth_token = true
  enforce_consistency = "always"
  when_inconsistent   = "retry"
}

listener "tcp" {
  address     = "127.0.0.1:8200"
  tls_disable = true
  role        = "default"
}

listener "tcp" {
  address     = "127.0.0.1:9102"
  tls_disable = true
  role        = "metrics_only"
}

telemetry {
  prometheus_retention_time = "1h"
  disable_hostname          = true
  prefix_filter             = ["+vault.agent", "-vault.runtime"]
}
