# A daemon that answers Vault's API on this machine: programs ask it without a
# token, as long as they run as the right user, and get what they may read, mostly
# out of memory.
#
#   latchkey daemon -config daemon-proxy.hcl
#   VAULT_ADDR=http://127.0.0.1:8100 vault kv get secret/app
#   curl --unix-socket /run/latchkey/api.sock -H 'X-Vault-Request: true' http://localhost/v1/secret/data/app

vault {
  address = "https://vault.example.com:8200"
}

auto_auth {
  method "approle" {
    config = {
      role_id_file_path   = "/etc/latchkey/role_id"
      secret_id_file_path = "/etc/latchkey/secret_id"
    }
  }
}

# A second login, with rights of its own, for one listener alone.
auto_auth "reports" {
  method "approle" {
    config = {
      role_id_file_path   = "/etc/latchkey/reports_role_id"
      secret_id_file_path = "/etc/latchkey/reports_secret_id"
    }
  }
}

api_proxy {
  use_auto_auth_token = true
}

cache {
  # Tokens and leases are cached in any case. This is for secrets without a lease:
  # served from memory for five minutes, and for an hour more while Vault is away.
  static_ttl   = "5m"
  static_stale = "1h"

  # Tokens and leases go on over a restart, encrypted with a key:
  #   head -c 32 /dev/urandom > /etc/latchkey/cache.key
  persist "file" {
    path     = "/var/lib/latchkey"
    key_file = "/etc/latchkey/cache.key"
  }
}

# Whoever can connect here borrows our token: so ask for a header that no web page
# and no confused program sends, and refuse what browsers and proxies add.
listener "tcp" {
  address                = "127.0.0.1:8100"
  tls_disable            = true
  require_request_header = true
  guard                  = true
}

# On a socket the kernel says who connects.
listener "unix" {
  address                = "/run/latchkey/api.sock"
  tls_disable            = true
  socket_mode            = "0660"
  socket_group           = "app"
  require_request_header = true
  allow_peers            = ["group:app"]
  allow_paths            = ["secret/data/app/*"]
  read_only              = true
}

listener "unix" {
  address                = "/run/latchkey/reports.sock"
  tls_disable            = true
  socket_mode            = "0660"
  auto_auth              = "reports"
  require_request_header = true
}
