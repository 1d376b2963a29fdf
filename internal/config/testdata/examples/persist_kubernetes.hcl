auto_auth {
  method "kubernetes" {
    config = { role = "app" }
  }
  sink "file" { config = { path = "/home/vault/.vault-token", mode = 0640 } }
}
vault { address = "https://vault.vault.svc:8200" ca_path = "/vault/tls" tls_server_name = "vault" namespace = "team-a" }
cache {
  persist "kubernetes" {
    path = "/vault/agent-cache"
    keep_after_import = true
    exit_on_err = true
    service_account_token_file = "/tmp/serviceaccount/token"
  }
}
api_proxy { use_auto_auth_token = "force" enforce_consistency = "always" when_inconsistent = "forward" }
listener "tcp" { address = "127.0.0.1:8200" tls_disable = true require_request_header = true role = "default" }
listener "tcp" { address = "127.0.0.1:3000" tls_disable = true agent_api { enable_quit = true } role = "metrics_only" }
listener "unix" { address = "/run/vault.sock" tls_disable = true socket_mode = "0660" socket_user = "vault" socket_group = "1000" }
telemetry { prometheus_retention_time = "24h" disable_hostname = true }
