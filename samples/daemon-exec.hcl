# A daemon that runs a program with secrets in its environment, and starts it
# again when one of them changed. It ends when the program ends, with its exit
# code. As the first process of a container:
#
#   ENTRYPOINT ["latchkey", "daemon", "-config", "/etc/latchkey/daemon-exec.hcl"]
#
# Every signal but those that end it is handed on to the program. Give the
# container a little more time for its end than restart_kill_timeout.

vault {
  address = "https://vault.example.com:8200"
}

auto_auth {
  method "kubernetes" {
    config = {
      role = "app"
    }
  }
}

env_template "DATABASE_USER" {
  contents             = "{{ with secret \"database/creds/app\" }}{{ .Data.username }}{{ end }}"
  error_on_missing_key = true
}

env_template "DATABASE_PASSWORD" {
  contents             = "{{ with secret \"database/creds/app\" }}{{ .Data.password }}{{ end }}"
  error_on_missing_key = true
}

exec {
  command = ["/usr/local/bin/app", "--serve"]

  # For a program that reads its settings again: "signal:SIGHUP".
  restart_on_secret_changes = "always"
  restart_stop_signal       = "SIGTERM"
  restart_kill_timeout      = "20s"
}
