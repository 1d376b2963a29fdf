vault {
  address = "https://vault.example.com:8200"
  retry {
    num_retries = 2147483647
  }
}

auto_auth {
  method "cert" {
    mount_path = "auth/device-cert"
    config {
      name        = "device"
      client_cert = "/etc/device/tls.crt"
      client_key  = "/etc/device/tls.key"
      reload      = true
      reload_period = "10m"
    }
  }
}

api_proxy {
  use_auto_auth_token = "force"
}

listener "tcp" {
  // only from here
  address = "127.0.0.1:8100"
  tls_disable = true # no TLS on loopback
}
