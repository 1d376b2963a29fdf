# What `go run ./samples/quickstart` fetches with. It is a plain vault agent
# file: copy it, change the names, and run `latchkey once -config agent.hcl`.
#
# The server is where VAULT_ADDR says; a vault { address = "..." } stanza could
# say it here. Relative paths start where latchkey is run.

exit_after_auth = true

auto_auth {
  method "approle" {
    mount_path = "auth/latchkey-quickstart" # yours is most likely auth/approle

    config = {
      role_id_file_path                   = "role_id"
      secret_id_file_path                 = "secret_id"
      remove_secret_id_file_after_reading = false # true, the default, once each run gets a new one
    }
  }

  # The token, for programs that talk to Vault themselves. The directory of a
  # sink must be there; that of a template is made.
  sink "file" {
    config = {
      path = "out/token"
      mode = 0600
    }
  }
}

# A template in the language of vault agent and consul-template.
template {
  contents    = <<EOT
{{- with secret "latchkey-quickstart/data/database" -}}
postgres://{{ .Data.data.username }}:{{ .Data.data.password | urlquery }}@{{ .Data.data.host }}/app
{{ end -}}
EOT
  destination = "out/database.url"
  perms       = "0600"

  error_on_missing_key = true
}

# The same secret without a template: latchkey's own, quoted so that whatever
# reads the file gets the same bytes back.
template {
  secret      = "latchkey-quickstart/data/database"
  format      = "dotenv"
  destination = "out/database.env"
  perms       = "0600"
}
