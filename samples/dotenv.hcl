# Secrets as files without writing a template: format is dotenv, json or yaml.
# latchkey quotes the values so that a reader of that format gets the same bytes
# back, newlines, quotes and dollar signs included. vault agent does not know
# these keys.

exit_after_auth = true

vault {
  address = "https://vault.example.com:8200"
}

auto_auth {
  method "jwt" {
    mount_path = "auth/ci"

    config = {
      role = "deploy"
      path = "/run/identity/jwt"
    }
  }
}

template {
  secret      = "secret/data/app/database"
  format      = "dotenv"
  destination = "database.env"
  perms       = "0600"
}

template {
  secret      = "secret/data/app/keys"
  format      = "json"
  destination = "keys.json"
  perms       = "0600"
}
