"auto_auth" = {
  "method" = {
    "config" = {
      "role" = "db-app"
    }
    "type" = "kubernetes"
  }

  "sink" = {
    "config" = {
      "path" = "/home/vault/.token"
    }

    "type" = "file"
  }
}

"exit_after_auth" = true
"pid_file" = "/home/vault/.pid"

"template" = {
  "contents" = "{{- with secret \"database/creds/db-app\" -}}postgres://{{ .Data.username }}:{{ .Data.password }}@postgres:5432/mydb?sslmode=disable{{- end }}"
  "destination" = "/vault/secrets/db-creds"
}

"vault" = {
  "address" = "https://vault.demo.svc.cluster.local:8200"
  "ca_cert" = "/vault/tls/ca.crt"
  "client_cert" = "/vault/tls/client.crt"
  "client_key" = "/vault/tls/client.key"
}
