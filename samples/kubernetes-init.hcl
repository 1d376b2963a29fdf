# An init container that fetches the secrets of a pod and ends; the program
# starts when it has ended with 0. Mount a memory volume into both containers:
#
#   volumes:
#     - name: secrets
#       emptyDir: { medium: Memory }
#     - name: latchkey
#       configMap: { name: latchkey }          # this file, as agent.hcl
#   initContainers:
#     - name: latchkey
#       image: your-registry/latchkey
#       args: ["once", "-config", "/etc/latchkey/agent.hcl", "-timeout", "2m"]
#       volumeMounts:
#         - { name: latchkey, mountPath: /etc/latchkey }
#         - { name: secrets, mountPath: /vault/secrets }
#   containers:
#     - name: app
#       volumeMounts:
#         - { name: secrets, mountPath: /vault/secrets, readOnly: true }
#
# The exit code tells `kubectl describe pod` what was wrong: 3 login refused,
# 4 a secret missing or denied, 5 Vault unreachable.

exit_after_auth = true

vault {
  address = "https://vault.vault.svc:8200"
  ca_cert = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
}

auto_auth {
  method "kubernetes" {
    config = {
      role = "app"
      # token_path = "/var/run/secrets/tokens/vault" # a projected token with an audience of its own
    }
  }
}

template {
  contents    = <<EOT
{{ with secret "secret/data/app/database" -}}
export DATABASE_USER="{{ .Data.data.username }}"
export DATABASE_PASSWORD="{{ .Data.data.password }}"
{{ end }}
EOT
  destination = "/vault/secrets/database"
  perms       = "0640"

  error_on_missing_key = true
}
