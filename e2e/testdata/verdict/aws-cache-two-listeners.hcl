pid_file = "./agent.pid"

vault {
  address = "https://vault.example.com:8200"
}

auto_auth {
  method "aws" {
    mount_path = "auth/aws-east"
    config = {
      type = "iam"
      role = "reporting"
    }
  }

  sink "file" {
    config = {
      path = "/run/agent/token"
    }
  }

  sink "file" {
    wrap_ttl    = "10m"
    aad_env_var = "TOKEN_AAD"
    dh_type     = "curve25519"
    dh_path     = "/run/agent/reader.json"
    config = {
      path = "/run/agent/token.sealed"
    }
  }
}

cache {
  use_auto_auth_token = true
}

listener "unix" {
  address     = "/run/agent/agent.sock"
  tls_disable = true

  agent_api {
    enable_quit = true
  }
}

listener "tcp" {
  address                = "127.0.0.1:8100"
  tls_disable            = true
  require_request_header = true
}

template {
  source      = "/etc/agent/server.key.ctmpl"
  destination = "/etc/server/server.key"
}

template {
  source      = "/etc/agent/server.crt.ctmpl"
  destination = "/etc/server/server.crt"
}
