auto_auth {
  method "cf" {
    mount_path = "auth/cf"
    config = {
      role = "web"
    }
  }

  sink "file" {
    config = {
      path = "/run/web/token"
    }
  }
}
