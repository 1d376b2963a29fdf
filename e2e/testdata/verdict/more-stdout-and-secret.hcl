auto_auth {
  method "userpass" {
    config = { username = "app", password_file_path = "/p" }
  }
  sink "stdout" { }
}

template {
  secret      = "secret/app"
  format      = "dotenv"
  destination = "/run/app.env"
}
