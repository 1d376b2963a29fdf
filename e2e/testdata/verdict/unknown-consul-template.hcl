vault {
  address                = "http://127.0.0.1:8200"
  vault_agent_token_file = "./token"
  unwrap_token           = false
  renew_token            = true
  retry {
    enabled     = true
    num_retries = 5
    backoff     = "250ms"
  }
}

auto_auth {
  mount_path = "auth/approle"
  method "approle" {
    config = {
      role_id_file_path = "/r"
      role              = "web"
    }
  }
  sink "file" {
    config = {
      path = "/s"
      ttl  = "5m"
    }
  }
}

template_config {
  error_on_missing_key = true
}
