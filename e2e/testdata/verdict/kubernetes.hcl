exit_after_auth = true
pid_file = "/home/app/.pid"

auto_auth = {
  method "kubernetes" {
    mount_path = "auth/cluster-1"
    config = {
      role = "web"
      token_path = "/var/run/secrets/tokens/sa"
    }
  }

  sink = {
    type = "file"
    config = {
      path = "/home/app/.vault-token"
    }
  }
}

vault = {
  address = "https://vault.vault.svc:8200"
  ca_cert = ""
}
