# Several files from several secrets. Each path is read once, however many
# templates name it, and what is missing is fetched together. A file whose
# content has not changed is left alone, and its command is not run.

exit_after_auth = true

vault {
  address = "https://vault.example.com:8200"
}

auto_auth {
  method "token_file" {
    config = {
      token_file_path = "/run/latchkey/token"
    }
  }
}

# A certificate with its key in one file. A certificate that is there and still
# good is kept, instead of asking for a new one at each run.
template {
  contents    = <<EOT
{{- with pkiCert "pki/issue/web" "common_name=web.example.com" "ttl=24h" -}}
{{ .Key }}{{ .Cert }}{{ .CA }}
{{- end -}}
EOT
  destination = "/etc/nginx/tls/web.pem"
  perms       = "0600"

  exec {
    command = ["nginx", "-s", "reload"]
    timeout = "10s"
  }
}

# A source file instead of contents, delimiters that do not clash with it, and
# a mode and an owner for the reader.
template {
  source          = "/etc/latchkey/app.yaml.tmpl"
  destination     = "/run/app/config.yaml"
  left_delimiter  = "[["
  right_delimiter = "]]"
  perms           = "0640"
  group           = "app"
  backup          = true

  error_on_missing_key = true
}

# All keys of one secret.
template {
  contents    = <<EOT
{{- with secret "secret/data/app/features" -}}
{{- range $name, $value := .Data.data }}
{{ $name | toUpper }}={{ $value | toJSON }}
{{- end }}
{{ end -}}
EOT
  destination = "/run/app/features.env"
}

template_config {
  exit_on_retry_failure = true
}
